#include "tests/unit/traffic.h"

#include <pthread.h>

#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/unit/sum_checker.h"

namespace membudget::unit {
namespace {

// Sizes of blocks on their way from one thread to the next: one writer, one reader, no locked instruction.
class Ring {
 public:
  bool push(int64_t bytes) {
    const uint32_t end = end_.load(std::memory_order_relaxed);
    if (end - begin_.load(std::memory_order_acquire) == kCapacity) return false;
    sizes_[end % kCapacity] = bytes;
    end_.store(end + 1, std::memory_order_release);
    return true;
  }
  int64_t pop() {
    const uint32_t begin = begin_.load(std::memory_order_relaxed);
    if (begin == end_.load(std::memory_order_acquire)) return 0;
    const int64_t bytes = sizes_[begin % kCapacity];
    begin_.store(begin + 1, std::memory_order_release);
    return bytes;
  }

 private:
  static constexpr uint32_t kCapacity = 64;
  alignas(64) std::atomic<uint32_t> begin_{0};
  alignas(64) std::atomic<uint32_t> end_{0};
  int64_t sizes_[kCapacity] = {};
};

struct Place {
  Ring to_next;
  std::vector<int64_t> kept;
  int64_t mapped = 0;
};

class Run {
 public:
  explicit Run(const Traffic &traffic)
      : traffic_(traffic),
        ledger_(default_marks(traffic.limit)),
        checker_(*ledger_.block, default_marks(traffic.limit), traffic.threads, traffic.largest),
        places_(static_cast<size_t>(traffic.threads)) {
    for (auto &place : places_) place = std::make_unique<Place>();
    pthread_barrier_init(&rest_, nullptr, static_cast<unsigned>(traffic.threads) + 1);
  }
  ~Run() { pthread_barrier_destroy(&rest_); }

  void operator()(uint64_t least_conclusive) {
    std::vector<std::thread> threads;
    for (int i = 0; i < traffic_.threads; ++i) threads.emplace_back([this, i] { occupy(i); });
    for (int i = 0; i < traffic_.rests; ++i) {
      pthread_barrier_wait(&rest_);
      checker_.expect_exact(ledger_.process);
      pthread_barrier_wait(&rest_);
    }
    for (std::thread &thread : threads) thread.join();
    checker_.expect_exact(ledger_.process);
    checker_.expect_no_crossing_unseen(least_conclusive);
  }

 private:
  void occupy(int place) {
    for (int i = 0; i < traffic_.rests; ++i) {
      for (int life = 0; life < traffic_.lives; ++life) {
        const auto seed = static_cast<uint64_t>((place * 1000 + i) * 1000 + life);
        if (traffic_.lives > 1)
          std::thread([=, this] { live(place, seed); }).join();
        else
          live(place, seed);
      }
      pthread_barrier_wait(&rest_);
      pthread_barrier_wait(&rest_);
    }
  }

  void live(int place, uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < traffic_.calls; ++i) {
      call(place, random);
      if (i % traffic_.checks_every == 0) checker_.check();
    }
    // Most end as threads do; some count on after that, some are never told.
    if (traffic_.lives == 1 || random() % 8 == 0) return;
    ledger::thread_ends();
    for (uint64_t i = random() % 10; i > 0; --i) call(place, random);
    checker_.check();
  }

  void call(int place, std::mt19937_64 &random) {
    const uint64_t dice = random();
    const bool is_full = ledger_.level() == MEMBUDGET_CRITICAL;
    if (traffic_.maps && dice % 64 == 0) return map(place, is_full);
    if (is_full ? dice % 8 != 0 : dice % 8 == 0)
      free_one(place, dice);
    else
      allocate_one(place, dice);
  }

  void map(int place, bool is_full) {
    int64_t &mapped = places_[static_cast<size_t>(place)]->mapped;
    const int64_t change = is_full ? -std::min<int64_t>(mapped, 4096) : 4096;
    mapped += change;
    checker_.map(place, change);
  }

  void allocate_one(int place, uint64_t dice) {
    Place &here = *places_[static_cast<size_t>(place)];
    const auto most = static_cast<uint64_t>(traffic_.largest);
    const auto bytes = static_cast<int64_t>((dice >> 16) % (dice % 32 == 1 ? most : most / 8 + 1));
    checker_.allocate(place, bytes);
    if (dice % 3 == 0 || !here.to_next.push(bytes)) here.kept.push_back(bytes);
  }

  // The neighbour's, or its own.
  void free_one(int place, uint64_t dice) {
    Place &here = *places_[static_cast<size_t>(place)];
    Place &neighbour = *places_[static_cast<size_t>(place == 0 ? traffic_.threads - 1 : place - 1)];
    int64_t bytes = dice % 16 < 12 ? neighbour.to_next.pop() : 0;
    if (bytes == 0 && !here.kept.empty()) bytes = here.kept.back(), here.kept.pop_back();
    checker_.release(place, bytes);
  }

  const Traffic traffic_;
  StartedLedger ledger_;
  SumChecker checker_;
  std::vector<std::unique_ptr<Place>> places_;
  pthread_barrier_t rest_;
};

}  // namespace

MarkBytes default_marks(int64_t limit) { return {limit, limit / 100 * 90, limit / 100 * 97, limit / 100 * 2}; }

void run_traffic(const Traffic &traffic, uint64_t least_conclusive) { Run{traffic}(least_conclusive); }

}  // namespace membudget::unit
