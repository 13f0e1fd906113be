// Many threads: exact whenever they rest, and no crossing unseen while they run.
#include <gtest/gtest.h>

#include "tests/unit/build.h"
#include "tests/unit/child.h"
#include "tests/unit/traffic.h"

namespace membudget {
namespace {

using unit::Traffic;

class LedgerThreadsOf : public ::testing::TestWithParam<int> {
 protected:
  static int calls(int all) { return unit::scaled(all) / GetParam() + 50; }
};

TEST_P(LedgerThreadsOf, FreeEachOthersBlocks) {
  unit::in_child([] {
    const int threads = GetParam();
    unit::run_traffic({.threads = threads,
                       .limit = threads * 20'000 + 50'000,
                       .calls = calls(400'000),
                       .checks_every = 4 + threads / 4},
                      threads <= 16 ? 100 : 1);
  });
}

TEST_P(LedgerThreadsOf, TakeBlocksOfAllSizes) {
  unit::in_child([] {
    const int threads = GetParam();
    unit::run_traffic({.threads = threads,
                       .limit = threads * INT64_C(300'000) + (1 << 20),
                       .largest = 200'000,
                       .calls = calls(300'000),
                       .checks_every = 4 + threads / 4,
                       .maps = true},
                      threads <= 16 ? 100 : 1);
  });
}

TEST_P(LedgerThreadsOf, ComeAndGo) {
  unit::in_child([] {
    const int threads = GetParam();
    unit::run_traffic({.threads = threads,
                       .limit = threads * 10'000 + 50'000,
                       .calls = calls(80'000) / 10,
                       .lives = 10,
                       .checks_every = 4 + threads / 4},
                      1);
  });
}

INSTANTIATE_TEST_SUITE_P(Threads, LedgerThreadsOf, ::testing::Values(1, 2, 3, 4, 8, 16, 64),
                         [](const auto &test) { return std::to_string(test.param); });

TEST(LedgerManyThreads, TwoHundredFiftySix) {
  unit::in_child([] {
    // A call adds 58 bytes on average while there is room: with fewer calls, under a sanitizer, the limit is nearer.
    const int calls = unit::scaled(600) + 20;
    unit::run_traffic(
        {.threads = 256, .limit = INT64_C(256) * 33 * calls, .calls = calls, .rests = 1, .checks_every = 100}, 1);
  });
}

}  // namespace
}  // namespace membudget
