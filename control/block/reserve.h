// The reserve: how far below the limit the level is critical already, so that there is room for a flush.
//
// It is fixed, or learned: the worst that flushes were seen to take, with a margin, careful first and then closer. A
// flush takes what the footprint rises by while it is under way; in a group, what it rises by past the mark, for up to
// there the others may fill what the flush has freed.
//
// A learned reserve of a group is for those who flush: a large request of a process that does not is refused, under a
// hard limit, when it would reach into it. Its host flushes and tries again, instead of making other flushes fail.
//
// Everything here is called with the block's lock held, but for the question that takes totals.
#pragma once

#include "control/block/budget.h"

namespace membudget {

// Fixes it, in bytes; negative: it is learned from flushes from here on. The caller evaluates.
void reserve_set(const Block &, int64_t bytes);

// The process begins, and ends, a flush. Any number at a time in a process, properly nested or not.
void reserve_flush_begins(const Block &, Process *self);
void reserve_flush_ends(const Block &, Process *self);

// What of the room below the hard limit is not for a request of that size. `self` may be NULL: somebody who does not
// flush. Lock-free.
int64_t reserve_kept_from(const Header *, const Process *self, const Totals &, int64_t request);

}  // namespace membudget
