/* Mapped bytes with many threads that map, cut, grow and unmap at the same time: exact at every rest. What
 * allocators, thread stacks and libraries map is not the program's and is not counted.
 *
 * mapped_threads_test THREADS ROUNDS
 */
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>

#include "check.h"
#include "library.h"
#include "memory.h"

enum { PAGE = 4096, THREADS_MAX = 64, MAPPINGS = 40, STEPS = 1500 };

static pthread_barrier_t rest;
static long threads, rounds;
static int64_t own_bytes; /* what all threads have mapped */

static int64_t mapped_bytes(void) { return __atomic_load_n(&library_process()->mapped_bytes, __ATOMIC_ACQUIRE); }

struct mapping {
  char *start;
  size_t pages;
};

static void count_pages(int64_t pages) { __atomic_add_fetch(&own_bytes, pages * PAGE, __ATOMIC_RELAXED); }

static void make(struct mapping *mapping, uint64_t *random) {
  mapping->pages = 2 + random_below(random, 60);
  mapping->start = mmap(NULL, mapping->pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(mapping->start != MAP_FAILED);
  mapping->start[0] = 1;
  count_pages((int64_t)mapping->pages);
}

static void drop(struct mapping *mapping) {
  CHECK_EQ(munmap(mapping->start, mapping->pages * PAGE), 0);
  count_pages(-(int64_t)mapping->pages);
  mapping->start = NULL;
}

static void cut(struct mapping *mapping) {
  CHECK_EQ(munmap(mapping->start, PAGE), 0);
  count_pages(-1);
  mapping->start += PAGE;
  mapping->pages--;
}

static void grow(struct mapping *mapping, uint64_t *random) {
  const size_t pages = 2 + random_below(random, 90);
  char *moved = mremap(mapping->start, mapping->pages * PAGE, pages * PAGE, MREMAP_MAYMOVE);
  REQUIRE(moved != MAP_FAILED);
  count_pages((int64_t)pages - (int64_t)mapping->pages);
  *mapping = (struct mapping){moved, pages};
}

static void *work(void *seed) {
  uint64_t random = (uintptr_t)seed;
  struct mapping mappings[MAPPINGS] = {{NULL, 0}};
  for (long round = 0; round < rounds; round++) {
    for (int i = 0; i < STEPS; i++) {
      struct mapping *mapping = &mappings[random_below(&random, MAPPINGS)];
      if (!mapping->start)
        make(mapping, &random);
      else if (random_below(&random, 3) == 0 || mapping->pages < 3)
        drop(mapping);
      else if (random_below(&random, 2))
        cut(mapping);
      else
        grow(mapping, &random);
      free(malloc(random_size(&random, MIB)));
    }
    pthread_barrier_wait(&rest);
    pthread_barrier_wait(&rest);
  }
  for (int i = 0; i < MAPPINGS; i++)
    if (mappings[i].start) drop(&mappings[i]);
  return NULL;
}

/* Small, large and huge blocks, all at once, so that every allocator has to map a lot. */
static void allocators_mappings_are_not_counted(void) {
  enum { BLOCKS = 20000 };
  static void *blocks[BLOCKS];
  const int64_t before = mapped_bytes();
  const size_t sizes[] = {48, 900, 5000, 70000};
  for (size_t i = 0; i < BLOCKS; i++) REQUIRE((blocks[i] = malloc(sizes[i % 4])) != NULL);
  void *huge = calloc(1, 100 * MIB), *aligned = memalign(4 * MIB, 20 * MIB);
  REQUIRE(huge != NULL && aligned != NULL);
  CHECK_EQ(mapped_bytes(), before);
  huge = realloc(huge, 150 * MIB);
  CHECK_EQ(mapped_bytes(), before);
  free(huge);
  free(aligned);
  for (size_t i = 0; i < BLOCKS; i++) free(blocks[i]);
  malloc_trim(0);
  CHECK_EQ(mapped_bytes(), before);
}

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 3);
  threads = atol(arguments[1]);
  rounds = atol(arguments[2]);
  REQUIRE(threads > 0 && threads <= THREADS_MAX);
  const int64_t base = mapped_bytes();
  allocators_mappings_are_not_counted();
  pthread_t workers[THREADS_MAX];
  pthread_barrier_init(&rest, NULL, (unsigned)threads + 1);
  for (long i = 0; i < threads; i++) REQUIRE(pthread_create(&workers[i], NULL, work, (void *)(uintptr_t)(i + 1)) == 0);
  CHECK_EQ(base, 0); /* neither stacks nor anything before main */
  for (long round = 0; round < rounds; round++) {
    pthread_barrier_wait(&rest);
    CHECK_EQ(mapped_bytes() - base, own_bytes);
    pthread_barrier_wait(&rest);
  }
  for (long i = 0; i < threads; i++) pthread_join(workers[i], NULL);
  CHECK_EQ(own_bytes, 0);
  CHECK_EQ(mapped_bytes(), base);
  return check_finish();
}
