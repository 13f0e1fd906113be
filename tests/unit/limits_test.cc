// Limits as they are set, and changed under a running program.
#include <gtest/gtest.h>

#include <random>

#include "control/block/budget.h"
#include "tests/unit/test_block.h"

namespace membudget {
namespace {

using unit::TestBlock;

constexpr membudget_amount bytes(int64_t value) { return {value, MEMBUDGET_UNIT_BYTES, 1}; }
constexpr membudget_amount percent(int64_t value) { return {value * 10'000, MEMBUDGET_UNIT_MILLIONTHS, 1}; }
constexpr Limits kDefaults = {{}, percent(90), percent(97), percent(2), {}};

class LimitsOf : public ::testing::Test {
 protected:
  void SetUp() override {
    process_ = block_.join();
    shard_ = budget_adopt(*block_, process_, 1);
  }
  void set(Limits limits, int64_t whole = 0) { budget_set_limits(*block_, limits, whole); }
  void set_limit(int64_t limit) { set({bytes(limit), {}, {}, {}, {}}); }
  void live(int64_t to) {
    int64_t change = to - shard_net(*shard_);
    unit::count(*shard_, change > 0 ? change : 0, change < 0 ? -change : 0);
  }

  TestBlock block_;
  Header *h_ = block_.header();
  Process *process_ = nullptr;
  Shard *shard_ = nullptr;
};

TEST_F(LimitsOf, PercentagesFollowTheLimit) {
  set(kDefaults);
  EXPECT_EQ(h_->limit_bytes, 0);
  set_limit(1000);
  EXPECT_EQ(h_->limit_bytes, 1000);
  EXPECT_EQ(h_->low_bytes, 900);
  EXPECT_EQ(h_->medium_bytes, 970);
  EXPECT_EQ(h_->release_bytes, 20);
  EXPECT_EQ(h_->hard_limit_bytes, 0);
  set_limit(2000);
  EXPECT_EQ(h_->low_bytes, 1800) << "and again, when only the limit changes";
  EXPECT_EQ(h_->medium_bytes, 1940);
  EXPECT_EQ(h_->release_bytes, 40);
  set({{}, bytes(100), {}, {}, bytes(5000)});
  EXPECT_EQ(h_->limit_bytes, 2000);
  EXPECT_EQ(h_->low_bytes, 100);
  EXPECT_EQ(h_->medium_bytes, 1940);
  EXPECT_EQ(h_->hard_limit_bytes, 5000);
}

TEST_F(LimitsOf, ALimitMayBeAShare) {
  set(kDefaults);
  set({percent(50), {}, {}, {}, percent(75)}, 10'000);
  EXPECT_EQ(h_->limit_bytes, 5000);
  EXPECT_EQ(h_->low_bytes, 4500);
  EXPECT_EQ(h_->hard_limit_bytes, 7500);
}

TEST_F(LimitsOf, MarksAreNotAboveTheLimit) {
  set(kDefaults);
  set({bytes(1000), bytes(5000), percent(10), bytes(9999), {}});
  EXPECT_EQ(h_->low_bytes, 1000) << "not above the limit";
  EXPECT_EQ(h_->medium_bytes, 100);
  EXPECT_EQ(h_->release_bytes, 1000);
}

// The level is the highest whose mark is reached.
TEST_F(LimitsOf, MediumMayBeBelowLow) {
  set(kDefaults);
  set({bytes(1000), {}, percent(50), bytes(20), {}});
  EXPECT_EQ(h_->low_bytes, 900);
  EXPECT_EQ(h_->medium_bytes, 500);
  auto expect_level = [&](int64_t counted, uint32_t level) {
    live(counted);
    budget_attend(*block_, process_, shard_);
    EXPECT_EQ(block_.level(), level) << counted;
    unit::expect_allowances_fit(*block_);
  };
  expect_level(499, MEMBUDGET_NONE);
  expect_level(500, MEMBUDGET_MEDIUM);
  expect_level(950, MEMBUDGET_MEDIUM);
  expect_level(1000, MEMBUDGET_CRITICAL);
  expect_level(979, MEMBUDGET_MEDIUM);
  expect_level(480, MEMBUDGET_MEDIUM);
  expect_level(479, MEMBUDGET_NONE);
}

TEST_F(LimitsOf, ChangeMovesTheLevelAtOnce) {
  set(kDefaults);
  live(1000);
  set_limit(10'000);
  EXPECT_EQ(block_.level(), MEMBUDGET_NONE);
  set_limit(1001);
  EXPECT_EQ(block_.level(), MEMBUDGET_MEDIUM);
  set_limit(1000);
  EXPECT_EQ(block_.level(), MEMBUDGET_CRITICAL);
  EXPECT_EQ(h_->crossings, 1u);
  set_limit(500);
  EXPECT_EQ(block_.level(), MEMBUDGET_CRITICAL);
  EXPECT_EQ(h_->crossings, 1u);
  set_limit(1100);
  EXPECT_EQ(block_.level(), MEMBUDGET_LOW);
  set_limit(100'000);
  EXPECT_EQ(block_.level(), MEMBUDGET_NONE);
  set_limit(10);
  EXPECT_EQ(block_.level(), MEMBUDGET_CRITICAL);
  set_limit(0);
  EXPECT_EQ(block_.level(), MEMBUDGET_NONE) << "no limit, no level";
  EXPECT_EQ(h_->crossings, 2u);
}

// A limit that moves through the live bytes, and live bytes that move through the limit.
TEST_F(LimitsOf, RandomChangesFollowTheReference) {
  std::mt19937_64 random(11);
  unit::ReferenceLevel reference;
  for (int i = 0; i < 4000; ++i) {
    int64_t now = shard_net(*shard_);
    if (random() % 2) {
      int64_t limit = random() % 10 == 0 ? 0 : now + static_cast<int64_t>(random() % 200) - 100;
      if (limit < 0) limit = 0;
      reference.marks = {limit, limit * 9 / 10, limit * 97 / 100, limit / 50};
      block_.set_limits(reference.marks);
    } else {
      now += static_cast<int64_t>(random() % 201) - (now > 100 ? 100 : 0);
      live(now);
      budget_attend(*block_, process_, shard_);
    }
    reference.update(now);
    ASSERT_EQ(block_.level(), reference.level) << "step " << i << ": " << now << " of " << reference.marks.limit;
    ASSERT_EQ(h_->crossings, reference.crossings);
    unit::expect_allowances_fit(*block_);
  }
}

}  // namespace
}  // namespace membudget
