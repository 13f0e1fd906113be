/* posix_memalign(3): errors by return value, *memptr left alone on failure. */
#include <errno.h>
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

static void every_alignment(void) {
  for (size_t alignment = sizeof(void *); alignment <= 32 * MIB; alignment *= 2) {
    const size_t sizes[] = {0, 1, 100, alignment - 1, alignment, alignment + 1, 70001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      void *block = NULL;
      CHECK_EQ(posix_memalign(&block, alignment, sizes[i]), 0);
      REQUIRE(block != NULL);
      CHECK(memory_is_aligned(block, alignment));
      CHECK(malloc_usable_size(block) >= sizes[i]);
      memory_fill(block, sizes[i], 3);
      CHECK(memory_holds(block, sizes[i], 3));
      free(block);
    }
  }
}

static void bad_alignments_are_einval(void) {
  const size_t alignments[] = {0, 1, 2, 3, 4, 7, 9, 12, 24, 40, 100, 4095, 4104, SIZE_MAX, SIZE_MAX - 7};
  void *const mark = &every_alignment;
  for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++) {
    void *block = mark;
    errno = EXDEV;
    CHECK_EQ(posix_memalign(&block, opaque_size(alignments[i]), 100), EINVAL);
    CHECK(block == mark);
    CHECK_EQ(errno, EXDEV);
    /* The alignment is looked at first, whatever the size. */
    CHECK_EQ(posix_memalign(&block, opaque_size(alignments[i]), opaque_size(SIZE_MAX)), EINVAL);
    CHECK(block == mark);
  }
}

static void too_large_is_enomem(void) {
  const size_t sizes[] = {(size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4096, SIZE_MAX - 63, SIZE_MAX};
  void *const mark = &every_alignment;
  for (size_t alignment = sizeof(void *); alignment <= MIB; alignment *= 2) {
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      void *block = mark;
      CHECK_EQ(posix_memalign(&block, alignment, opaque_size(sizes[i])), ENOMEM);
      CHECK(block == mark);
    }
  }
  void *block = mark;
  CHECK_EQ(posix_memalign(&block, opaque_size(SIZE_MAX / 2 + 1), 1), ENOMEM);
  CHECK(block == mark);
}

int main(void) {
  library_check_expected();
  every_alignment();
  bad_alignments_are_einval();
  too_large_is_enomem();
  return check_finish();
}
