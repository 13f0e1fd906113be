// Sums of what shards hold: of a process, and of the group. Called with the lock held or without: see budget.h.
#include "control/block/budget.h"
#include "control/block/members.h"
#include "control/block/words.h"

namespace membudget {

int64_t process_live_bytes(const Process *p) {
  int64_t freed = 0, allocated = 0;
  uint32_t high = shard_high(p);
  for (uint32_t i = 0; i < high; ++i) freed += load(p->shards[i].freed_bytes);
  for (uint32_t i = 0; i < high; ++i) allocated += load(p->shards[i].allocated_bytes);
  return allocated - freed;
}

void process_counts(const Process *p, uint64_t *allocations, uint64_t *frees) {
  *allocations = *frees = 0;
  uint32_t high = shard_high(p);
  for (uint32_t i = 0; i < high; ++i) {
    *frees += __atomic_load_n(&p->shards[i].frees, __ATOMIC_RELAXED);
    *allocations += __atomic_load_n(&p->shards[i].allocations, __ATOMIC_RELAXED);
  }
}

Totals group_totals(const Block &block) {
  Totals totals;
  for_each_process(block, [&](Process *p) {
    totals.live += at_least_zero(process_live_bytes(p) - load(p->inherited_live_bytes));
    totals.mapped += at_least_zero(process_mapped_bytes(p) - load(p->inherited_mapped_bytes));
    ++totals.processes;
    uint32_t high = shard_high(p);
    for (uint32_t i = 1; i < high; ++i) totals.shards += has_owner(p, i);
  });
  return totals;
}

}  // namespace membudget
