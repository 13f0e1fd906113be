#include "control/block/budget.h"

#include <linux/membarrier.h>

#include "control/block/footprint.h"
#include "control/block/lock.h"
#include "control/block/marks.h"
#include "control/block/members.h"
#include "control/block/peaks.h"
#include "control/block/reserve.h"
#include "control/block/system.h"
#include "control/block/words.h"

namespace membudget {
namespace {

template <typename F>
void for_each_shard(const Block &block, F &&f) {
  for_each_process(block, [&](Process *p) {
    uint32_t high = shard_high(p);
    for (uint32_t i = 0; i < high; ++i) f(p, p->shards[i], i != 0 && has_owner(p, i));
  });
}

void set_level(const Block &block, uint32_t level, const Totals &totals) {
  Header *h = block.header;
  uint32_t word = __atomic_load_n(&h->level_word, __ATOMIC_RELAXED);
  if ((word & 0xffu) == level) return;
  if (level == MEMBUDGET_CRITICAL) {
    store(h->last_crossing_live_bytes, totals.live);
    store(h->last_crossing_counted_bytes, totals.counted());
    __atomic_store_n(&h->last_crossing_ns, realtime_ns(), __ATOMIC_RELAXED);
    __atomic_fetch_add(&h->crossings, 1, __ATOMIC_RELAXED);
  }
  __atomic_store_n(&h->level_word, (((word >> 8) + 1) << 8) | level, __ATOMIC_RELEASE);
  futex_wake_all(&h->level_word);
}

// --- allowances ---

// The pure test build of the ledger runs in one process only and counts on this being a full barrier.
void barrier(bool alone) {
  ErrnoGuard guard;
  int command = alone ? MEMBARRIER_CMD_PRIVATE_EXPEDITED : MEMBARRIER_CMD_GLOBAL_EXPEDITED;
  if (syscall(SYS_membarrier, command, 0, 0) != 0) __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void arm(Shard &s, int64_t net, int64_t growth, int64_t shrinkage, int64_t step) {
  store(s.ceiling_bytes, net + growth);
  store(s.floor_bytes, net - shrinkage);
  MEMBUDGET_YIELD_POINT();
  int64_t freed = load(s.freed_bytes), allocated = load(s.allocated_bytes);
  __atomic_store_n(&s.allocated_trigger, freed + net + smallest(growth, step), __ATOMIC_RELEASE);
  __atomic_store_n(&s.freed_trigger, shrinkage >= kFar ? INT64_MAX : allocated - (net - shrinkage), __ATOMIC_RELEASE);
}

void poison(Shard &s) {
  __atomic_store_n(&s.allocated_trigger, kPoison, __ATOMIC_RELEASE);
  __atomic_store_n(&s.freed_trigger, kPoison, __ATOMIC_RELEASE);
}

bool is_asked(const Process *p) {
  return __atomic_load_n(&p->trim_request, __ATOMIC_RELAXED) != __atomic_load_n(&p->trim_done, __ATOMIC_RELAXED) ||
         __atomic_load_n(&p->profile_request, __ATOMIC_RELAXED) != __atomic_load_n(&p->profile_done, __ATOMIC_RELAXED);
}

int64_t share_of(int64_t room, uint32_t shards) {
  if (room >= kFar / 2) return kFar;
  return shards <= 1 ? room : room / (2 * static_cast<int64_t>(shards));
}

void withdraw_all(const Block &block) {
  bool alone = block.process_high() <= 1 && is_counted(block.process(0)) && block.process(0)->pid == getpid();
  for_each_shard(block, [](Process *, Shard &s, bool) {
    __atomic_store_n(&s.allocated_trigger, kPoison, __ATOMIC_RELAXED);
    __atomic_store_n(&s.freed_trigger, kPoison, __ATOMIC_RELAXED);
    MEMBUDGET_YIELD_POINT();
  });
  barrier(alone);
  MEMBUDGET_YIELD_POINT();
}

// Ends early when another evaluation has begun meanwhile: its allowances are the ones that count.
void distribute(const Block &block, const Totals &totals, uint32_t evaluation) {
  Marks marks = marks_around(block.header, block_level(block.header), totals.counted());
  int64_t room = marks.up >= kFar / 2 ? kFar : marks.up - 1 - totals.counted();
  // Past the hard limit's reserve: what put the count there is about to be taken back, and not to be had again.
  int64_t growth = room < 0 ? room : share_of(room, totals.shards);
  int64_t shrinkage =
      share_of(marks.down <= -kFar / 2 ? kFar : at_least_zero(totals.counted() - marks.down), totals.shards);
  int64_t step = peak_step_bytes(totals.shards);
  for_each_shard(block, [&](Process *p, Shard &s, bool owned) {
    MEMBUDGET_YIELD_POINT();
    if (__atomic_load_n(&block.header->allowance_sequence, __ATOMIC_ACQUIRE) != evaluation) return;
    int64_t net = load(s.ceiling_bytes);  // as summed up: what came since is not covered, and will be looked at
    if (owned)
      arm(s, net, growth, shrinkage, step);
    else
      arm(s, net, 0, 0, 0);
    if (is_asked(p)) poison(s);  // what it was asked for is not forgotten over this
  });
}

// Sums up, and leaves in every shard's ceiling what it counted for: the allowances are handed out on top of just
// that.
Totals take_stock(const Block &block) {
  Totals totals;
  for_each_process(block, [&](Process *p) {
    int64_t live = -load(p->inherited_live_bytes);
    uint32_t high = shard_high(p);
    for (uint32_t i = 0; i < high; ++i) {
      int64_t net = shard_net(p->shards[i]);
      store(p->shards[i].ceiling_bytes, net);
      live += net;
      totals.shards += i != 0 && has_owner(p, i);
    }
    totals.live += at_least_zero(live);
    totals.mapped += at_least_zero(process_mapped_bytes(p) - load(p->inherited_mapped_bytes));
    ++totals.processes;
  });
  return totals;
}

// The level for what is counted now. With `self` the footprint is measured where that is due, and before a level
// rises, or stays up, what this process's allocator keeps is given back, where that may help.
uint32_t level_now(const Block &block, Process *self, int64_t fresh_bytes, Totals *totals) {
  Header *h = block.header;
  uint32_t before = block_level(h);
  if (self) footprint_measure_if_due(block, self, totals->counted(), fresh_bytes);
  uint32_t level = level_for(h, totals->counted(), before);
  if (level > before && totals->processes > 1 && process_reap(block, nullptr) > 0) {
    *totals = take_stock(block);
    level = level_for(h, totals->counted(), before);
  }
  if (self && footprint_trim_helps(h, totals->counted(), before, level)) {
    footprint_trim(block, self, level);
    *totals = take_stock(block);
    footprint_measure(block, self, totals->counted(), fresh_bytes);
    footprint_note_trimmed(h, totals->counted());
    level = level_for(h, totals->counted(), before);
  }
  return level;
}

// Under the lock. `self` and `fresh_bytes` as in budget_attend(); `self` NULL measures nothing.
void evaluate_locked(const Block &block, Process *self, int64_t fresh_bytes) {
  // Odd, and no other evaluation's, not even one's that never came to its end.
  uint32_t evaluation = (__atomic_load_n(&block.header->allowance_sequence, __ATOMIC_RELAXED) + 1) | 1u;
  __atomic_store_n(&block.header->allowance_sequence, evaluation, __ATOMIC_SEQ_CST);
  withdraw_all(block);
  Totals totals = take_stock(block);
  uint32_t level = level_now(block, self, fresh_bytes, &totals);
  peaks_note(block, totals);
  MEMBUDGET_YIELD_POINT();
  if (__atomic_load_n(&block.header->allowance_sequence, __ATOMIC_ACQUIRE) != evaluation) return;  // see distribute()
  set_level(block, level, totals);
  if (self) footprint_follow(block.header, self);
  MEMBUDGET_YIELD_POINT();
  distribute(block, totals, evaluation);
  __atomic_compare_exchange_n(&block.header->allowance_sequence, &evaluation, evaluation + 1, false, __ATOMIC_SEQ_CST,
                              __ATOMIC_RELAXED);
}

// Whether an evaluation was begun and not ended: by a holder of the lock that died, or was stopped.
bool evaluation_was_left(const Header *h) {
  return (__atomic_load_n(&h->allowance_sequence, __ATOMIC_RELAXED) & 1u) != 0;
}

// Runs f(lock) under the lock. When that was taken away meanwhile, what was written since may be from before what
// others did: then the level is brought in line and allowances are handed out anew, by a holder that kept it.
template <typename F>
void under_lock(const Block &block, F &&f) {
  bool was_held;
  {
    BlockLock lock(block.header);
    f(lock);
    was_held = lock.is_held();
  }
  while (!was_held) {
    BlockLock lock(block.header);
    evaluate_locked(block, nullptr, 0);
    was_held = lock.is_held();
  }
}

// What the group's counted bytes can be at most and at least, seen from a shard that stands at its net.
struct Reach {
  int64_t highest = 0;
  int64_t lowest = 0;
  uint32_t shards = 0;
};

Reach reach_of(const Block &block, const Shard *mine, int64_t net_of_mine, bool up, bool down) {
  Reach reach;
  for_each_process(block, [&](Process *p) {
    int64_t highest = -load(p->inherited_live_bytes), lowest = highest;
    uint32_t high = shard_high(p);
    for (uint32_t i = 0; i < high; ++i) {
      const Shard &s = p->shards[i];
      bool owned = i != 0 && has_owner(p, i);
      int64_t net = &s == mine ? net_of_mine : shard_net(s);
      // One that stands past its allowance (past the hard limit, or on its way here) is where it is.
      highest += !up || &s == mine || !owned ? net : largest(net, load(s.ceiling_bytes));
      lowest += !down || &s == mine || !owned ? net : smallest(net, load(s.floor_bytes));
      reach.shards += owned;
    }
    int64_t mapped = at_least_zero(process_mapped_bytes(p) - load(p->inherited_mapped_bytes));
    reach.highest += at_least_zero(highest) + mapped;
    reach.lowest += at_least_zero(lowest) + mapped;
  });
  return reach;
}

constexpr int64_t kLeastShare = 1024;  // below it, what others do not use is called in instead

// Grants `shard` a part of what nobody has been granted. False when that is too little, or cannot be told.
bool grant(const Block &block, Shard *shard, const BlockLock &lock) {
  if (evaluation_was_left(block.header)) return false;
  Totals totals = group_totals(block);
  Marks marks = marks_around(block.header, block_level(block.header), totals.counted());
  bool no_up = marks.up >= kFar / 2, no_down = marks.down <= -kFar / 2;
  if (no_up && no_down) {
    if (shard) arm(*shard, shard_net(*shard), kFar, kFar, peak_step_bytes(1));
    return true;
  }
  int64_t net = shard ? shard_net(*shard) : 0;
  Reach reach = reach_of(block, shard, net, !no_up, !no_down);
  MEMBUDGET_YIELD_POINT();
  int64_t up = no_up ? kFar : marks.up - 1 - reach.highest;
  int64_t down = no_down ? kFar : reach.lowest - marks.down;
  if (!shard) return up >= 0 && down >= 0;
  bool alone = reach.shards <= 1;
  if (up < 0 || down < 0 || (!alone && (up < 2 * kLeastShare || down < 2 * kLeastShare))) return false;
  if (!lock.is_held()) return false;
  arm(*shard, net, alone || no_up ? up : up / 2, alone || no_down ? down : down / 2, peak_step_bytes(reach.shards));
  return true;
}

}  // namespace

bool budget_reap_is_due(const Block &block) {
  constexpr int64_t kEveryNs = 50'000'000;
  return block.process_high() > 1 && has_passed(load(block.header->last_reap_ns), kernel_ns(), kEveryNs);
}

static void note_fresh(Process *self, const Shard *shard, int64_t bytes, int64_t counted) {
  if (self) footprint_note_fresh(self, shard ? static_cast<uint32_t>(shard - self->shards) : 0, bytes, counted);
}

// Members that died without a word are looked for now and then, so that their bytes leave the total even
// when nobody crosses a mark. True when some were.
static bool reap_now_and_then(const Block &block) {
  if (!budget_reap_is_due(block)) return false;
  store(block.header->last_reap_ns, kernel_ns());
  return process_reap(block, nullptr) > 0;
}

void budget_attend(const Block &block, Process *self, Shard *shard, int64_t fresh_bytes) {
  under_lock(block, [&](const BlockLock &lock) {
    note_fresh(self, shard, fresh_bytes, fresh_bytes);
    bool is_due = reap_now_and_then(block) || footprint_is_due(block.header);
    if (is_due || !grant(block, shard, lock)) evaluate_locked(block, self, fresh_bytes);
  });
  if (self) budget_note_peaks(block, self);
}

// The first shard without an owner, claimed for `tid`: by compare and exchange, since a holder of the lock that
// was stopped may do the same. 0 when there is none, or no memory for it.
static uint32_t claim_shard(Process *p, uint32_t tid) {
  constexpr uint32_t kShardsInPage = 4096 / sizeof(Shard);
  for (uint32_t i = 1; i < MEMBUDGET_SHARDS; ++i) {
    uint32_t high = shard_high(p), nobody = 0;
    if (i < high && has_owner(p, i)) continue;
    if (i >= high && i % kShardsInPage == 0 && !block_populate(&p->shards[i], 4096)) return 0;
    MEMBUDGET_YIELD_POINT();
    if (!__atomic_compare_exchange_n(&p->shard_owner[i], &nobody, tid, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
      continue;
    MEMBUDGET_YIELD_POINT();
    while (high <= i &&
           !__atomic_compare_exchange_n(&p->shard_high, &high, i + 1, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {}
    return i;
  }
  return 0;
}

Shard *budget_adopt(const Block &block, Process *p, uint32_t tid) {
  uint32_t i = 0;
  under_lock(block, [&](const BlockLock &lock) {
    i = claim_shard(p, tid);
    if (i != 0 && !grant(block, &p->shards[i], lock)) evaluate_locked(block, p, 0);
  });
  return i != 0 ? &p->shards[i] : nullptr;
}

void budget_abandon(const Block &block, Process *p, Shard *shard) {
  under_lock(block, [&](const BlockLock &) {
    arm(*shard, shard_net(*shard), 0, 0, 0);
    __atomic_store_n(&p->shard_owner[shard - p->shards], 0u, __ATOMIC_RELAXED);
  });
}

void budget_evaluate(const Block &block) {
  under_lock(block, [&](const BlockLock &) {
    process_reap(block, nullptr);
    evaluate_locked(block, nullptr, 0);
  });
}

bool budget_fits(const Block &block, const Process *self, int64_t more, int64_t request) {
  const Header *h = block.header;
  int64_t hard = load(h->hard_limit_bytes);
  if (hard <= 0) return true;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);  // of two that add at the same time, one sees the other
  int64_t overhead = load(h->overhead_bytes) + (request >= kLargeRequest ? load(h->doubtful_bytes) : 0);
  int64_t most = hard - overhead + (request <= kSmallRequest ? kEmergencyBytes : 0);
  Totals totals = group_totals(block);
  return totals.counted() <= most - more - reserve_kept_from(h, self, totals, request);
}

bool budget_makes_room(const Block &block, Process *self, const Request &request) {
  Header *h = block.header;
  bool is_measured = footprint_is_measured(h);
  if (budget_fits(block, self, request.more, request.bytes)) {
    // What others have freed since it was measured has left the count, and their allocators may keep it.
    if (!is_measured || request.more < kLargeRequest) return true;
  } else if (!is_measured && block.process_high() <= 1) {
    return false;
  }
  bool fits = false;
  under_lock(block, [&](const BlockLock &) {
    bool were_dead = block.process_high() > 1 && process_reap(block, nullptr) > 0;
    note_fresh(self, request.shard, request.fresh_bytes, request.fresh_bytes);
    if (is_measured) footprint_measure(block, self, group_totals(block).counted(), request.fresh_bytes);
    if (is_measured && !budget_fits(block, self, request.more, request.bytes) &&
        footprint_trim_makes_room(h, group_totals(block).counted() + request.more)) {
      footprint_trim(block, self, block_level(h));
      footprint_measure(block, self, group_totals(block).counted(), request.fresh_bytes);
      footprint_note_trimmed(h, group_totals(block).counted());
    }
    fits = budget_fits(block, self, request.more, request.bytes);
    if (is_measured || were_dead) evaluate_locked(block, self, request.fresh_bytes);
    if (fits) note_fresh(self, request.shard, largest(request.more, request.fresh_bytes), request.fresh_bytes);
  });
  return fits;
}

void budget_set_reserve(const Block &block, Process *self, int64_t bytes) {
  under_lock(block, [&](const BlockLock &) {
    reserve_set(block, bytes);
    evaluate_locked(block, self, 0);
  });
}

void budget_flush_begins(const Block &block, Process *self) {
  under_lock(block, [&](const BlockLock &) {
    reserve_flush_begins(block, self);
    evaluate_locked(block, self, 0);
  });
}

void budget_flush_ends(const Block &block, Process *self) {
  under_lock(block, [&](const BlockLock &) {
    reserve_flush_ends(block, self);
    evaluate_locked(block, self, 0);
  });
}

void budget_trimmed(const Block &block, Process *self) {
  if (!footprint_is_measured(block.header)) return;
  BlockLock lock(block.header);
  int64_t counted = group_totals(block).counted();
  footprint_measure(block, self, counted, 0);
  footprint_note_trimmed(block.header, counted);
  evaluate_locked(block, self, 0);
}

void budget_request_attention(const Block &block, Process *process) {
  for_each_shard(block, [&](const Process *p, Shard &s, bool) {
    if (!process || p == process) poison(s);
  });
}

void budget_set_limits(const Block &block, const Limits &limits, int64_t whole_bytes) {
  Header *h = block.header;
  under_lock(block, [&](const BlockLock &) {
    marks_set(h, limits, whole_bytes);
    process_reap(block, nullptr);
    evaluate_locked(block, nullptr, 0);
  });
  // Members that had no hard limit so far have to learn of it.
  if (load(h->hard_limit_bytes) > 0) budget_request_attention(block, nullptr);
}

}  // namespace membudget
