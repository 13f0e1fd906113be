#include "preload/trim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "allocator/ledger.h"
#include "control/block/budget.h"
#include "control/block/system.h"
#include "preload/startup.h"

namespace membudget {
namespace {

// The second field of /proc/self/statm, in bytes; 0 without /proc. About 3 us.
int64_t resident_bytes() {
  Undisturbed undisturbed;
  char text[128];
  int fd = system_open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = system_read(fd, text, sizeof text - 1);
  system_close(fd);
  text[length > 0 ? length : 0] = '\0';
  const char *field = strchr(text, ' ');
  return field ? strtoll(field, nullptr, 10) * sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace

int64_t trim_now() {
  ErrnoGuard guard;
  int64_t before = resident_bytes();
  startup_trim();
  int64_t fell = before - resident_bytes();
  if (startup_counts()) {
    ledger::Section section;
    budget_trimmed(ledger::binding().block, ledger::binding().process);
  }
  return fell > 0 ? fell : 0;
}

void trim_on_request() {
  Process *p = ledger::binding().process;
  uint32_t request = __atomic_load_n(&p->trim_request, __ATOMIC_ACQUIRE);
  if (request == __atomic_load_n(&p->trim_done, __ATOMIC_RELAXED)) return;
  __atomic_store_n(&p->trim_released_bytes, trim_now(), __ATOMIC_RELAXED);
  __atomic_store_n(&p->trim_done, request, __ATOMIC_RELEASE);
  futex_wake_all(&p->trim_done);
}

}  // namespace membudget
