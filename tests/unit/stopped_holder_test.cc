// A member that is stopped in the middle of handing out allowances, loses the lock over it, and goes on later
// by sums that are long out of date.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/block/budget.h"
#include "tests/unit/child.h"
#include "tests/unit/seams.h"
#include "tests/unit/test_block.h"

namespace membudget {
namespace {

using unit::count;
using unit::TestBlock;

constexpr int64_t kLimit = 1'000'000;

int countdown;

void stop_here() {
  if (countdown-- == 0) raise(SIGSTOP);
}

// Grows to `net` in steps, looking up where it must.
void grow_to(const TestBlock &block, Process *p, Shard *s, int64_t net) {
  while (shard_net(*s) < net) {
    count(*s, std::min<int64_t>(net - shard_net(*s), 1000), 0);
    if (s->allocated_bytes > s->allocated_trigger) budget_attend(*block, p, s);
  }
}

// Two processes wait for each other, in a word that nothing else uses here.
int64_t arrivals(const TestBlock &block) { return __atomic_load_n(&block.header()->reserve_bytes, __ATOMIC_SEQ_CST); }

void meet(const TestBlock &block, int64_t time) {
  __atomic_fetch_add(&block.header()->reserve_bytes, 1, __ATOMIC_SEQ_CST);
  while (arrivals(block) < 2 * time) usleep(200);
}

// False, with the child gone, when it did not stop but came through.
bool stops(const TestBlock &block, pid_t child) {
  for (;;) {
    int status = 0;
    if (waitpid(child, &status, WUNTRACED | WNOHANG) == child) {
      EXPECT_TRUE(WIFSTOPPED(status));
      return true;
    }
    if (arrivals(block) == 0) continue;
    unit::kill_child(child);
    return false;
  }
}

// False when the member looked up without reaching that point.
bool stop_at(int point) {
  TestBlock block;
  Process *own = block.join();
  block.set_limits({kLimit, kLimit, kLimit, 0});
  Shard *s = budget_adopt(*block, own, 1);
  pid_t child = unit::start_child([&] {
    Process *p = block.join();
    Shard *other = budget_adopt(*block, p, 2);
    count(*other, 100'000, 0);
    countdown = point;
    unit::yield_hook = stop_here;
    budget_evaluate(*block);
    unit::yield_hook = nullptr;
    meet(block, 1);
    meet(block, 2);
  });
  if (!stops(block, child)) return false;
  block.header()->lock = 0;  // what a waiter does after a second
  grow_to(block, own, s, 880'000);
  EXPECT_EQ(block.level(), MEMBUDGET_NONE);
  kill(child, SIGCONT);
  meet(block, 1);
  EXPECT_EQ(group_totals(*block).live, 980'000);
  unit::expect_allowances_fit(*block);
  grow_to(block, own, s, 900'000);
  EXPECT_EQ(block.level(), MEMBUDGET_CRITICAL) << "at " << group_totals(*block).live;
  EXPECT_EQ(block.header()->lock, 0u);
  meet(block, 2);
  unit::expect_child_succeeds(child);
  return true;
}

TEST(StoppedHolder, LeavesGoodAllowances) {
  int point = 0;
  while (stop_at(point) && !HasFailure()) ++point;
  EXPECT_GT(point, 5) << "or else there are no yield points in this build";
}

}  // namespace
}  // namespace membudget
