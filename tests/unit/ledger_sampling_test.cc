// The slow path is taken past the thread's next sample, by whatever way the ledger got there, and seldom before it.
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tests/unit/child.h"
#include "tests/unit/started_ledger.h"

namespace membudget {
namespace {

using unit::MarkBytes;
using unit::StartedLedger;

constexpr MarkBytes kFarMarks = {1 << 30, 1 << 30, 1 << 30, 1000};

// Allocates, frees and draws samples as the profile does.
struct Sampler {
  explicit Sampler(int64_t mean) : distance(0, static_cast<int>(2 * mean)) {}

  void allocate(size_t bytes) {
    bool is_met = ledger::allocated(bytes), is_due = counted() > ledger::thread.sample_at_bytes;
    bool has_shard = ledger::thread.shard != &ledger::nobody;
    samples += has_shard && is_due;
    EXPECT_TRUE(is_met || !is_due) << counted() << " is past " << ledger::thread.sample_at_bytes;
    if (!is_met) return;
    if (has_shard && is_due) {
      ledger::thread.sample_at_bytes = counted() + distance(random);
      if (ledger::goes_on_to_next_sample()) return;
    }
    ++looks;
    ledger::settle_allocated(bytes);
  }

  static int64_t counted() { return ledger::thread.shard->allocated_bytes; }

  std::minstd_rand random;
  std::uniform_int_distribution<int> distance;
  int looks = 0, samples = 0;
};

TEST(LedgerSampling, TakesNoLookBeforeItBegins) {
  unit::in_child([] {
    StartedLedger ledger(kFarMarks);
    Sampler sampler(1000);
    for (int i = 0; i < 3; ++i) unit::allocated(10);  // gets a shard, notes a peak
    EXPECT_FALSE(ledger::allocated(10));
    ledger::begin_sampling();
    EXPECT_TRUE(ledger::allocated(10));
    ledger::settle_allocated(10);
    EXPECT_TRUE(ledger::allocated(10)) << "no sample is drawn yet";
  });
}

TEST(LedgerSampling, LooksPastEachSample) {
  unit::in_child([] {
    StartedLedger ledger(kFarMarks);
    ledger::begin_sampling();
    Sampler sampler(20'000);
    std::uniform_int_distribution<size_t> sizes(1, 300);
    for (int i = 0; i < 100'000; ++i) {
      size_t bytes = sizes(sampler.random);
      sampler.allocate(bytes);
      if (i % 4 != 0) unit::freed(bytes);
    }
    EXPECT_GT(sampler.samples, 500);
    EXPECT_LT(sampler.looks, 300) << "the slow path is for the ledger's own needs, not for samples";
  });
}

// Others' demands set the triggers anew.
TEST(LedgerSampling, LooksPastEachSampleWhileItIsAskedToLook) {
  unit::in_child([] {
    StartedLedger ledger(kFarMarks);
    ledger::begin_sampling();
    bool is_over = false;
    std::thread asking([&] {
      while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
        budget_request_attention(*ledger.block, nullptr);
        std::this_thread::yield();
      }
    });
    Sampler sampler(5000);
    for (int i = 0; i < 50'000; ++i) {
      sampler.allocate(100);
      unit::freed(100);
    }
    __atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
    asking.join();
    EXPECT_GT(sampler.samples, 500);
  });
}

// What a thread knows of its trigger holds only as long as nobody else has set or withdrawn it.
TEST(LedgerSampling, GoesOnByItselfOnlyWithinWhatItMayGrow) {
  unit::in_child([] {
    StartedLedger ledger(kFarMarks);
    EXPECT_FALSE(ledger::goes_on_to_next_sample()) << "no shard, nothing known";
    ledger::begin_sampling();
    Sampler sampler(1000);
    for (int i = 0; i < 3; ++i) sampler.allocate(10);
    ledger::thread.sample_at_bytes = Sampler::counted() + 1000;
    EXPECT_TRUE(ledger::goes_on_to_next_sample());
    EXPECT_FALSE(ledger::allocated(1000));
    EXPECT_TRUE(ledger::allocated(1));
    ledger::thread.sample_at_bytes = Sampler::counted() + 1000;
    EXPECT_TRUE(ledger::goes_on_to_next_sample());

    budget_request_attention(*ledger.block, nullptr);
    EXPECT_FALSE(ledger::goes_on_to_next_sample()) << "asked to look up";
    ledger::settle_allocated(0);
    EXPECT_TRUE(ledger::goes_on_to_next_sample());
    budget_evaluate(*ledger.block);
    EXPECT_FALSE(ledger::goes_on_to_next_sample()) << "allowances were handed out anew";
    ledger::settle_allocated(0);
    EXPECT_TRUE(ledger::goes_on_to_next_sample());
    while (Sampler::counted() <= ledger::thread.looks_at_bytes) (void)ledger::allocated(100);
    EXPECT_FALSE(ledger::goes_on_to_next_sample()) << "a look is due without sampling, too";
  });
}

TEST(LedgerSampling, BringsASampleNearer) {
  unit::in_child([] {
    StartedLedger ledger(kFarMarks);
    ledger::begin_sampling();
    Sampler sampler(1000);
    for (int i = 0; i < 3; ++i) sampler.allocate(10);
    ledger::thread.sample_at_bytes = Sampler::counted() + 1000;
    ledger::settle_allocated(0);
    EXPECT_FALSE(ledger::allocated(10));
    ledger::sample_sooner(985);
    EXPECT_FALSE(ledger::allocated(5));
    EXPECT_TRUE(ledger::allocated(1));
  });
}

}  // namespace
}  // namespace membudget
