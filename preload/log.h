// What the library says on standard error: a line, by a single write, and never by stdio.
#pragma once

#include "control/block/settings.h"

namespace membudget {

// The errors of the settings, a line each. Who is exec'ed with the same ones is silent: a variable of the environment
// says that they have been told.
void log_errors(const Settings &);

// With MEMBUDGET_LOG=info: what is in force in a group that has just begun.
void log_in_force(const Settings &, const Block &);

// With MEMBUDGET_LOG=info: that the budget was crossed, by one process of the group, once a second at the most. For the
// ledger's slow path, without the block's lock.
void log_crossing(const Settings &, const Block &);

// That a profile is lost, once.
void log_lost_profile(const Settings &, int error);

}  // namespace membudget
