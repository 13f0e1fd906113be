/* free_sized and free_aligned_sized: C23, 7.24.3.4 and 7.24.3.5. glibc 2.36 has neither; where the
 * library is preloaded, programs that look for them find them. */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

typedef void (*free_sized_function)(void *block, size_t size);
typedef void (*free_aligned_sized_function)(void *block, size_t alignment, size_t size);

static free_sized_function free_sized_found;
static free_aligned_sized_function free_aligned_sized_found;

static void null_is_nothing(void) {
  errno = EXDEV;
  free_sized_found(NULL, 100);
  free_aligned_sized_found(NULL, 64, 100);
  CHECK_EQ(errno, EXDEV);
}

/* With the size that was asked for, which is not the usable size. */
static void frees_blocks_of_every_size(void) {
  for (size_t size = 0; size < 2 * MIB; size += size / 16 + 1) {
    void *of_malloc = malloc(size), *of_calloc = calloc(1, size), *of_realloc = realloc(malloc(size / 2), size + 1);
    REQUIRE(of_malloc != NULL && of_calloc != NULL && of_realloc != NULL);
    errno = EXDEV;
    free_sized_found(of_malloc, size);
    free_sized_found(of_calloc, size);
    free_sized_found(of_realloc, size + 1);
    CHECK_EQ(errno, EXDEV);
  }
}

static void frees_aligned_blocks(void) {
  for (size_t alignment = 1; alignment <= MIB; alignment *= 2) {
    for (size_t size = 1; size < 200000; size = size * 3 + 1) {
      void *block = aligned_alloc(alignment, size);
      REQUIRE(block != NULL);
      memory_fill(block, size, 1);
      errno = EXDEV;
      free_aligned_sized_found(block, alignment, size);
      CHECK_EQ(errno, EXDEV);
    }
  }
}

static void memory_is_used_again(void) {
  const size_t before = memory_resident_bytes();
  for (int i = 0; i < 20000; i++) {
    void *block = malloc(65000), *aligned = aligned_alloc(256, 65000);
    REQUIRE(block != NULL && aligned != NULL);
    memset(block, 1, 65000);
    memset(aligned, 1, 65000);
    free_sized_found(block, 65000);
    free_aligned_sized_found(aligned, 256, 65000);
  }
  CHECK(memory_resident_bytes() < before + 64 * MIB);
}

int main(void) {
  library_check_expected();
  *(void **)&free_sized_found = dlsym(RTLD_DEFAULT, "free_sized");
  *(void **)&free_aligned_sized_found = dlsym(RTLD_DEFAULT, "free_aligned_sized");
  REQUIRE(free_sized_found != NULL && free_aligned_sized_found != NULL);
  null_is_nothing();
  frees_blocks_of_every_size();
  frees_aligned_blocks();
  memory_is_used_again();
  return check_finish();
}
