// A hard limit below the limit: allocations fail before the budget is crossed, and nobody is told to flush.
#pragma once

#include <string>

#include "control/cli/environment.h"
#include "control/cli/target.h"

namespace membudget::cli {

// One line about the limits of a command that is to run in that environment; empty when they go together. With the
// footprint measured, a hard limit from 99 % of the limit on is fine: `Batch` has the level rise by then.
std::string hard_limit_warning(const Environment &);

// The same of a group as it runs, with the reserve that it has.
std::string hard_limit_warning(const Snapshot &);

}  // namespace membudget::cli
