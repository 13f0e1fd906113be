// A block that is damaged while the program runs: its file cut short (see control/block/guard.h), or something written
// over it. The program runs on, not counted from there on, and one line on standard error says so.
#pragma once

#include "control/block/settings.h"

namespace membudget {

// From here on a loss of the block that the ledger is bound to is told, and counting ends with it.
void damage_watch(const Settings &);

// The block turned out to be overwritten: zeros are put in its place.
void damage_found();

}  // namespace membudget
