// Threads that allocate, free each other's blocks, come and go, and hover about the limit, with every call
// in the books of a SumChecker.
#pragma once

#include <stdint.h>

#include "tests/unit/started_ledger.h"

namespace membudget::unit {

// What the threads do.
struct Traffic {
  int threads = 2;
  int64_t limit = 1 << 20;
  int64_t largest = 1024;  // bytes of a block
  int calls = 1000;        // of a thread, per life
  int lives = 1;           // threads that follow each other in each place
  int rests = 2;           // times that all stand still and the sums must be exact
  int checks_every = 1;    // calls
  bool maps = false;
};

// A limit with the marks at their defaults.
MarkBytes default_marks(int64_t limit);

// Runs it on a ledger of its own; in a child (see child.h).
void run_traffic(const Traffic &, uint64_t least_conclusive);

}  // namespace membudget::unit
