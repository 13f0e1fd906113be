// What a membudget_t is inside, and the few helpers that every part of the client shares.
//
// The client runs inside other people's programs: no exceptions, no C++ library, no output, errno left
// alone. Whatever is read from a block is checked or clamped before it is used as a count, a length or a
// process id, so that a damaged or hostile block can give wrong figures but never crash or hang a reader.
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "control/block/block.h"
#include "control/block/budget.h"
#include "control/client/api.h"

namespace membudget::client {

// What a handle stands for. A process is known by pid and start time: its slot may get another user.
struct Handle : ::membudget_handle {
  Block block;                               // unused for self: see view()
  const uint32_t *own_level_word = nullptr;  // what level_word points to; the preloaded library's for self
  Process *process = nullptr;                // NULL: the whole group
  int32_t pid = 0;
  uint64_t start_time = 0;
  bool is_self = false;
};

// Where to look: all NULL when there is nothing (any more).
struct View {
  Block block;
  Process *process = nullptr;
};

// [signal-safe] A pointer or two for self, whose slot changes with a fork.
View view_of(const membudget_t *);

// The group's header only, also when the process is gone; NULL when there is none. [signal-safe]
const Header *header_of(const membudget_t *);

inline const Handle *handle_of(const membudget_t *budget) { return static_cast<const Handle *>(budget); }

// A handle on the heap; NULL when there is no memory. `process` NULL for a group.
membudget_t *handle_create(const Block &, Process *process);

// A slot whose process lives, starting up, counted, or executing another program by now, which may be about to take it
// over. Costs about 10 us. A process of another pid namespace lives for it: see reap_from_elsewhere().
bool slot_is_held(const Process *);

// A slot that has been taken and whose process lives, starting up or counted. The same holds.
bool slot_is_taken(const Process *);

// Whether any process of the block lives, those of other pid namespaces too, as far as it can be told.
bool anybody_lives(const Block &);

// A slot that is counted: published, and its process lives.
bool slot_is_live(const Process *);

// Whether the slot still belongs to the process the handle was opened for.
bool handle_owns_slot(const Handle &, const Process *);

// Whether any process of the target lives. Always true for self.
bool target_is_alive(const membudget_t *);

// Calls visit(Process *) for every counted process of the target.
template <typename Visitor>
void for_each_live_process(const membudget_t *budget, Visitor visit) {
  View view = view_of(budget);
  if (!view.block.header) return;
  if (view.process) {
    if (slot_is_live(view.process)) visit(view.process);
    return;
  }
  for (uint32_t i = 0, high = view.block.process_high(); i < high; ++i)
    if (Process *p = view.block.process(i); slot_is_live(p)) visit(p);
}

// A group's sums over the processes that really live, inherited bytes counted once. Unlike group_totals()
// this asks the kernel about each process (10 us), since nobody may have reaped the dead ones yet.
struct Sums {
  int64_t live = 0, counted = 0;
  uint64_t allocations = 0, frees = 0;
  uint32_t processes = 0;
  uint32_t dead = 0;  // slots of processes that died without a word, or execute another program
};
Sums group_sums(const Block &);

// The same, after the dead were taken off where that is ours to do: no member may be awake to bring the level in
// line. Takes the block's lock then.
Sums group_sums_and_reap(const Block &);

// Fills a snapshot of one process of the block; `sums` are its group's, `seen_pid` is by pid_seen_here().
void snapshot_process(const Block &, const Process *, const Sums &sums, int32_t seen_pid, Snapshot *out);

// `directory`, or else where the environment says that blocks are. Never NULL.
const char *block_directory(const char *directory);

// What the preloaded library of this process offers; all do nothing where it runs under none.
bool preload_is_there();
int preload_set_limit(int64_t bytes);
int64_t preload_trim();
int preload_set_reserve(int64_t bytes);
int preload_flush(bool begins);

// No longer counts this process in its group.
void preload_leave();

// Whether the slot is the calling process's own.
bool slot_is_own(const Process *);

}  // namespace membudget::client
