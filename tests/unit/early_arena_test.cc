#include "allocator/early_arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>
#include <vector>

#include "tests/unit/child.h"

namespace membudget {
namespace {

struct Piece {
  uintptr_t start, end;
};

// Takes pieces of random sizes and alignments, and checks each.
std::vector<Piece> take_pieces(uint64_t seed, int pieces) {
  std::mt19937_64 random(seed);
  std::vector<Piece> taken;
  for (int i = 0; i < pieces; ++i) {
    size_t bytes = random() % 2000, alignment = size_t{1} << random() % 13;
    void *block = EarlyArena::aligned(alignment, bytes);
    EXPECT_NE(block, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % std::max<size_t>(alignment, 16), 0u);
    EXPECT_TRUE(EarlyArena::owns(block));
    EXPECT_GE(EarlyArena::usable_size(block), std::max<size_t>(bytes, 1));
    EXPECT_LT(EarlyArena::usable_size(block), bytes + 17);
    auto *memory = static_cast<unsigned char *>(block);
    EXPECT_TRUE(std::all_of(memory, memory + bytes, [](unsigned char c) { return c == 0; }));
    memset(memory, 0xff, EarlyArena::usable_size(block));
    auto start = reinterpret_cast<uintptr_t>(block);
    taken.push_back({start, start + EarlyArena::usable_size(block)});
  }
  return taken;
}

void expect_disjoint(std::vector<Piece> pieces) {
  std::sort(pieces.begin(), pieces.end(), [](Piece a, Piece b) { return a.start < b.start; });
  for (size_t i = 1; i < pieces.size(); ++i) ASSERT_LE(pieces[i - 1].end, pieces[i].start);
}

TEST(EarlyArena, ThreadsGetPiecesOfTheirOwn) {
  unit::in_child([] {
    std::vector<std::vector<Piece>> taken(4);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < taken.size(); ++i) threads.emplace_back([&, i] { taken[i] = take_pieces(i, 500); });
    for (std::thread &thread : threads) thread.join();
    std::vector<Piece> all;
    for (auto &pieces : taken) all.insert(all.end(), pieces.begin(), pieces.end());
    expect_disjoint(all);
  });
}

TEST(EarlyArena, ResizeKeepsTheContents) {
  unit::in_child([] {
    auto *block = static_cast<unsigned char *>(EarlyArena::allocate(100));
    for (int i = 0; i < 100; ++i) block[i] = static_cast<unsigned char>(i);
    auto *grown = static_cast<unsigned char *>(EarlyArena::resize(block, 5000));
    for (int i = 0; i < 100; ++i) ASSERT_EQ(grown[i], i);
    auto *shrunk = static_cast<unsigned char *>(EarlyArena::resize(grown, 10));
    for (int i = 0; i < 10; ++i) ASSERT_EQ(shrunk[i], i);
  });
}

TEST(EarlyArena, EndsWithoutHarm) {
  unit::in_child([] {
    EXPECT_EQ(EarlyArena::allocate(EarlyArena::capacity_bytes + 1), nullptr);
    EXPECT_EQ(EarlyArena::allocate(SIZE_MAX), nullptr);
    EXPECT_EQ(EarlyArena::aligned(size_t{1} << 62, 1), nullptr);
    void *last = EarlyArena::allocate(16);
    while (void *block = EarlyArena::allocate(1 << 20)) last = block;
    EXPECT_EQ(EarlyArena::allocate(1 << 20), nullptr);
    EXPECT_EQ(EarlyArena::resize(last, 1 << 20), nullptr);
    EXPECT_TRUE(EarlyArena::owns(last));
  });
}

TEST(EarlyArena, OwnsNothingElse) {
  int on_stack = 0;
  std::vector<int> on_heap(10);
  EXPECT_FALSE(EarlyArena::owns(&on_stack));
  EXPECT_FALSE(EarlyArena::owns(on_heap.data()));
  EXPECT_FALSE(EarlyArena::owns(nullptr));
}

}  // namespace
}  // namespace membudget
