// Limits and marks: where levels rise and fall, on the scale of counted bytes.
//
// With the footprint measure marks stand lower by the overhead, without it that is 0. The mark of the level
// critical is the limit less the reserve.
#pragma once

#include "control/block/budget.h"

namespace membudget {

// Counted bytes from which the level is at least `level`; kFar without a limit.
int64_t mark_of(const Header *, uint32_t level);

// The level for `counted` bytes, coming from `level`: up at a mark, down only below it by the release gap.
uint32_t level_for(const Header *, int64_t counted, uint32_t level);

// Counted bytes from which somebody has to look: because the level rises, an allocation is to be refused or the
// footprint is to be measured; and under which the level falls.
struct Marks {
  int64_t up = kFar;
  int64_t down = -kFar;
};
Marks marks_around(const Header *, uint32_t level, int64_t counted);

// Close below any mark of a level, or having just crossed the limit.
bool is_near_mark(const Header *, int64_t counted);

// Sets what is set in `limits`. Under the lock; the caller evaluates. `whole_bytes` as in budget_set_limits().
void marks_set(Header *, const Limits &limits, int64_t whole_bytes);

}  // namespace membudget
