// The ledger's own code under every order of a few threads' steps, and under many random ones: no crossing
// unseen at any point, and exact at the end.
#include <gtest/gtest.h>

#include "tests/unit/build.h"
#include "tests/unit/child.h"
#include "tests/unit/interleave.h"
#include "tests/unit/scripts.h"

namespace membudget {
namespace {

using unit::Kind;
using unit::Script;
using unit::Stage;
using enum unit::Kind;

constexpr int64_t kLimit = 1'000'000;

// Every schedule with so many preemptions.
void try_all(const Script &script, int preemptions, int least_runs) {
  unit::in_child([&] {
    Stage stage;
    unit::AllSchedules schedules(preemptions - (unit::kSlowdown > 1));
    int runs = 0;
    do {
      stage.play(script, schedules);
      ++runs;
    } while (!::testing::Test::HasFailure() && schedules.next());
    EXPECT_GE(runs, least_runs / unit::kSlowdown / unit::kSlowdown)
        << "or else there are no yield points in this build";
    ::testing::Test::RecordProperty("runs", runs);
  });
}

// b's block is on its way while a withdraws and hands out again.
TEST(Interleaving, TwoThatCrossTogether) {
  try_all({.limit = kLimit,
           .threads = {{{allocate, 300'000}, {allocate, 170'000}}, {{allocate, 500'000}, {allocate, 170'000}}}},
          4, 200);
}

// a notes a peak, which re-arms without the lock, while b takes nearly all there is.
TEST(Interleaving, AllowanceWithdrawnWhileRearming) {
  try_all({.limit = kLimit, .threads = {{{allocate, 70'000}, {allocate, 60'000}}, {{allocate, 890'000}}}}, 4, 200);
}

TEST(Interleaving, SmallBlocksNextToTheMark) {
  try_all({.limit = kLimit,
           .base = kLimit - 10,
           .threads = {{{allocate, 4}, {release, 3}, {allocate, 4}}, {{allocate, 6}, {allocate, 5}}}},
          3, 200);
}

TEST(Interleaving, FreesOnTheWayDown) {
  try_all({.limit = kLimit,
           .base = kLimit + 300'000,
           .threads = {{{release, 150'000}, {release, 90'000}}, {{release, 70'000}, {release, 60'000}}}},
          4, 200);
}

TEST(Interleaving, FreesAndAllocations) {
  try_all({.limit = kLimit,
           .base = kLimit - 100'000,
           .threads = {{{release, 200'000}, {allocate, 150'000}}, {{allocate, 90'000}, {allocate, 90'000}}}},
          4, 200);
}

TEST(Interleaving, ThreadsThatStart) {
  try_all({.limit = kLimit,
           .base = kLimit - 100'000,
           .is_warm = false,
           .threads = {{{allocate, 60'000}}, {{allocate, 30'000}, {allocate, 30'000}}}},
          4, 200);
}

TEST(Interleaving, ThreadsThatEnd) {
  try_all({.limit = kLimit,
           .base = kLimit - 100'000,
           .threads = {{{allocate, 60'000}, {end}, {allocate, 10'000}}, {{allocate, 15'000}, {allocate, 20'000}}}},
          3, 200);
}

TEST(Interleaving, MappedBytes) {
  try_all({.limit = kLimit,
           .base = kLimit - 100'000,
           .threads = {{{map, 40'960}, {map, -4096}}, {{allocate, 50'000}, {allocate, 30'000}}}},
          4, 200);
}

TEST(Interleaving, LimitsThatChange) {
  try_all({.limit = kLimit,
           .base = kLimit / 2,
           .threads = {{{set_limit, kLimit / 5 * 3}, {set_limit, kLimit}}, {{allocate, 70'000}, {allocate, 70'000}}}},
          4, 200);
}

// a's last block stays below its next sample, and crosses the mark at 97 % with what b took while a went on to that.
TEST(Interleaving, SamplesWhileAllowancesAreWithdrawn) {
  try_all({.limit = kLimit,
           .sampled_every_bytes = 25'000,
           .threads = {{{allocate, 66'000}, {allocate, 26'000}, {allocate, 25'000}}, {{allocate, 853'000}}}},
          3, 200);
}

TEST(Interleaving, SamplesNextToTheMark) {
  try_all(
      {.limit = kLimit,
       .base = kLimit - 100,
       .sampled_every_bytes = 5,
       .threads = {{{allocate, 20}, {allocate, 20}, {release, 30}, {allocate, 20}}, {{allocate, 60}, {release, 9}}}},
      3, 200);
}

// A request is answered by the next call that begins after it was made.
TEST(Interleaving, RequestsAreNotLost) {
  try_all({.limit = kLimit, .base = kLimit / 2, .threads = {{{request, 0}}, {{evaluate, 0}}, {{allocate, 10}}}}, 3,
          200);
}

TEST(Interleaving, ThreeThreads) {
  try_all({.limit = kLimit,
           .base = kLimit - 90'000,
           .threads = {{{allocate, 40'000}}, {{allocate, 40'000}}, {{release, 30'000}, {allocate, 40'000}}}},
          3, 200);
}

TEST(Interleaving, RandomScriptsOnRandomSchedules) {
  const int scripts = unit::scaled(40'000) + 50;
  for (uint64_t part = 0; part < 2; ++part) {
    unit::in_child([&] {
      Stage stage;
      for (uint64_t seed = part; seed < static_cast<uint64_t>(scripts); seed += 2) {
        unit::RandomSchedule schedule(seed);
        stage.play(unit::random_script(seed), schedule);
        ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed;
      }
    });
  }
}

}  // namespace
}  // namespace membudget
