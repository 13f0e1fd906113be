/* A library loaded with RTLD_DEEPBIND takes malloc from libc itself, past whatever is preloaded. What it keeps to itself
 * does no harm: it frees where it allocated, and what passes through libstdc++ is ours on both sides. */
#include <dlfcn.h>

#include "check.h"
#include "library.h"
#include "memory.h"

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 2);
  for (int i = 0; i < 60; i++) {
    void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL | (i % 3 ? RTLD_DEEPBIND : 0));
    REQUIRE(library != NULL);
    void *(*allocate)(size_t);
    void (*release)(void *);
    size_t (*sum)(void);
    *(void **)&allocate = dlsym(library, "plugin_allocate");
    *(void **)&release = dlsym(library, "plugin_free");
    *(void **)&sum = dlsym(library, "plugin_sum");
    REQUIRE(allocate != NULL && release != NULL && sum != NULL);
    CHECK_EQ(sum(), 200 * 199 / 2 + 10000 + 500);
    void *its_block = allocate(3000);
    memory_fill(its_block, 3000, 1);
    CHECK(memory_holds(its_block, 3000, 1));
    release(its_block);
    CHECK_EQ(dlclose(library), 0);
  }
  return check_finish();
}
