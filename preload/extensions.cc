// glibc's extensions to malloc, sent to the chosen allocator; where it has no such thing, what comes nearest.
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "allocator/dynamic.h"
#include "allocator/jemalloc.h"
#include "allocator/ledger.h"
#include "allocator/ptmalloc.h"
#include "preload/startup.h"
#include "preload/trim.h"

#define MEMBUDGET_EXPORT extern "C" __attribute__((visibility("default")))

namespace membudget {
namespace {

bool is_ptmalloc() { return startup_allocator() == AllocatorKind::ptmalloc; }

struct Counts {
  int64_t live_bytes = 0;
  uint64_t blocks = 0;
};

Counts counts() {
  if (!startup_counts()) return {};
  const Process *p = ledger::binding().process;
  uint64_t allocations = 0, frees = 0;
  process_counts(p, &allocations, &frees);
  return {process_live_bytes(p), allocations - frees};
}

// For an allocator that keeps no such figures: the exact live bytes, in use and in the arena.
struct mallinfo2 info_from_ledger() {
  struct mallinfo2 info = {};
  int64_t live = counts().live_bytes;
  info.arena = info.uordblks = static_cast<size_t>(live > 0 ? live : 0);
  return info;
}

int narrowed(size_t value) { return value > INT_MAX ? INT_MAX : static_cast<int>(value); }

void write_all(void *, const char *text) {
  size_t length = strlen(text);
  while (length > 0) {
    ssize_t written = write(STDERR_FILENO, text, length);
    if (written <= 0) return;
    text += written;
    length -= static_cast<size_t>(written);
  }
}

void print_summary() {
  char text[256];
  Counts now = counts();
  snprintf(text, sizeof text, "membudget: allocator %s, live bytes %lld, live blocks %llu\n",
           startup_settings().allocator, static_cast<long long>(now.live_bytes),
           static_cast<unsigned long long>(now.blocks));
  write_all(nullptr, text);
}

}  // namespace
}  // namespace membudget

using namespace membudget;

// 1 when memory was given back, else 0. `pad` means something to glibc's alone.
MEMBUDGET_EXPORT int malloc_trim(size_t pad) {
  if (is_ptmalloc()) return glibc_calls.malloc_trim ? glibc_calls.malloc_trim(pad) : 0;
  return trim_now() > 0;
}

// 1 when the option was set, else 0: the others have no such options.
MEMBUDGET_EXPORT int mallopt(int option, int value) { return is_ptmalloc() ? __libc_mallopt(option, value) : 0; }

MEMBUDGET_EXPORT struct mallinfo2 mallinfo2() {
  return is_ptmalloc() && glibc_calls.mallinfo2 ? glibc_calls.mallinfo2() : info_from_ledger();
}

// As mallinfo2, but what does not fit an int is INT_MAX with allocators other than glibc's.
MEMBUDGET_EXPORT struct mallinfo mallinfo() {
  if (is_ptmalloc()) return __libc_mallinfo();
  struct mallinfo2 wide = info_from_ledger();
  struct mallinfo info = {};
  info.arena = narrowed(wide.arena);
  info.uordblks = narrowed(wide.uordblks);
  return info;
}

// 0, or -1 with errno: EINVAL for options other than 0.
MEMBUDGET_EXPORT int malloc_info(int options, FILE *stream) {
  if (is_ptmalloc() && glibc_calls.malloc_info) return glibc_calls.malloc_info(options, stream);
  if (options != 0) return errno = EINVAL, -1;
  char text[512];
  Counts now = counts();
  snprintf(
      text, sizeof text,
      "<malloc version=\"membudget-1\">\n<allocator name=\"%s\"/>\n<live count=\"%llu\" size=\"%lld\"/>\n</malloc>\n",
      startup_settings().allocator, static_cast<unsigned long long>(now.blocks),
      static_cast<long long>(now.live_bytes));
  return fputs(text, stream) < 0 ? -1 : 0;
}

// The allocator's own statistics on standard error, as glibc's.
MEMBUDGET_EXPORT void malloc_stats() {
  if (is_ptmalloc()) {
    if (glibc_calls.malloc_stats) glibc_calls.malloc_stats();
    return;
  }
  print_summary();
  if (startup_allocator() == AllocatorKind::jemalloc)
    membudget_je_malloc_stats_print(write_all, nullptr, nullptr);
  else if (dynamic_calls.stats)
    dynamic_calls.stats();
}
