// Joining a group: creating its block, finding it, and getting past what is stale or in the way.
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "control/block/block.h"
#include "control/block/system.h"
#include "tests/unit/child.h"
#include "tests/unit/folder.h"
#include "tests/unit/seams.h"

namespace membudget {
namespace {

using unit::Folder;

ino_t inode_of(const std::string &path) {
  struct stat about;
  return stat(path.c_str(), &about) == 0 ? about.st_ino : 0;
}

// A child that joins, publishes, and dies without a word.
void join_and_die(const Folder &folder, const char *name) {
  unit::in_child([&] {
    BlockMember member;
    ASSERT_EQ(block_join(folder.path(), name, &member), 0);
    process_publish(member.process);
  });
}

TEST(BlockJoin, CreatesThenJoins) {
  Folder folder;
  BlockMember first;
  ASSERT_EQ(block_join(folder.path(), "g", &first), 0);
  EXPECT_TRUE(first.created);
  ASSERT_NE(first.process, nullptr);
  EXPECT_EQ(first.process->pid, getpid());
  EXPECT_EQ(first.process->state, MEMBUDGET_PROCESS_STARTING);
  process_publish(first.process);
  unit::in_child([&] {
    BlockMember second;
    ASSERT_EQ(block_join(folder.path(), "g", &second), 0);
    EXPECT_FALSE(second.created);
    EXPECT_EQ(second.process, second.block.process(1));
    EXPECT_EQ(second.process->pid, getpid());
    EXPECT_EQ(second.block.process(0)->pid, getppid());
  });
  EXPECT_EQ(first.block.process_high(), 2u);
  block_close(&first.block);
}

TEST(BlockJoin, RefusesNamesAndFolders) {
  Folder folder;
  BlockMember member;
  EXPECT_EQ(block_join(folder.path(), "a/b", &member), -EINVAL);
  EXPECT_EQ(block_join(folder.path(), "", &member), -EINVAL);
  EXPECT_EQ(block_join("/nowhere/at/all", "g", &member), -ENOENT);
  EXPECT_EQ(folder.files(), 0u);
}

TEST(BlockJoin, LeavesNoDescriptorOpen) {
  Folder folder;
  int before = dup(0);
  close(before);
  BlockMember member;
  ASSERT_EQ(block_join(folder.path(), "g", &member), 0);
  BlockMember again;
  ASSERT_EQ(block_join(folder.path(), "g", &again), 0);
  Block block;
  ASSERT_EQ(block_open(folder.block("g").c_str(), &block), 0);
  int after = dup(0);
  close(after);
  EXPECT_EQ(before, after);
  block_close(&block);
  block_close(&again.block);
  block_close(&member.block);
}

TEST(BlockJoin, ReplacesTheBlockOfTheDead) {
  Folder folder;
  join_and_die(folder, "g");
  const ino_t old = inode_of(folder.block("g"));
  ASSERT_NE(old, 0u);
  BlockMember member;
  ASSERT_EQ(block_join(folder.path(), "g", &member), 0);
  EXPECT_TRUE(member.created);
  EXPECT_EQ(member.block.process_high(), 1u);
  EXPECT_EQ(folder.files(), 1u);
  block_close(&member.block);
}

TEST(BlockJoin, ReplacesTheBlockOfAnotherBoot) {
  Folder folder;
  BlockMember before;
  ASSERT_EQ(block_join(folder.path(), "g", &before), 0);
  process_publish(before.process);  // pid and start time may even fit
  before.block.header->boot_id[0] ^= 1;
  BlockMember member;
  ASSERT_EQ(block_join(folder.path(), "g", &member), 0);
  EXPECT_TRUE(member.created);
  EXPECT_NE(member.block.header->boot_id[0], before.block.header->boot_id[0]);
  block_close(&before.block);
  block_close(&member.block);
}

// Its maker had no /proc, or who looks has none.
TEST(BlockJoin, KeepsTheBlockOfALivingMemberWithoutABoot) {
  Folder folder;
  BlockMember first, again;
  ASSERT_EQ(block_join(folder.path(), "g", &first), 0);
  process_publish(first.process);
  first.block.header->boot_id[0] = '\0';
  EXPECT_FALSE(block_remove_if_unused(folder.block("g").c_str()));
  ASSERT_EQ(block_join(folder.path(), "g", &again), 0);
  EXPECT_FALSE(again.created);
  block_close(&first.block);
  block_close(&again.block);
}

TEST(BlockJoin, KeepsTheBlockOfAMemberThatIsStarting) {
  Folder folder;
  BlockMember first;
  ASSERT_EQ(block_join(folder.path(), "g", &first), 0);
  EXPECT_FALSE(block_remove_if_unused(folder.block("g").c_str()));
  unit::in_child([&] {
    BlockMember member;
    ASSERT_EQ(block_join(folder.path(), "g", &member), 0);
    EXPECT_FALSE(member.created);
  });
  block_close(&first.block);
}

TEST(BlockRemove, OnlyWhenNobodyLives) {
  Folder folder;
  BlockMember member;
  ASSERT_EQ(block_join(folder.path(), "g", &member), 0);
  process_publish(member.process);
  EXPECT_FALSE(block_remove_if_unused(folder.block("g").c_str()));
  member.process->state = MEMBUDGET_PROCESS_LEAVING;
  EXPECT_TRUE(block_remove_if_unused(folder.block("g").c_str()));
  EXPECT_FALSE(block_remove_if_unused(folder.block("g").c_str()));
  EXPECT_EQ(folder.files(), 0u);
  block_close(&member.block);
}

struct Name {
  char text[MEMBUDGET_NAME_MAX + 8];
};

Name begin(const Folder &folder, const std::string &name, BlockMember *out) {
  Name found{};
  memcpy(found.text, name.c_str(), name.size() + 1);
  EXPECT_EQ(block_begin(folder.path(), found.text, out), 0);
  return found;
}

TEST(BlockBegin, NeverSharesWithOthers) {
  Folder folder;
  BlockMember first, mine;
  ASSERT_EQ(block_join(folder.path(), "g", &first), 0);
  process_publish(first.process);
  unit::in_child([&] {
    EXPECT_STREQ(begin(folder, "g", &mine).text, "g-2");
    EXPECT_TRUE(mine.created);
    process_publish(mine.process);
    EXPECT_STREQ(begin(folder, "g", &mine).text, "g-2") << "its own, as after an exec";
    EXPECT_FALSE(mine.created);
    EXPECT_TRUE(mine.was_member);
    unit::in_child([&] { EXPECT_STREQ(begin(folder, "g", &mine).text, "g-3"); });
  });
  EXPECT_STREQ(begin(folder, "g", &mine).text, "g");
  EXPECT_TRUE(mine.was_member);
  mine.process->state = MEMBUDGET_PROCESS_LEAVING;
  EXPECT_STREQ(begin(folder, "g", &mine).text, "g") << "nobody is left in it";
  EXPECT_TRUE(mine.created);
}

// `membudget run` within a group whose others go on.
TEST(BlockBegin, DoesNotGoBackToAGroupThatItHasLeft) {
  Folder folder;
  BlockMember left, mine;
  ASSERT_EQ(block_join(folder.path(), "g", &left), 0);
  left.process->state = MEMBUDGET_PROCESS_LEAVING;
  const pid_t other = unit::start_child([&] {
    BlockMember member;
    ASSERT_EQ(block_join(folder.path(), "other", &member), 0);
    Process *p = left.block.process(left.block.process_high());
    *p = *member.process;
    process_publish(p);
    left.block.header->process_high = 2;
    for (;;) pause();
  });
  while (__atomic_load_n(&left.block.header->process_high, __ATOMIC_ACQUIRE) < 2) system_sleep(1'000'000);
  EXPECT_STREQ(begin(folder, "g", &mine).text, "g-2");
  unit::kill_child(other);
}

TEST(BlockBegin, GoesPastWhatIsInTheWay) {
  Folder folder;
  BlockMember mine;
  FILE *file = fopen(folder.block("g").c_str(), "w");
  ASSERT_NE(file, nullptr);
  fclose(file);
  EXPECT_STREQ(begin(folder, "g", &mine).text, "g-2");
  const std::string longest(MEMBUDGET_NAME_MAX, 'n');
  ASSERT_EQ(mkdir(folder.block(longest).c_str(), 0700), 0);
  EXPECT_EQ(begin(folder, longest, &mine).text, longest.substr(0, MEMBUDGET_NAME_MAX - 2) + "-2");
  Name name{"g"};
  EXPECT_EQ(block_begin("/nowhere/at/all", name.text, &mine), -ENOENT);
}

TEST(BlockJoin, RespectsAFileSizeLimit) {
  Folder folder;
  unit::in_child([&] {
    rlimit limit = {1 << 20, RLIM_INFINITY};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    BlockMember member;
    EXPECT_EQ(block_join(folder.path(), "g", &member), -EFBIG) << "and no SIGXFSZ";
  });
  EXPECT_EQ(folder.files(), 0u);
}

// The kernel finds no page for the header, as on a full file system.
TEST(BlockJoin, FullFolder) {
  Folder folder;
  unit::SeamsRestored restored;
  unit::madvise_hook = [](void *, size_t, int) { return EFAULT; };
  BlockMember member;
  EXPECT_EQ(block_join(folder.path(), "g", &member), -ENOSPC);
  EXPECT_EQ(folder.files(), 0u);
}

// A real one: a tmpfs of a few pages, in a mount namespace of the child's.
class FullFileSystem : public ::testing::Test {
 protected:
  // `pages` for blocks; returns false where this user may not mount.
  static bool mount_small(const char *path, int pages) {
    if (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    const std::string options = "size=" + std::to_string(pages * 4) + "k";
    return mount("tmpfs", path, "tmpfs", 0, options.c_str()) == 0;
  }

  // Joins in a folder of so many pages, on a kernel that may lack MADV_POPULATE_WRITE.
  static void expect_join(int pages, bool old_kernel, int expected) {
    Folder folder;
    unit::in_child([&] {
      if (!mount_small(folder.path(), pages)) {
        printf("not tested: mounting is not allowed here\n");
        return;
      }
      if (old_kernel) unit::madvise_hook = [](void *, size_t, int) { return EINVAL; };
      BlockMember member;
      EXPECT_EQ(block_join(folder.path(), "g", &member), expected) << pages << " pages";
      if (expected == 0)
        EXPECT_EQ(member.process, nullptr) << "there is no memory for a slot";
      else
        EXPECT_EQ(folder.files(), 0u);
    });
  }
};

TEST_F(FullFileSystem, HasNoRoomForAHeader) {
  expect_join(1, false, 0);
  for (bool old_kernel : {false, true}) {
    Folder folder;
    unit::in_child([&] {
      if (!mount_small(folder.path(), 1)) return;
      FILE *other = fopen((std::string(folder.path()) + "/other").c_str(), "w");
      ASSERT_NE(other, nullptr);
      fputs("takes the only page", other);
      fclose(other);
      if (old_kernel) unit::madvise_hook = [](void *, size_t, int) { return EINVAL; };
      BlockMember member;
      EXPECT_EQ(block_join(folder.path(), "g", &member), -ENOSPC);
      EXPECT_EQ(folder.files(), 1u);
    });
  }
}

TEST_F(FullFileSystem, HasNoRoomForASlot) {
  for (bool old_kernel : {false, true})
    for (int pages : {1, 2}) expect_join(pages, old_kernel, 0);
}

TEST(BlockPopulate, TakesMemoryAndReportsWhatIsNotThere) {
  for (bool old_kernel : {false, true}) {
    unit::SeamsRestored restored;
    if (old_kernel) unit::madvise_hook = [](void *, size_t, int) { return EINVAL; };
    Folder folder;
    const std::string path = std::string(folder.path()) + "/file";
    FILE *file = fopen(path.c_str(), "w+");
    ASSERT_NE(file, nullptr);
    ASSERT_EQ(ftruncate(fileno(file), 8192), 0);
    auto *memory =
        static_cast<char *>(system_mmap(nullptr, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0));
    ASSERT_NE(memory, MAP_FAILED);
    EXPECT_TRUE(block_populate(memory, 8192));
    for (int i = 0; i < 8192; ++i) ASSERT_EQ(memory[i], 0);
    memset(memory, 0x77, 8192);
    EXPECT_TRUE(block_populate(memory, 8192));
    for (int i = 4; i < 4096; ++i) ASSERT_EQ(memory[i], 0x77) << "another's, who was faster";
    EXPECT_FALSE(block_populate(memory + 8192, 4096)) << "past the end of the file, where a touch is fatal";
    system_munmap(memory, 16384);
    fclose(file);
  }
}

}  // namespace
}  // namespace membudget
