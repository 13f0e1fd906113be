/* malloc(3), and the C library manual, "Malloc Examples": alignment; malloc(3), NOTES: PTRDIFF_MAX. */
#include <errno.h>
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

/* glibc aligns every block for any type. Other allocators align a block of less than 16 bytes for what
 * fits into it, as the C standard allows. */
static size_t least_alignment(size_t size) { return library_is_glibc() || size >= 16 ? 16 : 8; }

static void zero_size_gives_a_block_of_its_own(void) {
  void *first = malloc(0), *second = malloc(0);
  CHECK(first != NULL && second != NULL);
  CHECK(first != second);
  free(first);
  free(second);
}

static void every_size_is_aligned_and_usable(void) {
  enum { SIZES = 5000 };
  static unsigned char *blocks[SIZES];
  for (size_t size = 0; size < SIZES; size++) {
    blocks[size] = malloc(size);
    REQUIRE(blocks[size] != NULL);
    CHECK(memory_is_aligned(blocks[size], least_alignment(size)));
    memory_fill(blocks[size], size, (unsigned)size);
  }
  for (size_t size = 0; size < SIZES; size++) {
    CHECK(memory_holds(blocks[size], size, (unsigned)size));
    free(blocks[size]);
  }
}

static void large_sizes_are_usable_at_both_ends(void) {
  for (size_t size = 4096; size <= 256 * MIB; size *= 2) {
    for (size_t near = size - 1; near <= size + 1; near++) {
      unsigned char *block = malloc(near);
      REQUIRE(block != NULL);
      CHECK(memory_is_aligned(block, 16));
      block[0] = 1;
      block[near / 2] = 2;
      block[near - 1] = 3;
      CHECK(block[0] == 1 && block[near / 2] == 2 && block[near - 1] == 3);
      free(block);
    }
  }
}

static void more_than_an_object_may_have_fails_with_enomem(void) {
  const size_t sizes[] = {(size_t)PTRDIFF_MAX,
                          (size_t)PTRDIFF_MAX + 1,
                          (size_t)PTRDIFF_MAX + 2,
                          SIZE_MAX - 65536,
                          SIZE_MAX - 4096,
                          SIZE_MAX - 4095,
                          SIZE_MAX - 32,
                          SIZE_MAX - 16,
                          SIZE_MAX - 15,
                          SIZE_MAX - 8,
                          SIZE_MAX - 1,
                          SIZE_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    errno = 0;
    void *block = malloc(opaque_size(sizes[i]));
    CHECK_CONTEXT(block == NULL, "size %#zx", sizes[i]);
    CHECK_EQ(errno, ENOMEM);
  }
}

static void success_leaves_errno_alone(void) {
  for (size_t size = 1; size <= 16 * MIB; size *= 3) {
    errno = EXDEV;
    void *block = malloc(size);
    CHECK_EQ(errno, EXDEV);
    free(block);
  }
}

static void freed_memory_is_used_again(void) {
  const size_t before = memory_resident_bytes();
  for (int i = 0; i < 200000; i++) {
    const size_t size = 1 + (size_t)(i % 20) * 1000;
    unsigned char *block = malloc(size);
    REQUIRE(block != NULL);
    block[0] = block[size - 1] = 1;
    free(block);
  }
  CHECK(memory_resident_bytes() < before + 32 * MIB);
}

int main(void) {
  library_check_expected();
  zero_size_gives_a_block_of_its_own();
  every_size_is_aligned_and_usable();
  large_sizes_are_usable_at_both_ends();
  more_than_an_object_may_have_fails_with_enomem();
  success_leaves_errno_alone();
  freed_memory_is_used_again();
  return check_finish();
}
