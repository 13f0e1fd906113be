/* libtest_failing_allocator.so: a malloc library that has memory for the first FAIL_AFTER requests alone (none: for none),
 * and never takes any back. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static char room[64 << 20] __attribute__((aligned(64)));
static size_t used, requests;

EXPORT void *memalign(size_t alignment, size_t bytes) {
  const char *after = getenv("FAIL_AFTER");
  const size_t most = after ? strtoul(after, NULL, 10) : 0;
  if (alignment < 64) alignment = 64;
  const size_t at = (used + 64 + alignment - 1) / alignment * alignment;
  if (requests >= most || bytes > sizeof room || at + bytes > sizeof room) return errno = ENOMEM, NULL;
  requests++;
  memcpy(room + at - sizeof bytes, &bytes, sizeof bytes);
  used = at + bytes;
  return room + at;
}

EXPORT size_t malloc_usable_size(void *block) {
  size_t bytes = 0;
  if (block) memcpy(&bytes, (char *)block - sizeof bytes, sizeof bytes);
  return bytes;
}

EXPORT void *malloc(size_t bytes) { return memalign(64, bytes); }
EXPORT void *aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
EXPORT void free(void *block) { (void)block; }

EXPORT void *calloc(size_t count, size_t bytes) {
  size_t all;
  if (__builtin_mul_overflow(count, bytes, &all)) return errno = ENOMEM, NULL;
  return memalign(64, all); /* never used before */
}

EXPORT void *realloc(void *block, size_t bytes) {
  void *grown = memalign(64, bytes);
  const size_t had = malloc_usable_size(block);
  if (grown && block) memcpy(grown, block, had < bytes ? had : bytes);
  return grown;
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t bytes) {
  void *block = memalign(alignment, bytes);
  if (block) *out = block;
  return block ? 0 : ENOMEM;
}
