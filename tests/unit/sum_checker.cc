#include "tests/unit/sum_checker.h"

#include <gtest/gtest.h>

#include "tests/unit/calls.h"

namespace membudget::unit {

SumChecker::SumChecker(const Block &block, const MarkBytes &marks, int threads, int64_t largest)
    : header_(block.header), marks_(marks), in_flight_bytes_(threads * largest), books_(static_cast<size_t>(threads)) {}

void SumChecker::allocate(int thread, int64_t bytes) {
  Books &books = books_[static_cast<size_t>(thread)];
  add(books.allocated_begun, bytes);
  unit::allocated(static_cast<size_t>(bytes));
  add(books.allocated_done, bytes);
  books.allocations.store(books.allocations.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void SumChecker::release(int thread, int64_t bytes) {
  Books &books = books_[static_cast<size_t>(thread)];
  add(books.freed_begun, bytes);
  unit::freed(static_cast<size_t>(bytes));
  add(books.freed_done, bytes);
  books.frees.store(books.frees.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void SumChecker::map(int thread, int64_t change) {
  Books &books = books_[static_cast<size_t>(thread)];
  add(change > 0 ? books.allocated_begun : books.freed_begun, change > 0 ? change : -change);
  unit::mapped(change);
  add(change > 0 ? books.allocated_done : books.freed_done, change > 0 ? change : -change);
  add(books.mapped, change);
}

void SumChecker::check() {
  const uint32_t before = __atomic_load_n(&header_->level_word, __ATOMIC_ACQUIRE);
  int64_t completed = sum(&Books::allocated_done), begun = -sum(&Books::freed_done);
  completed -= sum(&Books::freed_begun);
  begun += sum(&Books::allocated_begun);
  // The same word before and after: the level was this one at every moment between, also at the one for
  // which each sum is a bound.
  if (__atomic_load_n(&header_->level_word, __ATOMIC_ACQUIRE) == before) judge(before & 0xff, completed, begun);
  const int64_t crossing = __atomic_load_n(&header_->last_crossing_counted_bytes, __ATOMIC_RELAXED);
  if (crossing != 0 && (crossing < marks_.limit || crossing > marks_.limit - 1 + in_flight_bytes_)) ++odd_crossings_;
}

void SumChecker::judge(uint32_t level, int64_t completed, int64_t begun) {
  const int64_t marks[] = {marks_.low, marks_.medium, marks_.limit};
  const uint32_t levels[] = {MEMBUDGET_LOW, MEMBUDGET_MEDIUM, MEMBUDGET_CRITICAL};
  for (int i = 0; i < 3; ++i) {
    if (completed >= marks[i] && level < levels[i]) ++unseen_;
    if (begun < marks[i] - marks_.release && level >= levels[i]) ++not_fallen_;
  }
  if (completed >= marks_.limit || (level == MEMBUDGET_NONE && begun > marks_.low - in_flight_bytes_)) ++conclusive_;
}

void SumChecker::expect_exact(const Process *p) const {
  uint64_t allocations, frees;
  process_counts(p, &allocations, &frees);
  const int64_t mapped = sum(&Books::mapped), counted = sum(&Books::allocated_done) - sum(&Books::freed_done);
  EXPECT_EQ(process_mapped_bytes(p), mapped);
  EXPECT_EQ(process_live_bytes(p), counted - mapped);
  EXPECT_EQ(allocations, sum(&Books::allocations));
  EXPECT_EQ(frees, sum(&Books::frees));
  const uint32_t level = header_->level_word & 0xff;
  if (counted >= marks_.limit) { EXPECT_EQ(level, MEMBUDGET_CRITICAL) << counted; }
  if (counted < marks_.limit - marks_.release) { EXPECT_LT(level, MEMBUDGET_CRITICAL) << counted; }
  if (counted >= marks_.low) { EXPECT_GE(level, MEMBUDGET_LOW) << counted; }
  if (counted < marks_.low - marks_.release) { EXPECT_EQ(level, MEMBUDGET_NONE) << counted; }
}

void SumChecker::expect_no_crossing_unseen(uint64_t least_conclusive) const {
  EXPECT_EQ(unseen_, 0u) << "a mark was reached and the level not raised";
  EXPECT_EQ(not_fallen_, 0u) << "below the release mark and the level not lowered";
  EXPECT_EQ(odd_crossings_, 0u) << "crossed too early, or with more than a call in flight per thread";
  EXPECT_GE(conclusive_, least_conclusive) << "too few checks near a mark to show anything";
  EXPECT_GT(header_->crossings, 0u);
}

}  // namespace membudget::unit
