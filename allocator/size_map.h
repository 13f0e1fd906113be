// Usable sizes by address, for allocators that keep blocks of one size class together in aligned pages: one
// load instead of a call into the allocator, which would find its own page first.
//
// One entry for each page that an address can be in, in address space without memory: the kernel gives pages
// of it as they are touched, one for every 2,048 pages of heap. An entry is right for every live block that
// starts in its page, because each of them was noted when it was handed out, and a page changes its class only
// when none is left. 0: nothing known, or blocks too large for an entry; kMixed: blocks with sizes of their own (over-aligned
// ones) were seen there. Both send the caller to the allocator. Entries are relaxed atomics: whoever frees a block got
// it from who noted it.
//
// A page in which a sampled block starts is marked: as long as one lives, find() and has() know nothing of its blocks,
// so that all of them take the slow path, where it is asked for, and no other block pays for sampling. The entry has the
// number of the sampled blocks in it, in the bits that no size uses, and is negative.
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
  static constexpr size_t kPageBytes = size_t{1} << kPageBits;
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

  // The same as find() in a marked page, 0 in any other.
  static size_t find_marked(const void *block) {
    ptrdiff_t entry = __atomic_load_n(entry_of(block), __ATOMIC_RELAXED);
    return is_marked(entry) ? size_of(entry) : 0;
  }

  // One sampled block more, which was noted, and one less, before its allocator gets it back. Any thread, signal
  // handlers included. A page that has ever had kMostMarks at once stays marked until it changes its class.
  static void mark(const void *block);
  static void unmark(const void *block);
  static constexpr int kMostMarks = 8;

  // Notes a block just handed out.
  static void note(const void *block, size_t usable_bytes);

  // Notes a block whose size need not be its page's. (An entry of just its size proves nothing: it may be left
  // from before the page changed its class.)
  static void note_aligned(const void *block);

 private:
  // Marked: ~(size + marks - 1). Sizes are multiples of 8, of at least that.
  static bool is_marked(ptrdiff_t entry) { return entry < ~(kMostMarks - 1); }
  static size_t size_of(ptrdiff_t entry) { return static_cast<size_t>(~entry & ~(kMostMarks - 1)); }
  static int marks_of(ptrdiff_t entry) { return static_cast<int>(~entry & (kMostMarks - 1)) + 1; }
  static Entry marked(size_t size, int marks) { return static_cast<Entry>(~(static_cast<int>(size) + marks - 1)); }

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
