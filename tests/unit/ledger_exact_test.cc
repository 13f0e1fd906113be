// One thread: the level is right when a call returns, to the byte, whatever the thread does.
#include <errno.h>
#include <gtest/gtest.h>

#include <random>

#include "control/block/system.h"
#include "tests/unit/child.h"
#include "tests/unit/started_ledger.h"

namespace membudget {
namespace {

using unit::MarkBytes;
using unit::ReferenceLevel;
using unit::StartedLedger;

constexpr int64_t kLimit = 1 << 20;
constexpr MarkBytes kMarks = {kLimit, kLimit / 10 * 9, kLimit / 100 * 97, kLimit / 50};

// Allocates in pieces of `piece` bytes and checks before and after the one that crosses.
void cross_by(int64_t piece) {
  StartedLedger ledger(kMarks);
  int64_t live = 0;
  for (; live + piece < kLimit; live += piece) unit::allocated(static_cast<size_t>(piece));
  unit::allocated(static_cast<size_t>(kLimit - 1 - live));
  EXPECT_EQ(ledger.live(), kLimit - 1);
  EXPECT_EQ(ledger.level(), MEMBUDGET_MEDIUM) << "not one byte earlier";
  unit::allocated(1);
  EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
  EXPECT_EQ(ledger.block.header()->last_crossing_counted_bytes, kLimit);
  unit::freed(static_cast<size_t>(kMarks.release));
  EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL) << "not yet below";
  unit::freed(1);
  EXPECT_EQ(ledger.level(), MEMBUDGET_MEDIUM);
  EXPECT_EQ(ledger.block.header()->crossings, 1u);
}

TEST(LedgerExact, CrossesAtTheByte) {
  for (int64_t piece : {1, 7, 48, 4096, 65'537, 500'000, 1'000'000}) unit::in_child([=] { cross_by(piece); });
}

// Live, mapped, limits: at random, mostly near the marks, checked after every call.
void walk(uint64_t seed, int steps, bool hover) {
  std::mt19937_64 random(seed);
  StartedLedger ledger(kMarks);
  ReferenceLevel reference{kMarks};
  int64_t live = 0, mapped = 0;
  uint64_t allocations = 0, frees = 0;
  auto size = [&] {
    return static_cast<int64_t>(random() % (random() % 50 == 0 ? 300'000 : random() % 4 ? 200 : 5000));
  };
  for (int i = 0; i < steps; ++i) {
    bool down = hover ? live + mapped > reference.marks.limit : random() % 1000 < 495;
    uint64_t kind = random() % 1000;
    if (kind < 4) {
      int64_t pages = static_cast<int64_t>(random() % 20) * 4096, change = down ? -std::min(pages, mapped) : pages;
      mapped += change;
      unit::mapped(change);
    } else if (kind < 5) {
      int64_t limit = kLimit / 2 + static_cast<int64_t>(random() % kLimit);
      reference.marks = {limit, limit / 10 * 9, limit / 100 * 97, limit / 50};
      ledger.block.set_limits(reference.marks);
    } else if (down) {
      int64_t bytes = std::min(size(), live);
      live -= bytes, ++frees;
      unit::freed(static_cast<size_t>(bytes));
    } else {
      int64_t bytes = size();
      live += bytes, ++allocations;
      unit::allocated(static_cast<size_t>(bytes));
    }
    reference.update(live + mapped);
    ASSERT_EQ(ledger.level(), reference.level) << "seed " << seed << ", step " << i << ", at " << live + mapped;
  }
  const Header *h = ledger.block.header();
  uint64_t counted_allocations, counted_frees;
  process_counts(ledger.process, &counted_allocations, &counted_frees);
  EXPECT_EQ(ledger.live(), live);
  EXPECT_EQ(process_mapped_bytes(ledger.process), mapped);
  EXPECT_EQ(counted_allocations, allocations);
  EXPECT_EQ(counted_frees, frees);
  EXPECT_EQ(h->crossings, reference.crossings);
  EXPECT_EQ(h->level_word >> 8, reference.changes & 0xffffff);
  EXPECT_EQ(h->last_crossing_counted_bytes, reference.last_crossing_bytes);
  EXPECT_GT(reference.changes, 10u) << "or else this walk has shown nothing";
}

TEST(LedgerExact, RandomWalksFollowTheReference) {
  for (uint64_t seed = 0; seed < 4; ++seed) unit::in_child([=] { walk(seed, 150'000, seed % 2); });
}

TEST(LedgerExact, OneHugeBlock) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    unit::allocated(size_t{1} << 50);
    EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
    unit::freed(size_t{1} << 50);
    EXPECT_EQ(ledger.level(), MEMBUDGET_NONE);
    EXPECT_EQ(ledger.live(), 0);
  });
}

TEST(LedgerExact, FirstCallOfAThreadMayCross) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    unit::allocated(kLimit);
    EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
  });
}

// A handler that jumped out between the two steps.
TEST(LedgerExact, WhatIsMappedIsMadeUpForByTheNext) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    ledger::note_mapped(kLimit);
    EXPECT_EQ(process_mapped_bytes(ledger.process), 0);
    ledger::settle_mapped(0);
    EXPECT_EQ(process_mapped_bytes(ledger.process), kLimit);
    EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
    ledger::note_mapped(-kLimit);
    unit::mapped(1);
    EXPECT_EQ(process_mapped_bytes(ledger.process), 1);
    EXPECT_EQ(ledger.level(), MEMBUDGET_NONE);
  });
}

TEST(LedgerExact, MappedBytesCross) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    unit::allocated(1000);
    unit::mapped(kLimit - 1001);
    EXPECT_EQ(ledger.level(), MEMBUDGET_MEDIUM);
    unit::mapped(1);
    EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
    unit::mapped(-kMarks.release);
    EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
    unit::mapped(-1);
    EXPECT_EQ(ledger.level(), MEMBUDGET_MEDIUM);
    EXPECT_EQ(ledger.block.header()->last_crossing_live_bytes, 1000);
  });
}

// Peaks without a mark in sight: never too high, too low by at most what the block says.
TEST(LedgerExact, PeakErrorIsBounded) {
  unit::in_child([] {
    StartedLedger ledger({});
    std::mt19937_64 random(1);
    int64_t live = 0, peak = 0;
    for (int i = 0; i < 300'000; ++i) {
      auto bytes = static_cast<int64_t>(random() % 3000);
      if (random() % 100 < 52)
        unit::allocated(static_cast<size_t>(bytes)), live += bytes;
      else
        unit::freed(static_cast<size_t>(std::min(bytes, live))), live -= std::min(bytes, live);
      peak = std::max(peak, live);
      const Process *p = ledger.process;
      ASSERT_LE(p->peak_live_bytes, peak) << "step " << i;
      ASSERT_GE(std::max(p->peak_live_bytes, live), peak - p->peak_error_bytes) << "step " << i;
    }
    EXPECT_LE(ledger.process->peak_error_bytes, std::min<int64_t>(std::max<int64_t>(peak / 16, 64 << 10), 256 << 10));
    EXPECT_EQ(ledger.block.header()->peak_live_bytes, ledger.process->peak_live_bytes);
  });
}

// Grows to `most` by blocks of 100 bytes, frees half of it, and looks what is known of the peak.
void expect_exact_peak(int64_t most) {
  unit::in_child([=] {
    StartedLedger ledger(kMarks);
    int64_t live = 0;
    while (live + 100 <= most) unit::allocated(100), live += 100;
    for (int64_t i = 0; i < live / 200; ++i) unit::freed(100);
    for (int i = 0; i < 20; ++i) unit::allocated(100);
    EXPECT_EQ(ledger.process->peak_live_bytes, live);
    EXPECT_EQ(ledger.process->peak_error_bytes, 0);
    EXPECT_EQ(ledger.block.header()->peak_counted_bytes, live);
    EXPECT_EQ(ledger.block.header()->peak_error_bytes, 0);
  });
}

TEST(LedgerExact, PeakJustBelowTheLimitIsExact) { expect_exact_peak(kLimit - 2000); }
TEST(LedgerExact, PeakAtTheCrossingIsExact) { expect_exact_peak(kLimit + 99); }
TEST(LedgerExact, PeakJustPastTheLimitIsExact) { expect_exact_peak(kLimit + 30'000); }

TEST(LedgerExact, KeepsErrno) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    errno = 12345;
    unit::allocated(2 * kLimit);
    unit::freed(2 * kLimit);
    unit::mapped(2 * kLimit);
    ledger::thread_ends();
    unit::allocated(2 * kLimit);
    EXPECT_EQ(errno, 12345);
  });
}

}  // namespace
}  // namespace membudget
