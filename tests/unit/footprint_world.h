// A kernel and an allocator of our own making, for the footprint: what is charged is what the test says.
#pragma once

#include <stdint.h>

#include "control/block/footprint.h"
#include "tests/unit/started_ledger.h"

namespace membudget::unit::footprint {

constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kWhole = 100 * kMiB;

// What is counted is charged, and what the allocator keeps.
struct World {
  int64_t whole = kWhole;
  int64_t needed_overhead = 0, kept = 0;
  int64_t charged_to_others = 0;
  int trims = 0, readings = 0;
  bool is_flushing = false;  // as the allocator is told
  int64_t followed = 0;      // and what is counted
  bool is_of_cgroup = true;
  int64_t most_touched = INT64_MAX;  // of what is counted
  int64_t private_bytes = -1;        // of a forked child
  const StartedLedger *ledger = nullptr;
};
extern World world;

// What a Meter is made of.
Reading read_world(bool is_forked);
void trim_world();
void follow_world(const Header *, int64_t own_counted, bool is_flushing);

membudget_amount percent(int64_t value);
membudget_amount bytes(int64_t value);

// A ledger in that world, measured by its footprint.
struct Budgeted : StartedLedger {
  explicit Budgeted(membudget_amount limit, membudget_amount hard_limit = {});
  Header *header() { return block.header(); }
};

// Another member of the group, that allocates and flushes as the test says.
struct Member {
  explicit Member(Budgeted &budget);
  void grow(int64_t bytes);
  Process *process;

 private:
  Budgeted &budget_;
};

// By blocks of 1,000 bytes, until the level is `level` or so many bytes were added.
int64_t grow_until(Budgeted &budget, uint32_t level, int64_t most);
void shrink(int64_t by);

}  // namespace membudget::unit::footprint
