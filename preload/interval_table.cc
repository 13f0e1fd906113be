#include "preload/interval_table.h"

#include <string.h>

namespace membudget {

size_t IntervalTable::first_ending_after(uintptr_t address) const {
  size_t low = 0, high = size_;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (items_[middle].end > address)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

bool IntervalTable::insert(size_t at, const Interval &interval) {
  if (size_ == capacity_) return false;
  memmove(items_ + at + 1, items_ + at, (size_ - at) * sizeof(Interval));
  items_[at] = interval;
  ++size_;
  return true;
}

void IntervalTable::erase(size_t from, size_t to) {
  memmove(items_ + from, items_ + to, (size_ - to) * sizeof(Interval));
  size_ -= to - from;
}

// Makes `address` a border.
void IntervalTable::split(uintptr_t address) {
  size_t at = first_ending_after(address);
  if (at == size_ || items_[at].start >= address) return;
  Interval upper = items_[at];
  upper.start = address;
  items_[at].end = address;
  if (!insert(at + 1, upper)) bytes_ -= upper.end - upper.start;
}

// Joins what touches, from the neighbour below `start` to the one above `end`.
void IntervalTable::merge(uintptr_t start, uintptr_t end) {
  size_t at = first_ending_after(start);
  if (at > 0) --at;
  while (at + 1 < size_ && items_[at].end <= end) {
    Interval &lower = items_[at];
    const Interval &upper = items_[at + 1];
    if (lower.end == upper.start && !lower.is_leaving && !upper.is_leaving) {
      lower.end = upper.end;
      erase(at + 1, at + 2);
    } else {
      ++at;
    }
  }
}

bool IntervalTable::add(uintptr_t start, uintptr_t end) {
  size_t at = first_ending_after(start);
  bool joins_left = at > 0 && items_[at - 1].end == start && !items_[at - 1].is_leaving;
  bool joins_right = at < size_ && items_[at].start == end && !items_[at].is_leaving;
  if (joins_left)
    items_[at - 1].end = joins_right ? items_[at].end : end;
  else if (joins_right)
    items_[at].start = start;
  else if (!insert(at, {start, end}))
    return false;
  if (joins_left && joins_right) erase(at, at + 1);
  bytes_ += end - start;
  return true;
}

size_t IntervalTable::take(uintptr_t start, uintptr_t end, bool leaving_alone) {
  size_t before = bytes_;
  split(start);
  split(end);
  size_t kept = first_ending_after(start), at = kept;
  for (; at < size_ && items_[at].start < end; ++at) {
    if (items_[at].is_leaving || !leaving_alone)
      bytes_ -= items_[at].end - items_[at].start;
    else
      items_[kept++] = items_[at];
  }
  erase(kept, at);
  return before - bytes_;
}

size_t IntervalTable::remove(uintptr_t start, uintptr_t end) {
  size_t before = bytes_;
  for (size_t i = first_ending_after(start); i < size_ && items_[i].start < end;) {
    if (!items_[i].is_leaving) {
      ++i;
      continue;
    }
    bytes_ -= items_[i].end - items_[i].start;
    erase(i, i + 1);
  }
  take(start, end, false);
  return before - bytes_;
}

size_t IntervalTable::remove_leaving(uintptr_t start, uintptr_t end) {
  size_t removed = take(start, end, true);
  merge(start, end);  // what stays of it, and was split for nothing
  return removed;
}

void IntervalTable::set_leaving(uintptr_t start, uintptr_t end, bool is_leaving) {
  split(start);
  split(end);
  for (size_t i = first_ending_after(start); i < size_ && items_[i].start < end; ++i) items_[i].is_leaving = is_leaving;
  merge(start, end);
}

size_t IntervalTable::overlap(uintptr_t start, uintptr_t end) const {
  size_t bytes = 0;
  for (size_t i = first_ending_after(start); i < size_ && items_[i].start < end; ++i) {
    uintptr_t from = items_[i].start > start ? items_[i].start : start;
    uintptr_t to = items_[i].end < end ? items_[i].end : end;
    bytes += to - from;
  }
  return bytes;
}

IntervalTable::Memory IntervalTable::exchange(Memory larger) {
  if (larger.bytes <= capacity_ * sizeof(Interval)) return larger;
  Memory old;
  if (items_ != initial_) old = {items_, capacity_ * sizeof(Interval)};
  memcpy(larger.start, items_, size_ * sizeof(Interval));
  items_ = static_cast<Interval *>(larger.start);
  capacity_ = larger.bytes / sizeof(Interval);
  return old;
}

}  // namespace membudget
