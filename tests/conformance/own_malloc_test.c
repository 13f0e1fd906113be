/* A program that defines malloc, free, calloc, realloc and memalign itself, as those with an allocator linked into them
 * do, and leaves the rest to libc. What libc writes by means of those (reallocarray, valloc...) has to reach them: their
 * blocks never meet the allocator below. With IN_GLIBCS_PLACE it defines glibc's other names for them, too, as
 * Chromium does. */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "memory.h"

enum { ARENA = 64 << 20 };

struct head {
  uint64_t magic;
  size_t size;
};
#define MAGIC UINT64_C(0x6f776e206d616c6c)

static char *arena;
static size_t used;
static unsigned freed, strange;

static struct head *head_of(void *block) { return (struct head *)block - 1; }

#define EXPORT __attribute__((visibility("default"), used))

EXPORT void *memalign(size_t alignment, size_t size) {
  if (!arena) arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (alignment < 16) alignment = 16;
  const size_t start = (used + sizeof(struct head) + alignment - 1) / alignment * alignment;
  if (size > ARENA || start + size > ARENA) return errno = ENOMEM, NULL;
  used = start + size;
  *head_of(arena + start) = (struct head){MAGIC, size};
  return arena + start;
}

EXPORT void *malloc(size_t size) { return memalign(16, size); }
EXPORT void *calloc(size_t count, size_t size) { return malloc(count * size); }

EXPORT void free(void *block) {
  if (!block) return;
  if (head_of(block)->magic != MAGIC) strange++;
  freed++;
}

EXPORT void *realloc(void *block, size_t size) {
  void *moved = malloc(size);
  if (!block || !moved) return moved;
  if (head_of(block)->magic != MAGIC) strange++;
  memcpy(moved, block, head_of(block)->size < size ? head_of(block)->size : size);
  return moved;
}

#ifdef IN_GLIBCS_PLACE
EXPORT void *__libc_malloc(size_t size) { return malloc(size); }
EXPORT void __libc_free(void *block) { free(block); }
EXPORT void *__libc_calloc(size_t count, size_t size) { return calloc(count, size); }
EXPORT void *__libc_realloc(void *block, size_t size) { return realloc(block, size); }
EXPORT void *__libc_memalign(size_t alignment, size_t size) { return memalign(alignment, size); }
#endif

static int is_own(void *block) { return (char *)block > arena && (char *)block < arena + ARENA; }

int main(void) {
  char *block = malloc(100);
  memory_fill(block, 100, 1);
  block = reallocarray(block, 300, 10);
  CHECK(is_own(block) && memory_holds(block, 100, 1));
  errno = 0;
  CHECK(reallocarray(block, (size_t)-1, 10) == NULL);
  CHECK_EQ(errno, ENOMEM);
  void (*release)(void *);
  *(void **)&release = dlsym(RTLD_DEFAULT, "cfree");
  if (release) {
    const unsigned before = freed;
    release(block);
    CHECK_EQ(freed, before + 1);
  }
  char *text = strdup("libc's own blocks");
  CHECK(is_own(text));
  text = reallocarray(text, 2, 500);
  CHECK(is_own(text) && strcmp(text, "libc's own blocks") == 0);
  free(text);
  CHECK_EQ(strange, 0);
  return check_finish();
}
