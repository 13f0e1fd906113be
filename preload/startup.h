// From the first allocation to the settled state.
//
//   1. startup_choose(), by the first call of any malloc function, which may come from another library's
//      constructor: the built-in allocators serve at once; for those that must be dlopen'ed the early arena
//      does. What is counted goes to the ledger's early shard.
//   2. our constructor: reads the settings, loads the allocator, joins the group's block, starts the ledger.
//   3. fork, exit (membership.h), thread exit: the handlers that keep it right.
// A set-uid program (AT_SECURE) is left alone: glibc's malloc, nothing counted, no variable read.
#pragma once

#include <unistd.h>

#include "control/block/settings.h"

namespace membudget {

// Idempotent. Safe in any thread, though the first call comes while there is only one.
void startup_choose();

// What the constructor read; the defaults before.
const Settings &startup_settings();

// The allocator in force: hands free memory back to the kernel.
void startup_trim();

enum class AllocatorKind { ptmalloc, jemalloc, mimalloc, tcmalloc, foreign };
AllocatorKind startup_allocator();

// Whether this process counts: not set-uid, not an ignored child.
bool startup_counts();

// From here on the allocator in force serves without counting.
void startup_stop_counting();

// From here on requests are held against the hard limit, too. Idempotent.
void startup_limit();

// From here on stacks are sampled. Idempotent.
void startup_profile();

// While the allocator is being loaded: what is mapped then is its own.
bool startup_is_loading();

}  // namespace membudget
