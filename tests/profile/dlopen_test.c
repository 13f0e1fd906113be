/* Libraries that come and go while blocks are sampled: the code at an address is another one after a while.
 * usage: dlopen_test PLUGIN... */
#include <dlfcn.h>
#include <pthread.h>

#include "sampled.h"

enum { ROUNDS = 60, CALLS = 20, THREADS = 3 };

static int is_over;

static void *allocate_beside(void *unused) {
  while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) sampled_calls(5);
  return unused;
}

__attribute__((noinline)) static void use(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  REQUIRE(library != NULL);
  void *(*allocate)(size_t);
  *(void **)&allocate = dlsym(library, "plugin_allocate");
  REQUIRE(allocate != NULL);
  for (int i = 0; i < CALLS; i++) {
    char *block = allocate(700);
    CHECK(block != NULL);
    free(block);
  }
  CHECK(dlclose(library) == 0);
  CHECK(dlopen(path, RTLD_NOW | RTLD_NOLOAD) == NULL);
}

static void *use_all(void *arguments) {
  for (int round = 0; round < ROUNDS; round++)
    for (char **path = arguments; *path; path++) use(*path);
  return NULL;
}

int main(int count, char **arguments) {
  pthread_t threads[THREADS];
  sampled_require();
  REQUIRE(count > 1);
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_create(&threads[i], NULL, allocate_beside, NULL) == 0);
  use_all(arguments + 1);
  __atomic_store_n(&is_over, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
  return check_finish();
}
