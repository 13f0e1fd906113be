#include "preload/startup.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "allocator/dynamic.h"
#include "allocator/jemalloc.h"
#include "allocator/ledger.h"
#include "allocator/ptmalloc.h"
#include "control/block/system.h"
#include "preload/damage.h"
#include "preload/log.h"
#include "preload/membership.h"
#include "preload/meter.h"
#include "preload/profile/occasions.h"
#include "preload/profile/sampled_entry.h"
#include "preload/table.h"
#include "preload/trim.h"

extern "C" void *__libc_stack_end;  // of the dynamic linker: where the kernel put the arguments

namespace membudget {
namespace {

constinit Settings settings{};
AllocatorKind kind = AllocatorKind::ptmalloc;
bool is_chosen;
bool is_secure;
bool is_replaced;  // the program's malloc is neither glibc's nor ours
bool is_counting;
bool is_limited;
bool is_loading;
bool may_have_early_blocks;  // the early arena served first
pthread_key_t thread_exit_key;
bool has_thread_exit_key;

// A variable of the environment. Before libc's constructor has run (a program's .preinit_array, the dynamic linker)
// libc knows no environment: it stands on the stack, where the kernel left it.
const char *variable(const char *name) {
  if (environ) return getenv(name);
  const auto *stack = static_cast<const intptr_t *>(__libc_stack_end);  // argc, arguments, NULL, environment, NULL
  auto *entries = reinterpret_cast<const char *const *>(stack + 1 + stack[0] + 1);
  size_t length = strlen(name);
  for (; *entries; ++entries)
    if (strncmp(*entries, name, length) == 0 && (*entries)[length] == '=') return *entries + length + 1;
  return nullptr;
}

// The value of MEMBUDGET_ALLOCATOR, before anything else is read.
const char *allocator_wanted() {
  const char *value = variable("MEMBUDGET_ALLOCATOR");
  return value && *value ? value : "ptmalloc";
}

bool is_dynamic(const char *allocator) {
  return strcmp(allocator, "mimalloc") == 0 || strcmp(allocator, "tcmalloc") == 0 || allocator[0] == '/';
}

// valgrind's tools that look at the heap (memcheck, massif, dhat, helgrind, drd) put a malloc of their own in the place
// of every other, glibc's and ours, but not of all of its functions: what they miss must go to glibc's.
bool is_under_valgrinds_heap() {
  constexpr char kTool[] = "/vgpreload_", kCore[] = "core";
  const char *libraries = variable("LD_PRELOAD");
  const char *tool = libraries ? strstr(libraries, kTool) : nullptr;
  for (; tool; tool = strstr(tool, kTool)) {
    tool += sizeof kTool - 1;
    if (strncmp(tool, kCore, sizeof kCore - 1) != 0) return true;
  }
  return false;
}

template <typename Count>
EntryTable table_for() {
  switch (kind) {
    case AllocatorKind::ptmalloc:
      if (!may_have_early_blocks) return table_of<Ptmalloc, Count>();
      return table_of<PtmallocAfterEarly, Count>();
    case AllocatorKind::jemalloc: return table_of<Jemalloc, Count>();
    case AllocatorKind::mimalloc: return table_of<Mimalloc, Count>();
    case AllocatorKind::tcmalloc: return table_of<Tcmalloc, Count>();
    case AllocatorKind::foreign: break;
  }
  return table_of<Foreign, Count>();
}

// The same with stacks being sampled.
template <typename Count>
EntryTable sampled_table_for() {
  using profile::sampled_table_of;
  switch (kind) {
    case AllocatorKind::ptmalloc:
      if (!may_have_early_blocks) return sampled_table_of<Ptmalloc, Count>();
      return sampled_table_of<PtmallocAfterEarly, Count>();
    case AllocatorKind::jemalloc: return sampled_table_of<Jemalloc, Count>();
    case AllocatorKind::mimalloc: return sampled_table_of<Mimalloc, Count>();
    case AllocatorKind::tcmalloc: return sampled_table_of<Tcmalloc, Count>();
    case AllocatorKind::foreign: break;
  }
  return sampled_table_of<Foreign, Count>();
}

void choose_table() {
  bool is_sampled = profile::sampler_is_on();
  if (is_limited)
    entry_table = is_sampled ? sampled_table_for<Limited>() : table_for<Limited>();
  else
    entry_table = is_sampled ? sampled_table_for<Counted>() : table_for<Counted>();
}

void use_jemalloc() {
  if (!Jemalloc::bind()) return;
  ledger::count_by({Jemalloc::allocated_total, Jemalloc::freed_total});
  kind = AllocatorKind::jemalloc;
  entry_table = table_of<Jemalloc, Counted>();
}

void use_ptmalloc() {
  kind = AllocatorKind::ptmalloc;
  entry_table = table_of<Ptmalloc, Counted>();
}

bool bind_dynamic(char *why, size_t why_size) {
  if (strcmp(settings.allocator, "mimalloc") == 0) {
    kind = AllocatorKind::mimalloc;
    return dynamic_bind_mimalloc(why, why_size);
  }
  if (strcmp(settings.allocator, "tcmalloc") == 0) {
    kind = AllocatorKind::tcmalloc;
    return dynamic_bind_tcmalloc(why, why_size);
  }
  kind = AllocatorKind::foreign;
  return dynamic_bind_path(settings.allocator, why, why_size);
}

// Loads the dlopen'ed allocator; on failure glibc's takes over what the early arena began.
void load_dynamic() {
  char why[600] = "";
  is_loading = true;
  bool is_bound = bind_dynamic(why, sizeof why);
  is_loading = false;
  if (is_bound) {
    if (!dynamic_sizes_known) kind = AllocatorKind::foreign;
    entry_table = table_for<Counted>();
    return;
  }
  settings_add_error(&settings, "MEMBUDGET_ALLOCATOR=%.100s cannot be used: %.500s\n", settings.allocator, why);
  strcpy(settings.allocator, "ptmalloc");
  kind = AllocatorKind::ptmalloc;
  entry_table = table_for<Counted>();
}

// What CPython takes its small objects from. Its environment is read after this.
void set_python_malloc() {
  bool counted_exactly = settings.python_malloc == PythonMalloc::malloc ||
                         (settings.python_malloc == PythonMalloc::automatic && kind != AllocatorKind::ptmalloc);
  if (counted_exactly) setenv("PYTHONMALLOC", "malloc", 0);
}

void on_thread_exit(void *) { ledger::thread_ends(); }

void on_request() {
  if (ledger::binding().block.header->hard_limit_bytes > 0) startup_limit();
  log_crossing(settings, ledger::binding().block);
  trim_on_request();
  profile::profile_on_request();
}

// Without a key (the program has taken them all) a dead thread's shard is not used again: no count is lost.
void on_thread_start() {
  if (has_thread_exit_key) pthread_setspecific(thread_exit_key, &thread_exit_key);
}

// What cannot be had is told, and the program runs on without. The slot says last that profiling is on: whoever
// finds it there and nothing begun would begin it, too.
void begin_profile(Process *process) {
  startup_profile();
  if (profile::sampler_is_on()) process->profile_mean_bytes = settings.profile_bytes;
}

void start_counting() {
  meter_install();
  Membership membership = membership_begin(&settings);
  if (!membership.process) return startup_stop_counting();
  has_thread_exit_key = pthread_key_create(&thread_exit_key, on_thread_exit) == 0;
  is_counting = true;
  damage_watch(settings);
  bool tells_crossings = settings.log == Log::info;
  ledger::start({membership.block, membership.process, on_request, on_thread_start, damage_found, tells_crossings});
  membership_settle(membership, settings);
  if (membership.block.header->hard_limit_bytes > 0) startup_limit();
  if (settings.profile_bytes > 0) begin_profile(membership.process);
  if (membership.created && !membership.is_private) log_in_force(settings, membership.block);
}

// Blocks are not ours to count here. Those that come nevertheless go where they went so far.
void stand_aside(const char *why) {
  settings_add_error(&settings, "%s: not counted\n", why);
  startup_stop_counting();
  log_errors(settings);
}

// Told now, not when the first profile is lost.
void check_profile_directory() {
  char inside[sizeof settings.profile_directory + 2];
  if (settings.profile_directory[0] == '\0') return;
  snprintf(inside, sizeof inside, "%s/.", settings.profile_directory);
  if (access(inside, W_OK | X_OK) == 0) return;
  settings_add_error(&settings, "MEMBUDGET_PROFILE_DIR=%.200s is not allowed: %s; write a folder to create files in\n",
                     settings.profile_directory, strerrordesc_np(errno));
  settings.profile_directory[0] = '\0';
}

__attribute__((constructor)) void startup() {
  ErrnoGuard guard;
  startup_choose();
  if (is_secure) return;
  if (dynamic_is_another_there()) return startup_stop_counting();  // that one counts, or has just loaded this one
  settings_read(environ, &settings);
  check_profile_directory();
  if (const char *why = is_replaced ? "valgrind's malloc is in the place of every other" : Ptmalloc::bind())
    return stand_aside(why);
  if (strcmp(settings.allocator, "jemalloc") == 0 && kind != AllocatorKind::jemalloc)
    settings_add_error(&settings, "MEMBUDGET_ALLOCATOR=jemalloc cannot be used: it keeps no counters here\n");
  Ptmalloc::configure(settings.mmap_threshold, settings.trim_threshold, settings.arenas);
  if (may_have_early_blocks) {
    if (is_dynamic(settings.allocator))
      load_dynamic();
    else
      entry_table = table_of<PtmallocAfterEarly, Counted>();
  }
  start_counting();
  set_python_malloc();
  log_errors(settings);
}

}  // namespace

void startup_choose() {
  if (__atomic_exchange_n(&is_chosen, true, __ATOMIC_ACQ_REL)) return;
  ErrnoGuard guard;
  is_secure = getauxval(AT_SECURE) != 0;
  is_replaced = is_under_valgrinds_heap();
  if (is_secure || is_replaced) {
    entry_table = table_of<Ptmalloc, Uncounted>();
  } else if (strcmp(allocator_wanted(), "jemalloc") == 0) {
    use_ptmalloc();
    use_jemalloc();
  } else if (is_dynamic(allocator_wanted())) {
    may_have_early_blocks = true;
    entry_table = table_of<EarlyArena, Counted>();
  } else {
    use_ptmalloc();
  }
}

void startup_stop_counting() {
  is_counting = false;
  entry_table = table_for<Uncounted>();
}

void startup_limit() {
  if (is_limited || !is_counting) return;
  is_limited = true;
  choose_table();
}

void startup_profile() {
  if (profile::sampler_is_on() || !is_counting) return;
  char why[300];
  if (profile::sampler_begin(why, sizeof why)) {
    choose_table();
    return ledger::begin_sampling();
  }
  Process *process = ledger::binding().process;
  process->profile_mean_bytes = 0;
  settings_add_error(&settings, "MEMBUDGET_PROFILE cannot be used: %s\n", why);
  memcpy(process->config_errors, settings.errors, sizeof process->config_errors);
}

bool startup_is_loading() { return is_loading; }
const Settings &startup_settings() { return settings; }
AllocatorKind startup_allocator() { return kind; }
bool startup_counts() { return is_counting; }

void startup_trim() {
  switch (kind) {
    case AllocatorKind::ptmalloc: return Ptmalloc::trim();
    case AllocatorKind::jemalloc: return Jemalloc::trim();
    case AllocatorKind::mimalloc:
    case AllocatorKind::tcmalloc:
    case AllocatorKind::foreign: return Foreign::trim();
  }
}

}  // namespace membudget
