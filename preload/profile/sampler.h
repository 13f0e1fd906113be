// Which blocks are sampled: one in about every MEMBUDGET_PROFILE bytes that a thread allocates.
//
// Distances between samples are distributed exponentially, so a block of n usable bytes is sampled with probability
// 1 - exp(-n / mean), whatever was allocated before it. They are measured by what the thread's shard counts, and the
// ledger sees to it that the slow path is taken past the next one. Reallocating is freeing and allocating.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "allocator/ledger.h"
#include "preload/profile/live_table.h"

#pragma GCC visibility push(hidden)

namespace membudget::profile {

// Whether the block that was just counted, with so many usable bytes, is to go to sample(); draws the next one then.
// Never in a thread without a shard. Safe anywhere, signal handlers included.
[[nodiscard]] bool draws(size_t usable);

// Takes the stack of the block that is being handed out; false when it is not remembered. Keeps errno. A quarter of a us
// in a stack that is known, else 1 to 5 us.
bool sample(void *block, size_t usable);

// The same for memory that the program mapped by itself.
void sample_mapped(void *memory, size_t bytes);

// Forgets a block, for which may_be_live(), if it is sampled at all; false when not.
bool forget(const void *block, LiveBlock *out);

// For a block that forget() was told of, and that stays after all. False when there is no room for it.
bool remember(const void *block, const LiveBlock &);

// Whether the calling thread is taking a stack: what it maps is ours.
bool is_sampling();

// Begins to sample: loads the stack module. False, with a line that says why, when it cannot be had.
bool sampler_begin(char *why, size_t why_size);
bool sampler_is_on();

// Samples that there was no room for.
uint64_t sampler_lost();

// Around fork: nobody takes a stack meanwhile, or the child would find locks taken that are not ours to reset.
void sampler_before_fork();
void sampler_after_fork_in_parent();
void sampler_after_fork_in_child();

// Usable bytes handed out by a process, ever.
int64_t allocated_bytes(const Process *);

struct Beginning {
  int64_t allocated_bytes, live_bytes;
};
// The ledger's figures when sampling began: no estimate covers them.
const Beginning &sampler_beginning();

}  // namespace membudget::profile

#pragma GCC visibility pop
