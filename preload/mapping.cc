// mmap, munmap and mremap of the program: what it maps by itself is counted as mapped bytes.
//
// Counted: private, anonymous, writable memory without MAP_NORESERVE and MAP_STACK, in whole pages. CPython's
// arenas are such. An allocator's own mappings are not the program's, or everything would count twice: glibc's
// do not pass here, the private jemalloc's neither, and a dlopen'ed one's are told by the caller's address.
// The table is changed in short sections that nobody comes into (see Sealed), between the system calls and never over
// one: a handler that jumps away leaves no lock behind, whatever its signal, be it that of a sandbox that does the
// mapping. What is to be unmapped is marked before, and goes from the table afterwards, if nobody has mapped something in
// its place meanwhile; what has just been mapped replaces whatever the table says of the place. So a call that was jumped
// out of stays counted, or not, as a whole, and the next one that concerns the same pages puts it right.
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

constexpr int64_t kSliceNs = 10'000'000;  // whoever unlocks may be jumped out of before it wakes those who wait
constexpr uintptr_t kPage = 4096;

constinit IntervalTable table{};
uint32_t lock_word;                                                       // 0 free, 1 taken, 2 taken and waited for
__attribute__((tls_model("initial-exec"))) thread_local bool is_forking;  // has the lock, and may map all the same

uintptr_t page_up(uintptr_t bytes) { return (bytes + kPage - 1) & ~(kPage - 1); }

struct Range {
  Range(const void *address, size_t bytes) : start(reinterpret_cast<uintptr_t>(address)), end(start + page_up(bytes)) {}
  // Others the kernel refuses.
  bool is_whole() const { return start % kPage == 0 && end > start; }
  uintptr_t start, end;
};

bool try_lock(bool waits) {
  uint32_t free_word = 0;
  if (waits) return __atomic_exchange_n(&lock_word, 2u, __ATOMIC_ACQUIRE) == 0;
  return __atomic_compare_exchange_n(&lock_word, &free_word, 1u, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

// True when somebody waits: to be woken.
bool unlock() { return __atomic_exchange_n(&lock_word, 0u, __ATOMIC_RELEASE) == 2; }

// Runs f() under the lock, Sealed. False when another has the lock.
template <typename F>
bool try_under_lock(bool waits, F &&f) {
  bool is_waited_for;
  {
    Sealed sealed;
    if (!try_lock(waits)) return false;
    f();
    is_waited_for = unlock();
  }
  if (is_waited_for) futex_wake_one(&lock_word);
  return true;
}

template <typename F>
void under_lock(F &&f) {
  for (bool waits = false; !try_under_lock(waits, f); waits = true) futex_wait(&lock_word, 2, kSliceNs);
}

bool grow_table(size_t bytes) {
  void *memory = system_mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  IntervalTable::Memory unused = {memory, bytes};
  under_lock([&] { unused = table.exchange(unused); });
  if (unused.start) system_munmap(unused.start, unused.bytes);
  return true;
}

// Changes the table by f(), where there is memory with room for it, and notes by how many bytes, which it returns.
template <typename F>
int64_t change_table(F &&f) {
  ErrnoGuard guard;
  int64_t change = 0;
  for (bool may_grow = true;;) {
    size_t wanted_bytes = 0;
    under_lock([&] {
      if (may_grow && !table.has_room()) {
        wanted_bytes = table.wanted_bytes();
        return;
      }
      size_t before = table.bytes();
      f();
      change = static_cast<int64_t>(table.bytes() - before);
      ledger::note_mapped(change);
    });
    if (wanted_bytes == 0) return change;
    may_grow = grow_table(wanted_bytes);
  }
}

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

// Undoes a mapping that passes the hard limit together with what other threads counted meanwhile.
void *take_back(void *memory, const Range &range) {
  int64_t change = change_table([&] { table.set_leaving(range.start, range.end, true); });
  system_munmap(memory, range.end - range.start);
  change += change_table([&] { table.remove_leaving(range.start, range.end); });
  ledger::settle_mapped(change);
  return errno = ENOMEM, MAP_FAILED;
}

void *map(const void *caller, void *address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  bool counts = is_counted(protection, flags);
  bool replaces = flags & MAP_FIXED;
  if ((!counts && !replaces) || is_forking || belongs_to_allocator(caller))
    return system_mmap(address, bytes, protection, flags, fd, offset);
  if (counts && !ledger::admits(static_cast<int64_t>(page_up(bytes)))) return errno = ENOMEM, MAP_FAILED;
  void *memory;
  int64_t change;
  {
    Undisturbed undisturbed;
    memory = system_mmap(address, bytes, protection, flags, fd, offset);
    if (memory == MAP_FAILED) return memory;
    Range range(memory, bytes);
    change = change_table([&] {
      table.remove(range.start, range.end);
      if (counts) table.add(range.start, range.end);
    });
    ledger::settle_mapped(change);
    // What was there before a MAP_FIXED is gone: that stays.
    if (change > 0 && !replaces && !ledger::keeps(change)) return take_back(memory, range);
  }
  if (change > 0) profile::sample_mapped(memory, page_up(bytes));
  return memory;
}

int unmap(const void *caller, void *address, size_t bytes) {
  if (belongs_to_allocator(caller)) {
    ErrnoGuard guard;  // its free() keeps errno, as glibc's does
    return system_munmap(address, bytes);
  }
  Range range(address, bytes);
  if (is_forking || !range.is_whole()) return system_munmap(address, bytes);
  Undisturbed undisturbed;
  forget(address);
  size_t counted = 0;
  int64_t change = change_table([&] {
    table.set_leaving(range.start, range.end, true);
    counted = table.overlap(range.start, range.end);
  });
  int result = system_munmap(address, bytes);
  if (counted > 0 && result == 0)
    change += change_table([&] { table.remove_leaving(range.start, range.end); });
  else if (counted > 0)
    change += change_table([&] { table.set_leaving(range.start, range.end, false); });
  ledger::settle_mapped(change);
  return result;
}

void *system_mremap(void *address, size_t old_bytes, size_t new_bytes, int flags, void *wanted) {
  return reinterpret_cast<void *>(syscall(SYS_mremap, address, old_bytes, new_bytes, flags, wanted));
}

// A counted range stays counted where it goes, in its new size; MREMAP_DONTUNMAP leaves an empty one behind,
// which is counted on, since the program may fill it again. `is_counted`: whether it was.
void *remap_counted(void *address, size_t old_bytes, size_t new_bytes, int flags, void *wanted, bool *is_counted) {
  Undisturbed undisturbed;
  forget(address);
  Range before(address, old_bytes);
  bool goes = !(flags & MREMAP_DONTUNMAP);
  size_t counted = 0;
  int64_t change = change_table([&] {
    if (goes) table.set_leaving(before.start, before.end, true);
    counted = table.overlap(before.start, before.end);
  });
  void *memory = system_mremap(address, old_bytes, new_bytes, flags, wanted);
  if (memory == MAP_FAILED && goes && counted > 0) {
    change += change_table([&] { table.set_leaving(before.start, before.end, false); });
  } else if (memory != MAP_FAILED && (counted > 0 || (flags & MREMAP_FIXED))) {
    Range after(memory, new_bytes);
    change += change_table([&] {
      if (goes) table.remove_leaving(before.start, before.end);
      table.remove(after.start, after.end);
      if (counted > 0) table.add(after.start, after.end);
    });
  }
  ledger::settle_mapped(change);
  *is_counted = counted > 0;
  return memory;
}

void *remap(const void *caller, void *address, size_t old_bytes, size_t new_bytes, int flags, void *wanted) {
  bool is_whole = Range(address, old_bytes).is_whole();
  if (is_forking || !is_whole || belongs_to_allocator(caller))
    return system_mremap(address, old_bytes, new_bytes, flags, wanted);
  if (new_bytes > old_bytes && !ledger::admits(static_cast<int64_t>(page_up(new_bytes) - page_up(old_bytes))))
    return errno = ENOMEM, MAP_FAILED;
  bool is_counted = false;
  void *memory = remap_counted(address, old_bytes, new_bytes, flags, wanted, &is_counted);
  if (is_counted && memory != MAP_FAILED) profile::sample_mapped(memory, page_up(new_bytes));
  return memory;
}

}  // namespace

void mapping_before_fork() {
  is_forking = true;
  for (bool waits = false; !try_lock(waits); waits = true) futex_wait(&lock_word, 2, kSliceNs);
}

void mapping_after_fork() {
  if (unlock()) futex_wake_one(&lock_word);
  is_forking = false;
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
