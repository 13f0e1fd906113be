/* Libraries with static thread-local memory, loaded late. glibc promises 512 bytes for all of them together
 * (glibc.rtld.optional_static_tls): the library and the allocator that it loads must leave most of it. */
#include <dlfcn.h>
#include <pthread.h>

#include "check.h"
#include "library.h"

static int (*touch[8])(void);
static int loaded;

static void *touch_all(void *unused) {
  for (int i = 0; i < loaded; i++) CHECK_EQ(touch[i](), 1);
  return unused;
}

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count > 1 && count < 9);
  for (int i = 1; i < count; i++) {
    void *library = dlopen(arguments[i], RTLD_NOW);
    CHECK_CONTEXT(library != NULL, "%d: %s", i, dlerror());
    if (library) *(void **)&touch[loaded++] = dlsym(library, "static_tls_touch");
  }
  pthread_t thread;
  REQUIRE(pthread_create(&thread, NULL, touch_all, NULL) == 0);
  pthread_join(thread, NULL);
  touch_all(NULL);
  return check_finish();
}
