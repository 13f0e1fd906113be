// What an allocator is to us: a struct of static functions, no state of its own.
#pragma once

#include <stddef.h>
#include <concepts>

namespace membudget {

// Contract, for every A:
//   allocate(bytes)             a block aligned to 16, or NULL; 0 bytes give a block too
//   zeroed(bytes)               the same, zero-filled
//   resize(block, bytes)        as realloc for a block of this allocator and bytes > 0; on NULL the old one stays
//   aligned(alignment, bytes)   alignment is a power of two
//   release(block)              not NULL; keeps errno
//   usable_size(block)          what malloc_usable_size returns; not NULL; the same until resize or release
//   good_size(bytes)            what usable_size will say of a block gotten for so many bytes, or a little more
//   finds_size                  has size_found(block): the usable size of a block of its own, or 0 when it takes
//                               more to know it (takes NULL, and blocks that it does not own)
//   foretells_size              finds sizes by the page that a block is in: foretold(bytes) is the usable size that
//                               allocate(bytes) and zeroed(bytes) will give, if has_size(block, foretold) says so of
//                               the block, which may be NULL; any other block's size goes through
//                               note_size(block, usable) before size_found is asked for it. A block that resize
//                               leaves in place keeps its size. small_foretold and allocate_small: the same, faster,
//                               for requests up to small_bytes
//   marks_sampled               foretells sizes, and has pages so small that next to none has a sampled block in it:
//                               mark(block) sends all blocks of its page the slow way, where size_found_marked() knows
//                               their size, until unmark(block)
//   owns(block)                 false for a block that start-up handed out before this allocator was there
//   trim()                      hands free memory back to the kernel
//   counts_itself               keeps allocated_total() and freed_total() for the calling thread: the sums
//                               of the usable sizes that it allocated and freed, ever
// None of them locks anything of ours; all may be called from any thread.
template <typename A>
concept Allocator = requires(void *block, const void *seen, size_t bytes) {
  { A::allocate(bytes) } -> std::same_as<void *>;
  { A::zeroed(bytes) } -> std::same_as<void *>;
  { A::resize(block, bytes) } -> std::same_as<void *>;
  { A::aligned(bytes, bytes) } -> std::same_as<void *>;
  { A::release(block) } -> std::same_as<void>;
  { A::usable_size(seen) } -> std::same_as<size_t>;
  { A::good_size(bytes) } -> std::same_as<size_t>;
  { A::owns(seen) } -> std::same_as<bool>;
  { A::trim() } -> std::same_as<void>;
  { A::counts_itself } -> std::convertible_to<bool>;
  { A::finds_size } -> std::convertible_to<bool>;
  { A::foretells_size } -> std::convertible_to<bool>;
  { A::marks_sampled } -> std::convertible_to<bool>;
  { A::name } -> std::convertible_to<const char *>;
};

}  // namespace membudget
