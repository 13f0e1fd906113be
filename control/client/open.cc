// Finding a target: a process by its pid, a group by its name, or all that there are.
#include <dirent.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/block/system.h"
#include "control/client/handle.h"
#include "control/client/steering.h"
#include "control/client/whereabouts.h"

namespace membudget::client {
namespace {

constexpr size_t kPrefixLength = sizeof MEMBUDGET_FILE_PREFIX - 1;

// A pid as ps prints it; 0 when the text is none ("007" is a name).
int32_t parse_pid(const char *text) {
  if (*text < '1' || *text > '9') return 0;
  int64_t pid = 0;
  for (; *text >= '0' && *text <= '9'; ++text)
    if ((pid = pid * 10 + (*text - '0')) > INT32_MAX) return 0;
  return *text == '\0' ? static_cast<int32_t>(pid) : 0;
}

// The slot of the living process that has the pid `pid` in our pid namespace, or NULL.
Process *find_process(const Block &block, int32_t pid, uint64_t here) {
  for (uint32_t i = 0, high = block.process_high(); i < high; ++i) {
    Process *p = block.process(i);
    bool is_local = p->pid_namespace == here || p->pid_namespace == 0 || here == 0;
    bool is_it = is_local ? p->pid == pid : is_of_elsewhere_with_pid(p, pid);
    if (is_it && slot_is_taken(p)) return p;
  }
  return nullptr;
}

// Calls visit(path) for every file in the directory that is named like a block, until it returns non-zero.
// What it returned last, 0, or -errno.
template <typename Visitor>
int for_each_block(const char *directory, Visitor visit) {
  DIR *folder = opendir(directory);
  if (!folder) return -errno;
  int result = 0;
  while (dirent *entry = result == 0 ? readdir(folder) : nullptr) {
    char path[PATH_MAX];
    if (strncmp(entry->d_name, MEMBUDGET_FILE_PREFIX, kPrefixLength) == 0 &&
        block_path(directory, entry->d_name + kPrefixLength, path, sizeof path))
      result = visit(path);
  }
  closedir(folder);
  return result;
}

// The member of this process that was made last, should more than one block name the pid: after an exec
// into another group its old slot may still stand. 0 or -errno.
int open_process(const char *directory, int32_t pid, membudget_t **out) {
  Block found;
  Process *process = nullptr;
  bool refused = false;
  uint64_t here = own_pid_namespace();
  int error = for_each_block(directory, [&](const char *path) {
    Block block;
    int open_error = block_open(path, &block);
    refused |= open_error == -EACCES;
    Process *p = open_error == 0 ? find_process(block, pid, here) : nullptr;
    if (p && (!process || block.header->created_ns > found.header->created_ns)) {
      Block previous = found;
      found = block;
      block = previous;
      process = p;
    }
    block_close(&block);
    return 0;
  });
  if (!process) return error != 0 ? error : refused && process_start_time(pid) != 0 ? -EACCES : -ENOENT;
  *out = handle_create(found, process);
  if (*out) return 0;
  block_close(&found);
  return -ENOMEM;
}

int open_group(const char *directory, const char *name, bool may_have_ended, membudget_t **out) {
  char path[PATH_MAX];
  Block block;
  if (!block_path(directory, name, path, sizeof path)) return -EINVAL;
  int error = block_open(path, &block);
  if (error == -EISDIR || error == -ENXIO) error = -EPROTO;  // a folder, a pipe: no block of anybody's
  if (error == 0 && !may_have_ended && !anybody_lives(block)) error = -ENOENT;
  if (error == 0 && !(*out = handle_create(block, nullptr))) error = -ENOMEM;
  if (error != 0) block_close(&block);
  return error;
}

// Root could remove anybody's; what is not ours is not for us to clear up.
void remove_own(const char *path) {
  struct stat about;
  if (lstat(path, &about) == 0 && about.st_uid == geteuid()) block_remove_if_unused(path);
}

// One block's share of membudget_for_each.
int visit_block(const char *path, int (*each)(const Snapshot *, void *), void *context) {
  Block block;
  if (block_open(path, &block) != 0) return 0;
  int result = 0;
  Sums sums = group_sums_and_reap(block);
  Pids pids;
  pids_seen_here(block, &pids);
  for (uint32_t i = 0, high = block.process_high(); i < high && result == 0; ++i) {
    const Process *p = block.process(i);
    if (!slot_is_live(p)) continue;
    Snapshot snapshot;
    snapshot_process(block, p, sums, pids.of[i], &snapshot);
    result = each(&snapshot, context);
  }
  bool is_stale = result == 0 && !block_is_in_use(block);
  block_close(&block);
  if (is_stale) remove_own(path);
  return result;
}

}  // namespace

const char *block_directory(const char *directory) {
  if (!directory || !*directory) directory = secure_getenv("MEMBUDGET_DIR");
  return directory && *directory ? directory : MEMBUDGET_DEFAULT_DIR;
}

}  // namespace membudget::client

using namespace membudget::client;

int membudget_open_at(const char *directory, const char *target, membudget_t **out) {
  if (!target || !out || !membudget::name_is_valid(target)) return -EINVAL;
  membudget::ErrnoGuard guard;
  directory = block_directory(directory);
  int32_t pid = parse_pid(target);
  int by_pid = pid ? open_process(directory, pid, out) : -ENOENT;
  if (by_pid == 0 || by_pid == -ENOMEM) return by_pid;
  int by_name = open_group(directory, target, false, out);
  return by_name == -ENOENT ? by_pid : by_name;
}

int membudget_open(const char *target, membudget_t **out) { return membudget_open_at(nullptr, target, out); }

int membudget_open_group(const char *directory, const char *name, membudget_t **out) {
  if (!name || !out) return -EINVAL;
  membudget::ErrnoGuard guard;
  return open_group(block_directory(directory), name, false, out);
}

int membudget_open_ended(const char *directory, const char *name, membudget_t **out) {
  membudget::ErrnoGuard guard;
  return open_group(block_directory(directory), name, true, out);
}

void membudget_remove_ended(const char *directory, const char *name) {
  membudget::ErrnoGuard guard;
  char path[PATH_MAX];
  if (membudget::block_path(block_directory(directory), name, path, sizeof path)) remove_own(path);
}

int membudget_for_each(const char *directory, int (*each)(const struct membudget_snapshot *, void *), void *context) {
  if (!each) return -EINVAL;
  membudget::ErrnoGuard guard;
  return for_each_block(block_directory(directory), [&](const char *path) { return visit_block(path, each, context); });
}
