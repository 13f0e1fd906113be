// Whether the level is right while threads are at it, by sums that the ledger has no part in.
//
// Each thread keeps books of its own, by plain stores: a locked instruction beside the ledger's would drain
// the store buffers and hide what the ledger must get right without. Books are opened before a call and
// closed after it, so that
//   completed (allocations that have returned, less frees that have begun) is never above the true sum, and
//   begun (allocations that have begun, less frees that have returned) is never below it.
#pragma once

#include <stdint.h>

#include <atomic>
#include <vector>

#include "tests/unit/test_block.h"

namespace membudget::unit {

class SumChecker {
 public:
  // At most `threads` calls under way at a time, of at most `largest` bytes each.
  SumChecker(const Block &block, const MarkBytes &marks, int threads, int64_t largest);

  // The ledger's calls, with the books kept. `thread` is below the number given to the constructor.
  void allocate(int thread, int64_t bytes);
  void release(int thread, int64_t bytes);
  void map(int thread, int64_t change);

  // Looks at sums and level, in any thread at any time. Counts what is wrong.
  void check();

  // With no call under way: the ledger's sums are exact, and the level is one that they allow.
  void expect_exact(const Process *) const;
  // No check found anything wrong; and enough of them had something to tell.
  void expect_no_crossing_unseen(uint64_t least_conclusive) const;

 private:
  struct alignas(64) Books {
    std::atomic<int64_t> allocated_begun, allocated_done, freed_begun, freed_done, mapped;
    std::atomic<uint64_t> allocations, frees;
  };
  static void add(std::atomic<int64_t> &word, int64_t bytes) {
    word.store(word.load(std::memory_order_relaxed) + bytes, std::memory_order_release);
  }
  template <typename T>
  T sum(std::atomic<T> Books::*word) const {
    T total = 0;
    for (const Books &books : books_) total += (books.*word).load(std::memory_order_acquire);
    return total;
  }
  void judge(uint32_t level, int64_t completed, int64_t begun);

  const Header *header_;
  MarkBytes marks_;
  int64_t in_flight_bytes_;
  std::vector<Books> books_;
  std::atomic<uint64_t> unseen_{0}, not_fallen_{0}, odd_crossings_{0}, conclusive_{0};
};

}  // namespace membudget::unit
