// Allocators that are loaded at run time: mimalloc, tcmalloc, or any shared library that is a malloc.
//
// RTLD_LOCAL: their own exports interpose nothing. A failure to load leaves everything as it was.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "allocator/concept.h"
#include "allocator/early_arena.h"
#include "allocator/size_map.h"

#pragma GCC visibility push(hidden)  // or each use of what is declared here goes through the GOT

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

// Whether mimalloc or tcmalloc may be used through its size map; else it is as any other library (Foreign).
extern bool dynamic_sizes_known;

// Usable sizes by request, SizeMap's kNever where not known: for each request up to kSmallBytes, and in
// steps of kMediumStep up to kMediumBytes (above 1,024 bytes size classes are multiples of 128).
constexpr size_t kSmallBytes = 1024, kMediumBytes = 32 << 10, kMediumStep = 128;
extern int16_t dynamic_small_sizes[kSmallBytes + 1];
extern int16_t dynamic_medium_sizes[kMediumBytes / kMediumStep + 1];

// Binds one of them. False, with a line that says why and what to install, when it cannot be had.
bool dynamic_bind_mimalloc(char *why, size_t why_size);
bool dynamic_bind_tcmalloc(char *why, size_t why_size);
bool dynamic_bind_path(const char *path, char *why, size_t why_size);

// Whether mimalloc gives freed pages back at once, as long as that is asked for, or after its usual delays: when it
// is asked to trim, it leaves alone what still waits. Does nothing for another allocator.
void dynamic_give_back_at_once(bool);

// An aligned block from the loaded allocator, or NULL. mimalloc 2.0.9 forgets the alignment of some sizes that
// are powers of two: asked again for another size.
void *dynamic_aligned(size_t alignment, size_t bytes);

// Whether another libmembudget.so than this one comes first in this process: preloaded before it, from another
// installation, or taken for an allocator's.
bool dynamic_is_another_there();

// Whether the code at `address` belongs to the loaded allocator: its mappings are not the program's.
bool dynamic_contains_code(const void *address);

// mimalloc and tcmalloc: their blocks' sizes come from the small sizes above and the size map, and they are
// known to reach the kernel through the functions that we export, which keep errno for them.
// `kAlignedAreWhole`: an over-aligned block is one of its page's size class, too (tcmalloc); mimalloc hands out
// a part of a larger one.
template <typename Sizes, bool kAlignedAreWhole>
struct Dynamic {
  static constexpr const char *name = "dynamic";
  static constexpr bool counts_itself = false;
  static constexpr bool finds_size = true, foretells_size = true;
  // With 512 KiB between samples one in 64 pages of 8 KiB has one. Of those of 64 KiB it is one in 8: more than it costs
  // to look at each block (churn with mimalloc: 1.16 times as long as with profiles off, against 1.04).
  static constexpr bool marks_sampled = Sizes::kPageBytes <= 8 << 10;

  static constexpr size_t small_bytes = kSmallBytes;

  static void *allocate_small(size_t bytes) { return dynamic_calls.malloc(bytes); }
  static void *allocate(size_t bytes) {
    return __builtin_expect(bytes > PTRDIFF_MAX, 0) ? nullptr : dynamic_calls.malloc(bytes);
  }
  static void *zeroed(size_t bytes) { return bytes > PTRDIFF_MAX ? nullptr : dynamic_calls.calloc(1, bytes); }
  static void *resize(void *block, size_t bytes) {
    return bytes > PTRDIFF_MAX ? nullptr : dynamic_calls.realloc(block, bytes);
  }
  static void *aligned(size_t alignment, size_t bytes) {
    if (alignment <= 16) return allocate(bytes < 16 ? 16 : bytes);  // only blocks of less are not aligned to 16
    void *block = bytes > PTRDIFF_MAX - alignment ? nullptr : dynamic_aligned(alignment, bytes);
    if (block && !kAlignedAreWhole) Sizes::note_aligned(block);
    return block;
  }
  static void release(void *block) { dynamic_calls.free(block); }
  static bool owns(const void *block) { return !EarlyArena::owns(block); }
  static size_t usable_size(const void *block) { return dynamic_calls.usable_size(const_cast<void *>(block)); }
  static size_t good_size(size_t bytes) { return dynamic_calls.good_size ? dynamic_calls.good_size(bytes) : bytes; }
  static size_t size_found(const void *block) { return Sizes::find(block); }
  static ptrdiff_t small_foretold(size_t requested) { return dynamic_small_sizes[requested]; }
  static ptrdiff_t foretold(size_t requested) {
    if (requested <= kSmallBytes) return dynamic_small_sizes[requested];
    if (requested <= kMediumBytes) return dynamic_medium_sizes[(requested + kMediumStep - 1) / kMediumStep];
    return Sizes::kNever;
  }
  static bool has_size(const void *block, ptrdiff_t bytes) { return Sizes::has(block, bytes); }
  static size_t size_found_marked(const void *block) { return Sizes::find_marked(block); }
  static void mark(const void *block) { Sizes::mark(block); }
  static void unmark(const void *block) { Sizes::unmark(block); }
  static void note_size(const void *block, size_t usable_bytes) { Sizes::note(block, usable_bytes); }
  static void trim() {
    if (dynamic_calls.trim) dynamic_calls.trim();
  }
};
using Mimalloc = Dynamic<MimallocSizes, false>;
using Tcmalloc = Dynamic<TcmallocSizes, true>;
static_assert(Allocator<Mimalloc> && Allocator<Tcmalloc>);

// Any other library: nothing is known of its sizes, nor of what its free does to errno.
// Its malloc may give NULL for no bytes: it is asked for one.
struct Foreign : Mimalloc {
  // cppcheck-suppress duplInheritedMember  ; as meant: this one does neither
  static constexpr bool finds_size = false, foretells_size = false, marks_sampled = false;

  static void *allocate(size_t bytes) { return Mimalloc::allocate(bytes ? bytes : 1); }
  static void *zeroed(size_t bytes) { return Mimalloc::zeroed(bytes ? bytes : 1); }

  static void *aligned(size_t alignment, size_t bytes) {
    return bytes > PTRDIFF_MAX - alignment ? nullptr : dynamic_aligned(alignment, bytes);
  }
  static void release(void *block);
};
static_assert(Allocator<Foreign>);

}  // namespace membudget

#pragma GCC visibility pop
