/* Every function of the C interface, used by a program of its own process. Passes with a budget of 64 MiB and
 * without one. */
#include <errno.h>
#include <membudget/membudget.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (INT64_C(1) << 20)
#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

static void fail(const char *what, int line) {
  fprintf(stderr, "consumer.c:%d: not so: %s\n", line, what);
  exit(1);
}

static int count_own(const struct membudget_snapshot *process, void *context) {
  const struct membudget_snapshot *own = context;
  return process->pid == own->pid && strcmp(process->name, own->name) == 0 ? 42 : 0;
}

static void check_amounts(void) {
  struct membudget_amount amount;
  CHECK(membudget_parse_amount("1.5GiB", &amount) == 0 && amount.value == 1536 * MIB);
  CHECK(amount.unit == MEMBUDGET_UNIT_BYTES);
  CHECK(membudget_parse_amount("95%", &amount) == 0 && amount.value == 950000);
  CHECK(amount.unit == MEMBUDGET_UNIT_MILLIONTHS);
  CHECK(membudget_parse_amount("much", &amount) == -EINVAL && membudget_parse_amount(NULL, &amount) == -EINVAL);
  CHECK(membudget_parse_amount("1", NULL) == -EINVAL);
}

/* What holds in every process: no target, no handle. */
static void check_without(void) {
  membudget_t *other = NULL;
  CHECK(membudget_open("no-such-group", &other) == -ENOENT && !other);
  CHECK(membudget_open("a/b", &other) == -EINVAL && membudget_open(NULL, &other) == -EINVAL);
  CHECK(membudget_open_at("/nonexistent", "name", &other) == -ENOENT);
  CHECK(membudget_open_group(NULL, "no-such-group", &other) == -ENOENT && !other);
  CHECK(membudget_open_group(NULL, NULL, &other) == -EINVAL &&
        membudget_open_group("/nonexistent", "a/b", &other) == -EINVAL);
  CHECK(membudget_level(NULL) == MEMBUDGET_NONE && membudget_live_bytes(NULL) == 0);
  CHECK(membudget_counted_bytes(NULL) == 0 && membudget_limit_bytes(NULL) == 0);
  CHECK(membudget_set_limit(NULL, 1) == -EINVAL && membudget_trim(NULL) == -EINVAL);
  CHECK(membudget_wait(NULL, MEMBUDGET_LOW, 0) == -EINVAL && membudget_snapshot(NULL, NULL, 0) == -EINVAL);
  membudget_close(NULL);
}

static void check_snapshots(membudget_t *self, membudget_t *other) {
  struct membudget_snapshot own, theirs, cut;
  CHECK(membudget_snapshot(self, &own, sizeof own) == 0 && membudget_snapshot(other, &theirs, sizeof theirs) == 0);
  CHECK(own.pid == theirs.pid && own.processes == 1 && strcmp(own.name, theirs.name) == 0);
  CHECK(own.live_bytes == theirs.live_bytes && own.live_bytes == membudget_live_bytes(other));
  CHECK(own.limit_bytes == 64 * MIB && own.low_bytes > 0 && own.allocations > own.frees);
  CHECK(own.counted_bytes == own.live_bytes + own.mapped_bytes && own.counted_bytes == membudget_counted_bytes(self));
  CHECK(own.peak_live_bytes >= own.live_bytes && strcmp(own.allocator, "ptmalloc") == 0 && !own.config_errors[0]);
  memset(&cut, 0x55, sizeof cut);
  CHECK(membudget_snapshot(self, &cut, 8) == 0 && cut.pid == own.pid && cut.limit_bytes == 0x5555555555555555);
  CHECK(membudget_for_each(NULL, count_own, &own) == 42);
}

static void check_levels(membudget_t *self, membudget_t *other) {
  CHECK(membudget_level(self) == MEMBUDGET_NONE && membudget_wait(other, MEMBUDGET_LOW, 20) == -ETIMEDOUT);
  CHECK(membudget_wait(self, MEMBUDGET_LOW, 20) == -ETIMEDOUT && membudget_wait(self, 1000, 0) == -EINVAL);
  void *large = malloc(65 * MIB);
  CHECK(large && membudget_level(self) == MEMBUDGET_CRITICAL && membudget_level(other) == MEMBUDGET_CRITICAL);
  CHECK(membudget_wait(self, MEMBUDGET_CRITICAL, -1) == 0 && membudget_wait(other, MEMBUDGET_LOW, 0) == 0);
  CHECK(membudget_set_limit(other, 1024 * MIB) == 0 && membudget_level(self) == MEMBUDGET_NONE);
  CHECK(membudget_set_limit(self, 32 * MIB) == 0 && membudget_level(other) == MEMBUDGET_CRITICAL);
  CHECK(membudget_limit_bytes(self) == 32 * MIB && membudget_limit_bytes(other) == 32 * MIB);
  CHECK(membudget_set_limit(self, -1) == -EINVAL && membudget_set_limit(other, -1) == -EINVAL);
  free(large);
  CHECK(membudget_level(self) == MEMBUDGET_NONE);
}

/* The group has its default name, the pid. */
static void check_group(const membudget_t *self, const char *name) {
  membudget_t *group = NULL;
  struct membudget_snapshot sums;
  CHECK(membudget_open_group(NULL, name, &group) == 0);
  CHECK(membudget_snapshot(group, &sums, sizeof sums) == 0 && sums.pid == 0);
  CHECK(sums.counted_bytes == membudget_counted_bytes(self));
  membudget_close(group);
}

static void check_with(membudget_t *self) {
  char pid[16];
  membudget_t *other = NULL;
  struct membudget_snapshot own;
  CHECK(membudget_snapshot(self, &own, sizeof own) == 0);
  snprintf(pid, sizeof pid, "%d", (int)own.pid);
  CHECK(membudget_open(pid, &other) == 0 && other && other != self);
  int64_t before = membudget_live_bytes(self);
  void *block = malloc(1000);
  CHECK(membudget_live_bytes(self) == before + 1000);
  free(block);
  CHECK(membudget_live_bytes(self) == before);
  check_snapshots(self, other);
  check_group(self, own.name);
  check_levels(self, other);
  CHECK(membudget_trim(self) == 0 && membudget_trim(other) == 0);
  CHECK(membudget_set_reserve(self, 1 * MIB) == 0 && membudget_set_reserve(other, MIB) == -EINVAL);
  CHECK(membudget_snapshot(self, &own, sizeof own) == 0 && own.reserve_bytes == MIB);
  CHECK(membudget_set_reserve(self, -1) == 0 && membudget_flush_begins(self) == 0 && membudget_flush_ends(self) == 0);
  CHECK(membudget_flush_begins(other) == -EINVAL && membudget_flush_ends(NULL) == -EINVAL);
  CHECK(membudget_snapshot(self, &own, sizeof own) == 0 && own.reserve_bytes > own.limit_bytes / 100);
  CHECK(membudget_set_reserve(self, 0) == 0);
  membudget_close(other);
  membudget_close(self);
  CHECK(membudget_self() == self);
}

int main(void) {
  membudget_t *self = membudget_self();
  check_amounts();
  check_without();
  CHECK((self != NULL) == (getenv("LD_PRELOAD") != NULL));
  if (self) check_with(self);
  return 0;
}
