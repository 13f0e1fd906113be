// Programs allocate in signal handlers, although POSIX forbids it: counts stay exact, nothing hangs.
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include <random>
#include <thread>
#include <vector>

#include "control/block/system.h"
#include "tests/unit/build.h"
#include "tests/unit/child.h"
#include "tests/unit/seams.h"
#include "tests/unit/traffic.h"

namespace membudget {
namespace {

using unit::StartedLedger;

constexpr int64_t kLimit = 1 << 20;

// --- a handler at any yield point ---

struct Interruption {
  std::mt19937_64 random{1};
  bool frees = false, is_inside = false;
  int64_t allocated = 0, freed = 0;
  uint64_t times = 0;
} interruption;

// Goes in the direction of the call that it interrupts, so that the level depends on the sum alone.
void interrupt() {
  if (interruption.is_inside || interruption.random() % 3 != 0) return;
  interruption.is_inside = true;
  const auto bytes = static_cast<int64_t>(interruption.random() % (interruption.random() % 8 ? 50 : 20'000));
  ++interruption.times;
  if (interruption.frees)
    unit::freed(static_cast<size_t>(bytes)), interruption.freed += bytes;
  else
    unit::allocated(static_cast<size_t>(bytes)), interruption.allocated += bytes;
  interruption.is_inside = false;
}

// Calls at random about the limit. `looks_again`: with an empty call of each kind after the one that was
// interrupted, before the level has to be right.
void walk_interrupted(StartedLedger &ledger, int steps, bool looks_again) {
  unit::ReferenceLevel reference{unit::default_marks(kLimit)};
  reference.update(ledger.live());
  int64_t live = ledger.live();
  for (int i = 0; i < steps; ++i) {
    const auto bytes = static_cast<int64_t>(interruption.random() % 40'000);
    interruption.frees = live > kLimit + 50'000 || (live > kLimit - 100'000 && interruption.random() % 2);
    interruption.allocated = interruption.freed = 0;
    unit::yield_hook = interrupt;
    if (interruption.frees)
      unit::freed(static_cast<size_t>(bytes));
    else
      unit::allocated(static_cast<size_t>(bytes));
    unit::yield_hook = nullptr;
    live += interruption.allocated - interruption.freed + (interruption.frees ? -bytes : bytes);
    if (looks_again) unit::allocated(0), unit::freed(0);
    reference.update(live);
    ASSERT_EQ(ledger.live(), live) << "step " << i;
    ASSERT_EQ(ledger.level(), reference.level) << "step " << i << " at " << live;
  }
  EXPECT_GT(reference.crossings, 5u);
  EXPECT_GT(interruption.times, static_cast<uint64_t>(steps) / 2) << "or else there are no yield points in this build";
}

TEST(LedgerSignals, InterruptACallAnywhere) {
  unit::in_child([] {
    StartedLedger ledger(unit::default_marks(kLimit));
    unit::allocated(1);
    walk_interrupted(ledger, 30'000, false);
  });
}

TEST(LedgerSignals, InterruptAThreadThatIsTornDown) {
  unit::in_child([] {
    StartedLedger ledger(unit::default_marks(kLimit));
    unit::allocated(1);
    ledger::thread_ends();
    walk_interrupted(ledger, 5000, true);
  });
}

// The handler gives the thread its shard; of the call that it interrupted at most that call's bytes are lost.
TEST(LedgerSignals, InterruptTheFirstCallOfAThread) {
  unit::in_child([] {
    StartedLedger ledger(unit::default_marks(kLimit));
    constexpr int64_t kBytes = 10;
    for (int i = 0; i < 300; ++i) {
      std::thread([&] {
        const int64_t before = ledger.live();
        interruption.allocated = 0;
        interruption.frees = false;
        unit::yield_hook = interrupt;
        unit::allocated(kBytes);
        unit::yield_hook = nullptr;
        const int64_t exact = before + kBytes + interruption.allocated;
        ASSERT_LE(ledger.live(), exact);
        ASSERT_GE(ledger.live(), exact - kBytes);
        unit::allocated(0);
        ASSERT_EQ(ledger.level() == MEMBUDGET_CRITICAL, ledger.live() >= kLimit);
        if (ledger.live() >= kLimit) unit::freed(static_cast<size_t>(ledger.live()));
        ledger::thread_ends();
      }).join();
    }
  });
}

// --- real signals ---

__thread volatile int64_t handled_allocations, handled_frees;

void handle(int) {
  if ((handled_allocations + handled_frees) % 2) {
    unit::freed(24);
    handled_frees = handled_frees + 1;
  } else {
    unit::allocated(24);
    handled_allocations = handled_allocations + 1;
  }
}

void handle_signals() {
  struct sigaction action = {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  sigaction(SIGALRM, &action, nullptr);
}

struct Tally {
  int64_t live = 0;
  uint64_t allocations = 0, frees = 0, signals = 0;
};

// Counts about the limit for so long, with the handler coming in.
Tally count_for(const StartedLedger &ledger, int64_t nanoseconds, uint64_t seed) {
  std::mt19937_64 random(seed);
  Tally tally;
  for (const int64_t end = monotonic_ns() + nanoseconds; monotonic_ns() < end;) {
    for (int i = 0; i < 20; ++i) {
      auto bytes = static_cast<int64_t>(random() % 2000);
      if (ledger.level() == MEMBUDGET_CRITICAL ? random() % 8 : !(random() % 8)) {
        unit::freed(static_cast<size_t>(bytes)), tally.live -= bytes, ++tally.frees;
      } else {
        unit::allocated(static_cast<size_t>(bytes)), tally.live += bytes, ++tally.allocations;
      }
    }
  }
  // The thread's own signals are blocked before its tallies are read.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  const int64_t allocated = handled_allocations, freed = handled_frees;
  tally.live += 24 * (allocated - freed);
  tally.allocations += static_cast<uint64_t>(allocated);
  tally.frees += static_cast<uint64_t>(freed);
  tally.signals = static_cast<uint64_t>(allocated + freed);
  return tally;
}

void expect_tally(const StartedLedger &ledger, const Tally &tally) {
  EXPECT_GT(tally.signals, 50u);
  if (!unit::kAddIsOneInstruction) return;  // then a handler may undo what it came in the middle of
  uint64_t allocations, frees;
  process_counts(ledger.process, &allocations, &frees);
  EXPECT_EQ(ledger.live(), tally.live);
  EXPECT_EQ(allocations, tally.allocations);
  EXPECT_EQ(frees, tally.frees);
}

TEST(LedgerSignals, OfATimerInOneThread) {
  unit::in_child([] {
    StartedLedger ledger(unit::default_marks(kLimit));
    handle_signals();
    const itimerval often = {{0, 50}, {0, 50}};
    setitimer(ITIMER_REAL, &often, nullptr);
    const Tally tally = count_for(ledger, 700'000'000, 1);
    expect_tally(ledger, tally);
  });
}

TEST(LedgerSignals, BetweenThreads) {
  unit::in_child([] {
    StartedLedger ledger(unit::default_marks(kLimit));
    handle_signals();
    constexpr size_t kThreads = 3;
    Tally tallies[kThreads];
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] {
        tallies[i] = count_for(ledger, 700'000'000, i);
        usleep(400'000);  // for who still sends
      });
    for (const int64_t end = monotonic_ns() + 900'000'000; monotonic_ns() < end; usleep(100))
      for (std::thread &thread : threads) pthread_kill(thread.native_handle(), SIGUSR1);
    for (std::thread &thread : threads) thread.join();
    Tally all;
    for (const Tally &tally : tallies) {
      all.live += tally.live;
      all.allocations += tally.allocations;
      all.frees += tally.frees;
      all.signals += tally.signals;
    }
    expect_tally(ledger, all);
  });
}

}  // namespace
}  // namespace membudget
