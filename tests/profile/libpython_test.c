/* CPython as a library that is loaded, used and unloaded while other threads are sampled: whether there is an interpreter,
 * and where, is asked for each stack.
 * usage: libpython_test LIBPYTHON */
#include <dlfcn.h>
#include <pthread.h>

#include "sampled.h"

enum { ROUNDS = 12, BARE_ROUNDS = 80, THREADS = 3 };

static int is_over;

static void *allocate_beside(void *unused) {
  while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) sampled_calls(5);
  return unused;
}

static void *symbol(void *library, const char *name) {
  void *found = dlsym(library, name);
  REQUIRE(found != NULL);
  return found;
}

static void *load(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  REQUIRE(library != NULL);
  return library;
}

static void unload(void *library, const char *path) {
  CHECK(dlclose(library) == 0);
  CHECK(dlopen(path, RTLD_NOW | RTLD_NOLOAD) == NULL);
}

/* Without site-packages: modules in C would keep the library. */
static void run(void *library) {
  static const char program[] =
      "def fill(depth):\n"
      "    return fill(depth - 1) if depth else [bytearray(700) for _ in range(300)]\n"
      "kept = [fill(depth) for depth in range(5)]\n";
  *(int *)symbol(library, "Py_NoSiteFlag") = 1;
  ((void (*)(int))symbol(library, "Py_InitializeEx"))(0);
  CHECK_EQ(((int (*)(const char *, void *))symbol(library, "PyRun_SimpleStringFlags"))(program, NULL), 0);
  sampled_calls(20); /* by a thread that the interpreter knows, outside of it */
  CHECK_EQ(((int (*)(void))symbol(library, "Py_FinalizeEx"))(), 0);
  sampled_calls(20);
}

int main(int count, char **arguments) {
  pthread_t threads[THREADS];
  sampled_require();
  REQUIRE(count == 2);
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_create(&threads[i], NULL, allocate_beside, NULL) == 0);
  for (int round = 0; round < ROUNDS + BARE_ROUNDS; round++) {
    void *library = load(arguments[1]);
    if (round < ROUNDS) run(library);
    sampled_calls(5);
    unload(library, arguments[1]);
    sampled_calls(5);
  }
  __atomic_store_n(&is_over, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
  return check_finish();
}
