// Past the hard limit a request is refused: the larger ones at the limit, small ones a reserve further on.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/unit/build.h"
#include "tests/unit/child.h"
#include "tests/unit/started_ledger.h"

namespace membudget {
namespace {

using unit::StartedLedger;

constexpr int64_t kHard = 8 << 20;

void set_hard_limit(const StartedLedger &ledger, int64_t limit) {
  auto bytes = [](int64_t value) { return membudget_amount{value, MEMBUDGET_UNIT_BYTES, 1}; };
  Limits limits = {{}, {}, {}, {}, bytes(kHard)};
  if (limit != 0) limits = {bytes(limit), bytes(limit), bytes(limit), bytes(1000), bytes(kHard)};
  budget_set_limits(*ledger.block, limits, 0);
}

bool fits(int64_t live, int64_t bytes) {
  return live + bytes <= kHard + (bytes <= kSmallRequest ? kEmergencyBytes : 0);
}

// Every request is refused or granted as the sum says, to the byte, however long the program stays up there.
void walk(uint64_t seed, int64_t limit, int steps) {
  StartedLedger ledger({});
  set_hard_limit(ledger, limit);
  std::mt19937_64 random(seed);
  int64_t live = 0;
  int refused_small = 0, refused_large = 0;
  for (int i = 0; i < steps; ++i) {
    const bool high = (i / 20'000) % 3 == 0;
    if (random() % 100 < (high ? 5u : 45u)) {
      int64_t bytes = std::min<int64_t>(live, static_cast<int64_t>(random() % 6000));
      unit::freed(static_cast<size_t>(bytes));
      live -= bytes;
      continue;
    }
    auto bytes = static_cast<int64_t>(random() % 3 ? random() % 4097 : random() % 100'000);
    if (random() % 10 == 0) bytes = std::max<int64_t>(0, kHard - live + static_cast<int64_t>(random() % 3) - 1);
    const bool granted = unit::request(static_cast<size_t>(bytes));
    ASSERT_EQ(granted, fits(live, bytes)) << "step " << i << ": " << bytes << " on top of " << live;
    if (granted)
      live += bytes;
    else
      ++(bytes <= kSmallRequest ? refused_small : refused_large);
    ASSERT_EQ(ledger.live(), live);
  }
  EXPECT_GT(refused_large, 100);
  EXPECT_GT(refused_small, 10);
}

TEST(LedgerHardLimit, RefusesToTheByte) {
  unit::in_child([] { walk(1, 0, 150'000); });
  unit::in_child([] { walk(2, kHard / 2, 150'000); });
  unit::in_child([] { walk(3, kHard, 150'000); });
}

TEST(LedgerHardLimit, IsForLargeRequestsAlsoWhileTheReserveIsUsed) {
  unit::in_child([] {
    StartedLedger ledger({});
    set_hard_limit(ledger, 0);
    ASSERT_TRUE(unit::request(kHard));
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(unit::request(4096));
    EXPECT_FALSE(unit::request(4097));
    EXPECT_FALSE(unit::request(500'000));
  });
}

TEST(LedgerHardLimit, TheReserveEnds) {
  unit::in_child([] {
    StartedLedger ledger({});
    set_hard_limit(ledger, 0);
    ASSERT_TRUE(unit::request(kHard));
    int granted = 0;
    for (int i = 0; i < 5000; ++i) granted += unit::request(1024);
    EXPECT_EQ(granted, kEmergencyBytes / 1024) << "and not one more, however often it is asked for";
  });
}

// With threads: what was granted and not freed never exceeds it.
void fill_together(uint64_t seed, unsigned threads, int64_t largest, int steps) {
  StartedLedger ledger({});
  set_hard_limit(ledger, 0);
  std::vector<std::thread> all;
  std::atomic<int64_t> held = 0;
  for (unsigned t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      std::mt19937_64 random(seed * 1000 + t);
      for (int i = 0; i < steps; ++i) {
        auto bytes = static_cast<int64_t>(random() % static_cast<uint64_t>(largest)) + 1;
        if (!unit::request(static_cast<size_t>(bytes))) continue;
        held += bytes;
        if (random() % 3 == 0) held -= bytes, unit::freed(static_cast<size_t>(bytes));
      }
    });
  }
  for (auto &thread : all) thread.join();
  EXPECT_EQ(ledger.live(), held);
  EXPECT_GE(held, kHard / 2) << "or nothing was tried";
  EXPECT_LE(held, kHard + kEmergencyBytes) << seed << ", " << threads << " threads";
}

TEST(LedgerHardLimit, HoldsForManyThreads) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    unit::in_child([=] { fill_together(seed, 2, 4096, 6000); });
    unit::in_child([=] { fill_together(seed, 8, 4096, 1500); });
    unit::in_child([=] { fill_together(seed, 16, 8192, 500); });
    unit::in_child([=] { fill_together(seed, 8, 100'000, 500); });
  }
}

// realloc: the growth is counted before there is any, and no block grows past the limit.
TEST(LedgerHardLimit, GrowingBlocksStayWithinIt) {
  unit::in_child([] {
    StartedLedger ledger({});
    set_hard_limit(ledger, 0);
    int64_t held = 0;
    int refused = 0;
    for (int i = 0; i < 5000; ++i) {
      if (!unit::request(24)) break;
      held += 24;
      for (int64_t size = 24; size < 4000; size *= 2) {
        if (!ledger::reserve(static_cast<size_t>(size), static_cast<size_t>(2 * size))) {
          ++refused;
          break;
        }
        if (ledger::resized(0)) ledger::settle_resized();
        held += size;
      }
      ASSERT_EQ(ledger.live(), held);
    }
    EXPECT_GT(refused, 10);
    EXPECT_LE(held, kHard + kEmergencyBytes);
  });
}

}  // namespace
}  // namespace membudget
