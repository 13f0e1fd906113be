// The malloc family, written once over an allocator and a way of counting.
//
// Semantics are glibc 2.36's: see each function. Every block is counted with its usable size when it is
// handed out, and taken off with the same size when it comes back.
#pragma once

#include <errno.h>
#include <string.h>

#include "allocator/concept.h"
#include "allocator/early_arena.h"
#include "allocator/ledger.h"
#include "preload/arguments.h"

namespace membudget {

struct Counted {
  static constexpr bool counts = true, is_limited = false, is_sampled = false;
};
// Under a hard limit: what is larger than a small request is checked before it is allocated, and once more when it is
// counted, since threads may have been let through together; what is small where it meets the ledger's trigger
// (ledger::settle_allocated).
struct Limited {
  static constexpr bool counts = true, is_limited = true, is_sampled = false;
};
struct Uncounted {
  static constexpr bool counts = false, is_limited = false, is_sampled = false;
};
// With is_sampled (profile/sampled_entry.h) a way of counting has functions more, all of the slow path: draws(bytes) tells
// whether a block that was just counted is to be sampled, sample(block, bytes) does it, forget(block, out) is for all
// that may be sampled before they are released.

template <Allocator A, typename Count>
struct Entry {
  static void *malloc(size_t bytes) {
    if constexpr (Count::counts && A::foretells_size) {
      if (__builtin_expect(bytes > A::small_bytes, 0)) return malloc_large(bytes);
      ptrdiff_t foretold = A::small_foretold(bytes);
      return handed_out_as(foretold, A::allocate_small(bytes));
    } else {
      if (Count::is_limited && __builtin_expect(bytes > kSmallRequest, 0)) return malloc_checked(bytes);
      return handed_out(A::allocate(bytes));
    }
  }

  static void free(void *block) {
    if constexpr (Count::counts && A::finds_size) {
      size_t bytes = A::size_found(block);
      if (__builtin_expect(bytes == 0, 0)) return free_slow(block);
      if (ledger::freed(bytes)) return settle_and_release(block, bytes);
      A::release(block);
    } else {
      free_any(block);
    }
  }

  // A product that overflows: ENOMEM.
  static void *calloc(size_t count, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total)) return out_of_memory();
    if (!fits(total)) return out_of_memory();
    if constexpr (Count::counts && A::foretells_size) {
      ptrdiff_t foretold = A::foretold(total);
      return kept(handed_out_as(foretold, A::zeroed(total)), total);
    } else {
      return kept(handed_out(A::zeroed(total)), total);
    }
  }

  // realloc(NULL, n) is malloc(n); realloc(p, 0) frees p and gives NULL; a failure leaves p as it was.
  static void *realloc(void *block, size_t bytes) {
    if (__builtin_expect(!block, 0)) return malloc(bytes);
    if (__builtin_expect(bytes == 0, 0)) return free_slow(block), nullptr;
    size_t old = 0, found = 0;
    if constexpr (Count::counts && A::finds_size) old = found = A::size_found(block);
    if (__builtin_expect(old == 0, !A::finds_size)) {
      if (__builtin_expect(!A::owns(block), 0)) return move_from_early(block, bytes);
      if (Count::is_limited || (Count::counts && !A::counts_itself)) old = A::usable_size(block);
    }
    if (Count::is_limited && bytes > old) return grow_limited(block, bytes, old);
    void *grown = A::resize(block, bytes);
    if (__builtin_expect(grown == nullptr, 0)) return out_of_memory();
    if constexpr (Count::counts) count_moved(grown, old, grown == block ? found : 0);
    return grown;
  }

  // Any alignment is rounded up to a power of two; one that cannot be is EINVAL. The size is free.
  static void *memalign(size_t alignment, size_t bytes) {
    alignment = rounded_alignment(alignment);
    if (alignment == 0) return errno = EINVAL, nullptr;
    if (aligned_size_is_too_large(alignment, bytes)) return out_of_memory();
    if (!fits(bytes)) return out_of_memory();
    return kept(handed_out(A::aligned(alignment, bytes)), bytes);
  }

  // The error is returned, errno and *out stay as they were.
  static int posix_memalign(void **out, size_t alignment, size_t bytes) {
    if (!posix_alignment_is_valid(alignment)) return EINVAL;
    int kept = errno;
    void *block = memalign(alignment, bytes);
    errno = kept;
    if (!block) return ENOMEM;
    *out = block;
    return 0;
  }

  static size_t usable_size(void *block) {
    if (!block) return 0;
    return A::owns(block) ? A::usable_size(block) : EarlyArena::usable_size(block);
  }

 private:
  // Everything but the fast path of free, in every case right.
  __attribute__((always_inline)) static void free_any(void *block) {
    if (__builtin_expect(block == nullptr, 0)) return;
    if (__builtin_expect(!A::owns(block), 0)) return count_freed(EarlyArena::usable_size(block));
    if constexpr (!Count::counts) {
      A::release(block);
    } else if constexpr (A::counts_itself) {
      A::release(block);
      if (ledger::freed_total(A::freed_total())) ledger::settle_freed(0);
    } else {
      size_t bytes = size_of_released(block);
      if (ledger::freed(bytes)) return settle_and_release(block, bytes);
      A::release(block);
    }
  }

  // A sampled block is forgotten first: once the allocator has it back, another thread may get it.
  static size_t size_of_released(void *block) {
    if constexpr (Count::is_sampled && A::marks_sampled) {
      Count::forget_if_sampled(block);
      size_t bytes = A::size_found(block);
      if (bytes == 0) bytes = A::size_found_marked(block);
      if (bytes != 0) return bytes;
    }
    return A::usable_size(block);
  }

  __attribute__((noinline, cold)) static void settle_and_release(void *block, size_t bytes) {
    ledger::settle_freed(bytes);
    A::release(block);
  }

  __attribute__((noinline, cold)) static void *settle_and_return(void *block, size_t bytes) {
    if (settle(block, bytes)) return block;
    free_slow(block);
    return out_of_memory();
  }

  __attribute__((noinline, cold)) static void settle_moved(void *block, size_t bytes) { settle(block, bytes); }

  // The ledger's settle_allocated(). It arms the trigger for the next sample, which is drawn before; a thread gets its
  // shard in there, and its first sample after it. `bytes`: 0 with an allocator that counts by itself.
  __attribute__((always_inline)) static bool settle(void *block, size_t bytes) {
    if constexpr (A::counts_itself) bytes = A::usable_size(block);
    if constexpr (!Count::is_sampled) {
      return ledger::settle_allocated(bytes);
    } else {
      bool is_due = Count::draws(bytes);
      bool fits = (is_due && ledger::goes_on_to_next_sample()) || ledger::settle_allocated(bytes);
      is_due = is_due || Count::draws(bytes);
      if (fits && is_due) Count::sample(block, bytes);
      return fits;
    }
  }

  static bool fits(size_t bytes) {
    if constexpr (!Count::is_limited) return true;
    return bytes <= kSmallRequest || ledger::admits(static_cast<int64_t>(A::good_size(bytes)));
  }

  // A block that is counted, unless it is too much now.
  __attribute__((always_inline)) static void *kept(void *block, size_t bytes) {
    if constexpr (Count::is_limited) {
      bool is_checked = bytes > kSmallRequest && block;
      if (is_checked && !ledger::keeps(static_cast<int64_t>(bytes))) return take_back(block);
    }
    return block;
  }

  __attribute__((noinline, cold)) static void *take_back(void *block) {
    if constexpr (Count::is_sampled) Count::forget_if_sampled(block);
    free_slow(block);
    return out_of_memory();
  }

  __attribute__((noinline, cold)) static void free_slow(void *block) { free_any(block); }

  __attribute__((noinline, cold)) static void *out_of_memory() {
    errno = ENOMEM;
    return nullptr;
  }

  // Counts a block that has the foretold size, unless its page says otherwise.
  __attribute__((always_inline)) static void *handed_out_as(ptrdiff_t foretold, void *block) {
    if (__builtin_expect(!A::has_size(block, foretold), 0)) {
      if constexpr (!Count::is_sampled || !A::marks_sampled) return handed_out_slow(block);
      return handed_out_of_marked(block, foretold);
    }
    auto usable = static_cast<size_t>(foretold);
    if (ledger::allocated(usable)) return settle_and_return(block, usable);
    return block;
  }

  __attribute__((always_inline)) static void *handed_out(void *block) {
    if (__builtin_expect(block == nullptr, 0)) return out_of_memory();
    if constexpr (Count::counts && A::counts_itself) {
      if (ledger::allocated_total(A::allocated_total())) return settle_and_return(block, 0);
    } else if constexpr (Count::counts && A::finds_size && !A::foretells_size) {
      size_t bytes = A::size_found(block);
      if (__builtin_expect(bytes == 0, 0)) return handed_out_slow(block);
      if (ledger::allocated(bytes)) return settle_and_return(block, bytes);
    } else if constexpr (Count::counts) {
      return count_new(block);
    }
    return block;
  }
  __attribute__((noinline)) static void *handed_out_slow(void *block) {
    return block ? count_new(block) : out_of_memory();
  }
  __attribute__((noinline)) static void *handed_out_of_marked(void *block, ptrdiff_t foretold) {
    auto usable = static_cast<size_t>(foretold);
    if (A::size_found_marked(block) != usable) return handed_out_slow(block);
    if (ledger::allocated(usable)) return settle_and_return(block, usable);
    return block;
  }
  static void *count_new(void *block) {
    size_t bytes = size_of_new(block);
    if (ledger::allocated(bytes)) return settle_and_return(block, bytes);
    return block;
  }
  __attribute__((noinline)) static void *malloc_large(size_t bytes) {
    if (!fits(bytes)) return out_of_memory();
    ptrdiff_t foretold = A::foretold(bytes);
    return kept(handed_out_as(foretold, A::allocate(bytes)), bytes);
  }
  __attribute__((noinline)) static void *malloc_checked(size_t bytes) {
    if (!fits(bytes)) return out_of_memory();
    return kept(handed_out(A::allocate(bytes)), bytes);
  }

  // The usable size of a block of which nothing is known yet.
  static size_t size_of_new(void *block) {
    if constexpr (A::foretells_size) {
      size_t bytes = A::usable_size(block);
      A::note_size(block, bytes);
      return bytes;
    } else {
      size_t bytes = 0;
      if constexpr (A::finds_size) bytes = A::size_found(block);
      return __builtin_expect(bytes == 0, !A::finds_size) ? A::usable_size(block) : bytes;
    }
  }

  // The old block is gone: what was let through before the move stays. `found`: the size that the block had and,
  // where blocks of a page are of one size, still has, because it stayed where it was; 0 when that is unknown.
  static void count_moved(void *grown, size_t old_bytes, size_t found) {
    if constexpr (A::counts_itself) {
      if (ledger::freed_total(A::freed_total())) ledger::settle_freed(0);
      if (ledger::allocated_total(A::allocated_total())) settle_moved(grown, 0);
    } else {
      if (ledger::freed(old_bytes)) ledger::settle_freed(old_bytes);
      size_t bytes = A::foretells_size && found ? found : size_of_new(grown);
      if (ledger::allocated(bytes)) settle_moved(grown, bytes);
    }
  }

  // Under a hard limit the growth is counted before there is any, so that threads which grow blocks at the same
  // time cannot pass it together.
  __attribute__((noinline)) static void *grow_limited(void *block, size_t bytes, size_t old) {
    size_t good = A::good_size(bytes), growth = good > old ? good - old : 0;
    if (!fits(growth) || !ledger::reserve(growth, bytes)) return out_of_memory();
    void *grown = A::resize(block, bytes);
    if (!grown) {
      ledger::unreserve(growth);
      return out_of_memory();
    }
    if constexpr (A::counts_itself) {
      if (ledger::resized_totals(A::allocated_total(), A::freed_total(), growth)) ledger::settle_freed(0);
    } else {
      if (ledger::resized(static_cast<int64_t>(size_of_new(grown)) - static_cast<int64_t>(old + growth)))
        ledger::settle_resized();
    }
    if constexpr (Count::is_sampled) sample_grown(grown, old);
    return grown;
  }

  // To the samples it is a new block as any other, though the ledger may have been told of the growth alone.
  static void sample_grown(void *grown, size_t old) {
    size_t bytes = A::usable_size(grown);
    if constexpr (!A::counts_itself) ledger::sample_sooner(old);
    if (Count::draws(bytes)) Count::sample(grown, bytes);
  }

  // A block of the start-up's arena never reaches an allocator's own functions.
  static void count_freed(size_t bytes) {
    if constexpr (Count::counts)
      if (ledger::freed(bytes)) ledger::settle_freed(bytes);
  }

  __attribute__((noinline, cold)) static void *move_from_early(void *block, size_t bytes) {
    size_t old = EarlyArena::usable_size(block);
    void *grown = malloc(bytes);
    if (!grown) return nullptr;
    memcpy(grown, block, old < bytes ? old : bytes);
    count_freed(old);
    return grown;
  }
};

}  // namespace membudget
