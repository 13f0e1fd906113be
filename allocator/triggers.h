// The triggers of one shard, as the thread that owns it sets them: others withdraw them, and set them anew, at any time.
#pragma once

#include "control/block/budget.h"

namespace membudget::ledger {

inline bool is_poisoned(const Shard &s) {
  return __atomic_load_n(&s.allocated_trigger, __ATOMIC_RELAXED) == kPoison ||
         __atomic_load_n(&s.freed_trigger, __ATOMIC_RELAXED) == kPoison;
}

// Replaces a trigger unless it is withdrawn, or set anew, at the same time.
inline void rearm(int64_t *trigger, int64_t seen, int64_t value) {
  MEMBUDGET_YIELD_POINT();
  if (seen != kPoison) __atomic_compare_exchange_n(trigger, &seen, value, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

inline void withdraw(Shard *s) {
  __atomic_store_n(&s->allocated_trigger, kPoison, __ATOMIC_RELAXED);
  __atomic_store_n(&s->freed_trigger, kPoison, __ATOMIC_RELAXED);
}

inline bool within_allowance(const Shard &s) {
  int64_t net = shard_net(s);
  return !is_poisoned(s) && net <= __atomic_load_n(&s.ceiling_bytes, __ATOMIC_RELAXED) &&
         net >= __atomic_load_n(&s.floor_bytes, __ATOMIC_RELAXED);
}

inline bool trigger_is_met(const Shard &s) {
  return __atomic_load_n(&s.allocated_bytes, __ATOMIC_RELAXED) >
             __atomic_load_n(&s.allocated_trigger, __ATOMIC_RELAXED) ||
         __atomic_load_n(&s.freed_bytes, __ATOMIC_RELAXED) > __atomic_load_n(&s.freed_trigger, __ATOMIC_RELAXED);
}

}  // namespace membudget::ledger
