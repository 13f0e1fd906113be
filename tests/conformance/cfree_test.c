/* cfree(3): gone from the headers since glibc 2.26, still there for old programs under its old version. */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

/* As the linker bound it for a program when it was still there. */
extern void cfree_old(void *block);
#if defined(__aarch64__)
__asm__(".symver cfree_old, cfree@GLIBC_2.17");  // the first there is for it
#else
__asm__(".symver cfree_old, cfree@GLIBC_2.2.5");
#endif

/* A cfree of libc's own, called with a block of another allocator, would be the end of the program. */
static void belongs_to_the_library(void) {
  Dl_info of_cfree, of_free;
  REQUIRE(dladdr((void *)&cfree_old, &of_cfree) && dladdr(dlsym(RTLD_DEFAULT, "free"), &of_free));
  CHECK_CONTEXT(of_cfree.dli_fbase == of_free.dli_fbase, "cfree is %s's, free is %s's", of_cfree.dli_fname,
                of_free.dli_fname);
}

static void frees_as_free_does(void) {
  errno = EXDEV;
  cfree_old(NULL);
  CHECK_EQ(errno, EXDEV);
  const size_t before = memory_resident_bytes();
  for (int i = 0; i < 20000; i++) {
    void *block = i % 2 ? malloc(65536) : memalign(64, 65536);
    REQUIRE(block != NULL);
    memset(block, 1, 65536);
    errno = EXDEV;
    cfree_old(block);
    CHECK_EQ(errno, EXDEV);
  }
  CHECK(memory_resident_bytes() < before + 64 * MIB);
}

int main(void) {
  library_check_expected();
  belongs_to_the_library();
  frees_as_free_does();
  return check_finish();
}
