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

// How many sampled blocks start in each page of 4 KiB. (In those of as many stretches of 4 GiB, where a program has
// them.) Most are 0: a free then costs one look, for which 64 pages share a cache line. The page at NULL is never 0.
constexpr size_t kFilterPages = 1 << 20;
extern uint8_t live_pages[kFilterPages];

// (Written out on x86: compilers take an instruction more.)
inline bool may_be_live(const void *block) {
  uint32_t page = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(block)) >> 12;
#if defined(__x86_64__)
  bool may_be;
  __asm__ volatile("cmpb $0, %1" : "=@ccne"(may_be) : "m"(live_pages[page]));
  return __builtin_expect(may_be, 0);
#else
  return __builtin_expect(__atomic_load_n(&live_pages[page], __ATOMIC_RELAXED) != 0, 0);
#endif
}

// Gets memory for the table, once. False where there is none.
bool live_table_begin();

// Enters a block; false when there is no room for it.
bool live_table_add(const void *address, const LiveBlock &);

// Takes a block out. False when it was not in: for most a second filter tells, by the place in the page.
bool live_table_take(const void *address, LiveBlock *out);

// Visits the live blocks; those that come or go meanwhile may be missed.
template <typename Visitor>
void for_each_live(Visitor visit);

// --- inside ---

struct LiveTable {
  static constexpr size_t kGroup = 32;  // keys that are looked through for one address, four cache lines
  // Groups that are filled first, few enough to stay in the processor's cache and enough for most programs; the others.
  static constexpr int kFirstBits = 7, kOtherBits = 12;
  static constexpr size_t kEntries = ((1 << kFirstBits) + (1 << kOtherBits)) * kGroup;
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
