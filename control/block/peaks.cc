#include "control/block/peaks.h"

#include "control/block/marks.h"
#include "control/block/members.h"
#include "control/block/words.h"

namespace membudget {
namespace {

// By how much.
int64_t raise_to(int64_t &word, int64_t bytes) {
  int64_t seen = load(word);
  while (bytes > seen)
    if (__atomic_compare_exchange_n(&word, &seen, bytes, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return bytes - seen;
  return 0;
}

// The true peak was at most `error` above the recorded one; one error stands for both peaks.
void note_two_peaks(int64_t &peak_live, int64_t live, int64_t &peak_counted, int64_t counted, int64_t &error,
                    uint32_t shards) {
  int64_t raised = smallest(raise_to(peak_live, live), raise_to(peak_counted, counted));
  if (shards > 1)
    raise_to(error, largest(peak_step_bytes(shards), kLongestStride) * shards);
  else if (raised > 0)
    store(error, at_least_zero(load(error) - raised));
}

// A sum that the live bytes really reached during the call: what came in before what went out.
int64_t live_bytes_reached(const Process *p) {
  int64_t net = 0;
  uint32_t high = shard_high(p);
  for (uint32_t i = 0; i < high; ++i) net += load(p->shards[i].allocated_bytes);
  for (uint32_t i = 0; i < high; ++i) net -= load(p->shards[i].freed_bytes);
  return net;
}

void note_process_peaks(Process *p, int64_t live, uint32_t shards) {
  note_two_peaks(p->peak_live_bytes, live, p->peak_counted_bytes, live + process_mapped_bytes(p), p->peak_error_bytes,
                 shards);
}

}  // namespace

void peaks_note(const Block &block, const Totals &totals) {
  Header *h = block.header;
  note_two_peaks(h->peak_live_bytes, totals.live, h->peak_counted_bytes, totals.counted(), h->peak_error_bytes,
                 totals.shards);
}

int64_t peak_step_bytes(uint32_t shards) {
  if (shards <= 1) return 4 << 10;
  return shards <= 4 ? 64 << 10 : 256 << 10;
}

PeakRoom budget_note_peaks(const Block &block, Process *self) {
  Totals totals;
  for_each_process(block, [&](Process *p) {
    totals.live += at_least_zero(live_bytes_reached(p) - load(p->inherited_live_bytes));
    totals.mapped += at_least_zero(process_mapped_bytes(p) - load(p->inherited_mapped_bytes));
    uint32_t high = shard_high(p);
    for (uint32_t i = 1; i < high; ++i) totals.shards += has_owner(p, i);
  });
  peaks_note(block, totals);
  int64_t live = live_bytes_reached(self);
  note_process_peaks(self, live, totals.shards);
  int64_t room = load(self->peak_live_bytes) - live;
  room = smallest(room, load(self->peak_counted_bytes) - live - process_mapped_bytes(self));
  room = smallest(room, load(block.header->peak_live_bytes) - totals.live);
  room = smallest(room, load(block.header->peak_counted_bytes) - totals.counted());
  return {room, totals.shards, totals.shards <= 1 && is_near_mark(block.header, totals.counted())};
}

void budget_note_peak_slack(const Block &block, Process *self, int64_t bytes) {
  raise_to(block.header->peak_error_bytes, bytes);
  raise_to(self->peak_error_bytes, bytes);
}

}  // namespace membudget
