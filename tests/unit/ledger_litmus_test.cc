// Two threads on two processors, as close to each other and to the mark as can be: where an addition that is
// still in a store buffer, or a comparison that came too soon, would show.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <thread>

#include "tests/unit/build.h"
#include "tests/unit/child.h"
#include "tests/unit/started_ledger.h"
#include "tests/unit/sum_checker.h"

namespace membudget {
namespace {

// Each adds one small block and takes it away again, next to the limit, and checks after every call.
void hover(unit::SumChecker &checker, int thread, int64_t bytes, int rounds) {
  cpu_set_t processor;
  CPU_ZERO(&processor);
  CPU_SET(static_cast<size_t>(thread), &processor);
  pthread_setaffinity_np(pthread_self(), sizeof processor, &processor);
  for (int i = 0; i < rounds; ++i) {
    checker.allocate(thread, bytes);
    checker.check();
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
  std::thread other([&] { hover(checker, 1, bytes, rounds); });
  hover(checker, 0, bytes, rounds);
  other.join();
  checker.expect_exact(ledger.process);
  checker.expect_no_crossing_unseen(0);
}

TEST(LedgerLitmus, TwoThreadsAtTheMark) {
  const int rounds = unit::scaled(30'000) + 100;
  unit::in_child([=] { run_litmus(100, 60, rounds); });
  unit::in_child([=] { run_litmus(20'000, 11'000, rounds); });
  unit::in_child([=] { run_litmus(200'000, 110'000, rounds); });
}

}  // namespace
}  // namespace membudget
