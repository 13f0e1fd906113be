/* libreference.so: a second set of books. Preloaded in front of libmembudget.so, it passes every call of the
 * malloc family on and sums malloc_usable_size() by itself, so that the library's live bytes can be compared
 * with it: in the program (reference_live_bytes(), reference_blocks()), or when a process ends.
 *
 *   REFERENCE_REPORT=FILE  at the end of each process, appends a line to FILE:
 *                          PID PROGRAM FORKED live-reference live-library blocks-reference blocks-library
 *                          (FORKED is 1 in a process that was not executed: its blocks from before the fork
 * are among the library's bytes, but not among its allocations) REFERENCE_SKEW=N       counts N bytes too
 * many: whoever compares has to notice
 *
 * Functions that are written by means of others (valloc, reallocarray, cfree...) come by here as those.
 *
 * It keeps no list of blocks, takes no lock, and allocates nothing. Its sums are right when no thread is
 * inside an allocation call. Calls before its constructor has run are passed on and counted like all others.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library.h"

#define EXPORT __attribute__((visibility("default")))

static int64_t live_bytes, live_blocks;
static pid_t started_in;

/* The next library's function of the same name. Resolved at the first call: it may come very early. */
#define NEXT(name)                 \
  static __typeof__(&(name)) next; \
  if (!next) *(void **)&next = dlsym(RTLD_NEXT, #name)

static size_t usable_size(void *block) {
  NEXT(malloc_usable_size);
  return next(block);
}

static void count(int64_t bytes, int64_t blocks) {
  __atomic_add_fetch(&live_bytes, bytes, __ATOMIC_RELAXED);
  __atomic_add_fetch(&live_blocks, blocks, __ATOMIC_RELAXED);
}

static void *count_new(void *block) {
  if (block) count((int64_t)usable_size(block), 1);
  return block;
}

static void count_gone(void *block) {
  if (block) count(-(int64_t)usable_size(block), -1);
}

EXPORT int64_t reference_live_bytes(void) { return __atomic_load_n(&live_bytes, __ATOMIC_RELAXED); }
EXPORT int64_t reference_blocks(void) { return __atomic_load_n(&live_blocks, __ATOMIC_RELAXED); }

EXPORT void *malloc(size_t size) {
  NEXT(malloc);
  return count_new(next(size));
}

EXPORT void *calloc(size_t count_of, size_t size) {
  NEXT(calloc);
  return count_new(next(count_of, size));
}

EXPORT void *aligned_alloc(size_t alignment, size_t size) {
  NEXT(aligned_alloc);
  return count_new(next(alignment, size));
}

EXPORT void *memalign(size_t alignment, size_t size) {
  NEXT(memalign);
  return count_new(next(alignment, size));
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size) {
  NEXT(posix_memalign);
  const int result = next(out, alignment, size);
  if (result == 0) count_new(*out);
  return result;
}

/* A block is taken off before it can be another thread's; if it stays after all, it is put back. */
static void *count_resized(void *old, int64_t old_bytes, size_t size, void *resized) {
  if (resized) return count_new(resized);
  if (old && size != 0) count(old_bytes, 1);
  return NULL;
}

EXPORT void *realloc(void *block, size_t size) {
  NEXT(realloc);
  const int64_t old_bytes = block ? (int64_t)usable_size(block) : 0;
  if (block) count(-old_bytes, -1);
  return count_resized(block, old_bytes, size, next(block, size));
}

EXPORT void free(void *block) {
  NEXT(free);
  count_gone(block);
  next(block);
}

/* --- the end of a process --- */

static void report(void) {
  const struct membudget_process *process = library_process();
  const char *path = getenv("REFERENCE_REPORT");
  char line[300];
  if (!path || !process) return;
  const struct counters seen = counters_read(library_block(), process);
  const int length =
      snprintf(line, sizeof line, "%d %s %d %lld %lld %lld %lld\n", (int)getpid(), program_invocation_short_name,
               getpid() != started_in, (long long)reference_live_bytes(), (long long)seen.live_bytes,
               (long long)reference_blocks(), (long long)(seen.allocations - seen.frees));
  const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) return;
  if (write(file, line, (size_t)length) != length) abort();
  close(file);
}

__attribute__((constructor)) static void start(void) {
  const char *skew = getenv("REFERENCE_SKEW");
  started_in = getpid();
  if (skew) count(atoi(skew), 0);
}

__attribute__((destructor)) static void end(void) { report(); }

/* Shells end their children this way, without destructors. */
EXPORT void _exit(int status) {
  report();
  for (;;) syscall(SYS_exit_group, status);
}
