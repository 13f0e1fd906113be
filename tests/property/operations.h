// Random operations over the whole malloc family, on a table of blocks that all threads share: whoever takes
// a block out of it may resize or free it, whoever allocated it.
#pragma once

#include <cstddef>
#include <cstdint>

// What was done, to name it when something is wrong.
struct Operation {
  const char *name;
  size_t first, second;  // its arguments, sizes before and after
};

// Does one operation. Checks results, errno and that the blocks still hold what was written into them.
// Any thread, also one that is ending.
Operation operate(uint64_t *random);

// Frees all blocks of the table.
void operations_free_all();

// The seed of this run: $TEST_SEED, else a random one. Prints it.
uint64_t operations_seed();

// The sizes asked for are at most this.
constexpr size_t kLargestSize = 200000;
