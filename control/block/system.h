// System calls that must not pass through the functions that libmembudget.so itself interposes.
#pragma once

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace membudget {

// Keeps errno as it was: what we do inside somebody's malloc or free is not theirs to see.
class ErrnoGuard {
 public:
  ErrnoGuard() : saved_(*location()) {}
  ~ErrnoGuard() { *location() = saved_; }
  ErrnoGuard(const ErrnoGuard &) = delete;
  ErrnoGuard &operator=(const ErrnoGuard &) = delete;

 private:
  static int *location();
  int saved_;
};

// mmap and munmap as the kernel has them; MAP_FAILED and errno on failure.
inline void *system_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  return reinterpret_cast<void *>(syscall(SYS_mmap, address, bytes, protection, flags, fd, offset));
}
inline int system_munmap(void *address, size_t bytes) { return static_cast<int>(syscall(SYS_munmap, address, bytes)); }

// open, read, write and close as the kernel has them, and a pause: libc's are points of cancellation, which malloc is
// not, and a program may have functions of those names.
inline int system_open(const char *path, int flags, unsigned mode = 0) {
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
inline ssize_t system_read(int fd, void *buffer, size_t bytes) { return syscall(SYS_read, fd, buffer, bytes); }
inline ssize_t system_write(int fd, const void *data, size_t bytes) { return syscall(SYS_write, fd, data, bytes); }
inline void system_close(int fd) { syscall(SYS_close, fd); }
inline void system_sleep(long ns) {
  timespec pause{ns / 1'000'000'000, ns % 1'000'000'000};
  syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &pause, nullptr);
}

// Shared (between processes) futexes. The time-out is relative, in nanoseconds; negative waits for ever.
// 0 or -errno.
int futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns);
void futex_wake_all(const uint32_t *word);
void futex_wake_one(const uint32_t *word);

int64_t monotonic_ns();
uint64_t realtime_ns();

// The kernel's monotonic clock, whatever stands in the place of libc's clock_gettime (faketime), which may be set back
// or stand still: for what would be waited for for ever. A system call.
int64_t kernel_ns();

// Whether `ns` have passed between two readings of a monotonic clock. One that has been set back, or was read by a
// process of another time namespace, is not waited for.
inline bool has_passed(int64_t since_ns, int64_t now_ns, int64_t ns) {
  return now_ns < since_ns || now_ns - since_ns >= ns;
}

}  // namespace membudget
