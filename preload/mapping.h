// Counts the memory that the program maps by itself; see mapping.cc for what counts.
#pragma once

namespace membudget {

// Around fork, in the forking thread: so that a child does not inherit a table that another thread was changing.
void mapping_before_fork();
void mapping_after_fork();

}  // namespace membudget
