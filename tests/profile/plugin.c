/* A library to load and unload. Its builds differ in FRAME_BYTES alone: the same addresses, another layout of the
 * stack, so that what an unwinder remembers of one is wrong of the next. */
#include <stdlib.h>

#ifndef FRAME_BYTES
#define FRAME_BYTES 4096
#endif

static void *volatile kept;

void *plugin_allocate(size_t bytes);
void *plugin_allocate(size_t bytes) {
  volatile char room[FRAME_BYTES];
  room[bytes % 7] = 1;
  kept = malloc(bytes + (size_t)room[bytes % 7]);
  room[bytes % 5] = 2;
  return kept;
}
