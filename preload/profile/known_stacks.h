// Stacks that were taken a moment ago: what allocates most is a loop, in the same stack over and over. Such a one is
// known by its return addresses, which are looked at where they were when it was unwound: a twentieth of what unwinding
// takes, without locks and with signals as they are.
//
// Return addresses that are all the same, from the innermost one outwards, mean the same frames: where the next one is
// follows from the code at each, but for functions that move the stack pointer by a size of the moment (alloca).
#pragma once

#include <stdint.h>

#include "preload/profile/stacks.h"

#pragma GCC visibility push(hidden)

namespace membudget::profile {

// Whether the calling thread is in a known stack at the frame that begins at `frame` (its canonical frame address);
// its number then. Safe in signal handlers, which may also jump out.
[[nodiscard]] bool find_known_stack(const void *frame, uint32_t *number);

// The stack at that frame was taken, and has that number. Comes to know it, by the module, when it is the same many
// times in a row. With signals blocked.
void note_stack(const void *frame, uint32_t number);

// In a new child: whoever was inside in the parent is not here.
void known_stacks_after_fork_in_child();

}  // namespace membudget::profile

#pragma GCC visibility pop
