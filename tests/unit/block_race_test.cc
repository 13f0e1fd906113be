// Many processes at the same group at the same time.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <set>
#include <vector>

#include "control/block/block.h"
#include "tests/unit/child.h"
#include "tests/unit/folder.h"

namespace membudget {
namespace {

using unit::Folder;

constexpr int kProcesses = 12;

struct Report {
  ino_t block_file;
  uint32_t slot;
  bool created;
};

// Where all of a round start together, and stay members until all have joined.
struct Rendezvous {
  int started, joined;
  Report reports[kProcesses];
};

template <typename T>
T *shared() {
  void *memory = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(memory, MAP_FAILED);
  return static_cast<T *>(memory);
}

void arrive_and_wait(int *count) {
  __atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(count, __ATOMIC_SEQ_CST) < kProcesses) sched_yield();
}

void join_together(const Folder &folder, Rendezvous *meeting, int index) {
  arrive_and_wait(&meeting->started);
  BlockMember member;
  ASSERT_EQ(block_join(folder.path(), "race", &member), 0);
  ASSERT_NE(member.process, nullptr);
  process_publish(member.process);
  struct stat about;
  ASSERT_EQ(stat(folder.block("race").c_str(), &about), 0);
  auto slot = static_cast<uint32_t>(member.process - member.block.process(0));
  meeting->reports[index] = {about.st_ino, slot, member.created};
  arrive_and_wait(&meeting->joined);
  EXPECT_EQ(member.block.process_high(), static_cast<uint32_t>(kProcesses));
  EXPECT_TRUE(block_is_in_use(member.block));
}

void expect_one_block(const Rendezvous &meeting) {
  std::set<uint32_t> slots;
  int creators = 0;
  for (const Report &report : meeting.reports) {
    EXPECT_EQ(report.block_file, meeting.reports[0].block_file);
    slots.insert(report.slot);
    creators += report.created;
  }
  EXPECT_EQ(slots.size(), static_cast<size_t>(kProcesses));
  EXPECT_EQ(creators, 1);
}

// Each round finds the block of the round before, whose processes are all dead.
TEST(BlockRace, AllEndUpInOneBlock) {
  Folder folder;
  auto *meeting = shared<Rendezvous>();
  for (int round = 0; round < 12; ++round) {
    *meeting = {};
    std::vector<pid_t> children;
    for (int i = 0; i < kProcesses; ++i)
      children.push_back(unit::start_child([&] { join_together(folder, meeting, i); }));
    for (pid_t child : children) unit::expect_child_succeeds(child);
    expect_one_block(*meeting);
    EXPECT_EQ(folder.files(), 1u);
  }
  munmap(meeting, sizeof *meeting);
}

// Joiners against removers: whoever joined is in the block that its name leads to.
TEST(BlockRace, NobodyIsLeftInABlockThatWasRemoved) {
  Folder folder;
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) {
    children.push_back(unit::start_child([&] {
      const std::string path = folder.block("race");
      for (int round = 0; round < 60; ++round) {
        BlockMember member;
        ASSERT_EQ(block_join(folder.path(), "race", &member), 0);
        ASSERT_NE(member.process, nullptr);
        process_publish(member.process);
        Block named;
        ASSERT_EQ(block_open(path.c_str(), &named), 0);
        bool found = false;
        for (uint32_t j = 0; j < named.process_high(); ++j) found |= named.process(j)->pid == getpid();
        EXPECT_TRUE(found) << "round " << round;
        member.process->state = MEMBUDGET_PROCESS_LEAVING;
        block_remove_if_unused(path.c_str());
        block_close(&named);
        block_close(&member.block);
      }
    }));
  }
  for (pid_t child : children) unit::expect_child_succeeds(child);
  EXPECT_LE(folder.files(), 1u);
}

}  // namespace
}  // namespace membudget
