// Process slots: who holds one, whether it lives, and what becomes of a dead one's.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control/block/block.h"
#include "control/block/lock.h"
#include "control/block/members.h"
#include "control/block/system.h"

namespace membudget {
namespace {

// /proc/PID/stat.
struct Stat {
  char state = 0;                          // field 3
  long threads = 0;                        // field 20
  uint64_t start_time = 0;                 // field 22
  uint64_t code_end = 0, stack_start = 0;  // fields 27 and 28
  // A zombie whose other threads live is a process whose main thread called pthread_exit.
  bool is_dead() const { return (state == 'Z' && threads <= 1) || state == 'X'; }
};

// By how many ticks /proc shows this process times of boot that are later than others see them: its time namespace's.
int64_t boot_offset_ticks() {
  static int64_t ticks;
  static bool is_known;
  if (__atomic_load_n(&is_known, __ATOMIC_ACQUIRE)) return __atomic_load_n(&ticks, __ATOMIC_RELAXED);
  char text[256];
  int fd = system_open("/proc/self/timens_offsets", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd >= 0 ? system_read(fd, text, sizeof text - 1) : 0;
  if (fd >= 0) system_close(fd);
  text[length > 0 ? length : 0] = '\0';
  constexpr char kClock[] = "boottime";
  const char *line = strstr(text, kClock);
  int64_t seconds = line ? strtoll(line + sizeof kClock - 1, nullptr, 10) : 0;
  __atomic_store_n(&ticks, seconds * sysconf(_SC_CLK_TCK), __ATOMIC_RELAXED);
  __atomic_store_n(&is_known, true, __ATOMIC_RELEASE);
  return ticks;
}

// False when there is no such process (or no /proc).
bool read_stat(int32_t pid, Stat *out) {
  char path[32], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = system_open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t length = system_read(fd, text, sizeof text - 1);
  system_close(fd);
  if (length <= 0) return false;
  text[length] = '\0';
  const char *field = strrchr(text, ')');  // the command's name may hold blanks and brackets
  if (!field || field[1] == '\0') return false;
  out->state = field[2];
  field += 2;
  for (int i = 4; i <= 28; ++i) {
    field = strchr(field + 1, ' ');
    if (!field) return false;
    if (i == 20) out->threads = strtol(field + 1, nullptr, 10);
    if (i == 22) out->start_time = strtoull(field + 1, nullptr, 10) - static_cast<uint64_t>(boot_offset_ticks());
    if (i == 27) out->code_end = strtoull(field + 1, nullptr, 10);
    if (i == 28) out->stack_start = strtoull(field + 1, nullptr, 10);
  }
  return true;
}

void reset_slot(Process *p) {
  auto *words = reinterpret_cast<char *>(p);
  constexpr size_t kFirst = offsetof(Process, mapped_bytes);
  memset(words + kFirst, 0, offsetof(Process, shards) - kFirst);
}

// Who asks for a slot.
struct Claimant {
  int32_t pid;
  uint64_t pid_namespace;
  Stat stat;
};

bool is_same_process(const Process *p, const Claimant &who) {
  return p->state != MEMBUDGET_PROCESS_FREE && p->pid == who.pid && p->start_time == who.stat.start_time &&
         p->pid_namespace == who.pid_namespace;
}

// Fills in the identity of a slot; a used one keeps its generation. False when it is another's, or has no memory.
bool take(Process *p, const Claimant &who) {
  // A holder of the lock that was stopped may be about to take it, too: one of the two gets it.
  uint32_t state = __atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
  if (state != MEMBUDGET_PROCESS_FREE && !is_same_process(p, who)) return false;
  if (!__atomic_compare_exchange_n(&p->state, &state, MEMBUDGET_PROCESS_STARTING, false, __ATOMIC_ACQ_REL,
                                   __ATOMIC_RELAXED))
    return false;
  p->pid = who.pid;
  p->start_time = who.stat.start_time;
  p->pid_namespace = who.pid_namespace;
  ++p->generation;
  // What the last user counted; the shards beyond are as the file began, and stay so until somebody owns them.
  constexpr size_t kPage = 4096;
  size_t used_bytes = shard_high(p) * sizeof(Shard);
  reset_slot(p);
  p->code_end = who.stat.code_end;
  p->stack_start = who.stat.stack_start;
  if (block_populate(p->shards, kPage)) return memset(p->shards, 0, used_bytes > kPage ? used_bytes : kPage) != nullptr;
  __atomic_store_n(&p->state, MEMBUDGET_PROCESS_FREE, __ATOMIC_RELEASE);
  return false;
}

bool is_gone(int32_t pid) { return pid <= 0 || (kill(pid, 0) != 0 && errno == ESRCH); }

// Frees the slots whose pid is nobody's any more: one system call for each, so that it can be done at every
// fork. A pid that somebody else got is left to process_reap().
uint32_t reap_vanished(const Block &block, uint64_t pid_namespace) {
  uint32_t high = block.process_high(), reaped = 0;
  for (uint32_t i = 0; i < high; ++i) {
    Process *p = block.process(i);
    if (p->state == MEMBUDGET_PROCESS_FREE || p->pid_namespace != pid_namespace || !is_gone(p->pid)) continue;
    __atomic_store_n(&p->state, MEMBUDGET_PROCESS_FREE, __ATOMIC_RELEASE);
    ++reaped;
  }
  return reaped;
}

Process *first_free(const Block &block, uint32_t high) {
  for (uint32_t i = 0; i < high; ++i)
    if (block.process(i)->state == MEMBUDGET_PROCESS_FREE) return block.process(i);
  return nullptr;
}

// Where slots are scarce, those of processes that do not count are not kept for them.
void free_execed(const Block &block) {
  for (uint32_t i = 0, high = block.process_high(); i < high; ++i) {
    uint32_t state = MEMBUDGET_PROCESS_EXECED;
    __atomic_compare_exchange_n(&block.process(i)->state, &state, MEMBUDGET_PROCESS_FREE, false, __ATOMIC_ACQ_REL,
                                __ATOMIC_RELAXED);
  }
}

Process *find_slot(const Block &block, const Claimant &who) {
  uint32_t high = block.process_high();
  for (uint32_t i = 0; i < high; ++i)
    if (is_same_process(block.process(i), who)) return block.process(i);
  if (Process *p = first_free(block, high)) return p;
  if (reap_vanished(block, who.pid_namespace) > 0) return first_free(block, high);
  if (high < MEMBUDGET_PROCESSES) return block.process(high);
  process_reap(block, nullptr);
  if (Process *p = first_free(block, high)) return p;
  free_execed(block);
  return first_free(block, high);
}

enum class Life { gone, as_another_program, as_it_was };

// An exec changes both figures, but for one without address space randomisation into a program of the same size with
// arguments and environment of the same length. Other programs' are shown as zeros to who may not look.
bool is_another_program(const Process *p, const Stat &stat) {
  if (p->stack_start == 0 || stat.stack_start == 0) return false;
  return stat.stack_start != p->stack_start || stat.code_end != p->code_end;
}

Life life_in(const Process *p, uint64_t pid_namespace) {
  if (p->pid_namespace != 0 && pid_namespace != 0 && p->pid_namespace != pid_namespace) return Life::as_it_was;
  if (is_gone(p->pid)) return Life::gone;
  Stat stat;
  if (!read_stat(p->pid, &stat)) return Life::as_it_was;                    // no /proc: believe the pid
  bool may_be_it = p->start_time == 0 || stat.start_time == p->start_time;  // 0: it had no /proc itself
  if (!may_be_it || stat.is_dead()) return Life::gone;
  return is_another_program(p, stat) ? Life::as_another_program : Life::as_it_was;
}

// What becomes of a slot in `state`. One that another program runs in is kept for the process, for that program may
// have the library, too, and be about to claim it. Who was stopped on the way here may mark it after that: then it is
// put right by the next one who looks.
uint32_t state_after(uint32_t state, Life life) {
  if (life == Life::gone) return MEMBUDGET_PROCESS_FREE;
  if (life == Life::as_another_program && state == MEMBUDGET_PROCESS_LIVE) return MEMBUDGET_PROCESS_EXECED;
  if (life == Life::as_it_was && state == MEMBUDGET_PROCESS_EXECED) return MEMBUDGET_PROCESS_LIVE;
  return state;
}

}  // namespace

bool pid_is_alive(int32_t pid, uint64_t start_time) {
  if (is_gone(pid)) return false;
  Stat stat;
  if (!read_stat(pid, &stat)) return true;  // no /proc: believe the pid
  return (start_time == 0 || stat.start_time == start_time) && !stat.is_dead();
}

uint64_t own_pid_namespace() {
  struct ::stat about;
  return ::stat("/proc/self/ns/pid", &about) == 0 ? about.st_ino : 0;
}

uint64_t process_start_time(int32_t pid) {
  ErrnoGuard guard;
  Stat stat;
  return read_stat(pid, &stat) ? stat.start_time : 0;
}

bool process_is_alive(const Process *p) {
  ErrnoGuard guard;
  return life_in(p, own_pid_namespace()) != Life::gone;
}

bool process_is_as_it_was(const Process *p) {
  ErrnoGuard guard;
  return life_in(p, own_pid_namespace()) == Life::as_it_was;
}

bool block_is_in_use(const Block &block) {
  uint32_t high = block.process_high();
  for (uint32_t i = 0; i < high; ++i) {
    const Process *p = block.process(i);
    uint32_t state = __atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
    bool has_a_user = state != MEMBUDGET_PROCESS_FREE && state != MEMBUDGET_PROCESS_LEAVING;
    if (has_a_user && process_is_alive(p)) return true;
  }
  return false;
}

Process *process_claim(const Block &block, int32_t pid, uint64_t pid_namespace, bool *was_member) {
  ErrnoGuard guard;
  Claimant who = {pid, pid_namespace, {}};
  read_stat(pid, &who.stat);
  for (;;) {
    BlockLock lock(block.header);
    Process *p = find_slot(block, who);
    auto slot = static_cast<uint32_t>(p ? p - block.process(0) : 0);
    bool fresh = slot >= block.process_high();
    bool is_own = p && !fresh && is_same_process(p, who);
    MEMBUDGET_YIELD_POINT();
    if (p && fresh && !block_populate(p, offsetof(Process, shards))) p = nullptr;
    bool is_taken = p && take(p, who);
    if (p && fresh)  // unless somebody raised it since
      __atomic_compare_exchange_n(&block.header->process_high, &slot, slot + 1, false, __ATOMIC_RELEASE,
                                  __ATOMIC_RELAXED);
    if (is_taken && was_member) *was_member = is_own;
    if (is_taken) return p;
    // Taken by another meanwhile; or left by one that died half-way, before it counted among the slots in use.
    if ((p && __atomic_load_n(&p->state, __ATOMIC_ACQUIRE) != MEMBUDGET_PROCESS_FREE) || !lock.is_held()) continue;
    __atomic_fetch_add(&block.header->uncounted_processes, 1, __ATOMIC_RELAXED);
    return nullptr;
  }
}

void process_publish(Process *p) { __atomic_store_n(&p->state, MEMBUDGET_PROCESS_LIVE, __ATOMIC_RELEASE); }

uint32_t process_reap(const Block &block, const Process *but) {
  ErrnoGuard guard;
  uint64_t pid_namespace = own_pid_namespace();
  uint32_t high = block.process_high(), reaped = 0;
  for (uint32_t i = 0; i < high; ++i) {
    Process *p = block.process(i);
    uint32_t state = __atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
    if (p == but || state == MEMBUDGET_PROCESS_FREE) continue;
    uint64_t generation = __atomic_load_n(&p->generation, __ATOMIC_ACQUIRE);
    uint32_t next = state_after(state, life_in(p, pid_namespace));
    if (next == state || __atomic_load_n(&p->generation, __ATOMIC_ACQUIRE) != generation) continue;  // another's by now
    MEMBUDGET_YIELD_POINT();
    reaped += __atomic_compare_exchange_n(&p->state, &state, next, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
  }
  return reaped;
}

}  // namespace membudget
