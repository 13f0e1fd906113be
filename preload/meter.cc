#include "preload/meter.h"

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

Reading read() {
  int64_t now = monotonic_ns();
  if (looked_ns == 0 || now - looked_ns >= kLookAgainNs) {
    has_cgroup = find_memory_cgroup(&cgroup);
    looked_ns = now;
  } else if (has_cgroup) {
    int64_t limit = cgroup_limit_bytes(cgroup);
    if (limit > 0) cgroup.limit_bytes = limit;
  }
  if (!has_cgroup) return {cgroup.limit_bytes, own_anonymous_bytes(), false};
  int64_t charged = cgroup_charged_bytes(cgroup);
  if (charged < 0) looked_ns = 0;  // it is gone
  int64_t machine = machine_memory_bytes();
  return {cgroup.limit_bytes < machine ? cgroup.limit_bytes : machine, charged, true};
}

// While the level is critical, what is freed is to leave the footprint, so that the level can fall.
void follow(uint32_t level) {
  static bool gives_back;
  bool is_critical = level == MEMBUDGET_CRITICAL;
  if (is_critical == gives_back) return;
  gives_back = is_critical;
  if (startup_allocator() == AllocatorKind::mimalloc) dynamic_give_back_at_once(is_critical);
}

}  // namespace

void meter_install() { footprint_meter({read, startup_trim, follow}); }

}  // namespace membudget
