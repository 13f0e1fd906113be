// What a few threads do, played on the ledger under a schedule, with the level judged at every point.
#pragma once

#include <stdint.h>

#include <vector>

#include "tests/unit/interleave.h"
#include "tests/unit/started_ledger.h"

namespace membudget::unit {

enum class Kind { allocate, release, map, end, set_limit, evaluate, request };

struct Step {
  Kind kind;
  int64_t bytes = 0;
};

struct Script {
  int64_t limit = 0;
  int64_t base = 0;                 // bytes that are live already
  bool is_warm = true;              // the threads have their shards before anybody comes between
  int64_t sampled_every_bytes = 0;  // of each thread; 0: sampling is off
  std::vector<std::vector<Step>> threads;
};

Script random_script(uint64_t seed);

// Plays one script after the other, each on a block as good as new. One per process.
class Stage {
 public:
  Stage();
  // Fails the running test where a crossing goes unseen, a count is lost, or the threads hang.
  void play(const Script &script, Schedule &schedule);

 private:
  void reset(const Script &script);
  void perform(const Step &step);
  void check();
  void check_end();

  StartedLedger ledger_;
  Interleaving interleaving_;
  MarkBytes marks_;
  int64_t sampled_every_bytes_ = 0;                 // once it is not, it stays on in this process
  int64_t completed_ = 0, begun_ = 0, mapped_ = 0;  // see sum_checker.h; exact here
  int changing_ = 0;                                // calls that change the limit, under way
  uint32_t answered_ = 0;
};

}  // namespace membudget::unit
