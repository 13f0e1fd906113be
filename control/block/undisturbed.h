// Sections that nobody comes into: what they hold, a lock or something half-written, is not left behind by a handler
// that jumps out of them (siglongjmp) or a thread that is cancelled there. Only libc's reads and opens would be points
// of cancellation, which malloc is not.
#pragma once

#include <pthread.h>
#include <signal.h>

#include "control/block/system.h"

namespace membudget {

// Blocks every signal for its lifetime, but for those that the thread's own instructions raise: these would kill it
// when they are blocked, and by some of them it lives (SIGBUS, when the block is lost; SIGSYS, where a sandbox does
// system calls on the program's behalf). Two system calls.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    uint64_t others = ~(bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGFPE) | bit(SIGTRAP) | bit(SIGSYS));
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &others, &kept_, sizeof others);
  }
  ~SignalsBlocked() { syscall(SYS_rt_sigprocmask, SIG_SETMASK, &kept_, nullptr, sizeof kept_); }
  SignalsBlocked(const SignalsBlocked &) = delete;
  SignalsBlocked &operator=(const SignalsBlocked &) = delete;

 private:
  static constexpr uint64_t bit(int signal) { return UINT64_C(1) << (signal - 1); }
  uint64_t kept_ = 0;
};

// And no cancellation: glibc's has a state of its own, a word of the thread's.
class Undisturbed {
 public:
  Undisturbed() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &kept_); }
  ~Undisturbed() { pthread_setcancelstate(kept_, nullptr); }
  Undisturbed(const Undisturbed &) = delete;
  Undisturbed &operator=(const Undisturbed &) = delete;

 private:
  SignalsBlocked signals_blocked_;
  int kept_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace membudget
