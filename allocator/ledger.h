// The ledger: counts what threads allocate and free, exactly, into the shared block.
//
// Hot path, a thread's own shard only: one add of bytes, one of calls, one compare. The compare serves
// every rare case alike (first use by a thread, a thread being torn down, an allowance used up or
// withdrawn, a peak to note, a request from outside): each of them lets the trigger be met, and
// settle_slow() sorts them out. The add is made before the compare (see control/block/budget.h).
//
// Until start() and in threads that have no shard (any more), `thread.shard` is a dummy whose triggers are
// always met, and the bytes go to the shared shard 0 by atomic adds.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "control/block/budget.h"
#include "control/block/undisturbed.h"

#pragma GCC visibility push(hidden)  // or each use of what is declared here goes through the GOT

namespace membudget::ledger {

struct ThreadState {
  Shard *shard;
  // For allocators that count by themselves: what to add to their counters to get the shard's (with a
  // shard), or the change since the last look (without one).
  int64_t allocated_base;
  int64_t freed_base;
  int64_t peak_net_bytes;          // the shard's net from which a peak is to be noted
  int64_t peak_reached_net_bytes;  // the net at which the recorded peaks are reached; INT64_MAX with other threads
  int64_t last_net_bytes, last_allocated_bytes, stride_bytes;  // see stride_after()
  int64_t resized_bytes;                                       // of the last block that grew under a hard limit
  uint32_t looks, short_looks;                                 // count the slow path's, for what is not done each time
  uint32_t look_ups;                                           // of its allowance, under the block's lock
  bool is_near_mark;                                           // each new peak is noted
  uintptr_t settling_at;  // the stack's address of who looks things up: who comes in from there only counts
  bool is_torn_down;
  bool is_forking;          // between before_fork() and after: has no shard, and looks nothing up
  int64_t sample_at_bytes;  // up to where the shard may count before a block is sampled; met by every count at first
  int64_t looks_at_bytes;   // what its trigger would be if nothing was sampled; kPoison until it is known
  uint32_t armed_sequence;  // of the allowances, for which that holds
};

extern Shard nobody;
// Aligned so because on ARM glibc loads tcmalloc, whose TLS is, only into programs with TLS of that alignment.
extern __thread ThreadState thread __attribute__((tls_model("initial-exec"), aligned(64)));

// Inlined wherever it is called: each of the instances of the malloc family is as hot as the other.
#define MEMBUDGET_HOT __attribute__((always_inline)) inline

// Adds to a word that only this thread writes. One instruction where there is one, so that a signal
// handler that allocates between a load and a store cannot make it lose anything.
MEMBUDGET_HOT void add(int64_t *word, int64_t bytes) {
#if defined(__x86_64__) && !defined(MEMBUDGET_PORTABLE_ADD)
  __asm__ volatile("addq %1, %0" : "+m"(*word) : "er"(bytes) : "cc");
#else
  __atomic_store_n(word, __atomic_load_n(word, __ATOMIC_RELAXED) + bytes, __ATOMIC_RELAXED);
#endif
}
MEMBUDGET_HOT void add(uint64_t *word, int64_t count) { add(reinterpret_cast<int64_t *>(word), count); }

// Whether a count has passed its trigger, which another thread may set. (Written out on x86: compilers take an
// instruction more for an atomic load that is compared.)
[[nodiscard]] MEMBUDGET_HOT bool passes(int64_t now, const int64_t *trigger) {
#if defined(__x86_64__) && !defined(MEMBUDGET_PORTABLE_ADD)
  bool is_passed;
  __asm__ volatile("cmpq %2, %1" : "=@ccg"(is_passed) : "r"(now), "m"(*trigger));
  return __builtin_expect(is_passed, 0);
#else
  return __builtin_expect(now > __atomic_load_n(trigger, __ATOMIC_RELAXED), 0);
#endif
}
[[nodiscard]] MEMBUDGET_HOT bool passes(const int64_t *count, const int64_t *trigger) {
  return passes(__atomic_load_n(count, __ATOMIC_RELAXED), trigger);
}

// Count a block of `bytes` usable bytes handed out, or taken back. Safe in any thread, at any time, in signal
// handlers. True: the trigger is met, and the caller goes to settle_allocated() or settle_freed() with the
// same bytes before it returns (kept apart so that the hot path has nothing to save over a call).
[[nodiscard]] MEMBUDGET_HOT bool allocated(size_t bytes) {
  Shard *s = thread.shard;
  add(&s->allocated_bytes, static_cast<int64_t>(bytes));
  add(&s->allocations, 1);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  MEMBUDGET_YIELD_POINT();
  return passes(&s->allocated_bytes, &s->allocated_trigger);
}

[[nodiscard]] MEMBUDGET_HOT bool freed(size_t bytes) {
  Shard *s = thread.shard;
  add(&s->freed_bytes, static_cast<int64_t>(bytes));
  add(&s->frees, 1);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  MEMBUDGET_YIELD_POINT();
  return passes(&s->freed_bytes, &s->freed_trigger);
}

// The same for an allocator that counts by itself: `total` is its count for this thread, ever.
[[nodiscard]] MEMBUDGET_HOT bool allocated_total(uint64_t total) {
  Shard *s = thread.shard;
  int64_t now = static_cast<int64_t>(total) + thread.allocated_base;
  __atomic_store_n(&s->allocated_bytes, now, __ATOMIC_RELAXED);
  add(&s->allocations, 1);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  MEMBUDGET_YIELD_POINT();
  return passes(now, &s->allocated_trigger);
}

[[nodiscard]] MEMBUDGET_HOT bool freed_total(uint64_t total) {
  Shard *s = thread.shard;
  int64_t now = static_cast<int64_t>(total) + thread.freed_base;
  __atomic_store_n(&s->freed_bytes, now, __ATOMIC_RELAXED);
  add(&s->frees, 1);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  MEMBUDGET_YIELD_POINT();
  return passes(now, &s->freed_trigger);
}

// The slow paths; `bytes` means nothing with an allocator that counts by itself. They keep errno. Cost: from
// 10 ns (a trigger set anew) to a few us (withdrawal of all allowances).
// settle_allocated() returns false when the allocation went past the hard limit: the caller frees the block,
// counted as any other, and refuses the request.
bool settle_allocated(size_t bytes);
void settle_freed(size_t bytes);

// Under a hard limit, for a block that is about to grow by `bytes` for a request of `request` bytes: counts them
// beforehand. False: refused, and not counted. unreserve() when the block could not grow after all.
bool reserve(size_t bytes, size_t request);
void unreserve(size_t bytes);

// After it, when the block has grown: `more` bytes than before and reserved, or the totals of an allocator that
// counts by itself and what had been reserved. In one step, so that nobody sees the old block and the new one. True:
// settle_resized(), or settle_freed() with an allocator that counts by itself.
[[nodiscard]] MEMBUDGET_HOT bool resized(int64_t more) {
  Shard *s = thread.shard;
  add(&s->allocated_bytes, more);
  add(&s->allocations, 1);
  add(&s->frees, 1);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  thread.resized_bytes = more;
  return passes(&s->allocated_bytes, &s->allocated_trigger);
}
[[nodiscard]] MEMBUDGET_HOT bool resized_totals(uint64_t allocated, uint64_t freed, size_t reserved) {
  Shard *s = thread.shard;
  thread.allocated_base -= static_cast<int64_t>(reserved);
  __atomic_store_n(&s->freed_bytes, static_cast<int64_t>(freed) + thread.freed_base, __ATOMIC_RELAXED);
  __atomic_store_n(&s->allocated_bytes, static_cast<int64_t>(allocated) + thread.allocated_base, __ATOMIC_RELAXED);
  add(&s->allocations, 1);
  add(&s->frees, 1);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  return passes(&s->allocated_bytes, &s->allocated_trigger) || passes(&s->freed_bytes, &s->freed_trigger);
}
void settle_resized();

// Whether a request for `bytes` fits below the hard limit. Under one, asked before anything larger than
// kSmallRequest is allocated, so that a large request that must fail gets in nobody's way.
bool admits(int64_t bytes);

// After it, when the block is counted, or memory was mapped: whether it may stay, beside what others have been let
// through with.
bool keeps(int64_t bytes);

// Counts memory that the program mapped (positive) or unmapped (negative) by itself, in two steps: notes the change,
// which touches no memory but the library's own; then has the block say what there is by now, and looks up after such a
// change. Who jumps out in between has noted it: the next call makes up for the other. The second is a system call's
// neighbour: it takes the block's lock. Its caller is Undisturbed.
void note_mapped(int64_t change_bytes);
void settle_mapped(int64_t change_bytes);

// While it lives, what this thread allocates and frees further in is added up and not looked at.
class AddsOnly {
 public:
  __attribute__((always_inline)) AddsOnly() : before_(thread.settling_at) {
    thread.settling_at = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  }
  ~AddsOnly() { thread.settling_at = before_; }
  AddsOnly(const AddsOnly &) = delete;
  AddsOnly &operator=(const AddsOnly &) = delete;

 private:
  uintptr_t before_;
};

// Around whatever takes the block's lock: no handler comes in, and none jumps out.
class Section {
 public:
  __attribute__((always_inline)) Section() {}
  Section(const Section &) = delete;
  Section &operator=(const Section &) = delete;

 private:
  Undisturbed undisturbed_;
  AddsOnly adds_only_;
};

// --- life ---

// Where the thread's own counters stand, for an allocator that counts by itself; else NULL members.
struct SelfCounts {
  uint64_t (*allocated)();
  uint64_t (*freed)();
};

// Before the first count of such an allocator.
void count_by(const SelfCounts &);

// What start() binds the ledger to. The hooks run in the slow path, without any lock: when the process is
// asked for something through its slot, in a thread that has just got its shard, and when block or slot turn out to
// be overwritten; after the last, zeros are where they were.
struct Binding {
  Block block;
  Process *process;
  void (*on_request)();
  void (*on_thread_start)();
  void (*on_damage)() = nullptr;
  bool tells_crossings = false;  // on_request() looks for them whenever something is looked up
};

// Moves what was counted so far into the process's slot and counts there from now on. Once, by the
// start-up code; other threads may be counting already.
void start(const Binding &);

// Takes the calling thread's shard away, for good: it is being torn down, what follows goes to shard 0.
void thread_ends();

// Whether start() has been called; what was noted as mapped by now; and binds to another block and slot what counts from here on (NULL: to nobody's).
bool has_started();
int64_t mapped_now();
void rebind(const Block &, Process *);

// Around fork, in the forking thread. `process` is the child's slot, STARTING; NULL: nothing is counted
// from here on, and the caller sees to it that nothing comes here any more. `inherits`: the blocks from
// before the fork are counted by another member of the same group.
void before_fork();
void after_fork_in_parent();
void after_fork_in_child(const Block &, Process *process, bool inherits);

// From here on the trigger of allocations is met past `thread.sample_at_bytes`, too. Idempotent.
void begin_sampling();

// For a thread whose trigger is met and whose next sample is drawn anew: sets the trigger for that one, if it was for a
// sample only that it was met. False: to settle_allocated(), as ever. Keeps errno; a tenth of what that takes.
[[nodiscard]] bool goes_on_to_next_sample();

// Brings the thread's next sample nearer, where less was counted than is to be taken for allocated.
void sample_sooner(size_t bytes);

const Binding &binding();

}  // namespace membudget::ledger

#pragma GCC visibility pop
