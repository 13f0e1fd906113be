// Calls of the malloc family whose instructions are counted, one by one, by
//   valgrind --tool=callgrind --collect-atstart=no
// A dump named after the group ends each group of kCalls calls; nothing but those calls is collected.
//
// Everything is warmed up first: blocks of these sizes are in the allocators' caches, and the process has
// been much larger than it is now, so that the library has no peak to note. The last two groups are those
// where it has: a process that is as large as it ever was, and one that grows with every call.
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/callgrind.h>

enum { kCalls = 4000, kBytes = 64, kFewerBytes = 60, kMoreBytes = 2000, kWarmBlocks = 64, kPeakBytes = 64 << 20 };

static void *volatile block;  // volatile: no call may be optimised away

#define GROUP(name, before, call, after) \
  do {                                   \
    CALLGRIND_ZERO_STATS;                \
    for (int i = 0; i < kCalls; ++i) {   \
      before;                            \
      CALLGRIND_TOGGLE_COLLECT;          \
      call;                              \
      CALLGRIND_TOGGLE_COLLECT;          \
      after;                             \
    }                                    \
    CALLGRIND_DUMP_STATS_AT(name);       \
  } while (0)

static void warm_up(size_t bytes) {
  void *warm[kWarmBlocks];
  for (int i = 0; i < kWarmBlocks; ++i) warm[i] = realloc(calloc(1, bytes), bytes - 1);
  for (int i = 0; i < kWarmBlocks; ++i) free(warm[i]);
}

int main(void) {
  free(malloc(kPeakBytes));
  block = malloc(kBytes);  // stays, so that no call leaves an empty page behind
  warm_up(kBytes);
  warm_up(kMoreBytes);
  GROUP("malloc", , block = malloc(kBytes), free(block));
  GROUP("free", block = malloc(kBytes), free(block), );
  GROUP("calloc", , block = calloc(1, kBytes), free(block));
  GROUP("realloc", block = malloc(kBytes), block = realloc(block, kFewerBytes), free(block));
  GROUP("malloc-2000", , block = malloc(kMoreBytes), free(block));
  GROUP("free-2000", block = malloc(kMoreBytes), free(block), );
  block = malloc(2 * kPeakBytes);
  GROUP("malloc-at-peak", , block = malloc(kBytes), free(block));
  GROUP("malloc-growing", , block = malloc(kBytes), );
  printf("%d\n", kCalls);
  return 0;
}
