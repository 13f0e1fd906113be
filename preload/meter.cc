#include "preload/meter.h"

#include <unistd.h>

#include "allocator/dynamic.h"
#include "control/block/footprint.h"
#include "control/block/machine.h"
#include "control/block/system.h"
#include "preload/startup.h"

namespace membudget {
namespace {

constexpr int64_t kLookAgainNs = 1'000'000'000;  // whether the process is in another cgroup now

// Guarded by the block's lock; a child looks anew, since it may be in another block.
MemoryCgroup cgroup;
int64_t looked_ns;
bool has_cgroup;

// smaps_rollup takes milliseconds: it is read for at most a hundredth of the time, and what is resident tells of the
// growth between.
int64_t private_bytes(int64_t resident_bytes) {
  constexpr int64_t kTimeShare = 100;
  static int32_t pid;
  static int64_t as_read, resident_then, read_ns, reading_ns;
  int64_t now = monotonic_ns();
  if (pid != getpid() || has_passed(read_ns, now, kTimeShare * reading_ns)) {
    pid = getpid();
    as_read = own_private_bytes();
    resident_then = resident_bytes;
    read_ns = now;
    reading_ns = monotonic_ns() - now;
  }
  int64_t grown = as_read + resident_bytes - resident_then;
  return as_read < 0 ? -1 : grown > 0 ? grown : 0;
}

Reading read(bool is_forked) {
  int64_t now = monotonic_ns();
  if (looked_ns == 0 || has_passed(looked_ns, now, kLookAgainNs)) {
    has_cgroup = find_memory_cgroup(&cgroup);
    looked_ns = now;
  } else if (has_cgroup) {
    int64_t limit = cgroup_limit_bytes(cgroup);
    if (limit > 0) cgroup.limit_bytes = limit;
  }
  if (!has_cgroup) {
    int64_t resident = own_anonymous_bytes();
    return {cgroup.limit_bytes, resident, false, is_forked ? private_bytes(resident) : -1};
  }
  int64_t charged = cgroup_charged_bytes(cgroup);
  if (charged < 0) looked_ns = 0;  // it is gone
  int64_t machine = machine_memory_bytes();
  return {cgroup.limit_bytes < machine ? cgroup.limit_bytes : machine, charged, true, -1};
}

// From the level critical or a flush on until memory grows again, what is freed is to leave the footprint: mimalloc
// gives back what becomes free while it is told to do so at once, and keeps for long what did before. (All the time it
// would cost several times the CPU.)
void follow(const Header *h, int64_t own_counted, bool is_flushing) {
  static bool gives_back;
  static int64_t lowest;
  constexpr int64_t kGrownShare = 16;
  if (startup_allocator() != AllocatorKind::mimalloc) return;
  bool is_emptied = is_flushing || block_level(h) == MEMBUDGET_CRITICAL;
  if (is_emptied || own_counted < lowest) lowest = own_counted;
  bool wanted = is_emptied || (gives_back && own_counted < lowest + h->limit_bytes / kGrownShare);
  if (wanted == gives_back) return;
  gives_back = wanted;
  dynamic_give_back_at_once(wanted);
}

}  // namespace

void meter_install() { footprint_meter({read, startup_trim, follow}); }

}  // namespace membudget
