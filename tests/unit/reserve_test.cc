// What is kept free for flushes: how it is learned, and whom it is for.
#include "control/block/reserve.h"

#include <gtest/gtest.h>

#include "tests/unit/calls.h"
#include "tests/unit/child.h"
#include "tests/unit/footprint_world.h"

namespace membudget {
namespace {

using namespace unit::footprint;

void flush(Budgeted &budget, int64_t bytes) {
  budget_flush_begins(*budget.block, budget.process);
  unit::allocated(bytes);
  unit::freed(bytes);
  budget_flush_ends(*budget.block, budget.process);
}

TEST(Reserve, IsCarefulFirstAndThenCloser) {
  unit::in_child([] {
    Budgeted budget(percent(100));
    const Block &block = *budget.block;
    budget_set_reserve(block, budget.process, -1);
    int64_t last = budget.header()->reserve_bytes;
    EXPECT_GE(last, kWhole / 100 * 15);
    for (int i = 0; i < 8; ++i) {
      int64_t grown = grow_until(budget, MEMBUDGET_CRITICAL, kWhole);
      budget_flush_begins(block, budget.process);
      for (int j = 0; j < 2000; ++j) unit::allocated(1000);
      shrink(2'000'000);
      budget_flush_ends(block, budget.process);
      shrink(grown);
      EXPECT_LE(budget.header()->reserve_bytes, last + 200'000) << "but for the steps of measuring";
      last = budget.header()->reserve_bytes;
      if (i == 1) { EXPECT_LE(last, 6'000'000) << "a first few flushes are enough"; }
      ASSERT_EQ(budget.level(), MEMBUDGET_NONE);
    }
    EXPECT_NEAR(static_cast<double>(last), 2e6 * (1.25 + 2.0 / 8) + kWhole / 100, 2e5);
  });
}

TEST(Reserve, CoversWhatGoesPastTheMarkBeforeAFlush) {
  unit::in_child([] {
    Budgeted budget(percent(100));
    budget_set_reserve(*budget.block, budget.process, -1);
    unit::allocated(80 * kMiB);
    unit::allocated(10 * kMiB);
    ASSERT_EQ(budget.level(), MEMBUDGET_CRITICAL);
    budget_flush_begins(*budget.block, budget.process);
    unit::freed(90 * kMiB);
    budget_flush_ends(*budget.block, budget.process);
    EXPECT_GE(budget.header()->reserve_bytes, 10 * kMiB);
  });
}

TEST(Reserve, CoversTheWorstFlush) {
  unit::in_child([] {
    Budgeted budget(percent(100));
    const Block &block = *budget.block;
    budget_set_reserve(block, budget.process, -1);
    budget_flush_begins(block, budget.process);
    unit::allocated(30 * kMiB);
    unit::freed(30 * kMiB);
    budget_flush_ends(block, budget.process);
    EXPECT_GE(budget.header()->reserve_bytes, 30 * kMiB);
    budget_set_reserve(block, budget.process, 7 * kMiB);
    EXPECT_EQ(budget.header()->reserve_bytes, 7 * kMiB);
    budget_flush_begins(block, budget.process);
    budget_flush_ends(block, budget.process);
    EXPECT_EQ(budget.header()->reserve_bytes, 7 * kMiB);
  });
}

TEST(Reserve, IsNotLearnedFromWhatIsFarFromTheMark) {
  unit::in_child([] {
    Budgeted budget(percent(100));
    budget_set_reserve(*budget.block, budget.process, -1);
    int64_t first = budget.header()->reserve_bytes;
    for (int i = 0; i < 10; ++i) flush(budget, 1000);
    EXPECT_EQ(budget.header()->reserve_bytes, first) << "a few items say nothing about a full batch";
    flush(budget, 80 * kMiB);
    EXPECT_NE(budget.header()->reserve_bytes, first);
  });
}

TEST(Reserve, ComesNearerWhenManyFlushesWereAlike) {
  unit::in_child([] {
    Budgeted budget(percent(100), percent(99));
    budget_set_reserve(*budget.block, budget.process, -1);
    unit::allocated(80 * kMiB);
    for (int i = 0; i < 8; ++i) flush(budget, 500'000);
    int64_t after_8 = budget.header()->reserve_bytes;
    for (int i = 0; i < 24; ++i) flush(budget, 500'000);
    EXPECT_LT(budget.header()->reserve_bytes, after_8 - kWhole / 400 + 1000);
    EXPECT_GT(budget.header()->reserve_bytes, kWhole / 100) << "what lies past the hard limit is out of reach";
  });
}

TEST(Reserve, OfAGroupIsNotLearnedFromWhatOthersFillBelowTheMark) {
  unit::in_child([] {
    Budgeted budget(percent(100));
    Member other(budget);
    budget_set_reserve(*budget.block, budget.process, -1);
    unit::allocated(50 * kMiB);
    budget_flush_begins(*budget.block, budget.process);
    unit::freed(40 * kMiB);
    other.grow(60 * kMiB);
    budget_flush_ends(*budget.block, budget.process);
    EXPECT_EQ(budget.header()->flush_worst_bytes, 0);
    EXPECT_EQ(budget.header()->flushes, 0u) << "it began far below the mark: nothing was learned";
    other.grow(12 * kMiB);
    budget_flush_begins(*budget.block, budget.process);
    other.grow(16 * kMiB);
    budget_flush_ends(*budget.block, budget.process);
    EXPECT_GT(budget.header()->flush_worst_bytes, kMiB) << "what went past the mark counts, whoever it was";
  });
}

TEST(Reserve, OfAGroupKeepsWhatItsAllocatorsTakeUnseen) {
  unit::in_child([] {
    Budgeted budget(percent(100), percent(99));
    Member other(budget);
    budget_set_reserve(*budget.block, budget.process, -1);
    for (int i = 0; i < 64; ++i) {
      grow_until(budget, MEMBUDGET_CRITICAL, 100 * kMiB);
      flush(budget, 1000);
    }
    EXPECT_EQ(budget.header()->flushes, 64u);
    EXPECT_GE(budget.header()->reserve_bytes, kWhole / 100 + kWhole / 400 * 2) << "what their allocators take unseen";
    EXPECT_LE(budget.header()->reserve_bytes, kWhole / 100 * 2);
  });
}

TEST(Reserve, OfAGroupIsForThoseWhoFlush) {
  unit::in_child([] {
    Budgeted budget(percent(100), percent(99));
    Member other(budget);
    budget_set_reserve(*budget.block, budget.process, -1);
    unit::allocated(60 * kMiB);
    EXPECT_TRUE(ledger::admits(20 * kMiB));
    EXPECT_FALSE(ledger::admits(30 * kMiB)) << "it would reach into the reserve of 16 %";
    budget_flush_begins(*budget.block, budget.process);
    EXPECT_TRUE(ledger::admits(30 * kMiB));
    budget_flush_ends(*budget.block, budget.process);
    EXPECT_FALSE(ledger::admits(30 * kMiB));
    unit::allocated(30 * kMiB);
    EXPECT_TRUE(ledger::admits(20'000)) << "small requests are not held back";
  });
}

TEST(Reserve, OfASingleProcessIsForAllOfIt) {
  unit::in_child([] {
    Budgeted budget(percent(100), percent(99));
    budget_set_reserve(*budget.block, budget.process, -1);
    unit::allocated(70 * kMiB);
    EXPECT_TRUE(ledger::admits(20 * kMiB));
  });
}

}  // namespace
}  // namespace membudget
