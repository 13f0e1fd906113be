#include "preload/interval_table.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <bitset>
#include <random>

#include "tests/unit/seams.h"

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

void operate_at_random(std::mt19937 &random, size_t longest, int steps) {
  IntervalTable table;
  Reference reference;
  for (int i = 0; i < steps; ++i) {
    size_t from = random() % kPages, to = std::min<size_t>(kPages, from + 1 + random() % longest);
    uintptr_t start = address_of(from), end = address_of(to);
    ASSERT_EQ(table.overlap(start, end), reference.overlap(from, to)) << "step " << i;
    if (random() % 2 == 0 && !reference.any(from, to)) {
      ASSERT_TRUE(table.add(start, end));
      reference.set(from, to, true);
    } else {
      ASSERT_EQ(table.remove(start, end), reference.set(from, to, false)) << "step " << i;
    }
    ASSERT_EQ(table.overlap(start, end), reference.overlap(from, to)) << "step " << i;
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

// Many ranges that cannot be merged, each split once more: far past what it holds without memory of its own.
TEST(IntervalTable, Grows) {
  IntervalTable table;
  constexpr size_t kRanges = 20'000;
  for (size_t i = 0; i < kRanges; ++i) ASSERT_TRUE(table.add(address_of(4 * i), address_of(4 * i + 3)));
  for (size_t i = 0; i < kRanges; ++i) ASSERT_EQ(table.remove(address_of(4 * i + 1), address_of(4 * i + 2)), kPage);
  EXPECT_EQ(table.overlap(0, UINTPTR_MAX), 2 * kRanges * kPage);
  EXPECT_EQ(table.remove(address_of(1), address_of(4 * kRanges)), (2 * kRanges - 1) * kPage);
  EXPECT_EQ(table.overlap(0, UINTPTR_MAX), kPage);
}

// Neighbours merge, so that a heap that grows page by page stays one range and needs no memory.
TEST(IntervalTable, NeighboursTakeNoRoom) {
  unit::SeamsRestored restored;
  unit::syscall_hook = [](long number, const long(&)[6]) -> unit::SyscallAnswer {
    return {number == SYS_mmap, -ENOMEM};
  };
  IntervalTable table;
  for (size_t i = 0; i < 1000; ++i) ASSERT_TRUE(table.add(address_of(2000 + i), address_of(2001 + i)));
  for (size_t i = 0; i < 1000; ++i) ASSERT_TRUE(table.add(address_of(1999 - i), address_of(2000 - i)));
  EXPECT_EQ(table.overlap(0, UINTPTR_MAX), 2000 * kPage);
}

// Without memory: an addition fails and leaves all as it was; a split gives up the upper part and says so.
TEST(IntervalTable, StaysRightWithoutMemory) {
  unit::SeamsRestored restored;
  unit::syscall_hook = [](long number, const long(&)[6]) -> unit::SyscallAnswer {
    return {number == SYS_mmap, -ENOMEM};
  };
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
}

}  // namespace
}  // namespace membudget
