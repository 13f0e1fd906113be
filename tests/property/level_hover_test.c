/* Threads that live at the limit, free each other's blocks, come and go: no crossing goes unseen, and no
 * level stays up for nothing. A watcher reads all the time; at every rest the level has to fit to the byte.
 * Run with MEMBUDGET_LIMIT.
 *
 * level_hover_test THREADS ROUNDS OPERATIONS
 */
#include <malloc.h>
#include <pthread.h>

#include "check.h"
#include "level_model.h"
#include "library.h"
#include "memory.h"

enum { SLOTS = 1 << 14, THREADS_MAX = 256, LARGEST = 16 << 10, LARGEST_USABLE = LARGEST * 5 / 4 };

static struct membudget_header *block;
static const struct membudget_process *process;
static void *slots[SLOTS];
static pthread_barrier_t rest;
static long threads, rounds, operations;
static int finished;
static long watched;

/* A sum that live bytes cannot have been below at some moment during the call: all allocated first. */
static int64_t live_at_least(void) {
  int64_t sum = 0;
  const uint32_t high = __atomic_load_n(&process->shard_high, __ATOMIC_ACQUIRE);
  for (uint32_t i = 0; i < high; i++)
    sum += __atomic_load_n(&counters_shard(block, process, i)->allocated_bytes, __ATOMIC_ACQUIRE);
  for (uint32_t i = 0; i < high; i++)
    sum -= __atomic_load_n(&counters_shard(block, process, i)->freed_bytes, __ATOMIC_ACQUIRE);
  return sum;
}

static void watch_once(void) {
  const uint32_t word = __atomic_load_n(&block->level_word, __ATOMIC_ACQUIRE);
  const int64_t low = live_at_least(), high = counters_read(block, process).live_bytes;
  if (word != __atomic_load_n(&block->level_word, __ATOMIC_ACQUIRE)) return;
  const int64_t in_flight = (threads + 8) * LARGEST_USABLE;
  watched++;
  if ((word & 0xffu) == MEMBUDGET_CRITICAL) {
    CHECK_CONTEXT(high >= block->limit_bytes - block->release_bytes - in_flight, "up at %lld", (long long)high);
  } else {
    CHECK_CONTEXT(low <= block->limit_bytes + in_flight, "not up at %lld", (long long)low);
  }
}

static void *watch(void *unused) {
  (void)unused;
  while (!__atomic_load_n(&finished, __ATOMIC_ACQUIRE)) watch_once();
  return NULL;
}

/* Frees when the level is up, else allocates: stays at the limit. */
static void hover(uint64_t *random, long steps) {
  for (long i = 0; i < steps; i++) {
    const int up = library_level(block) == MEMBUDGET_CRITICAL;
    void *made = up && random_below(random, 8) ? NULL : malloc(random_size(random, LARGEST));
    free(__atomic_exchange_n(&slots[random_below(random, SLOTS)], made, __ATOMIC_ACQ_REL));
  }
}

static void *live_shortly(void *seed) {
  uint64_t random = (uintptr_t)seed;
  hover(&random, operations / 10);
  return NULL;
}

static void *work(void *seed) {
  uint64_t random = (uintptr_t)seed;
  for (long round = 0; round < rounds; round++) {
    pthread_t thread;
    hover(&random, operations / 2);
    REQUIRE(pthread_create(&thread, NULL, live_shortly, (void *)(uintptr_t)random_next(&random)) == 0);
    hover(&random, operations / 2);
    pthread_join(thread, NULL);
    pthread_barrier_wait(&rest);
    pthread_barrier_wait(&rest);
  }
  return NULL;
}

/* Whatever the level was before, it can be no other than what one of the possible levels before leads to. */
static void check_at_rest(void) {
  const int64_t counted = counters_read(block, process).counted_bytes;
  const uint32_t level = library_level(block);
  CHECK_CONTEXT(level_model(block, counted, level) == level, "level %u at %lld, limit %lld", level, (long long)counted,
                (long long)block->limit_bytes);
}

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 4);
  block = library_block();
  process = library_process();
  threads = atol(arguments[1]);
  rounds = atol(arguments[2]);
  operations = atol(arguments[3]);
  REQUIRE(threads > 0 && threads <= THREADS_MAX && block->limit_bytes > 0);
  static pthread_t workers[THREADS_MAX], watcher;
  pthread_barrier_init(&rest, NULL, (unsigned)threads + 1);
  REQUIRE(pthread_create(&watcher, NULL, watch, NULL) == 0);
  for (long i = 0; i < threads; i++) REQUIRE(pthread_create(&workers[i], NULL, work, (void *)(uintptr_t)(i + 1)) == 0);
  for (long round = 0; round < rounds; round++) {
    pthread_barrier_wait(&rest);
    check_at_rest();
    pthread_barrier_wait(&rest);
  }
  for (long i = 0; i < threads; i++) pthread_join(workers[i], NULL);
  __atomic_store_n(&finished, 1, __ATOMIC_RELEASE);
  pthread_join(watcher, NULL);
  CHECK(watched > 100 && block->crossings > 0);
  check_at_rest();
  for (int i = 0; i < SLOTS; i++) free(slots[i]);
  check_at_rest();
  CHECK_EQ(library_level(block), MEMBUDGET_NONE);
  return check_finish();
}
