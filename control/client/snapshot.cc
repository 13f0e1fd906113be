// Reading counters: single figures and whole snapshots, of a process or of a group.
#include <string.h>

#include "control/client/handle.h"
#include "control/client/whereabouts.h"

namespace membudget::client {
namespace {

constexpr int kSequenceTries = 64;  // a writer that died half-way must not hold readers up

int64_t load(const int64_t &value) { return __atomic_load_n(&value, __ATOMIC_RELAXED); }
uint64_t load(const uint64_t &value) { return __atomic_load_n(&value, __ATOMIC_RELAXED); }
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Copies a string of the block, which may lack its end. `out` is as large and is terminated.
template <size_t kSize>
void copy_text(char (&out)[kSize], const char (&text)[kSize]) {
  memcpy(out, text, kSize);
  out[kSize - 1] = '\0';
}

void copy_limits(const Header *h, Snapshot *out) {
  for (int i = 0; i < kSequenceTries; ++i) {
    uint32_t before = __atomic_load_n(&h->limit_sequence, __ATOMIC_ACQUIRE);
    out->limit_bytes = load(h->limit_bytes);
    out->hard_limit_bytes = load(h->hard_limit_bytes);
    out->low_bytes = load(h->low_bytes);
    out->medium_bytes = load(h->medium_bytes);
    out->release_bytes = load(h->release_bytes);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (!(before & 1) && before == __atomic_load_n(&h->limit_sequence, __ATOMIC_RELAXED)) return;
  }
}

void add_calls(const Process *p, uint64_t *allocations, uint64_t *frees) {
  uint64_t allocated = 0, freed = 0;
  process_counts(p, &allocated, &freed);
  *allocations += allocated;
  *frees += freed;
}

int64_t own_live_bytes(const Process *p) { return larger(0, process_live_bytes(p) - load(p->inherited_live_bytes)); }

int64_t own_mapped_bytes(const Process *p) {
  return larger(0, process_mapped_bytes(p) - load(p->inherited_mapped_bytes));
}

// What a process's report and its group's have in common.
void fill_common(const Header *h, const Sums &sums, Snapshot *out) {
  memset(out, 0, sizeof *out);
  out->level = block_level(h);
  copy_limits(h, out);
  out->crossings = load(h->crossings);
  out->last_crossing_ns = load(h->last_crossing_ns);
  out->last_crossing_live_bytes = load(h->last_crossing_live_bytes);
  out->last_crossing_counted_bytes = load(h->last_crossing_counted_bytes);
  out->group_live_bytes = sums.live;
  out->group_counted_bytes = sums.counted;
  out->overhead_bytes = load(h->overhead_bytes);
  out->reserve_bytes = load(h->reserve_bytes);
  out->processes = sums.processes;
  out->uncounted_processes = load(h->uncounted_processes);
  out->measure = __atomic_load_n(&h->measure, __ATOMIC_RELAXED);
  copy_text(out->name, h->name);
}

// The allocator and the settings' errors of the first process that has any to tell.
void fill_texts(const Block &block, Snapshot *out) {
  for (uint32_t i = 0, high = block.process_high(); i < high; ++i) {
    const Process *p = block.process(i);
    if (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) != MEMBUDGET_PROCESS_LIVE) continue;
    if (!out->allocator[0]) copy_text(out->allocator, p->allocator);
    if (!out->command[0]) copy_text(out->command, p->command);
    if (!out->config_errors[0]) copy_text(out->config_errors, p->config_errors);
  }
}

void snapshot_group(const Block &block, Snapshot *out) {
  Sums sums = group_sums_and_reap(block);
  fill_common(block.header, sums, out);
  out->live_bytes = sums.live;
  out->mapped_bytes = sums.counted - sums.live;
  out->counted_bytes = sums.counted;
  out->peak_live_bytes = larger(load(block.header->peak_live_bytes), sums.live);
  out->peak_counted_bytes = larger(load(block.header->peak_counted_bytes), sums.counted);
  out->peak_error_bytes = load(block.header->peak_error_bytes);
  out->allocations = sums.allocations;
  out->frees = sums.frees;
  fill_texts(block, out);
}

}  // namespace

Sums group_sums(const Block &block) {
  Sums sums;
  for (uint32_t i = 0, high = block.process_high(); i < high; ++i) {
    const Process *p = block.process(i);
    if (__atomic_load_n(&p->state, __ATOMIC_ACQUIRE) != MEMBUDGET_PROCESS_LIVE) continue;
    if (!process_is_as_it_was(p)) {
      ++sums.dead;
      continue;
    }
    int64_t live = own_live_bytes(p);
    sums.live += live;
    sums.counted += live + own_mapped_bytes(p);
    add_calls(p, &sums.allocations, &sums.frees);
    ++sums.processes;
  }
  return sums;
}

Sums group_sums_and_reap(const Block &block) {
  reap_from_elsewhere(block);
  Sums sums = group_sums(block);
  // Nobody left: a block that is read once more before it goes.
  if (sums.dead > 0 && block.writable && block_is_in_use(block)) budget_evaluate(block);
  return sums;
}

void snapshot_process(const Block &block, const Process *p, const Sums &sums, int32_t seen_pid, Snapshot *out) {
  fill_common(block.header, sums, out);
  out->pid = seen_pid != 0 ? seen_pid : __atomic_load_n(&p->pid, __ATOMIC_RELAXED);
  out->seen_pid = seen_pid;
  out->live_bytes = process_live_bytes(p);
  out->mapped_bytes = process_mapped_bytes(p);
  out->counted_bytes = out->live_bytes + out->mapped_bytes;
  out->peak_live_bytes = larger(load(p->peak_live_bytes), out->live_bytes);
  out->peak_counted_bytes = larger(load(p->peak_counted_bytes), out->counted_bytes);
  out->peak_error_bytes = load(p->peak_error_bytes);
  out->inherited_live_bytes = load(p->inherited_live_bytes);
  out->inherited_mapped_bytes = load(p->inherited_mapped_bytes);
  add_calls(p, &out->allocations, &out->frees);
  copy_text(out->allocator, p->allocator);
  copy_text(out->command, p->command);
  copy_text(out->config_errors, p->config_errors);
}

}  // namespace membudget::client

using namespace membudget::client;

uint32_t membudget_level(const membudget_t *budget) {
  return budget ? __atomic_load_n(*budget->level_word, __ATOMIC_ACQUIRE) & 0xffu : MEMBUDGET_NONE;
}

int64_t membudget_live_bytes(const membudget_t *budget) {
  View view = view_of(budget);
  if (!view.block.header) return 0;
  return view.process ? membudget::process_live_bytes(view.process) : group_sums(view.block).live;
}

int64_t membudget_counted_bytes(const membudget_t *budget) {
  View view = view_of(budget);
  if (!view.block.header) return 0;
  if (!view.process) return group_sums(view.block).counted;
  return membudget::process_live_bytes(view.process) + membudget::process_mapped_bytes(view.process);
}

int64_t membudget_limit_bytes(const membudget_t *budget) {
  const membudget::Header *h = header_of(budget);
  return h ? load(h->limit_bytes) : 0;
}

int membudget_snapshot(const membudget_t *budget, struct membudget_snapshot *out, size_t size) {
  if (!budget || !out) return -EINVAL;
  struct membudget_snapshot snapshot;
  memset(&snapshot, 0, sizeof snapshot);
  View view = view_of(budget);
  if (view.process)
    snapshot_process(view.block, view.process, group_sums_and_reap(view.block), pid_seen_here(view.process), &snapshot);
  else if (view.block.header)
    snapshot_group(view.block, &snapshot);
  memcpy(out, &snapshot, size < sizeof snapshot ? size : sizeof snapshot);
  if (size > sizeof snapshot) memset(reinterpret_cast<char *>(out) + sizeof snapshot, 0, size - sizeof snapshot);
  return view.block.header ? 0 : -ESRCH;
}
