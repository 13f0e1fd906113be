/* What happens when the kernel gives no more (RLIMIT_AS or, with the argument "data", RLIMIT_DATA): ENOMEM from every
 * function, nothing lost, and all works again when there is memory. */
#include <errno.h>
#include <malloc.h>
#include <sys/resource.h>

#include "check.h"
#include "library.h"
#include "memory.h"
#include "refusals.h"

static __rlimit_resource_t resource = RLIMIT_AS;
static struct rlimit unlimited;

/* Leaves room for `more` bytes beyond what is mapped now. */
static void limit_memory(size_t more) {
  enum { DATA = 5 }; /* data and stack, in statm */
  const size_t now = resource == RLIMIT_AS ? memory_address_space_bytes() : memory_statm_bytes(DATA);
  const struct rlimit limit = {now + more, unlimited.rlim_max};
  REQUIRE(setrlimit(resource, &limit) == 0);
}

static void lift_limit(void) { REQUIRE(setrlimit(resource, &unlimited) == 0); }

/* 1 TiB: possible as a number, impossible under the limit. */
static void every_function_says_enomem(void) {
  const size_t size = opaque_size((size_t)1 << 40);
  void *const mark = &unlimited;
  void *block = mark, *kept = malloc(5000);
  memory_fill(kept, 5000, 1);
  limit_memory(64 * MIB);
  CHECK_REFUSED(malloc(size));
  CHECK_REFUSED(calloc(size / 8, 8));
  CHECK_REFUSED(realloc(NULL, size));
  CHECK_REFUSED(realloc(kept, size));
  CHECK_REFUSED(reallocarray(kept, size / 8, 8));
  CHECK_REFUSED(aligned_alloc(64, size));
  CHECK_REFUSED(memalign(4096, size));
  CHECK_REFUSED(valloc(size));
  CHECK_REFUSED(pvalloc(size));
  CHECK_EQ(posix_memalign(&block, 64, size), ENOMEM);
  CHECK(block == mark);
  CHECK(memory_holds(kept, 5000, 1));
  lift_limit();
  free(kept);
}

/* Takes blocks until none is left; every one that was got is whole, and all can be freed. */
static void runs_out_and_recovers(size_t size) {
  enum { BLOCKS = 1 << 20 };
  static void *blocks[BLOCKS];
  unsigned got = 0;
  limit_memory(96 * MIB);
  errno = 0;
  while (got < BLOCKS && (blocks[got] = malloc(size)) != NULL) {
    memory_fill(blocks[got], size < 64 ? size : 64, got);
    got++;
  }
  CHECK_EQ(errno, ENOMEM);
  CHECK_CONTEXT(got * size > 8 * MIB && got < BLOCKS, "got %u blocks of %zu", got, size);
  void *larger = realloc(blocks[0], 512 * MIB);
  CHECK(larger == NULL);
  for (unsigned i = 0; i < got; i++) {
    CHECK(memory_holds(blocks[i], size < 64 ? size : 64, i));
    free(blocks[i]);
  }
  void *again = malloc(size);
  CHECK(again != NULL);
  free(again);
  lift_limit();
  again = malloc(300 * MIB);
  CHECK(again != NULL);
  free(again);
}

int main(int count, char **arguments) {
  library_check_expected();
  if (count > 1 && strcmp(arguments[1], "data") == 0) resource = RLIMIT_DATA;
  REQUIRE(getrlimit(resource, &unlimited) == 0);
  every_function_says_enomem();
  const size_t sizes[] = {200, 3000, 40000, 700000, 3 * MIB};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) runs_out_and_recovers(sizes[i]);
  return check_finish();
}
