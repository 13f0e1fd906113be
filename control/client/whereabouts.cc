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
  bool is_doubtful = false;        // some process may be it
  bool is_namespace_seen = false;  // some process is of its namespace
};

// Of slots that lie one after the other.
struct Sightings {
  Sighting of[MEMBUDGET_PROCESSES];
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

// What the process `pid` of the namespace `its` says about the slot `p`.
void compare(int32_t pid, uint64_t its, int32_t inner, const Process *p, Sighting *sighting) {
  if (its != 0 && its != p->pid_namespace) return;
  sighting->is_namespace_seen |= its != 0;
  if (inner < 0) sighting->is_doubtful = true;
  if (inner != p->pid) return;
  // Without a /proc of its own namespace it wrote down somebody else's start time: then it may be it, or have its pid.
  bool is_it = its != 0 && pid_is_alive(pid, p->start_time);
  if (is_it)
    sighting->pid = pid;
  else if (pid_is_alive(pid, 0))
    sighting->is_doubtful = true;
}

// What the process `pid` says about those of the slots that are elsewhere's.
void look_at(int32_t pid, const Process *slots, uint32_t count, uint64_t here, Sighting *sightings) {
  uint64_t its = namespace_of(pid);
  int32_t inner = its != here ? innermost_pid(pid) : 0;
  if (inner == 0) return;
  for (uint32_t i = 0; i < count; ++i)
    if (is_elsewhere(&slots[i], here)) compare(pid, its, inner, &slots[i], &sightings[i]);
}

bool any_is_elsewhere(const Process *slots, uint32_t count, uint64_t here) {
  for (uint32_t i = 0; i < count; ++i)
    if (slots[i].state != MEMBUDGET_PROCESS_FREE && is_elsewhere(&slots[i], here)) return true;
  return false;
}

void look_around(const Process *slots, uint32_t count, uint64_t here, Sightings *out) {
  if (!any_is_elsewhere(slots, count, here)) return;
  DIR *folder = is_proc_ours() ? opendir("/proc") : nullptr;
  if (!folder) return;
  while (dirent *entry = readdir(folder)) {
    if (!isdigit(static_cast<unsigned char>(entry->d_name[0]))) continue;
    auto pid = static_cast<int32_t>(strtol(entry->d_name, nullptr, 10));
    // Not with hidepid, which hides others' processes.
    out->is_everything_seen |= pid == 1 && here == kFirstNamespace;
    look_at(pid, slots, count, here, out->of);
  }
  closedir(folder);
}

bool is_gone(const Process *p, const Sighting &sighting, uint64_t here, bool is_everything_seen) {
  bool would_be_seen = sighting.is_namespace_seen || is_everything_seen;
  return is_elsewhere(p, here) && sighting.pid == 0 && !sighting.is_doubtful && would_be_seen;
}

}  // namespace

int32_t pid_seen_here(const Process *p) {
  uint64_t here = own_pid_namespace();
  if (!is_elsewhere(p, here)) return p->pid;
  Sightings sightings;
  look_around(p, 1, here, &sightings);
  return sightings.of[0].pid;
}

void pids_seen_here(const Block &block, Pids *out) {
  uint64_t here = own_pid_namespace();
  Sightings sightings;
  uint32_t high = block.process_high();
  look_around(block.process(0), high, here, &sightings);
  for (uint32_t i = 0; i < high; ++i) {
    const Process *p = block.process(i);
    out->of[i] = is_elsewhere(p, here) ? sightings.of[i].pid : p->pid;
  }
}

bool is_of_elsewhere_with_pid(const Process *p, int32_t pid) {
  uint64_t here = own_pid_namespace();
  if (!is_elsewhere(p, here) || namespace_of(pid) != p->pid_namespace || !is_proc_ours()) return false;
  Sighting sighting;
  look_at(pid, p, 1, here, &sighting);
  return sighting.pid == pid;
}

void reap_from_elsewhere(const Block &block) {
  uint64_t here = own_pid_namespace();
  uint32_t high = block.process_high();
  if (!block.writable || !any_is_elsewhere(block.process(0), high, here)) return;
  uint64_t generations[MEMBUDGET_PROCESSES];
  for (uint32_t i = 0; i < high; ++i) generations[i] = __atomic_load_n(&block.process(i)->generation, __ATOMIC_ACQUIRE);
  Sightings sightings;
  look_around(block.process(0), high, here, &sightings);
  bool found = false;
  for (uint32_t i = 0; i < high; ++i) {
    Process *p = block.process(i);
    bool is_free = __atomic_load_n(&p->state, __ATOMIC_ACQUIRE) == MEMBUDGET_PROCESS_FREE;
    if (is_free || !is_gone(p, sightings.of[i], here, sightings.is_everything_seen)) continue;
    BlockLock lock(block.header);
    if (__atomic_load_n(&p->generation, __ATOMIC_ACQUIRE) != generations[i]) continue;  // another's by now
    __atomic_store_n(&p->state, MEMBUDGET_PROCESS_FREE, __ATOMIC_RELEASE);
    found = true;
  }
  if (found) budget_evaluate(block);
}

}  // namespace membudget::client
