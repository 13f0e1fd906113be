#include "control/block/reserve.h"

#include "control/block/footprint.h"
#include "control/block/members.h"
#include "control/block/words.h"

namespace membudget {
namespace {

constexpr int64_t kFirstShare = 15;  // of the limit, per cent

int64_t footprint(const Header *h, int64_t counted) { return counted + load(h->overhead_bytes); }

// Where the level is critical.
int64_t mark(const Header *h) { return load(h->limit_bytes) - load(h->reserve_bytes); }

uint32_t flushes_under_way(const Block &block) {
  uint32_t sum = 0;
  for_each_process(block, [&](Process *p) { sum += p->flushes_under_way; });
  return sum;
}

// The worst that was seen, a quarter more, and the less is known of how flushes differ the more again: twice as much for
// the first one, shared by their number. And what of the limit lies past the hard limit, and a two-hundredth of it, which
// shrinks when many flushes were like that; a hundredth at the least. In a group it does not shrink, and is a
// four-hundredth for each process, up to eight: what their allocators take between two measurements, together. With few
// flushes seen, not less than a share of the limit that each brings down to a quarter.
int64_t learned(const Header *h, uint32_t processes) {
  int64_t limit = load(h->limit_bytes);
  int64_t seen = load(h->flush_worst_bytes);
  int64_t flushes = at_least_zero(static_cast<int64_t>(h->flushes));
  int64_t first = limit / 100 * kFirstShare >> 2 * smallest(flushes, 30);
  int64_t hard = load(h->hard_limit_bytes);
  int64_t out_of_reach = hard > 0 ? at_least_zero(limit - hard) : 0;
  int64_t drift = limit / 200 * 8 / smallest(largest(flushes, 8), 32);
  if (processes > 1) drift = limit / 400 * smallest(largest(processes, 2), 8);
  int64_t reserve =
      largest(first, seen + seen / 4 + 2 * seen / largest(flushes, 1)) + largest(limit / 100, out_of_reach + drift);
  return smallest(reserve, limit / 2);
}

}  // namespace

void reserve_set(const Block &block, int64_t bytes) {
  Header *h = block.header;
  h->reserve_is_learned = bytes < 0;
  int64_t most = load(h->limit_bytes) / 2;
  store(h->reserve_bytes, bytes < 0 ? learned(h, group_totals(block).processes) : smallest(bytes, most));
}

void reserve_flush_begins(const Block &block, Process *self) {
  Header *h = block.header;
  Totals totals = group_totals(block);
  bool is_first = flushes_under_way(block) == 0;
  ++self->flushes_under_way;
  if (footprint_is_measured(h)) footprint_measure(block, self, totals.counted(), 0);
  if (!is_first && load(h->flush_start_bytes) != kFar) return;
  int64_t now = footprint(h, totals.counted());
  bool has_company = totals.processes > 1;
  bool tells = !has_company || now >= mark(h) / 16 * 15;
  // What went past the mark, in one allocation, is a part of what is to be kept free.
  bool is_from_mark = mark(h) > 0 && (has_company || now > mark(h));
  store(h->flush_start_bytes, !tells ? kFar : is_from_mark ? mark(h) : now);
  store(h->flush_peak_bytes, now);
}

void reserve_flush_ends(const Block &block, Process *self) {
  Header *h = block.header;
  if (self->flushes_under_way == 0) return;
  Totals totals = group_totals(block);
  if (footprint_is_measured(h)) footprint_measure(block, self, totals.counted(), 0);
  int64_t peak = largest(load(h->flush_peak_bytes), footprint(h, totals.counted()));
  store(h->flush_peak_bytes, peak);
  // The end of another flush may have moved the mark since this one began.
  int64_t start = load(h->flush_start_bytes);
  if (totals.processes > 1) start = largest(start, mark(h));
  store(h->flush_worst_bytes, largest(load(h->flush_worst_bytes), peak - start));
  --self->flushes_under_way;
  // One of a few items says little about that of a full batch, and in a group one that began below the mark nothing.
  if (start < kFar && peak >= mark(h) / 4 * 3) __atomic_fetch_add(&h->flushes, 1, __ATOMIC_RELAXED);
  if (h->reserve_is_learned) store(h->reserve_bytes, learned(h, totals.processes));
}

int64_t reserve_kept_from(const Header *h, const Process *self, const Totals &totals, int64_t request) {
  bool is_needed = request >= kLargeRequest && h->reserve_is_learned && totals.processes > 1;
  if (!is_needed || (self && self->flushes_under_way > 0)) return 0;
  return at_least_zero(load(h->hard_limit_bytes) - mark(h));
}

}  // namespace membudget
