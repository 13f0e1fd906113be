// glibc's own malloc, by the names it exports for interposers: no dlsym, no bootstrap.
#pragma once

#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "allocator/concept.h"
#include "allocator/early_arena.h"

extern "C" {
void *__libc_malloc(size_t);
void __libc_free(void *);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
int __libc_mallopt(int, int);
struct mallinfo __libc_mallinfo(void);
}

#pragma GCC visibility push(hidden)  // or each use of what is declared here goes through the GOT

namespace membudget {

struct Ptmalloc {
  static constexpr const char *name = "ptmalloc";
  static constexpr bool counts_itself = false;
  static constexpr bool finds_size = true, foretells_size = false, marks_sampled = false;

  static void *allocate(size_t bytes) { return __libc_malloc(bytes); }
  static void *zeroed(size_t bytes) { return __libc_calloc(1, bytes); }
  static void *resize(void *block, size_t bytes) { return __libc_realloc(block, bytes); }
  static void *aligned(size_t alignment, size_t bytes) { return __libc_memalign(alignment, bytes); }
  static void release(void *block) { __libc_free(block); }
  static bool owns(const void *) { return true; }

  // The chunk's size word stands before the block: three flag bits, of which the second says that the
  // chunk was mapped by itself, with a header of two words instead of one that counts (glibc's malloc.c,
  // unchanged since 2.3). verify_layout() holds it against the real function.
  static size_t usable_size(const void *block) {
    size_t word = static_cast<const size_t *>(block)[-1];
    return (word & ~size_t{7}) - sizeof(size_t) - ((word & 2) << 2);
  }
  __attribute__((always_inline)) static size_t size_found(const void *block) {
    if (!block) return 0;
    size_t word = static_cast<const size_t *>(block)[-1];
    if (__builtin_expect(word & 2, 0)) return 0;
    size_t bytes = (word & ~size_t{7}) - sizeof(size_t);
    if (bytes == 0) __builtin_unreachable();  // the smallest chunk has 24: spares the caller's check
    return bytes;
  }
  static_assert(sizeof(size_t) == 8, "the mapped flag is shifted to one word's size");

  // Chunks are multiples of 16 bytes with a header of 8; large ones are mapped in whole pages.
  static size_t good_size(size_t bytes) {
    constexpr size_t kMapped = 128 << 10;
    return bytes >= kMapped ? ((bytes + 16 + 4095) & ~size_t{4095}) - 16 : ((bytes + 8 + 15) & ~size_t{15}) - 8;
  }

  static void trim();

  // Binds what glibc offers under no other name than the one that we interpose. Why its blocks cannot be counted here,
  // or NULL: when the names above are not glibc's, or the chunk layout is not the one that usable_size() reads.
  static const char *bind();

  // Fixes the thresholds and the number of arenas; -1 leaves one as it is. Ends glibc's dynamic growth
  // of the mmap threshold.
  static void configure(int64_t mmap_threshold, int64_t trim_threshold, int64_t arenas);
};
static_assert(Allocator<Ptmalloc>);

// The same, for blocks that may still be the early arena's: where another allocator was wanted.
struct PtmallocAfterEarly : Ptmalloc {
  static bool owns(const void *block) { return !EarlyArena::owns(block); }
  static size_t size_found(const void *block) { return owns(block) ? Ptmalloc::size_found(block) : 0; }
};
static_assert(Allocator<PtmallocAfterEarly>);

// glibc's functions behind the names that we export. NULL until Ptmalloc::bind().
struct GlibcCalls {
  size_t (*malloc_usable_size)(void *);
  int (*malloc_trim)(size_t);
  int (*malloc_info)(int, FILE *);
  void (*malloc_stats)();
  struct mallinfo2 (*mallinfo2)();
};
extern GlibcCalls glibc_calls;

}  // namespace membudget

#pragma GCC visibility pop
