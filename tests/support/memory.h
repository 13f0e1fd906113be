/* memory.h: what tests of an allocator do with memory: fill it with a pattern, look whether the pattern
 * is still there, see how much of it the process holds. Nothing here allocates.
 */
#ifndef TESTS_SUPPORT_MEMORY_H
#define TESTS_SUPPORT_MEMORY_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

/* Keeps the compiler from knowing a value, and so from warning about it or computing with it. */
static inline size_t opaque_size(size_t value) {
  __asm__ volatile("" : "+r"(value));
  return value;
}

static inline void *opaque_pointer(void *value) {
  __asm__ volatile("" : "+r"(value)::"memory");
  return value;
}

static inline unsigned char memory_pattern(size_t index, unsigned seed) {
  return (unsigned char)(index * 31 + seed * 7 + (index >> 8) + 1);
}

static inline void memory_fill(void *block, size_t bytes, unsigned seed) {
  for (size_t i = 0; i < bytes; i++) ((unsigned char *)block)[i] = memory_pattern(i, seed);
}

/* Whether the first `bytes` bytes still hold what memory_fill() wrote. */
static inline int memory_holds(const void *block, size_t bytes, unsigned seed) {
  for (size_t i = 0; i < bytes; i++)
    if (((const unsigned char *)block)[i] != memory_pattern(i, seed)) return 0;
  return 1;
}

static inline int memory_is_zero(const void *block, size_t bytes) {
  for (size_t i = 0; i < bytes; i++)
    if (((const unsigned char *)block)[i]) return 0;
  return 1;
}

static inline int memory_is_aligned(const void *block, size_t alignment) { return (uintptr_t)block % alignment == 0; }

/* Field `index` of /proc/self/statm, in bytes: 0 the address space, 1 what is resident. */
static inline size_t memory_statm_bytes(int index) {
  char text[128];
  const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (got <= 0) abort();
  text[got] = 0;
  char *field = text;
  while (index-- > 0) strtoul(field, &field, 10);
  return strtoul(field, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

static inline size_t memory_address_space_bytes(void) { return memory_statm_bytes(0); }
static inline size_t memory_resident_bytes(void) { return memory_statm_bytes(1); }

/* A small pseudo-random generator (splitmix64): the same seed, the same sequence, on every machine. */
static inline uint64_t random_next(uint64_t *state) {
  uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

/* Evenly from 0 .. below-1. */
static inline uint64_t random_below(uint64_t *state, uint64_t below) { return random_next(state) % below; }

/* Sizes as programs ask for them: mostly small, now and then up to `most` bytes; 0 among them. */
static inline size_t random_size(uint64_t *state, size_t most) {
  const unsigned bits = (unsigned)random_below(state, 64 - (unsigned)__builtin_clzll(most));
  return random_next(state) % (((size_t)2 << bits) < most ? ((size_t)2 << bits) : most + 1);
}

#endif
