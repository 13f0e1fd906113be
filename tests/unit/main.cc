#include <gtest/gtest.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

// As the library does when it is loaded: without it, a membarrier does not reach this process.
int main(int count, char **arguments) {
  testing::InitGoogleTest(&count, arguments);
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0 ||
      syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) != 0) {
    perror("membarrier");
    return 1;
  }
  return RUN_ALL_TESTS();
}
