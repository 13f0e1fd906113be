// Two threads on two processors, as close to each other and to the mark as can be: where an addition that is
// still in a store buffer, or a comparison that came too soon, would show.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <thread>

#include "tests/unit/build.h"
#include "tests/unit/child.h"
#include "tests/unit/started_ledger.h"
#include "tests/unit/sum_checker.h"

namespace membudget {
namespace {

// Where each of the two waits until the other is there as well: on a loaded machine they would else seldom run at
// the same time, or never.
class Meeting {
 public:
  // The number of this thread's `visits` to the meeting, the same on both sides.
  void wait(int thread) {
    const int visit = visits_[static_cast<size_t>(thread)].fetch_add(1) + 1;
    while (visits_[static_cast<size_t>(1 - thread)].load() < visit) sched_yield();
  }

 private:
  std::array<std::atomic<int>, 2> visits_ = {};
};

constexpr int kMeetings = 32;

// Each adds one small block and takes it away again, next to the limit, and checks after every call. Some times
// both hold theirs for certain; after each of these they set off together.
void hover(unit::SumChecker &checker, Meeting &meeting, int thread, int64_t bytes, int rounds) {
  cpu_set_t processor;
  CPU_ZERO(&processor);
  CPU_SET(static_cast<size_t>(thread), &processor);
  pthread_setaffinity_np(pthread_self(), sizeof processor, &processor);
  const int rounds_apart = rounds / kMeetings;
  for (int i = 0; i < kMeetings * rounds_apart; ++i) {
    const bool meets = i % rounds_apart == 0;
    if (meets) meeting.wait(thread);  // neither holds one
    checker.allocate(thread, bytes);
    if (meets) meeting.wait(thread);  // both do
    checker.check();
    if (meets) meeting.wait(thread);
    checker.release(thread, bytes);
    checker.check();
  }
}

// Below the limit stand `room` bytes; two threads take `bytes` each, so that together they cross.
void run_litmus(int64_t room, int64_t bytes, int rounds) {
  constexpr int64_t kLimit = 1'000'000;
  const unit::MarkBytes marks = {kLimit, kLimit, kLimit, 0};
  unit::StartedLedger ledger(marks);
  unit::SumChecker checker(*ledger.block, marks, 3, kLimit);
  checker.allocate(2, kLimit - room);
  ledger::thread_ends();
  Meeting meeting;
  std::thread other([&] { hover(checker, meeting, 1, bytes, rounds); });
  hover(checker, meeting, 0, bytes, rounds);
  other.join();
  checker.expect_exact(ledger.process);
  checker.expect_no_crossing_unseen(kMeetings);
  EXPECT_GE((*ledger.block).header->crossings, static_cast<uint64_t>(kMeetings))
      << "one for each time both held theirs";
}

TEST(LedgerLitmus, TwoThreadsAtTheMark) {
  const int rounds = unit::scaled(30'000) + 100;
  unit::in_child([=] { run_litmus(100, 60, rounds); });
  unit::in_child([=] { run_litmus(20'000, 11'000, rounds); });
  unit::in_child([=] { run_litmus(200'000, 110'000, rounds); });
}

}  // namespace
}  // namespace membudget
