// Asking a process for something: its threads look up at their next call.
#include <gtest/gtest.h>

#include "control/block/budget.h"
#include "tests/unit/child.h"
#include "tests/unit/started_ledger.h"

namespace membudget {
namespace {

using unit::StartedLedger;
using unit::TestBlock;

bool is_poisoned(const Shard &s) { return s.allocated_trigger == kPoison && s.freed_trigger == kPoison; }

TEST(Attention, OfOneProcessOrOfAll) {
  TestBlock block;
  Process *a = block.join(), *b = block.join_stranger(700'001);
  Shard *of_a = budget_adopt(*block, a, 1), *of_b = budget_adopt(*block, b, 2);
  budget_request_attention(*block, a);
  EXPECT_TRUE(is_poisoned(*of_a));
  EXPECT_FALSE(is_poisoned(*of_b));
  budget_request_attention(*block, nullptr);
  EXPECT_TRUE(is_poisoned(*of_b));
}

StartedLedger *current;
int answered;

// As the preloaded library trims: in a thread that comes by.
void answer() {
  ++answered;
  current->process->trim_done = current->process->trim_request;
}

TEST(Attention, IsGivenByTheNextCall) {
  unit::in_child([] {
    StartedLedger ledger({1 << 20, 1 << 20, 1 << 20, 0}, answer);
    current = &ledger;
    unit::allocated(100);
    EXPECT_EQ(answered, 0);
    for (int i = 1; i <= 4; ++i) {
      ledger.process->trim_request++;
      budget_request_attention(*ledger.block, ledger.process);
      if (i % 2)
        unit::allocated(1);
      else
        unit::freed(1);
      EXPECT_EQ(answered, i);
      unit::allocated(1);
      unit::freed(1);
      EXPECT_EQ(answered, i) << "once";
    }
    EXPECT_EQ(process_live_bytes(ledger.process), 100);
  });
}

// One who knows nothing of the request looks up for all: it is not forgotten over that.
TEST(Attention, SurvivesAnEvaluationByAnother) {
  unit::in_child([] {
    StartedLedger ledger({1 << 20, 1 << 20, 1 << 20, 0}, answer);
    current = &ledger;
    unit::allocated(100);
    ledger.process->trim_request++;
    budget_request_attention(*ledger.block, ledger.process);
    budget_evaluate(*ledger.block);
    for (int i = 0; i < 3; ++i) unit::allocated(1);
    EXPECT_EQ(answered, 1);
  });
}

}  // namespace
}  // namespace membudget
