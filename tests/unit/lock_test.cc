// The block's lock: exclusive, and survived by those who wait for a holder that is dead or stopped.
#include "control/block/lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <new>
#include <thread>
#include <vector>

#include "control/block/system.h"
#include "tests/unit/child.h"
#include "tests/unit/seams.h"
#include "tests/unit/test_block.h"

namespace membudget {
namespace {

using unit::TestBlock;

double seconds_since(int64_t start_ns) { return static_cast<double>(monotonic_ns() - start_ns) / 1e9; }

// Takes the lock and keeps it until it is killed. Returns once it has it.
pid_t start_holder(const TestBlock &block) {
  pid_t child = unit::start_child([&] {
    BlockLock lock(block.header());
    for (;;) pause();
  });
  while (__atomic_load_n(&block.header()->lock, __ATOMIC_ACQUIRE) == 0) usleep(100);
  return child;
}

double seconds_to_lock(const TestBlock &block) {
  const int64_t start = monotonic_ns();
  BlockLock lock(block.header());
  return seconds_since(start);
}

TEST(BlockLock, IsFreeBeforeAndAfter) {
  TestBlock block;
  {
    BlockLock lock(block.header());
    EXPECT_EQ(block.header()->lock & 0x7fffffff, static_cast<uint32_t>(syscall(SYS_gettid)));
  }
  EXPECT_EQ(block.header()->lock, 0u);
}

// Plain adds under the lock, by threads and by processes: none is lost.
TEST(BlockLock, Excludes) {
  TestBlock block;
  constexpr int kThreads = 4, kRounds = 10'000;
  int64_t *sum = &block.header()->reserve_bytes;
  auto add = [&] {
    for (int i = 0; i < kRounds; ++i) {
      BlockLock lock(block.header());
      *sum += 1;
    }
  };
  pid_t child = unit::start_child(add);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(add);
  for (std::thread &thread : threads) thread.join();
  unit::expect_child_succeeds(child);
  EXPECT_EQ(*sum, (kThreads + 1) * kRounds);
  EXPECT_EQ(block.header()->lock, 0u);
}

TEST(BlockLock, IsTakenFromTheDead) {
  TestBlock block;
  for (int i = 0; i < 5; ++i) {
    unit::kill_child(start_holder(block));
    EXPECT_LT(seconds_to_lock(block), 0.5);
    EXPECT_EQ(block.header()->lock, 0u);
  }
}

// Somebody waits while the holder dies; all who wait get it, one after the other.
TEST(BlockLock, IsTakenFromOneThatDiesMeanwhile) {
  TestBlock block;
  pid_t holder = start_holder(block);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back([&] { EXPECT_LT(seconds_to_lock(block), 1.0); });
  usleep(50'000);
  unit::kill_child(holder);
  for (std::thread &thread : threads) thread.join();
  EXPECT_EQ(block.header()->lock, 0u);
}

// A zombie still has its pid; nobody hangs on whether its parent fetches it.
TEST(BlockLock, IsTakenFromAZombieInTime) {
  TestBlock block;
  pid_t holder = start_holder(block);
  kill(holder, SIGKILL);
  siginfo_t about;
  waitid(P_PID, static_cast<id_t>(holder), &about, WEXITED | WNOWAIT);
  EXPECT_LT(seconds_to_lock(block), 3.0);
  waitpid(holder, nullptr, 0);
}

// Signals cut every wait short: a dead holder is noticed all the same.
TEST(BlockLock, IsTakenFromTheDeadDespiteSignals) {
  TestBlock block;
  unit::kill_child(start_holder(block));
  unit::expect_child_succeeds(unit::start_child([&] {
                                struct sigaction action = {};
                                action.sa_handler = [](int) {};
                                sigaction(SIGALRM, &action, nullptr);
                                const itimerval often = {{0, 2000}, {0, 2000}};
                                setitimer(ITIMER_REAL, &often, nullptr);
                                EXPECT_LT(seconds_to_lock(block), 3.0);
                              }),
                              8);
}

// The stopped holder goes on once it may, and must not give away what is another's by then.
TEST(BlockLock, IsTakenFromTheStopped) {
  TestBlock block;
  pid_t holder = unit::start_child([&] {
    BlockLock lock(block.header());
    raise(SIGSTOP);
  });
  int status = 0;
  ASSERT_EQ(waitpid(holder, &status, WUNTRACED), holder);
  ASSERT_TRUE(WIFSTOPPED(status));
  const int64_t start = monotonic_ns();
  {
    BlockLock lock(block.header());
    EXPECT_GT(seconds_since(start), 0.5) << "a holder that is only slow keeps it";
    EXPECT_LT(seconds_since(start), 3.0);
    kill(holder, SIGCONT);
    unit::expect_child_succeeds(holder);
    EXPECT_EQ(block.header()->lock & 0x7fffffff, static_cast<uint32_t>(syscall(SYS_gettid)));
  }
  EXPECT_EQ(block.header()->lock, 0u);
}

// By whoever jumped out of its section: no destructor has run.
TEST(BlockLock, IsTakenAgainByItsHolder) {
  TestBlock block;
  alignas(BlockLock) char left[sizeof(BlockLock)];
  new (left) BlockLock(block.header());
  const unit::SeamsRestored seams;
  unit::syscall_hook = [](long number, const long(&)[6]) -> unit::SyscallAnswer {
    EXPECT_NE(number, SYS_futex) << "it waits for itself";
    return {};
  };
  {
    const BlockLock lock(block.header());
    EXPECT_TRUE(lock.is_held());
  }
  EXPECT_EQ(block.header()->lock, 0u);
}

TEST(BlockLock, WaitersAreWoken) {
  TestBlock block;
  int64_t longest_ns = 0;
  std::vector<std::thread> threads;
  uint32_t go = 0;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE)) usleep(100);
      for (int j = 0; j < 20; ++j) {
        const int64_t start = monotonic_ns();
        BlockLock lock(block.header());
        longest_ns = std::max(longest_ns, monotonic_ns() - start);
        usleep(1000);
      }
    });
  }
  __atomic_store_n(&go, 1u, __ATOMIC_RELEASE);
  const int64_t start = monotonic_ns();
  for (std::thread &thread : threads) thread.join();
  EXPECT_LT(seconds_since(start), 5.0) << "60 sections of 1 ms";
}

}  // namespace
}  // namespace membudget
