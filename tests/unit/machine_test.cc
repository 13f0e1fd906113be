#include "control/block/machine.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/sysinfo.h>

namespace membudget {
namespace {

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

}  // namespace
}  // namespace membudget
