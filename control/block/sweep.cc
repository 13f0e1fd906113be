#include "control/block/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "control/block/budget.h"
#include "control/block/lock.h"
#include "control/block/system.h"

namespace membudget {
namespace {

constexpr int kMostBlocks = 64;
constexpr int kMostReads = 8;
constexpr size_t kReadBytes = 4096;
constexpr size_t kPrefixLength = sizeof MEMBUDGET_FILE_PREFIX - 1;
constexpr uint64_t kYoungNs = 1'000'000'000;

// As getdents64 gives them; readdir() would allocate.
struct Entry {
  uint64_t inode;
  int64_t offset;
  uint16_t bytes;
  uint8_t type;
  char name[];
};

struct Sweep {
  const char *directory, *but, *kept;
  Identity self;
  bool removes_abandoned;
  int blocks = 0;
};

bool holds(const Process *p, const Identity &who) {
  return __atomic_load_n(&p->state, __ATOMIC_ACQUIRE) != MEMBUDGET_PROCESS_FREE && p->pid == who.pid &&
         p->start_time == who.start_time && p->pid_namespace == who.pid_namespace;
}

// Frees the slot of `self`, and brings the level of those who stay in line. False when it has none.
bool free_slot(const Block &block, const Identity &self) {
  bool found = false;
  for (uint32_t i = 0, high = block.process_high(); i < high; ++i) {
    Process *p = block.process(i);
    if (!holds(p, self)) continue;
    BlockLock lock(block.header);
    if (!holds(p, self)) continue;
    __atomic_store_n(&p->state, MEMBUDGET_PROCESS_FREE, __ATOMIC_RELEASE);
    found = true;
  }
  if (!found) return false;
  budget_evaluate(block);
  futex_wake_all(&block.header->level_word);
  return true;
}

bool may_have_a_user(const Process *p, uint64_t pid_namespace) {
  uint32_t state = __atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
  if (state == MEMBUDGET_PROCESS_FREE) return false;
  // A child that has no slot yet may outlive who forked it.
  if (__atomic_load_n(&p->pending_forks, __ATOMIC_ACQUIRE) != 0) return true;
  if (state == MEMBUDGET_PROCESS_LEAVING) return false;
  // Another that has got the pid keeps the block, too: /proc takes ten times as long to tell.
  return p->pid_namespace != pid_namespace || kill(p->pid, 0) == 0 || errno != ESRCH;
}

// More careful than who joins: that looks into a block that it was told of.
bool is_abandoned(const Block &block, uint64_t pid_namespace) {
  for (uint32_t i = 0, high = block.process_high(); i < high; ++i)
    if (may_have_a_user(block.process(i), pid_namespace)) return false;
  return block_is_of_this_boot(block);
}

bool is_older_than_a_second(const struct stat &about) {
  auto changed =
      static_cast<uint64_t>(about.st_ctim.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(about.st_ctim.tv_nsec);
  uint64_t now = realtime_ns();
  return now > changed && now - changed > kYoungNs;
}

void look_into(const Sweep &sweep, const char *name, const char *path, const struct stat &about) {
  Block block;
  if (block_open(path, &block) != 0) return;
  bool is_done_with = block.writable && free_slot(block, sweep.self);
  bool is_kept = sweep.kept && strcmp(sweep.kept, name) == 0;
  bool goes = is_done_with ? !is_kept
                           : sweep.removes_abandoned && block.writable && is_older_than_a_second(about) &&
                                 is_abandoned(block, sweep.self.pid_namespace);
  block_close(&block);
  if (goes) block_remove_if_unused(path);
}

void look_at(Sweep *sweep, const Entry &entry) {
  if ((entry.type != DT_REG && entry.type != DT_UNKNOWN) ||
      strncmp(entry.name, MEMBUDGET_FILE_PREFIX, kPrefixLength) != 0)
    return;
  const char *name = entry.name + kPrefixLength;
  char path[PATH_MAX];
  struct stat about;
  if (strcmp(name, sweep->but) == 0 || !block_path(sweep->directory, name, path, sizeof path) ||
      lstat(path, &about) != 0 || about.st_uid != geteuid())
    return;
  if (sweep->blocks++ < kMostBlocks) look_into(*sweep, name, path, about);
}

}  // namespace

Identity own_identity() { return {getpid(), process_start_time(getpid()), own_pid_namespace()}; }

void blocks_sweep(const char *directory, const char *but, const Identity &self, const char *kept,
                  bool removes_abandoned) {
  ErrnoGuard guard;
  if (self.start_time == 0 || self.pid_namespace == 0) return;  // no /proc: nobody is known for certain
  int fd = system_open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  Sweep sweep = {directory, but, kept, self, removes_abandoned};
  alignas(Entry) char entries[kReadBytes];
  for (int i = 0; i < kMostReads && sweep.blocks < kMostBlocks; ++i) {
    long length = syscall(SYS_getdents64, fd, entries, sizeof entries);
    if (length <= 0) break;
    for (long at = 0; at < length; at += reinterpret_cast<Entry *>(entries + at)->bytes)
      look_at(&sweep, *reinterpret_cast<Entry *>(entries + at));
  }
  system_close(fd);
}

}  // namespace membudget
