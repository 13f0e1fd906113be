/* valloc and pvalloc: posix_memalign(3). */
#include <errno.h>
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

enum { PAGE = 4096 };

static void valloc_is_page_aligned(void) {
  for (size_t size = 0; size < 300000; size = size * 3 / 2 + 1) {
    void *block = valloc(size);
    REQUIRE(block != NULL);
    CHECK(memory_is_aligned(block, PAGE));
    CHECK(malloc_usable_size(block) >= size);
    memory_fill(block, size, 8);
    CHECK(memory_holds(block, size, 8));
    free(block);
  }
}

static void pvalloc_rounds_up_to_whole_pages(void) {
  enum { BLOCKS = 40 };
  unsigned char *blocks[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++) {
    const size_t size = i * 1000, rounded = (size + PAGE - 1) / PAGE * PAGE;
    blocks[i] = pvalloc(size);
    REQUIRE(blocks[i] != NULL);
    CHECK(memory_is_aligned(blocks[i], PAGE));
    CHECK(malloc_usable_size(blocks[i]) >= rounded);
    memory_fill(blocks[i], rounded, (unsigned)i);
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    CHECK(memory_holds(blocks[i], (i * 1000 + PAGE - 1) / PAGE * PAGE, (unsigned)i));
    free(blocks[i]);
  }
}

static void too_large_is_enomem(void) {
  const size_t sizes[] = {
      (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX - PAGE, SIZE_MAX - PAGE + 1, SIZE_MAX - 1, SIZE_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    errno = 0;
    CHECK(valloc(opaque_size(sizes[i])) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(pvalloc(opaque_size(sizes[i])) == NULL);
    CHECK_EQ(errno, ENOMEM);
  }
}

int main(void) {
  library_check_expected();
  valloc_is_page_aligned();
  pvalloc_rounds_up_to_whole_pages();
  too_large_is_enomem();
  return check_finish();
}
