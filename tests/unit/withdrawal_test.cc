// Withdrawing allowances while their owners go on: what waits in a store buffer, and what comes in at any
// point of the way.
#include <gtest/gtest.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>

#include <vector>

#include "control/block/budget.h"
#include "tests/unit/seams.h"
#include "tests/unit/test_block.h"

namespace membudget {
namespace {

using unit::count;
using unit::TestBlock;

constexpr int64_t kLimit = 1'000'000;

// The state that the hooks, which are plain functions, work on.
struct Scene {
  const Block *block;
  Shard *shard;              // of the owner that goes on meanwhile
  int64_t allocated, freed;  // what it does
  int countdown;             // at which yield point
  bool met, done, all_poisoned;
  std::vector<long> barriers;
} scene;

bool is_poisoned(const Shard &s) { return s.allocated_trigger == kPoison && s.freed_trigger == kPoison; }

bool meets_trigger(const Shard &s) {
  return s.allocated_bytes > s.allocated_trigger || s.freed_bytes > s.freed_trigger;
}

unit::SyscallAnswer on_syscall(long number, const long (&arguments)[6]) {
  if (number != SYS_membarrier) return {};
  scene.barriers.push_back(arguments[0]);
  const Block &block = *scene.block;
  for (uint32_t i = 0; i < block.process_high(); ++i)
    for (uint32_t j = 1; j < block.process(i)->shard_high; ++j)
      scene.all_poisoned &= is_poisoned(block.process(i)->shards[j]);
  if (scene.shard && !scene.done) count(*scene.shard, scene.allocated, scene.freed);
  scene.done = true;
  return {};
}

void on_yield() {
  if (scene.countdown-- != 0) return;
  count(*scene.shard, scene.allocated, scene.freed);
  scene.met = meets_trigger(*scene.shard);
  scene.done = true;
}

class Withdrawal : public ::testing::Test {
 protected:
  void SetUp() override {
    scene = {};
    scene.block = &*block_;
    scene.all_poisoned = true;
    process_ = block_.join();
    block_.set_limits({kLimit, kLimit, kLimit, 20'000});
    a_ = budget_adopt(*block_, process_, 1);
    b_ = budget_adopt(*block_, process_, 2);
  }

  TestBlock block_;
  unit::SeamsRestored restored_;
  Process *process_ = nullptr;
  Shard *a_ = nullptr, *b_ = nullptr;
};

// b has added, compared and gone on, but its addition is still on its way to memory when a withdraws.
TEST_F(Withdrawal, WaitsForWhatIsInStoreBuffers) {
  const int64_t pending = b_->ceiling_bytes;
  ASSERT_GT(pending, 1000);
  scene.shard = b_;
  scene.allocated = pending;
  unit::syscall_hook = on_syscall;
  count(*a_, kLimit - pending, 0);
  ASSERT_TRUE(meets_trigger(*a_));
  budget_attend(*block_, process_, a_);
  EXPECT_EQ(scene.barriers.size(), 1u);
  EXPECT_EQ(group_totals(*block_).live, kLimit);
  EXPECT_EQ(block_.level(), MEMBUDGET_CRITICAL);
  unit::expect_allowances_fit(*block_);
}

// The same for a free, on the way down.
TEST_F(Withdrawal, WaitsForFreesInStoreBuffers) {
  count(*a_, kLimit, 0);
  budget_attend(*block_, process_, a_);
  ASSERT_EQ(block_.level(), MEMBUDGET_CRITICAL);
  const int64_t pending = -b_->floor_bytes;
  ASSERT_GT(pending, 1000);
  scene.shard = b_;
  scene.freed = pending;
  unit::syscall_hook = on_syscall;
  count(*a_, 0, 20'001 - pending);
  budget_attend(*block_, process_, a_);
  EXPECT_EQ(block_.level(), MEMBUDGET_NONE);
  unit::expect_allowances_fit(*block_);
}

TEST_F(Withdrawal, PoisonsAllTriggersFirst) {
  Process *stranger = block_.join_stranger(700'001);
  budget_adopt(*block_, stranger, 3);
  unit::syscall_hook = on_syscall;
  budget_evaluate(*block_);
  EXPECT_EQ(scene.barriers.size(), 1u);
  EXPECT_TRUE(scene.all_poisoned);
}

TEST_F(Withdrawal, ReachesTheWholeGroup) {
  unit::syscall_hook = on_syscall;
  budget_evaluate(*block_);
  ASSERT_EQ(scene.barriers, std::vector<long>{MEMBARRIER_CMD_PRIVATE_EXPEDITED});
  block_.join_stranger(700'001);
  budget_evaluate(*block_);
  ASSERT_EQ(scene.barriers.back(), MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}

// From outside of a process, as `membudget set` does, even though it is alone in its group.
TEST(WithdrawalFromOutside, ReachesTheProcess) {
  TestBlock block;
  unit::SeamsRestored restored;
  scene = {};
  scene.block = &*block;
  block.join_stranger(700'001);
  unit::syscall_hook = on_syscall;
  budget_evaluate(*block);
  ASSERT_EQ(scene.barriers, std::vector<long>{MEMBARRIER_CMD_GLOBAL_EXPEDITED});
}

// What b does at any point while a looks up: the allowances fit afterwards, and if b is beyond its own, then
// it knows, either from the comparison it made or from the one it will make.
class ComesBetween : public Withdrawal, public ::testing::WithParamInterface<bool> {
 protected:
  // a looks up for itself, or for all. False when it did so without reaching that point.
  bool step_in(int point, int64_t b_bytes, bool frees, bool for_all) {
    SetUpAgain(frees);
    scene.shard = b_;
    (frees ? scene.freed : scene.allocated) = b_bytes;
    scene.countdown = point;
    int64_t own = frees ? -a_->floor_bytes + 1 : a_->ceiling_bytes + 1;
    count(*a_, frees ? 0 : own, frees ? own : 0);
    unit::yield_hook = on_yield;
    if (for_all)
      budget_evaluate(*block_);
    else
      budget_attend(*block_, process_, a_);
    unit::yield_hook = nullptr;
    return scene.done;
  }

  void SetUpAgain(bool frees) {
    *process_ = {};
    block_.header()->level_word = 0;
    Withdrawal::SetUp();
    if (!frees) return;
    count(process_->shards[0], kLimit + 100'000, 0);
    budget_evaluate(*block_);
  }

  void expect_good_state(int point, int64_t b_bytes) {
    SCOPED_TRACE(::testing::Message() << b_bytes << " bytes at yield point " << point);
    unit::expect_allowances_fit(*block_);
    bool beyond = shard_net(*b_) > b_->ceiling_bytes || shard_net(*b_) < b_->floor_bytes;
    EXPECT_TRUE(!beyond || scene.met || meets_trigger(*b_)) << "beyond its allowance, and does not know";
    // b is in its slow path, if it met its trigger, and looks up as soon as the lock is free.
    if (scene.met || meets_trigger(*b_)) budget_attend(*block_, process_, b_);
    unit::expect_allowances_fit(*block_);
    const int64_t live = group_totals(*block_).live;
    EXPECT_TRUE(live < kLimit || block_.level() == MEMBUDGET_CRITICAL) << live;
    EXPECT_TRUE(live >= kLimit - 20'000 || block_.level() == MEMBUDGET_NONE) << live;
  }
};

TEST_P(ComesBetween, AtEveryPoint) {
  const bool frees = GetParam();
  int points = 0;
  for (int64_t b_bytes : {1, 1000, 60'000, 300'000, 800'000, 1'200'000}) {
    for (bool for_all : {false, true}) {
      for (int point = 0; step_in(point, b_bytes, frees, for_all); ++point) {
        expect_good_state(point, b_bytes);
        ++points;
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GT(points, 6 * 8) << "or else there are no yield points in this build";
}

INSTANTIATE_TEST_SUITE_P(Withdrawal, ComesBetween, ::testing::Bool(),
                         [](const auto &test) { return test.param ? "Frees" : "Allocations"; });

}  // namespace
}  // namespace membudget
