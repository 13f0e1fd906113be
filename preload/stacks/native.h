// The machine's own frames, by libunwind.
#pragma once

#include <stdint.h>

#include "preload/profile/stacks.h"
#include "preload/stacks/symbols.h"

namespace membudget::stacks {

constexpr int kMostMachineFrames = 512;

// What becomes of the machine's frames: fills `frames`, and returns how many.
using Finish = int(const LoadedObjects &, const uint64_t *machine, int machine_count, uint64_t *frames, int most);

// Unwinds the calling thread, innermost frame first: addresses where the code goes on. Calls `finish` with them, and
// returns what it does. All on a stack of its own, so that a small one will do for the caller.
int unwind(uint64_t *frames, int most, Finish *finish);

// StackModule::return_addresses(), of the machine's frames alone.
int find_return_addresses(const void *frame, ReturnAddress *returns, int most);

void unwind_after_fork_in_child();

}  // namespace membudget::stacks
