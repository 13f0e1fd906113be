// Words of the block that others may write at any time, and small arithmetic on bytes.
#pragma once

#include <stdint.h>

namespace membudget {

inline int64_t load(const int64_t &word) { return __atomic_load_n(&word, __ATOMIC_RELAXED); }
inline void store(int64_t &word, int64_t value) { __atomic_store_n(&word, value, __ATOMIC_RELAXED); }
inline int64_t at_least_zero(int64_t bytes) { return bytes > 0 ? bytes : 0; }
inline int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t smallest(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace membudget
