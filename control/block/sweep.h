// What was left in the folder of the blocks, by processes that are no more and by what this one was before an exec.
//
// For who starts, once, beside everything that is hot. It looks at some 800 names and into 64 blocks at the most: 2 us
// for a folder with none, about 15 us for each block.
#pragma once

#include "control/block/block.h"

namespace membudget {

// Who a process is, to all who can see it.
struct Identity {
  int32_t pid;
  uint64_t start_time;
  uint64_t pid_namespace;
};
Identity own_identity();

// Frees the slot that `self` still holds in a block of `directory` other than that of the group `but`, since it exec'ed
// into another; a block that nobody else lives in goes with it, unless its name is `kept` (NULL: none).
// With `removes_abandoned`, unlinks as well what others left that died without a word: blocks of this user, boot and
// pid namespace, without a living member, that have been there for a second (whoever waited for the end of a short
// command is still reading it).
void blocks_sweep(const char *directory, const char *but, const Identity &self, const char *kept,
                  bool removes_abandoned);

}  // namespace membudget
