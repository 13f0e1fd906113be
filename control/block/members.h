// The processes of a group that are counted, and their shards.
#pragma once

#include "control/block/block.h"

namespace membudget {

inline bool is_counted(const Process *p) {
  return __atomic_load_n(&p->state, __ATOMIC_ACQUIRE) == MEMBUDGET_PROCESS_LIVE;
}

// Calls f(Process *) for each.
template <typename F>
void for_each_process(const Block &block, F &&f) {
  uint32_t high = block.process_high();
  for (uint32_t i = 0; i < high; ++i)
    if (is_counted(block.process(i))) f(block.process(i));
}

// Shards from here on were never used; clamped.
inline uint32_t shard_high(const Process *p) {
  uint32_t high = __atomic_load_n(&p->shard_high, __ATOMIC_ACQUIRE);
  return high < MEMBUDGET_SHARDS ? high : MEMBUDGET_SHARDS;
}

inline bool has_owner(const Process *p, uint32_t shard) {
  return __atomic_load_n(&p->shard_owner[shard], __ATOMIC_RELAXED) != 0;
}

}  // namespace membudget
