// A holder of the lock that is stopped for so long that others take the lock from it, and that goes on later, in
// the middle of its section: it must not hand out allowances from before, nor take what is another's by now.
//
// The thief comes in at each yield point of the holder's way, on the same thread, and without the second that it
// would wait for: what it finds and leaves is the same. One test has the second, and real processes.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <functional>

#include "control/block/budget.h"
#include "tests/unit/child.h"
#include "tests/unit/seams.h"
#include "tests/unit/test_block.h"

namespace membudget {
namespace {

using unit::count;
using unit::TestBlock;

constexpr int64_t kLimit = 1'000'000, kRelease = 20'000;

// The state that the hook, which is a plain function, works on.
struct Theft {
  const Block *block;
  std::function<void()> by_thief;
  int countdown;  // at which yield point
  bool done;
} theft;

void on_yield() {
  // Only where the lock is held can it be taken away; the thief's own way has yield points, too.
  if (theft.done || theft.block->header->lock == 0 || theft.countdown-- != 0) return;
  theft.done = true;
  theft.block->header->lock = 0;
  theft.by_thief();
}

class StoppedHolder : public ::testing::Test {
 protected:
  void SetUp() override {
    theft = {};
    theft.block = &*block_;
    process_ = block_.join();
    block_.set_limits({kLimit, kLimit, kLimit, kRelease});
    a_ = budget_adopt(*block_, process_, 1);
    b_ = budget_adopt(*block_, process_, 2);
  }

  // Does `by_holder`, at whose yield point number `point` the lock is taken from it for `by_thief`. False when it
  // has no such point.
  bool steal(int point, const std::function<void()> &by_holder, const std::function<void()> &by_thief) {
    theft.by_thief = by_thief;
    theft.countdown = point;
    theft.done = false;
    unit::yield_hook = on_yield;
    by_holder();
    unit::yield_hook = nullptr;
    return theft.done;
  }

  void start_again(int64_t live_bytes) {
    for (uint32_t i = 0; i < (*block_).process_high(); ++i) *(*block_).process(i) = {};
    block_.header()->level_word = 0;
    block_.header()->process_high = 0;
    SetUp();
    count(process_->shards[0], live_bytes, 0);
    budget_evaluate(*block_);
  }

  void look_up(Shard *s) { budget_attend(*block_, process_, s); }

  // As its owner counts: it looks up when it meets a trigger.
  void grow(Shard *s, int64_t bytes) {
    count(*s, bytes > 0 ? bytes : 0, bytes < 0 ? -bytes : 0);
    if (s->allocated_bytes > s->allocated_trigger || s->freed_bytes > s->freed_trigger) look_up(s);
  }

  void expect_good_state(int point) {
    SCOPED_TRACE(::testing::Message() << "stopped at yield point " << point);
    unit::expect_allowances_fit(*block_);
    EXPECT_EQ(block_.header()->allowance_sequence % 2, 0u) << "an evaluation that never ends";
    EXPECT_EQ(block_.header()->lock, 0u);
    const int64_t live = group_totals(*block_).live;
    const bool may_go_on = live < kLimit;
    if (live >= kLimit) { EXPECT_EQ(block_.level(), MEMBUDGET_CRITICAL) << live; }
    if (live < kLimit - kRelease) { EXPECT_EQ(block_.level(), MEMBUDGET_NONE) << live; }
    // Whoever has an allowance still may use it up, and is caught where it ends.
    for (Shard *s : {a_, b_})
      while (block_.level() == MEMBUDGET_NONE && group_totals(*block_).live < 2 * kLimit) grow(s, 5000);
    if (may_go_on) { EXPECT_LT(group_totals(*block_).live, kLimit + 5000) << "the limit was passed unseen"; }
  }

  TestBlock block_;
  unit::SeamsRestored restored_;
  Process *process_ = nullptr;
  Shard *a_ = nullptr, *b_ = nullptr;
};

// While a is stopped b takes nearly all the room that a is about to share out, or frees it, or crosses.
TEST_F(StoppedHolder, LeavesGoodAllowances) {
  int points = 0;
  for (int64_t before : {0, 600'000, 990'000, 1'100'000}) {
    for (int64_t change : {-500'000, -100'000, 3'000, 300'000, 450'000, 2'000'000}) {
      if (before + change < 0) continue;
      for (bool for_all : {false, true}) {
        for (int point = 0;; ++point, ++points) {
          start_again(before);
          count(*a_, 1, 0);
          if (!steal(
                  point, [&] { for_all ? budget_evaluate(*block_) : look_up(a_); }, [&] { grow(b_, change); }))
            break;
          SCOPED_TRACE(::testing::Message() << before << " bytes, then " << change << (for_all ? ", for all" : ""));
          expect_good_state(point);
          if (HasFailure()) return;
        }
      }
    }
  }
  EXPECT_GT(points, 100) << "or else there are no yield points in this build";
}

// Both a thread that was stopped while it adopted a shard and the one that came instead get one of their own.
TEST_F(StoppedHolder, SharesNoShard) {
  int points = 0;
  for (int point = 0;; ++point, ++points) {
    start_again(0);
    Shard *by_holder = nullptr, *by_thief = nullptr;
    if (!steal(
            point, [&] { by_holder = budget_adopt(*block_, process_, 3); },
            [&] { by_thief = budget_adopt(*block_, process_, 4); }))
      break;
    ASSERT_NE(by_holder, nullptr);
    ASSERT_NE(by_thief, nullptr);
    EXPECT_NE(by_holder, by_thief) << "at yield point " << point;
    EXPECT_EQ(process_->shard_owner[by_holder - process_->shards], 3u);
    EXPECT_EQ(process_->shard_owner[by_thief - process_->shards], 4u);
    EXPECT_GT(process_->shard_high, by_holder - process_->shards);
    EXPECT_GT(process_->shard_high, by_thief - process_->shards);
    expect_good_state(point);
  }
  EXPECT_GT(points, 2);
}

// The same for processes and their slots, fresh and used ones.
TEST_F(StoppedHolder, SharesNoSlot) {
  for (bool used : {false, true}) {
    start_again(0);
    if (used) block_.join_stranger(700'000)->state = MEMBUDGET_PROCESS_FREE;
    Process *by_holder = nullptr, *by_thief = nullptr;
    ASSERT_TRUE(steal(
        0, [&] { by_holder = block_.join_stranger(700'001); }, [&] { by_thief = block_.join_stranger(700'002); }));
    EXPECT_NE(by_holder, by_thief);
    EXPECT_EQ(by_holder->pid, 700'001);
    EXPECT_EQ(by_thief->pid, 700'002);
    EXPECT_GT((*block_).process_high(), static_cast<uint32_t>(by_holder - (*block_).process(0)));
  }
}

// With real processes: the holder stops in the middle of handing out, and is let go on when the other is done.
TEST_F(StoppedHolder, IsOvertakenByAnotherProcess) {
  const pid_t holder = unit::start_child([&] {
    count(*a_, 1, 0);
    steal(
        4, [&] { budget_evaluate(*block_); },
        [&] {
          block_.header()->lock = static_cast<uint32_t>(getpid());  // not taken yet, but by who sees it stopped
          raise(SIGSTOP);
        });
  });
  int status = 0;
  ASSERT_EQ(waitpid(holder, &status, WUNTRACED), holder);
  ASSERT_TRUE(WIFSTOPPED(status)) << "no such yield point";
  grow(b_, 700'000);
  kill(holder, SIGCONT);
  unit::expect_child_succeeds(holder);
  expect_good_state(4);
}

}  // namespace
}  // namespace membudget
