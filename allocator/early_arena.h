// Blocks for the time before an allocator that is dlopen'ed is there: bumped off a fixed piece of memory,
// known by their addresses, never used again. dlsym and dlopen allocate, and so do the constructors of
// libraries that run before ours.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "allocator/concept.h"

#pragma GCC visibility push(hidden)  // or each use of what is declared here goes through the GOT

namespace membudget {

struct EarlyArena {
  static constexpr const char *name = "early";
  static constexpr bool counts_itself = false;
  static constexpr bool finds_size = false, foretells_size = false, marks_sampled = false;
  static constexpr size_t capacity_bytes = 16 << 20;  // of address space; pages are taken when touched

  static void *allocate(size_t bytes) { return aligned(16, bytes); }
  static void *zeroed(size_t bytes) { return aligned(16, bytes); }  // fresh memory is zero, none is reused
  static void *resize(void *block, size_t bytes);
  static void *aligned(size_t alignment, size_t bytes);
  static void release(void *) {}
  static bool owns(const void *block) {
    return reinterpret_cast<uintptr_t>(block) - reinterpret_cast<uintptr_t>(memory) < capacity_bytes;
  }
  static size_t usable_size(const void *block) { return static_cast<const size_t *>(block)[-1]; }
  static size_t good_size(size_t bytes) { return (bytes + 15) & ~size_t{15}; }
  static void trim() {}

 private:
  static unsigned char memory[capacity_bytes];
  static size_t used_bytes;
};
static_assert(Allocator<EarlyArena>);

}  // namespace membudget

#pragma GCC visibility pop
