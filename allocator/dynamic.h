// Allocators that are loaded at run time: mimalloc, tcmalloc, or any shared library that is a malloc.
//
// RTLD_LOCAL: their own exports interpose nothing. A failure to load leaves everything as it was.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "allocator/concept.h"
#include "allocator/early_arena.h"
#include "allocator/size_map.h"

namespace membudget {

struct DynamicCalls {
  void *(*malloc)(size_t);
  void (*free)(void *);
  void *(*calloc)(size_t, size_t);
  void *(*realloc)(void *, size_t);
  void *(*memalign)(size_t, size_t);
  size_t (*usable_size)(void *);
  size_t (*good_size)(size_t);  // the usable size that a request gets; NULL when not to be known
  void (*trim)();
  void (*stats)();  // prints the allocator's statistics on standard error; may be NULL
  void *handle;
};
extern DynamicCalls dynamic_calls;

// Usable sizes by request, for requests up to kSmallBytes, where the allocator's classes are a multiple of
// eight bytes apart; 0 where not known.
constexpr size_t kSmallBytes = 1024;
extern uint16_t dynamic_small_sizes[kSmallBytes / 8 + 1];

// Binds one of them. False, with a line that says why and what to install, when it cannot be had.
bool dynamic_bind_mimalloc(char *why, size_t why_size);
bool dynamic_bind_tcmalloc(char *why, size_t why_size);
bool dynamic_bind_path(const char *path, char *why, size_t why_size);

// Whether the code at `address` belongs to the loaded allocator: its mappings are not the program's.
bool dynamic_contains_code(const void *address);

// mimalloc and tcmalloc: their blocks' sizes come from the small sizes above and the size map, and they are
// known to reach the kernel through the functions that we export, which keep errno for them.
template <typename Sizes>
struct Dynamic {
  static constexpr const char *name = "dynamic";
  static constexpr bool counts_itself = false;
  static constexpr bool finds_size = true;

  static void *allocate(size_t bytes) {
    return __builtin_expect(bytes > PTRDIFF_MAX, 0) ? nullptr : dynamic_calls.malloc(bytes);
  }
  static void *zeroed(size_t bytes) { return bytes > PTRDIFF_MAX ? nullptr : dynamic_calls.calloc(1, bytes); }
  static void *resize(void *block, size_t bytes) {
    return bytes > PTRDIFF_MAX ? nullptr : dynamic_calls.realloc(block, bytes);
  }
  static void *aligned(size_t alignment, size_t bytes) {
    void *block = bytes > PTRDIFF_MAX - alignment ? nullptr : dynamic_calls.memalign(alignment, bytes);
    if (block) Sizes::note_aligned(block, usable_size(block));
    return block;
  }
  static void release(void *block) { dynamic_calls.free(block); }
  static bool owns(const void *block) { return !EarlyArena::owns(block); }
  static size_t usable_size(const void *block) { return dynamic_calls.usable_size(const_cast<void *>(block)); }
  static size_t size_found(const void *block) { return Sizes::find(block); }
  static size_t size_noted(const void *block, size_t requested) {
    size_t known = requested <= kSmallBytes ? dynamic_small_sizes[(requested + 7) / 8] : 0;
    return __builtin_expect(Sizes::has(block, known), 1) ? known : 0;
  }
  static void note_size(const void *block, size_t usable_bytes) { Sizes::note(block, usable_bytes); }
  static void trim() {
    if (dynamic_calls.trim) dynamic_calls.trim();
  }
};
using Mimalloc = Dynamic<MimallocSizes>;
using Tcmalloc = Dynamic<TcmallocSizes>;
static_assert(Allocator<Mimalloc> && Allocator<Tcmalloc>);

// Any other library: nothing is known of its sizes, nor of what its free does to errno.
struct Foreign : Dynamic<MimallocSizes> {
  static constexpr bool finds_size = false;

  static void *aligned(size_t alignment, size_t bytes) {
    return bytes > PTRDIFF_MAX - alignment ? nullptr : dynamic_calls.memalign(alignment, bytes);
  }
  static void release(void *block);
};
static_assert(Allocator<Foreign>);

}  // namespace membudget
