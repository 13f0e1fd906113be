/* realloc(3), and the C library manual, "Changing Block Size": content, failure, realloc(p, 0). */
#include <errno.h>
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

static void null_is_malloc(void) {
  for (size_t size = 0; size < 3000; size += 7) {
    void *block = realloc(NULL, size);
    REQUIRE(block != NULL);
    CHECK(malloc_usable_size(block) >= size);
    memory_fill(block, size, 1);
    CHECK(memory_holds(block, size, 1));
    free(block);
  }
}

/* Returns a null pointer, which is no failure: errno stays. 3.2 GiB would pile up if it did not free. */
static void zero_frees(void) {
  const size_t before = memory_resident_bytes();
  for (int i = 0; i < 50000; i++) {
    void *block = malloc(65536);
    REQUIRE(block != NULL);
    memset(block, 1, 65536);
    errno = EXDEV;
    CHECK(realloc(block, 0) == NULL);
    CHECK_EQ(errno, EXDEV);
  }
  CHECK(memory_resident_bytes() < before + 64 * MIB);
}

static void content_is_kept_from_size_to_size(void) {
  uint64_t random = 3;
  for (int chain = 0; chain < 150; chain++) {
    size_t size = 1 + random_size(&random, MIB);
    unsigned char *block = malloc(size);
    REQUIRE(block != NULL);
    memory_fill(block, size, (unsigned)chain);
    for (int step = 0; step < 12; step++) {
      const size_t next = 1 + random_size(&random, MIB);
      block = realloc(block, next);
      REQUIRE(block != NULL);
      CHECK(memory_is_aligned(block, next >= 16 || library_is_glibc() ? 16 : 8));
      CHECK(malloc_usable_size(block) >= next);
      CHECK(memory_holds(block, size < next ? size : next, (unsigned)chain));
      memory_fill(block, next, (unsigned)chain);
      size = next;
    }
    free(block);
  }
}

/* One that grows a little at a time, with others in its way, as a buffer that is read into does. */
static void content_is_kept_while_growing(void) {
  void *others[300];
  unsigned char *block = NULL;
  size_t size = 0;
  for (int step = 0; step < 300; step++) {
    const size_t next = size + size / 24 + 1;
    block = realloc(block, next);
    REQUIRE(block != NULL);
    CHECK(memory_holds(block, size, 9));
    memory_fill(block, next, 9);
    size = next;
    others[step] = malloc(next % 5000);
  }
  free(block);
  for (int step = 0; step < 300; step++) free(others[step]);
}

static void failure_keeps_the_block(void) {
  const size_t impossible[] = {
      (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4096, SIZE_MAX - 15, SIZE_MAX - 1, SIZE_MAX};
  for (size_t size = 1; size <= 16 * MIB; size *= 8) {
    void *block = malloc(size);
    REQUIRE(block != NULL);
    const size_t usable = malloc_usable_size(block);
    memory_fill(block, size, 5);
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
      errno = 0;
      CHECK(realloc(block, opaque_size(impossible[i])) == NULL);
      CHECK_EQ(errno, ENOMEM);
      CHECK_EQ(malloc_usable_size(block), usable);
      CHECK(memory_holds(block, size, 5));
    }
    free(block);
  }
  errno = 0;
  CHECK(realloc(NULL, opaque_size(SIZE_MAX)) == NULL);
  CHECK_EQ(errno, ENOMEM);
}

static void blocks_of_the_aligned_functions(void) {
  for (size_t alignment = 16; alignment <= 65536; alignment *= 2) {
    for (size_t size = 1; size < 300000; size = size * 5 + 3) {
      unsigned char *block = memalign(alignment, size);
      REQUIRE(block != NULL);
      memory_fill(block, size, 2);
      block = realloc(block, size * 2);
      REQUIRE(block != NULL);
      CHECK(memory_holds(block, size, 2));
      block = realloc(block, size / 2 + 1);
      REQUIRE(block != NULL);
      CHECK(memory_holds(block, size / 2 + 1, 2));
      free(block);
    }
  }
}

int main(void) {
  library_check_expected();
  null_is_malloc();
  zero_frees();
  content_is_kept_from_size_to_size();
  content_is_kept_while_growing();
  failure_keeps_the_block();
  blocks_of_the_aligned_functions();
  return check_finish();
}
