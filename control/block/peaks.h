// The highest that live and counted bytes have been, and by how much that may be too low.
#pragma once

#include "control/block/budget.h"

namespace membudget {

// Notes the group's peaks, as the sums stand.
void peaks_note(const Block &, const Totals &);

}  // namespace membudget
