// Counts the memory that the program maps by itself; see mapping.cc for what counts.
#pragma once

namespace membudget {

// Around fork: so that a child does not inherit a table that another thread was changing.
void mapping_lock();
void mapping_unlock();

}  // namespace membudget
