// Allocators that are loaded at run time: mimalloc, tcmalloc, or any shared library that is a malloc.
//
// RTLD_LOCAL: their own exports interpose nothing. A failure to load leaves everything as it was.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "allocator/concept.h"
#include "allocator/early_arena.h"

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

struct Dynamic {
  static constexpr const char *name = "dynamic";
  static constexpr bool counts_itself = false;

  static void *allocate(size_t bytes) { return bytes > PTRDIFF_MAX ? nullptr : dynamic_calls.malloc(bytes); }
  static void *zeroed(size_t bytes) { return bytes > PTRDIFF_MAX ? nullptr : dynamic_calls.calloc(1, bytes); }
  static void *resize(void *block, size_t bytes) {
    return bytes > PTRDIFF_MAX ? nullptr : dynamic_calls.realloc(block, bytes);
  }
  static void *aligned(size_t alignment, size_t bytes) {
    return bytes > PTRDIFF_MAX - alignment ? nullptr : dynamic_calls.memalign(alignment, bytes);
  }
  // glibc's free keeps errno since 2.33; these do not promise it.
  static void release(void *block) {
    int *error = errno_address();
    int kept = *error;
    dynamic_calls.free(block);
    *error = kept;
  }
  static bool owns(const void *block) { return !EarlyArena::owns(block); }
  static size_t usable_size(const void *block) { return dynamic_calls.usable_size(const_cast<void *>(block)); }
  static size_t size_handed_out(const void *block, size_t bytes) {
    size_t known = bytes <= kSmallBytes ? dynamic_small_sizes[(bytes + 7) / 8] : 0;
    return __builtin_expect(known != 0, 1) ? known : usable_size(block);
  }
  static void trim() {
    if (dynamic_calls.trim) dynamic_calls.trim();
  }

 private:
  // errno is static TLS of libc: at the same distance from every thread pointer.
  static int *errno_address() {
    return reinterpret_cast<int *>(static_cast<char *>(__builtin_thread_pointer()) + errno_offset);
  }

 public:
  static ptrdiff_t errno_offset;
};
static_assert(Allocator<Dynamic>);

}  // namespace membudget
