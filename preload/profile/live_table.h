// The sampled blocks that are live, by address: a fixed table beside the heap, without locks.
//
// A block's own address is in it at most once: it is entered before malloc returns it, and taken out before the
// allocator gets it back. So an entry is found by whoever frees the block, in any thread or signal handler.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <membudget/profile.h>

#pragma GCC visibility push(hidden)

namespace membudget::profile {

using LiveBlock = membudget_profile_block;

// How many sampled blocks have addresses that fall on a place of the filter. Most are 0: a free then costs one
// look. Neighbours in memory are neighbours here.
constexpr size_t kFilterBytes = 1 << 16;
extern uint8_t live_filter[kFilterBytes];

inline bool may_be_live(const void *block) {
  size_t place = reinterpret_cast<uintptr_t>(block) / 16 % kFilterBytes;
  return __builtin_expect(__atomic_load_n(&live_filter[place], __ATOMIC_RELAXED) != 0, 0);
}

// Gets memory for the table, once. False where there is none.
bool live_table_begin();

// Enters a block; false when there is no room for it.
bool live_table_add(const void *address, const LiveBlock &);

// Takes a block out. False when it was not in.
bool live_table_take(const void *address, LiveBlock *out);

// Visits the live blocks; those that come or go meanwhile may be missed.
template <typename Visitor>
void for_each_live(Visitor visit);

// --- inside ---

struct LiveTable {
  static constexpr size_t kGroup = 32;  // keys that are looked through for one address, four cache lines
  static constexpr size_t kEntries = 1 << 17;
  static constexpr uintptr_t kFree = 0, kBusy = 1;
  uintptr_t keys[kEntries];
  LiveBlock blocks[kEntries];
};
extern LiveTable *live_table;

template <typename Visitor>
void for_each_live(Visitor visit) {
  for (size_t i = 0; i < LiveTable::kEntries; ++i) {
    uintptr_t key = __atomic_load_n(&live_table->keys[i], __ATOMIC_ACQUIRE);
    if (key <= LiveTable::kBusy) continue;
    LiveBlock block = live_table->blocks[i];
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&live_table->keys[i], __ATOMIC_RELAXED) == key) visit(block);
  }
}

}  // namespace membudget::profile

#pragma GCC visibility pop
