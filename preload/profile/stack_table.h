// The stacks that were seen, each once, and what was allocated from it. They stay for ever.
#pragma once

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

namespace membudget::profile {

struct Stack {
  uint64_t hash;
  uint32_t first_frame, frames;
  // Estimates, since the start.
  double allocated_blocks, allocated_bytes, allocated_variance;
};

// Gets memory for the tables, once. False where there is none.
bool stack_table_begin();

// The number of a stack. Number 0 stands for all stacks for which there was no room. With signals blocked.
uint32_t stack_table_number(const uint64_t *frames, int count);

// Notes a block of `bytes` with that weight as allocated from it. Without locks.
void stack_table_note(uint32_t number, double bytes, double weight);

// How many numbers there are, a stack by its number, and its frames.
uint32_t stack_table_size();
const Stack &stack_table_at(uint32_t number);
const uint64_t *stack_table_frames(const Stack &);
uint64_t stack_table_lost();

void stack_table_after_fork_in_child();

}  // namespace membudget::profile

#pragma GCC visibility pop
