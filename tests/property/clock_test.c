/* Clocks that are set by ten years, forth and back, or stand still (moved_clock.c): the level rises in the crossing
 * call and falls with the memory, the dead are noticed, and nothing is waited for for ever. Run with MEMBUDGET_LIMIT.
 */
#include <dlfcn.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "library.h"

enum { BLOCKS = 300, BYTES = 100000, LOOKS = 40000 };
#define TEN_YEARS INT64_C(315360000)

static struct membudget_header *block;
static void *blocks[BLOCKS];

static int64_t steps(void) { return block->limit_bytes / BYTES * 5 / 4; }

static int64_t held(void) { return block->measure == MEMBUDGET_MEASURE_FOOTPRINT ? block->overhead_bytes : 0; }

/* Past the limit and back. */
static void fill_and_flush(void) {
  const uint64_t crossings = block->crossings;
  struct timespec now;
  int has_risen = 0;
  REQUIRE(steps() <= BLOCKS);
  for (int i = 0; i < steps(); i++) {
    blocks[i] = malloc(BYTES);
    REQUIRE(blocks[i] != NULL);
    memset(blocks[i], 1, BYTES);
    const int64_t counted = counters_read(block, library_process()).counted_bytes;
    const int is_past = counted + held() >= block->limit_bytes;
    if (held() == 0) CHECK_EQ(library_level(block) == MEMBUDGET_CRITICAL, is_past || has_risen);
    has_risen |= is_past;
  }
  CHECK_EQ(library_level(block), MEMBUDGET_CRITICAL);
  CHECK_EQ(block->crossings, crossings + 1);
  clock_gettime(CLOCK_REALTIME, &now);
  const int64_t crossed = (int64_t)(block->last_crossing_ns / 1000000000);
  CHECK_CONTEXT(crossed <= now.tv_sec && crossed > now.tv_sec - 3600, "crossed at %lld, now %lld", (long long)crossed,
                (long long)now.tv_sec);
  for (int i = 0; i < steps(); i++) free(blocks[i]);
  CHECK_EQ(library_level(block), MEMBUDGET_NONE);
  CHECK(block->peak_counted_bytes >= block->limit_bytes - held() - BYTES);
}

/* What a member held that is killed leaves the sum, and the level with it, while others go on as before. */
static void lose_a_member(void) {
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < steps(); i++) blocks[i] = malloc(BYTES);
    if (write(ready[1], "", 1) == 1) pause();
    _exit(1);
  }
  char byte;
  REQUIRE(child > 0 && read(ready[0], &byte, 1) == 1);
  close(ready[0]), close(ready[1]);
  REQUIRE(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
  CHECK_EQ(library_level(block), MEMBUDGET_CRITICAL);
  for (int i = 0; i < LOOKS && library_level(block) != MEMBUDGET_NONE; i++) {
    free(malloc(5000));
    if (i % 100 == 0) usleep(1000);
  }
  CHECK_EQ(library_level(block), MEMBUDGET_NONE);
}

/* A lock whose holder is gone is taken. */
static void take_a_dead_ones_lock(void) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  REQUIRE(child > 0 && waitpid(child, NULL, 0) == child);
  __atomic_store_n(&block->lock, (uint32_t)child, __ATOMIC_SEQ_CST);
  fill_and_flush();
  CHECK_EQ(block->lock, 0);
}

static void all(void) {
  fill_and_flush();
  if (held() == 0) lose_a_member();
  take_a_dead_ones_lock();
}

int main(void) {
  library_check_expected();
  void (*set)(int64_t) = (void (*)(int64_t))dlsym(RTLD_DEFAULT, "moved_clock_set");
  void (*stop)(int64_t) = (void (*)(int64_t))dlsym(RTLD_DEFAULT, "moved_clock_stop");
  block = library_block();
  REQUIRE(set && stop && block && block->limit_bytes > 0);
  all();
  set(TEN_YEARS);
  all();
  set(0);
  all();
  stop(1000);
  all();
  stop(-1);
  set(-TEN_YEARS / 10 * 8);
  all();
  set(0);
  all();
  return check_finish();
}
