/* aligned_alloc and memalign: posix_memalign(3), and the C library manual, "Allocating Aligned Memory
 * Blocks". In glibc 2.36 the two are one function. */
#include <errno.h>
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

typedef void *(*aligned_function)(size_t alignment, size_t size);

enum { FILLED = 80000 };

/* Sizes around the alignment, among them all that are no multiple of it. */
static void every_alignment_with_every_kind_of_size(aligned_function allocate) {
  for (size_t alignment = 1; alignment <= 32 * MIB; alignment *= 2) {
    const size_t sizes[] = {
        0, 1, 7, 17, 100, alignment - 1, alignment, alignment + 1, alignment / 2 + 3, alignment * 2 + 5, 5000, 70001};
    void *blocks[sizeof sizes / sizeof *sizes];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      blocks[i] = allocate(alignment, sizes[i]);
      REQUIRE(blocks[i] != NULL);
      CHECK_CONTEXT(memory_is_aligned(blocks[i], alignment), "alignment %zu, size %zu", alignment, sizes[i]);
      CHECK(malloc_usable_size(blocks[i]) >= sizes[i]);
      if (sizes[i]) ((char *)blocks[i])[sizes[i] - 1] = 0;
      memory_fill(blocks[i], sizes[i] < FILLED ? sizes[i] : FILLED, (unsigned)i);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      CHECK(memory_holds(blocks[i], sizes[i] < FILLED ? sizes[i] : FILLED, (unsigned)i));
      free(blocks[i]);
    }
  }
}

/* Many at a time, so that they cannot be aligned by chance. */
static void many_small_blocks(aligned_function allocate) {
  enum { BLOCKS = 500 };
  unsigned char *blocks[BLOCKS];
  for (size_t alignment = 8; alignment <= 8192; alignment *= 2) {
    for (size_t i = 0; i < BLOCKS; i++) {
      blocks[i] = allocate(alignment, 1 + i % 97);
      REQUIRE(blocks[i] != NULL);
      CHECK(memory_is_aligned(blocks[i], alignment));
      memory_fill(blocks[i], 1 + i % 97, (unsigned)i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
      CHECK(memory_holds(blocks[i], 1 + i % 97, (unsigned)i));
      free(blocks[i]);
    }
  }
}

/* Undefined by C; glibc rounds such an alignment up. Refusing it is as good: EINVAL and no block. */
static void no_power_of_two(aligned_function allocate) {
  const size_t alignments[] = {3, 5, 24, 48, 100, 4095, 4097, 12288};
  for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++) {
    errno = 0;
    void *block = allocate(alignments[i], 100);
    if (block == NULL) {
      CHECK_EQ(errno, EINVAL);
      continue;
    }
    size_t rounded = 1;
    while (rounded < alignments[i]) rounded *= 2;
    CHECK_CONTEXT(memory_is_aligned(block, rounded), "alignment %zu", alignments[i]);
    memset(block, 1, 100);
    free(block);
  }
  free(allocate(0, 100));
}

static void impossible_requests(aligned_function allocate) {
  for (size_t alignment = 1; alignment <= (size_t)1 << 60; alignment *= 4) {
    const size_t sizes[] = {(size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX - alignment, SIZE_MAX - 15,
                            SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      errno = 0;
      void *block = allocate(opaque_size(alignment), opaque_size(sizes[i]));
      CHECK_CONTEXT(block == NULL, "alignment %#zx, size %#zx", alignment, sizes[i]);
      CHECK_EQ(errno, ENOMEM);
    }
  }
  errno = 0;
  CHECK(allocate(opaque_size(SIZE_MAX / 2 + 1), 1) == NULL);
  CHECK_EQ(errno, ENOMEM);
  errno = 0;
  CHECK(allocate(opaque_size(SIZE_MAX / 2 + 2), 1) == NULL);
  CHECK_EQ(errno, EINVAL);
}

int main(void) {
  const aligned_function functions[] = {aligned_alloc, memalign};
  library_check_expected();
  for (int i = 0; i < 2; i++) {
    every_alignment_with_every_kind_of_size(functions[i]);
    many_small_blocks(functions[i]);
    no_power_of_two(functions[i]);
    impossible_requests(functions[i]);
  }
  return check_finish();
}
