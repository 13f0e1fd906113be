/* mallopt(3): 1 on success, 0 on error. Under another allocator than glibc's there is nothing that these
 * parameters could set: it may say either, and has to go on working. */
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

static void check_result(int parameter, int value, int expected) {
  const int result = mallopt(parameter, value);
  if (library_is_glibc()) {
    CHECK_CONTEXT(result == expected, "mallopt(%d, %d) is %d", parameter, value, result);
  } else {
    CHECK_CONTEXT(result == 0 || result == 1, "mallopt(%d, %d) is %d", parameter, value, result);
  }
}

/* Whether glibc maps a block of this size by itself: it says so in its header, which this test does not
 * look at; but such a block starts 16 bytes into a page. */
static int is_mapped_alone(size_t size) {
  void *block = malloc(size);
  REQUIRE(block != NULL);
  const int mapped = (uintptr_t)block % 4096 == 16;
  free(block);
  return mapped;
}

static void threshold_is_obeyed(void) {
  check_result(M_MMAP_THRESHOLD, 1 << 20, 1);
  if (library_is_glibc()) CHECK(!is_mapped_alone(500000) && is_mapped_alone(3000000));
  check_result(M_MMAP_THRESHOLD, 64 << 10, 1);
  if (library_is_glibc()) CHECK(is_mapped_alone(500000) && !is_mapped_alone(30000));
}

static void parameters(void) {
  check_result(M_MXFAST, 80, 1);
  check_result(M_MXFAST, 0, 1);
  check_result(M_MXFAST, 1 << 20, 0); /* beyond MAX_FAST_SIZE */
  check_result(M_TRIM_THRESHOLD, 1 << 20, 1);
  check_result(M_TOP_PAD, 1 << 16, 1);
  check_result(M_MMAP_MAX, 65536, 1);
  check_result(M_CHECK_ACTION, 3, 1);
  check_result(M_ARENA_TEST, 4, 1);
  check_result(M_ARENA_MAX, 4, 1);
  check_result(M_PERTURB, 0, 1);
  check_result(424242, 1, 1); /* glibc takes what it does not know for done */
}

static void allocation_goes_on(void) {
  for (size_t size = 1; size < 4 * MIB; size *= 2) {
    void *block = malloc(size);
    REQUIRE(block != NULL);
    memory_fill(block, size, 2);
    CHECK(memory_holds(block, size, 2));
    free(block);
  }
}

int main(void) {
  library_check_expected();
  threshold_is_obeyed();
  parameters();
  allocation_goes_on();
  return check_finish();
}
