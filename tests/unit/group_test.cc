// What a group counts: the living, what they inherited once, and what threads left that are gone.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <random>
#include <vector>

#include "control/block/budget.h"
#include "tests/unit/child.h"
#include "tests/unit/test_block.h"

namespace membudget {
namespace {

using unit::count;
using unit::TestBlock;

class Group : public ::testing::Test {
 protected:
  int64_t live() const { return group_totals(*block_).live; }
  TestBlock block_;
  Process *a_ = block_.join(), *b_ = block_.join_stranger(700'001), *c_ = block_.join_stranger(700'002);
};

TEST_F(Group, SumsShardsOfAllProcesses) {
  a_->shard_high = 3;
  count(a_->shards[0], 100, 10);
  count(a_->shards[1], 5, 50);  // frees what others allocated
  count(a_->shards[2], 7, 0);
  count(b_->shards[0], 1000, 0);
  b_->mapped_bytes = 4096;
  EXPECT_EQ(process_live_bytes(a_), 52);
  Totals totals = group_totals(*block_);
  EXPECT_EQ(totals.live, 1052);
  EXPECT_EQ(totals.mapped, 4096);
  EXPECT_EQ(totals.counted(), 5148);
  EXPECT_EQ(totals.processes, 3u);
}

TEST_F(Group, CountsWhatWasInheritedOnce) {
  count(a_->shards[0], 1000, 0);
  a_->mapped_bytes = 500;
  b_->inherited_live_bytes = 1000;
  b_->inherited_mapped_bytes = 500;
  count(b_->shards[0], 1000, 0);
  b_->mapped_bytes = 500;
  EXPECT_EQ(live(), 1000);
  EXPECT_EQ(group_totals(*block_).mapped, 500);
  count(b_->shards[0], 30, 0);
  EXPECT_EQ(live(), 1030);
  count(b_->shards[0], 0, 900);  // of what it inherited: not taken off its parent's share
  b_->mapped_bytes = 0;
  EXPECT_EQ(live(), 1000);
  EXPECT_EQ(group_totals(*block_).mapped, 500);
  count(b_->shards[0], 900, 0);
  EXPECT_EQ(live(), 1030);
}

TEST_F(Group, CountsTheLiveStateOnly) {
  count(a_->shards[0], 1, 0);
  count(b_->shards[0], 10, 0);
  count(c_->shards[0], 100, 0);
  EXPECT_EQ(live(), 111);
  for (uint32_t state : {MEMBUDGET_PROCESS_STARTING, MEMBUDGET_PROCESS_LEAVING, MEMBUDGET_PROCESS_FREE}) {
    b_->state = state;
    EXPECT_EQ(live(), 101) << state;
  }
}

TEST_F(Group, ScribbledShardHighIsClamped) {
  a_->shard_high = UINT32_MAX;
  count(a_->shards[MEMBUDGET_SHARDS - 1], 9, 0);
  EXPECT_EQ(process_live_bytes(a_), 9);
}

// A level that only the bytes of the dead would raise is not raised.
TEST_F(Group, TheDeadAreTakenOffBeforeTheLevelRises) {
  block_.set_limits({1000, 900, 970, 20});
  pid_t child = unit::start_child([] {});
  waitpid(child, nullptr, 0);
  c_->pid = child;
  c_->pid_namespace = own_pid_namespace();
  count(c_->shards[0], 800, 0);
  count(a_->shards[0], 300, 0);
  budget_attend(*block_, a_, nullptr);
  EXPECT_EQ(block_.level(), MEMBUDGET_NONE);
  EXPECT_EQ(c_->state, MEMBUDGET_PROCESS_FREE);
  EXPECT_EQ(block_.header()->crossings, 0u);
  count(a_->shards[0], 700, 0);
  budget_attend(*block_, a_, nullptr);
  EXPECT_EQ(block_.level(), MEMBUDGET_CRITICAL);
}

TEST_F(Group, EvaluateTakesOffTheDead) {
  block_.set_limits({1000, 900, 970, 20});
  count(b_->shards[0], 2000, 0);
  budget_evaluate(*block_);
  EXPECT_EQ(block_.level(), MEMBUDGET_CRITICAL);
  pid_t child = unit::start_child([] {});
  waitpid(child, nullptr, 0);
  b_->pid = child;
  b_->pid_namespace = own_pid_namespace();
  budget_evaluate(*block_);
  EXPECT_EQ(block_.level(), MEMBUDGET_NONE);
}

TEST_F(Group, ShardsOfThreadsThatAreGoneStillCount) {
  block_.set_limits({10'000, 9000, 9700, 200});
  Shard *s = budget_adopt(*block_, a_, 11);
  count(*s, 500, 0);
  budget_abandon(*block_, a_, s);
  EXPECT_EQ(live(), 500);
  EXPECT_EQ(group_totals(*block_).shards, 0u);
  EXPECT_EQ(a_->shard_owner[1], 0u);
  Shard *again = budget_adopt(*block_, a_, 12);
  EXPECT_EQ(again, s) << "used again as it stands";
  EXPECT_EQ(live(), 500);
  EXPECT_EQ(a_->shard_owner[1], 12u);
  unit::expect_allowances_fit(*block_);
}

TEST_F(Group, AllShardsMayBeTaken) {
  for (uint32_t i = 1; i < MEMBUDGET_SHARDS; ++i) {
    Shard *s = budget_adopt(*block_, a_, i);
    ASSERT_EQ(s, &a_->shards[i]);
    EXPECT_EQ(shard_net(*s), 0);
  }
  EXPECT_EQ(budget_adopt(*block_, a_, 9999), nullptr);
  budget_abandon(*block_, a_, &a_->shards[77]);
  EXPECT_EQ(budget_adopt(*block_, a_, 9999), &a_->shards[77]);
}

// Threads come and go, count and look up, in three processes: the allowances fit after every step, whoever
// keeps to its allowance need not look up, and the level is the reference's whenever nobody is beyond his.
TEST_F(Group, RandomStepsKeepTheAllowances) {
  std::mt19937_64 random(5);
  unit::ReferenceLevel reference{{1 << 20, 900 << 10, 970 << 10, 20 << 10}};
  block_.set_limits(reference.marks);
  struct Owner {
    Process *process;
    Shard *shard;
  };
  std::vector<Owner> owners;
  Process *const processes[] = {a_, b_, c_};
  for (int step = 0; step < 6000; ++step) {
    uint64_t kind = random() % 100;
    if (kind < 3 && owners.size() < 40) {
      Process *p = processes[random() % 3];
      owners.push_back({p, budget_adopt(*block_, p, static_cast<uint32_t>(step) + 1)});
    } else if (kind < 5 && !owners.empty()) {
      size_t i = random() % owners.size();
      budget_abandon(*block_, owners[i].process, owners[i].shard);
      owners.erase(owners.begin() + static_cast<long>(i));
    } else if (!owners.empty()) {
      auto [process, s] = owners[random() % owners.size()];
      int64_t room = (1 << 20) + (20 << 10) - live(), bytes = static_cast<int64_t>(random() % 30'000);
      if (random() % 2 && bytes < room)
        count(*s, bytes, 0);
      else
        count(*s, 0, shard_net(*s) > 0 ? std::min(bytes, shard_net(*s)) : 0);
      bool met = s->allocated_bytes > s->allocated_trigger || s->freed_bytes > s->freed_trigger;
      if (met || shard_net(*s) > s->ceiling_bytes || shard_net(*s) < s->floor_bytes) {
        ASSERT_TRUE(met) << "beyond its allowance without meeting a trigger";
        budget_attend(*block_, process, s);
      }
    }
    reference.update(live());
    ASSERT_EQ(block_.level(), reference.level) << "step " << step << " at " << live();
    unit::expect_allowances_fit(*block_);
    if (HasFailure()) return;
  }
  EXPECT_GT(reference.changes, 20u);
}

}  // namespace
}  // namespace membudget
