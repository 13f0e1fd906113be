// The footprint with a kernel of our own making: what is charged is what the test says.
#include "control/block/footprint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "tests/unit/calls.h"
#include "tests/unit/child.h"
#include "tests/unit/footprint_world.h"

namespace membudget {
namespace {

using namespace unit::footprint;

// A large block, which nobody has touched when the thread ends.
void hand_out_in_another_thread(int64_t bytes) {
  std::thread([=] {
    unit::allocated(1000);
    ASSERT_TRUE(ledger::admits(bytes));
    unit::allocated(static_cast<size_t>(bytes));
  }).join();
}

TEST(Footprint, OverheadCountsAgainstTheLimit) {
  unit::in_child([] {
    world.needed_overhead = 20 * kMiB;
    Budgeted budget(percent(95));
    grow_until(budget, MEMBUDGET_CRITICAL, kWhole);
    int64_t footprint = budget.live() + world.needed_overhead;
    EXPECT_EQ(budget.level(), MEMBUDGET_CRITICAL);
    EXPECT_GE(footprint, kWhole / 100 * 95);
    EXPECT_LE(footprint, kWhole / 100 * 95 + 2000);
    shrink(3 * kMiB);
    EXPECT_LT(budget.level(), MEMBUDGET_CRITICAL);
  });
}

TEST(Footprint, OverheadThatGrowsIsSeenOnTheWay) {
  unit::in_child([] {
    Budgeted budget(percent(95));
    while (budget.level() != MEMBUDGET_CRITICAL && budget.live() < kWhole) {
      unit::allocated(1000);
      world.needed_overhead = budget.live() / 4;
    }
    int64_t footprint = budget.live() + world.needed_overhead;
    EXPECT_GE(footprint, kWhole / 100 * 95);
    EXPECT_LE(footprint, kWhole / 100 * 95 + 100'000);  // a quarter of what may be added between two measurements
  });
}

TEST(Footprint, KeptMemoryIsGivenBackBeforeALevelRises) {
  unit::in_child([] {
    world.kept = 40 * kMiB;
    Budgeted budget(percent(95));
    grow_until(budget, MEMBUDGET_LOW, 80 * kMiB);
    EXPECT_EQ(budget.level(), MEMBUDGET_NONE);
    EXPECT_EQ(world.trims, 1);
    EXPECT_EQ(budget.header()->trims, 1u);
    grow_until(budget, MEMBUDGET_CRITICAL, 20 * kMiB);
    EXPECT_EQ(budget.level(), MEMBUDGET_CRITICAL);
  });
}

TEST(Footprint, AFlushThatTheAllocatorKeepsClearsTheLevelNevertheless) {
  unit::in_child([] {
    Budgeted budget(percent(95));
    int64_t grown = grow_until(budget, MEMBUDGET_CRITICAL, kWhole);
    for (int64_t i = 0; i < grown / 1000; ++i) {
      world.kept += 1000;
      unit::freed(1000);
    }
    EXPECT_LT(budget.level(), MEMBUDGET_CRITICAL);
    EXPECT_GE(world.trims, 1);
    EXPECT_LE(world.trims, 20);
  });
}

// calloc writes to a block before it is counted: it must not be taken for what it adds, and for overhead, too.
TEST(Footprint, ALargeBlockMayBeTouchedWhenItIsCounted) {
  unit::in_child([] {
    Budgeted budget(percent(90), percent(97));
    unit::allocated(5 * kMiB);
    ASSERT_TRUE(unit::request(60 * kMiB));
    EXPECT_EQ(budget.header()->overhead_bytes, 0);
    EXPECT_EQ(budget.level(), MEMBUDGET_NONE);
  });
}

TEST(Footprint, TrimmingFromOutsideBringsTheLevelInLine) {
  unit::in_child([] {
    Budgeted budget(percent(95));
    footprint_meter({read_world, nullptr, nullptr});
    int64_t grown = grow_until(budget, MEMBUDGET_CRITICAL, kWhole);
    world.kept = grown;
    shrink(grown);
    ASSERT_EQ(budget.level(), MEMBUDGET_CRITICAL);
    world.kept = 0;
    budget_trimmed(*budget.block, budget.process);
    EXPECT_EQ(budget.level(), MEMBUDGET_NONE);
  });
}

TEST(Footprint, TheAllocatorIsToldOfAFlush) {
  unit::in_child([] {
    Budgeted budget(percent(95));
    budget_flush_begins(*budget.block, budget.process);
    EXPECT_TRUE(world.is_flushing);
    budget_flush_ends(*budget.block, budget.process);
    EXPECT_FALSE(world.is_flushing);
  });
}

TEST(Footprint, TheAllocatorIsToldWhatItsOwnProcessCounts) {
  unit::in_child([] {
    Budgeted budget(percent(95));
    Member other(budget);
    unit::allocated(10 * kMiB);
    other.grow(30 * kMiB);
    budget_flush_begins(*budget.block, budget.process);
    EXPECT_EQ(world.followed, budget.live()) << "how others grow says nothing about what becomes free here";
    budget_flush_ends(*budget.block, budget.process);
  });
}

// What was freed is kept, which nobody has seen since the level fell: a large block must not be added to it.
TEST(Footprint, ALargeBlockAfterAFlushFindsWhatIsKept) {
  unit::in_child([] {
    Budgeted budget(percent(90), percent(97));
    int64_t grown = grow_until(budget, MEMBUDGET_CRITICAL, kWhole);
    for (int64_t i = 0; i < grown / 1000; ++i) {
      world.kept += 1000;
      unit::freed(1000);
    }
    world.most_touched = budget.live();
    ASSERT_TRUE(unit::request(60 * kMiB));
    EXPECT_LE(world.kept + budget.live(), kWhole / 100 * 97);
  });
}

// What others in the cgroup take cannot be trimmed away: the level stays up, and nobody tries for ever.
TEST(Footprint, OthersMemoryKeepsTheLevelUp) {
  unit::in_child([] {
    Budgeted budget(percent(95));
    world.charged_to_others = 60 * kMiB;
    int64_t grown = grow_until(budget, MEMBUDGET_CRITICAL, kWhole);
    EXPECT_LE(grown, 36 * kMiB);
    int trims = world.trims;
    for (int i = 0; i < 100'000; ++i) unit::allocated(1000), unit::freed(1000);
    EXPECT_EQ(budget.level(), MEMBUDGET_CRITICAL);
    EXPECT_LE(world.trims, trims + 2);
  });
}

TEST(Footprint, PercentagesFollowTheWhole) {
  unit::in_child([] {
    Budgeted budget(percent(50), percent(80));
    EXPECT_EQ(budget.header()->limit_bytes, kWhole / 2);
    world.whole = 2 * kWhole;
    grow_until(budget, MEMBUDGET_LOW, kMiB * 60);
    EXPECT_EQ(budget.header()->limit_bytes, kWhole);
    EXPECT_EQ(budget.header()->hard_limit_bytes, kWhole / 100 * 160);
    EXPECT_EQ(budget.level(), MEMBUDGET_NONE);
    world.whole = kWhole;
    grow_until(budget, MEMBUDGET_CRITICAL, kMiB * 30);
    EXPECT_EQ(budget.level(), MEMBUDGET_CRITICAL);
  });
}

TEST(Footprint, AFixedLimitWithTheCountedMeasureIsLeftAlone) {
  unit::in_child([] {
    Budgeted budget(bytes(50 * kMiB));
    budget.header()->measure = MEMBUDGET_MEASURE_COUNTED;
    budget_evaluate(*budget.block);
    world.readings = 0;
    world.needed_overhead = 40 * kMiB;
    grow_until(budget, MEMBUDGET_CRITICAL, kWhole);
    EXPECT_EQ(budget.live() / 1000, 50 * kMiB / 1000 + 1);
    EXPECT_EQ(world.readings, 0);
  });
}

// A large block is charged when it is touched, and it cannot have been yet.
TEST(Footprint, AFreshBlockDoesNotHideOverhead) {
  unit::in_child([] {
    world.needed_overhead = 10 * kMiB;
    Budgeted budget(percent(95));
    unit::allocated(1000);
    world.most_touched = budget.live();
    unit::allocated(30 * kMiB);
    EXPECT_NEAR(static_cast<double>(budget.header()->overhead_bytes), static_cast<double>(world.needed_overhead), 2000);
  });
}

TEST(Footprint, OfOneProcessWithoutACgroup) {
  unit::in_child([] {
    world.is_of_cgroup = false;
    world.needed_overhead = 5 * kMiB;
    Budgeted budget(percent(95));
    grow_until(budget, MEMBUDGET_CRITICAL, kWhole);
    EXPECT_EQ(budget.process->overhead_bytes, 5 * kMiB);
    EXPECT_EQ(budget.header()->overhead_bytes, 5 * kMiB);
  });
}

TEST(Footprint, OfAForkedChildWithoutACgroupIsWhatItCopied) {
  unit::in_child([] {
    world.is_of_cgroup = false;
    Budgeted budget(percent(95));
    unit::allocated(60 * kMiB);
    budget.process->inherited_live_bytes = budget.live();  // as if all of it had been there at the fork
    world.private_bytes = 30 * kMiB;
    unit::allocated(10 * kMiB);
    footprint_measure(*budget.block, budget.process, 10 * kMiB, 0);
    EXPECT_EQ(budget.header()->overhead_bytes, 20 * kMiB);
    world.private_bytes = 4 * kMiB;  // not all of what it allocated is touched yet
    footprint_measure(*budget.block, budget.process, 10 * kMiB, 0);
    EXPECT_EQ(budget.header()->overhead_bytes, 0);
    unit::freed(65 * kMiB);  // of its parent's: not taken off what is its own
    world.private_bytes = 6 * kMiB;
    footprint_measure(*budget.block, budget.process, 0, 0);
    EXPECT_EQ(budget.header()->overhead_bytes, 6 * kMiB);
  });
}

// A trim that found much in pieces is no reason to leave alone what is kept later.
TEST(Footprint, KeptMemoryIsGivenBackAgainOnceLessWasNeeded) {
  unit::in_child([] {
    world.needed_overhead = 60 * kMiB;
    Budgeted budget(percent(95), percent(99));
    unit::allocated(1000);
    EXPECT_FALSE(ledger::admits(50 * kMiB));
    ASSERT_EQ(world.trims, 1);
    world.needed_overhead = 10 * kMiB;
    EXPECT_TRUE(ledger::admits(20 * kMiB));
    world.kept = 40 * kMiB;
    EXPECT_TRUE(ledger::admits(70 * kMiB));
    EXPECT_EQ(world.trims, 2);
  });
}

TEST(Footprint, KeptMemoryIsGivenBackForTheHardLimit) {
  unit::in_child([] {
    world.kept = 60 * kMiB;
    Budgeted budget(percent(95), percent(99));
    unit::allocated(1000);
    EXPECT_TRUE(ledger::admits(50 * kMiB));
    EXPECT_EQ(world.trims, 1);
    EXPECT_FALSE(ledger::admits(100 * kMiB));
  });
}

// A thread that measures while another has not yet touched the large block that it got.
TEST(Footprint, WhatAnotherThreadHasNotTouchedYetHidesNoOverhead) {
  unit::in_child([] {
    Budgeted budget(percent(100), percent(99));
    world.needed_overhead = 30 * kMiB;
    unit::allocated(10 * kMiB);
    ASSERT_EQ(budget.header()->overhead_bytes, 30 * kMiB);
    world.most_touched = 10 * kMiB + 1000;
    hand_out_in_another_thread(40 * kMiB);
    EXPECT_FALSE(ledger::admits(40 * kMiB)) << "of 100 MiB, 50 are handed out and 30 are overhead";
    EXPECT_EQ(budget.header()->overhead_bytes, 30 * kMiB);
    world.needed_overhead = 35 * kMiB;
    EXPECT_FALSE(ledger::admits(20 * kMiB));
    world.most_touched = INT64_MAX;
    EXPECT_FALSE(ledger::admits(20 * kMiB));
    EXPECT_EQ(budget.header()->overhead_bytes, 35 * kMiB);
  });
}

// What others free meanwhile stays with their allocators: when the block is touched, there is less room by it.
TEST(Footprint, WhatIsFreedBesideAFreshBlockIsTakenForKept) {
  unit::in_child([] {
    Budgeted budget(percent(100), percent(99));
    grow_until(budget, MEMBUDGET_LOW, 50 * kMiB);
    world.most_touched = 50 * kMiB;
    hand_out_in_another_thread(40 * kMiB);
    world.most_touched = 30 * kMiB;
    world.charged_to_others = 20 * kMiB;  // no trim of this process gives it back
    unit::freed(20 * kMiB);
    footprint_measure(*budget.block, budget.process, budget.live(), 0);
    EXPECT_EQ(budget.header()->overhead_bytes, 0);
    EXPECT_NEAR(static_cast<double>(budget.header()->doubtful_bytes), 20.0 * kMiB, 3000);
    EXPECT_FALSE(ledger::admits(10 * kMiB)) << "70 of 99 are counted, and 20 are kept";
    EXPECT_TRUE(ledger::admits(20'000)) << "what is in doubt is no reason to refuse small requests";
    unit::freed(1000);
    world.charged_to_others = 5 * kMiB;
    footprint_measure(*budget.block, budget.process, budget.live(), 0);
    EXPECT_NEAR(static_cast<double>(budget.header()->doubtful_bytes), 5.0 * kMiB, 4000) << "the kernel has got it back";
    EXPECT_TRUE(ledger::admits(10 * kMiB));
  });
}

TEST(Footprint, WhatIsFreedBesideAFreshBlockIsGivenBackBeforeItIsMissed) {
  unit::in_child([] {
    Budgeted budget(percent(100), percent(99));
    Member other(budget);
    grow_until(budget, MEMBUDGET_LOW, 50 * kMiB);
    world.most_touched = 50 * kMiB;
    hand_out_in_another_thread(40 * kMiB);
    world.most_touched = 30 * kMiB;
    world.kept = 20 * kMiB;
    unit::freed(20 * kMiB);
    footprint_measure(*budget.block, budget.process, budget.live(), 0);
    other.grow(8 * kMiB);
    budget_attend(*budget.block, budget.process, nullptr);
    EXPECT_EQ(world.trims, 0) << "78 of 100, and 20 in doubt";
    other.grow(7 * kMiB);
    footprint_measure(*budget.block, budget.process, budget.live() + 15 * kMiB, 0);
    EXPECT_NEAR(static_cast<double>(budget.header()->doubtful_bytes), 20.0 * kMiB, 4000)
        << "what one has freed is not what another one grows by";
    budget_attend(*budget.block, budget.process, nullptr);
    EXPECT_EQ(world.trims, 1);
    EXPECT_EQ(budget.header()->doubtful_bytes, 0);
    EXPECT_NE(budget.level(), MEMBUDGET_CRITICAL);
  });
}

TEST(Footprint, WhatIsFreedAndTakenAgainBesideAFreshBlockAddsNothingUp) {
  unit::in_child([] {
    Budgeted budget(percent(100), percent(99));
    grow_until(budget, MEMBUDGET_LOW, 50 * kMiB);
    hand_out_in_another_thread(40 * kMiB);
    for (int i = 0; i < 100; ++i) {
      world.most_touched = 49 * kMiB;
      world.kept = kMiB;
      unit::freed(kMiB);
      footprint_measure(*budget.block, budget.process, budget.live(), 0);
      world.kept = 0;
      unit::allocated(kMiB / 2);
      unit::allocated(kMiB / 2);
      world.most_touched = 50 * kMiB;
      footprint_measure(*budget.block, budget.process, budget.live(), 0);
    }
    EXPECT_EQ(budget.header()->doubtful_bytes, 0);
  });
}

TEST(Footprint, ALargeBlockThatWasFreedIsNoReasonToKeepAnOldFigure) {
  unit::in_child([] {
    Budgeted budget(percent(100), percent(99));
    grow_until(budget, MEMBUDGET_LOW, 20 * kMiB);
    world.needed_overhead = 30 * kMiB;
    footprint_measure(*budget.block, budget.process, budget.live(), 0);
    // Another thread's, which has freed it and not looked up since.
    footprint_note_fresh(budget.process, 77, 40 * kMiB, 0);
    world.needed_overhead = 5 * kMiB;
    footprint_measure(*budget.block, budget.process, budget.live(), 0);
    EXPECT_EQ(budget.header()->overhead_bytes, 5 * kMiB);
  });
}

TEST(Footprint, WhatWasTouchedSinceIsMeasuredAgain) {
  unit::in_child([] {
    Budgeted budget(percent(100), percent(99));
    world.needed_overhead = 30 * kMiB;
    ASSERT_TRUE(ledger::admits(40 * kMiB));
    unit::allocated(40 * kMiB);
    world.needed_overhead = 10 * kMiB;
    footprint_measure(*budget.block, budget.process, budget.live(), 0);
    EXPECT_EQ(budget.header()->overhead_bytes, 30 * kMiB) << "the thread has not looked up since";
    budget_attend(*budget.block, budget.process, ledger::thread.shard);
    footprint_measure(*budget.block, budget.process, budget.live(), 0);
    EXPECT_EQ(budget.header()->overhead_bytes, 10 * kMiB);
  });
}

// What a free leaves with the allocator is no longer counted, and was not measured yet.
TEST(Footprint, LargeRequestsAreMeasuredFor) {
  unit::in_child([] {
    Budgeted budget(percent(100), percent(99));
    unit::allocated(60 * kMiB);
    int readings = world.readings;
    EXPECT_TRUE(ledger::admits(2 * kMiB));
    EXPECT_GT(world.readings, readings);
    world.charged_to_others = 30 * kMiB;
    EXPECT_FALSE(ledger::admits(20 * kMiB));
  });
}

}  // namespace
}  // namespace membudget
