/* reallocarray(3): realloc() of a product, which fails safely where the product overflows. */
#include <errno.h>
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

static void overflow_fails_and_keeps_the_block(void) {
  const size_t half = SIZE_MAX / 2 + 1, root = (size_t)1 << 32;
  const size_t pairs[][2] = {{half, 2},     {2, half},         {root, root},      {root + 1, root},
                             {SIZE_MAX, 2}, {SIZE_MAX / 3, 4}, {half / 2 + 1, 4}, {SIZE_MAX, SIZE_MAX},
                             {SIZE_MAX, 1}, {1, half}};
  void *block = malloc(1000);
  REQUIRE(block != NULL);
  const size_t usable = malloc_usable_size(block);
  memory_fill(block, 1000, 4);
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    const size_t count = opaque_size(pairs[i][0]), size = opaque_size(pairs[i][1]);
    errno = 0;
    CHECK_CONTEXT(reallocarray(block, count, size) == NULL, "%#zx of %#zx", count, size);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK_CONTEXT(reallocarray(NULL, count, size) == NULL, "%#zx of %#zx", count, size);
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(malloc_usable_size(block), usable);
    CHECK(memory_holds(block, 1000, 4));
  }
  free(block);
}

static void zero_sizes(void) {
  const size_t pairs[][2] = {{0, 0}, {0, 5}, {5, 0}, {0, SIZE_MAX}, {SIZE_MAX, 0}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    const size_t count = opaque_size(pairs[i][0]), size = opaque_size(pairs[i][1]);
    void *block = reallocarray(NULL, count, size);
    CHECK(block != NULL);
    errno = EXDEV;
    CHECK(reallocarray(block, count, size) == NULL); /* freed, as by realloc(block, 0) */
    CHECK_EQ(errno, EXDEV);
  }
}

static void zero_frees(void) {
  const size_t before = memory_resident_bytes();
  for (int i = 0; i < 20000; i++) {
    void *block = malloc(65536);
    memset(block, 1, 65536);
    CHECK(reallocarray(block, 0, 8) == NULL);
  }
  CHECK(memory_resident_bytes() < before + 64 * MIB);
}

static void content_is_kept(void) {
  unsigned char *block = NULL;
  size_t bytes = 0;
  for (size_t count = 1; count < 200000; count = count * 3 / 2 + 1) {
    block = reallocarray(block, count, 12);
    REQUIRE(block != NULL);
    CHECK(memory_holds(block, bytes, 6));
    bytes = count * 12;
    CHECK(malloc_usable_size(block) >= bytes);
    memory_fill(block, bytes, 6);
  }
  block = reallocarray(block, 5, 7);
  REQUIRE(block != NULL);
  CHECK(memory_holds(block, 35, 6));
  free(block);
}

int main(void) {
  library_check_expected();
  overflow_fails_and_keeps_the_block();
  zero_sizes();
  zero_frees();
  content_is_kept();
  return check_finish();
}
