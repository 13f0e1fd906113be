// Allocation workloads, timed: prints the nanoseconds of one operation (one malloc and one free), the median
// of the rounds and the best one, which is the least disturbed.
//
//   workloads WORK [THREADS] [SECONDS] [BYTES]
//
//   pair         malloc(64) and free, over and over
//   churn        4,096 live blocks of 16 to 1,039 bytes, one at random replaced at a time
//   bulk         200,000 blocks of 48 bytes allocated, then freed
//   passed       churn in a table that all threads exchange blocks through: most are freed by another thread
//   passed-bulk  bulk, each thread freeing what its neighbour allocated
//   near         churn, in a process that holds BYTES in all
//
// With threads: a round is over when the last one is done, and each core that they can run on counts.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr int kLive = 4096;
constexpr int kBulk = 200'000;
constexpr int kOperations = 200'000;  // in a round of the other works
constexpr int kMostRounds = 10'000;
using Clock = std::chrono::steady_clock;

double ns_since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

struct Random {
  uint64_t state;
  uint32_t next() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state >> 33);
  }
};

void *volatile escape;

void *get(size_t bytes) {
  void *block = malloc(bytes);
  if (!block) abort();
  *static_cast<volatile char *>(block) = 1;
  return block;
}

// What the rounds share; set up before the threads start.
std::atomic<void *> exchange_table[kLive];
std::vector<std::vector<void *>> live;    // of each thread
std::vector<std::vector<void *>> passed;  // allocated by each thread
std::barrier<> *all_threads;

void pair_round(int) {
  for (int i = 0; i < kOperations; ++i) {
    void *block = malloc(64);
    escape = block;
    free(block);
  }
}

void churn_round(int thread) {
  auto &mine = live[thread];
  Random random{static_cast<uint64_t>(thread) + 1};
  for (int i = 0; i < kOperations; ++i) {
    uint32_t r = random.next();
    void *&slot = mine[r % kLive];
    free(slot);
    slot = get(16 + (r >> 12) % 1024);
  }
}

void bulk_round(int thread) {
  auto &mine = passed[thread];
  for (auto &block : mine) block = get(48);
  for (auto &block : mine) free(block);
}

void passed_round(int thread) {
  Random random{static_cast<uint64_t>(thread) * 977 + 5};
  for (int i = 0; i < kOperations; ++i) {
    uint32_t r = random.next();
    free(exchange_table[r % kLive].exchange(get(16 + (r >> 12) % 1024), std::memory_order_acq_rel));
  }
}

void passed_bulk_round(int thread) {
  for (auto &block : passed[thread]) block = get(48);
  all_threads->arrive_and_wait();
  for (auto &block : passed[(thread + 1) % passed.size()]) free(block);
}

struct Work {
  const char *name;
  void (*round)(int thread);
  int operations;  // of one thread in one round
};
constexpr Work kWorks[] = {
    {"pair", pair_round, kOperations},
    {"churn", churn_round, kOperations},
    {"bulk", bulk_round, kBulk},
    {"passed", passed_round, kOperations},
    {"passed-bulk", passed_bulk_round, kBulk},
    {"near", churn_round, kOperations},
};

// Adds blocks until the process holds `bytes` with what the threads hold; touches none of them again.
void hold(size_t bytes) {
  size_t held = 0;
  for (auto &blocks : live)
    for (void *block : blocks) held += malloc_usable_size(block);
  for (auto &blocks : passed) held += blocks.capacity() * sizeof(void *);
  while (held < bytes) {
    escape = get(4000);
    held += malloc_usable_size(escape);
  }
}

// The time of each round but the first, which fills tables and caches.
std::vector<double> run(const Work &work, int threads, double seconds, size_t bytes_to_hold) {
  std::vector<double> rounds_ns;
  rounds_ns.reserve(kMostRounds);
  auto start = Clock::now(), round_start = start;
  bool is_first = true, is_over = false;
  std::barrier begin(threads, [&]() noexcept { round_start = Clock::now(); });
  std::barrier end(threads, [&]() noexcept {
    if (!is_first) rounds_ns.push_back(ns_since(round_start));
    if (is_first && bytes_to_hold) hold(bytes_to_hold);
    if (is_first) start = Clock::now();
    is_over = !is_first && (ns_since(start) > seconds * 1e9 || rounds_ns.size() == kMostRounds);
    is_first = false;
  });
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t)
    running.emplace_back([&, t] {
      while (!is_over) {
        begin.arrive_and_wait();
        work.round(t);
        end.arrive_and_wait();
      }
    });
  for (auto &thread : running) thread.join();
  return rounds_ns;
}

}  // namespace

int main(int argc, char **argv) {
  int threads = argc > 2 ? atoi(argv[2]) : 1;
  double seconds = argc > 3 ? atof(argv[3]) : 1.0;
  size_t bytes = argc > 4 ? strtoull(argv[4], nullptr, 10) : 0;
  auto work = std::find_if(std::begin(kWorks), std::end(kWorks),
                           [&](const Work &w) { return argc > 1 && strcmp(w.name, argv[1]) == 0; });
  if (work == std::end(kWorks) || threads < 1)
    return fprintf(stderr, "usage: workloads WORK [THREADS] [SECONDS] [BYTES]\n"), 2;
  live.assign(threads, std::vector<void *>(kLive));
  if (strstr(work->name, "bulk")) passed.assign(threads, std::vector<void *>(kBulk));
  std::barrier barrier(threads);
  all_threads = &barrier;

  auto rounds_ns = run(*work, threads, seconds, bytes);
  std::sort(rounds_ns.begin(), rounds_ns.end());
  int cores = std::max(1u, std::thread::hardware_concurrency());
  double operations_per_core = double{1} * work->operations * threads / std::min(threads, cores);
  printf("%.3f %.3f\n", rounds_ns[rounds_ns.size() / 2] / operations_per_core, rounds_ns[0] / operations_per_core);
}
