// Before the start, threads that come and go, and threads that are being torn down.
#include <gtest/gtest.h>
#include <sched.h>

#include <thread>
#include <vector>

#include "tests/unit/child.h"
#include "tests/unit/seams.h"
#include "tests/unit/started_ledger.h"

namespace membudget {
namespace {

using unit::MarkBytes;
using unit::StartedLedger;

constexpr int64_t kLimit = 1 << 20;
constexpr MarkBytes kMarks = {kLimit, kLimit, kLimit, 1000};

void expect_counts(const StartedLedger &ledger, uint64_t allocations, uint64_t frees) {
  uint64_t counted_allocations, counted_frees;
  process_counts(ledger.process, &counted_allocations, &counted_frees);
  EXPECT_EQ(counted_allocations, allocations);
  EXPECT_EQ(counted_frees, frees);
}

TEST(LedgerStart, TakesOverWhatWasCountedBefore) {
  unit::in_child([] {
    std::thread([] { unit::allocated(500); }).join();
    for (int i = 0; i < 10; ++i) unit::allocated(100);
    unit::freed(50);
    unit::mapped(4096);
    StartedLedger ledger(kMarks);
    EXPECT_EQ(ledger.live(), 1450);
    EXPECT_EQ(process_mapped_bytes(ledger.process), 4096);
    expect_counts(ledger, 11, 1);
    EXPECT_EQ(ledger.process->state, MEMBUDGET_PROCESS_LIVE);
  });
}

TEST(LedgerStart, MayFindTheBudgetCrossed) {
  unit::in_child([] {
    unit::allocated(kLimit);
    StartedLedger ledger(kMarks);
    EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
  });
}

// Threads that count all the while, and one that starts the ledger: nothing is lost, nothing counted twice.
TEST(LedgerStart, InTheMiddleOfOtherThreads) {
  for (int round = 0; round < 25; ++round) {
    unit::in_child([] {
      constexpr int kThreads = 3, kCalls = 3000;
      uint32_t running = 0;
      std::vector<std::thread> threads;
      for (int i = 0; i < kThreads; ++i) {
        threads.emplace_back([&] {
          __atomic_fetch_add(&running, 1u, __ATOMIC_SEQ_CST);
          for (int j = 0; j < kCalls; ++j) {
            unit::allocated(10);
            if (j % 4 == 0) unit::freed(3);
            if (j % 500 == 0) unit::mapped(1);
          }
        });
      }
      while (__atomic_load_n(&running, __ATOMIC_SEQ_CST) < kThreads) sched_yield();
      StartedLedger ledger(kMarks);
      for (std::thread &thread : threads) thread.join();
      EXPECT_EQ(ledger.live(), kThreads * (kCalls * 10 - kCalls / 4 * 3));
      EXPECT_EQ(process_mapped_bytes(ledger.process), kThreads * kCalls / 500);
      expect_counts(ledger, kThreads * kCalls, kThreads * kCalls / 4);
    });
  }
}

// A thread caught between its look whether the ledger has started and its addition.
TEST(LedgerStart, BetweenLookAndAddition) {
  for (int point = 0; point < 4; ++point) {
    unit::in_child([=] {
      static unit::TestBlock *block;
      static Process *process;
      static int countdown;
      block = new unit::TestBlock;
      process = process_claim(**block, getpid(), own_pid_namespace());
      countdown = point;
      unit::yield_hook = [] {
        if (countdown-- != 0) return;
        std::thread([] { ledger::start({**block, process, nullptr, nullptr}); }).join();
      };
      for (int i = 0; i < 5; ++i) unit::allocated(10);
      unit::yield_hook = nullptr;
      EXPECT_EQ(process_live_bytes(process), 50);
      EXPECT_EQ(process->state, MEMBUDGET_PROCESS_LIVE);
    });
  }
}

TEST(LedgerThreads, ShardsOfTheDeadAreUsedAgain) {
  unit::in_child([] {
    StartedLedger ledger(kMarks, nullptr, nullptr);
    unit::allocated(1);
    for (int i = 0; i < 200; ++i) {
      std::thread([] {
        unit::allocated(100);
        unit::freed(40);
        ledger::thread_ends();
      }).join();
      ASSERT_EQ(ledger.live(), 1 + 60 * (i + 1));
    }
    EXPECT_LE(ledger.process->shard_high, 3u);
    expect_counts(ledger, 201, 200);
  });
}

// Late destructors free after our own ran: it is counted, and it may cross.
TEST(LedgerThreads, ThoseTornDownStillCountAndCross) {
  unit::in_child([] {
    StartedLedger ledger(kMarks);
    std::thread([&] {
      unit::allocated(1000);
      ledger::thread_ends();
      ledger::thread_ends();
      const int64_t net = shard_net(ledger.process->shards[0]);
      unit::allocated(500);
      EXPECT_EQ(shard_net(ledger.process->shards[0]), net + 500);
      unit::allocated(static_cast<size_t>(kLimit - 1501));
      EXPECT_EQ(ledger.level(), MEMBUDGET_NONE);
      unit::allocated(1);
      EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
      unit::freed(1000);
      EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
      unit::freed(1);
      EXPECT_EQ(ledger.level(), MEMBUDGET_NONE);
      EXPECT_EQ(ledger.process->shard_owner[1], 0u);
    }).join();
    EXPECT_EQ(ledger.live(), kLimit - 1001);
  });
}

TEST(LedgerThreads, BeyondTheShardsShareOne) {
  unit::in_child([] {
    StartedLedger ledger({INT64_C(1) << 30, INT64_C(1) << 30, INT64_C(1) << 30, 0});
    constexpr int kThreads = MEMBUDGET_SHARDS + 30, kCalls = 20;
    uint32_t arrived = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        unit::allocated(1000);
        __atomic_fetch_add(&arrived, 1u, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < kThreads) usleep(1000);
        for (int j = 0; j < kCalls; ++j) unit::allocated(10), unit::freed(7);
        ledger::thread_ends();
      });
    }
    for (std::thread &thread : threads) thread.join();
    EXPECT_EQ(ledger.live(), kThreads * (1000 + kCalls * 3));
    expect_counts(ledger, kThreads * (kCalls + 1), kThreads * kCalls);
    EXPECT_GE(ledger.process->uncounted_threads, 31u);
    EXPECT_EQ(ledger.process->shard_high, MEMBUDGET_SHARDS);
  });
}

int started_threads;

TEST(LedgerThreads, EachStartIsToldOnce) {
  unit::in_child([] {
    StartedLedger ledger(kMarks, nullptr, [] { ++started_threads; });
    EXPECT_EQ(started_threads, 0);
    for (int i = 0; i < 5; ++i) unit::allocated(1);
    EXPECT_EQ(started_threads, 1);
    std::thread([] {
      unit::freed(1);
      unit::freed(1);
      EXPECT_EQ(started_threads, 2);
      ledger::thread_ends();
      unit::freed(1);
      EXPECT_EQ(started_threads, 2);
    }).join();
  });
}

// The hook allocates, as pthread_setspecific does for late keys; that allocation may be the one that crosses.
TEST(LedgerThreads, WhatTheStartHookAllocatesMayCross) {
  unit::in_child([] {
    StartedLedger ledger(kMarks, nullptr, [] { unit::allocated(512); });
    unit::allocated(100);
    EXPECT_EQ(ledger.live(), 612);
    std::thread([&] {
      unit::allocated(static_cast<size_t>(kLimit - 612 - 512));
      EXPECT_EQ(ledger.live(), kLimit);
      EXPECT_EQ(ledger.level(), MEMBUDGET_CRITICAL);
    }).join();
  });
}

}  // namespace
}  // namespace membudget
