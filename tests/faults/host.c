/* A program that does a bit of everything that the library takes part in, and whose output is always the same.
 *
 * host STEPS: starts, forks, maps, crosses its budget with threads, executes itself, exits with 7.
 * host hold:  four threads allocate and free until a line comes in; then their blocks are checked. Exits with 7. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, SLOTS = 256 };

static int must_stop;

static void require(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "host: %s\n", what);
  exit(99);
}

/* Allocates, fills, checks and frees; returns what was wrong. */
static int churn(unsigned seed, int rounds, size_t largest) {
  unsigned char *blocks[SLOTS] = {0};
  size_t sizes[SLOTS] = {0};
  int wrong = 0;
  for (int i = 0; i < rounds; ++i) {
    seed = seed * 1103515245u + 12345u;
    int slot = (int)(seed >> 16) % SLOTS;
    if (blocks[slot])
      wrong += blocks[slot][0] != (unsigned char)slot || blocks[slot][sizes[slot] - 1] != (unsigned char)slot;
    free(blocks[slot]);
    sizes[slot] = 1 + seed % largest;
    blocks[slot] = malloc(sizes[slot]);
    if (!blocks[slot]) return wrong + 1;
    memset(blocks[slot], slot, sizes[slot]);
  }
  for (int slot = 0; slot < SLOTS; ++slot) free(blocks[slot]);
  return wrong;
}

static void *churn_once(void *seed) { return (void *)(intptr_t)churn((unsigned)(intptr_t)seed, 2000, 4096); }

static void *churn_until_stopped(void *seed) {
  int wrong = 0;
  while (!__atomic_load_n(&must_stop, __ATOMIC_RELAXED)) wrong += churn((unsigned)(intptr_t)seed, 500, 4096);
  return (void *)(intptr_t)wrong;
}

static void start(pthread_t *threads, void *(*work)(void *)) {
  for (intptr_t i = 0; i < THREADS; ++i)
    require(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0, "no thread");
}

static void finish(pthread_t *threads) {
  for (int i = 0; i < THREADS; ++i) {
    void *wrong;
    require(pthread_join(threads[i], &wrong) == 0, "not joined");
    require(wrong == NULL, "a block was not what it should be");
  }
}

static void map_and_unmap(void) {
  size_t bytes = 8 << 20;
  char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(memory != MAP_FAILED, "no mapping");
  memset(memory, 1, bytes);
  require(munmap(memory, bytes) == 0, "not unmapped");
}

static void forked(void) {
  fflush(stdout);
  pid_t child = fork();
  require(child >= 0, "no child");
  if (child == 0) _exit(churn(9, 2000, 4096) == 0 ? 3 : 99);
  int status;
  require(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 3, "the child failed");
}

static int hold(void) {
  pthread_t threads[THREADS];
  start(threads, churn_until_stopped);
  usleep(100000);
  puts("ready");
  fflush(stdout);
  char line[16];
  require(fgets(line, sizeof line, stdin) != NULL, "no line");
  __atomic_store_n(&must_stop, 1, __ATOMIC_RELAXED);
  finish(threads);
  map_and_unmap();
  forked();
  puts("held");
  return 7;
}

int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "hold") == 0) return hold();
  int steps = count == 2 ? atoi(arguments[1]) : 0;
  pthread_t threads[THREADS];
  require(churn(1, 2000, 70000) == 0, "a block was not what it should be");
  start(threads, churn_once);
  finish(threads);
  map_and_unmap();
  forked();
  printf("step %d\n", steps);
  fflush(stdout);
  if (steps > 1) {
    char next[16];
    snprintf(next, sizeof next, "%d", steps - 1);
    execl("/proc/self/exe", arguments[0], next, (char *)NULL);
    return 99;
  }
  return 7;
}
