#include "tests/unit/footprint_world.h"

#include <algorithm>

#include "tests/unit/calls.h"

namespace membudget::unit::footprint {

World world;

Reading read_world(bool is_forked) {
  ++world.readings;
  return {
      world.whole,
      std::min(world.ledger->live(), world.most_touched) + world.needed_overhead + world.kept + world.charged_to_others,
      world.is_of_cgroup, is_forked ? world.private_bytes : -1};
}

void trim_world() {
  ++world.trims;
  world.kept = 0;
}

void follow_world(const Header *, int64_t own_counted, bool is_flushing) {
  world.is_flushing = is_flushing;
  world.followed = own_counted;
}

membudget_amount percent(int64_t value) { return {value * 10'000, MEMBUDGET_UNIT_MILLIONTHS, 1}; }
membudget_amount bytes(int64_t value) { return {value, MEMBUDGET_UNIT_BYTES, 1}; }

Member::Member(Budgeted &budget) : process(budget.block.join_stranger(4711)), budget_(budget) {
  process->shard_high = 1;
}

void Member::grow(int64_t bytes) {
  process->shards[0].allocated_bytes += bytes;
  world.charged_to_others += bytes;
  budget_evaluate(*budget_.block);
}

Budgeted::Budgeted(membudget_amount limit, membudget_amount hard_limit) : StartedLedger({}) {
  world.ledger = this;
  footprint_meter({read_world, trim_world, follow_world});
  block.header()->measure = MEMBUDGET_MEASURE_FOOTPRINT;
  budget_set_limits(*block, {limit, percent(90), percent(97), percent(2), hard_limit}, world.whole);
  budget_request_attention(*block, nullptr);
}

int64_t grow_until(Budgeted &budget, uint32_t level, int64_t most) {
  int64_t grown = 0;
  while (grown < most && budget.level() < level) unit::allocated(1000), grown += 1000;
  return grown;
}

void shrink(int64_t by) {
  for (int64_t i = 0; i < by / 1000; ++i) unit::freed(1000);
}

}  // namespace membudget::unit::footprint
