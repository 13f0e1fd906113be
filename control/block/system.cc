#include "control/block/system.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>

namespace membudget {

int *ErrnoGuard::location() { return &errno; }

int futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns) {
  ErrnoGuard guard;
  timespec timeout{static_cast<time_t>(timeout_ns / 1'000'000'000), static_cast<long>(timeout_ns % 1'000'000'000)};
  long result = syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout_ns < 0 ? nullptr : &timeout, nullptr, 0);
  return result == 0 ? 0 : -errno;
}

void futex_wake_all(const uint32_t *word) {
  ErrnoGuard guard;
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void futex_wake_one(const uint32_t *word) {
  ErrnoGuard guard;
  syscall(SYS_futex, word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

int64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1'000'000'000) + now.tv_nsec;
}

int64_t kernel_ns() {
  timespec now;
  if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now) != 0) return monotonic_ns();
  return now.tv_sec * INT64_C(1'000'000'000) + now.tv_nsec;
}

uint64_t realtime_ns() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace membudget
