/* A hard limit of 48 MiB (MEMBUDGET_HARD_LIMIT): every function of the malloc family says ENOMEM past it, keeps what it
 * was given, changes nothing that it counts, and works again when there is room. */
#include <errno.h>
#include <malloc.h>
#include <sys/mman.h>

#include "check.h"
#include "library.h"
#include "memory.h"
#include "refusals.h"

enum { BLOCKS = 47, TOO_MUCH = 8 << 20 };

static struct counters now(void) { return counters_read(library_block(), library_process()); }

static void every_function_refuses(void) {
  const size_t size = opaque_size(TOO_MUCH);
  void *const mark = &errno;
  void *out = mark, *kept = malloc(5000);
  memory_fill(kept, 5000, 1);
  const struct counters before = now();
  CHECK_REFUSED(malloc(size));
  CHECK_REFUSED(calloc(size / 8, 8));
  CHECK_REFUSED(realloc(NULL, size));
  CHECK_REFUSED(realloc(kept, size));
  CHECK_REFUSED(reallocarray(kept, size / 8, 8));
  CHECK_REFUSED(aligned_alloc(64, size));
  CHECK_REFUSED(aligned_alloc(4096, size + 1));
  CHECK_REFUSED(memalign(4096, size));
  CHECK_REFUSED(valloc(size));
  CHECK_REFUSED(pvalloc(size));
  errno = 7;
  CHECK_EQ(posix_memalign(&out, 64, size), ENOMEM);
  CHECK_EQ(errno, 7);
  CHECK(out == mark);
  CHECK(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
  CHECK(memory_holds(kept, 5000, 1));
  CHECK_EQ(now().live_bytes, before.live_bytes);
  CHECK_EQ(now().mapped_bytes, before.mapped_bytes);
  CHECK_EQ(now().allocations - now().frees, before.allocations - before.frees);
  free(kept);
}

int main(void) {
  static void *blocks[BLOCKS];
  library_check_expected();
  unsigned got = 0;
  while (got < BLOCKS && (blocks[got] = malloc(MIB)) != NULL) got++;
  CHECK_CONTEXT(got > 40, "only %u MiB", got);
  every_function_refuses();
  CHECK(now().counted_bytes <= 49 * (int64_t)MIB);
  for (unsigned i = 0; i < got; i++) free(blocks[i]);
  for (int i = 0; i < 3; i++) {
    void *block = realloc(malloc(100), opaque_size(TOO_MUCH));
    CHECK(block != NULL);
    free(block);
  }
  return check_finish();
}
