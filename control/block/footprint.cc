#include "control/block/footprint.h"

#include "control/block/amount.h"
#include "control/block/marks.h"
#include "control/block/members.h"
#include "control/block/system.h"
#include "control/block/words.h"

namespace membudget {
namespace {

constexpr int64_t kLeastGrowth = 64 << 10;    // until it is measured again
constexpr int64_t kFallShare = 16;            // of the limit: so much less, and it is measured again
constexpr int64_t kLeastFresh = 64 << 10;     // smaller blocks are within the error anyway
constexpr int64_t kLargeFresh = 1 << 20;      // CPython's arenas, which nothing has touched, are not larger
constexpr int64_t kTouchNs = 10'000'000'000;  // a large block has been written to by then, or will not be soon
constexpr int64_t kUsualPauseNs = 20'000'000;
constexpr int64_t kPauseNearMarkNs = 2'000'000;
constexpr int64_t kLongestTrimNs = 1'000'000'000;
constexpr int64_t kTimeShare = 40;       // trimming may take one part in so many of the time
constexpr int64_t kLeastGainShare = 64;  // and is worth it for so large a part of the limit

Meter meter;

bool is_footprint(const Header *h) {
  return __atomic_load_n(&h->measure, __ATOMIC_RELAXED) == MEMBUDGET_MEASURE_FOOTPRINT;
}

bool needs_reading(const Header *h) {
  return is_footprint(h) || amount_is_share(h->limit) || amount_is_share(h->hard_limit);
}

int64_t footprint(const Header *h, int64_t counted) { return counted + load(h->overhead_bytes); }

// From a footprint to the next mark of a level; the whole limit where there is none any more.
int64_t room_above(const Header *h, int64_t counted) {
  constexpr uint32_t kLevels[] = {MEMBUDGET_LOW, MEMBUDGET_MEDIUM, MEMBUDGET_CRITICAL};
  for (uint32_t level : kLevels)
    if (int64_t mark = mark_of(h, level); counted < mark) return mark == kFar ? kFar : mark - counted;
  int64_t hard = load(h->hard_limit_bytes) - footprint(h, counted);
  return hard > 0 ? hard : load(h->limit_bytes) / 8;
}

// Counted bytes from which to measure anew. A flush is watched closely: what it takes is to be learned.
int64_t measure_next(const Header *h, int64_t counted, bool is_flushing) {
  int64_t room = room_above(h, counted);
  if (room >= kFar / 2 || (!is_flushing && !needs_reading(h))) return kFar;
  if (is_flushing) room = smallest(room, load(h->limit_bytes) / 32);
  return counted + largest(room / 8, kLeastGrowth);
}

// And below which: what was freed may be kept by the allocator, and is not there for a large block then.
int64_t measure_below(const Header *h, int64_t counted) {
  int64_t limit = largest(load(h->limit_bytes), load(h->hard_limit_bytes));
  return is_footprint(h) ? counted - largest(limit / kFallShare, kLeastGrowth) : -kFar;
}

void raise_to(int64_t &word, int64_t bytes) { store(word, largest(load(word), bytes)); }

bool is_forked(const Process *p) { return load(p->inherited_live_bytes) + load(p->inherited_mapped_bytes) > 0; }

// A process's part of it where no cgroup is charged. A forked child shares its parent's pages until it copies them, by
// writing: by what it has to itself beyond its own count they are seen.
int64_t overhead_of(const Process *self, const Reading &now, int64_t fresh_bytes) {
  int64_t live = process_live_bytes(self), mapped = process_mapped_bytes(self);
  if (now.private_bytes < 0)
    return at_least_zero(now.charged_bytes - (live + mapped - fresh_bytes) - load(self->inherited_overhead_bytes));
  int64_t own = at_least_zero(live - load(self->inherited_live_bytes)) +
                at_least_zero(mapped - load(self->inherited_mapped_bytes));
  return at_least_zero(now.private_bytes - at_least_zero(own - fresh_bytes));
}

int64_t overhead_of_members(const Block &block, Process *self, const Reading &now, int64_t fresh_bytes) {
  store(self->overhead_bytes, overhead_of(self, now, fresh_bytes));
  int64_t sum = 0;
  for_each_process(block, [&](Process *p) { sum += load(p->overhead_bytes); });
  return sum;
}

int64_t own_counted(const Process *p) { return process_live_bytes(p) + process_mapped_bytes(p); }

// Large blocks that a process was handed out just now. They are gone when most of what they added to its count is; and
// before it is counted, a block is in nobody's way.
int64_t fresh_bytes_of(const Process *p, int64_t now) {
  int64_t fresh = load(p->fresh_bytes), age = now - load(p->fresh_ns);
  if (fresh <= 0 || age < 0 || age >= kTouchNs) return 0;
  return own_counted(p) - load(p->fresh_besides_bytes) < fresh / 4 ? 0 : fresh;
}

int64_t fresh_bytes_of(const Block &block) {
  int64_t sum = 0, now = monotonic_ns();
  for_each_process(block, [&](Process *p) { sum += fresh_bytes_of(p, now); });
  return sum;
}

// What a process counts besides fresh blocks, and its parent does not count already.
int64_t counted_besides(const Process *p, int64_t now) {
  return at_least_zero(process_live_bytes(p) - load(p->inherited_live_bytes)) +
         at_least_zero(process_mapped_bytes(p) - load(p->inherited_mapped_bytes)) - fresh_bytes_of(p, now);
}

// What processes have freed since they counted most besides fresh blocks, but for what the kernel has got back since: the
// allocator of one keeps nothing for another. Begins with the first measurement beside such a block.
int64_t freed_and_kept(const Block &block, int64_t charged) {
  Header *h = block.header;
  bool is_first = load(h->fresh_charged_bytes) == 0;
  int64_t returned = at_least_zero(load(h->fresh_charged_bytes) - charged), kept = 0, now = monotonic_ns();
  store(h->fresh_charged_bytes, charged);
  for_each_process(block, [&](Process *p) {
    int64_t besides = counted_besides(p, now), most = is_first ? besides : load(p->most_besides_bytes);
    int64_t freed = at_least_zero(most - besides), taken_off = smallest(freed, returned);
    returned -= taken_off;
    kept += freed - taken_off;
    store(p->most_besides_bytes, largest(most - taken_off, besides));
  });
  return kept;
}

// Of the whole cgroup. Nobody knows whether a large block has been touched: calloc may have written to it, or taken it
// from what the allocator kept. Then the overhead is what it was before, as far as the kernel's account allows; what was
// freed since, and allocators may keep, is in doubt.
int64_t overhead_of_cgroup(const Block &block, int64_t charged, int64_t counted, int64_t fresh_bytes) {
  Header *h = block.header;
  int64_t touched = at_least_zero(charged - counted), untouched = at_least_zero(charged - (counted - fresh_bytes));
  if (fresh_bytes <= kLargeFresh) {
    store(h->fresh_charged_bytes, 0);
    store(h->doubtful_bytes, 0);
    return untouched;
  }
  int64_t kept = freed_and_kept(block, charged);
  int64_t overhead = largest(touched, smallest(untouched, load(h->overhead_bytes)));
  store(h->doubtful_bytes, smallest(untouched, overhead + kept) - overhead);
  return overhead;
}

bool is_spaced(const Header *h) {
  return h->trims == 0 || has_passed(load(h->trimmed_ns), monotonic_ns(), kTimeShare * load(h->trimming_ns));
}

int64_t least_gain(const Header *h) { return largest(load(h->limit_bytes) / kLeastGainShare, 1 << 20); }

bool gain_is_worth_it(const Header *h) {
  return load(h->overhead_bytes) - load(h->trimmed_overhead_bytes) >= least_gain(h);
}

// When the untouched block is touched, what is in doubt would be missing, and the kernel kill.
bool doubt_is_too_much(const Header *h, int64_t counted) {
  int64_t doubtful = load(h->doubtful_bytes), whole = load(h->whole_bytes);
  return whole > 0 && doubtful >= least_gain(h) && footprint(h, counted) + doubtful >= whole;
}

}  // namespace

void footprint_meter(const Meter &how) { meter = how; }

bool footprint_is_measured(const Header *h) { return meter.read && (needs_reading(h) || h->reserve_is_learned); }

bool footprint_is_due(const Header *h) {
  if (!footprint_is_measured(h)) return false;
  bool is_near = load(h->limit_bytes) > 0 && block_level(h) != MEMBUDGET_NONE;
  return has_passed(load(h->measured_ns), monotonic_ns(), is_near ? kPauseNearMarkNs : kUsualPauseNs);
}

void footprint_measure_if_due(const Block &block, Process *self, int64_t counted, int64_t fresh_bytes) {
  Header *h = block.header;
  if (!footprint_is_measured(h)) return;
  uint32_t level = block_level(h);
  bool is_elsewhere = counted >= load(h->measure_at_bytes) || counted < load(h->measure_below_bytes);
  if (is_elsewhere || footprint_is_due(h) || level_for(h, counted, level) != level)
    footprint_measure(block, self, counted, fresh_bytes);
}

void footprint_note_fresh(Process *self, uint32_t shard, int64_t bytes, int64_t counted) {
  bool is_same = self->fresh_shard == shard || self->fresh_shard == 0;  // 0: it has got its own shard since
  if (bytes <= kLargeFresh) {
    if (is_same) store(self->fresh_bytes, 0);
    return;
  }
  int64_t now = monotonic_ns();
  int64_t others = is_same ? 0 : fresh_bytes_of(self, now);
  store(self->fresh_bytes, bytes + others);
  store(self->fresh_besides_bytes, own_counted(self) - counted - others);
  self->fresh_shard = shard;
  store(self->fresh_ns, now);
}

void footprint_measure(const Block &block, Process *self, int64_t counted, int64_t fresh_bytes) {
  Header *h = block.header;
  Reading now = needs_reading(h) ? meter.read(is_forked(self)) : Reading{0, -1, false, -1};
  if (fresh_bytes < kLeastFresh) fresh_bytes = 0;
  if (now.whole_bytes > 0 && now.whole_bytes != load(h->whole_bytes)) marks_set(h, {}, now.whole_bytes);
  if (is_footprint(h) && now.charged_bytes >= 0) {
    if (now.is_of_cgroup) fresh_bytes = largest(fresh_bytes, fresh_bytes_of(block));
    int64_t overhead = now.is_of_cgroup ? overhead_of_cgroup(block, now.charged_bytes, counted, fresh_bytes)
                                        : overhead_of_members(block, self, now, fresh_bytes);
    store(h->overhead_bytes, overhead);
    // What was left when more memory was in pieces says nothing any more.
    if (overhead < load(h->trimmed_overhead_bytes)) store(h->trimmed_overhead_bytes, overhead);
  }
  raise_to(h->peak_footprint_bytes, footprint(h, counted));
  raise_to(h->flush_peak_bytes, footprint(h, counted));
  store(h->measured_ns, monotonic_ns());
  store(h->measure_at_bytes, measure_next(h, counted, self->flushes_under_way > 0));
  store(h->measure_below_bytes, measure_below(h, counted));
}

bool footprint_trim_helps(const Header *h, int64_t counted, uint32_t before, uint32_t level) {
  if (!footprint_is_measured(h) || !is_footprint(h)) return false;
  if (doubt_is_too_much(h, counted) && is_spaced(h)) return true;
  if (level == MEMBUDGET_NONE || level < before) return false;
  if (!gain_is_worth_it(h)) return false;
  if (footprint(h, counted) >= load(h->whole_bytes) && load(h->whole_bytes) > 0) return true;  // or the kernel kills
  // Counted bytes of a mark with the overhead that would be left.
  int64_t gap = level == before ? load(h->release_bytes) : 0;
  int64_t mark = mark_of(h, level) + load(h->overhead_bytes) - load(h->trimmed_overhead_bytes) - gap;
  if (counted >= mark) return false;
  if (is_spaced(h)) return true;
  if (level > before) return level == MEMBUDGET_CRITICAL && h->trimmed_crossings != h->crossings + 1;
  return counted <= load(h->trimmed_counted_bytes) / 4 * 3;
}

bool footprint_trim_makes_room(const Header *h, int64_t counted) {
  return is_footprint(h) && gain_is_worth_it(h) &&
         counted + load(h->trimmed_overhead_bytes) <= load(h->hard_limit_bytes);
}

void footprint_trim(const Block &block, Process *self, uint32_t level) {
  Header *h = block.header;
  int64_t start = monotonic_ns();
  for_each_process(block, [&](Process *p) {
    if (p != self) __atomic_fetch_add(&p->trim_request, 1, __ATOMIC_RELEASE);
  });
  if (meter.trim) meter.trim();
  int64_t end = monotonic_ns();
  store(h->trimming_ns, smallest(at_least_zero(end - start), kLongestTrimNs));  // the clock may have been set
  store(h->trimmed_ns, end);
  __atomic_fetch_add(&h->trims, 1, __ATOMIC_RELAXED);
  if (level == MEMBUDGET_CRITICAL && block_level(h) != level) h->trimmed_crossings = h->crossings + 1;
}

void footprint_follow(const Header *h, const Process *self) {
  if (!meter.follow || !is_footprint(h)) return;
  meter.follow(h, own_counted(self), self->flushes_under_way > 0);
}

void footprint_note_trimmed(Header *h, int64_t counted) {
  store(h->trimmed_overhead_bytes, load(h->overhead_bytes));
  store(h->trimmed_counted_bytes, counted);
}

}  // namespace membudget
