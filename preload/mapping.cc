// mmap, munmap and mremap of the program: what it maps by itself is counted as mapped bytes.
//
// Counted: private, anonymous, writable memory without MAP_NORESERVE and MAP_STACK, in whole pages. CPython's
// arenas are such. An allocator's own mappings are not the program's, or everything would count twice: glibc's
// do not pass here, the private jemalloc's neither, and a dlopen'ed one's are told by the caller's address.
// The lock is held over the system call, so that the table and the address space change together; nobody comes in
// until it is counted, so that a handler that jumps away leaves the three as they belong together.
#include "preload/mapping.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "allocator/dynamic.h"
#include "allocator/ledger.h"
#include "control/block/system.h"
#include "preload/interval_table.h"
#include "preload/profile/sampler.h"
#include "preload/startup.h"

#define MEMBUDGET_EXPORT extern "C" __attribute__((visibility("default")))

namespace membudget {
namespace {

constinit IntervalTable table{};
uint32_t lock_word;                                                      // 0 free, 1 taken, 2 taken and waited for
__attribute__((tls_model("initial-exec"))) thread_local bool is_inside;  // a SIGSYS handler may map, too

uintptr_t page_up(uintptr_t bytes) {
  constexpr uintptr_t kPage = 4096;
  return (bytes + kPage - 1) & ~(kPage - 1);
}

class TableLock {
 public:
  TableLock() { mapping_lock(); }
  ~TableLock() { mapping_unlock(); }
};

// The stack module's mappings are not the program's, either.
bool belongs_to_allocator(const void *caller) {
  return startup_is_loading() || profile::is_sampling() || dynamic_contains_code(caller);
}

void forget(const void *address) {
  profile::LiveBlock forgotten;
  if (profile::sampler_is_on() && profile::may_be_live(address)) profile::forget(address, &forgotten);
}

bool is_counted(int protection, int flags) {
  bool is_private = (flags & MAP_TYPE) == MAP_PRIVATE;
  return (flags & MAP_ANONYMOUS) && is_private && (protection & PROT_WRITE) && !(flags & (MAP_NORESERVE | MAP_STACK));
}

void *map(const void *caller, void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  bool counts = is_counted(protection, flags);
  bool replaces = flags & MAP_FIXED;
  if ((!counts && !replaces) || is_inside || belongs_to_allocator(caller))
    return system_mmap(address, bytes, protection, flags, fd, offset);
  if (counts && !ledger::admits(static_cast<int64_t>(page_up(bytes)))) return errno = ENOMEM, MAP_FAILED;
  void *memory;
  int64_t change = 0;
  {
    Undisturbed undisturbed;
    {
      TableLock lock;
      memory = system_mmap(address, bytes, protection, flags, fd, offset);
      if (memory == MAP_FAILED) return memory;
      auto start = reinterpret_cast<uintptr_t>(memory), end = start + page_up(bytes);
      if (replaces) change -= static_cast<int64_t>(table.remove(start, end));
      if (counts && table.add(start, end)) change += static_cast<int64_t>(end - start);
    }
    if (change != 0) ledger::mapped(change);
  }
  if (change > 0) profile::sample_mapped(memory, page_up(bytes));
  return memory;
}

int unmap(const void *caller, void *address, size_t bytes) {
  if (belongs_to_allocator(caller)) {
    ErrnoGuard guard;  // its free() keeps errno, as glibc's does
    return system_munmap(address, bytes);
  }
  if (is_inside) return system_munmap(address, bytes);
  Undisturbed undisturbed;
  int64_t change = 0;
  forget(address);
  {
    TableLock lock;
    int result = system_munmap(address, bytes);
    if (result != 0) return result;
    auto start = reinterpret_cast<uintptr_t>(address);
    change = -static_cast<int64_t>(table.remove(start, start + page_up(bytes)));
  }
  if (change != 0) ledger::mapped(change);
  return 0;
}

void *system_mremap(void *address, size_t old_bytes, size_t new_bytes, int flags, void *wanted) {
  return reinterpret_cast<void *>(syscall(SYS_mremap, address, old_bytes, new_bytes, flags, wanted));
}

// A counted range stays counted where it goes, in its new size; MREMAP_DONTUNMAP leaves an empty one behind,
// which is counted on, since the program may fill it again. `is_counted`: whether it was.
void *remap_counted(void *address, size_t old_bytes, size_t new_bytes, int flags, void *wanted, bool *is_counted) {
  Undisturbed undisturbed;
  int64_t change = 0;
  void *memory;
  forget(address);
  {
    TableLock lock;
    memory = system_mremap(address, old_bytes, new_bytes, flags, wanted);
    if (memory == MAP_FAILED) return memory;
    auto old_start = reinterpret_cast<uintptr_t>(address), old_end = old_start + page_up(old_bytes);
    auto start = reinterpret_cast<uintptr_t>(memory), end = start + page_up(new_bytes);
    bool stays = flags & MREMAP_DONTUNMAP;
    size_t counted = stays ? table.overlap(old_start, old_end) : table.remove(old_start, old_end);
    if (!stays) change -= static_cast<int64_t>(counted);
    change -= static_cast<int64_t>(table.remove(start, end));
    *is_counted = counted > 0;
    if (counted > 0 && table.add(start, end)) change += static_cast<int64_t>(end - start);
  }
  if (change != 0) ledger::mapped(change);
  return memory;
}

void *remap(const void *caller, void *address, size_t old_bytes, size_t new_bytes, int flags, void *wanted) {
  if (is_inside || belongs_to_allocator(caller)) return system_mremap(address, old_bytes, new_bytes, flags, wanted);
  if (new_bytes > old_bytes && !ledger::admits(static_cast<int64_t>(page_up(new_bytes) - page_up(old_bytes))))
    return errno = ENOMEM, MAP_FAILED;
  bool is_counted = false;
  void *memory = remap_counted(address, old_bytes, new_bytes, flags, wanted, &is_counted);
  if (is_counted) profile::sample_mapped(memory, page_up(new_bytes));
  return memory;
}

}  // namespace

void mapping_lock() {
  is_inside = true;
  uint32_t free_word = 0;
  if (__atomic_compare_exchange_n(&lock_word, &free_word, 1u, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
  while (__atomic_exchange_n(&lock_word, 2u, __ATOMIC_ACQUIRE) != 0) futex_wait(&lock_word, 2, -1);
}

void mapping_unlock() {
  if (__atomic_exchange_n(&lock_word, 0u, __ATOMIC_RELEASE) == 2) futex_wake_one(&lock_word);
  is_inside = false;
}

}  // namespace membudget

MEMBUDGET_EXPORT void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  return membudget::map(__builtin_return_address(0), address, bytes, protection, flags, fd, offset);
}

MEMBUDGET_EXPORT void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off64_t offset) {
  return membudget::map(__builtin_return_address(0), address, bytes, protection, flags, fd, offset);
}

MEMBUDGET_EXPORT int munmap(void *address, size_t bytes) {
  return membudget::unmap(__builtin_return_address(0), address, bytes);
}

// Not counted: here for a dlopen'ed allocator alone, so that its free() keeps errno, as glibc's does.
MEMBUDGET_EXPORT int madvise(void *address, size_t bytes, int advice) {
  int kept = errno;
  int result = static_cast<int>(syscall(SYS_madvise, address, bytes, advice));
  if (result != 0 && membudget::dynamic_contains_code(__builtin_return_address(0))) errno = kept;
  return result;
}

MEMBUDGET_EXPORT void *mremap(void *address, size_t old_bytes, size_t new_bytes, int flags, ...) {
  void *wanted = nullptr;
  if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
    va_list arguments;
    va_start(arguments, flags);
    wanted = va_arg(arguments, void *);
    va_end(arguments);
  }
  return membudget::remap(__builtin_return_address(0), address, old_bytes, new_bytes, flags, wanted);
}
