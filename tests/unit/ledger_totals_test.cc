// Allocators that count by themselves: the ledger copies their totals.
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tests/unit/child.h"
#include "tests/unit/started_ledger.h"

namespace membudget {
namespace {

using unit::MarkBytes;
using unit::ReferenceLevel;
using unit::StartedLedger;

constexpr int64_t kLimit = 1 << 20;
constexpr MarkBytes kMarks = {kLimit, kLimit / 10 * 9, kLimit / 100 * 97, kLimit / 50};

// Such an allocator's counters of a thread.
thread_local uint64_t own_allocated, own_freed;

void allocate(int64_t bytes) {
  own_allocated += static_cast<uint64_t>(bytes);
  unit::allocated_total(own_allocated);
}

void release(int64_t bytes) {
  own_freed += static_cast<uint64_t>(bytes);
  unit::freed_total(own_freed);
}

void count_by_itself() {
  ledger::count_by({[] { return own_allocated; }, [] { return own_freed; }});
}

TEST(LedgerTotals, WalkFollowsTheReference) {
  unit::in_child([] {
    count_by_itself();
    allocate(300);  // before the start
    release(100);
    StartedLedger ledger(kMarks);
    ReferenceLevel reference{kMarks};
    std::mt19937_64 random(3);
    int64_t live = 200;
    for (int i = 0; i < 200'000; ++i) {
      auto bytes = static_cast<int64_t>(random() % (random() % 20 == 0 ? 90'000 : 400));
      if (live < kLimit && random() % 100 < 60)
        allocate(bytes), live += bytes;
      else
        release(std::min(bytes, live)), live -= std::min(bytes, live);
      reference.update(live);
      ASSERT_EQ(ledger.level(), reference.level) << "step " << i << " at " << live;
    }
    EXPECT_EQ(ledger.live(), live);
    EXPECT_EQ(ledger.block.header()->crossings, reference.crossings);
    EXPECT_GT(reference.crossings, 5u);
  });
}

// Threads that take over shards, are torn down, and count on in the shared one.
TEST(LedgerTotals, ThreadsComeAndGo) {
  unit::in_child([] {
    count_by_itself();
    StartedLedger ledger(kMarks);
    allocate(10);
    for (int i = 1; i <= 100; ++i) {
      std::thread([] {
        allocate(100);
        release(30);
        ledger::thread_ends();
        allocate(7);
        release(50);
        release(3);
      }).join();
      ASSERT_EQ(ledger.live(), 10 + 24 * i);
    }
    uint64_t allocations, frees;
    process_counts(ledger.process, &allocations, &frees);
    EXPECT_EQ(allocations, 201u);
    EXPECT_EQ(frees, 300u);
  });
}

TEST(LedgerTotals, ThoseTornDownMayCross) {
  unit::in_child([] {
    count_by_itself();
    StartedLedger ledger(kMarks);
    std::thread([&] {
      allocate(100);
      ledger::thread_ends();
      allocate(kLimit - 101);
      EXPECT_EQ(ledger.level(), MEMBUDGET_MEDIUM);
      allocate(1);
      EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
      release(kLimit);
      EXPECT_EQ(ledger.level(), MEMBUDGET_NONE);
    }).join();
    EXPECT_EQ(ledger.live(), 0);
  });
}

TEST(LedgerTotals, AForkCarriesThemOn) {
  unit::in_child([] {
    count_by_itself();
    StartedLedger ledger(kMarks);
    allocate(5000);
    release(1000);
    ledger::before_fork();
    unit::expect_child_succeeds(unit::start_child([&] {
      Process *p = process_claim(*ledger.block, getpid(), own_pid_namespace());
      ledger::after_fork_in_child(*ledger.block, p, true);
      EXPECT_EQ(process_live_bytes(p), 4000);
      allocate(70);
      release(4000);
      EXPECT_EQ(process_live_bytes(p), 70);
    }));
    ledger::after_fork_in_parent();
    allocate(1);
    EXPECT_EQ(ledger.live(), 4001);
  });
}

}  // namespace
}  // namespace membudget
