/* malloc_trim(3): gives free memory back to the kernel; 1 if it did, else 0.
 *
 * mimalloc 2.0.9 gives back when its delay is over and more is freed, not when it is asked; an allocator
 * given by its path may have no such function.
 */
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

enum { BLOCKS = 60000, SIZE = 1500, KEPT_EVERY = 1000 };
static unsigned char *blocks[BLOCKS];

static void fill(void) {
  for (unsigned i = 0; i < BLOCKS; i++) {
    blocks[i] = malloc(SIZE);
    REQUIRE(blocks[i] != NULL);
    memory_fill(blocks[i], SIZE, i);
  }
}

/* Frees all but a few, which keep the heap from shrinking from its end. */
static void drain(void) {
  for (unsigned i = 0; i < BLOCKS; i++) {
    if (i % KEPT_EVERY == KEPT_EVERY - 1) continue;
    free(blocks[i]);
    blocks[i] = NULL;
  }
}

static void check_kept(void) {
  for (unsigned i = KEPT_EVERY - 1; i < BLOCKS; i += KEPT_EVERY) CHECK(memory_holds(blocks[i], SIZE, i));
}

static int can_be_asked(void) { return !library_is("mimalloc") && library_expected()[0] != '/'; }

static void free_memory_goes_back(void) {
  const size_t empty = memory_resident_bytes();
  fill();
  const size_t full = memory_resident_bytes();
  drain();
  const size_t drained = memory_resident_bytes();
  const int trimmed = malloc_trim(0);
  const size_t after = memory_resident_bytes();
  CHECK(trimmed == 0 || trimmed == 1);
  if (can_be_asked()) {
    CHECK(full > empty + BLOCKS / 10 * 9 * SIZE);
    CHECK_CONTEXT(after < empty + (full - empty) * 6 / 10, "resident: %zu empty, %zu full, %zu drained, %zu trimmed",
                  empty, full, drained, after);
  }
  if (after + 8 * MIB < drained) CHECK_EQ(trimmed, 1);
  check_kept();
  for (unsigned i = KEPT_EVERY - 1; i < BLOCKS; i += KEPT_EVERY) free(blocks[i]);
}

static void any_padding_at_any_time(void) {
  const size_t paddings[] = {0, 1, 4096, MIB, 64 * MIB, SIZE_MAX / 2, SIZE_MAX};
  for (size_t i = 0; i < sizeof paddings / sizeof *paddings; i++) {
    void *block = malloc(100000);
    memory_fill(block, 100000, 1);
    const int trimmed = malloc_trim(opaque_size(paddings[i]));
    CHECK(trimmed == 0 || trimmed == 1);
    CHECK(memory_holds(block, 100000, 1));
    free(block);
  }
}

int main(void) {
  library_check_expected();
  free_memory_goes_back();
  any_padding_at_any_time();
  free_memory_goes_back();
  return check_finish();
}
