#include "control/client/whereabouts.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/block/budget.h"
#include "control/block/lock.h"

namespace membudget::client {
namespace {

constexpr uint64_t kFirstNamespace = 0xEFFFFFFC;  // PROC_PID_INIT_INO: from there every process can be seen

// What a look at all processes told of one slot.
struct Sighting {
  int32_t pid = 0;
  bool is_doubtful = false;         // some process may be it
  bool is_namespace_seen = false;   // some process is of its namespace
  bool is_everything_seen = false;  // no process was hidden
};

bool is_elsewhere(const Process *p, uint64_t here) {
  return p->pid_namespace != 0 && here != 0 && p->pid_namespace != here;
}

// Whether /proc is of our own namespace, so that its pids are ours.
bool is_proc_ours() {
  char link[16];
  ssize_t length = readlink("/proc/self", link, sizeof link - 1);
  link[length > 0 ? length : 0] = '\0';
  return strtol(link, nullptr, 10) == getpid();
}

// The inode of the process's pid namespace; 0 where it may not be looked at, or there is no such process.
uint64_t namespace_of(int32_t pid) {
  char path[40];
  struct stat about;
  snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
  return stat(path, &about) == 0 ? about.st_ino : 0;
}

// Its pid in the innermost namespace that it is in, the last number of NSpid. 0 when there is no such process or its
// namespace is ours, -1 where it may not be looked at.
int32_t innermost_pid(int32_t pid) {
  char path[40], line[256];
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  FILE *file = fopen(path, "re");
  if (!file) return errno == ENOENT || errno == ESRCH ? 0 : -1;
  int32_t found = -1;  // before Linux 4.1 it is not told
  while (found < 0 && fgets(line, sizeof line, file)) {
    if (strncmp(line, "NSpid:", 6) != 0) continue;
    const char *first = strchr(line, '\t'), *last = strrchr(line, '\t');
    found = first != last ? static_cast<int32_t>(strtol(last, nullptr, 10)) : 0;
  }
  fclose(file);
  return found;
}

// What the process `pid` says about the slot `p`.
void look_at(int32_t pid, const Process *p, uint64_t here, Sighting *sighting) {
  uint64_t its = namespace_of(pid);
  if (its == here || (its != 0 && its != p->pid_namespace)) return;
  sighting->is_namespace_seen |= its != 0;
  int32_t inner = innermost_pid(pid);
  if (inner < 0) sighting->is_doubtful = true;
  if (inner != p->pid) return;
  // Without a /proc of its own namespace it wrote down somebody else's start time: then it may be it, or have its pid.
  bool is_it = its != 0 && pid_is_alive(pid, p->start_time);
  if (is_it)
    sighting->pid = pid;
  else if (pid_is_alive(pid, 0))
    sighting->is_doubtful = true;
}

Sighting look_for(const Process *p, uint64_t here) {
  Sighting sighting;
  DIR *folder = is_proc_ours() ? opendir("/proc") : nullptr;
  if (!folder) return sighting;
  bool is_first_seen = false;
  while (dirent *entry = sighting.pid == 0 ? readdir(folder) : nullptr) {
    if (!isdigit(static_cast<unsigned char>(entry->d_name[0]))) continue;
    auto pid = static_cast<int32_t>(strtol(entry->d_name, nullptr, 10));
    is_first_seen |= pid == 1;  // not with hidepid, which hides others' processes
    look_at(pid, p, here, &sighting);
  }
  closedir(folder);
  sighting.is_everything_seen = is_first_seen && here == kFirstNamespace;
  return sighting;
}

}  // namespace

int32_t pid_seen_here(const Process *p) {
  uint64_t here = own_pid_namespace();
  return is_elsewhere(p, here) ? look_for(p, here).pid : p->pid;
}

bool is_gone_from_elsewhere(const Process *p) {
  uint64_t here = own_pid_namespace();
  if (!is_elsewhere(p, here)) return false;
  Sighting sighting = look_for(p, here);
  bool would_be_seen = sighting.is_namespace_seen || sighting.is_everything_seen;
  return sighting.pid == 0 && !sighting.is_doubtful && would_be_seen;
}

bool is_of_elsewhere_with_pid(const Process *p, int32_t pid) {
  uint64_t here = own_pid_namespace();
  if (!is_elsewhere(p, here) || namespace_of(pid) != p->pid_namespace || !is_proc_ours()) return false;
  Sighting sighting;
  look_at(pid, p, here, &sighting);
  return sighting.pid == pid;
}

void reap_from_elsewhere(const Block &block) {
  if (!block.writable) return;
  bool found = false;
  for (uint32_t i = 0, high = block.process_high(); i < high; ++i) {
    Process *p = block.process(i);
    uint64_t generation = __atomic_load_n(&p->generation, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) == MEMBUDGET_PROCESS_FREE || !is_gone_from_elsewhere(p)) continue;
    BlockLock lock(block.header);
    if (__atomic_load_n(&p->generation, __ATOMIC_ACQUIRE) != generation) continue;  // another's by now
    __atomic_store_n(&p->state, MEMBUDGET_PROCESS_FREE, __ATOMIC_RELEASE);
    found = true;
  }
  if (found) budget_evaluate(block);
}

}  // namespace membudget::client
