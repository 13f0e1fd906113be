// The footprint with a kernel of our own making: what is charged is what the test says.
#include "control/block/footprint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "control/block/marks.h"
#include "tests/unit/calls.h"
#include "tests/unit/child.h"
#include "tests/unit/started_ledger.h"

namespace membudget {
namespace {

constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kWhole = 100 * kMiB;

// An allocator and a kernel: what is counted is charged, and what the allocator keeps.
struct World {
  int64_t whole = kWhole;
  int64_t needed_overhead = 0, kept = 0;
  int64_t charged_to_others = 0;
  int trims = 0, readings = 0;
  bool is_flushing = false;  // as the allocator is told
  bool is_of_cgroup = true;
  int64_t most_touched = INT64_MAX;  // of what is counted
  int64_t private_bytes = -1;        // of a forked child
  const unit::StartedLedger *ledger = nullptr;
} world;

Reading read_world(bool is_forked) {
  ++world.readings;
  return {
      world.whole,
      std::min(world.ledger->live(), world.most_touched) + world.needed_overhead + world.kept + world.charged_to_others,
      world.is_of_cgroup, is_forked ? world.private_bytes : -1};
}
void trim_world() {
  ++world.trims;
  world.kept = 0;
}

void follow_world(const Header *, int64_t, bool is_flushing) { world.is_flushing = is_flushing; }

membudget_amount percent(int64_t value) { return {value * 10'000, MEMBUDGET_UNIT_MILLIONTHS, 1}; }
membudget_amount bytes(int64_t value) { return {value, MEMBUDGET_UNIT_BYTES, 1}; }

struct Budgeted : unit::StartedLedger {
  explicit Budgeted(membudget_amount limit, membudget_amount hard_limit = {}) : StartedLedger({}) {
    world.ledger = this;
    footprint_meter({read_world, trim_world, follow_world});
    block.header()->measure = MEMBUDGET_MEASURE_FOOTPRINT;
    budget_set_limits(*block, {limit, percent(90), percent(97), percent(2), hard_limit}, world.whole);
    budget_request_attention(*block, nullptr);
  }
  Header *header() { return block.header(); }
};

// By blocks of 1,000 bytes, until the level is `level` or so many bytes were added.
int64_t grow_until(Budgeted &budget, uint32_t level, int64_t most) {
  int64_t grown = 0;
  while (grown < most && budget.level() < level) unit::allocated(1000), grown += 1000;
  return grown;
}
void shrink(int64_t by) {
  for (int64_t i = 0; i < by / 1000; ++i) unit::freed(1000);
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

}  // namespace
}  // namespace membudget
