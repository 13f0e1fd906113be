/* calloc(3): zeroed memory, also where it was used before; overflow of the product. */
#include <errno.h>
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

static void zero_sizes_give_a_block(void) {
  const size_t pairs[][2] = {{0, 0}, {0, 1}, {1, 0}, {0, 1000}, {1000, 0}, {0, SIZE_MAX}, {SIZE_MAX, 0}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    void *block = calloc(opaque_size(pairs[i][0]), opaque_size(pairs[i][1]));
    CHECK_CONTEXT(block != NULL, "calloc(%zu, %zu)", pairs[i][0], pairs[i][1]);
    free(block);
  }
}

static void overflow_fails_with_enomem(void) {
  const size_t half = SIZE_MAX / 2 + 1, root = (size_t)1 << 32;
  const size_t pairs[][2] = {{half, 2},         {2, half},        {root, root},         {root + 1, root},
                             {SIZE_MAX, 2},     {2, SIZE_MAX},    {SIZE_MAX, SIZE_MAX}, {SIZE_MAX / 3, 4},
                             {half / 2 + 1, 4}, {PTRDIFF_MAX, 2}, {SIZE_MAX, 1},        {1, SIZE_MAX},
                             {half, 1},         {1, half}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    errno = 0;
    void *block = calloc(opaque_size(pairs[i][0]), opaque_size(pairs[i][1]));
    CHECK_CONTEXT(block == NULL, "calloc(%#zx, %#zx)", pairs[i][0], pairs[i][1]);
    CHECK_EQ(errno, ENOMEM);
  }
}

/* Leaves dirty memory of every size behind, then asks for the same again. */
static void memory_used_before_is_zeroed(void) {
  enum { BLOCKS = 64 };
  void *blocks[BLOCKS];
  for (size_t size = 1; size <= 2 * MIB; size += size / 3 + 1) {
    const int count = size < 65536 ? BLOCKS : 4;
    for (int i = 0; i < count; i++) {
      blocks[i] = malloc(size);
      REQUIRE(blocks[i] != NULL);
      memset(blocks[i], 0xff, malloc_usable_size(blocks[i]));
    }
    for (int i = 0; i < count; i++) free(blocks[i]);
    for (int i = 0; i < count; i++) {
      blocks[i] = calloc(1 + size % 7, size / (1 + size % 7) + 1);
      REQUIRE(blocks[i] != NULL);
      CHECK(memory_is_zero(blocks[i], (1 + size % 7) * (size / (1 + size % 7) + 1)));
      memset(blocks[i], 0xff, size);
    }
    for (int i = 0; i < count; i++) free(blocks[i]);
  }
}

static void blocks_are_aligned_and_apart(void) {
  enum { SIZES = 2000 };
  static unsigned char *blocks[SIZES];
  for (size_t size = 0; size < SIZES; size++) {
    blocks[size] = calloc(size, 3);
    REQUIRE(blocks[size] != NULL);
    CHECK(memory_is_aligned(blocks[size], size * 3 >= 16 || library_is_glibc() ? 16 : 8));
    CHECK(memory_is_zero(blocks[size], size * 3));
    memory_fill(blocks[size], size * 3, (unsigned)size);
  }
  for (size_t size = 0; size < SIZES; size++) {
    CHECK(memory_holds(blocks[size], size * 3, (unsigned)size));
    free(blocks[size]);
  }
}

/* Pages fresh from the kernel need not be touched: 1 GiB of them costs next to nothing. mimalloc and tcmalloc
 * write their zeros over them all the same. */
static void untouched_memory_is_not_resident(void) {
  const size_t before = memory_resident_bytes();
  unsigned char *block = calloc(1024, MIB - 1);
  REQUIRE(block != NULL);
  CHECK(block[0] == 0 && block[512 * MIB] == 0 && block[1024 * (MIB - 1) - 1] == 0);
  CHECK(memory_resident_bytes() < before + 64 * MIB);
  free(block);
}

int main(void) {
  library_check_expected();
  zero_sizes_give_a_block();
  overflow_fails_with_enomem();
  memory_used_before_is_zeroed();
  blocks_are_aligned_and_apart();
  if (library_is_glibc() || library_is("jemalloc")) untouched_memory_is_not_resident();
  return check_finish();
}
