#include "tests/unit/interleave.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>

#include "tests/unit/calls.h"
#include "tests/unit/fiber.h"
#include "tests/unit/seams.h"

namespace membudget::unit {

int AllSchedules::choose(const std::vector<int> &able, int current) {
  const bool could_go_on = std::find(able.begin(), able.end(), current) != able.end();
  if (position_ == decisions_.size()) {
    Decision decision{{}, 0};
    if (could_go_on) decision.options.push_back(current);
    if (!could_go_on || preemptions_ < most_preemptions_)
      for (int one : able)
        if (one != current) decision.options.push_back(one);
    decisions_.push_back(decision);
  }
  const Decision &decision = decisions_[position_++];
  const int chosen = decision.options[decision.chosen];
  preemptions_ += could_go_on && chosen != current;
  return chosen;
}

bool AllSchedules::next() {
  position_ = 0;
  preemptions_ = 0;
  while (!decisions_.empty() && decisions_.back().chosen + 1 == decisions_.back().options.size()) decisions_.pop_back();
  if (decisions_.empty()) return false;
  ++decisions_.back().chosen;
  return true;
}

int RandomSchedule::choose(const std::vector<int> &able, int current) {
  if (random_() % 4 != 0)
    for (int one : able)
      if (one == current) return one;
  return able[random_() % able.size()];
}

int InOrder::choose(const std::vector<int> &able, int current) {
  return std::find(able.begin(), able.end(), current) != able.end() ? current : able[0];
}

namespace {

constexpr int kMost = 4;
constexpr int kOutside = -1;

struct Coroutine {
  Fiber fiber;
  std::function<void()> body;
  ledger::ThreadState state;
  const uint32_t *waits_on = nullptr;  // while it holds `waits_for`
  uint32_t waits_for = 0;
  bool is_done = true;

  bool is_able() const { return !is_done && (!waits_on || __atomic_load_n(waits_on, __ATOMIC_RELAXED) != waits_for); }
};

}  // namespace

struct Interleaving::Implementation {
  Fiber outside;
  Coroutine coroutines[kMost];
  std::function<void()> at_each_point;
  Schedule *schedule = nullptr;
  int count = 0, current = kOutside;
  bool is_quiet = false, is_stuck = false;

  static Implementation *active;

  // Goes on with another, and comes back when it is this one's turn again.
  void switch_to(int next) {
    if (next == current) return;
    Coroutine *from = current == kOutside ? nullptr : &coroutines[current];
    Coroutine *to = next == kOutside ? nullptr : &coroutines[next];
    if (from) from->state = ledger::thread;
    if (to) ledger::thread = to->state;
    current = next;
    Fiber::switch_between(from ? from->fiber : outside, to ? to->fiber : outside);
  }

  // False when nobody is able to go on.
  bool change_over() {
    std::vector<int> able;
    for (int i = 0; i < count; ++i)
      if (coroutines[i].is_able()) able.push_back(i);
    if (able.empty()) return false;
    switch_to(schedule->choose(able, current));
    return true;
  }

  void yield() {
    if (is_quiet || current == kOutside) return;
    is_quiet = true;
    at_each_point();
    is_quiet = false;
    change_over();
  }

  // The life of a coroutine: one body after the other.
  void live(int self) {
    for (;;) {
      coroutines[self].body();
      coroutines[self].is_done = true;
      if (!change_over()) switch_to(kOutside);
    }
  }

  SyscallAnswer futex(const long (&arguments)[6]) {
    const auto *word = reinterpret_cast<const uint32_t *>(arguments[0]);
    if ((arguments[1] & FUTEX_CMD_MASK) != FUTEX_WAIT) return {true, 0};
    const auto expected = static_cast<uint32_t>(arguments[2]);
    if (__atomic_load_n(word, __ATOMIC_RELAXED) != expected) return {true, -EAGAIN};
    Coroutine &self = coroutines[current];
    self.waits_on = word;
    self.waits_for = expected;
    const bool goes_on = change_over();
    self.waits_on = nullptr;
    is_stuck |= !goes_on;
    return {true, goes_on ? 0 : -ETIMEDOUT};
  }

  static SyscallAnswer on_syscall(long number, const long (&arguments)[6]) {
    if (active->current == kOutside) return {};
    switch (number) {
      case SYS_gettid: return {true, 1'000'000 + active->current};
      case SYS_membarrier: return {true, 0};
      case SYS_futex: return active->futex(arguments);
      default: return {};
    }
  }
};

Interleaving::Implementation *Interleaving::Implementation::active;

Interleaving::Interleaving(std::function<void()> at_each_point) : implementation_(std::make_unique<Implementation>()) {
  implementation_->at_each_point = std::move(at_each_point);
  for (int i = 0; i < kMost; ++i) implementation_->coroutines[i].fiber.start([=, this] { implementation_->live(i); });
}

Interleaving::~Interleaving() = default;

bool Interleaving::run(const std::vector<std::function<void()>> &bodies, Schedule &schedule) {
  SeamsRestored restored;
  const ledger::ThreadState outside_state = ledger::thread;
  Implementation &all = *implementation_;
  Implementation::active = &all;
  all.schedule = &schedule;
  all.count = static_cast<int>(bodies.size());
  all.is_stuck = false;
  for (int i = 0; i < all.count; ++i) {
    all.coroutines[i].body = bodies[static_cast<size_t>(i)];
    all.coroutines[i].is_done = false;
  }
  yield_hook = [] { Implementation::active->yield(); };
  syscall_hook = Implementation::on_syscall;
  all.change_over();
  ledger::thread = outside_state;
  bool all_done = true;
  for (int i = 0; i < all.count; ++i) all_done &= all.coroutines[i].is_done;
  return all_done && !all.is_stuck;
}

bool Interleaving::run_in_order(const std::vector<std::function<void()>> &bodies) {
  InOrder schedule;
  implementation_->is_quiet = true;
  const bool all_done = run(bodies, schedule);
  implementation_->is_quiet = false;
  return all_done;
}

void Interleaving::forget_threads() {
  for (Coroutine &coroutine : implementation_->coroutines) coroutine.state = kNewThread;
}

}  // namespace membudget::unit
