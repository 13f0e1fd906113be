/* A library that the test programs need: its constructor runs before that of a preloaded library. */
#include <malloc.h>
#include <stdlib.h>

void early_free_all(void);

enum { BLOCKS = 200 };
static void *blocks[BLOCKS];

/* By every function, some of them resized and some freed again before anybody was ready. */
__attribute__((constructor)) static void allocate_early(void) {
  for (size_t i = 0; i < BLOCKS; i++) {
    switch (i % 6) {
      case 0: blocks[i] = malloc(i * 11); break;
      case 1: blocks[i] = calloc(i, 7); break;
      case 2: blocks[i] = realloc(malloc(i), i * 5 + 1); break;
      case 3: blocks[i] = memalign(64, i * 3); break;
      case 4: blocks[i] = aligned_alloc(256, i); break;
      default: free(malloc(i * 100));
    }
  }
}

void early_free_all(void) {
  for (size_t i = 0; i < BLOCKS; i++) {
    if (i % 4 == 0) blocks[i] = realloc(blocks[i], i * 9 + 1);
    free(blocks[i]);
    blocks[i] = NULL;
  }
}
