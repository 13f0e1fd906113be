// A child starts from what it inherited, counts in a slot of its own, and leaves its parent's counts alone.
#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/child.h"
#include "tests/unit/started_ledger.h"

namespace membudget {
namespace {

using unit::MarkBytes;
using unit::StartedLedger;

constexpr int64_t kLimit = 1 << 20;
constexpr MarkBytes kMarks = {kLimit, kLimit, kLimit, 1000};

// Forks with the ledger's hooks around it, as pthread_atfork has them called.
void fork_counted(const StartedLedger &ledger, const std::function<void(Process *)> &in_child) {
  ledger::before_fork();
  pid_t child = unit::start_child([&] {
    Process *p = process_claim(*ledger.block, getpid(), own_pid_namespace());
    ASSERT_NE(p, nullptr);
    ledger::after_fork_in_child(*ledger.block, p, true);
    in_child(p);
  });
  ledger::after_fork_in_parent();
  unit::expect_child_succeeds(child);
}

TEST(LedgerFork, InheritsExactly) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    unit::allocated(5000);
    unit::freed(1234);
    unit::mapped(8192);
    fork_counted(ledger, [&](Process *p) {
      EXPECT_EQ(p->state, MEMBUDGET_PROCESS_LIVE);
      EXPECT_EQ(process_live_bytes(p), 3766);
      EXPECT_EQ(p->inherited_live_bytes, 3766);
      EXPECT_EQ(p->inherited_mapped_bytes, 8192);
      EXPECT_EQ(group_totals(*ledger.block).counted(), 3766 + 8192) << "once";
      unit::allocated(100);
      EXPECT_EQ(process_live_bytes(p), 3866);
      EXPECT_EQ(group_totals(*ledger.block).live, 3866);
      unit::freed(3866);
      EXPECT_EQ(process_live_bytes(p), 0);
      EXPECT_EQ(group_totals(*ledger.block).live, 3766) << "not taken off its parent's share";
    });
    EXPECT_EQ(ledger.live(), 3766);
    unit::freed(3766);
    EXPECT_EQ(ledger.live(), 0);
    EXPECT_EQ(ledger.process, (*ledger.block).process(0));
  });
}

TEST(LedgerFork, AChildMayCrossTheGroupsLimit) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    unit::allocated(kLimit / 2);
    fork_counted(ledger, [&](Process *) {
      unit::allocated(kLimit / 2 - 1);
      EXPECT_EQ(ledger.level(), MEMBUDGET_NONE);
      unit::allocated(1);
      EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
      EXPECT_EQ(ledger.block.header()->crossings, 1u);
      unit::freed(1001);
      EXPECT_EQ(ledger.level(), MEMBUDGET_NONE);
    });
  });
}

TEST(LedgerFork, ChildrenOfChildren) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    unit::allocated(1000);
    fork_counted(ledger, [&](Process *) {
      unit::allocated(200);
      fork_counted(ledger, [&](Process *grandchild) {
        EXPECT_EQ(grandchild->inherited_live_bytes, 1200);
        unit::allocated(30);
        EXPECT_EQ(process_live_bytes(grandchild), 1230);
        EXPECT_EQ(group_totals(*ledger.block).live, 1230);
      });
    });
    EXPECT_EQ(ledger.live(), 1000);
  });
}

TEST(LedgerFork, IntoABlockOfItsOwnInheritsNothing) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    unit::allocated(3000);
    ledger::before_fork();
    pid_t child = unit::start_child([&] {
      unit::TestBlock own;
      own.set_limits({4000, 4000, 4000, 0});
      Process *p = process_claim(*own, getpid(), own_pid_namespace());
      ledger::after_fork_in_child(*own, p, false);
      EXPECT_EQ(p->inherited_live_bytes, 0);
      EXPECT_EQ(group_totals(*own).live, 3000);
      unit::allocated(1000);
      EXPECT_EQ(own.level(), MEMBUDGET_CRITICAL);
      EXPECT_EQ(ledger.level(), MEMBUDGET_NONE);
    });
    ledger::after_fork_in_parent();
    unit::expect_child_succeeds(child);
    EXPECT_EQ(ledger.live(), 3000);
  });
}

TEST(LedgerFork, ThatFailsChangesNothing) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    unit::allocated(500);
    for (int i = 0; i < 50; ++i) {
      ledger::before_fork();
      ledger::after_fork_in_parent();
      unit::allocated(10);
      ASSERT_EQ(ledger.live(), 500 + 10 * (i + 1));
    }
    unit::allocated(static_cast<size_t>(kLimit - 1001));
    EXPECT_EQ(ledger.level(), MEMBUDGET_NONE);
    unit::allocated(1);
    EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
  });
}

// What other threads do while one forks is seen all the same.
TEST(LedgerFork, HidesNoCrossingOfOtherThreads) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    unit::allocated(500);
    ledger::before_fork();
    std::thread([&] {
      unit::allocated(kLimit - 500);
      EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
      unit::freed(1001);
      EXPECT_EQ(ledger.level(), MEMBUDGET_NONE);
      unit::mapped(1001);
      EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
    }).join();
    ledger::after_fork_in_parent();
    EXPECT_EQ(ledger.live(), kLimit - 1001);
  });
}

// Forks before the thread has counted anything, and in a thread that is being torn down.
TEST(LedgerFork, FromThreadsWithoutAShard) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    fork_counted(ledger, [&](Process *p) {
      unit::allocated(10);
      EXPECT_EQ(process_live_bytes(p), 10);
    });
    unit::allocated(100);
    ledger::thread_ends();
    fork_counted(ledger, [&](Process *p) {
      unit::allocated(10);
      EXPECT_EQ(process_live_bytes(p), 110);
    });
    unit::allocated(1);
    EXPECT_EQ(ledger.live(), 101);
  });
}

}  // namespace
}  // namespace membudget
