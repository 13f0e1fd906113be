// Sections that nobody comes into: what they hold, a lock or something half-written, is not left behind by a handler
// that jumps out of them (siglongjmp). Nor is a thread cancelled there: what they call of libc has no point of
// cancellation (see system.h), and asynchronous cancellation is a signal.
#pragma once

#include <signal.h>

#include "control/block/system.h"

namespace membudget {

constexpr uint64_t signal_bit(int signal) { return UINT64_C(1) << (signal - 1); }

// Blocks every signal for its lifetime, but for those that the thread's own instructions raise: these would kill it
// when they are blocked, and by some of them it lives (SIGBUS, when the block is lost; SIGSYS, where a sandbox does
// system calls on the program's behalf). Handlers of these that jump away leave nothing of the thread's behind but the
// signal mask, which is theirs to set. Two system calls.
class Undisturbed {
 public:
  Undisturbed() { syscall(SYS_rt_sigprocmask, SIG_BLOCK, &kOthers, &kept_, sizeof kept_); }
  ~Undisturbed() { syscall(SYS_rt_sigprocmask, SIG_SETMASK, &kept_, nullptr, sizeof kept_); }
  Undisturbed(const Undisturbed &) = delete;
  Undisturbed &operator=(const Undisturbed &) = delete;

  // Whether this thread may be within one: false when signals are not blocked as they are there, `but` for some. A system
  // call.
  static bool may_be_in_force(uint64_t but = 0) {
    constexpr uint64_t kNeverBlocked = signal_bit(SIGKILL) | signal_bit(SIGSTOP);
    uint64_t now = ~UINT64_C(0);
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &now, sizeof now);
    return ((now | kNeverBlocked | but) & kOthers) == kOthers;
  }

 private:
  static constexpr uint64_t kOthers = ~(signal_bit(SIGSEGV) | signal_bit(SIGBUS) | signal_bit(SIGILL) |
                                        signal_bit(SIGFPE) | signal_bit(SIGTRAP) | signal_bit(SIGSYS));
  uint64_t kept_ = 0;
};

// Blocks those, too, which may be sent as well as raised: nothing whatever comes in. So nothing in there may fault, nor
// call the kernel, which a sandbox may answer by SIGSYS: it touches memory of the library's own alone, and as much of the
// stack as was touched before. Two system calls.
class Sealed {
 public:
  Sealed() {
    touch_stack();
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &kAll, &kept_, sizeof kept_);
  }
  ~Sealed() { syscall(SYS_rt_sigprocmask, SIG_SETMASK, &kept_, nullptr, sizeof kept_); }
  Sealed(const Sealed &) = delete;
  Sealed &operator=(const Sealed &) = delete;

 private:
  static constexpr uint64_t kAll = ~UINT64_C(0);
  static constexpr int kStackBytes = 2048;

  // Where the stack ends, the fault comes here, and its handler may jump away.
  __attribute__((noinline)) static void touch_stack() {
    char lowest[kStackBytes];
    lowest[0] = 0;
    __asm__ volatile("" : : "r"(lowest) : "memory");
  }

  uint64_t kept_ = 0;
};

}  // namespace membudget
