/* Threads that end: their blocks stay, others free them, and their destructors allocate and free. */
#include <limits.h>
#include <malloc.h>
#include <pthread.h>

#include "check.h"
#include "library.h"
#include "memory.h"

enum { BLOCKS = 100, GENERATIONS = 400, THREADS = 8 };

static pthread_key_t early_key, late_key;
static int destructions;

/* Runs in every round of destructors that POSIX allows, so also after all the others had their turn. */
static void destroy(void *value) {
  const uintptr_t round = (uintptr_t)value;
  void *block = malloc(round * 1000), *zeroed = calloc(3, round * 7);
  CHECK(block != NULL && zeroed != NULL && memory_is_zero(zeroed, round * 21));
  block = realloc(block, round * 3000);
  CHECK(block != NULL);
  free(block);
  free(zeroed);
  __atomic_add_fetch(&destructions, 1, __ATOMIC_RELAXED);
  if (round < PTHREAD_DESTRUCTOR_ITERATIONS) pthread_setspecific(late_key, (void *)(round + 1));
}

static void destroy_block(void *value) { free(value); }

/* Hands over a list of blocks that outlives it. */
static void *live_shortly(void *seed) {
  const unsigned first = (unsigned)(uintptr_t)seed;
  void **blocks = malloc(BLOCKS * sizeof *blocks);
  REQUIRE(blocks != NULL);
  for (unsigned i = 0; i < BLOCKS; i++) {
    REQUIRE((blocks[i] = malloc(1 + i * 13)) != NULL);
    memory_fill(blocks[i], 1 + i * 13, first + i);
  }
  pthread_setspecific(early_key, malloc(333));
  pthread_setspecific(late_key, (void *)1);
  return blocks;
}

static void check_and_free(void **blocks, unsigned first) {
  for (unsigned i = 0; i < BLOCKS; i++) {
    CHECK(memory_holds(blocks[i], 1 + i * 13, first + i));
    free(blocks[i]);
  }
  free(blocks);
}

static void run_generation(unsigned generation) {
  pthread_t threads[THREADS];
  for (unsigned i = 0; i < THREADS; i++) {
    void *seed = (void *)(uintptr_t)(generation * THREADS + i);
    REQUIRE(pthread_create(&threads[i], NULL, live_shortly, seed) == 0);
  }
  for (unsigned i = 0; i < THREADS; i++) {
    void *blocks = NULL;
    REQUIRE(pthread_join(threads[i], &blocks) == 0);
    check_and_free(blocks, generation * THREADS + i);
  }
}

/* Without destructors: tcmalloc and mimalloc do lose the caches that the last round of destructors made. */
static void *allocate_only(void *unused) {
  (void)unused;
  for (size_t i = 0; i < 2000; i++) {
    unsigned char *block = malloc(1 + i * 20);
    block[0] = 1;
    free(block);
  }
  return malloc(100);
}

static void threads_leave_no_memory_behind(void) {
  size_t before = 0;
  for (int i = 0; i < 3000; i++) {
    if (i == 1000) before = memory_resident_bytes();
    pthread_t thread;
    void *block = NULL;
    REQUIRE(pthread_create(&thread, NULL, allocate_only, NULL) == 0);
    pthread_join(thread, &block);
    free(block);
  }
  CHECK(memory_resident_bytes() < before + 16 * MIB);
}

int main(void) {
  library_check_expected();
  REQUIRE(pthread_key_create(&early_key, destroy_block) == 0);
  REQUIRE(pthread_key_create(&late_key, destroy) == 0);
  for (unsigned generation = 0; generation < GENERATIONS; generation++) run_generation(generation);
  CHECK_EQ(destructions, GENERATIONS * THREADS * PTHREAD_DESTRUCTOR_ITERATIONS);
  threads_leave_no_memory_behind();
  return check_finish();
}
