#include "preload/interval_table.h"

#include <string.h>

#include "control/block/system.h"

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

bool IntervalTable::insert(size_t at, Interval interval) {
  if (size_ == capacity_) {
    size_t bytes = 2 * capacity_ * sizeof(Interval);
    void *memory = system_mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    memcpy(memory, items_, size_ * sizeof(Interval));
    if (items_ != initial_) system_munmap(items_, capacity_ * sizeof(Interval));
    items_ = static_cast<Interval *>(memory);
    capacity_ *= 2;
  }
  memmove(items_ + at + 1, items_ + at, (size_ - at) * sizeof(Interval));
  items_[at] = interval;
  ++size_;
  return true;
}

void IntervalTable::erase(size_t from, size_t to) {
  memmove(items_ + from, items_ + to, (size_ - to) * sizeof(Interval));
  size_ -= to - from;
}

bool IntervalTable::add(uintptr_t start, uintptr_t end) {
  size_t at = first_ending_after(start);
  bool joins_left = at > 0 && items_[at - 1].end == start;
  bool joins_right = at < size_ && items_[at].start == end;
  if (joins_left && joins_right) {
    items_[at - 1].end = items_[at].end;
    erase(at, at + 1);
    return true;
  }
  if (joins_left) return items_[at - 1].end = end, true;
  if (joins_right) return items_[at].start = start, true;
  return insert(at, {start, end});
}

size_t IntervalTable::remove(uintptr_t start, uintptr_t end) {
  size_t removed = 0;
  size_t at = first_ending_after(start);
  if (at < size_ && items_[at].start < start && items_[at].end > end) {
    Interval upper = {end, items_[at].end};
    items_[at].end = start;
    return insert(at + 1, upper) ? end - start : upper.end - start;
  }
  if (at < size_ && items_[at].start < start) {
    removed += items_[at].end - start;
    items_[at++].end = start;
  }
  size_t from = at;
  for (; at < size_ && items_[at].end <= end; ++at) removed += items_[at].end - items_[at].start;
  if (at < size_ && items_[at].start < end) {
    removed += end - items_[at].start;
    items_[at].start = end;
  }
  erase(from, at);
  return removed;
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

}  // namespace membudget
