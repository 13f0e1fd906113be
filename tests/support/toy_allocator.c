/* libtest_toy_allocator.so: a malloc library as a user may name one by its path, with as little as one may
 * have, and all that the C standard lets it get away with: no memalign, no statistics, no trim; malloc(0) is
 * a null pointer; failures leave errno alone; free() overwrites it; products are not looked at. What it maps
 * it maps by plain mmap(), which must not be counted as the program's.
 *
 * Blocks of powers of two on free lists under one lock; larger ones are mapped one by one. Before each block
 * lies its header.
 */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define EXPORT __attribute__((visibility("default")))

enum { CLASSES = 17, LARGE = CLASSES, CHUNK = 1 << 20 };

struct header {
  uint32_t class; /* the block's piece of memory has 1 << class bytes; LARGE: mapped alone */
  uint32_t unused;
  size_t offset; /* from the start of that piece to the block */
  size_t usable;
  size_t padding;
};

struct piece {
  struct piece *next;
};

static struct piece *free_pieces[CLASSES];
static char *chunk, *chunk_end;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *map(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static void *take_piece(unsigned class) {
  pthread_mutex_lock(&lock);
  struct piece *piece = free_pieces[class];
  if (piece) {
    free_pieces[class] = piece->next;
  } else {
    const size_t bytes = (size_t)1 << class;
    if ((size_t)(chunk_end - chunk) < bytes) {
      char *fresh = map(CHUNK);
      chunk = fresh ? fresh : chunk_end;
      if (fresh) chunk_end = fresh + CHUNK;
    }
    if ((size_t)(chunk_end - chunk) >= bytes) {
      piece = (struct piece *)chunk;
      chunk += bytes;
    }
  }
  pthread_mutex_unlock(&lock);
  return piece;
}

static struct header *header_of(void *block) { return (struct header *)block - 1; }

static void *allocate(size_t alignment, size_t size) {
  if (size > PTRDIFF_MAX / 2 || alignment > PTRDIFF_MAX / 4) return NULL;
  size_t bytes = size + alignment + sizeof(struct header);
  unsigned class = 6;
  while (class < CLASSES && ((size_t)1 << class) < bytes) class ++;
  if (class == LARGE) bytes = (bytes + 4095) & ~(size_t)4095;
  char *start = class == LARGE ? map(bytes) : take_piece(class);
  if (!start) return NULL;
  if (class != LARGE) bytes = (size_t)1 << class;
  char *block = start + sizeof(struct header);
  block += -(uintptr_t)block & (alignment - 1);
  *header_of(block) = (struct header){class, 0, (size_t)(block - start), (size_t)(start + bytes - block), 0};
  return block;
}

/* What is handed out now, for whoever wants to see that it is this allocator that does it. */
EXPORT int64_t toy_live_bytes;

static void *hand_out(size_t alignment, size_t size) {
  void *block = allocate(alignment, size);
  if (block) __atomic_add_fetch(&toy_live_bytes, (int64_t)header_of(block)->usable, __ATOMIC_RELAXED);
  return block;
}

EXPORT void *malloc(size_t size) { return size ? hand_out(16, size) : NULL; }

EXPORT int posix_memalign(void **out, size_t alignment, size_t size) {
  *out = hand_out(alignment, size);
  return *out ? 0 : ENOMEM;
}

EXPORT size_t malloc_usable_size(void *block) { return header_of(block)->usable; }

EXPORT void free(void *block) {
  if (!block) return;
  const struct header header = *header_of(block);
  char *start = (char *)block - header.offset;
  __atomic_sub_fetch(&toy_live_bytes, (int64_t)header.usable, __ATOMIC_RELAXED);
  if (header.class == LARGE) {
    munmap(start, header.offset + header.usable);
  } else {
    pthread_mutex_lock(&lock);
    ((struct piece *)start)->next = free_pieces[header.class];
    free_pieces[header.class] = (struct piece *)start;
    pthread_mutex_unlock(&lock);
  }
  errno = EBADMSG;
}

EXPORT void *calloc(size_t count, size_t size) {
  void *block = malloc(count * size);
  return block ? memset(block, 0, count * size) : NULL;
}

EXPORT void *realloc(void *block, size_t size) {
  void *moved = malloc(size);
  if (!moved) return NULL;
  const size_t old = malloc_usable_size(block);
  memcpy(moved, block, old < size ? old : size);
  free(block);
  return moved;
}

static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }

__attribute__((constructor)) static void start(void) { pthread_atfork(before_fork, after_fork, after_fork); }
