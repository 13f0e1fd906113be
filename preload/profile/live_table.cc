#include "preload/profile/live_table.h"

#include "preload/profile/memory.h"

namespace membudget::profile {

uint8_t live_filter[kFilterBytes];
LiveTable *live_table;

namespace {

uint8_t *filter_place(uintptr_t address) { return &live_filter[address / 16 % kFilterBytes]; }

// Counts stay at the top once they are there: then a free looks into the table in vain, and that is all.
constexpr uint8_t kMany = 255;

void filter_add(uintptr_t address) {
  uint8_t *place = filter_place(address), seen = __atomic_load_n(place, __ATOMIC_RELAXED);
  while (seen != kMany && !__atomic_compare_exchange_n(place, &seen, static_cast<uint8_t>(seen + 1), true,
                                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
}

void filter_remove(uintptr_t address) {
  uint8_t *place = filter_place(address), seen = __atomic_load_n(place, __ATOMIC_RELAXED);
  while (seen != kMany && seen != 0 &&
         !__atomic_compare_exchange_n(place, &seen, static_cast<uint8_t>(seen - 1), true, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {}
}

// The two groups that an address may be in.
size_t group_of(uintptr_t address, int which) {
  constexpr uint64_t kFactors[] = {0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f};
  constexpr int kGroupBits = 12;
  static_assert((LiveTable::kGroup << kGroupBits) == LiveTable::kEntries);
  return ((address >> 4) * kFactors[which] >> (64 - kGroupBits)) * LiveTable::kGroup;
}

// Changes the first key `from` of the address's groups to kBusy. Its place, or kEntries.
size_t seize(uintptr_t address, uintptr_t from) {
  for (int which = 0; which < 2; ++which) {
    size_t first = group_of(address, which);
    for (size_t i = first; i < first + LiveTable::kGroup; ++i) {
      uintptr_t expected = from;
      if (__atomic_load_n(&live_table->keys[i], __ATOMIC_RELAXED) == from &&
          __atomic_compare_exchange_n(&live_table->keys[i], &expected, LiveTable::kBusy, false, __ATOMIC_ACQ_REL,
                                      __ATOMIC_RELAXED))
        return i;
    }
  }
  return LiveTable::kEntries;
}

}  // namespace

bool live_table_begin() {
  if (!live_table) live_table = static_cast<LiveTable *>(reserve(sizeof(LiveTable)));
  return live_table != nullptr;
}

bool live_table_add(const void *block, const LiveBlock &about) {
  auto address = reinterpret_cast<uintptr_t>(block);
  size_t i = seize(address, LiveTable::kFree);
  if (i == LiveTable::kEntries) return false;
  live_table->blocks[i] = about;
  __atomic_store_n(&live_table->keys[i], address, __ATOMIC_RELEASE);
  filter_add(address);
  return true;
}

bool live_table_take(const void *block, LiveBlock *out) {
  auto address = reinterpret_cast<uintptr_t>(block);
  if (address <= LiveTable::kBusy) return false;  // free(NULL) gets here, too
  size_t i = seize(address, address);
  if (i == LiveTable::kEntries) return false;
  *out = live_table->blocks[i];
  __atomic_store_n(&live_table->keys[i], LiveTable::kFree, __ATOMIC_RELEASE);
  filter_remove(address);
  return true;
}

}  // namespace membudget::profile
