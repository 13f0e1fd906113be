// The stack module, loaded from beside libmembudget.so, and the buffers it fills.
#pragma once

#include <stddef.h>

#include "preload/profile/stacks.h"

#pragma GCC visibility push(hidden)

namespace membudget::profile {

// Loads it. False, with a line that says why, when it is not there or of another version.
bool load_stack_module(char *why, size_t why_size);
const StackModule &stack_module();

// Buffers of kMostFrames frames, so that they need not be on the caller's stack. Claims one: its number, or -1
// after a while in which all were in use.
constexpr int kBuffers = 16;
int claim_buffer();
void release_buffer(int number);
void release_all_buffers();

// Waits until nobody else has one, and keeps all: then nobody is taking a stack, nor holds the loader's lock for it.
void claim_all_buffers();

}  // namespace membudget::profile

#pragma GCC visibility pop
