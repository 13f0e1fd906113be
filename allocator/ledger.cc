#include "allocator/ledger.h"

#include "allocator/stride.h"
#include "allocator/triggers.h"
#include "control/block/footprint.h"
#include "control/block/lock.h"
#include "control/block/system.h"

namespace membudget::ledger {

// Its triggers are met by whatever is added: values wrap long before they get there.
Shard nobody = {0, 0, 0, 0, kPoison, kPoison, 0, 0};
__attribute__((tls_model("initial-exec"))) __thread ThreadState thread = {
    &nobody, 0, 0, 0, INT64_MAX, 0, 0, 4 << 10, 0, 0, 0, 0, false, 0, false, false, kPoison, kPoison, 0};

namespace {

constinit Binding bound{};
constinit SelfCounts self_counts{};
Process unlisted;      // stands in for the slot of a child that is not counted
Shard early;           // before start(); what is added to it later (a thread caught midway) is moved on
int64_t mapped_bytes;  // what the slot is to say
bool is_started;
bool is_sampling;
int32_t own_pid;  // as it stands in the slot
uint64_t own_start_time;

bool started() { return __atomic_load_n(&is_started, __ATOMIC_ACQUIRE); }

// A handler of one of the few signals that are not blocked where things are being looked up may have jumped away.
__attribute__((noinline, cold)) bool is_still_settling_slow() {
  ErrnoGuard guard;
  if (Undisturbed::may_be_in_force()) return true;
  thread.settling_at = 0;
  return false;
}

// Whether who asks was called from there: below the place on the stack, with signals blocked as they are there.
__attribute__((always_inline)) inline bool is_settling() {
  return thread.settling_at > reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) && is_still_settling_slow();
}

template <typename T>
void move_word(T *from, T *to) {
  T value = __atomic_exchange_n(from, T{0}, __ATOMIC_RELAXED);
  if (value != 0) __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}

void move_early() {
  Shard *shared = &bound.process->shards[0];
  move_word(&early.allocated_bytes, &shared->allocated_bytes);
  move_word(&early.freed_bytes, &shared->freed_bytes);
  move_word(&early.allocations, &shared->allocations);
  move_word(&early.frees, &shared->frees);
}

// Brings the slot in line with what is mapped. True when it was not. To the sum, not by the change: so it does not matter
// who does it, nor how often.
bool publish_mapped() {
  int64_t *published = &bound.process->mapped_bytes;
  for (bool was_behind = false;; was_behind = true) {
    int64_t seen = __atomic_load_n(published, __ATOMIC_SEQ_CST);
    int64_t now = __atomic_load_n(&mapped_bytes, __ATOMIC_SEQ_CST);
    if (seen == now) return was_behind;
    MEMBUDGET_YIELD_POINT();
    __atomic_compare_exchange_n(published, &seen, now, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
  }
}

// A change of what one thread counted, by an allocation or a free.
struct Change {
  int64_t allocated_bytes = 0, freed_bytes = 0;
  uint64_t allocations = 0, frees = 0;
};

// Counts for a thread without a shard. An allocator that counts by itself is asked for both directions.
void count_shared(Change change) {
  if (self_counts.allocated) {
    auto allocated = static_cast<int64_t>(self_counts.allocated());
    auto freed = static_cast<int64_t>(self_counts.freed());
    // At once: a signal handler may count, too, between a load and a store.
    change.allocated_bytes = allocated + __atomic_exchange_n(&thread.allocated_base, -allocated, __ATOMIC_RELAXED);
    change.freed_bytes = freed + __atomic_exchange_n(&thread.freed_base, -freed, __ATOMIC_RELAXED);
  }
  Shard *s = started() ? &bound.process->shards[0] : &early;
  __atomic_fetch_add(&s->allocated_bytes, change.allocated_bytes, __ATOMIC_RELAXED);
  __atomic_fetch_add(&s->freed_bytes, change.freed_bytes, __ATOMIC_RELAXED);
  __atomic_fetch_add(&s->allocations, change.allocations, __ATOMIC_RELAXED);
  __atomic_fetch_add(&s->frees, change.frees, __ATOMIC_RELAXED);
  MEMBUDGET_YIELD_POINT();
  if (s == &early && started()) move_early();
}

// Whether header and slot are still what they were: anything may have been written over them, a hard limit, too.
bool is_overwritten() {
  const Process *p = bound.process;
  return !header_is_ours(bound.block.header) || p->pid != own_pid || p->start_time != own_start_time;
}

void look_for_damage() {
  if (bound.on_damage && __builtin_expect(is_overwritten(), 0)) bound.on_damage();
}

void note_identity() {
  own_pid = bound.process->pid;
  own_start_time = bound.process->start_time;
}

// Gives the thread its shard. What it counted up to now stays in shard 0.
bool adopt() {
  auto tid = static_cast<uint32_t>(syscall(SYS_gettid));
  Shard *s = budget_adopt(bound.block, bound.process, tid);
  if (!s) {
    __atomic_fetch_add(&bound.process->uncounted_threads, 1, __ATOMIC_RELAXED);
    return false;
  }
  thread.allocated_base += s->allocated_bytes;
  thread.freed_base += s->freed_bytes;
  thread.peak_net_bytes = 0;
  thread.looks_at_bytes = kPoison;
  thread.shard = s;
  if (bound.on_thread_start) bound.on_thread_start();
  return true;
}

void note_peak(Shard *s) {
  PeakRoom room = budget_note_peaks(bound.block, bound.process);
  int64_t share = room.shards <= 1 ? room.bytes : room.bytes / (2 * static_cast<int64_t>(room.shards));
  int64_t net = shard_net(*s);
  thread.is_near_mark = room.is_near_mark;
  thread.peak_net_bytes = net + (share > 0 ? share : 0) + (room.is_near_mark ? 0 : peak_step_bytes(room.shards));
  thread.peak_reached_net_bytes = room.shards <= 1 ? net + room.bytes : INT64_MAX;
}

// The trigger, or that of the next sample, where it comes first. One that is passed already is met by the next count.
int64_t before_sample(const Shard &s, int64_t trigger) {
  if (!__atomic_load_n(&is_sampling, __ATOMIC_RELAXED)) return trigger;
  int64_t sample = thread.sample_at_bytes > s.allocated_bytes ? thread.sample_at_bytes : s.allocated_bytes;
  return sample < trigger ? sample : trigger;
}

// What triggers are computed from. It holds until allowances are handed out anew, or a signal handler had this thread's
// looked up: what was read of the old one may have gone into a trigger that stood for the new one, so it is withdrawn.
struct Basis {
  uint32_t sequence = __atomic_load_n(&bound.block.header->allowance_sequence, __ATOMIC_ACQUIRE);
  uint32_t look_ups = thread.look_ups;

  bool holds_or_withdraws(Shard *s) const {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&bound.block.header->allowance_sequence, __ATOMIC_RELAXED) == sequence &&
        thread.look_ups == look_ups)
      return true;
    withdraw(s);
    return false;
  }
};

// Sets the triggers from the allowance. False when they do not hold.
bool rearm_own(Shard *s) {
  Basis basis;
  if (basis.sequence & 1) return false;
  int64_t allocated_trigger = __atomic_load_n(&s->allocated_trigger, __ATOMIC_RELAXED);
  int64_t freed_trigger = __atomic_load_n(&s->freed_trigger, __ATOMIC_RELAXED);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  int64_t net = shard_net(*s);
  int64_t ceiling = __atomic_load_n(&s->ceiling_bytes, __ATOMIC_ACQUIRE);
  int64_t floor = __atomic_load_n(&s->floor_bytes, __ATOMIC_ACQUIRE);
  MEMBUDGET_YIELD_POINT();
  if (net >= thread.peak_net_bytes || net > thread.peak_reached_net_bytes) note_peak(s);
  int64_t stride = stride_after(*s, net), until = thread.peak_net_bytes;
  if (until < net + stride) until = net + stride;
  if (until > ceiling) until = ceiling;
  if (until > thread.peak_reached_net_bytes)
    budget_note_peak_slack(bound.block, bound.process, until - thread.peak_reached_net_bytes);
  thread.looks_at_bytes = s->freed_bytes + until;
  thread.armed_sequence = basis.sequence;
  rearm(&s->allocated_trigger, allocated_trigger, before_sample(*s, thread.looks_at_bytes));
  rearm(&s->freed_trigger, freed_trigger, floor <= -kFar / 2 ? INT64_MAX : s->allocated_bytes - floor);
  return basis.holds_or_withdraws(s);
}

void answer_requests() {
  const Process *p = bound.process;
  bool is_asked_to_trim =
      __atomic_load_n(&p->trim_request, __ATOMIC_ACQUIRE) != __atomic_load_n(&p->trim_done, __ATOMIC_RELAXED);
  bool has_hard_limit = __atomic_load_n(&bound.block.header->hard_limit_bytes, __ATOMIC_RELAXED) > 0;
  bool profiles =
      __atomic_load_n(&p->profile_mean_bytes, __ATOMIC_RELAXED) > 0 ||
      __atomic_load_n(&p->profile_request, __ATOMIC_ACQUIRE) != __atomic_load_n(&p->profile_done, __ATOMIC_RELAXED);
  bool is_wanted = is_asked_to_trim || has_hard_limit || profiles || bound.tells_crossings;
  if (bound.on_request && is_wanted) bound.on_request();
}

// A thread that stays within its allowance looks for the dead, too, or a level that their bytes raised would stand
// for as long as nobody passes a mark.
bool looks_for_the_dead() {
  constexpr uint32_t kOneIn = 16;
  return ++thread.looks % kOneIn == 0 && budget_reap_is_due(bound.block);
}

// What the thread cannot do by itself.
__attribute__((noinline)) void look_up(Shard *s, int64_t fresh_bytes) {
  Section section;
  ++thread.look_ups;
  thread.peak_net_bytes = 0;  // what it was computed from may have changed
  budget_attend(bound.block, bound.process, s, fresh_bytes);
  answer_requests();
  if (within_allowance(*s)) rearm_own(s);
}

// Until nothing is left to look up: a signal handler may count meanwhile, and come here itself.
void settle(Shard *s, int64_t fresh_bytes) {
  constexpr int kMostRounds = 8;  // others may withdraw at any rate; each caller does its part
  for (int i = 0; i < kMostRounds; ++i) {
    MEMBUDGET_YIELD_POINT();
    if (!within_allowance(*s) || looks_for_the_dead() || !rearm_own(s) || footprint_is_due(bound.block.header))
      look_up(s, fresh_bytes);
    if (!trigger_is_met(*s)) return;
  }
}

// After a change to what all threads share. It moves the sum under every thread's next peak: they look anew.
void attend_shared(int64_t fresh_bytes) {
  budget_attend(bound.block, bound.process, nullptr, fresh_bytes);
  budget_request_attention(bound.block, nullptr);
}

// For a thread without a shard: it gets one, if it may.
__attribute__((noinline)) void settle_shared(int64_t fresh_bytes) {
  Section section;
  if (thread.shard != &nobody) return;  // a signal handler's call has got it one
  look_for_damage();
  if (thread.is_torn_down || !adopt()) attend_shared(fresh_bytes);
  answer_requests();
}

__attribute__((noinline, cold)) void settle_slow(const Change &change) {
  ErrnoGuard guard;
  bool is_called_from_below = is_settling();
  if (thread.shard == &nobody) {
    count_shared(change);
    if (!started() || is_called_from_below || thread.is_forking) return;
    settle_shared(change.allocated_bytes);
    if (thread.shard == &nobody) return;
  } else if (is_called_from_below) {
    return;
  } else {
    look_for_damage();
  }
  settle(thread.shard, change.allocated_bytes);
}

bool makes_room(int64_t more, int64_t request, int64_t fresh_bytes) {
  bool fits = budget_fits(bound.block, bound.process, more, request);
  if ((fits && more < kLargeRequest) || is_settling() || thread.is_forking) return fits;
  ErrnoGuard guard;
  Section section;
  look_for_damage();
  Shard *own = thread.shard == &nobody ? nullptr : thread.shard;
  return budget_makes_room(bound.block, bound.process, {own, more, request, fresh_bytes});
}

// A thread that turns over what it has, far from any mark, needs nothing but its trigger set anew, most of the time.
bool rearms_by_itself() {
  constexpr uint32_t kOneIn = 8;  // looks at all there is to look at
  return thread.stride_bytes >= kLongestStride && ++thread.short_looks % kOneIn != 0 && !is_settling() &&
         !thread.is_forking && within_allowance(*thread.shard) && rearm_own(thread.shard) &&
         !trigger_is_met(*thread.shard);
}

}  // namespace

__attribute__((noinline, cold)) bool settle_allocated(size_t bytes) {
  if (rearms_by_itself()) return true;
  auto counted = static_cast<int64_t>(bytes);
  settle_slow({counted, 0, 1, 0});
  // What a small request got may be a little more than a small request; what was large has been asked for.
  return !started() || makes_room(0, counted / 2, counted);
}

bool goes_on_to_next_sample() {
  Shard *s = thread.shard;
  Basis basis;
  if (basis.sequence != thread.armed_sequence) return false;
  MEMBUDGET_YIELD_POINT();
  int64_t trigger = __atomic_load_n(&s->allocated_trigger, __ATOMIC_RELAXED);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  if (trigger == kPoison || s->allocated_bytes > thread.looks_at_bytes) return false;
  rearm(&s->allocated_trigger, trigger, before_sample(*s, thread.looks_at_bytes));
  return basis.holds_or_withdraws(s);
}

bool reserve(size_t bytes, size_t request) {
  auto growth = static_cast<int64_t>(bytes);
  Shard *s = thread.shard;
  if (self_counts.allocated) thread.allocated_base += growth;
  add(&s->allocated_bytes, growth);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  bool is_small = request <= static_cast<size_t>(kSmallRequest);
  if (passes(&s->allocated_bytes, &s->allocated_trigger))
    settle_slow({growth, 0, 0, 0});
  else if (is_small)
    return true;
  if (!started() || makes_room(0, static_cast<int64_t>(request), growth)) return true;
  unreserve(bytes);
  return false;
}

void unreserve(size_t bytes) {
  auto growth = static_cast<int64_t>(bytes);
  Shard *s = thread.shard;
  if (self_counts.allocated) thread.allocated_base -= growth;
  add(&s->allocated_bytes, -growth);
  // Less than was allowed for: only the level may have to fall again.
  settle_slow({-growth, 0, 0, 0});
}

__attribute__((noinline, cold)) void settle_resized() { settle_slow({thread.resized_bytes, 0, 1, 1}); }

bool admits(int64_t bytes) { return !started() || makes_room(bytes, bytes, 0); }

bool keeps(int64_t bytes) { return !started() || makes_room(0, bytes, bytes); }

__attribute__((noinline, cold)) void settle_freed(size_t bytes) { settle_slow({0, static_cast<int64_t>(bytes), 0, 1}); }

void note_mapped(int64_t change_bytes) { __atomic_fetch_add(&mapped_bytes, change_bytes, __ATOMIC_SEQ_CST); }

void settle_mapped(int64_t change_bytes) {
  if (!started()) return;  // start() will
  ErrnoGuard guard;
  bool was_behind = publish_mapped();
  MEMBUDGET_YIELD_POINT();
  if ((change_bytes == 0 && !was_behind) || is_settling() || thread.is_forking) return;
  AddsOnly adds_only;
  look_for_damage();
  attend_shared(change_bytes > 0 ? change_bytes : 0);
}

int64_t mapped_now() { return __atomic_load_n(&mapped_bytes, __ATOMIC_RELAXED); }

bool has_started() { return started(); }

void count_by(const SelfCounts &counts) { self_counts = counts; }

void start(const Binding &binding_to) {
  bound = binding_to;
  note_identity();
  __atomic_store_n(&bound.process->shard_high, 1u, __ATOMIC_RELEASE);
  move_early();
  publish_mapped();
  process_publish(bound.process);
  __atomic_store_n(&is_started, true, __ATOMIC_SEQ_CST);
  move_early();
  publish_mapped();
  budget_attend(bound.block, bound.process, nullptr);
}

void thread_ends() {
  Section section;
  Shard *s = thread.shard;
  thread.is_torn_down = true;
  if (s == &nobody || !started()) return;
  thread.shard = &nobody;
  thread.allocated_base -= s->allocated_bytes;
  thread.freed_base -= s->freed_bytes;
  budget_abandon(bound.block, bound.process, s);
}

void rebind(const Block &block, Process *process) {
  bound.block = block;
  bound.process = process ? process : &unlisted;
  note_identity();
}

void begin_sampling() {
  if (__atomic_exchange_n(&is_sampling, true, __ATOMIC_RELAXED)) return;
  budget_request_attention(bound.block, bound.process);
}

void sample_sooner(size_t bytes) {
  Shard *s = thread.shard;
  if (s == &nobody || thread.sample_at_bytes == kPoison) return;
  thread.sample_at_bytes -= static_cast<int64_t>(bytes);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  int64_t seen = __atomic_load_n(&s->allocated_trigger, __ATOMIC_RELAXED);
  int64_t sooner = before_sample(*s, seen);  // never later: a trigger that was withdrawn stays so
  __atomic_compare_exchange_n(&s->allocated_trigger, &seen, sooner, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

const Binding &binding() { return bound; }

}  // namespace membudget::ledger
