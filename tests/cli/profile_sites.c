// Known live bytes at known places: tells them, then allocates and frees until its standard input ends.
//   one_size: 400 blocks of 100,000; many_small: 100,000 of 200; by_thread: 2,000 of 8,000 in a thread;
//   grown: 500 blocks grown by realloc to 40,000; freed_elsewhere: 1,000 of 30,000, all freed by another thread
// Prints a line "NAME USABLE_BYTES" for each, and "ready".
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "profile_wait.h"

static void *kept[200000];
static void *given[1000];
static int kept_count;

__attribute__((noinline)) static long keep(void *block) {
  kept[kept_count++] = block;
  return (long)malloc_usable_size(block);
}

__attribute__((noinline)) static long one_size(void) {
  long bytes = 0;
  for (int i = 0; i < 400; ++i) bytes += keep(malloc(100000));
  return bytes;
}

__attribute__((noinline)) static long many_small(void) {
  long bytes = 0;
  for (int i = 0; i < 100000; ++i) bytes += keep(calloc(2, 100));
  return bytes;
}

__attribute__((noinline)) static void *by_thread(void *out) {
  for (int i = 0; i < 2000; ++i) *(long *)out += keep(malloc(8000));
  return NULL;
}

__attribute__((noinline)) static long grown(void) {
  long bytes = 0;
  for (int i = 0; i < 500; ++i) {
    void *block = malloc(10);
    for (int size = 1000; size <= 40000; size += 3000) block = realloc(block, (size_t)size);
    bytes += keep(block);
  }
  return bytes;
}

static void *free_given(void *unused) {
  for (int i = 0; i < 1000; ++i) free(given[i]);
  return unused;
}

__attribute__((noinline)) static long freed_elsewhere(void) {
  for (int i = 0; i < 1000; ++i) given[i] = malloc(30000);
  pthread_t thread;
  pthread_create(&thread, NULL, free_given, NULL);
  pthread_join(thread, NULL);
  return 0;
}

int main(void) {
  printf("one_size %ld\n", one_size());
  printf("many_small %ld\n", many_small());
  long bytes = 0;
  pthread_t thread;
  pthread_create(&thread, NULL, by_thread, &bytes);
  pthread_join(thread, NULL);
  printf("by_thread %ld\n", bytes);
  printf("grown %ld\n", grown());
  printf("freed_elsewhere %ld\n", freed_elsewhere());
  return wait_to_be_profiled();
}
