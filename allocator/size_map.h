// Usable sizes by address, for allocators that keep blocks of one size class together in aligned pages: two
// loads instead of a call into the allocator, which would find its own page first.
//
// An entry is right for every live block that starts in its page, because each of them was noted when it was
// handed out, and a page changes its class only when none is left. 0: nothing known; kMixed: blocks with sizes
// of their own (over-aligned ones) were seen there. Both send the caller to the allocator. Entries are relaxed
// atomics: whoever frees a block got it from who noted it.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace membudget {

template <unsigned kPageBits>
class SizeMap {
 public:
  static constexpr unsigned kAddressBits = 48, kLeafBits = 12, kUnitBits = 3;
  static constexpr uint16_t kMixed = UINT16_MAX;

  // Takes address space for the table; false when there is none. Once, before any use.
  static bool reserve();

  // The usable size of a block, 0 when it is not known here. Any address will do.
  static size_t find(const void *block) {
    const uint16_t *entry = entry_of(block);
    if (__builtin_expect(entry == nullptr, 0)) return 0;
    uint16_t units = __atomic_load_n(entry, __ATOMIC_RELAXED);
    return __builtin_expect(units == kMixed, 0) ? 0 : static_cast<size_t>(units) << kUnitBits;
  }

  // Whether that is the size known for the block's page.
  static bool has(const void *block, size_t usable_bytes) {
    const uint16_t *entry = entry_of(block);
    return entry && __atomic_load_n(entry, __ATOMIC_RELAXED) == usable_bytes >> kUnitBits;
  }

  // Notes a block just handed out.
  static void note(const void *block, size_t usable_bytes);

  // Notes a block whose size need not be its page's.
  static void note_aligned(const void *block, size_t usable_bytes);

 private:
  struct Leaf {
    uint16_t units[1 << kLeafBits];
  };

  static uint16_t *entry_of(const void *block) {
    uintptr_t page = reinterpret_cast<uintptr_t>(block) >> kPageBits;
    Leaf *leaf = __atomic_load_n(&root[page >> kLeafBits], __ATOMIC_ACQUIRE);
    return __builtin_expect(leaf != nullptr, 1) ? &leaf->units[page & ((1 << kLeafBits) - 1)] : nullptr;
  }
  static uint16_t *make_entry(const void *block);

  static Leaf **root;
};

// Pages of 64 KiB: a mimalloc page is made of whole slices of that size. Pages of 4 KiB: the smallest ones
// that tcmalloc can be built with.
using MimallocSizes = SizeMap<16>;
using TcmallocSizes = SizeMap<12>;

}  // namespace membudget
