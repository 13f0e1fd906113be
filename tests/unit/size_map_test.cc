// SizeMap: the pages of sampled blocks are marked, whoever notes and marks at the same time.

#include "allocator/size_map.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <vector>

namespace membudget {
namespace {

using Map = SizeMap<13>;

const void *at(uintptr_t page, uintptr_t offset = 0) { return reinterpret_cast<const void *>((page << 13) + offset); }

class SizeMapTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(Map::reserve()); }

  // Each test has pages of its own.
  static uintptr_t page() {
    static uintptr_t next = 1000;
    return ++next;
  }
};

TEST_F(SizeMapTest, FindsWhatWasNoted) {
  uintptr_t here = page();
  EXPECT_EQ(Map::find(at(here)), 0u);
  Map::note(at(here, 64), 96);
  EXPECT_EQ(Map::find(at(here, 4000)), 96u);
  EXPECT_TRUE(Map::has(at(here), 96));
  EXPECT_FALSE(Map::has(at(here), 80));
  EXPECT_EQ(Map::find_marked(at(here)), 0u);
}

TEST_F(SizeMapTest, HasNoSizesThatItsEntriesCannotHold) {
  uintptr_t here = page();
  Map::note(at(here), 96);
  Map::note(at(here), Map::kMostBytes + 1);
  EXPECT_EQ(Map::find(at(here)), 0u) << "too large";
  Map::note(at(here), 100);
  EXPECT_EQ(Map::find(at(here)), 0u) << "the low bits are for marks";
}

TEST_F(SizeMapTest, AMarkedPageIsFoundByTheSlowWayOnly) {
  for (size_t size : {size_t{8}, size_t{16}, size_t{1024}, Map::kMostBytes / 8 * 8}) {
    uintptr_t here = page();
    Map::note(at(here), size);
    Map::mark(at(here));
    EXPECT_EQ(Map::find(at(here)), 0u);
    EXPECT_FALSE(Map::has(at(here), static_cast<ptrdiff_t>(size)));
    EXPECT_FALSE(Map::has(at(here), Map::kNever));
    EXPECT_EQ(Map::find_marked(at(here, 800)), size);
    Map::unmark(at(here));
    EXPECT_EQ(Map::find(at(here)), size);
    EXPECT_EQ(Map::find_marked(at(here)), 0u);
  }
}

TEST_F(SizeMapTest, IsMarkedUntilTheLastIsGone) {
  uintptr_t here = page();
  Map::note(at(here), 48);
  for (int marks = 1; marks < Map::kMostMarks; ++marks) Map::mark(at(here));
  for (int marks = Map::kMostMarks - 1; marks > 0; --marks) {
    EXPECT_EQ(Map::find(at(here)), 0u);
    EXPECT_EQ(Map::find_marked(at(here)), 48u);
    Map::unmark(at(here));
  }
  EXPECT_EQ(Map::find(at(here)), 48u);
}

TEST_F(SizeMapTest, WithTooManyToCountItStaysMarkedUntilItChangesItsClass) {
  uintptr_t here = page();
  Map::note(at(here), 48);
  for (int marks = 0; marks < 3 * Map::kMostMarks; ++marks) Map::mark(at(here));
  for (int marks = 0; marks < 3 * Map::kMostMarks; ++marks) Map::unmark(at(here));
  Map::note(at(here), 48);
  EXPECT_EQ(Map::find(at(here)), 0u);
  EXPECT_EQ(Map::find_marked(at(here)), 48u);
  Map::note(at(here), 64);
  EXPECT_EQ(Map::find(at(here)), 64u);
}

TEST_F(SizeMapTest, WhatTakesTheSlowWayAnywayIsNotMarked) {
  uintptr_t mixed = page(), unknown = page();
  Map::note(at(mixed), 48);
  Map::mark(at(mixed));
  Map::note_aligned(at(mixed));
  for (uintptr_t here : {mixed, unknown}) {
    Map::mark(at(here));
    Map::unmark(at(here));
    Map::unmark(at(here));
    EXPECT_EQ(Map::find(at(here)), 0u);
    EXPECT_EQ(Map::find_marked(at(here)), 0u);
  }
  Map::note(at(mixed), 48);
  EXPECT_EQ(Map::find(at(mixed)), 0u) << "it is mixed for good";
}

// A thread that has a sampled block never finds its page unmarked, whatever others note, mark and unmark there.
TEST_F(SizeMapTest, NoMarkIsLost) {
  uintptr_t here = page();
  std::vector<std::thread> threads;
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([here] {
      for (int i = 0; i < 200'000; ++i) {
        Map::note(at(here), 32);
        Map::mark(at(here));
        Map::note(at(here), 32);
        ASSERT_EQ(Map::find(at(here)), 0u);
        ASSERT_EQ(Map::find_marked(at(here)), 32u);
        Map::unmark(at(here));
      }
    });
  }
  for (std::thread &thread : threads) thread.join();
  EXPECT_EQ(Map::find(at(here)), 32u);
}

}  // namespace
}  // namespace membudget
