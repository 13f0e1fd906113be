/* Waiting for the level by futex, in a thread and in another process: every change wakes both.
 * Run with MEMBUDGET_LIMIT, low and medium at the limit.
 *
 * level_wait_test READER ROUNDS
 */
#include <errno.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

#include "check.h"
#include "library.h"
#include "memory.h"
#include "outside.h"

static struct membudget_header *block;
static pthread_barrier_t ready;
static long rounds;

static double now_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Sleeps until the word is no longer `seen`; 0 when it did not happen within 20 s. */
static int wait_for_change(uint32_t seen) {
  const struct timespec most = {20, 0};
  while (__atomic_load_n(&block->level_word, __ATOMIC_ACQUIRE) == seen)
    if (syscall(SYS_futex, &block->level_word, FUTEX_WAIT, seen, &most, NULL, 0) != 0 && errno == ETIMEDOUT) return 0;
  return 1;
}

static void *waiter(void *unused) {
  (void)unused;
  for (long round = 0; round < rounds; round++) {
    const uint32_t seen = __atomic_load_n(&block->level_word, __ATOMIC_ACQUIRE);
    pthread_barrier_wait(&ready);
    CHECK(wait_for_change(seen));
    pthread_barrier_wait(&ready);
  }
  return NULL;
}

/* One change of level, by `change`: how long the two waiters took, in seconds. */
static double time_change(const struct outside *reader, void *(*change)(void *), void **held) {
  char line[40];
  outside_send(reader, "w\n");
  outside_receive(reader, line, sizeof line);
  CHECK(strcmp(line, "waiting") == 0);
  pthread_barrier_wait(&ready);
  usleep(20000); /* so that both are asleep, most of the time */
  const double start = now_seconds();
  *held = change(*held);
  const uint32_t level = library_level(block);
  outside_receive(reader, line, sizeof line);
  pthread_barrier_wait(&ready);
  const double seconds = now_seconds() - start;
  char expected[40];
  snprintf(expected, sizeof expected, "woken %u", level);
  CHECK_CONTEXT(strcmp(line, expected) == 0, "'%s', not '%s'", line, expected);
  return seconds;
}

static void *cross(void *held) {
  (void)held;
  return malloc((size_t)block->limit_bytes);
}

static void *fall(void *held) {
  free(held);
  return NULL;
}

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 3);
  block = library_block();
  rounds = atol(arguments[2]);
  REQUIRE(block->limit_bytes > 0);
  const struct outside reader = outside_start(arguments[1]);
  pthread_t thread;
  pthread_barrier_init(&ready, NULL, 2);
  REQUIRE(pthread_create(&thread, NULL, waiter, NULL) == 0);
  void *held = NULL;
  for (long round = 0; round < rounds; round++) {
    const double seconds = time_change(&reader, round % 2 ? fall : cross, &held);
    CHECK_EQ(library_level(block), round % 2 ? MEMBUDGET_NONE : MEMBUDGET_CRITICAL);
    CHECK_CONTEXT(seconds < 5, "woken after %f s", seconds);
  }
  pthread_join(thread, NULL);
  free(held);
  CHECK_EQ(block->crossings, (rounds + 1) / 2);
  outside_stop(&reader);
  return check_finish();
}
