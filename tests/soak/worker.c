/* soak_worker: for each line "SEED" on its input, one bout of everything at once: threads that come and go and free
 * each other's blocks, forked children that end by themselves or are killed, mappings. Then all rests, and it prints
 *
 *   OPERATIONS REFERENCE LIBRARY PRIVATE MAPPINGS FILES
 *
 * the bytes that the reference counted (libreference.so is in front of the library) and the library, private memory of
 * libmembudget.so itself in bytes, and how many mappings and open files there are. */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library.h"
#include "memory.h"

enum { SLOTS = 4096, THREADS = 6, WAVES = 3, CHILDREN = 4, STEPS = 20000, STACK = 256 << 10 };

static void *slots[SLOTS];
static uint64_t operations;

static void *allocate(uint64_t *state) {
  size_t bytes = random_size(state, random_below(state, 50) == 0 ? 600000 : 4000);
  switch (random_below(state, 6)) {
    case 0: return calloc(1, bytes);
    case 1: return aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    default: return malloc(bytes);
  }
}

static void step(uint64_t *state) {
  void **slot = &slots[random_below(state, SLOTS)];
  void *block = __atomic_exchange_n(slot, NULL, __ATOMIC_ACQ_REL);
  switch (random_below(state, 8)) {
    case 0: break;
    case 1: {
      size_t bytes = 1 + random_size(state, 4000);
      void *resized = realloc(block, bytes);
      block = resized ? resized : block;
      goto keep;
    }
    default:
      free(block);
      block = allocate(state);
      goto keep;
  }
  free(block);
  return;
keep:
  if (block) *(volatile char *)block = 1;
  free(__atomic_exchange_n(slot, block, __ATOMIC_ACQ_REL));
}

static void steps(uint64_t seed, int count) {
  uint64_t state = seed;
  for (int i = 0; i < count; ++i) step(&state);
  __atomic_fetch_add(&operations, (uint64_t)count, __ATOMIC_RELAXED);
}

static void *thread_body(void *seed) {
  steps((uint64_t)(uintptr_t)seed, STEPS);
  return NULL;
}

/* A third of them are killed in the middle, by themselves or by us. */
static pid_t make_child(uint64_t seed) {
  pid_t child = fork();
  REQUIRE(child >= 0);
  if (child != 0) return child;
  steps(seed, 2000);
  if (seed % 3 == 0) raise(SIGKILL);
  if (seed % 3 == 1) pause(); /* until we kill it */
  _exit(0);
}

static void map_a_while(uint64_t seed) {
  size_t bytes = (1 + seed % 16) << 16;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  memset(memory, 1, bytes);
  REQUIRE(munmap(memory, bytes) == 0);
}

static void bout(uint64_t seed) {
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, STACK);
  for (uint64_t wave = 0; wave < WAVES; ++wave) {
    pthread_t threads[THREADS];
    pid_t children[CHILDREN];
    for (uint64_t i = 0; i < THREADS; ++i) {
      void *its_seed = (void *)(uintptr_t)(seed * 1000 + wave * 100 + i + 1);
      REQUIRE(pthread_create(&threads[i], &small, thread_body, its_seed) == 0);
    }
    for (uint64_t i = 0; i < CHILDREN; ++i) children[i] = make_child(seed + wave * 7 + i);
    map_a_while(seed + wave);
    steps(seed + wave, STEPS);
    for (int i = 0; i < CHILDREN; ++i) {
      if ((seed + wave * 7 + (uint64_t)i) % 3 == 1) kill(children[i], SIGKILL);
      REQUIRE(waitpid(children[i], NULL, 0) == children[i]);
    }
    for (int i = 0; i < THREADS; ++i) REQUIRE(pthread_join(threads[i], NULL) == 0);
  }
  pthread_attr_destroy(&small);
}

/* What was written to in the mappings of libmembudget.so, and in what follows its data (its zeroed part). Clean pages are
 * the file's: they are private, too, as long as no other process has the library. */
static void look_at_mappings(long *private_kib, int *mappings) {
  FILE *file = fopen("/proc/self/smaps", "r");
  char line[4500];
  int is_library = 0;
  unsigned long start, end, library_end = 0;
  *private_kib = *mappings = 0;
  while (file && fgets(line, sizeof line, file)) {
    long kib;
    if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
      ++*mappings;
      is_library = strstr(line, "/libmembudget.so") || (start == library_end && !strchr(line, '/'));
      if (is_library) library_end = end;
    } else if (is_library && (sscanf(line, "Private_Dirty: %ld", &kib) == 1 || sscanf(line, "Swap: %ld", &kib) == 1)) {
      *private_kib += kib;
    }
  }
  if (file) fclose(file);
}

static int open_files(void) {
  DIR *folder = opendir("/proc/self/fd");
  int count = 0;
  while (folder && readdir(folder)) ++count;
  if (folder) closedir(folder);
  return count;
}

int main(void) {
  char line[64];
  int64_t (*reference)(void);
  *(void **)&reference = dlsym(RTLD_DEFAULT, "reference_live_bytes");
  REQUIRE(reference != NULL);
  REQUIRE(library_process() != NULL);
  printf("%d\n", (int)getpid());
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    long private_kib;
    int mappings;
    bout(strtoull(line, NULL, 10));
    look_at_mappings(&private_kib, &mappings);
    int files = open_files();
    int64_t expected = reference();
    int64_t seen = counters_read(library_block(), library_process()).live_bytes;
    printf("%llu %lld %lld %ld %d %d\n", (unsigned long long)operations, (long long)expected, (long long)seen,
           private_kib << 10, mappings, files);
    fflush(stdout);
  }
  return 0;
}
