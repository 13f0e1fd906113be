/* malloc_usable_size(3): at least what was asked for, the same every time, and writable to its last byte. */
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

static void null_has_none(void) { CHECK_EQ(malloc_usable_size(NULL), 0); }

enum { KINDS = 8 };

static void *allocate(unsigned kind, size_t size) {
  void *block = NULL;
  switch (kind) {
    case 0: return malloc(size);
    case 1: return calloc(size, 1);
    case 2: return realloc(malloc(1), size + (size == 0));
    case 3: return aligned_alloc(64, size);
    case 4: return memalign(1024, size);
    case 5: return posix_memalign(&block, 32, size) == 0 ? block : NULL;
    case 6: return valloc(size);
    default: return pvalloc(size);
  }
}

static void writable_to_the_last_byte_beside_neighbours(void) {
  enum { BLOCKS = 4000 };
  static void *blocks[BLOCKS];
  static size_t usable[BLOCKS];
  uint64_t random = 17;
  for (unsigned i = 0; i < BLOCKS; i++) {
    const size_t size = i < 2000 ? i : random_size(&random, 60000);
    blocks[i] = allocate(i % KINDS, size);
    REQUIRE(blocks[i] != NULL);
    usable[i] = malloc_usable_size(blocks[i]);
    CHECK_CONTEXT(usable[i] >= size, "kind %u, size %zu", i % KINDS, size);
    memory_fill(blocks[i], usable[i], i);
  }
  for (unsigned i = 0; i < BLOCKS; i++) {
    CHECK(memory_holds(blocks[i], usable[i], i));
    CHECK_EQ(malloc_usable_size(blocks[i]), usable[i]);
    free(blocks[i]);
  }
}

static void large_blocks(void) {
  for (size_t size = 100000; size <= 128 * MIB; size = size * 2 + 77) {
    unsigned char *block = malloc(size);
    REQUIRE(block != NULL);
    const size_t usable = malloc_usable_size(block);
    CHECK(usable >= size);
    block[0] = 2;
    block[usable - 1] = 1;
    CHECK(block[0] == 2 && block[usable - 1] == 1);
    free(block);
  }
}

int main(void) {
  library_check_expected();
  null_has_none();
  writable_to_the_last_byte_beside_neighbours();
  large_blocks();
  return check_finish();
}
