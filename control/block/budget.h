// The rules of budget and level: sums, marks, and the allowances that let threads count on their own.
//
// Every shard may grow to its ceiling and fall to its floor unseen. Under the lock:
//   - while every shard stays at or below its ceiling, the group's counted bytes are below the next mark;
//   - while every shard stays at or above its floor, they are not below the current level's release mark;
// so whoever would pass a mark passes its own ceiling or floor first, and looks up. Others' allowances
// are withdrawn by poisoning their triggers, then a membarrier: an owner adds first and compares after,
// so either its addition is seen here, or it sees the poison and comes for the lock.
#pragma once

#include "control/block/block.h"

namespace membudget {

// "No mark in this direction": far enough for any count, near enough to add two of them.
constexpr int64_t kFar = INT64_C(1) << 61;
// A trigger that the next comparison meets, whatever was counted.
constexpr int64_t kPoison = INT64_MIN;

struct Totals {
  int64_t live = 0;
  int64_t mapped = 0;
  uint32_t processes = 0;
  uint32_t shards = 0;  // that have an owner
  int64_t counted() const { return live + mapped; }
};

// Net bytes of one shard.
inline int64_t shard_net(const Shard &s) {
  int64_t freed = __atomic_load_n(&s.freed_bytes, __ATOMIC_RELAXED);
  return __atomic_load_n(&s.allocated_bytes, __ATOMIC_RELAXED) - freed;
}

// Live bytes and allocations of one process; exact when none of its threads is inside an allocation call.
int64_t process_live_bytes(const Process *);
void process_counts(const Process *, uint64_t *allocations, uint64_t *frees);
inline int64_t process_mapped_bytes(const Process *p) { return __atomic_load_n(&p->mapped_bytes, __ATOMIC_RELAXED); }

// Sums over the slots of the group, inherited bytes counted once. Goes by the slots' states, not by
// whether the processes still exist: process_reap() first where that matters.
Totals group_totals(const Block &);

// The level right now: one load.
inline uint32_t block_level(const Header *h) { return __atomic_load_n(&h->level_word, __ATOMIC_ACQUIRE) & 0xffu; }

// How many bytes a thread may allocate at the most, whatever it frees, before it looks whether a peak is to be
// noted; and how far it may grow, with so many threads counting. With several threads a recorded peak is too low
// by at most the larger of the two for each; with one, by what the thread has really been let grow past it.
constexpr int64_t kLongestStride = 64 << 10;
int64_t peak_step_bytes(uint32_t shards);

// How far the sums stand below the peaks, how many threads count, and whether a single thread is so near a mark
// that its peaks are to be noted to the byte: close below any, or having just crossed the limit.
struct PeakRoom {
  int64_t bytes;
  uint32_t shards;
  bool is_near_mark;
};
constexpr int64_t kNearBelowMark = 4 << 10, kNearAboveLimit = 64 << 10;

// Notes the peaks of the process and of its group, as the sums stand now. Lock-free.
PeakRoom budget_note_peaks(const Block &, Process *);

// The process's only thread may grow past the recorded peaks by so many bytes before it looks again.
void budget_note_peak_slack(const Block &, Process *, int64_t bytes);

// For the owner of a shard that met its trigger, or with no shard for a change to what all threads share
// (shard 0, mapped bytes): hands out an allowance from what nobody has, or withdraws all of them, brings
// the level in line, and hands out new ones. Wakes waiters. Takes the lock. `shard` may be NULL. `fresh_bytes`: the
// size of the block, among what is counted, that is just being handed out.
void budget_attend(const Block &, Process *self, Shard *shard, int64_t fresh_bytes = 0);

// Requests up to kSmallRequest may go past the hard limit by kEmergencyBytes, so that a program that was refused
// more can unwind, log and flush.
constexpr int64_t kSmallRequest = 4 << 10, kEmergencyBytes = 1 << 20;
// And from here on requests are large enough to be worth a measurement of their own.
constexpr int64_t kLargeRequest = 1 << 20;

// Whether budget_attend() would look for members that died: every 50 ms, by one of the group. A clock's reading.
bool budget_reap_is_due(const Block &);

// Whether the group's counted bytes would stay within the hard limit with `more` bytes on top, for a request of
// `request` bytes, a large one with the overhead that is in doubt (see footprint.h), of `self` (NULL: of nobody who
// flushes, see reserve.h). True where there is no hard limit. No allocation passes it unseen: as with a level's mark, the
// allowances end there.
bool budget_fits(const Block &, const Process *self, int64_t more, int64_t request);

// The same, after members that died were taken off, and the footprint has been measured anew and what allocators
// keep was given back, where that can make a difference. Takes the lock when it does not fit at once, and for large
// requests where the footprint counts.
struct Request {
  Shard *shard;         // the thread's; NULL: it has none
  int64_t more;         // bytes that are not counted yet
  int64_t bytes;        // asked for
  int64_t fresh_bytes;  // counted, but not handed out yet
};
bool budget_makes_room(const Block &, Process *self, const Request &);

// The reserve below the limit, at which the level is critical already: in bytes, or (negative) learned from here on.
// And the flushes that it is learned from: see reserve.h. Take the lock and bring the level in line.
void budget_set_reserve(const Block &, Process *self, int64_t bytes);
void budget_flush_begins(const Block &, Process *self);
void budget_flush_ends(const Block &, Process *self);

// After this process's allocator was told to give back what it keeps: measures the footprint, where that counts, and
// brings the level in line, which nothing else would before memory grows. Takes the lock.
void budget_trimmed(const Block &, Process *self);

// Withdraws all allowances and brings the level in line with the totals. For anyone who may write.
void budget_evaluate(const Block &);

// A shard of its own for the thread `tid`, with an allowance: one that a dead thread left, as it stands,
// or a new one. NULL when there is none, or no memory for it. Takes the lock.
Shard *budget_adopt(const Block &, Process *, uint32_t tid);

// Takes back the shard of a thread that ends; what it counted stays in it. Takes the lock.
void budget_abandon(const Block &, Process *, Shard *);

// Makes every thread of the process (of the whole group: NULL) look up at its next allocation or free.
void budget_request_attention(const Block &, Process *);

// --- limits ---

struct Limits {
  membudget_amount limit, low, medium, release, hard_limit;
};

// Sets what is set in `limits` and leaves the rest. A percentage of `limit` and `hard_limit` is a share of
// `whole_bytes` (0: of what was last known), any other one of the limit. Then evaluates. Takes the lock.
void budget_set_limits(const Block &, const Limits &, int64_t whole_bytes);

}  // namespace membudget
