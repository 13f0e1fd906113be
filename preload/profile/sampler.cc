#include "preload/profile/sampler.h"

#include <stdio.h>
#include <string.h>

#include "allocator/ledger.h"
#include "preload/profile/known_stacks.h"
#include "preload/profile/memory.h"
#include "preload/profile/module.h"
#include "preload/profile/quick_math.h"
#include "preload/profile/stack_table.h"

namespace membudget::profile {

namespace {

constexpr int64_t kNotDrawn = kPoison;  // of ledger::thread.sample_at_bytes: less than any count

#define MEMBUDGET_THREAD __attribute__((tls_model("initial-exec"))) __thread
MEMBUDGET_THREAD uint64_t random_state;
MEMBUDGET_THREAD bool is_inside, is_forking;
MEMBUDGET_THREAD int64_t mapped_until_sample;  // as the ledger's sample_at_bytes, counted down

bool is_on;
uint64_t lost;
Beginning beginning;

// While it is turned off: how soon a thread looks whether it is on again.
constexpr int64_t kOffBytes = 16 << 20;

int64_t mean_bytes() { return __atomic_load_n(&ledger::binding().process->profile_mean_bytes, __ATOMIC_RELAXED); }

// Uniform in (0, 1]; xorshift64*, seeded from what differs between threads and processes.
double random_fraction() {
  uint64_t x = random_state;
  if (x == 0) {
    x = reinterpret_cast<uintptr_t>(&random_state) ^ static_cast<uint64_t>(monotonic_ns()) * 0x9e3779b97f4a7c15;
    x = (x ^ static_cast<uint64_t>(getpid()) << 32) | 1;
  }
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  random_state = x;
  return (static_cast<double>((x * 0x2545f4914f6cdd1d) >> 11) + 1) * 0x1p-53;
}

int64_t next_distance(int64_t mean) {
  if (mean <= 0) return kOffBytes;
  return static_cast<int64_t>(-quick_log(random_fraction()) * static_cast<double>(mean));
}

// A handler of one of the few signals that are not blocked while a stack is taken may have jumped away.
__attribute__((noinline, cold)) bool is_still_inside_slow() {
  constexpr uint64_t kLibcs = signal_bit(32) | signal_bit(33);  // left out where libunwind blocks all that libc lets it
  ErrnoGuard guard;
  if (Undisturbed::may_be_in_force(kLibcs)) return true;
  is_inside = false;
  return false;
}

// In sample()'s own frame: each one more would have to be unwound. `frame`: where that begins, NULL for a stack that is
// not to be known again. All that unwinds does it while it has a buffer: a fork waits for those.
__attribute__((always_inline)) inline uint32_t take_stack(const void *frame) {
  static uint64_t buffers[kBuffers][kMostFrames];
  int place = claim_buffer();
  if (place < 0) return stack_table_number(nullptr, 0);
  int count = stack_module().capture(buffers[place], kMostFrames);
  uint32_t number = stack_table_number(buffers[place], count);
  if (frame) note_stack(frame, number);
  release_buffer(place);
  return number;
}

// Nothing in here minds a signal's handler that jumps out.
bool record(void *block, size_t usable, uint32_t flags, int64_t mean, uint32_t stack) {
  LiveBlock about = {stack, flags, usable, blocks_stood_for(static_cast<double>(usable) / static_cast<double>(mean))};
  stack_table_note(stack, static_cast<double>(usable), about.weight);
  return remember(block, about);
}

// While a stack is taken. Signals are blocked before is_inside is set, by which it is known when a handler has jumped
// away.
class Inside {
 public:
  Inside() { is_inside = true; }
  ~Inside() { is_inside = false; }
  Inside(const Inside &) = delete;
  Inside &operator=(const Inside &) = delete;

 private:
  ErrnoGuard errno_guard_;
  Undisturbed undisturbed_;
};

}  // namespace

bool draws(size_t usable) {
  ledger::ThreadState *t = &ledger::thread;
  int64_t counted = __atomic_load_n(&t->shard->allocated_bytes, __ATOMIC_RELAXED);
  if (__builtin_expect(counted <= t->sample_at_bytes, 1) || is_sampling() || t->shard == &ledger::nobody) return false;
  int64_t mean = mean_bytes();
  if (t->sample_at_bytes == kNotDrawn) {
    t->sample_at_bytes = counted - static_cast<int64_t>(usable) + next_distance(mean);
    if (counted <= t->sample_at_bytes) return false;
  }
  t->sample_at_bytes = counted + next_distance(mean);
  return mean > 0;
}

__attribute__((noinline, cold)) bool sample(void *block, size_t usable) {
  int64_t mean = mean_bytes();
  if (mean <= 0) return false;
  const void *frame = __builtin_dwarf_cfa();
  uint32_t stack;
  if (!find_known_stack(frame, &stack)) {
    Inside inside;
    stack = take_stack(frame);
  }
  return record(block, usable, 0, mean, stack);
}

__attribute__((noinline, cold)) void sample_mapped(void *memory, size_t bytes) {
  if (!is_on || is_sampling()) return;
  Inside inside;
  int64_t mean = mean_bytes();
  if (mapped_until_sample == 0) mapped_until_sample = next_distance(mean) + 1;
  mapped_until_sample -= static_cast<int64_t>(bytes);
  if (mapped_until_sample > 0) return;
  if (mean > 0) record(memory, bytes, MEMBUDGET_PROFILE_IS_MAPPED, mean, take_stack(nullptr));
  mapped_until_sample = next_distance(mean) + 1;
}

bool forget(const void *block, LiveBlock *out) { return live_table_take(block, out); }

bool remember(const void *block, const LiveBlock &about) {
  bool fits = live_table_add(block, about);
  if (!fits) __atomic_fetch_add(&lost, 1, __ATOMIC_RELAXED);
  return fits;
}

bool is_sampling() { return is_forking || (is_inside && is_still_inside_slow()); }

int64_t allocated_bytes(const Process *p) {
  int64_t sum = 0;
  for (const Shard &s : p->shards) sum += __atomic_load_n(&s.allocated_bytes, __ATOMIC_RELAXED);
  return sum;
}

bool sampler_begin(char *why, size_t why_size) {
  if (is_on) return true;
  if (!live_table_begin() || !stack_table_begin()) {
    snprintf(why, why_size, "no addresses for its tables");
    return false;
  }
  if (!load_stack_module(why, why_size)) return false;
  const Process *p = ledger::binding().process;
  beginning = {allocated_bytes(p), process_live_bytes(p)};
  is_on = true;
  return true;
}

bool sampler_is_on() { return is_on; }
uint64_t sampler_lost() { return __atomic_load_n(&lost, __ATOMIC_RELAXED); }
const Beginning &sampler_beginning() { return beginning; }

void sampler_before_fork() {
  if (!is_on) return;
  is_forking = true;
  claim_all_buffers();
}

void sampler_after_fork_in_parent() {
  if (!is_on) return;
  release_all_buffers();
  is_forking = false;
}

void sampler_after_fork_in_child() {
  if (!is_on) return;
  is_inside = is_forking = false;
  random_state = 0;  // or the child would draw what its parent draws
  ledger::thread.sample_at_bytes = kNotDrawn;
  mapped_until_sample = 0;
  release_all_buffers();
  stack_table_after_fork_in_child();
  known_stacks_after_fork_in_child();
  stack_module().after_fork_in_child();
}

}  // namespace membudget::profile
