#include "control/block/lock.h"

#include <errno.h>
#include <signal.h>

#include "control/block/system.h"

namespace membudget {
namespace {

constexpr uint32_t kWaiters = 1u << 31;
constexpr int64_t kSliceNs = 10'000'000;
constexpr int64_t kStuckNs = 1'000'000'000;
constexpr int kSpins = 64;

// Whose lock this thread holds: thread ids alone do not tell, where processes of several pid namespaces share a block.
__attribute__((tls_model("initial-exec"))) __thread const Header *held;

bool holder_is_gone(uint32_t word) {
  auto tid = static_cast<pid_t>(word & ~kWaiters);
  return kill(tid, 0) != 0 && errno == ESRCH;
}

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

bool try_take(uint32_t *word, uint32_t expected, uint32_t desired) {
  return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void take_slow(uint32_t *word, uint32_t self) {
  for (int i = 0; i < kSpins; ++i) {
    if (__atomic_load_n(word, __ATOMIC_RELAXED) == 0 && try_take(word, 0, self)) return;
    pause_briefly();
  }
  uint32_t last_holder = 0;
  int64_t held_since = 0, looked_at = kernel_ns();
  for (;;) {
    uint32_t seen = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (seen == 0) {
      if (try_take(word, 0, self | kWaiters)) return;
      continue;
    }
    if (!(seen & kWaiters) && !try_take(word, seen, seen | kWaiters)) continue;
    seen |= kWaiters;
    futex_wait(word, seen, kSliceNs);
    int64_t now = kernel_ns();  // signals may end any number of waits early
    if (now - looked_at < kSliceNs) continue;
    looked_at = now;
    if (seen != last_holder) held_since = now;
    last_holder = seen;
    bool stuck = now - held_since >= kStuckNs || holder_is_gone(seen);
    if (stuck && try_take(word, seen, self | kWaiters)) return;
  }
}

}  // namespace

BlockLock::BlockLock(Header *header)
    : header_(header), self_(static_cast<uint32_t>(syscall(SYS_gettid)) & ~kWaiters), held_before_(held) {
  uint32_t *word = &header_->lock;
  uint32_t own = held == header ? self_ : 0;
  held = header;
  if (try_take(word, 0, self_)) return;
  if (own != 0 && (__atomic_load_n(word, __ATOMIC_RELAXED) & ~kWaiters) == own) return;
  take_slow(word, self_);
}

bool BlockLock::is_held() const { return (__atomic_load_n(&header_->lock, __ATOMIC_ACQUIRE) & ~kWaiters) == self_; }

BlockLock::~BlockLock() {
  held = held_before_ == header_ ? nullptr : held_before_;
  uint32_t expected = self_;
  if (__atomic_compare_exchange_n(&header_->lock, &expected, 0u, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) return;
  // Taken from us while we were stopped: then it is the new holder's to release.
  if ((expected & ~kWaiters) != self_) return;
  __atomic_store_n(&header_->lock, 0u, __ATOMIC_RELEASE);
  futex_wake_one(&header_->lock);
}

}  // namespace membudget
