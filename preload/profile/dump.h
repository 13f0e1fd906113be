// Profiles written to files: on request, at a crossing, at exit.
#pragma once

#include <stdint.h>

namespace membudget::profile {

// Writes a profile to `path`, which must not exist yet; `reason` is one of <membudget/profile.h>'s. System calls
// and memory of its own alone; others go on allocating meanwhile. 0 or -errno. Under a millisecond for a thousand
// blocks.
int dump_write(const char *path, uint32_t reason);

}  // namespace membudget::profile
