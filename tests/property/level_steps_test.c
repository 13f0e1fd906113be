/* The level, after every single call of one thread that goes up and down across the limit, and the counters
 * of crossings and changes. Run with MEMBUDGET_LIMIT.
 *
 * level_steps_test STEPS
 */
#include <malloc.h>
#include <sys/mman.h>

#include "check.h"
#include "level_model.h"
#include "library.h"
#include "memory.h"

enum { SLOTS = 20000, MAPPING = 64 << 10 };
static void *blocks[SLOTS];
static void *mappings[SLOTS];
static struct membudget_header *block;
static const struct membudget_process *process;
static int64_t highest_counted;

/* What is expected, from step to step. */
static struct {
  uint32_t level, changes;
  uint64_t crossings;
} model;

static int64_t counted(void) { return counters_read(block, process).counted_bytes; }

/* Compares with the model. Returns 0 when they part. */
static int check_step(const char *did) {
  const int64_t now = counted();
  const uint32_t before = model.level, word = __atomic_load_n(&block->level_word, __ATOMIC_ACQUIRE);
  const long failed = check_failed;
  model.level = level_model(block, now, before);
  model.changes += model.level != before;
  if (model.level == MEMBUDGET_CRITICAL && before != MEMBUDGET_CRITICAL) {
    model.crossings++;
    CHECK_EQ(block->last_crossing_counted_bytes, now);
  }
  if (now > highest_counted) highest_counted = now;
  CHECK_CONTEXT((word & 0xffu) == model.level, "%s: level %u, but %u at %lld (before: %u)", did, word & 0xffu,
                model.level, (long long)now, before);
  CHECK_EQ(word >> 8, model.changes & 0xffffff);
  CHECK_EQ(block->crossings, model.crossings);
  return failed == check_failed;
}

static const char *map_or_unmap(size_t at, int up) {
  if (up == !mappings[at]) {
    if (mappings[at]) {
      munmap(mappings[at], MAPPING);
      mappings[at] = NULL;
      return "munmap";
    }
    mappings[at] = mmap(NULL, MAPPING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(mappings[at] != MAP_FAILED);
  }
  return "mmap";
}

static const char *step(uint64_t *random, int up) {
  const size_t at = random_below(random, SLOTS), size = random_size(random, 60000);
  if (random_below(random, 50) == 0) return map_or_unmap(at, up);
  if (!up || random_below(random, 4) == 0) {
    free(blocks[at]);
    blocks[at] = NULL;
    return "free";
  }
  if (blocks[at]) {
    blocks[at] = realloc(blocks[at], size + 1);
    return "realloc";
  }
  blocks[at] = random_below(random, 3) ? malloc(size) : calloc(1, size);
  return "malloc";
}

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 2);
  block = library_block();
  process = library_process();
  REQUIRE(block->limit_bytes > 0 && library_level(block) == MEMBUDGET_NONE);
  uint64_t random = 5;
  int up = 1;
  long turns = 0;
  for (long i = 0, most = atol(arguments[1]); i < most; i++) {
    if (!check_step(step(&random, up))) break;
    const int64_t now = counted(), limit = block->limit_bytes;
    /* Turns anywhere between 80 % and 102 % of the limit, most often close to it. */
    const int64_t turn = up ? limit + limit / 50 - (int64_t)random_below(&random, (uint64_t)limit / 25)
                            : limit - (int64_t)random_below(&random, (uint64_t)limit / 5);
    if (random_below(&random, 50) == 0 && (up ? now > turn : now < turn)) {
      up = !up;
      turns++;
    }
  }
  CHECK(model.crossings > 10 && turns > 20);
  CHECK_CONTEXT(block->peak_counted_bytes >= highest_counted - block->peak_error_bytes, "peak %lld, highest %lld",
                (long long)block->peak_counted_bytes, (long long)highest_counted);
  return check_finish();
}
