#include "tests/unit/scripts.h"

#include <gtest/gtest.h>
#include <string.h>

#include <algorithm>

#include "tests/unit/traffic.h"

namespace membudget::unit {
namespace {

constexpr uint32_t kShardsUsed = 8;

Process *asked;

void answer() { asked->trim_done = asked->trim_request; }

}  // namespace

Script random_script(uint64_t seed) {
  std::mt19937_64 random(seed ^ 0x9e3779b97f4a7c15);
  Script script;
  script.limit = random() % 3 ? 1'000'000 : 20'000;
  const int64_t near = script.limit / (random() % 2 ? 10 : 40);
  script.base = script.limit - static_cast<int64_t>(random() % static_cast<uint64_t>(4 * near)) + near;
  script.is_warm = random() % 4 != 0;
  if (seed % 2) script.sampled_every_bytes = 1 + near / 8;
  script.threads.resize(2 + random() % 2);
  for (auto &steps : script.threads) {
    for (uint64_t i = 1 + random() % 5; i > 0; --i) {
      const auto bytes = static_cast<int64_t>(random() % static_cast<uint64_t>(near + 1));
      const uint64_t kind = random() % 20;
      if (kind < 9)
        steps.push_back({Kind::allocate, bytes});
      else if (kind < 16)
        steps.push_back({Kind::release, bytes});
      else if (kind == 16)
        steps.push_back({Kind::map, random() % 2 ? bytes : -bytes / 8});
      else if (kind == 17)
        steps.push_back({Kind::end});
      else if (kind == 18)
        steps.push_back({Kind::set_limit, script.limit - near + 2 * bytes});
      else
        steps.push_back({random() % 2 ? Kind::evaluate : Kind::request});
    }
  }
  return script;
}

Stage::Stage() : ledger_({}, answer), interleaving_([this] { check(); }) { asked = ledger_.process; }

void Stage::reset(const Script &script) {
  Process *p = ledger_.process;
  auto *memory = reinterpret_cast<char *>(p);
  memset(memory + offsetof(Process, mapped_bytes), 0, offsetof(Process, shards) - offsetof(Process, mapped_bytes));
  std::fill_n(p->shards, kShardsUsed, Shard{});
  Header *h = ledger_.block.header();
  h->level_word = 0;
  h->peak_live_bytes = h->peak_counted_bytes = 0;
  p->shard_high = 1;
  ledger::note_mapped(script.base / 4 - ledger::mapped_now());
  p->mapped_bytes = mapped_ = script.base / 4;
  count(p->shards[0], script.base - mapped_, 0);
  completed_ = begun_ = script.base;
  marks_ = default_marks(script.limit);
  sampled_every_bytes_ = script.sampled_every_bytes;
  if (sampled_every_bytes_) ledger::begin_sampling();
  ledger_.block.set_limits(marks_);
}

void Stage::perform(const Step &step) {
  switch (step.kind) {
    case Kind::allocate:
      begun_ += step.bytes;
      if (sampled_every_bytes_)
        unit::allocated_and_sampled(static_cast<size_t>(step.bytes), sampled_every_bytes_);
      else
        unit::allocated(static_cast<size_t>(step.bytes));
      completed_ += step.bytes;
      break;
    case Kind::release:
      completed_ -= step.bytes;
      unit::freed(static_cast<size_t>(step.bytes));
      begun_ -= step.bytes;
      break;
    case Kind::map:
      (step.bytes > 0 ? begun_ : completed_) += step.bytes;
      unit::mapped(step.bytes);
      (step.bytes > 0 ? completed_ : begun_) += step.bytes;
      mapped_ += step.bytes;
      break;
    case Kind::end: ledger::thread_ends(); break;
    case Kind::set_limit:
      ++changing_;
      ledger_.block.set_limits(default_marks(step.bytes));
      --changing_;
      break;
    case Kind::evaluate: budget_evaluate(*ledger_.block); break;
    case Kind::request:
      __atomic_fetch_add(&ledger_.process->trim_request, 1u, __ATOMIC_SEQ_CST);
      budget_request_attention(*ledger_.block, ledger_.process);
      break;
  }
}

void Stage::play(const Script &script, Schedule &schedule) {
  reset(script);
  const std::vector<std::function<void()>> calls(script.threads.size(), [this] { perform({Kind::allocate, 0}); });
  interleaving_.forget_threads();
  if (script.is_warm) interleaving_.run_in_order(calls);
  std::vector<std::function<void()>> bodies;
  for (const auto &steps : script.threads) {
    bodies.emplace_back([this, &steps] {
      for (const Step &step : steps) {
        perform(step);
        check();
      }
    });
  }
  EXPECT_TRUE(interleaving_.run(bodies, schedule)) << "they wait for each other";
  check_end();
  interleaving_.run_in_order(calls);
  EXPECT_EQ(ledger_.process->trim_done, ledger_.process->trim_request) << "a request was forgotten";
}

// The level at this very moment; all threads stand still.
void Stage::check() {
  if (changing_ > 0) return;
  const Header *h = ledger_.block.header();
  const int64_t marks[] = {h->low_bytes, h->medium_bytes, h->limit_bytes};
  const uint32_t levels[] = {MEMBUDGET_LOW, MEMBUDGET_MEDIUM, MEMBUDGET_CRITICAL};
  for (int i = 0; i < 3; ++i) {
    if (completed_ >= marks[i] && ledger_.level() < levels[i])
      ADD_FAILURE() << "a crossing unseen: " << completed_ << " of " << marks[i] << " at level " << ledger_.level();
    if (begun_ < marks[i] - h->release_bytes && ledger_.level() >= levels[i])
      ADD_FAILURE() << "a fall unseen: " << begun_ << " of " << marks[i] << " at level " << ledger_.level();
  }
}

void Stage::check_end() {
  EXPECT_EQ(ledger_.live(), completed_ - mapped_);
  EXPECT_EQ(process_mapped_bytes(ledger_.process), mapped_);
  EXPECT_EQ(completed_, begun_);
  EXPECT_EQ(ledger_.block.header()->lock, 0u);
  check();
  expect_allowances_fit(*ledger_.block);
}

}  // namespace membudget::unit
