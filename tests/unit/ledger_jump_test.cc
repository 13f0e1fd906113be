// Signal handlers that jump out of the slow path (siglongjmp), wherever they come in: nothing stays locked, no thread
// stops looking, the level is right with the next call.
#include <errno.h>
#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>

#include <random>
#include <thread>

#include "tests/unit/child.h"
#include "tests/unit/seams.h"
#include "tests/unit/traffic.h"

namespace membudget {
namespace {

using unit::StartedLedger;

constexpr int64_t kLimit = 1 << 20;

sigjmp_buf out;
volatile sig_atomic_t may_jump;
uint64_t jumps, waits;

void jump(int) {
  if (!may_jump) return;
  may_jump = 0;
  ++jumps;
  siglongjmp(out, 1);
}

struct Disturbance {
  std::mt19937_64 random{1};
  bool allocates;
  int64_t more = 0;  // bytes that handlers allocated, to be counted
} disturbance;

// A handler that allocates itself before it jumps.
void allocate_and_jump() {
  if (!may_jump) return;
  if (disturbance.allocates) {
    may_jump = 0;
    const auto bytes = static_cast<int64_t>(disturbance.random() % 3000);
    disturbance.more += bytes;
    unit::allocated(static_cast<size_t>(bytes));
    may_jump = 1;
  }
  jump(0);
}

void on_signal(int) { allocate_and_jump(); }

// As an asynchronous signal: where signals are blocked, it comes in when they are no longer.
void raise_a_signal() {
  if (may_jump && disturbance.random() % 12 == 0) raise(SIGUSR1);
}

// As one that an instruction of the section's own raises.
void jump_at_once() {
  if (disturbance.random() % 40 == 0) jump(0);
}

unit::SyscallAnswer count_waits(long number, const long (&arguments)[6]) {
  constexpr long kWait = 0;
  if (number == SYS_futex && (arguments[1] & 127) == kWait) ++waits;
  return {};
}

// One call about the limit, of which a handler may jump out. True when none did.
bool call_disturbed(void (*disturb)(), int64_t bytes) {
  volatile bool is_whole = false;
  if (sigsetjmp(out, 1) == 0) {
    may_jump = 1;
    unit::yield_hook = disturb;
    if (bytes < 0)
      unit::freed(static_cast<size_t>(-bytes));
    else
      unit::allocated(static_cast<size_t>(bytes));
    is_whole = true;
  }
  unit::yield_hook = nullptr;
  may_jump = 0;
  return is_whole;
}

// What was jumped out of is counted, and what the level lags behind by is seen by the next call.
void walk(const StartedLedger &ledger, int steps, void (*disturb)()) {
  unit::ReferenceLevel reference{unit::default_marks(kLimit)};
  int64_t live = ledger.live();
  for (int i = 0; i < steps; ++i) {
    const auto bytes = static_cast<int64_t>(disturbance.random() % 40'000);
    const bool frees = live > kLimit + 50'000 || (live > kLimit - 100'000 && disturbance.random() % 2);
    disturbance.allocates = !frees && disturbance.random() % 2;
    disturbance.more = 0;
    const bool is_whole = call_disturbed(disturb, frees ? -bytes : bytes);
    live += (frees ? -bytes : bytes) + disturbance.more;
    if (!is_whole) unit::freed(0), unit::allocated(0);
    reference.update(live);
    ASSERT_EQ(ledger.live(), live) << "step " << i;
    ASSERT_EQ(ledger.level(), reference.level) << "step " << i << " at " << live;
    ASSERT_EQ(ledger.block.header()->lock, 0u) << "step " << i;
  }
  EXPECT_GT(reference.crossings, 5u);
}

void run(void (*disturb)(), int steps, uint64_t least_jumps) {
  unit::in_child([=] {
    const unit::SeamsRestored seams;
    StartedLedger ledger(unit::default_marks(kLimit));
    struct sigaction action = {};
    action.sa_handler = on_signal;
    sigaction(SIGUSR1, &action, nullptr);
    unit::allocated(1);
    unit::syscall_hook = count_waits;
    walk(ledger, steps, disturb);
    EXPECT_GT(jumps, least_jumps) << "or else there are no yield points in this build";
    EXPECT_EQ(waits, 0u);
  });
}

TEST(LedgerJumps, OutOfACallAnywhere) { run(raise_a_signal, 30'000, 5000); }

// The lock may be left held then, and an evaluation undone: the thread itself takes it again at once.
TEST(LedgerJumps, OutOfASectionAnywhere) { run(jump_at_once, 30'000, 1000); }

// Out of a thread's first calls: it gets one shard, and loses nothing of what it counted in another.
TEST(LedgerJumps, OutOfTheFirstCallOfAThread) {
  unit::in_child([] {
    StartedLedger ledger(unit::default_marks(kLimit));
    struct sigaction action = {};
    action.sa_handler = on_signal;
    sigaction(SIGUSR1, &action, nullptr);
    for (int i = 0; i < 300; ++i) {
      std::thread([&] {
        for (int tries = 0; tries < 20; ++tries)
          if (call_disturbed(raise_a_signal, 100) && ledger::thread.shard != &ledger::nobody) break;
        unit::allocated(0);
        ASSERT_EQ(ledger.level() == MEMBUDGET_CRITICAL, ledger.live() >= kLimit);
        if (ledger.live() >= kLimit) unit::freed(static_cast<size_t>(ledger.live()));
        ledger::thread_ends();
      }).join();
    }
    EXPECT_GT(jumps, 20u);
    EXPECT_LE(ledger.process->shard_high, 2u) << "threads left shards behind";
  });
}

}  // namespace
}  // namespace membudget
