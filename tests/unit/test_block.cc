#include "tests/unit/test_block.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace membudget::unit {

TestBlock::TestBlock() { EXPECT_EQ(block_create_private("test", &block_), 0); }
TestBlock::~TestBlock() { block_close(&block_); }

static Process *publish(Process *p) {
  EXPECT_NE(p, nullptr);
  p->shard_high = 1;
  process_publish(p);
  return p;
}

Process *TestBlock::join() { return publish(process_claim(block_, getpid(), own_pid_namespace())); }

Process *TestBlock::join_stranger(int32_t pid) { return publish(process_claim(block_, pid, foreign_namespace(pid))); }

void TestBlock::set_limits(const MarkBytes &marks) {
  auto bytes = [](int64_t value) { return membudget_amount{value, MEMBUDGET_UNIT_BYTES, 1}; };
  budget_set_limits(block_, {bytes(marks.limit), bytes(marks.low), bytes(marks.medium), bytes(marks.release), {}}, 0);
}

void count(Shard &s, int64_t allocated_bytes, int64_t freed_bytes) {
  __atomic_fetch_add(&s.allocated_bytes, allocated_bytes, __ATOMIC_RELAXED);
  __atomic_fetch_add(&s.freed_bytes, freed_bytes, __ATOMIC_RELAXED);
}

int64_t ReferenceLevel::mark_of(uint32_t of) const {
  return of == MEMBUDGET_LOW ? marks.low : of == MEMBUDGET_MEDIUM ? marks.medium : marks.limit;
}

void ReferenceLevel::update(int64_t counted_bytes) {
  constexpr uint32_t kAll[] = {MEMBUDGET_CRITICAL, MEMBUDGET_MEDIUM, MEMBUDGET_LOW};
  uint32_t reached = MEMBUDGET_NONE, kept = MEMBUDGET_NONE;
  for (uint32_t l : kAll) {
    if (marks.limit <= 0) break;
    if (reached == MEMBUDGET_NONE && counted_bytes >= mark_of(l)) reached = l;
    if (kept == MEMBUDGET_NONE && l <= level && counted_bytes >= mark_of(l) - marks.release) kept = l;
  }
  uint32_t next = reached > kept ? reached : kept;
  if (next == level) return;
  ++changes;
  level = next;
  if (next != MEMBUDGET_CRITICAL) return;
  ++crossings;
  last_crossing_bytes = counted_bytes;
}

void expect_allowances_fit(const Block &block) {
  const Header *h = block.header;
  if (h->limit_bytes <= 0) return;
  uint32_t level = block_level(h);
  int64_t up = kFar, down = -kFar;
  const int64_t marks[] = {h->low_bytes, h->medium_bytes, h->limit_bytes};
  const uint32_t levels[] = {MEMBUDGET_LOW, MEMBUDGET_MEDIUM, MEMBUDGET_CRITICAL};
  for (int i = 0; i < 3; ++i) {
    if (levels[i] > level && marks[i] < up) up = marks[i];
    if (levels[i] == level) down = marks[i] - h->release_bytes;
  }
  int64_t highest = 0, lowest = 0;
  for (uint32_t i = 0; i < block.process_high(); ++i) {
    const Process *p = block.process(i);
    if (p->state != MEMBUDGET_PROCESS_LIVE) continue;
    int64_t process_highest = -p->inherited_live_bytes, process_lowest = process_highest;
    for (uint32_t j = 0; j < p->shard_high; ++j) {
      const Shard &s = p->shards[j];
      bool owned = j > 0 && p->shard_owner[j] != 0;
      process_highest += owned && up < kFar ? s.ceiling_bytes : shard_net(s);
      process_lowest += owned && down > -kFar ? s.floor_bytes : shard_net(s);
    }
    int64_t mapped = p->mapped_bytes - p->inherited_mapped_bytes;
    highest += (process_highest > 0 ? process_highest : 0) + (mapped > 0 ? mapped : 0);
    lowest += (process_lowest > 0 ? process_lowest : 0) + (mapped > 0 ? mapped : 0);
  }
  EXPECT_LT(highest, up) << "level " << level << ": the ceilings reach the next mark";
  EXPECT_GE(lowest, down) << "level " << level << ": the floors reach below the release mark";
}

}  // namespace membudget::unit
