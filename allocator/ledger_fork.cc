// What a fork does to the counts: the child goes on with what it inherited, in a slot and shards of its own.
#include "allocator/ledger.h"

namespace membudget::ledger {
namespace {

int64_t fork_live_bytes, fork_mapped_bytes, fork_overhead_bytes;  // what a child inherits
Shard *forking_shard;

// Reading takes a while, in which other threads free what they allocated meanwhile: that makes a sum too large.
// Two that agree, or the smallest of a few.
int64_t live_bytes_now(const Process *p) {
  int64_t smallest = process_live_bytes(p);
  for (int i = 0; i < 4; ++i) {
    int64_t again = process_live_bytes(p);
    if (again == smallest) break;
    if (again < smallest) smallest = again;
  }
  return smallest;
}

}  // namespace

void before_fork() {
  if (!has_started()) return;
  forking_shard = thread.shard;
  thread.is_forking = true;
  if (forking_shard != &nobody) {
    thread.shard = &nobody;
    thread.allocated_base -= forking_shard->allocated_bytes;
    thread.freed_base -= forking_shard->freed_bytes;
  }
  fork_live_bytes = live_bytes_now(binding().process);
  fork_mapped_bytes = mapped_now();
  fork_overhead_bytes = binding().process->overhead_bytes + binding().process->inherited_overhead_bytes;
}

void after_fork_in_parent() {
  if (!has_started()) return;
  thread.is_forking = false;
  if (forking_shard == &nobody) return;
  thread.allocated_base += forking_shard->allocated_bytes;
  thread.freed_base += forking_shard->freed_bytes;
  thread.shard = forking_shard;
}

void after_fork_in_child(const Block &block, Process *process, bool inherits) {
  if (!has_started()) return;
  thread.is_forking = false;
  rebind(block, process);
  if (!process) return;
  process->inherited_live_bytes = inherits ? fork_live_bytes : 0;
  process->inherited_mapped_bytes = inherits ? fork_mapped_bytes : 0;
  process->inherited_overhead_bytes = inherits ? fork_overhead_bytes : 0;
  process->shards[0].allocated_bytes = fork_live_bytes;
  process->mapped_bytes = fork_mapped_bytes;
  __atomic_store_n(&process->shard_high, 1u, __ATOMIC_RELEASE);
  process_publish(process);
}

}  // namespace membudget::ledger
