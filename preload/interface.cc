// What the readers find in a process that runs under the library (by dlsym; see membudget_self()).
#include <errno.h>

#include "allocator/ledger.h"
#include "control/block/machine.h"
#include "control/block/system.h"
#include "preload/interface.h"
#include "preload/startup.h"
#include "preload/trim.h"

#define MEMBUDGET_EXPORT extern "C" __attribute__((visibility("default")))

// The group's block and this process's slot in it; NULL when the process is not counted. The slot is
// another one after a fork.
MEMBUDGET_EXPORT void *membudget_preload_block() {
  return membudget::startup_counts() ? membudget::ledger::binding().block.header : nullptr;
}

MEMBUDGET_EXPORT void *membudget_preload_process() {
  return membudget::startup_counts() ? membudget::ledger::binding().process : nullptr;
}

namespace membudget {
namespace {
const uint32_t no_level = MEMBUDGET_NONE;
const uint32_t *level_word = &no_level;
}  // namespace

void interface_follow() {
  const uint32_t *word = startup_counts() ? &ledger::binding().block.header->level_word : &no_level;
  __atomic_store_n(&level_word, word, __ATOMIC_RELEASE);
}

}  // namespace membudget

// Where the address of the group's level word is kept, for ever; a word that says MEMBUDGET_NONE when the process
// is not counted. Another one after a fork, perhaps.
MEMBUDGET_EXPORT const uint32_t *const *membudget_preload_level_word() { return &membudget::level_word; }

// Sets the group's limit in bytes, 0 for none. 0 or -errno.
MEMBUDGET_EXPORT int membudget_preload_set_limit(int64_t bytes) {
  if (!membudget::startup_counts()) return -ESRCH;
  if (bytes < 0) return -EINVAL;
  membudget::ErrnoGuard guard;
  membudget::ledger::Section section;
  membudget::Limits limits = {};
  limits.limit = {bytes, MEMBUDGET_UNIT_BYTES, 1};
  membudget::budget_set_limits(membudget::ledger::binding().block, limits, membudget::memory_limit_bytes());
  return 0;
}

// The reserve below the limit, at which the level is critical already: in bytes, or learned from flushes (negative).
MEMBUDGET_EXPORT int membudget_preload_set_reserve(int64_t bytes) {
  if (!membudget::startup_counts()) return -ESRCH;
  membudget::ErrnoGuard guard;
  membudget::ledger::Section section;
  membudget::budget_set_reserve(membudget::ledger::binding().block, membudget::ledger::binding().process, bytes);
  return 0;
}

// The process begins and ends to flush what it holds: how much that takes is learned in between.
MEMBUDGET_EXPORT int membudget_preload_flush_begins() {
  if (!membudget::startup_counts()) return -ESRCH;
  membudget::ErrnoGuard guard;
  membudget::ledger::Section section;
  membudget::budget_flush_begins(membudget::ledger::binding().block, membudget::ledger::binding().process);
  return 0;
}

MEMBUDGET_EXPORT int membudget_preload_flush_ends() {
  if (!membudget::startup_counts()) return -ESRCH;
  membudget::ErrnoGuard guard;
  membudget::ledger::Section section;
  membudget::budget_flush_ends(membudget::ledger::binding().block, membudget::ledger::binding().process);
  return 0;
}

// Has the allocator hand free memory back to the kernel; by how much the resident set fell, in bytes.
MEMBUDGET_EXPORT int64_t membudget_preload_trim() { return membudget::trim_now(); }
