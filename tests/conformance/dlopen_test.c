/* dlopen(3) and dlclose(3) in a loop, of a C++ library whose constructors and destructors allocate. */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>

#include "check.h"
#include "library.h"
#include "memory.h"
#include "plugin.h"

enum { LOADS = 150 };

static const char *path;

static void load_use_unload(int flags) {
  const struct plugin plugin = plugin_load(path, flags);
  void *its_block = plugin.allocate(3000);
  memory_fill(its_block, 3000, 1);
  plugin.release(malloc(4000));
  CHECK_EQ(dlclose(plugin.library), 0);
  CHECK(memory_holds(its_block, 3000, 1));
  free(its_block);
}

static void *in_a_thread(void *flags) {
  load_use_unload((int)(intptr_t)flags);
  return NULL;
}

/* An error message of dlerror() is a block of libc's own. */
static void failing_loads(void) {
  for (int i = 0; i < 100; i++) {
    CHECK(dlopen("/nonexistent/library.so", RTLD_NOW) == NULL);
    CHECK(dlerror() != NULL);
    CHECK(dlsym(RTLD_DEFAULT, "a_symbol_that_is_nowhere") == NULL);
  }
}

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 2);
  path = arguments[1];
  for (int i = 0; i < 20; i++) load_use_unload(RTLD_NOW | RTLD_LOCAL);
  const size_t before = memory_resident_bytes();
  for (int i = 0; i < LOADS; i++) {
    load_use_unload(i % 2 ? RTLD_NOW | RTLD_LOCAL : RTLD_LAZY | RTLD_GLOBAL);
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, in_a_thread, (void *)(intptr_t)RTLD_NOW) == 0);
    pthread_join(thread, NULL);
  }
  CHECK(memory_resident_bytes() < before + 16 * MIB);
  failing_loads();
  return check_finish();
}
