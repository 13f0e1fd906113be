// The ledger, started on a block of its own. Once per process: in a child (see child.h).
#pragma once

#include <unistd.h>

#include "tests/unit/calls.h"
#include "tests/unit/test_block.h"

namespace membudget::unit {

struct StartedLedger {
  explicit StartedLedger(const MarkBytes &marks, void (*on_request)() = nullptr, void (*on_thread_start)() = nullptr)
      : process(process_claim(*block, getpid(), own_pid_namespace())) {
    block.set_limits(marks);
    ledger::start({*block, process, on_request, on_thread_start});
  }
  int64_t live() const { return process_live_bytes(process); }
  uint32_t level() const { return block.level(); }

  TestBlock block;
  Process *process;
};

}  // namespace membudget::unit
