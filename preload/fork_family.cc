// The ways to make a child that pass by pthread_atfork: _Fork, and clone without CLONE_VM.
//
// A child that shares the parent's memory (vfork, posix_spawn, clone with CLONE_VM) is the parent, as far as
// memory goes: it counts where the parent does. What calls the kernel by itself (syscall(SYS_clone)) is not
// seen; such a child must exec before it allocates.
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/types.h>

#include "preload/membership.h"

#define MEMBUDGET_EXPORT extern "C" __attribute__((visibility("default")))

namespace membudget {
namespace {

struct Call {
  int (*function)(void *);
  void *argument;
};

int run_in_child(void *call) {
  membership_after_fork_in_child();
  auto *c = static_cast<Call *>(call);
  return c->function(c->argument);
}

}  // namespace
}  // namespace membudget

MEMBUDGET_EXPORT pid_t _Fork() {
  static pid_t (*real)() = nullptr;
  if (!real) real = reinterpret_cast<pid_t (*)()>(dlsym(RTLD_NEXT, "_Fork"));
  if (!real) return errno = ENOSYS, -1;
  membudget::membership_before_fork();
  pid_t child = real();
  if (child == 0)
    membudget::membership_after_fork_in_child();
  else
    membudget::membership_after_fork_in_parent(child > 0);
  return child;
}

MEMBUDGET_EXPORT int clone(int (*function)(void *), void *stack, int flags, void *argument, ...) {
  using Clone = int (*)(int (*)(void *), void *, int, void *, ...);
  static Clone real = nullptr;
  if (!real) real = reinterpret_cast<Clone>(dlsym(RTLD_NEXT, "clone"));
  if (!real) return errno = ENOSYS, -1;
  va_list rest;
  va_start(rest, argument);
  void *parent_tid = va_arg(rest, void *), *tls = va_arg(rest, void *), *child_tid = va_arg(rest, void *);
  va_end(rest);
  if (flags & CLONE_VM) return real(function, stack, flags, argument, parent_tid, tls, child_tid);
  membudget::Call call{function, argument};
  membudget::membership_before_fork();
  int child = real(membudget::run_in_child, stack, flags, &call, parent_tid, tls, child_tid);
  membudget::membership_after_fork_in_parent(child > 0);
  return child;
}
