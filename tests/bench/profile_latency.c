/* How long the longest allocation takes while profiles of the process are taken: 8 threads allocate and free all the
 * time, with so many blocks that, sampled every KiB, more than 10,000 sampled ones are live.
 *
 * usage: profile_latency SECONDS. Prints "ready"; after that time, or when there is something to read, it prints
 * "CPU_NS WALL_NS BLOCKS" and ends: the longest call since "ready" by the thread's own time and by the clock, and how
 * many blocks are live. */
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { THREADS = 8, BLOCKS = 4000, SMALLEST = 500, SPREAD = 3000 };

static int is_ready, is_over;
static int64_t longest_cpu, longest_wall;

static int64_t now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void raise_to(int64_t *most, int64_t value) {
  int64_t seen = __atomic_load_n(most, __ATOMIC_RELAXED);
  while (value > seen && !__atomic_compare_exchange_n(most, &seen, value, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
}

static uint32_t next_random(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

static void *work(void *seed) {
  static __thread void *blocks[BLOCKS];
  uint32_t state = 12345 + (uint32_t)(uintptr_t)seed;
  for (int i = 0; i < BLOCKS; i++) blocks[i] = malloc(SMALLEST + next_random(&state) % SPREAD);
  while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
    void **block = &blocks[next_random(&state) % BLOCKS];
    free(*block);
    size_t bytes = SMALLEST + next_random(&state) % SPREAD;
    int64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
    *block = malloc(bytes);
    cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    wall = now(CLOCK_MONOTONIC) - wall;
    if (!__atomic_load_n(&is_ready, __ATOMIC_RELAXED)) continue;
    raise_to(&longest_cpu, cpu);
    raise_to(&longest_wall, wall);
  }
  return NULL;
}

int main(int count, char **arguments) {
  pthread_t threads[THREADS];
  int seconds = count > 1 ? atoi(arguments[1]) : 10;
  for (uintptr_t i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, work, (void *)i) != 0) abort();
  struct timespec warm_up = {1, 0};
  nanosleep(&warm_up, NULL);
  __atomic_store_n(&is_ready, 1, __ATOMIC_RELAXED);
  puts("ready");
  fflush(stdout);
  struct pollfd input = {0, POLLIN, 0};
  poll(&input, 1, seconds * 1000);
  __atomic_store_n(&is_over, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  printf("%lld %lld %d\n", (long long)longest_cpu, (long long)longest_wall, THREADS * BLOCKS);
  return 0;
}
