// The memory that this process may use: the tightest limit of the cgroups it is in, else the machine's.
#pragma once

#include <stdint.h>

namespace membudget {

// Bytes; never 0. cgroup v1 and v2, every ancestor that can be read. About 50 us: reads a few small files.
int64_t memory_limit_bytes();

}  // namespace membudget
