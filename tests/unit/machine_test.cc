#include "control/block/machine.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/sysinfo.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/unit/build.h"
#include "tests/unit/child.h"

namespace membudget {
namespace {

constexpr int64_t kMiB = 1 << 20;

TEST(Machine, MemoryLimitIsAtMostTheMachines) {
  struct sysinfo machine;
  ASSERT_EQ(sysinfo(&machine), 0);
  errno = 12345;
  int64_t limit = memory_limit_bytes();
  EXPECT_EQ(errno, 12345);
  EXPECT_GT(limit, 0);
  EXPECT_LE(limit, static_cast<int64_t>(machine.totalram) * machine.mem_unit);
  EXPECT_EQ(memory_limit_bytes(), limit);
}

TEST(Machine, OwnAnonymousMemoryIsThere) {
  if (unit::kMemoryHasShadow) GTEST_SKIP() << "ThreadSanitizer's shadow of the memory counts, too";
  int64_t before = own_anonymous_bytes();
  EXPECT_GT(before, 0);
  void *block = malloc(32 * kMiB);
  auto *pages = static_cast<volatile char *>(block);  // or clang sees that nobody reads them
  for (int64_t i = 0; i < 32 * kMiB; i += 4096) pages[i] = 1;
  EXPECT_NEAR(static_cast<double>(own_anonymous_bytes() - before), 32.0 * kMiB, 1.0 * kMiB);
  free(block);
}

TEST(Machine, PrivateMemoryGrowsByWhatAChildCopies) {
  if (unit::kMemoryHasShadow) GTEST_SKIP() << "ThreadSanitizer's shadow of the memory is copied, too";
  auto *pages = static_cast<char *>(malloc(32 * kMiB));
  for (int64_t i = 0; i < 32 * kMiB; i += 4096) pages[i] = 1;
  unit::in_child([pages] {
    int64_t before = own_private_bytes();
    if (before < 0) GTEST_SKIP() << "this kernel has no smaps_rollup";
    for (int64_t i = 0; i < 32 * kMiB; i += 4096) EXPECT_EQ(pages[i], 1);
    EXPECT_NEAR(static_cast<double>(own_private_bytes() - before), 0.0, 1.0 * kMiB);
    for (int64_t i = 0; i < 32 * kMiB; i += 4096) pages[i] = 2;
    EXPECT_NEAR(static_cast<double>(own_private_bytes() - before), 32.0 * kMiB, 1.0 * kMiB);
  });
  free(pages);
}

// A tree of files as the kernel shows them.
class CgroupTree : public testing::Test {
 protected:
  CgroupTree() {
    char pattern[] = "/tmp/membudget-cgroups-XXXXXX";
    root_ = mkdtemp(pattern);
  }
  ~CgroupTree() override { std::filesystem::remove_all(root_); }

  void write(const std::string &path, const std::string &text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + "/" + path).parent_path());
    std::ofstream(root_ + "/" + path) << text;
  }
  bool find(const std::string &list) {
    write("list", list);
    std::string files = root_ + "/list", mount = root_ + "/mount";
    return find_memory_cgroup(&cgroup_, {files.c_str(), mount.c_str()});
  }

  std::string root_;
  MemoryCgroup cgroup_;
};

TEST_F(CgroupTree, V2TakesTheTightestAncestor) {
  write("mount/a/memory.max", "104857600\n");
  write("mount/a/b/memory.max", "max\n");
  write("mount/a/b/c/memory.max", "209715200\n");
  write("mount/a/memory.current", "83886080\n");
  write("mount/a/memory.stat", "anon 1\ninactive_file 1048576\nactive_file 2097152\nslab_reclaimable 4096\nslab 9\n");
  ASSERT_TRUE(find("0::/a/b/c\n"));
  EXPECT_TRUE(cgroup_.is_v2);
  EXPECT_EQ(cgroup_.limit_bytes, 100 * kMiB);
  EXPECT_EQ(cgroup_.folder, root_ + "/mount/a");
  EXPECT_EQ(cgroup_charged_bytes(cgroup_), 77 * kMiB - 4096);
  write("mount/a/memory.max", "50000000\n");
  EXPECT_EQ(cgroup_limit_bytes(cgroup_), 50'000'000);
}

// A container sees its own group at the root of the mount, under whatever name the host has for it.
TEST_F(CgroupTree, V1OfAContainer) {
  write("mount/memory/memory.limit_in_bytes", "268435456\n");
  write("mount/memory/memory.usage_in_bytes", "104857600\n");
  write("mount/memory/memory.stat", "inactive_file 7\ntotal_inactive_file 10485760\ntotal_active_file 0\n");
  ASSERT_TRUE(find("12:cpu,cpuacct:/\n4:blkio,memory:/docker/0123\n1:name=systemd:/docker/0123\n0::/\n"));
  EXPECT_FALSE(cgroup_.is_v2);
  EXPECT_EQ(cgroup_.limit_bytes, 256 * kMiB);
  EXPECT_EQ(cgroup_charged_bytes(cgroup_), 90 * kMiB);
}

TEST_F(CgroupTree, HybridLooksBelowUnified) {
  write("mount/unified/a/memory.max", "1000000\n");
  ASSERT_TRUE(find("1:name=systemd:/a\n0::/a\n"));
  EXPECT_EQ(cgroup_.limit_bytes, 1'000'000);
}

TEST_F(CgroupTree, NoLimitIsTheMachines) {
  write("mount/a/memory.max", "max\n");
  write("mount/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_FALSE(find("4:memory:/\n0::/a\n"));
  EXPECT_EQ(cgroup_.limit_bytes, machine_memory_bytes());
  EXPECT_FALSE(find("nonsense\n:::\n\n0:\n"));
  EXPECT_FALSE(find("0::/" + std::string(5000, 'x') + "\n"));
}

TEST_F(CgroupTree, ACgroupThatIsGone) {
  write("mount/a/memory.max", "1000000\n");
  ASSERT_TRUE(find("0::/a\n"));
  std::filesystem::remove_all(root_ + "/mount/a");
  EXPECT_EQ(cgroup_limit_bytes(cgroup_), -1);
  EXPECT_EQ(cgroup_charged_bytes(cgroup_), -1);
}

}  // namespace
}  // namespace membudget
