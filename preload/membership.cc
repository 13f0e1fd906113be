#include "preload/membership.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocator/ledger.h"
#include "control/block/amount.h"
#include "control/block/machine.h"
#include "control/block/sweep.h"
#include "control/block/system.h"
#include "preload/interface.h"
#include "preload/mapping.h"
#include "preload/profile/occasions.h"
#include "preload/profile/sampler.h"
#include "preload/startup.h"

namespace membudget {
namespace {

constexpr int kMostNameBytes = MEMBUDGET_NAME_MAX;
constexpr char kKeptName[] = "MEMBUDGET_KEEP_BLOCK";  // set by `membudget run --summary`, which reads it and removes it

// The arguments of this process, blanks between, cut off at `size`.
void read_command(char *text, size_t size) {
  int fd = system_open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd >= 0 ? system_read(fd, text, size - 1) : 0;
  if (fd >= 0) system_close(fd);
  if (length < 0) length = 0;
  text[length] = '\0';
  for (ssize_t i = 0; i + 1 < length; ++i)
    if (text[i] == '\0') text[i] = ' ';
}

void describe(Process *p, const Settings &settings) {
  p->parent_pid = getppid();
  strncpy(p->allocator, settings.allocator, sizeof p->allocator - 1);
  read_command(p->command, sizeof p->command);
  memcpy(p->config_errors, settings.errors, sizeof p->config_errors);
}

void register_barriers() {
  syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
  syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
}

// "NAME.PID", with NAME cut so that it fits.
void own_name(const char *name, char *out, size_t size) {
  char suffix[16];
  int length = snprintf(suffix, sizeof suffix, ".%d", getpid());
  snprintf(out, size, "%.*s%s", kMostNameBytes - length, name, suffix);
}

// Whether a process other than this one is in the block of that name: then this one is its child.
bool is_child_of(const char *directory, const char *name) {
  char path[PATH_MAX];
  Block block;
  if (!block_path(directory, name, path, sizeof path) || block_open(path, &block) != 0) return false;
  bool found = false;
  for (uint32_t i = 0; i < block.process_high() && !found; ++i) {
    const Process *p = block.process(i);
    bool is_member = p->state == MEMBUDGET_PROCESS_LIVE || p->state == MEMBUDGET_PROCESS_EXECED;
    found = is_member && p->pid != getpid() && process_is_alive(p);
  }
  block_close(&block);
  return found;
}

Membership join_private(const Settings &settings) {
  Membership own;
  if (block_create_private(settings.name, &own.block) != 0) return {};
  own.process = process_claim(own.block, getpid(), own_pid_namespace());
  own.created = own.is_private = true;
  return own;
}

// `begins`: the name is nobody's choice.
Membership join(Settings *settings, bool begins, bool *is_new = nullptr) {
  BlockMember member;
  int error = begins ? block_begin(settings->directory, settings->name, &member)
                     : block_join(settings->directory, settings->name, &member);
  if (error == 0 && is_new) *is_new = !member.was_member;
  if (error == 0) return {member.block, member.process, member.created};
  settings_add_error(settings,
                     "MEMBUDGET_DIR=%.200s: no block for %.64s there (%s): only this process sees its budget\n",
                     settings->directory, settings->name, strerrordesc_np(-error));
  return join_private(*settings);
}

uint32_t measure_of(const Settings &settings) {
  if (settings.measure >= 0) return static_cast<uint32_t>(settings.measure);
  bool by_share = amount_is_share(settings.limits.limit.is_set ? settings.limits.limit : settings.limits.hard_limit);
  return by_share ? MEMBUDGET_MEASURE_FOOTPRINT : MEMBUDGET_MEASURE_COUNTED;
}

void set_limits(const Block &block, const Settings &settings) {
  Header *h = block.header;
  h->measure = measure_of(settings);
  h->children = static_cast<uint32_t>(settings.children);
  budget_set_limits(block, settings.limits, memory_limit_bytes());
}

// Where a process begins that was in no block, or in another one before an exec. A group's first process clears up
// what others left: that is rare enough.
void sweep(const Settings &settings, const Membership &own) {
  const Process *p = own.process;
  Identity self = p ? Identity{p->pid, p->start_time, p->pid_namespace} : own_identity();
  blocks_sweep(settings.directory, p ? settings.name : "", self, getenv(kKeptName), own.created);
}

// Names the group for children that exec, and for `membudget run --summary`, which knows its pid only.
void tell_children(const char *name) {
  char pid[16];
  snprintf(pid, sizeof pid, "%d", getpid());
  const char *kept = getenv(kKeptName);
  if (kept && strcmp(kept, pid) == 0) setenv(kKeptName, name, 1);
  setenv("MEMBUDGET_NAME", name, 1);
}

// --- fork ---

// A parent that is seen by its pid is in the same pid namespace: /proc need not be asked.
uint64_t pid_namespace_of_child(const Process *parent) {
  return getppid() == parent->pid ? parent->pid_namespace : own_pid_namespace();
}

Membership membership_of_child(const ledger::Binding &parent) {
  const Settings &settings = startup_settings();
  if (settings.children == Children::ignore) return {};
  if (settings.children == Children::join)
    return {parent.block, process_claim(parent.block, getpid(), pid_namespace_of_child(parent.process)), false};
  Settings own = settings;
  own_name(settings.name, own.name, sizeof own.name);
  return join(&own, true);
}

void describe_child(Process *p, const Process *parent) {
  p->profile_mean_bytes = parent->profile_mean_bytes;
  p->parent_pid = parent->pid;
  memcpy(p->allocator, parent->allocator, sizeof p->allocator);
  memcpy(p->command, parent->command, sizeof p->command);
  memcpy(p->config_errors, parent->config_errors, sizeof p->config_errors);
}

// --- exit ---

// A child of the last moment has no slot yet: without this, a daemon's parent would remove the block.
void wait_for_children(const Process *p) {
  for (int i = 0; i < 100 && __atomic_load_n(&p->pending_forks, __ATOMIC_ACQUIRE) != 0; ++i) system_sleep(500'000);
}

// Runs late in exit(): what is still freed afterwards is counted in the slot, which nobody else takes
// before the process is gone. The last one out removes the block.
__attribute__((destructor)) void leave() {
  if (!startup_counts()) return;
  const auto &bound = ledger::binding();
  profile::profile_at_exit();
  wait_for_children(bound.process);
  Undisturbed undisturbed;
  __atomic_store_n(&bound.process->state, MEMBUDGET_PROCESS_LEAVING, __ATOMIC_RELEASE);
  budget_evaluate(bound.block);
  futex_wake_all(&bound.block.header->level_word);
  const char *kept = getenv(kKeptName);
  if (kept && strcmp(kept, bound.block.header->name) == 0) return;
  char path[PATH_MAX];
  if (block_path(startup_settings().directory, bound.block.header->name, path, sizeof path))
    block_remove_if_unused(path);
}

}  // namespace

void membership_before_fork() {
  profile::sampler_before_fork();
  mapping_before_fork();
  if (!startup_counts()) return;
  __atomic_fetch_add(&ledger::binding().process->pending_forks, 1, __ATOMIC_RELAXED);
  ledger::before_fork();
}

void membership_after_fork_in_parent(bool has_child) {
  mapping_after_fork();
  profile::sampler_after_fork_in_parent();
  if (!startup_counts()) return;
  ledger::after_fork_in_parent();
  if (!has_child) __atomic_fetch_sub(&ledger::binding().process->pending_forks, 1, __ATOMIC_RELEASE);
}

void membership_after_fork_in_child() {
  mapping_after_fork();
  profile::profile_after_fork_in_child();
  if (!startup_counts()) return;
  ErrnoGuard guard;
  Undisturbed undisturbed;
  auto parent = ledger::binding();
  Membership child = membership_of_child(parent);
  __atomic_fetch_sub(&parent.process->pending_forks, 1, __ATOMIC_RELEASE);
  if (child.process) {
    register_barriers();
    describe_child(child.process, parent.process);
  } else {
    startup_stop_counting();
  }
  ledger::after_fork_in_child(child.process ? child.block : parent.block, child.process, !child.created);
  if (child.created) set_limits(child.block, startup_settings());
  interface_follow();
}

Membership membership_begin(Settings *settings) {
  settings_check_marks(environ, memory_limit_bytes(), settings);
  bool is_first = settings->name[0] == '\0';
  bool is_child = !is_first && settings->children != Children::join && is_child_of(settings->directory, settings->name);
  if (is_first) snprintf(settings->name, sizeof settings->name, "%d", getpid());
  if (is_child) {
    if (settings->children == Children::ignore) return sweep(*settings, {}), Membership{};
    char name[sizeof settings->name];
    own_name(settings->name, name, sizeof name);
    memcpy(settings->name, name, sizeof name);
  }
  register_barriers();
  bool is_new = false;
  Membership own = join(settings, is_first || is_child, &is_new);
  own.is_named_here = is_first;
  if (is_new) sweep(*settings, own);
  return own;
}

void membership_settle(const Membership &membership, const Settings &settings) {
  describe(membership.process, settings);
  if (membership.created) set_limits(membership.block, settings);
  interface_follow();
  pthread_atfork(
      membership_before_fork, [] { membership_after_fork_in_parent(true); }, membership_after_fork_in_child);
  if (membership.is_named_here) tell_children(settings.name);
}

}  // namespace membudget
