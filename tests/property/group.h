// The group's figures as membudget/abi.h defines them, read from within one of its members.
#pragma once

#include <signal.h>

#include "library.h"

// The slots that a living process holds; `visit` gets each.
template <typename Visitor>
void group_for_each(Visitor visit) {
  const membudget_header *block = library_block();
  for (uint32_t i = 0; i < block->process_high; i++) {
    const auto *process = reinterpret_cast<const membudget_process *>(
        reinterpret_cast<const char *>(block) + block->header_bytes + uint64_t{i} * block->process_bytes);
    if (process->state == MEMBUDGET_PROCESS_LIVE && kill(process->pid, 0) == 0) visit(process);
  }
}

// What was inherited is counted once, where it was allocated.
inline int64_t group_live_bytes() {
  int64_t sum = 0;
  group_for_each([&](const membudget_process *process) {
    const int64_t own = counters_read(library_block(), process).live_bytes - process->inherited_live_bytes;
    if (own > 0) sum += own;
  });
  return sum;
}
