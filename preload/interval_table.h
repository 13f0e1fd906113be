// A set of address ranges: which pages are counted as mapped.
//
// A sorted array of disjoint ranges, neighbours merged, in memory of its own straight from the kernel.
// Not locked: the caller is.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace membudget {

struct Interval {
  uintptr_t start, end;
};

class IntervalTable {
 public:
  // Adds [start, end), of which nothing may be in the table. False when there is no memory for it.
  bool add(uintptr_t start, uintptr_t end);

  // Takes [start, end) out, splitting what reaches beyond. Returns the bytes that were in the table.
  // A split that finds no memory gives up the upper part, and counts it as taken out.
  size_t remove(uintptr_t start, uintptr_t end);

  // The bytes of [start, end) that are in the table.
  size_t overlap(uintptr_t start, uintptr_t end) const;

 private:
  size_t first_ending_after(uintptr_t address) const;
  bool insert(size_t at, Interval);
  void erase(size_t from, size_t to);

  static constexpr size_t kInitial = 32;
  Interval initial_[kInitial] = {};
  Interval *items_ = initial_;
  size_t size_ = 0, capacity_ = kInitial;
};

}  // namespace membudget
