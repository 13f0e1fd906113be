// The malloc family with sampling: an instance of its own, so that it costs nothing where it is off.
#pragma once

#include "preload/entry.h"
#include "preload/profile/sampler.h"
#include "preload/table.h"

namespace membudget::profile {

// Handing out takes not one instruction more: a thread's next sample is where the ledger's trigger is met, at the latest.
template <typename A, typename Count>
struct Sampled : Count {
  // cppcheck-suppress duplInheritedMember  ; as meant: it is what differs
  static constexpr bool is_sampled = true;
  static bool draws(size_t bytes) { return profile::draws(bytes); }
  static void sample(void *block, size_t bytes) {
    bool is_remembered = profile::sample(block, bytes);
    if (is_remembered) mark(block);
  }
  static bool forget(const void *block, LiveBlock *out) {
    bool was_sampled = profile::forget(block, out);
    if constexpr (A::marks_sampled)
      if (was_sampled) A::unmark(block);
    return was_sampled;
  }
  static void forget_if_sampled(const void *block) {
    LiveBlock forgotten;
    if (may_be_live(block)) forget(block, &forgotten);
  }
  static void remember(const void *block, const LiveBlock &about) {
    if (profile::remember(block, about)) mark(block);
  }

 private:
  static void mark(const void *block) {
    if constexpr (A::marks_sampled) A::mark(block);
  }
};

template <Allocator A, typename Count>
struct SampledEntry : Entry<A, Sampled<A, Count>> {
  using How = Sampled<A, Count>;
  using Inner = Entry<A, How>;

  // Where the pages of sampled blocks are marked, their frees take Inner's slow path, and no other knows of sampling.
  static void free(void *block) {
    if constexpr (!A::marks_sampled) {
      if (may_be_live(block)) return free_slow(block);
      if (block == nullptr) __builtin_unreachable();  // it may be live: spares the look at it
    }
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
    How::forget(block, &forgotten);
    Inner::free(block);
  }

  __attribute__((noinline)) static void *realloc_slow(void *block, size_t bytes) {
    LiveBlock forgotten;
    bool was_sampled = How::forget(block, &forgotten);
    void *grown = Inner::realloc(block, bytes);
    if (!grown && bytes != 0 && was_sampled) How::remember(block, forgotten);
    return grown;
  }
};

template <typename A, typename Count>
constexpr EntryTable sampled_table_of() {
  using S = SampledEntry<A, Count>;
  return {S::malloc, S::free, S::calloc, S::realloc, S::memalign, S::posix_memalign, S::usable_size};
}

}  // namespace membudget::profile
