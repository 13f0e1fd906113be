/* The very byte: counted bytes of exactly the mark raise the level, one byte less does not; exactly the
 * release mark keeps it, one byte less lets it fall. The limit is set so that the next call meets it.
 * Run with MEMBUDGET_LIMIT=1G MEMBUDGET_RELEASE=1M MEMBUDGET_LOW=100% MEMBUDGET_MEDIUM=100%.
 *
 * level_exact_test TRIALS
 */
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

static struct membudget_header *block;
static int (*set_limit)(int64_t);

static int64_t counted(void) { return counters_read(block, library_process()).counted_bytes; }

static int is_critical(void) { return library_level(block) == MEMBUDGET_CRITICAL; }

static void set(int64_t limit) {
  CHECK_EQ(set_limit(limit), 0);
  CHECK_EQ(block->limit_bytes, limit);
}

/* Below every mark again, and far away. */
static void relax(void) {
  set((int64_t)1 << 30);
  CHECK(!is_critical());
}

/* The usable size that the next malloc(size) will have: it gets the block just freed. */
static int64_t usable_of_next(size_t size) {
  void *trial = malloc(size);
  const int64_t usable = (int64_t)malloc_usable_size(trial);
  free(trial);
  return usable;
}

/* `less` bytes less than what the next allocation will reach. */
static void rises_at(size_t size, int64_t less, int expected) {
  const int64_t reach = counted() + usable_of_next(size);
  set(reach - less);
  CHECK(!is_critical());
  void *next = malloc(size);
  CHECK_EQ(counted(), reach);
  CHECK_CONTEXT(is_critical() == expected, "limit %lld, counted %lld", (long long)block->limit_bytes,
                (long long)counted());
  free(next);
  relax();
}

static void falls_below(size_t size, int64_t less, int expected) {
  void *small = malloc(size), *large = malloc(3 * MIB);
  const int64_t after = counted() - (int64_t)malloc_usable_size(small);
  const int64_t release = block->release_bytes;
  set(after + release - less);
  CHECK(is_critical());
  free(small);
  CHECK_EQ(counted(), after);
  set(block->limit_bytes); /* which looks again */
  CHECK_CONTEXT(is_critical() == expected, "release mark %lld, counted %lld", (long long)(block->limit_bytes - release),
                (long long)counted());
  free(large);
  relax();
}

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 2);
  block = library_block();
  *(void **)&set_limit = dlsym(RTLD_DEFAULT, "membudget_preload_set_limit");
  REQUIRE(set_limit != NULL && block->limit_bytes == 1 << 30 && block->release_bytes == 1 << 20);
  void *floor = malloc(8 * MIB); /* so that the marks are far above 0 */
  uint64_t random = 7;
  for (long i = 0, trials = atol(arguments[1]); i < trials; i++) {
    const size_t size = 1 + random_size(&random, 300000);
    rises_at(size, 0, 1);
    rises_at(size, -1, 0);
    falls_below(size + MIB, 0, 1);
    falls_below(size + MIB, -1, 0);
  }
  free(floor);
  return check_finish();
}
