#include "preload/arguments.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "tests/unit/build.h"

namespace membudget {
namespace {

constexpr size_t kLargest = SIZE_MAX / 2 + 1;

TEST(Arguments, PowersOfTwo) {
  EXPECT_FALSE(is_power_of_two(0));
  for (int shift = 0; shift < 64; ++shift) {
    size_t n = size_t{1} << shift;
    EXPECT_TRUE(is_power_of_two(n)) << n;
    EXPECT_EQ(is_power_of_two(n - 1), n == 2) << n;
    EXPECT_EQ(is_power_of_two(n + 1), n == 1) << n;
  }
}

TEST(Arguments, AlignmentsAreRoundedUp) {
  const struct {
    size_t asked, rounded;
  } kTable[] = {{0, 16},
                {1, 16},
                {8, 16},
                {15, 16},
                {16, 16},
                {17, 32},
                {24, 32},
                {32, 32},
                {33, 64},
                {48, 64},
                {4095, 4096},
                {4096, 4096},
                {4097, 8192},
                {(1 << 30) + 1, size_t{1} << 31},
                {kLargest - 1, kLargest},
                {kLargest, kLargest},
                {kLargest + 1, 0},
                {SIZE_MAX, 0}};
  for (auto [asked, rounded] : kTable) EXPECT_EQ(rounded_alignment(asked), rounded) << asked;
  for (size_t asked = 1; asked < 100'000; ++asked) {
    size_t rounded = rounded_alignment(asked);
    ASSERT_TRUE(is_power_of_two(rounded)) << asked;
    ASSERT_GE(rounded, asked);
    ASSERT_TRUE(rounded == 16 || rounded / 2 < asked) << asked;
  }
}

TEST(Arguments, PosixAlignmentIsAMultipleOfAPointer) {
  for (size_t bad : {0, 1, 2, 4, 3, 7, 12, 24, 48, 100}) EXPECT_FALSE(posix_alignment_is_valid(bad)) << bad;
  for (size_t good = 8; good != 0; good *= 2) EXPECT_TRUE(posix_alignment_is_valid(good)) << good;
}

// The C library is the judge.
TEST(Arguments, PosixAlignmentIsWhatTheLibraryTakes) {
  if (unit::kSlowdown > 1) GTEST_SKIP() << "a sanitizer's posix_memalign ends the program instead";
  for (size_t alignment = 0; alignment <= 300; ++alignment) {
    void *block = nullptr;
    bool taken = posix_memalign(&block, alignment, 8) != EINVAL;
    EXPECT_EQ(posix_alignment_is_valid(alignment), taken) << alignment;
    if (taken) free(block);
  }
}

TEST(Arguments, SizesPastAnObject) {
  const size_t most = PTRDIFF_MAX;
  EXPECT_FALSE(aligned_size_is_too_large(16, 0));
  EXPECT_FALSE(aligned_size_is_too_large(16, most - 16));
  EXPECT_TRUE(aligned_size_is_too_large(16, most - 15));
  EXPECT_TRUE(aligned_size_is_too_large(16, most));
  EXPECT_TRUE(aligned_size_is_too_large(16, most + 1));
  EXPECT_TRUE(aligned_size_is_too_large(16, SIZE_MAX));
  EXPECT_TRUE(aligned_size_is_too_large(kLargest, 0));
  EXPECT_FALSE(aligned_size_is_too_large(kLargest / 2, kLargest / 2 - 1));
  EXPECT_TRUE(aligned_size_is_too_large(kLargest / 2, kLargest / 2));
}

}  // namespace
}  // namespace membudget
