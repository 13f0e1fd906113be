// The malloc family with sampling around it: an instance of its own, so that it costs nothing where it is off.
#pragma once

#include "preload/entry.h"
#include "preload/profile/sampler.h"
#include "preload/table.h"

namespace membudget::profile {

template <Allocator A, typename Count>
struct Sampled {
  using Inner = Entry<A, Count>;

  static void *malloc(size_t bytes) { return handed_out(Inner::malloc(bytes)); }

  static void free(void *block) {
    if (may_be_live(block)) return free_slow(block);
    Inner::free(block);
  }

  static void *calloc(size_t count, size_t bytes) { return handed_out(Inner::calloc(count, bytes)); }

  // The block is forgotten first: once the allocator has it back, another thread may get it.
  static void *realloc(void *block, size_t bytes) {
    if (may_be_live(block)) return realloc_slow(block, bytes);
    return handed_out(Inner::realloc(block, bytes));
  }

  static void *memalign(size_t alignment, size_t bytes) { return handed_out(Inner::memalign(alignment, bytes)); }

  static int posix_memalign(void **out, size_t alignment, size_t bytes) {
    int error = Inner::posix_memalign(out, alignment, bytes);
    if (error == 0) handed_out(*out);
    return error;
  }

 private:
  __attribute__((always_inline)) static void *handed_out(void *block) {
    if (is_due()) return sample_and_return(block);
    return block;
  }

  __attribute__((noinline, cold)) static void *sample_and_return(void *block) {
    sample(block, Inner::usable_size(block));
    return block;
  }

  __attribute__((noinline)) static void free_slow(void *block) {
    LiveBlock forgotten;
    forget(block, &forgotten);
    Inner::free(block);
  }

  __attribute__((noinline)) static void *realloc_slow(void *block, size_t bytes) {
    LiveBlock forgotten;
    bool was_sampled = forget(block, &forgotten);
    void *grown = Inner::realloc(block, bytes);
    if (!grown && bytes != 0 && was_sampled) remember(block, forgotten);
    return grown ? handed_out(grown) : grown;
  }
};

template <typename A, typename Count>
constexpr EntryTable sampled_table_of() {
  using S = Sampled<A, Count>;
  return {S::malloc, S::free, S::calloc, S::realloc, S::memalign, S::posix_memalign, Entry<A, Count>::usable_size};
}

}  // namespace membudget::profile
