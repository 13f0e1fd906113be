/* fork(2) while other threads allocate: the child allocates and frees at once, its parent's blocks too. */
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "library.h"
#include "memory.h"

enum { THREADS = 3, FORKS = 60, BLOCKS = 200, CHILD_SECONDS = 60 };

static int stopping;
static void *parents_blocks[BLOCKS];

static void *churn(void *seed) {
  uint64_t random = (uintptr_t)seed;
  void *blocks[64] = {0};
  while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
    const size_t at = random_below(&random, 64);
    free(blocks[at]);
    blocks[at] = malloc(random_size(&random, 100000));
  }
  for (int i = 0; i < 64; i++) free(blocks[i]);
  return NULL;
}

static void *allocate_in_a_thread(void *unused) {
  (void)unused;
  for (size_t size = 1; size < 200000; size *= 3) free(malloc(size));
  return malloc(1000);
}

/* In the child: 0 if all is well. A lock left held would hang it: the alarm ends that. */
static int child_works(void) {
  alarm(CHILD_SECONDS);
  for (unsigned i = 0; i < BLOCKS; i++) {
    if (!memory_holds(parents_blocks[i], 100 + i, i)) return 1;
    free(parents_blocks[i]);
  }
  for (size_t size = 1; size < MIB; size = size * 2 + 1) {
    unsigned char *block = calloc(1, size);
    if (!block || !memory_is_zero(block, size)) return 2;
    block = realloc(block, size * 2);
    if (!block) return 3;
    free(block);
  }
  pthread_t thread;
  void *of_thread = NULL;
  if (pthread_create(&thread, NULL, allocate_in_a_thread, NULL)) return 4;
  if (pthread_join(thread, &of_thread) || !of_thread) return 5;
  free(of_thread);
  return 0;
}

static void fork_once(void) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(child_works());
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK_CONTEXT(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
}

/* A child of a child, and one that ends by exit() with its handlers. */
static void fork_twice(void) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const pid_t grandchild = fork();
    if (grandchild == 0) exit(child_works());
    int status = -1;
    waitpid(grandchild, &status, 0);
    exit(WIFEXITED(status) ? WEXITSTATUS(status) : 9);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK_CONTEXT(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
}

int main(void) {
  library_check_expected();
  for (unsigned i = 0; i < BLOCKS; i++) {
    REQUIRE((parents_blocks[i] = malloc(100 + i)) != NULL);
    memory_fill(parents_blocks[i], 100 + i, i);
  }
  fork_once();
  fork_twice();
  pthread_t threads[THREADS];
  for (uintptr_t i = 0; i < THREADS; i++) REQUIRE(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)) == 0);
  for (int i = 0; i < FORKS; i++) fork_once();
  __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (unsigned i = 0; i < BLOCKS; i++) {
    CHECK(memory_holds(parents_blocks[i], 100 + i, i));
    free(parents_blocks[i]);
  }
  return check_finish();
}
