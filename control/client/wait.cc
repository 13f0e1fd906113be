// Waiting for a level, and noticing the end of the target meanwhile, without polling either.
//
// The waiter sleeps on two words at once: the group's level word and one of its own, which a helper thread
// sets when the target has ended. The helper sleeps on the processes' pidfds. Where the kernel lacks
// pidfd_open (before 5.3), futex_waitv (before 5.16), or no thread can be had, the sleep is cut into slices
// of a second with a look in between; the level itself is never polled.
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "control/block/system.h"
#include "control/client/handle.h"
#include "control/client/steering.h"
#include "control/client/whereabouts.h"

namespace membudget::client {
namespace {

constexpr int64_t kSliceNs = 1'000'000'000;
constexpr int kSliceMs = 1000;
constexpr int64_t kNever = INT64_MAX;
constexpr int kFaults[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP};
constexpr size_t kHelperStackBytes = 256 * 1024;
constexpr uint32_t kNoLevel = 256;  // above every level: waits for the end alone

// As in <linux/futex.h>, which older headers lack.
struct FutexWaiter {
  uint64_t value;
  uint64_t address;
  uint32_t flags;
  uint32_t reserved;
};
constexpr long kSysFutexWaitv = 449;
constexpr long kSysPidfdOpen = 434;
constexpr uint32_t kFutex32 = 2;

// What the waiter and its helper share; on the waiter's stack.
struct Vigil {
  const membudget_t *budget = nullptr;
  uint32_t ended = 0;  // a futex
  int stop_fd = -1;
  pthread_t helper{};
  bool has_helper = false;
};

int64_t deadline_after(int64_t timeout_ms) {
  if (timeout_ms < 0) return kNever;
  int64_t now = kernel_ns();
  return timeout_ms > (kNever - now) / 1'000'000 ? kNever : now + timeout_ms * 1'000'000;
}

// Pidfds of the target's living processes. `*living` counts those, also the ones that no pidfd was had of
// (they cannot be seen from this pid namespace, too many open files).
int open_pidfds(const membudget_t *budget, pollfd *out, int *living) {
  int opened = 0;
  auto open_one = [&](int32_t pid) {
    ++*living;
    if (pid <= 0) return;
    auto fd = static_cast<int>(syscall(kSysPidfdOpen, pid, 0));
    if (fd >= 0) out[opened++] = {fd, POLLIN, 0};
  };
  View view = view_of(budget);
  if (!view.block.header) return 0;
  reap_from_elsewhere(view.block);
  if (view.process) {
    if (slot_is_held(view.process)) open_one(pid_seen_here(view.process));
    return opened;
  }
  Pids pids;
  pids_seen_here(view.block, &pids);
  for (uint32_t i = 0, high = view.block.process_high(); i < high; ++i)
    if (slot_is_held(view.block.process(i))) open_one(pids.of[i]);
  return opened;
}

// Waits for the end of any process there is now, or to be stopped. False when stopped.
bool await_change(const Vigil &vigil, bool *ended) {
  pollfd fds[1 + MEMBUDGET_PROCESSES] = {{vigil.stop_fd, POLLIN, 0}};
  int living = 0;
  int opened = open_pidfds(vigil.budget, fds + 1, &living);
  *ended = living == 0;
  // A process may have ended before its pidfd was opened, and its pid gone to another: look once more.
  bool look_again = !*ended && !target_is_alive(vigil.budget);
  if (!*ended && !look_again) poll(fds, 1 + static_cast<nfds_t>(opened), opened == living ? -1 : kSliceMs);
  for (int i = 1; i <= opened; ++i) close(fds[i].fd);
  return (fds[0].revents & POLLIN) == 0;
}

void *keep_vigil(void *argument) {
  auto *vigil = static_cast<Vigil *>(argument);
  bool ended = false;
  while (!ended && await_change(*vigil, &ended)) {}
  if (ended) {
    __atomic_store_n(&vigil->ended, 1u, __ATOMIC_RELEASE);
    syscall(SYS_futex, &vigil->ended, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
  return nullptr;
}

// The helper takes none of the program's signals, but for faults (of a block cut short), and little memory.
void start_helper(Vigil *vigil) {
  vigil->stop_fd = eventfd(0, EFD_CLOEXEC);
  if (vigil->stop_fd < 0) return;
  sigset_t all, before;
  sigfillset(&all);
  for (int fault : kFaults) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kHelperStackBytes);
  vigil->has_helper = pthread_create(&vigil->helper, &attributes, keep_vigil, vigil) == 0;
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void stop_helper(Vigil *vigil) {
  if (vigil->has_helper) {
    eventfd_write(vigil->stop_fd, 1);
    pthread_join(vigil->helper, nullptr);
  }
  if (vigil->stop_fd >= 0) close(vigil->stop_fd);
}

timespec timespec_of(int64_t ns) {
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}

// Sleeps until either word has changed. 0, -EINTR, -ETIMEDOUT, -ENOSYS.
int sleep_on_both(const uint32_t *level_word, uint32_t seen, const uint32_t *ended, int64_t deadline) {
  FutexWaiter waiters[2] = {
      {seen, reinterpret_cast<uint64_t>(level_word), kFutex32, 0},
      {0, reinterpret_cast<uint64_t>(ended), kFutex32 | FUTEX_PRIVATE_FLAG, 0},
  };
  timespec until = timespec_of(deadline);
  long result = syscall(kSysFutexWaitv, waiters, 2, 0, deadline == kNever ? nullptr : &until, CLOCK_MONOTONIC);
  return result >= 0 || errno == EAGAIN ? 0 : -errno;
}

// Sleeps until the level word changes, for a slice at most where the end cannot wake us.
int sleep_on_level(const uint32_t *level_word, uint32_t seen, int64_t deadline, bool in_slices) {
  int64_t left = deadline == kNever ? -1 : deadline - kernel_ns();
  if (deadline != kNever && left <= 0) return -ETIMEDOUT;
  bool sliced = in_slices && (left < 0 || left > kSliceNs);
  int error = futex_wait(level_word, seen, sliced ? kSliceNs : left);
  return error == -EAGAIN || (sliced && error == -ETIMEDOUT) ? 0 : error;
}

int sleep_once(const Vigil &vigil, const uint32_t *level_word, uint32_t seen, int64_t deadline, bool is_self) {
  if (vigil.has_helper) {
    int error = sleep_on_both(level_word, seen, &vigil.ended, deadline);
    if (error != -ENOSYS && error != -EPERM) return error;
  }
  return sleep_on_level(level_word, seen, deadline, !is_self);
}

// The level is reached, or was for a moment since `crossings` was read: then it has passed every level.
bool is_reached(const Header *h, uint32_t word, uint32_t level, uint64_t crossings) {
  if (level > MEMBUDGET_CRITICAL) return false;
  return (word & 0xffu) >= level || __atomic_load_n(&h->crossings, __ATOMIC_RELAXED) != crossings;
}

bool has_ended(const membudget_t *budget, const Vigil &vigil, bool is_self) {
  if (is_self) return false;
  return __atomic_load_n(&vigil.ended, __ATOMIC_ACQUIRE) != 0 || !target_is_alive(budget);
}

int wait_until(membudget_t *budget, uint32_t level, int64_t deadline) {
  const Header *h = header_of(budget);
  if (!h) return -ESRCH;
  bool is_self = handle_of(budget)->is_self;
  uint64_t crossings = __atomic_load_n(&h->crossings, __ATOMIC_RELAXED);
  Vigil vigil;
  vigil.budget = budget;
  int result = 0;
  for (bool first = true; result == 0; first = false) {
    uint32_t word = __atomic_load_n(&h->level_word, __ATOMIC_ACQUIRE);
    if (has_ended(budget, vigil, is_self))
      result = -ESRCH;
    else if (is_reached(h, word, level, crossings))
      break;
    else if (deadline != kNever && kernel_ns() >= deadline)
      result = -ETIMEDOUT;
    else {
      if (first && !is_self) start_helper(&vigil);
      result = sleep_once(vigil, &h->level_word, word, deadline, is_self);
    }
  }
  stop_helper(&vigil);
  return result;
}

}  // namespace
}  // namespace membudget::client

using namespace membudget::client;

int membudget_wait(membudget_t *budget, uint32_t level, int64_t timeout_ms) {
  if (!budget || level > MEMBUDGET_CRITICAL) return -EINVAL;
  membudget::ErrnoGuard guard;
  return wait_until(budget, level, deadline_after(timeout_ms));
}

int membudget_wait_end(membudget_t *budget, int64_t timeout_ms) {
  membudget::ErrnoGuard guard;
  int result = wait_until(budget, kNoLevel, deadline_after(timeout_ms));
  return result == -ESRCH ? 0 : result;
}
