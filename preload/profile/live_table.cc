#include "preload/profile/live_table.h"

#include "preload/profile/memory.h"

namespace membudget::profile {

uint8_t live_pages[kFilterPages];
LiveTable *live_table;

namespace {

// Counts stay at the top once they are there: then a free looks further in vain, and that is all.
constexpr uint8_t kMany = 255;

void count(uint8_t *place, int change) {
  uint8_t seen = __atomic_load_n(place, __ATOMIC_RELAXED);
  while (seen != kMany && !__atomic_compare_exchange_n(place, &seen, static_cast<uint8_t>(seen + change), true,
                                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
}

uint8_t *page_of(uintptr_t address) { return &live_pages[address / 4096 % kFilterPages]; }

// The second filter: the sampled blocks whose addresses are the same within 1 MiB.
uint8_t live_places[1 << 16];
uint8_t *place_of(uintptr_t address) { return &live_places[address / 16 % sizeof live_places]; }

void count_both(uintptr_t address, int change) {
  count(page_of(address), change);
  count(place_of(address), change);
}

// The groups that an address may be in: one of the first ones, then two of the others.
constexpr int kChoices = 3;
size_t group_of(uintptr_t address, int which) {
  constexpr uint64_t kFactors[] = {0xff51afd7ed558ccd, 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f};
  int bits = which == 0 ? LiveTable::kFirstBits : LiveTable::kOtherBits;
  size_t group = (address >> 4) * kFactors[which] >> (64 - bits);
  return (which == 0 ? group : group + (1 << LiveTable::kFirstBits)) * LiveTable::kGroup;
}

// Changes the first key `from` of the address's groups to kBusy. Its place, or kEntries.
size_t seize(uintptr_t address, uintptr_t from) {
  for (int which = 0; which < kChoices; ++which) {
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
  *page_of(0) = kMany;
  return live_table != nullptr;
}

bool live_table_add(const void *block, const LiveBlock &about) {
  auto address = reinterpret_cast<uintptr_t>(block);
  size_t i = seize(address, LiveTable::kFree);
  if (i == LiveTable::kEntries) return false;
  live_table->blocks[i] = about;
  __atomic_store_n(&live_table->keys[i], address, __ATOMIC_RELEASE);
  count_both(address, 1);
  return true;
}

bool live_table_take(const void *block, LiveBlock *out) {
  auto address = reinterpret_cast<uintptr_t>(block);
  if (address <= LiveTable::kBusy) return false;  // free(NULL) gets here, too
  if (__atomic_load_n(place_of(address), __ATOMIC_RELAXED) == 0) return false;
  size_t i = seize(address, address);
  if (i == LiveTable::kEntries) return false;
  *out = live_table->blocks[i];
  __atomic_store_n(&live_table->keys[i], LiveTable::kFree, __ATOMIC_RELEASE);
  count_both(address, -1);
  return true;
}

}  // namespace membudget::profile
