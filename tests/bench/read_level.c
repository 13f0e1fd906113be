/* What reading the level costs: prints the nanoseconds of one membudget_level() and of one load from the
 * block. To be run under the library. The best of some rounds: the one least disturbed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <membudget/membudget.h>
#include <stdio.h>
#include <time.h>

enum { kReads = 20000000, kRounds = 7 };

static double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double call_ns(const membudget_t *budget) {
  uint32_t sum = 0;
  double start = now_ns();
  for (int i = 0; i < kReads; ++i) sum += membudget_level(budget);
  double taken = now_ns() - start;
  return sum == 0 ? taken / kReads : -1;
}

static double load_ns(const struct membudget_header *header) {
  uint32_t sum = 0;
  double start = now_ns();
  for (int i = 0; i < kReads; ++i) sum += *(const volatile uint32_t *)&header->level_word & 0xff;
  double taken = now_ns() - start;
  return sum == 0 ? taken / kReads : -1;
}

int main(void) {
  const membudget_t *budget = membudget_self();
  void *(*block)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "membudget_preload_block");
  const struct membudget_header *header = block ? block() : NULL;
  if (!budget || !header) return fprintf(stderr, "read_level: not under membudget\n"), 2;
  double call = 1e9, load = 1e9;
  for (int i = 0; i < kRounds; ++i) {
    double call_now = call_ns(budget), load_now = load_ns(header);
    if (call_now < call) call = call_now;
    if (load_now < load) load = load_now;
  }
  printf("%.3f %.3f\n", call, load);
  return 0;
}
