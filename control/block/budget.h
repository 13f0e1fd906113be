// The rules of budget and level: sums, marks, allowances, and the lock that orders them.
//
// Invariants, under the lock:
//   - the group's counted bytes cannot reach the next mark above while every shard stays at or below its
//     ceiling, nor fall under the release mark below while every shard stays at or above its floor;
//   - so no level is missed: whoever would pass a mark passes its own ceiling or floor first, and looks.
// Other threads' allowances are withdrawn by poisoning their triggers, then a membarrier: an owner adds
// first and compares after, so either its addition is seen here or it sees the poison.
#pragma once

#include "control/block/block.h"

namespace membudget {

struct Totals {
  int64_t live = 0;
  int64_t mapped = 0;
  uint32_t processes = 0;
  uint32_t shards = 0;  // with an owner
  int64_t counted() const { return live + mapped; }
};

// Live bytes of one process: exact when none of its threads is inside an allocation call.
int64_t process_live_bytes(const Process *);

// Mapped bytes of one process.
int64_t process_mapped_bytes(const Process *);

// Sums over the living slots of the group, inherited bytes counted once. Looks at states only, not at
// whether the processes still exist: process_reap() first where that matters.
Totals group_totals(const Block &);

// Level right now: one load.
inline uint32_t block_level(const Header *h) {
  return __atomic_load_n(&h->level_word, __ATOMIC_ACQUIRE) & 0xffu;
}

// Computes limit, low, medium, release and hard limit in bytes from what was set; `whole_bytes` is what a
// percentage of the limit itself refers to (the cgroup's limit or the machine's memory).
void budget_resolve(Header *, int64_t whole_bytes);

// Brings the level in line with the totals and hands out new allowances: withdraws all of them first.
// Takes the lock. `self` is the caller's slot, NULL for a process that is not a member.
void budget_evaluate(const Block &, const Process *self);

// Sets the limit (amount as set) and evaluates. 0 or -errno.
int budget_set_limit(const Block &, const membudget_amount &, int64_t whole_bytes);

}  // namespace membudget
