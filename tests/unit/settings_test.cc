#include "control/block/settings.h"

#include "control/block/amount.h"

#include <gtest/gtest.h>
#include <string.h>

#include <random>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

namespace membudget {
namespace {

// Reads settings from "NAME=VALUE" entries.
Settings read(const std::vector<std::string> &entries) {
  std::vector<char *> environment;
  for (const std::string &entry : entries) environment.push_back(const_cast<char *>(entry.c_str()));
  environment.push_back(nullptr);
  Settings settings;
  settings_read(environment.data(), &settings);
  return settings;
}

struct Variable {
  const char *name;
  std::vector<const char *> good, bad;
  const char *allowed;  // a part of what the error has to say
};

const std::string kLongPath = "/" + std::string(254, 'x'), kTooLongPath = kLongPath + "x";
const std::string kLongName(64, 'n'), kTooLongName(65, 'n');

const std::vector<const char *> kGoodSizes = {"0", "512M", "1.5GiB", "95%", "100%"},
                                kBadSizes = {"x", "-1", "101%", "5 M", "1Q"},
                                kBadLimits = {"x", "-1", "101%", "5 M", "1Q", "0%", "0.000001%"};

const Variable kVariables[] = {
    {"MEMBUDGET_ALLOCATOR",
     {"ptmalloc", "jemalloc", "mimalloc", "tcmalloc", "/usr/lib/libx.so", kLongPath.c_str()},
     {"dlmalloc", "Jemalloc", "lib.so", "./lib.so", "jemalloc ", kTooLongPath.c_str()},
     "jemalloc, mimalloc, tcmalloc"},
    {"MEMBUDGET_LIMIT", kGoodSizes, kBadLimits, "512M"},
    {"MEMBUDGET_LOW", kGoodSizes, kBadSizes, "95%"},
    {"MEMBUDGET_MEDIUM", kGoodSizes, kBadSizes, "95%"},
    {"MEMBUDGET_RELEASE", kGoodSizes, kBadSizes, "95%"},
    {"MEMBUDGET_HARD_LIMIT", kGoodSizes, kBadLimits, "512M"},
    {"MEMBUDGET_MEASURE", {"counted", "footprint"}, {"rss", "Counted"}, "footprint"},
    {"MEMBUDGET_NAME", {"web", "a.b_c-9", kLongName.c_str()}, {"a/b", "a b", "\xc3\xa4", kTooLongName.c_str()}, "64"},
    {"MEMBUDGET_DIR", {"/dev/shm", "/", kLongPath.c_str()}, {"shm", "./x", kTooLongPath.c_str()}, "absolute"},
    {"MEMBUDGET_CHILDREN", {"join", "own", "ignore"}, {"yes", "JOIN"}, "own"},
    {"MEMBUDGET_MMAP_THRESHOLD", {"128K", "0", "default", "1G"}, {"50%", "3G", "none"}, "default"},
    {"MEMBUDGET_TRIM_THRESHOLD", {"128K", "0", "default", "1G"}, {"50%", "3G", "none"}, "default"},
    {"MEMBUDGET_ARENAS",
     {"1", "65536", "default"},
     {"0", "65537", "-1", "+1", " 1", "1K", "99999999999999999999"},
     "65536"},
    {"MEMBUDGET_PYTHONMALLOC", {"auto", "malloc", "keep"}, {"on", "pymalloc"}, "keep"},
    {"MEMBUDGET_PROFILE", {"0", "512K", "1T"}, {"5%", "on", "2T"}, "512K"},
    {"MEMBUDGET_LOG", {"quiet", "warn", "info"}, {"debug", "2"}, "quiet"},
};

TEST(Settings, DefaultsAreTheInterfaces) {
  Settings s = read({});
  EXPECT_STREQ(s.allocator, "ptmalloc");
  EXPECT_STREQ(s.directory, "/dev/shm");
  EXPECT_STREQ(s.name, "");
  EXPECT_EQ(s.limits.limit.is_set, 0u);
  EXPECT_EQ(s.limits.hard_limit.is_set, 0u);
  EXPECT_EQ(amount_bytes(s.limits.low, 1'000'000), 900'000);
  EXPECT_EQ(amount_bytes(s.limits.medium, 1'000'000), 970'000);
  EXPECT_EQ(amount_bytes(s.limits.release, 1'000'000), 20'000);
  EXPECT_EQ(s.children, Children::join);
  EXPECT_EQ(s.mmap_threshold, 128 << 10);
  EXPECT_EQ(s.trim_threshold, 128 << 10);
  EXPECT_EQ(s.arenas, kGlibcDefault);
  EXPECT_EQ(s.python_malloc, PythonMalloc::automatic);
  EXPECT_EQ(s.profile_bytes, 0);
  EXPECT_EQ(s.log, Log::warn);
  EXPECT_STREQ(s.errors, "");
}

TEST(Settings, GoodValuesAreTakenInSilence) {
  for (const Variable &variable : kVariables)
    for (const char *value : variable.good)
      EXPECT_STREQ(read({variable.name + std::string("=") + value}).errors, "") << variable.name << '=' << value;
}

// All but the errors, and but the padding. Names every member: one that is added has to be added here.
bool are_the_same(const Settings &a, const Settings &b) {
  const auto values = [](const Settings &s) {
    const auto &[allocator, name, directory, limits, measure, children, mmap_threshold, trim_threshold, arenas,
                 python_malloc, profile_bytes, profile_directory, log, errors] = s;
    const auto bytes = [](const Limits &l) { return std::string(reinterpret_cast<const char *>(&l), sizeof l); };
    return std::make_tuple(std::string(allocator), std::string(name), std::string(directory), bytes(limits), measure,
                           children, mmap_threshold, trim_threshold, arenas, python_malloc, profile_bytes,
                           std::string(profile_directory), log);
  };
  static_assert(std::has_unique_object_representations_v<Limits>);
  return values(a) == values(b);
}

// One line: variable, value, what is allowed. And the default stays.
TEST(Settings, BadValuesAreReportedAndLeaveTheDefault) {
  const Settings plain;
  for (const Variable &variable : kVariables) {
    for (const char *value : variable.bad) {
      Settings s = read({variable.name + std::string("=") + value});
      std::string error = s.errors, shown = std::string(value).substr(0, 100);
      for (char &c : shown)
        if (static_cast<unsigned char>(c) < ' ' || c == 127) c = '?';  // one line stays one
      EXPECT_EQ(error.rfind(variable.name + ("=" + shown), 0), 0u) << error;
      EXPECT_NE(error.find(variable.allowed), std::string::npos) << error;
      EXPECT_EQ(error.find('\n'), error.size() - 1) << error;
      EXPECT_TRUE(are_the_same(s, plain)) << variable.name << '=' << value;
    }
  }
}

TEST(Settings, ValuesReachTheirPlace) {
  Settings s = read({"MEMBUDGET_ALLOCATOR=tcmalloc", "MEMBUDGET_LIMIT=64M", "MEMBUDGET_LOW=80%", "MEMBUDGET_MEDIUM=60M",
                     "MEMBUDGET_RELEASE=1M", "MEMBUDGET_HARD_LIMIT=1G", "MEMBUDGET_MEASURE=footprint",
                     "MEMBUDGET_NAME=web", "MEMBUDGET_DIR=/tmp", "MEMBUDGET_CHILDREN=ignore",
                     "MEMBUDGET_MMAP_THRESHOLD=1M", "MEMBUDGET_TRIM_THRESHOLD=default", "MEMBUDGET_ARENAS=4",
                     "MEMBUDGET_PYTHONMALLOC=keep", "MEMBUDGET_PROFILE=512K", "MEMBUDGET_LOG=info"});
  EXPECT_STREQ(s.allocator, "tcmalloc");
  EXPECT_EQ(s.limits.limit.value, 64 << 20);
  EXPECT_EQ(s.limits.low.value, 800'000);
  EXPECT_EQ(s.limits.low.unit, MEMBUDGET_UNIT_MILLIONTHS);
  EXPECT_EQ(s.limits.medium.value, 60 << 20);
  EXPECT_EQ(s.limits.medium.unit, MEMBUDGET_UNIT_BYTES);
  EXPECT_EQ(s.limits.release.value, 1 << 20);
  EXPECT_EQ(s.limits.hard_limit.value, 1 << 30);
  EXPECT_EQ(s.measure, MEMBUDGET_MEASURE_FOOTPRINT);
  EXPECT_STREQ(s.name, "web");
  EXPECT_STREQ(s.directory, "/tmp");
  EXPECT_EQ(s.children, Children::ignore);
  EXPECT_EQ(s.mmap_threshold, 1 << 20);
  EXPECT_EQ(s.trim_threshold, kGlibcDefault);
  EXPECT_EQ(s.arenas, 4);
  EXPECT_EQ(s.python_malloc, PythonMalloc::keep);
  EXPECT_EQ(s.profile_bytes, 512 << 10);
  EXPECT_EQ(s.log, Log::info);
  EXPECT_STREQ(s.errors, "");
}

TEST(Settings, TooLargeIsSaidToBeSo) {
  EXPECT_STREQ(
      read({"MEMBUDGET_LIMIT=9223372036854775807T"}).errors,
      "MEMBUDGET_LIMIT=9223372036854775807T is not allowed: too large; write a size like 512M, or a percentage "
      "like 95%\n");
}

TEST(Settings, MarksAboveTheLimitAreRefused) {
  const std::vector<std::string> entries = {"MEMBUDGET_LIMIT=50%", "MEMBUDGET_LOW=600", "MEMBUDGET_MEDIUM=601"};
  std::vector<char *> environment;
  for (const std::string &entry : entries) environment.push_back(const_cast<char *>(entry.c_str()));
  environment.push_back(nullptr);
  const Settings as_read = read(entries);
  Settings s = as_read;
  settings_check_marks(environment.data(), 1202, &s);
  EXPECT_TRUE(are_the_same(s, as_read)) << s.errors;
  settings_check_marks(environment.data(), 1200, &s);
  EXPECT_STREQ(s.errors,
               "MEMBUDGET_MEDIUM=601 is not allowed: above the limit; write a size up to MEMBUDGET_LIMIT, or a "
               "percentage of it\n");
  EXPECT_EQ(amount_bytes(s.limits.medium, 600), 582);
  EXPECT_EQ(s.limits.low.value, 600);
  Settings unlimited = read({"MEMBUDGET_LOW=600"});
  settings_check_marks(environment.data(), 1200, &unlimited);
  EXPECT_STREQ(unlimited.errors, "") << "no limit, no level";
}

TEST(Settings, EmptyValuesAndOtherVariablesAreNone) {
  Settings s =
      read({"MEMBUDGET_LIMIT=", "MEMBUDGET_LIMITS=x", "MEMBUDGET=1", "MEMBUDGET_=1", "PATH=x", "MEMBUDGET_LIMIT"});
  EXPECT_STREQ(s.errors, "");
  EXPECT_EQ(s.limits.limit.is_set, 0u);
  Settings none;
  settings_read(nullptr, &none);
  EXPECT_STREQ(none.errors, "");
}

// Whatever there is to complain about: a terminated text, and nothing written behind it.
TEST(Settings, ErrorsNeverOverflow) {
  struct {
    Settings settings;
    char guard[64];
  } held;
  memset(held.guard, 0x5a, sizeof held.guard);
  std::string value(5000, 'v'), entry = "MEMBUDGET_LIMIT=" + value;
  std::vector<char *> environment(40, entry.data());
  environment.push_back(nullptr);
  settings_read(environment.data(), &held.settings);
  EXPECT_EQ(strnlen(held.settings.errors, sizeof held.settings.errors), sizeof held.settings.errors - 1);
  for (char c : held.guard) ASSERT_EQ(c, 0x5a);

  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    Settings s;
    for (int j = 0; j < 40; ++j) settings_add_error(&s, "%s", std::string(random() % 120, 'e').c_str());
    ASSERT_LT(strnlen(s.errors, sizeof s.errors), sizeof s.errors);
  }
}

}  // namespace
}  // namespace membudget
