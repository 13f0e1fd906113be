#include "preload/interval_table.h"

#include <gtest/gtest.h>

#include <bitset>
#include <memory>
#include <random>
#include <vector>

namespace membudget {
namespace {

constexpr size_t kPage = 4096, kPages = 3000;
constexpr uintptr_t kBase = 0x7f0000000000;

uintptr_t address_of(size_t page) { return kBase + page * kPage; }

// One bit for each page: what the table stands for.
class Reference {
 public:
  bool any(size_t from, size_t to) const { return overlap(from, to) != 0; }
  size_t overlap(size_t from, size_t to) const {
    size_t pages = 0;
    for (size_t i = from; i < to; ++i) pages += pages_[i];
    return pages * kPage;
  }
  size_t set(size_t from, size_t to, bool value) {
    size_t changed = 0;
    for (size_t i = from; i < to; ++i) {
      changed += pages_[i] != value;
      pages_[i] = value;
    }
    return changed * kPage;
  }

 private:
  std::bitset<kPages> pages_;
};

// Room as the caller makes it.
class Rooms {
 public:
  void make(IntervalTable *table) {
    if (table->has_room()) return;
    const size_t bytes = table->wanted_bytes();
    memory_.push_back(std::make_unique<char[]>(bytes));
    const void *const before = memory_.size() > 1 ? memory_[memory_.size() - 2].get() : nullptr;
    EXPECT_EQ(table->exchange({memory_.back().get(), bytes}).start, before);
    EXPECT_TRUE(table->has_room());
  }

 private:
  std::vector<std::unique_ptr<char[]>> memory_;
};

// What a range is about: some of it leaves, is put back, or is gone, while the rest stays.
void leave_at_random(std::mt19937 &random, IntervalTable *table, Reference *staying, size_t from, size_t to) {
  const size_t bytes = table->bytes(), counted = table->overlap(address_of(from), address_of(to));
  table->set_leaving(address_of(from), address_of(to), true);
  ASSERT_EQ(table->bytes(), bytes);
  ASSERT_EQ(table->overlap(address_of(from), address_of(to)), counted);
  switch (random() % 3) {
    case 0: table->set_leaving(address_of(from), address_of(to), false); break;
    case 1:  // all of it, by a call that is about more
      ASSERT_EQ(table->remove_leaving(0, UINTPTR_MAX), counted);
      staying->set(from, to, false);
      break;
    default:  // something has taken its place meanwhile
      ASSERT_EQ(table->remove(address_of(from), address_of(to)), counted);
      ASSERT_TRUE(table->add(address_of(from), address_of(to)));
      ASSERT_EQ(table->remove_leaving(address_of(from), address_of(to)), 0u);
      staying->set(from, to, true);
  }
}

void operate_at_random(std::mt19937 &random, size_t longest, int steps) {
  IntervalTable table;
  Reference reference;
  Rooms rooms;
  for (int i = 0; i < steps; ++i) {
    size_t from = random() % kPages, to = std::min<size_t>(kPages, from + 1 + random() % longest);
    uintptr_t start = address_of(from), end = address_of(to);
    rooms.make(&table);
    ASSERT_EQ(table.overlap(start, end), reference.overlap(from, to)) << "step " << i;
    if (random() % 3 == 0) {
      ASSERT_NO_FATAL_FAILURE(leave_at_random(random, &table, &reference, from, to)) << "step " << i;
    } else if (random() % 2 == 0 && !reference.any(from, to)) {
      ASSERT_TRUE(table.add(start, end));
      reference.set(from, to, true);
    } else {
      ASSERT_EQ(table.remove(start, end), reference.set(from, to, false)) << "step " << i;
    }
    ASSERT_EQ(table.overlap(start, end), reference.overlap(from, to)) << "step " << i;
    ASSERT_EQ(table.bytes(), reference.overlap(0, kPages)) << "step " << i;
  }
  ASSERT_EQ(table.overlap(0, UINTPTR_MAX), reference.overlap(0, kPages));
  ASSERT_EQ(table.remove(0, UINTPTR_MAX), reference.overlap(0, kPages));
  ASSERT_EQ(table.overlap(0, UINTPTR_MAX), 0u);
}

TEST(IntervalTable, AgreesWithABitPerPage) {
  for (unsigned seed = 0; seed < 12; ++seed) {
    std::mt19937 random(seed);
    operate_at_random(random, seed % 3 == 0 ? 2 : seed % 3 == 1 ? 30 : 600, 5000);
  }
}

TEST(IntervalTable, SplitsAndJoins) {
  IntervalTable table;
  ASSERT_TRUE(table.add(address_of(10), address_of(20)));
  EXPECT_EQ(table.remove(address_of(14), address_of(16)), 2 * kPage);
  EXPECT_EQ(table.overlap(address_of(10), address_of(14)), 4 * kPage);
  EXPECT_EQ(table.overlap(address_of(14), address_of(16)), 0u);
  EXPECT_EQ(table.overlap(address_of(16), address_of(20)), 4 * kPage);
  ASSERT_TRUE(table.add(address_of(14), address_of(16)));
  EXPECT_EQ(table.remove(address_of(5), address_of(25)), 10 * kPage);
  EXPECT_EQ(table.remove(address_of(5), address_of(25)), 0u);
}

// What was mapped in the place of what is being unmapped is told apart from it, and does not merge with it.
TEST(IntervalTable, WhatIsLeavingKeepsToItself) {
  IntervalTable table;
  ASSERT_TRUE(table.add(address_of(10), address_of(20)));
  table.set_leaving(address_of(12), address_of(16), true);
  EXPECT_EQ(table.remove(address_of(14), address_of(17)), 5 * kPage) << "what is unmapped goes as a whole";
  ASSERT_TRUE(table.add(address_of(14), address_of(17)));
  EXPECT_EQ(table.bytes(), 8 * kPage);
  EXPECT_EQ(table.remove_leaving(0, UINTPTR_MAX), 0u);
  table.set_leaving(address_of(14), address_of(20), true);
  ASSERT_TRUE(table.add(address_of(12), address_of(14)));
  EXPECT_EQ(table.remove_leaving(0, UINTPTR_MAX), 6 * kPage);
  EXPECT_EQ(table.overlap(address_of(10), address_of(14)), 4 * kPage);
}

// Many ranges that cannot be merged, each split once more: far past what it holds without memory of its own.
TEST(IntervalTable, Grows) {
  IntervalTable table;
  Rooms rooms;
  constexpr size_t kRanges = 20'000;
  for (size_t i = 0; i < kRanges; ++i) {
    rooms.make(&table);
    ASSERT_TRUE(table.add(address_of(4 * i), address_of(4 * i + 3)));
  }
  for (size_t i = 0; i < kRanges; ++i) {
    rooms.make(&table);
    ASSERT_EQ(table.remove(address_of(4 * i + 1), address_of(4 * i + 2)), kPage);
  }
  EXPECT_EQ(table.overlap(0, UINTPTR_MAX), 2 * kRanges * kPage);
  EXPECT_EQ(table.remove(address_of(1), address_of(4 * kRanges)), (2 * kRanges - 1) * kPage);
  EXPECT_EQ(table.overlap(0, UINTPTR_MAX), kPage);
}

TEST(IntervalTable, DoesNotExchangeForLess) {
  IntervalTable table;
  char memory[8];
  EXPECT_EQ(table.exchange({memory, sizeof memory}).start, memory);
}

// Neighbours merge, so that a heap that grows page by page stays one range and needs no memory; calls that fail, and
// leave all as it was, need none either.
TEST(IntervalTable, NeighboursTakeNoRoom) {
  IntervalTable table;
  for (size_t i = 0; i < 1000; ++i) ASSERT_TRUE(table.add(address_of(2000 + i), address_of(2001 + i)));
  for (size_t i = 0; i < 1000; ++i) ASSERT_TRUE(table.add(address_of(1999 - i), address_of(2000 - i)));
  for (size_t i = 0; i < 1000; ++i) {
    table.set_leaving(address_of(1001 + i), address_of(1002 + i), true);
    table.set_leaving(address_of(1001 + i), address_of(1002 + i), false);
    ASSERT_EQ(table.remove_leaving(address_of(1001 + i), address_of(1002 + i)), 0u);
  }
  EXPECT_TRUE(table.has_room());
  EXPECT_EQ(table.overlap(0, UINTPTR_MAX), 2000 * kPage);
}

// Without room: an addition fails and leaves all as it was; a split gives up the upper part and says so.
TEST(IntervalTable, StaysRightWithoutRoom) {
  IntervalTable table;
  size_t added = 0;
  while (table.add(address_of(20 * added), address_of(20 * added + 10))) ++added;
  ASSERT_GE(added, 8u);
  size_t before = added * 10 * kPage;
  EXPECT_EQ(table.overlap(0, UINTPTR_MAX), before);
  size_t removed = table.remove(address_of(22), address_of(24));
  EXPECT_EQ(removed, 8 * kPage) << "two pages, and the six above them";
  EXPECT_EQ(table.overlap(0, UINTPTR_MAX), before - removed);
  EXPECT_EQ(table.overlap(address_of(20), address_of(30)), 2 * kPage);
  table.set_leaving(address_of(42), address_of(44), true);
  EXPECT_EQ(table.bytes(), before - 2 * removed);
  EXPECT_EQ(table.overlap(0, UINTPTR_MAX), table.bytes());
}

}  // namespace
}  // namespace membudget
