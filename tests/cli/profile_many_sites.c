// 64 sites that allocate blocks of their own size, by turns at random, of which some are grown and some are freed again,
// by another thread too: about 1.7 MB stay of each. Prints a line "site_NN USABLE_BYTES" for each, and "ready"; then
// allocates and frees until its standard input ends.
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "profile_wait.h"

enum { SITES = 64, SITE_BYTES = 2500000, MOST = 2500000 };

static struct {
  void *block;
  int site;
} kept[MOST];
static int kept_count;
static void *given[MOST / 4];
static int given_count;
static int64_t left[SITES];

static uint32_t random_below(uint32_t bound) {
  static uint64_t state = 1;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)((state >> 33) % bound);
}

// From 24 bytes, where one block in 170 is sampled by a mean of 4 KiB, to 12,000, where nearly each is.
static size_t size_of(int site) {
  double size = 24;
  for (int i = 0; i < site; ++i) size *= 1.1037;
  return (size_t)size;
}

#define SITE(n)                                                              \
  __attribute__((noinline)) static void *site_##n(size_t bytes, void *old) { \
    void *volatile block = old ? realloc(old, bytes) : malloc(bytes);        \
    return block;                                                            \
  }
#define EIGHT(X, t) X(t##0) X(t##1) X(t##2) X(t##3) X(t##4) X(t##5) X(t##6) X(t##7)
#define ALL(X) EIGHT(X, 0) EIGHT(X, 1) EIGHT(X, 2) EIGHT(X, 3) EIGHT(X, 4) EIGHT(X, 5) EIGHT(X, 6) EIGHT(X, 7)
ALL(SITE)
#define NAME(n) site_##n,
static void *(*const sites[])(size_t, void *) = {ALL(NAME)};

static void *free_given(void *unused) {
  while (given_count > 0) free(given[--given_count]);
  return unused;
}

static void allocate(int site) {
  size_t bytes = size_of(site);
  void *block = sites[site](bytes, random_below(8) == 0 ? malloc(bytes / 2) : NULL);
  if (!block || kept_count == MOST) abort();
  left[site] -= (int64_t)bytes;
  switch (random_below(8)) {
    case 0: free(block); break;
    case 1:
      if (given_count < MOST / 4) {
        given[given_count++] = block;
        break;
      }
      __attribute__((fallthrough));
    default: kept[kept_count].block = block; kept[kept_count++].site = site;
  }
}

int main(void) {
  int64_t live[SITES] = {0};
  int open[SITES], open_count = SITES;
  for (int i = 0; i < SITES; ++i) left[open[i] = i] = SITE_BYTES;
  while (open_count > 0) {
    int which = (int)random_below((uint32_t)open_count), site = open[which];
    uint32_t most_bytes = random_below(8) == 0 ? 300000 : 12000;  // long runs in one stack, and short ones
    for (uint32_t i = 1 + random_below(most_bytes / (uint32_t)size_of(site) + 1); i > 0; --i) allocate(site);
    if (left[site] <= 0) open[which] = open[--open_count];
  }
  pthread_t thread;
  if (pthread_create(&thread, NULL, free_given, NULL) != 0 || pthread_join(thread, NULL) != 0) abort();
  for (int i = 0; i < kept_count; ++i) live[kept[i].site] += (int64_t)malloc_usable_size(kept[i].block);
  for (int i = 0; i < SITES; ++i) printf("site_%d%d %lld\n", i / 8, i % 8, (long long)live[i]);
  return wait_to_be_profiled();
}
