// jemalloc, the distribution's, made private at build time (see CMakeLists.txt): renamed symbols, its own
// settings, initialised at its first use.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "allocator/concept.h"

extern "C" {
void *membudget_je_malloc(size_t);
void membudget_je_free(void *);
void *membudget_je_calloc(size_t, size_t);
void *membudget_je_realloc(void *, size_t);
void *membudget_je_memalign(size_t, size_t);
size_t membudget_je_malloc_usable_size(const void *);
size_t membudget_je_nallocx(size_t, int);
int membudget_je_mallctl(const char *, void *, size_t *, void *, size_t);
void membudget_je_malloc_stats_print(void (*)(void *, const char *), void *, const char *);
}

#pragma GCC visibility push(hidden)  // or each use of what is declared here goes through the GOT

namespace membudget {

struct Jemalloc {
  static constexpr const char *name = "jemalloc";
  // thread.allocatedp and thread.deallocatedp: advanced by usable sizes, on jemalloc's own fast path.
  static constexpr bool counts_itself = true;
  static constexpr bool finds_size = false, foretells_size = false, marks_sampled = false;

  static void *allocate(size_t bytes) { return membudget_je_malloc(bytes); }
  static void *zeroed(size_t bytes) { return membudget_je_calloc(1, bytes); }
  static void *resize(void *block, size_t bytes) { return membudget_je_realloc(block, bytes); }
  static void *aligned(size_t alignment, size_t bytes) {
    return membudget_je_memalign(alignment, bytes ? bytes : 1);  // of 0 bytes it forgets the alignment
  }
  static void release(void *block) { membudget_je_free(block); }
  static bool owns(const void *) { return true; }
  static size_t usable_size(const void *block) { return membudget_je_malloc_usable_size(block); }
  static size_t good_size(size_t bytes) {
    size_t usable = membudget_je_nallocx(bytes ? bytes : 1, 0);
    return usable ? usable : bytes;  // 0: more than it can allocate
  }
  static void trim();

  static uint64_t allocated_total() { return *counter(allocated_offset); }
  static uint64_t freed_total() { return *counter(freed_offset); }

  // Initialises jemalloc and finds its counters. False when it has none.
  static bool bind();

 private:
  // jemalloc's thread data is static TLS of this library: at the same distance from every thread pointer.
  static const uint64_t *counter(ptrdiff_t offset) {
    return reinterpret_cast<const uint64_t *>(static_cast<const char *>(__builtin_thread_pointer()) + offset);
  }
  static ptrdiff_t allocated_offset, freed_offset;
};
static_assert(Allocator<Jemalloc>);

}  // namespace membudget

#pragma GCC visibility pop
