// The malloc family with sampling: an instance of its own, so that it costs nothing where it is off.
#pragma once

#include "preload/entry.h"
#include "preload/profile/sampler.h"
#include "preload/table.h"

namespace membudget::profile {

// Handing out takes not one instruction more: a thread's next sample is where the ledger's trigger is met, at the latest.
template <typename Count>
struct Sampled : Count {
  // cppcheck-suppress duplInheritedMember  ; as meant: it is what differs
  static constexpr bool is_sampled = true;
  static bool draws(size_t bytes) { return profile::draws(bytes); }
  static void sample(void *block, size_t bytes) { profile::sample(block, bytes); }
};

template <Allocator A, typename Count>
struct SampledEntry : Entry<A, Sampled<Count>> {
  using Inner = Entry<A, Sampled<Count>>;

  static void free(void *block) {
    if (may_be_live(block)) return free_slow(block);
    if (block == nullptr) __builtin_unreachable();  // it may be live: spares the look at it
    Inner::free(block);
  }

  // The block is forgotten first: once the allocator has it back, another thread may get it.
  static void *realloc(void *block, size_t bytes) {
    if (may_be_live(block)) return realloc_slow(block, bytes);
    return Inner::realloc(block, bytes);
  }

 private:
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
    return grown;
  }
};

template <typename A, typename Count>
constexpr EntryTable sampled_table_of() {
  using S = SampledEntry<A, Count>;
  return {S::malloc, S::free, S::calloc, S::realloc, S::memalign, S::posix_memalign, S::usable_size};
}

}  // namespace membudget::profile
