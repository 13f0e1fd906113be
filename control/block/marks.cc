#include "control/block/marks.h"

#include "control/block/amount.h"
#include "control/block/footprint.h"
#include "control/block/words.h"

namespace membudget {
namespace {

constexpr uint32_t kLevels[] = {MEMBUDGET_CRITICAL, MEMBUDGET_MEDIUM, MEMBUDGET_LOW};

// The hard limit as a mark: the count from which an allocation is refused, first the larger ones, then all.
int64_t hard_mark(const Header *h, int64_t counted) {
  int64_t hard = load(h->hard_limit_bytes);
  if (hard <= 0) return kFar;
  int64_t mark = hard - load(h->overhead_bytes) + 1;
  if (counted < mark) return mark;
  return mark + kEmergencyBytes;
}

// The next mark at which the level changes or an allocation is refused.
Marks level_marks_around(const Header *h, uint32_t level, int64_t counted) {
  Marks marks;
  marks.up = hard_mark(h, counted);
  for (uint32_t l : kLevels) {
    int64_t mark = mark_of(h, l);
    if (l > level) marks.up = smallest(marks.up, mark);
    if (l == level && mark != kFar) marks.down = mark - load(h->release_bytes);
  }
  return marks;
}

}  // namespace

int64_t mark_of(const Header *h, uint32_t level) {
  if (load(h->limit_bytes) <= 0) return kFar;
  int64_t bytes = level == MEMBUDGET_LOW      ? load(h->low_bytes)
                  : level == MEMBUDGET_MEDIUM ? load(h->medium_bytes)
                                              : load(h->limit_bytes) - load(h->reserve_bytes);
  return bytes - load(h->overhead_bytes);
}

uint32_t level_for(const Header *h, int64_t counted, uint32_t level) {
  for (uint32_t l : kLevels) {
    int64_t mark = mark_of(h, l);
    if (counted >= mark) return l;
    if (l <= level && mark != kFar && counted >= mark - load(h->release_bytes)) return l;
  }
  return MEMBUDGET_NONE;
}

Marks marks_around(const Header *h, uint32_t level, int64_t counted) {
  Marks marks = level_marks_around(h, level, counted);
  if (footprint_is_measured(h)) {
    marks.up = smallest(marks.up, load(h->measure_at_bytes));
    marks.down = largest(marks.down, load(h->measure_below_bytes));
  }
  return marks;
}

bool is_near_mark(const Header *h, int64_t counted) {
  int64_t limit = mark_of(h, MEMBUDGET_CRITICAL);
  if (limit == kFar) return false;
  if (counted >= limit) return counted - limit <= kNearAboveLimit;
  return level_marks_around(h, block_level(h), counted).up - counted <= kNearBelowMark;
}

void marks_set(Header *h, const Limits &limits, int64_t whole_bytes) {
  if (whole_bytes > 0) store(h->whole_bytes, whole_bytes);
  int64_t whole = load(h->whole_bytes);
  __atomic_fetch_add(&h->limit_sequence, 1, __ATOMIC_ACQ_REL);
  if (limits.limit.is_set) h->limit = limits.limit;
  if (limits.low.is_set) h->low = limits.low;
  if (limits.medium.is_set) h->medium = limits.medium;
  if (limits.release.is_set) h->release = limits.release;
  if (limits.hard_limit.is_set) h->hard_limit = limits.hard_limit;
  int64_t limit = amount_bytes(h->limit, whole);
  store(h->limit_bytes, limit);
  store(h->low_bytes, smallest(limit, amount_bytes(h->low, limit)));
  store(h->medium_bytes, smallest(limit, amount_bytes(h->medium, limit)));
  store(h->release_bytes, smallest(limit, amount_bytes(h->release, limit)));
  store(h->hard_limit_bytes, amount_bytes(h->hard_limit, whole));
  __atomic_fetch_add(&h->limit_sequence, 1, __ATOMIC_ACQ_REL);
}

}  // namespace membudget
