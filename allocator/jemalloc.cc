#include "allocator/jemalloc.h"

#include <errno.h>

#include "control/block/system.h"

namespace membudget {

ptrdiff_t Jemalloc::allocated_offset, Jemalloc::freed_offset;

bool Jemalloc::bind() {
  uint64_t *allocated = nullptr, *freed = nullptr;
  size_t size = sizeof allocated;
  if (membudget_je_mallctl("thread.allocatedp", &allocated, &size, nullptr, 0) != 0) return false;
  if (membudget_je_mallctl("thread.deallocatedp", &freed, &size, nullptr, 0) != 0) return false;
  const char *thread_pointer = static_cast<const char *>(__builtin_thread_pointer());
  allocated_offset = reinterpret_cast<char *>(allocated) - thread_pointer;
  freed_offset = reinterpret_cast<char *>(freed) - thread_pointer;
  return true;
}

void Jemalloc::trim() {
  // Every thread's cache but our own is out of reach; MALLCTL_ARENAS_ALL is 4096.
  membudget_je_mallctl("thread.tcache.flush", nullptr, nullptr, nullptr, 0);
  membudget_je_mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0);
}

}  // namespace membudget

// What the private jemalloc calls instead of libc's: its mappings are not the program's, so they must not
// pass through the mmap that we export; and free() keeps errno whatever the kernel says to a purge.
extern "C" {

void *membudget_je_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  return membudget::system_mmap(address, bytes, protection, flags, fd, offset);
}

int membudget_je_munmap(void *address, size_t bytes) {
  membudget::ErrnoGuard guard;
  return membudget::system_munmap(address, bytes);
}

int membudget_je_madvise(void *address, size_t bytes, int advice) {
  membudget::ErrnoGuard guard;
  return static_cast<int>(syscall(SYS_madvise, address, bytes, advice));
}

}  // extern "C"
