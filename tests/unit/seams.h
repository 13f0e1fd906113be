// What tests put between the code and the kernel: hooks on its yield points, on the system calls it makes
// through syscall(), and on madvise(). Set and cleared while no other thread runs.
#pragma once

#include <stddef.h>

namespace membudget::unit {

// A hook's answer: `handled` false passes the call on; else `result`, where a negative one is -errno.
struct SyscallAnswer {
  bool handled = false;
  long result = 0;
};

using SyscallHook = SyscallAnswer (*)(long number, const long (&arguments)[6]);
using MadviseHook = int (*)(void *address, size_t bytes, int advice);  // 0, or an errno

extern SyscallHook syscall_hook;
extern MadviseHook madvise_hook;

// Sets all hooks back at the end of a scope.
class SeamsRestored {
 public:
  SeamsRestored() = default;
  ~SeamsRestored();
  SeamsRestored(const SeamsRestored &) = delete;
  SeamsRestored &operator=(const SeamsRestored &) = delete;
};

}  // namespace membudget::unit
