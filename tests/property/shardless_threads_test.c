/* More threads than there are shards: those that find none count into one that all share, as exactly, and cross limits as
 * the others do. Run with a limit of 32 MiB.
 */
#include <malloc.h>
#include <pthread.h>

#include "check.h"
#include "library.h"

enum { THREADS = MEMBUDGET_SHARDS + 90, BYTES = 100000 };

static pthread_barrier_t rest;
static void *blocks[THREADS];

static void *live(void *number) {
  const size_t own = (uintptr_t)number;
  free(malloc(100 + own)); /* from here on it has its shard, or none */
  pthread_barrier_wait(&rest);
  pthread_barrier_wait(&rest);
  blocks[own] = malloc(BYTES + own);
  pthread_barrier_wait(&rest);
  pthread_barrier_wait(&rest);
  free(blocks[(own + 1) % THREADS]);
  pthread_barrier_wait(&rest);
  pthread_barrier_wait(&rest);
  return NULL;
}

static int64_t live_bytes(void) { return counters_read(library_block(), library_process()).live_bytes; }

int main(void) {
  pthread_t threads[THREADS];
  pthread_attr_t attributes;
  library_check_expected();
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 << 10);
  pthread_barrier_init(&rest, NULL, THREADS + 1);
  for (uintptr_t i = 0; i < THREADS; i++) REQUIRE(pthread_create(&threads[i], &attributes, live, (void *)i) == 0);
  pthread_barrier_wait(&rest);
  CHECK(library_process()->uncounted_threads >= 90);
  CHECK(library_level(library_block()) < MEMBUDGET_CRITICAL);
  const int64_t before = live_bytes();
  pthread_barrier_wait(&rest);
  pthread_barrier_wait(&rest);
  int64_t usable = 0;
  for (int i = 0; i < THREADS; i++) {
    REQUIRE(blocks[i] != NULL);
    usable += (int64_t)malloc_usable_size(blocks[i]);
  }
  CHECK_EQ(live_bytes() - before, usable);
  CHECK_EQ(library_level(library_block()), MEMBUDGET_CRITICAL);
  pthread_barrier_wait(&rest);
  pthread_barrier_wait(&rest);
  CHECK_EQ(live_bytes(), before);
  CHECK_EQ(library_level(library_block()), MEMBUDGET_NONE);
  pthread_barrier_wait(&rest);
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
  return check_finish();
}
