// Usable sizes by address, for allocators that keep blocks of one size class together in aligned pages: one
// load instead of a call into the allocator, which would find its own page first.
//
// One entry for each page that an address can be in, in address space without memory: the kernel gives pages
// of it as they are touched, one for every 2,048 pages of heap. An entry is right for every live block that
// starts in its page, because each of them was noted when it was handed out, and a page changes its class only
// when none is left. 0: nothing known, or blocks too large for an entry; kMixed: blocks with sizes of their own (over-aligned
// ones) were seen there. Both send the caller to the allocator. Entries are relaxed atomics: whoever frees a block got
// it from who noted it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)  // or each use of what is declared here goes through the GOT

namespace membudget {

template <unsigned kPageBits>
class SizeMap {
 public:
#if defined(__x86_64__)
  static constexpr unsigned kAddressBits = 47;
#else
  static constexpr unsigned kAddressBits = 48;
#endif
  using Entry = int16_t;  // bytes: one test of its sign tells whether it is a size
  static constexpr size_t kMostBytes = INT16_MAX;
  static constexpr Entry kNever = -2;  // a size that no page has
  static constexpr Entry kMixed = -1;

  // Takes the address space; false when there is none (ulimit -v, strict overcommit). Once, before any use.
  static bool reserve();

  // The usable size of a block in bytes, 0 when it is not known here. Any address will do.
  static size_t find(const void *block) {
    ptrdiff_t bytes = __atomic_load_n(entry_of(block), __ATOMIC_RELAXED);
    return __builtin_expect(bytes <= 0, 0) ? 0 : static_cast<size_t>(bytes);
  }

  // Whether that is the size known for the page of the block, which may be NULL: its page has none.
  static bool has(const void *block, ptrdiff_t bytes) {
    return __atomic_load_n(entry_of(block), __ATOMIC_RELAXED) == bytes;
  }

  // Notes a block just handed out.
  static void note(const void *block, size_t usable_bytes);

  // Notes a block whose size need not be its page's. (An entry of just its size proves nothing: it may be left
  // from before the page changed its class.)
  static void note_aligned(const void *block);

 private:
  static Entry *entry_of(const void *block) { return entries + (reinterpret_cast<uintptr_t>(block) >> kPageBits); }
  static Entry *entries;
};

extern template class SizeMap<16>;
extern template class SizeMap<13>;

// Pages of 64 KiB: a mimalloc page is made of whole slices of that size. Pages of 8 KiB: tcmalloc's.
using MimallocSizes = SizeMap<16>;
using TcmallocSizes = SizeMap<13>;

}  // namespace membudget

#pragma GCC visibility pop
