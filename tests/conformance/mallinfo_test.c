/* mallinfo(3): what is in use moves with what is allocated, whichever allocator it comes from. */
#include <malloc.h>

#include "check.h"
#include "library.h"
#include "memory.h"

enum { BLOCKS = 4000, SIZE = 2000, LARGE = 40 };
static void *blocks[BLOCKS];
static void *large_blocks[LARGE];

/* glibc counts what it mapped by itself apart. */
static int64_t in_use(void) {
  const struct mallinfo2 info = mallinfo2();
  return (int64_t)(info.uordblks + info.hblkhd);
}

static int64_t in_use_int(void) {
  const struct mallinfo info = mallinfo();
  return (int64_t)(unsigned)info.uordblks + (unsigned)info.hblkhd;
}

static void allocate_all(void) {
  for (int i = 0; i < BLOCKS; i++) REQUIRE((blocks[i] = malloc(SIZE)) != NULL);
  for (int i = 0; i < LARGE; i++) REQUIRE((large_blocks[i] = malloc(MIB)) != NULL);
}

static void free_all(void) {
  for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
  for (int i = 0; i < LARGE; i++) free(large_blocks[i]);
}

static void follows_what_is_allocated(int64_t (*read_in_use)(void)) {
  const int64_t asked = (int64_t)BLOCKS * SIZE + LARGE * (int64_t)MIB;
  const int64_t before = read_in_use();
  allocate_all();
  const int64_t grown = read_in_use() - before;
  CHECK_CONTEXT(grown >= asked && grown < asked + asked / 4, "grew by %lld for %lld", (long long)grown,
                (long long)asked);
  free_all();
  const int64_t left = read_in_use() - before;
  CHECK_CONTEXT(left > -asked / 20 && left < asked / 20, "%lld are left", (long long)left);
}

/* The parts are no more than the whole. */
static void is_consistent(void) {
  allocate_all();
  const struct mallinfo2 info = mallinfo2();
  CHECK(info.uordblks > 0);
  CHECK_CONTEXT(info.arena + info.hblkhd >= info.uordblks, "arena %zu, hblkhd %zu, uordblks %zu", info.arena,
                info.hblkhd, info.uordblks);
  free_all();
}

int main(void) {
  library_check_expected();
  follows_what_is_allocated(in_use);
  follows_what_is_allocated(in_use_int);
  is_consistent();
  return check_finish();
}
