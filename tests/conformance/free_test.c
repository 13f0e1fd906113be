/* free(3): null pointers; errno is kept (glibc 2.33 and later); blocks of every function of the family. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>

#include "check.h"
#include "library.h"
#include "memory.h"

typedef void *(*allocate_function)(size_t size);

static void *by_malloc(size_t size) { return malloc(size); }
static void *by_calloc(size_t size) { return calloc(1, size); }
static void *by_calloc_of_many(size_t size) { return calloc(size, 1); }
static void *by_realloc(size_t size) { return realloc(NULL, size); }
static void *by_realloc_of_less(size_t size) { return realloc(malloc(size / 2 + 1), size); }
static void *by_realloc_of_more(size_t size) { return realloc(malloc(size * 2), size); }
static void *by_reallocarray(size_t size) { return reallocarray(NULL, size, 1); }
static void *by_aligned_alloc(size_t size) { return aligned_alloc(64, size); }
static void *by_memalign(size_t size) { return memalign(4096, size); }
static void *by_valloc(size_t size) { return valloc(size); }
static void *by_pvalloc(size_t size) { return pvalloc(size); }
static void *by_strndup(size_t size) {
  static char text[] = "a block that the C library itself allocates";
  return strndup(text, size);
}
static void *by_posix_memalign(size_t size) {
  void *block = NULL;
  return posix_memalign(&block, 128, size) == 0 ? block : NULL;
}

static const allocate_function family[] = {by_malloc,          by_calloc,          by_calloc_of_many, by_realloc,
                                           by_realloc_of_less, by_realloc_of_more, by_reallocarray,   by_aligned_alloc,
                                           by_memalign,        by_valloc,          by_pvalloc,        by_strndup,
                                           by_posix_memalign};
enum { FAMILY = sizeof family / sizeof *family };

static void null_is_nothing(void) {
  errno = EXDEV;
  for (int i = 0; i < 1000; i++) free(NULL);
  CHECK_EQ(errno, EXDEV);
}

/* Up to sizes that every allocator maps and unmaps by itself, where system calls could set errno. */
static void errno_is_kept(void) {
  for (int f = 0; f < FAMILY; f++) {
    for (size_t size = 1; size <= 64 * MIB; size *= 4) {
      void *block = family[f](size);
      REQUIRE(block != NULL);
      errno = EXDEV;
      free(block);
      CHECK_EQ(errno, EXDEV);
    }
  }
}

static void blocks_of_every_function_in_random_order(void) {
  enum { BLOCKS = 3000, ROUNDS = 40000 };
  static void *blocks[BLOCKS];
  uint64_t random = 11;
  for (int i = 0; i < ROUNDS; i++) {
    const size_t at = random_below(&random, BLOCKS);
    free(blocks[at]);
    blocks[at] = family[random_below(&random, FAMILY)](1 + random_size(&random, 20000));
    CHECK(blocks[at] != NULL);
  }
  for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
}

/* 200 rounds of 16 MiB each would be 3.2 GiB if free() kept anything back for good. */
static void memory_is_given_back_or_used_again(void) {
  enum { BLOCKS = 4096, SIZE = 4096 };
  static unsigned char *blocks[BLOCKS];
  for (int round = 0; round < 200; round++) {
    for (int i = 0; i < BLOCKS; i++) {
      blocks[i] = family[round % FAMILY](SIZE);
      blocks[i][0] = 1;
    }
    for (int i = 0; i < BLOCKS; i++) free(blocks[(i * 1031) % BLOCKS]);
  }
  CHECK(memory_resident_bytes() < 300 * MIB);
}

int main(void) {
  library_check_expected();
  null_is_nothing();
  errno_is_kept();
  blocks_of_every_function_in_random_order();
  memory_is_given_back_or_used_again();
  return check_finish();
}
