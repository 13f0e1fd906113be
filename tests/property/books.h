// Compares the library's counters with the reference library's sums, seen from within and from outside.
#pragma once

#include <dlfcn.h>

#include "check.h"
#include "library.h"
#include "outside.h"

// libreference.so, preloaded in front of the library (see tests/support/reference.c).
struct Reference {
  int64_t (*live_bytes)(void);
  int64_t (*blocks)(void);
};

inline Reference reference_find() {
  Reference found;
  *reinterpret_cast<void **>(&found.live_bytes) = dlsym(RTLD_DEFAULT, "reference_live_bytes");
  *reinterpret_cast<void **>(&found.blocks) = dlsym(RTLD_DEFAULT, "reference_blocks");
  REQUIRE(found.live_bytes && found.blocks);
  return found;
}

// Whether `seen` is what the reference says, to the byte and to the block.
inline bool books_agree(const Reference &reference, const counters &seen, const char *seen_from, const char *when) {
  const int64_t bytes = reference.live_bytes(), blocks = reference.blocks();
  const int64_t seen_blocks = static_cast<int64_t>(seen.allocations - seen.frees);
  CHECK_CONTEXT(seen.live_bytes == bytes, "%s, seen from %s: live bytes are off by %lld: %lld instead of %lld", when,
                seen_from, static_cast<long long>(seen.live_bytes - bytes), static_cast<long long>(seen.live_bytes),
                static_cast<long long>(bytes));
  CHECK_CONTEXT(seen_blocks == blocks, "%s, seen from %s: allocations less frees are off by %lld", when, seen_from,
                static_cast<long long>(seen_blocks - blocks));
  return seen.live_bytes == bytes && seen_blocks == blocks;
}

// From within and, with a reader, from outside.
inline bool books_agree(const Reference &reference, const outside *reader, const char *when) {
  bool agree = books_agree(reference, counters_read(library_block(), library_process()), "within", when);
  if (reader) agree &= books_agree(reference, outside_ask(reader), "outside", when);
  return agree;
}
