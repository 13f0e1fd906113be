#include "preload/profile/occasions.h"

#include <errno.h>
#include <linux/limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "allocator/ledger.h"
#include "control/block/system.h"
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
uint32_t is_answering;

void answer_request(Process *p) {
  uint32_t request = __atomic_load_n(&p->profile_request, __ATOMIC_ACQUIRE);
  if (request == __atomic_load_n(&p->profile_done, __ATOMIC_RELAXED)) return;
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/profile-%d-%u" MEMBUDGET_PROFILE_SUFFIX, startup_settings().directory, p->pid,
           request);
  unlink(path);  // of another process that had this pid
  __atomic_store_n(&p->profile_error, -dump_write(path, MEMBUDGET_PROFILE_REQUEST), __ATOMIC_RELAXED);
  __atomic_store_n(&p->profile_done, request, __ATOMIC_RELEASE);
  futex_wake_all(&p->profile_done);
}

// Loads what sampling needs, in a thread of its own: whoever was asked may be anywhere, in the loader itself too.
bool is_beginning;

void *begin(void *) {
  startup_profile();
  __atomic_store_n(&is_beginning, false, __ATOMIC_RELEASE);
  return nullptr;
}

void begin_elsewhere() {
  if (__atomic_exchange_n(&is_beginning, true, __ATOMIC_ACQUIRE)) return;
  SignalsBlocked blocked;  // which the thread inherits
  pthread_t thread;
  if (pthread_create(&thread, nullptr, begin, nullptr) == 0)
    pthread_detach(thread);
  else
    __atomic_store_n(&is_beginning, false, __ATOMIC_RELEASE);
}

// Into a file of its own first: who reads `path` finds a whole profile, the old one or the new one.
void write_into_directory(const char *what, uint32_t reason) {
  const auto &bound = ledger::binding();
  char path[PATH_MAX], part[PATH_MAX];
  snprintf(path, sizeof path, "%s/%.64s-%d-%s" MEMBUDGET_PROFILE_SUFFIX, startup_settings().profile_directory,
           bound.block.header->name, bound.process->pid, what);
  snprintf(part, sizeof part, "%.*s.part", PATH_MAX - 8, path);
  unlink(part);
  if (dump_write(part, reason) == 0) rename(part, path);
}

// The first crossing, then one a minute at the most.
void note_crossing(const Block &block) {
  uint64_t crossings = __atomic_load_n(&block.header->crossings, __ATOMIC_RELAXED);
  if (crossings == crossings_seen || startup_settings().profile_directory[0] == '\0') return;
  crossings_seen = crossings;
  int64_t now = monotonic_ns();
  if (crossings_written > 0 && now - last_crossing_ns < kBetweenCrossingsNs) return;
  last_crossing_ns = now;
  char what[32];
  snprintf(what, sizeof what, "crossing-%u", static_cast<unsigned>(crossings_written++ % kKeptCrossings));
  write_into_directory(what, MEMBUDGET_PROFILE_CROSSING);
}

}  // namespace

void profile_on_request() {
  const auto &bound = ledger::binding();
  bool is_wanted = __atomic_load_n(&bound.process->profile_mean_bytes, __ATOMIC_RELAXED) > 0;
  if (is_wanted && !sampler_is_on()) return begin_elsewhere();  // requests wait until it has begun
  if (__atomic_exchange_n(&is_answering, 1u, __ATOMIC_ACQUIRE) != 0) return;
  if (sampler_is_on()) note_crossing(bound.block);
  answer_request(bound.process);
  __atomic_store_n(&is_answering, 0u, __ATOMIC_RELEASE);
}

void profile_at_exit() {
  const char *whose = getenv("MEMBUDGET_PROFILE_EXIT");  // set by `membudget run --profile`: not its children's
  if (!sampler_is_on() || startup_settings().profile_directory[0] == '\0') return;
  if (!whose || strtol(whose, nullptr, 10) != getpid()) return;
  write_into_directory("exit", MEMBUDGET_PROFILE_EXIT);
}

void profile_after_fork_in_child() {
  is_answering = 0;
  is_beginning = false;
  sampler_after_fork_in_child();
}

}  // namespace membudget::profile
