// A block in the state that a test wants, and the rules of the level read off the interface, naively.
#pragma once

#include <stdint.h>

#include "control/block/budget.h"

namespace membudget::unit {

// A pid namespace for the process `pid`, in which nobody can look: it counts as alive.
constexpr uint64_t foreign_namespace(int32_t pid) { return UINT64_C(1) << 40 | static_cast<uint64_t>(pid); }

// Limit and marks in bytes; 0: no limit.
struct MarkBytes {
  int64_t limit = 0, low = 0, medium = 0, release = 0;
};

// A block that only this process and the children that it forks see.
class TestBlock {
 public:
  TestBlock();
  ~TestBlock();
  TestBlock(const TestBlock &) = delete;
  TestBlock &operator=(const TestBlock &) = delete;

  const Block &operator*() const { return block_; }
  Header *header() const { return block_.header; }
  uint32_t level() const { return block_level(block_.header); }

  Process *join();                      // this process's slot, counted
  Process *join_stranger(int32_t pid);  // that of a process which counts as alive whatever its pid
  void set_limits(const MarkBytes &);

 private:
  Block block_;
};

// Changes what a shard counts, as its owner would.
void count(Shard &, int64_t allocated_bytes, int64_t freed_bytes);

// "a level is raised when counted bytes reach its mark; it falls only when they are below its mark by the
// release gap."
struct ReferenceLevel {
  MarkBytes marks;
  uint32_t level = MEMBUDGET_NONE;
  uint64_t crossings = 0, changes = 0;
  int64_t last_crossing_bytes = 0;

  int64_t mark_of(uint32_t of) const;
  void update(int64_t counted_bytes);
};

// While all shards keep to their allowances, the counted bytes keep between the marks: what the budget
// promises of every state in which it leaves a block. Fails the running test where it does not hold.
void expect_allowances_fit(const Block &);

}  // namespace membudget::unit
