// Memory for the profile's own tables: beside the heap, uncounted, taken by the kernel page by page.
#pragma once

#include "control/block/undisturbed.h"

namespace membudget::profile {

// Zeroed memory, for ever; NULL where the kernel has no addresses for it.
inline void *reserve(size_t bytes) {
  void *memory =
      system_mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

// A lock for short stretches, held with signals blocked and over no allocation.
class SpinLock {
 public:
  void lock() {
    while (__atomic_exchange_n(&taken_, 1u, __ATOMIC_ACQUIRE) != 0) syscall(SYS_sched_yield);
  }
  void unlock() { __atomic_store_n(&taken_, 0u, __ATOMIC_RELEASE); }
  // In a new child, where whoever held it is not.
  void reset() { unlock(); }

 private:
  uint32_t taken_ = 0;
};

class SpinGuard {
 public:
  explicit SpinGuard(SpinLock &lock) : lock_(lock) { lock_.lock(); }
  ~SpinGuard() { lock_.unlock(); }
  SpinGuard(const SpinGuard &) = delete;
  SpinGuard &operator=(const SpinGuard &) = delete;

 private:
  SpinLock &lock_;
};

}  // namespace membudget::profile
