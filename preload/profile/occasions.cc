#include "preload/profile/occasions.h"

#include <errno.h>
#include <linux/limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "allocator/ledger.h"
#include "control/block/system.h"
#include "preload/log.h"
#include "preload/profile/dump.h"
#include "preload/profile/memory.h"
#include "preload/profile/sampler.h"
#include "preload/startup.h"

namespace membudget::profile {
namespace {

constexpr int64_t kBetweenCrossingsNs = INT64_C(60'000'000'000);
constexpr uint64_t kKeptCrossings = 8;

uint64_t crossings_seen, crossings_written;
int64_t last_crossing_ns;
uint32_t is_answering;  // and owns what is below
char crossing_path[PATH_MAX];

bool is_asked(const Process *p) {
  return __atomic_load_n(&p->profile_request, __ATOMIC_ACQUIRE) != __atomic_load_n(&p->profile_done, __ATOMIC_RELAXED);
}

void answer_request(Process *p) {
  uint32_t request = __atomic_load_n(&p->profile_request, __ATOMIC_ACQUIRE);
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/profile-%d-%u" MEMBUDGET_PROFILE_SUFFIX, startup_settings().directory, p->pid,
           request);
  unlink(path);  // of another process that had this pid
  int error = !sampler_is_on() ? -ENODATA : dump_begin(MEMBUDGET_PROFILE_REQUEST) ? dump_write(path) : -EBUSY;
  __atomic_store_n(&p->profile_error, -error, __ATOMIC_RELAXED);
  __atomic_store_n(&p->profile_done, request, __ATOMIC_RELEASE);
  futex_wake_all(&p->profile_done);
}

// Calls function(NULL) in a thread of its own: whoever is asked may be anywhere, in the loader too, and is not to
// wait. False when there can be no thread.
bool call_elsewhere(void *(*function)(void *)) {
  constexpr size_t kStackBytes = 256 << 10;
  Undisturbed undisturbed;  // which the thread inherits
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  bool is_started = pthread_create(&thread, &attributes, function, nullptr) == 0;
  pthread_attr_destroy(&attributes);
  return is_started;
}

bool is_beginning;

void *begin(void *) {
  startup_profile();
  __atomic_store_n(&is_beginning, false, __ATOMIC_RELEASE);
  return nullptr;
}

// Loads what sampling needs.
void begin_elsewhere() {
  if (__atomic_exchange_n(&is_beginning, true, __ATOMIC_ACQUIRE)) return;
  if (!call_elsewhere(begin)) __atomic_store_n(&is_beginning, false, __ATOMIC_RELEASE);
}

void directory_path(char *path, const char *what) {
  const auto &bound = ledger::binding();
  snprintf(path, PATH_MAX, "%s/%.64s-%d-%s" MEMBUDGET_PROFILE_SUFFIX, startup_settings().profile_directory,
           bound.block.header->name, bound.process->pid, what);
}

// Into a file of its own first: who reads `path` finds a whole profile, the old one or the new one.
void write_begun(const char *path) {
  char part[PATH_MAX];
  snprintf(part, sizeof part, "%.*s.part", PATH_MAX - 8, path);
  unlink(part);
  int error = dump_write(part);
  if (error == 0 && rename(part, path) != 0) error = -errno;
  if (error == 0) return;
  unlink(part);
  log_lost_profile(startup_settings(), -error);
}

// Keeps what is live at the first crossing, then once a minute at the most: what is to be flushed now holds the memory.
bool note_crossing(const Block &block) {
  uint64_t crossings = __atomic_load_n(&block.header->crossings, __ATOMIC_RELAXED);
  if (crossings == crossings_seen || startup_settings().profile_directory[0] == '\0') return false;
  crossings_seen = crossings;
  int64_t now = monotonic_ns();
  if (crossings_written > 0 && !has_passed(last_crossing_ns, now, kBetweenCrossingsNs)) return false;
  if (!dump_begin(MEMBUDGET_PROFILE_CROSSING)) return false;
  last_crossing_ns = now;
  char what[32];
  snprintf(what, sizeof what, "crossing-%u", static_cast<unsigned>(crossings_written++ % kKeptCrossings));
  directory_path(crossing_path, what);
  return true;
}

void *answer(void *) {
  if (crossing_path[0] != '\0') write_begun(crossing_path);
  crossing_path[0] = '\0';
  Process *p = ledger::binding().process;
  if (is_asked(p)) answer_request(p);
  __atomic_store_n(&is_answering, 0u, __ATOMIC_RELEASE);
  return nullptr;
}

// What is being written is to be whole before the process ends.
bool wait_for_answer() {
  constexpr int kMostMs = 5000;
  for (int i = 0; i < kMostMs; ++i) {
    if (__atomic_exchange_n(&is_answering, 1u, __ATOMIC_ACQUIRE) == 0) return true;
    system_sleep(1'000'000);
  }
  return false;
}

}  // namespace

void profile_on_request() {
  const auto &bound = ledger::binding();
  bool is_wanted = __atomic_load_n(&bound.process->profile_mean_bytes, __ATOMIC_RELAXED) > 0;
  if (is_wanted && !sampler_is_on()) return begin_elsewhere();  // requests wait until it has begun
  if (__atomic_exchange_n(&is_answering, 1u, __ATOMIC_ACQUIRE) != 0) return;
  bool has_crossed = sampler_is_on() && note_crossing(bound.block);
  if (!has_crossed && !is_asked(bound.process)) return __atomic_store_n(&is_answering, 0u, __ATOMIC_RELEASE);
  if (!call_elsewhere(answer)) answer(nullptr);
}

void profile_at_exit() {
  if (!sampler_is_on() || startup_settings().profile_directory[0] == '\0' || !wait_for_answer()) return;
  const char *whose = getenv("MEMBUDGET_PROFILE_EXIT");  // set by `membudget run --profile`: not its children's
  if (whose && strtol(whose, nullptr, 10) == getpid() && dump_begin(MEMBUDGET_PROFILE_EXIT)) {
    char path[PATH_MAX];
    directory_path(path, "exit");
    write_begun(path);
  }
  __atomic_store_n(&is_answering, 0u, __ATOMIC_RELEASE);
}

void profile_after_fork_in_child() {
  is_answering = 0;
  is_beginning = false;
  crossing_path[0] = '\0';
  dump_after_fork_in_child();
  sampler_after_fork_in_child();
}

}  // namespace membudget::profile
