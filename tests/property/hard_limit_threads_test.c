/* Many threads that fill up to a hard limit at the same time, again and again: what they hold together never passes it
 * by more than the 1 MiB that is there for small requests, and by nothing where all requests are larger than 4 KiB; by one
 * mapping at the most, and seldom, where another was taken back in the very moment in which it was looked at (seen once
 * in 16,000 checks; in every fourth round without the second look).
 *
 * hard_limit_threads_test THREADS ROUNDS
 */
#include <pthread.h>
#include <sys/mman.h>

#include "check.h"
#include "library.h"
#include "memory.h"

enum { THREADS_MAX = 64, HELD_MAX = 1 << 16 };

static const struct kind {
  size_t bytes;
  int is_mapped;
} kinds[] = {{1000, 0}, {4097, 0}, {6000, 0}, {20000, 0}, {300000, 0}, {3 * MIB, 0}, {65536, 1}, {3 * MIB, 1}};
enum { KINDS = sizeof kinds / sizeof kinds[0], SMALL_KINDS = 1 };

static pthread_barrier_t rest;
static long threads, rounds;
static int64_t refusals;

static void *take(const struct kind *kind) {
  if (!kind->is_mapped) return malloc(kind->bytes);
  void *memory = mmap(NULL, kind->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static void give_back(const struct kind *kind, void *memory) {
  if (kind->is_mapped)
    CHECK_EQ(munmap(memory, kind->bytes), 0);
  else
    free(memory);
}

static void *work(void *held_by_thread) {
  void **held = held_by_thread;
  for (long round = 0; round < rounds * KINDS; round++) {
    const struct kind *kind = &kinds[round % KINDS];
    size_t count = 0;
    pthread_barrier_wait(&rest);
    while (count < HELD_MAX && (held[count] = take(kind)) != NULL) count++;
    __atomic_add_fetch(&refusals, count < HELD_MAX, __ATOMIC_RELAXED);
    pthread_barrier_wait(&rest);
    pthread_barrier_wait(&rest);
    while (count > 0) give_back(kind, held[--count]);
  }
  return NULL;
}

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 3);
  threads = atol(arguments[1]);
  rounds = atol(arguments[2]);
  REQUIRE(threads > 0 && threads <= THREADS_MAX);
  const struct membudget_header *block = library_block();
  const int64_t hard = block->hard_limit_bytes, reserve = MIB;
  long mappings_past = 0;
  static void *held[THREADS_MAX][HELD_MAX];
  pthread_t workers[THREADS_MAX];
  pthread_barrier_init(&rest, NULL, (unsigned)threads + 1);
  for (long i = 0; i < threads; i++) REQUIRE(pthread_create(&workers[i], NULL, work, held[i]) == 0);
  for (long round = 0; round < rounds * KINDS; round++) {
    pthread_barrier_wait(&rest);
    pthread_barrier_wait(&rest);
    const int64_t counted = counters_read(block, library_process()).counted_bytes;
    const struct kind *kind = &kinds[round % KINDS];
    const int64_t most = hard + (kind->is_mapped ? (int64_t)kind->bytes : round % KINDS < SMALL_KINDS ? reserve : 0);
    mappings_past += kind->is_mapped && counted > hard;
    CHECK_CONTEXT(counted <= most, "%zu bytes %s: %lld over", kinds[round % KINDS].bytes,
                  kinds[round % KINDS].is_mapped ? "mapped" : "allocated", (long long)(counted - most));
    CHECK(counted > hard / 2);
    pthread_barrier_wait(&rest);
  }
  for (long i = 0; i < threads; i++) pthread_join(workers[i], NULL);
  CHECK_EQ(refusals, threads * rounds * KINDS);
  CHECK_CONTEXT(mappings_past <= rounds / 10, "%ld times past it by a mapping", mappings_past);
  return check_finish();
}
