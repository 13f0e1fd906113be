/* moved_clock.c: a library to preload in front of libmembudget.so, by whose clock_gettime all clocks can be set and
 * stopped, as faketime does. MOVED_CLOCK_SECONDS sets them from the start.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static int64_t offset_seconds, stopped_at = -1;

static int64_t real_seconds(clockid_t clock, long *nanoseconds) {
  struct timespec now;
  syscall(SYS_clock_gettime, clock, &now);
  *nanoseconds = now.tv_nsec;
  return now.tv_sec;
}

EXPORT void moved_clock_set(int64_t seconds) { __atomic_store_n(&offset_seconds, seconds, __ATOMIC_SEQ_CST); }

/* From here on every clock shows so many seconds, until a negative number of them. */
EXPORT void moved_clock_stop(int64_t seconds) { __atomic_store_n(&stopped_at, seconds, __ATOMIC_SEQ_CST); }

EXPORT int clock_gettime(clockid_t clock, struct timespec *out) {
  const int64_t stopped = __atomic_load_n(&stopped_at, __ATOMIC_SEQ_CST);
  long nanoseconds = 0;
  const int64_t now = stopped >= 0 ? stopped : real_seconds(clock, &nanoseconds);
  out->tv_sec = now + (stopped >= 0 ? 0 : __atomic_load_n(&offset_seconds, __ATOMIC_SEQ_CST));
  out->tv_nsec = nanoseconds;
  return 0;
}

__attribute__((constructor)) static void begin(void) {
  const char *seconds = getenv("MOVED_CLOCK_SECONDS");
  if (seconds) moved_clock_set(strtoll(seconds, NULL, 10));
}
