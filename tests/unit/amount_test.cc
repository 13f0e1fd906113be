#include "control/block/amount.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace membudget {
namespace {

constexpr int64_t kMost = INT64_C(1) << 62;

struct GoodAmount {
  const char *text;
  int64_t value;
  uint32_t unit = MEMBUDGET_UNIT_BYTES;
};

constexpr GoodAmount kGood[] = {
    {"0", 0},
    {"1", 1},
    {"00012", 12},
    {"1B", 1},
    {"7b", 7},
    {"1073741824", 1 << 30},
    {"1K", 1 << 10},
    {"1k", 1 << 10},
    {"1KB", 1 << 10},
    {"1KiB", 1 << 10},
    {"512M", 512 << 20},
    {"512MiB", 512 << 20},
    {"2g", INT64_C(2) << 30},
    {"1T", INT64_C(1) << 40},
    {"1.5G", INT64_C(3) << 29},
    {"0.5K", 512},
    {"1.000000K", 1024},
    {"1.25MiB", 1310720},
    {"0.000001M", 1},
    {"4611686018427387904", kMost},
    {"4503599627370496K", kMost},
    {"4294967296G", kMost},
    {"4194304T", kMost},
    {"0%", 0, MEMBUDGET_UNIT_MILLIONTHS},
    {"1%", 10'000, MEMBUDGET_UNIT_MILLIONTHS},
    {"95%", 950'000, MEMBUDGET_UNIT_MILLIONTHS},
    {"97.5%", 975'000, MEMBUDGET_UNIT_MILLIONTHS},
    {"0.01%", 100, MEMBUDGET_UNIT_MILLIONTHS},
    {"100%", 1'000'000, MEMBUDGET_UNIT_MILLIONTHS},
    {"100.0%", 1'000'000, MEMBUDGET_UNIT_MILLIONTHS},
};

constexpr const char *kBad[] = {
    "",
    " ",
    "K",
    "%",
    "B",
    ".",
    "-1",
    "+1",
    "1 ",
    " 1",
    "1 K",
    "1.",
    ".5",
    "1.5",
    "1.5B",
    "1.K",
    "1..5K",
    "1.5.5K",
    "1P",
    "1E",
    "1iB",
    "1Ki",
    "1KK",
    "1KBB",
    "1KiBx",
    "1%%",
    "1%K",
    "K1",
    "0x10",
    "1e9",
    "1,5G",
    "ten",
    "101%",
    "100.1%",
    "4611686018427387905",
    "4503599627370497K",
    "4194304.5T",
    "4194305T",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999",
    "4611686018427387904%",
    "4611686018427387904T",
    "461168601842738791%",
    "512M\n",
};

TEST(AmountParse, TakesWhatIsASize) {
  for (const GoodAmount &good : kGood) {
    membudget_amount amount = {-1, 99, 0};
    ASSERT_TRUE(amount_parse(good.text, &amount)) << good.text;
    EXPECT_EQ(amount.value, good.value) << good.text;
    EXPECT_EQ(amount.unit, good.unit) << good.text;
    EXPECT_EQ(amount.is_set, 1u) << good.text;
  }
}

TEST(AmountParse, RefusesTheRestAndLeavesTheResultAlone) {
  for (const char *bad : kBad) {
    membudget_amount amount = {-1, 99, 77};
    EXPECT_FALSE(amount_parse(bad, &amount)) << '"' << bad << '"';
    EXPECT_EQ(amount.value, -1) << '"' << bad << '"';
    EXPECT_EQ(amount.unit, 99u) << '"' << bad << '"';
    EXPECT_EQ(amount.is_set, 77u) << '"' << bad << '"';
  }
  EXPECT_FALSE(amount_parse(nullptr, nullptr));
}

TEST(AmountParse, TellsWhatIsTooLarge) {
  for (const char *text : {"4611686018427387905", "4194304.5T", "9223372036854775807T", "99999999999999999999999999",
                           "99999999999999999999999999.5GiB"})
    EXPECT_TRUE(amount_is_too_large(text)) << text;
  for (const char *text : {"512M", "-1", "", "99999999999999999999999999x", "99999999999999999999999999.5", "101%",
                           "99999999999999999999999999%", "4611686018427387904"})
    EXPECT_FALSE(amount_is_too_large(text)) << text;
}

// Every byte around every power of two, written out, comes back.
TEST(AmountParse, TakesEveryByteAroundPowersOfTwo) {
  for (int shift = 0; shift <= 62; ++shift) {
    for (int64_t offset = -2; offset <= 2; ++offset) {
      int64_t bytes = (INT64_C(1) << shift) + offset;
      if (bytes < 0) continue;
      membudget_amount amount = {};
      bool taken = amount_parse(std::to_string(bytes).c_str(), &amount);
      EXPECT_EQ(taken, bytes <= kMost) << bytes;
      if (taken) { EXPECT_EQ(amount.value, bytes); }
    }
  }
}

TEST(AmountParse, RoundTripsRandomSizes) {
  std::mt19937_64 random(1);
  const char *const kSuffixes[] = {"", "B", "iB"};
  for (int i = 0; i < 200'000; ++i) {
    int unit = static_cast<int>(random() % 5), shift = 10 * unit;
    int64_t whole = static_cast<int64_t>(random() >> (random() % 62 + 2)) >> shift;
    int64_t eighths = unit == 0 ? 0 : static_cast<int64_t>(random() % 8);
    const char *suffix = kSuffixes[random() % (unit == 0 ? 2 : 3)];
    std::string text = std::to_string(whole);
    if (eighths != 0) text += "." + std::to_string(eighths * 125 + 1000).substr(1);
    text += std::string(unit == 0 ? "" : std::string(1, "KMGT"[unit - 1])) + suffix;
    membudget_amount amount = {};
    ASSERT_TRUE(amount_parse(text.c_str(), &amount)) << text;
    ASSERT_EQ(amount.value, (whole << shift) + (eighths << shift) / 8) << text;
  }
}

// Random text: whatever is taken is in range; what the sanitizers say counts as well.
TEST(AmountParse, SurvivesRandomText) {
  std::mt19937_64 random(2);
  const std::string alphabet = "0123456789.%KMGTkmgtiIBb -+";
  for (int i = 0; i < 300'000; ++i) {
    std::string text(random() % 24, ' ');
    for (char &c : text) c = random() % 3 != 0 ? alphabet[random() % 10] : alphabet[random() % alphabet.size()];
    membudget_amount amount = {};
    if (!amount_parse(text.c_str(), &amount)) continue;
    ASSERT_GE(amount.value, 0) << text;
    ASSERT_LE(amount.value, amount.unit == MEMBUDGET_UNIT_BYTES ? kMost : 1'000'000) << text;
  }
}

TEST(AmountBytes, FollowsTheWhole) {
  EXPECT_EQ(amount_bytes({500, MEMBUDGET_UNIT_BYTES, 0}, 1000), 0) << "not set";
  EXPECT_EQ(amount_bytes({500, MEMBUDGET_UNIT_BYTES, 1}, 1000), 500);
  EXPECT_EQ(amount_bytes({900'000, MEMBUDGET_UNIT_MILLIONTHS, 1}, 1000), 900);
  EXPECT_EQ(amount_bytes({1'000'000, MEMBUDGET_UNIT_MILLIONTHS, 1}, kMost), kMost);
  EXPECT_EQ(amount_bytes({999'999, MEMBUDGET_UNIT_MILLIONTHS, 1}, 1'000'000), 999'999);
  EXPECT_EQ(amount_bytes({900'000, MEMBUDGET_UNIT_MILLIONTHS, 1}, 0), 0);
}

}  // namespace
}  // namespace membudget
