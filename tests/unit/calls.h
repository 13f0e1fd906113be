// The ledger's calls as the malloc family makes them (preload/entry.h): count, and look up if the trigger is met.
#pragma once

#include "allocator/ledger.h"

namespace membudget::unit {

inline void allocated(size_t bytes) {
  if (ledger::allocated(bytes)) ledger::settle_allocated(bytes);
}
// While stacks are sampled, this one again after so many bytes. Whether it was due.
inline bool allocated_and_sampled(size_t bytes, int64_t distance) {
  if (!ledger::allocated(bytes)) return false;
  int64_t counted = ledger::thread.shard->allocated_bytes;
  bool is_due = ledger::thread.shard != &ledger::nobody && counted > ledger::thread.sample_at_bytes;
  if (is_due) ledger::thread.sample_at_bytes = counted + distance;
  if (!is_due || !ledger::goes_on_to_next_sample()) ledger::settle_allocated(bytes);
  return is_due;
}
inline void freed(size_t bytes) {
  if (ledger::freed(bytes)) ledger::settle_freed(bytes);
}
inline void allocated_total(uint64_t total) {
  if (ledger::allocated_total(total)) ledger::settle_allocated(0);
}
inline void freed_total(uint64_t total) {
  if (ledger::freed_total(total)) ledger::settle_freed(0);
}

// As the program's mmap and munmap do (preload/mapping.cc).
inline void mapped(int64_t change_bytes) {
  ledger::note_mapped(change_bytes);
  ledger::settle_mapped(change_bytes);
}

// Under a hard limit. False when the request is past it: then the block has been taken back.
inline bool request(size_t bytes) {
  if (bytes > static_cast<size_t>(kSmallRequest) && !ledger::admits(static_cast<int64_t>(bytes))) return false;
  const bool is_small = bytes <= static_cast<size_t>(kSmallRequest);
  if ((!ledger::allocated(bytes) || ledger::settle_allocated(bytes)) &&
      (is_small || ledger::keeps(static_cast<int64_t>(bytes))))
    return true;
  freed(bytes);
  return false;
}

// The state of a thread that has counted nothing yet: the main thread's, before main.
inline const ledger::ThreadState kNewThread = ledger::thread;

}  // namespace membudget::unit
