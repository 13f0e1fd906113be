/* Many threads cross the limit at once: when the level is up, live bytes are at most the limit and one
 * allocation in flight per thread. Each thread stops at the first allocation after which it sees the level:
 * so without these last ones, all that is left has to be below the limit, to the byte. Run with
 * MEMBUDGET_LIMIT.
 *
 * level_threads_test THREADS ROUNDS
 */
#include <malloc.h>
#include <pthread.h>

#include "check.h"
#include "level_model.h"
#include "library.h"
#include "memory.h"

enum { BLOCKS = 1 << 18, THREADS_MAX = 256, LARGEST = 8 << 10 };

static struct membudget_header *block;
static pthread_barrier_t start, stop, go_on;
static long rounds, threads;
static int64_t last_usable; /* of the allocations after which a thread saw the level, in this round */

struct worker {
  pthread_t thread;
  uint64_t random;
  unsigned used;
  void *blocks[BLOCKS];
};

/* Allocates, and now and then frees, until an allocation returns with the level up. */
static void fill(struct worker *worker) {
  while (worker->used < BLOCKS) {
    if (worker->used && random_below(&worker->random, 5) == 0) {
      free(worker->blocks[--worker->used]);
      continue;
    }
    void *made = malloc(random_size(&worker->random, LARGEST));
    worker->blocks[worker->used++] = made;
    if (library_level(block) != MEMBUDGET_CRITICAL) continue;
    __atomic_add_fetch(&last_usable, (int64_t)malloc_usable_size(made), __ATOMIC_RELAXED);
    return;
  }
  CHECK(worker->used < BLOCKS);
}

static void *work(void *argument) {
  struct worker *worker = argument;
  for (long round = 0; round < rounds; round++) {
    pthread_barrier_wait(&start);
    fill(worker);
    pthread_barrier_wait(&stop);
    pthread_barrier_wait(&go_on);
    while (worker->used) free(worker->blocks[--worker->used]);
  }
  return NULL;
}

static void check_crossing(long round, uint64_t crossings_before) {
  const int64_t counted = counters_read(block, library_process()).counted_bytes;
  const int64_t most = block->limit_bytes - 1 + __atomic_exchange_n(&last_usable, 0, __ATOMIC_RELAXED);
  CHECK_EQ(library_level(block), MEMBUDGET_CRITICAL);
  CHECK_EQ(block->crossings, crossings_before + 1);
  CHECK_CONTEXT(counted <= most, "round %ld: %lld counted is %lld more than %ld threads may be ahead", round,
                (long long)counted, (long long)(counted - most), threads);
  CHECK_CONTEXT(block->last_crossing_counted_bytes >= block->limit_bytes && block->last_crossing_counted_bytes <= most,
                "crossed at %lld, limit %lld", (long long)block->last_crossing_counted_bytes,
                (long long)block->limit_bytes);
}

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 3);
  block = library_block();
  threads = atol(arguments[1]);
  rounds = atol(arguments[2]);
  REQUIRE(threads > 0 && threads <= THREADS_MAX && block->limit_bytes > 0);
  static struct worker workers[THREADS_MAX];
  pthread_barrier_init(&start, NULL, (unsigned)threads + 1);
  pthread_barrier_init(&stop, NULL, (unsigned)threads + 1);
  pthread_barrier_init(&go_on, NULL, (unsigned)threads + 1);
  for (long i = 0; i < threads; i++) {
    workers[i].random = (uint64_t)i + 1;
    REQUIRE(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
  }
  for (long round = 0; round < rounds; round++) {
    const uint64_t crossings = block->crossings;
    pthread_barrier_wait(&start);
    pthread_barrier_wait(&stop);
    check_crossing(round, crossings);
    pthread_barrier_wait(&go_on);
    while (library_level(block) != MEMBUDGET_NONE) usleep(200); /* a level that stays up: the time-out */
  }
  for (long i = 0; i < threads; i++) pthread_join(workers[i].thread, NULL);
  CHECK_EQ(library_level(block), MEMBUDGET_NONE);
  return check_finish();
}
