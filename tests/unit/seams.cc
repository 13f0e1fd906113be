#include "tests/unit/seams.h"

#include <errno.h>
#include <stdarg.h>

namespace membudget::unit {

void (*yield_hook)();
SyscallHook syscall_hook;
MadviseHook madvise_hook;

SeamsRestored::~SeamsRestored() {
  yield_hook = nullptr;
  syscall_hook = nullptr;
  madvise_hook = nullptr;
}

}  // namespace membudget::unit

// The linker sends every call here (--wrap); __real_... is the library's own.
extern "C" long __real_syscall(long number, ...);
extern "C" int __real_madvise(void *address, size_t bytes, int advice);

// Takes six arguments from whoever gave fewer, as glibc's does; to AddressSanitizer that is another's stack.
extern "C" __attribute__((no_sanitize("address"))) long __wrap_syscall(long number, ...) {
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (long &argument : arguments) argument = va_arg(list, long);
  va_end(list);
  if (membudget::unit::syscall_hook) {
    auto answer = membudget::unit::syscall_hook(number, arguments);
    if (answer.handled) {
      if (answer.result >= 0) return answer.result;
      errno = static_cast<int>(-answer.result);
      return -1;
    }
  }
  return __real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

extern "C" int __wrap_madvise(void *address, size_t bytes, int advice) {
  if (!membudget::unit::madvise_hook) return __real_madvise(address, bytes, advice);
  errno = membudget::unit::madvise_hook(address, bytes, advice);
  return errno == 0 ? 0 : -1;
}
