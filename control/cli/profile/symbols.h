// Names for addresses: by elfutils' libdw from the program's files and their separate debug files, and from the map
// that a runtime which compiles code writes (/tmp/perf-PID.map).
#pragma once

#include "control/cli/profile/model.h"

namespace membudget::cli::profile {

// Fills in mappings and lines, and drops membudget's own frames. Slow where debug files are large: seconds.
void symbolize(Profile *);

}  // namespace membudget::cli::profile
