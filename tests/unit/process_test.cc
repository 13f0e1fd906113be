// Process slots: claimed, used again, reaped.
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include <vector>

#include "control/block/block.h"
#include "tests/unit/child.h"
#include "tests/unit/folder.h"
#include "tests/unit/seams.h"
#include "tests/unit/test_block.h"

namespace membudget {
namespace {

using unit::TestBlock;

Process *claim_own(const TestBlock &block) { return process_claim(*block, getpid(), own_pid_namespace()); }

// A pid that was a child's, which is gone.
int32_t dead_pid() {
  pid_t child = unit::start_child([] {});
  waitpid(child, nullptr, 0);
  return child;
}

TEST(ProcessClaim, FillsInWhoIsThere) {
  TestBlock block;
  Process *p = claim_own(block);
  ASSERT_EQ(p, (*block).process(0));
  EXPECT_EQ((*block).process_high(), 1u);
  EXPECT_EQ(p->state, MEMBUDGET_PROCESS_STARTING);
  EXPECT_EQ(p->pid, getpid());
  EXPECT_EQ(p->start_time, process_start_time(getpid()));
  EXPECT_GT(p->start_time, 0u);
  EXPECT_EQ(p->pid_namespace, own_pid_namespace());
  EXPECT_EQ(p->generation, 1u);
}

// The same process after an exec: its old counts are gone with its memory.
TEST(ProcessClaim, AfterAnExecIsTheSameSlot) {
  TestBlock block;
  Process *p = claim_own(block);
  process_publish(p);
  p->mapped_bytes = 5;
  p->shard_high = 30;
  p->shard_owner[7] = 7;
  p->trim_request = 3;
  strcpy(p->command, "before");
  for (int i = 0; i < 64; ++i) p->shards[i].allocated_bytes = 100;
  ASSERT_EQ(claim_own(block), p);
  EXPECT_EQ(p->state, MEMBUDGET_PROCESS_STARTING);
  EXPECT_EQ(p->generation, 2u);
  EXPECT_EQ(p->mapped_bytes, 0);
  EXPECT_EQ(p->shard_high, 0u);
  EXPECT_EQ(p->shard_owner[7], 0u);
  EXPECT_EQ(p->trim_request, 0u);
  EXPECT_STREQ(p->command, "");
  for (int i = 0; i < 64; ++i) EXPECT_EQ(p->shards[i].allocated_bytes, 0);
  EXPECT_EQ((*block).process_high(), 1u);
}

TEST(ProcessClaim, TakesAFreeSlotAgain) {
  TestBlock block;
  Process *own = claim_own(block), *other = block.join_stranger(77);
  Process *third = block.join_stranger(78);
  other->state = MEMBUDGET_PROCESS_FREE;
  other->mapped_bytes = 99;
  EXPECT_EQ(block.join_stranger(79), other);
  EXPECT_EQ(other->pid, 79);
  EXPECT_EQ(other->mapped_bytes, 0);
  EXPECT_EQ(other->generation, 2u);
  EXPECT_EQ(third->pid, 78);
  EXPECT_EQ(own->pid, getpid());
}

TEST(ProcessLife, DeadOnesAndZombiesAreNotAlive) {
  TestBlock block;
  Process *own = claim_own(block);
  EXPECT_TRUE(process_is_alive(own));
  Process *dead = process_claim(*block, dead_pid(), own_pid_namespace());
  EXPECT_FALSE(process_is_alive(dead));
  pid_t child = unit::start_child([] {});
  siginfo_t about;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &about, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(process_is_alive(process_claim(*block, child, own_pid_namespace()))) << "a zombie";
  waitpid(child, nullptr, 0);
}

TEST(ProcessLife, APidThatIsUsedAgainIsAnotherProcess) {
  TestBlock block;
  Process *p = claim_own(block);
  process_publish(p);
  p->start_time -= 1;
  EXPECT_FALSE(process_is_alive(p));
  EXPECT_EQ(process_reap(*block, nullptr), 1u);
  EXPECT_EQ(p->state, MEMBUDGET_PROCESS_FREE);
  Process *again = claim_own(block);
  EXPECT_EQ(again->start_time, process_start_time(getpid()));
}

TEST(ProcessLife, NamesWithBracketsAndBlanksDoNotConfuse) {
  unit::in_child([] {
    const uint64_t before = process_start_time(getpid());
    FILE *name = fopen("/proc/self/comm", "w");
    ASSERT_NE(name, nullptr);
    fputs(") 1 2) (x 3", name);
    fclose(name);
    EXPECT_EQ(process_start_time(getpid()), before);
    EXPECT_GT(before, 0u);
  });
  EXPECT_EQ(process_start_time(-1), 0u);
}

// A child that has a slot and then executes a program that knows nothing of it.
class Execed {
 public:
  explicit Execed(const TestBlock &block) {
    pid = unit::start_child([&] {
      process_publish(claim_own(block));
      execlp("sleep", "sleep", "1000", nullptr);
    });
    while (!(slot = find(block)) || process_is_as_it_was(slot)) usleep(1000);
  }
  ~Execed() { unit::kill_child(pid); }
  Execed(const Execed &) = delete;
  Execed &operator=(const Execed &) = delete;

  pid_t pid;
  Process *slot;

 private:
  Process *find(const TestBlock &block) const {
    for (uint32_t i = 0; i < (*block).process_high(); ++i)
      if (Process *p = (*block).process(i); p->pid == pid && p->state == MEMBUDGET_PROCESS_LIVE) return p;
    return nullptr;
  }
};

TEST(ProcessExec, IsSeenAndCountsOnceAsAnEnd) {
  TestBlock block;
  block.join();
  Process *p;
  {
    const Execed execed(block);
    p = execed.slot;
    EXPECT_TRUE(process_is_alive(p));
    EXPECT_EQ(process_reap(*block, nullptr), 1u);
    EXPECT_EQ(p->state, MEMBUDGET_PROCESS_EXECED);
    EXPECT_EQ(process_reap(*block, nullptr), 0u);
    EXPECT_EQ(p->state, MEMBUDGET_PROCESS_EXECED);
  }
  EXPECT_EQ(process_reap(*block, nullptr), 1u);
  EXPECT_EQ(p->state, MEMBUDGET_PROCESS_FREE);
}

TEST(ProcessExec, LeavesTheBlockInUse) {
  TestBlock block;
  {
    const Execed execed(block);
    EXPECT_TRUE(block_is_in_use(*block)) << "the program may be about to join";
    process_reap(*block, nullptr);
    EXPECT_TRUE(block_is_in_use(*block));
  }
  EXPECT_FALSE(block_is_in_use(*block));
}

// As the new program does when it has the library, whether or not anybody looked before.
TEST(ProcessExec, TakesItsOwnSlotAgain) {
  for (const bool is_marked : {false, true}) {
    TestBlock block;
    const Execed execed(block);
    execed.slot->shards[0].allocated_bytes = 100;
    if (is_marked) process_reap(*block, nullptr);
    bool was_member = false;
    ASSERT_EQ(process_claim(*block, execed.pid, own_pid_namespace(), &was_member), execed.slot);
    EXPECT_TRUE(was_member);
    process_publish(execed.slot);
    EXPECT_TRUE(process_is_as_it_was(execed.slot));
    EXPECT_EQ(execed.slot->shards[0].allocated_bytes, 0);
    EXPECT_EQ(process_reap(*block, nullptr), 0u);
    EXPECT_EQ(execed.slot->state, MEMBUDGET_PROCESS_LIVE);
  }
}

// Who was stopped after it had looked, while the new program took the slot over.
TEST(ProcessExec, MarkedTooLateIsPutRight) {
  static TestBlock *shared;
  static const Execed *looked_at;
  TestBlock block;
  const Execed execed(block);
  shared = &block, looked_at = &execed;
  const unit::SeamsRestored seams;
  unit::yield_hook = [] {
    unit::yield_hook = nullptr;
    process_publish(process_claim(**shared, looked_at->pid, own_pid_namespace()));
  };
  process_reap(*block, nullptr);
  ASSERT_EQ(unit::yield_hook, nullptr);
  EXPECT_EQ(execed.slot->state, MEMBUDGET_PROCESS_EXECED);
  process_reap(*block, nullptr);
  EXPECT_EQ(execed.slot->state, MEMBUDGET_PROCESS_LIVE);
}

TEST(ProcessExec, IsNotTakenForOneWhereItCannotBeTold) {
  TestBlock block;
  const Execed execed(block);
  if (geteuid() == 0) {
    unit::in_child([&] {
      ASSERT_EQ(seteuid(65534), 0);
      EXPECT_TRUE(process_is_as_it_was(execed.slot)) << "another user's process";
    });
  }
  EXPECT_FALSE(process_is_as_it_was(execed.slot));
  execed.slot->stack_start = 0;
  EXPECT_TRUE(process_is_as_it_was(execed.slot)) << "it had no /proc";
  EXPECT_EQ(process_reap(*block, nullptr), 0u);
}

// A child inherits what it is known by, and is itself all the same; what it executes is not its parent's doing.
TEST(ProcessExec, OfAChildLeavesItsParentAlone) {
  TestBlock block;
  Process *own = block.join();
  const Execed execed(block);
  EXPECT_EQ(execed.slot->stack_start, own->stack_start);
  EXPECT_EQ(process_reap(*block, nullptr), 1u);
  EXPECT_EQ(own->state, MEMBUDGET_PROCESS_LIVE);
}

TEST(ProcessClaim, TakesTheSlotOfOneThatExecedBeforeGivingUp) {
  TestBlock block;
  const Execed execed(block);
  for (uint32_t i = 1; i < MEMBUDGET_PROCESSES; ++i) ASSERT_NE(block.join_stranger(static_cast<int32_t>(i)), nullptr);
  EXPECT_EQ(block.join_stranger(99'999), execed.slot);
  EXPECT_EQ(process_claim(*block, execed.pid, own_pid_namespace()), nullptr);
}

// At the next claim, not only when all slots are taken: a server that forks for every request stays small.
TEST(ProcessClaim, TakesTheSlotOfOneThatIsGone) {
  TestBlock block;
  block.join();
  Process *gone = process_claim(*block, dead_pid(), own_pid_namespace());
  process_publish(gone);
  EXPECT_EQ(process_claim(*block, dead_pid(), own_pid_namespace()), gone);
  EXPECT_EQ(gone->generation, 2u);
}

TEST(ProcessReap, SparesTheLivingAndTheOneNamed) {
  TestBlock block;
  Process *own = block.join(), *stranger = block.join_stranger(5);
  Process *dead = block.join_stranger(6), *leaving = block.join_stranger(7);
  for (Process *p : {dead, leaving}) {
    p->pid = dead_pid();
    p->pid_namespace = own_pid_namespace();
  }
  leaving->state = MEMBUDGET_PROCESS_LEAVING;
  EXPECT_EQ(process_reap(*block, dead), 1u);
  EXPECT_EQ(dead->state, MEMBUDGET_PROCESS_LIVE);
  EXPECT_EQ(leaving->state, MEMBUDGET_PROCESS_FREE);
  EXPECT_EQ(process_reap(*block, nullptr), 1u);
  EXPECT_EQ(process_reap(*block, nullptr), 0u);
  EXPECT_EQ(own->state, MEMBUDGET_PROCESS_LIVE);
  EXPECT_EQ(stranger->state, MEMBUDGET_PROCESS_LIVE);
}

TEST(ProcessClaim, AllTakenByTheLiving) {
  TestBlock block;
  for (uint32_t i = 0; i < MEMBUDGET_PROCESSES; ++i)
    ASSERT_NE(block.join_stranger(static_cast<int32_t>(i) + 1), nullptr);
  EXPECT_EQ(process_claim(*block, 99'999, unit::foreign_namespace(99'999)), nullptr);
  EXPECT_EQ(block.header()->uncounted_processes, 1u);
  EXPECT_EQ((*block).process_high(), MEMBUDGET_PROCESSES);
  // One of them dies.
  Process *p = (*block).process(100);
  p->pid = dead_pid();
  p->pid_namespace = own_pid_namespace();
  EXPECT_EQ(process_claim(*block, 99'999, unit::foreign_namespace(99'999)), p);
  EXPECT_EQ(p->pid, 99'999);
}

TEST(ProcessClaim, UsesASlotOfTheDeadBeforeGivingUp) {
  TestBlock block;
  for (uint32_t i = 0; i < MEMBUDGET_PROCESSES; ++i) block.join_stranger(static_cast<int32_t>(i) + 1);
  const int32_t dead = dead_pid();
  for (uint32_t i = 0; i < MEMBUDGET_PROCESSES; i += 2) {
    (*block).process(i)->pid = dead;
    (*block).process(i)->pid_namespace = own_pid_namespace();
  }
  std::vector<bool> taken(MEMBUDGET_PROCESSES);
  for (uint32_t i = 0; i < MEMBUDGET_PROCESSES / 2; ++i) {
    Process *p = block.join_stranger(static_cast<int32_t>(i) + 5000);
    ASSERT_NE(p, nullptr);
    auto slot = static_cast<size_t>(p - (*block).process(0));
    EXPECT_EQ(slot % 2, 0u);
    EXPECT_FALSE(taken[slot]);
    taken[slot] = true;
  }
  EXPECT_EQ(process_claim(*block, 9999, unit::foreign_namespace(9999)), nullptr);
}

}  // namespace
}  // namespace membudget
