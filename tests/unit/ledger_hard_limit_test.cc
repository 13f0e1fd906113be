// Past the hard limit a request is refused: the larger ones at the limit, small ones a reserve further on.
#include <gtest/gtest.h>

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

bool fits(int64_t live, int64_t bytes) { return live + bytes <= kHard + (bytes <= kSmallRequest ? kEmergencyBytes : 0); }

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
    if (granted) live += bytes;
    else ++(bytes <= kSmallRequest ? refused_small : refused_large);
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
}  // namespace
}  // namespace membudget
