// The level for every count: raised at the mark, to the byte, and down again only below the release mark.
#include <gtest/gtest.h>
#include <linux/futex.h>

#include <random>
#include <thread>

#include "control/block/budget.h"
#include "control/block/system.h"
#include "tests/unit/test_block.h"

namespace membudget {
namespace {

using unit::MarkBytes;
using unit::ReferenceLevel;
using unit::TestBlock;

// A block with one thread, whose count is set at will.
class Level : public ::testing::Test {
 protected:
  void SetUp() override {
    process_ = block_.join();
    shard_ = budget_adopt(*block_, process_, 1);
    ASSERT_EQ(shard_, &process_->shards[1]);
  }

  void set_marks(const MarkBytes &marks) {
    reference_.marks = marks;
    block_.set_limits(marks);
    reference_.update(counted_);
  }

  // Moves the count, partly as mapped bytes, and looks up as the owner would.
  void move_to(int64_t counted, int64_t mapped = 0) {
    int64_t change = counted - mapped - shard_net(*shard_);
    if (change > 0)
      unit::count(*shard_, change, 0);
    else
      unit::count(*shard_, 0, -change);
    process_->mapped_bytes = mapped;
    counted_ = counted;
    budget_attend(*block_, process_, shard_);
    reference_.update(counted);
  }

  void expect_as_reference() {
    const Header *h = block_.header();
    ASSERT_EQ(block_.level(), reference_.level) << "at " << counted_ << " of " << reference_.marks.limit;
    ASSERT_EQ(h->level_word >> 8, reference_.changes & 0xffffff);
    ASSERT_EQ(h->crossings, reference_.crossings);
    ASSERT_EQ(h->last_crossing_counted_bytes, reference_.last_crossing_bytes);
    unit::expect_allowances_fit(*block_);
  }

  TestBlock block_;
  Process *process_ = nullptr;
  Shard *shard_ = nullptr;
  ReferenceLevel reference_;
  int64_t counted_ = 0;
};

TEST_F(Level, IsExactAtEachMark) {
  set_marks({1000, 900, 970, 20});
  const struct {
    int64_t counted;
    uint32_t level;
  } kSteps[] = {{0, 0},     {899, 0},    {900, 50},  {969, 50},   {970, 100}, {999, 100}, {1000, 255}, {5000, 255},
                {980, 255}, {979, 100},  {950, 100}, {949, 50},   {880, 50},  {879, 0},   {899, 0},    {1000, 255},
                {960, 100}, {1000, 255}, {890, 50},  {1000, 255}, {0, 0},     {970, 100}, {900, 50}};
  for (auto [counted, level] : kSteps) {
    move_to(counted);
    EXPECT_EQ(block_.level(), level) << "at " << counted;
    expect_as_reference();
  }
  EXPECT_EQ(block_.header()->crossings, 4u);
}

// One byte at a time through all marks, up and down.
TEST_F(Level, IsExactAtEveryByte) {
  set_marks({300, 270, 291, 6});
  for (int64_t counted = 0; counted <= 310; ++counted) {
    move_to(counted);
    expect_as_reference();
  }
  for (int64_t counted = 310; counted >= 0; --counted) {
    move_to(counted);
    expect_as_reference();
  }
}

TEST_F(Level, RandomWalksFollowTheReference) {
  std::mt19937_64 random(7);
  for (int walk = 0; walk < 150; ++walk) {
    int64_t limit = walk % 3 == 0 ? 200 : walk % 3 == 1 ? 1 << 20 : INT64_C(1) << 40;
    auto below = [&](int64_t most) { return static_cast<int64_t>(random() % static_cast<uint64_t>(most + 1)); };
    MarkBytes marks = {limit, below(limit), 0, random() % 4 == 0 ? 0 : below(limit / (random() % 2 ? 1 : 20))};
    marks.medium = marks.low + below(limit - marks.low);
    if (random() % 4 == 0) marks.low = marks.medium = limit;
    set_marks(marks);
    expect_as_reference();
    for (int step = 0; step < 60; ++step) {
      const int64_t near[] = {marks.low, marks.medium, limit, marks.low - marks.release, limit - marks.release};
      int64_t to = random() % 3 == 0 ? below(limit + limit / 2) : near[random() % 5] + below(4) - 2;
      if (to < 0) to = 0;
      move_to(to, random() % 2 ? below(to) : 0);
      expect_as_reference();
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(Level, WithoutALimitStaysDown) {
  move_to(INT64_C(1) << 50);
  EXPECT_EQ(block_.level(), MEMBUDGET_NONE);
  set_marks({0, 0, 0, 0});
  move_to(INT64_C(1) << 51);
  EXPECT_EQ(block_.level(), MEMBUDGET_NONE);
  EXPECT_EQ(block_.header()->crossings, 0u);
}

TEST_F(Level, SurvivesNegativeCounts) {
  set_marks({1000, 900, 970, 20});
  unit::count(*shard_, 0, 5000);
  budget_evaluate(*block_);
  EXPECT_EQ(block_.level(), MEMBUDGET_NONE);
  unit::count(*shard_, 6000, 0);
  budget_evaluate(*block_);
  EXPECT_EQ(block_.level(), MEMBUDGET_CRITICAL);
}

TEST_F(Level, CrossingSaysWhenAndHowMuch) {
  set_marks({1000, 900, 970, 20});
  const uint64_t before = realtime_ns();
  move_to(1300, 250);
  const Header *h = block_.header();
  EXPECT_EQ(h->last_crossing_counted_bytes, 1300);
  EXPECT_EQ(h->last_crossing_live_bytes, 1050);
  EXPECT_GE(h->last_crossing_ns, before);
  EXPECT_LE(h->last_crossing_ns, realtime_ns());
  move_to(2000);
  EXPECT_EQ(h->last_crossing_counted_bytes, 1300) << "it was crossed before";
}

// Each change of level wakes who waits for the word; none is missed between two waits.
TEST_F(Level, WakesWhoWaits) {
  set_marks({1000, 900, 970, 20});
  const uint32_t *word = &block_.header()->level_word;
  const uint32_t seen = __atomic_load_n(word, __ATOMIC_ACQUIRE);
  int result = -1;
  std::thread waiter([&] {
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == seen) result = futex_wait(word, seen, INT64_C(5'000'000'000));
  });
  usleep(20'000);
  const int64_t start = monotonic_ns();
  move_to(1000);
  waiter.join();
  EXPECT_LT(monotonic_ns() - start, INT64_C(1'000'000'000));
  EXPECT_NE(result, -ETIMEDOUT);
  EXPECT_EQ(futex_wait(word, seen, INT64_C(5'000'000'000)), -EAGAIN) << "the word says that something happened";
}

TEST_F(Level, PeaksAreKept) {
  set_marks({1'000'000, 900'000, 970'000, 20'000});
  move_to(990'000, 90'000);
  move_to(100);
  const Header *h = block_.header();
  EXPECT_EQ(h->peak_counted_bytes, 990'000);
  EXPECT_EQ(h->peak_live_bytes, 900'000);
  EXPECT_EQ(process_->peak_counted_bytes, 990'000);
  EXPECT_EQ(process_->peak_live_bytes, 900'000);
}

}  // namespace
}  // namespace membudget
