// What others left in the folder, and the slot that a process had before it exec'ed into another group.
#include <errno.h>
#include <sys/stat.h>
#include <time.h>

#include <fstream>

#include "control/block/budget.h"
#include "control/block/sweep.h"
#include "control/block/system.h"
#include "tests/unit/child.h"
#include "tests/unit/folder.h"
#include "tests/unit/test_block.h"

namespace membudget {
namespace {

using unit::Folder;

// A block of `name` whose one member died without a word, and was changed as `change` says.
template <typename Change>
void leave_block(const Folder &folder, const char *name, Change change) {
  unit::in_child([&] {
    BlockMember member;
    ASSERT_EQ(block_join(folder.path(), name, &member), 0);
    process_publish(member.process);
    change(member);
  });
}

void leave_block(const Folder &folder, const char *name) {
  leave_block(folder, name, [](const BlockMember &) {});
}

void wait_until_old(const Folder &folder, const char *name) {
  struct stat about;
  ASSERT_EQ(stat(folder.block(name).c_str(), &about), 0);
  const auto changed =
      static_cast<uint64_t>(about.st_ctim.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(about.st_ctim.tv_nsec);
  while (realtime_ns() < changed + 1'100'000'000u) usleep(20'000);
}

void sweep(const Folder &folder, const char *but = "", const char *kept = nullptr) {
  blocks_sweep(folder.path(), but, own_identity(), kept, true);
}

bool is_there(const Folder &folder, const char *name) {
  struct stat about;
  return stat(folder.block(name).c_str(), &about) == 0;
}

TEST(Sweep, RemovesWhatTheDeadLeft) {
  Folder folder;
  for (const char *name : {"a", "b", "c"}) leave_block(folder, name);
  sweep(folder);
  EXPECT_EQ(folder.files(), 3u) << "somebody may be about to read them";
  wait_until_old(folder, "c");
  blocks_sweep(folder.path(), "", own_identity(), nullptr, false);
  EXPECT_EQ(folder.files(), 3u) << "not asked for";
  errno = 12345;
  sweep(folder, "b");
  EXPECT_EQ(errno, 12345);
  EXPECT_TRUE(is_there(folder, "b"));
  EXPECT_EQ(folder.files(), 1u);
}

TEST(Sweep, LeavesWhatMayBeInUse) {
  Folder folder;
  leave_block(folder, "elsewhere", [](BlockMember &member) { ++member.process->pid_namespace; });
  leave_block(folder, "without_proc", [](BlockMember &member) { member.process->pid_namespace = 0; });
  leave_block(folder, "forking", [](BlockMember &member) { member.process->pending_forks = 1; });
  leave_block(folder, "other_boot", [](BlockMember &member) { member.block.header->boot_id[0] ^= 1; });
  leave_block(folder, "no_boot", [](BlockMember &member) { member.block.header->boot_id[0] = '\0'; });
  leave_block(folder, "other_version", [](BlockMember &member) { ++member.block.header->abi_version; });
  int ready[2], end[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(end), 0);
  const pid_t living = unit::start_child([&] {
    for (const char *name : {"starting", "living"}) {
      BlockMember member;
      ASSERT_EQ(block_join(folder.path(), name, &member), 0);
      if (name[0] == 'l') process_publish(member.process);
    }
    char byte = 0;
    ASSERT_EQ(write(ready[1], "r", 1), 1);
    ASSERT_EQ(read(end[0], &byte, 1), 1);
  });
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  std::ofstream(folder.block("text")) << "somebody's";
  ASSERT_EQ(mkdir(folder.block("folder").c_str(), 0700), 0);
  ASSERT_EQ(mkfifo(folder.block("pipe").c_str(), 0600), 0);
  ASSERT_EQ(symlink(folder.block("living").c_str(), folder.block("link").c_str()), 0);
  std::ofstream(std::string(folder.path()) + "/other") << "somebody's";
  const size_t files = folder.files();
  wait_until_old(folder, "text");
  sweep(folder);
  blocks_sweep("/nowhere", "", own_identity(), nullptr, true);
  EXPECT_EQ(folder.files(), files);
  ASSERT_EQ(write(end[1], "e", 1), 1);
  unit::expect_child_succeeds(living);
  sweep(folder);
  EXPECT_FALSE(is_there(folder, "living"));
  EXPECT_FALSE(is_there(folder, "starting"));
  for (int descriptor : {ready[0], ready[1], end[0], end[1]}) close(descriptor);
}

TEST(Sweep, DoesNothingWhereNobodyIsKnownForCertain) {
  Folder folder;
  leave_block(folder, "a");
  wait_until_old(folder, "a");
  Identity unknown = own_identity();
  unknown.pid_namespace = 0;
  blocks_sweep(folder.path(), "", unknown, nullptr, true);
  unknown = own_identity();
  unknown.start_time = 0;
  blocks_sweep(folder.path(), "", unknown, nullptr, true);
  EXPECT_TRUE(is_there(folder, "a"));
}

TEST(Sweep, LooksIntoABoundedNumber) {
  Folder folder;
  constexpr int kBlocks = 100, kMost = 64;
  for (int i = 0; i < kBlocks; ++i) leave_block(folder, std::to_string(i).c_str());
  wait_until_old(folder, std::to_string(kBlocks - 1).c_str());
  sweep(folder);
  EXPECT_EQ(folder.files(), static_cast<size_t>(kBlocks - kMost));
  sweep(folder);
  EXPECT_EQ(folder.files(), 0u);
}

// As a process that has left `name` by an exec; its slot says so many bytes.
BlockMember join_before_exec(const Folder &folder, const char *name, int64_t bytes) {
  BlockMember member;
  EXPECT_EQ(block_join(folder.path(), name, &member), 0);
  member.process->shard_high = 1;
  member.process->shards[0].allocated_bytes = bytes;
  process_publish(member.process);
  return member;
}

TEST(Sweep, FreesTheSlotFromBeforeAnExec) {
  Folder folder;
  BlockMember before = join_before_exec(folder, "before", 100), alone = join_before_exec(folder, "alone", 1);
  BlockMember kept = join_before_exec(folder, "kept", 1), now = join_before_exec(folder, "now", 1);
  BlockMember again;
  ASSERT_EQ(block_join(folder.path(), "now", &again), 0);
  EXPECT_TRUE(again.was_member);
  EXPECT_FALSE(now.was_member);
  Process *other = before.block.process(1);  // who counts as alive, whatever its pid
  other->pid_namespace = unit::foreign_namespace(7);
  other->pid = 7;
  other->shard_high = 1;
  other->shards[0].allocated_bytes = 50;
  process_publish(other);
  before.block.header->process_high = 2;
  Limits limits = {};
  limits.limit = {120, MEMBUDGET_UNIT_BYTES, 1};
  limits.low = limits.medium = {1'000'000, MEMBUDGET_UNIT_MILLIONTHS, 1};
  budget_set_limits(before.block, limits, 0);
  ASSERT_EQ(block_level(before.block.header), MEMBUDGET_CRITICAL);

  blocks_sweep(folder.path(), "now", own_identity(), "kept", false);
  EXPECT_EQ(before.process->state, MEMBUDGET_PROCESS_FREE);
  EXPECT_EQ(block_level(before.block.header), MEMBUDGET_NONE) << "of 50 bytes";
  EXPECT_TRUE(is_there(folder, "before"));
  EXPECT_FALSE(is_there(folder, "alone"));
  EXPECT_TRUE(is_there(folder, "kept"));
  EXPECT_EQ(kept.process->state, MEMBUDGET_PROCESS_FREE);
  EXPECT_NE(again.process->state, MEMBUDGET_PROCESS_FREE);
  for (BlockMember *member : {&before, &alone, &kept, &now, &again}) block_close(&member->block);
}

}  // namespace
}  // namespace membudget
