// A set of address ranges: which pages are counted as mapped.
//
// A sorted array of disjoint ranges, neighbours merged. A range that is about to be unmapped is marked as leaving: counted
// until it is gone, and told apart from what is mapped in its place meanwhile. Not locked: the caller is. No function
// calls the kernel: room is made beforehand.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace membudget {

struct Interval {
  uintptr_t start, end;
  bool is_leaving = false;
};

class IntervalTable {
 public:
  // Adds [start, end), of which nothing may be in the table. False when there is no room for it.
  bool add(uintptr_t start, uintptr_t end);

  // Takes [start, end) out, since something else is mapped there: splits what reaches beyond, but for what is leaving,
  // which is unmapped as a whole, and so is all gone. Returns the bytes that were taken out. A split that finds no room
  // gives up the upper part, and counts it as taken out.
  size_t remove(uintptr_t start, uintptr_t end);

  // Takes out what is leaving of [start, end), and nothing else.
  size_t remove_leaving(uintptr_t start, uintptr_t end);

  // Marks what is in the table of [start, end) as leaving, or as staying after all. Splits as remove() does.
  void set_leaving(uintptr_t start, uintptr_t end, bool is_leaving);

  // The bytes of [start, end) that are in the table, and of all that is.
  size_t overlap(uintptr_t start, uintptr_t end) const;
  size_t bytes() const { return bytes_; }

  // Whether there is room for any one of the calls above, or a removal and an addition.
  bool has_room() const { return capacity_ - size_ >= kMostInserted; }

  // Memory for intervals: what a larger array takes, and the exchange for it, which returns the old one. What is not
  // larger comes back itself. {NULL, 0} is what needs not be unmapped.
  struct Memory {
    void *start = nullptr;
    size_t bytes = 0;
  };
  size_t wanted_bytes() const { return 2 * capacity_ * sizeof(Interval); }
  Memory exchange(Memory larger);

 private:
  size_t first_ending_after(uintptr_t address) const;
  bool insert(size_t at, const Interval &);
  void erase(size_t from, size_t to);
  void split(uintptr_t address);
  void merge(uintptr_t start, uintptr_t end);
  size_t take(uintptr_t start, uintptr_t end, bool leaving_alone);

  static constexpr size_t kInitial = 32;
  static constexpr size_t kMostInserted = 3;  // two borders, and a range
  Interval initial_[kInitial] = {};
  Interval *items_ = initial_;
  size_t size_ = 0, capacity_ = kInitial, bytes_ = 0;
};

}  // namespace membudget
