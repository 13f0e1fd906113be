// Threads of which one runs at a time, and which change over where a schedule says, so that every order of
// their steps can be tried, and tried again. They change over at the code's yield points, and where they
// would wait for a lock.
//
// They are coroutines in one thread: each has a ThreadState of the ledger's and a thread id of its own.
#pragma once

#include <stddef.h>

#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace membudget::unit {

// Decides who goes on.
class Schedule {
 public:
  virtual ~Schedule() = default;
  // One of `able`, which is never empty. `current` is the one that ran so far, -1 for none.
  virtual int choose(const std::vector<int> &able, int current) = 0;
};

// All schedules in which at most `preemptions` times somebody is stopped who could have gone on, one by one.
class AllSchedules : public Schedule {
 public:
  explicit AllSchedules(int preemptions) : most_preemptions_(preemptions) {}
  int choose(const std::vector<int> &able, int current) override;
  // Prepares the next one. False when there is none.
  bool next();

 private:
  struct Decision {
    std::vector<int> options;
    size_t chosen;
  };
  int most_preemptions_, preemptions_ = 0;
  size_t position_ = 0;
  std::vector<Decision> decisions_;
};

class RandomSchedule : public Schedule {
 public:
  explicit RandomSchedule(uint64_t seed) : random_(seed) {}
  int choose(const std::vector<int> &able, int current) override;

 private:
  std::mt19937_64 random_;
};

// Whoever runs goes on for as long as it is able.
class InOrder : public Schedule {
 public:
  int choose(const std::vector<int> &able, int current) override;
};

class Interleaving {
 public:
  // `at_each_point` runs whenever one could change over, and sees all of them standing still.
  explicit Interleaving(std::function<void()> at_each_point);
  ~Interleaving();
  Interleaving(const Interleaving &) = delete;
  Interleaving &operator=(const Interleaving &) = delete;

  // All of them are new threads again: without a shard.
  void forget_threads();

  // Runs all bodies to their ends, body i in thread i. False when they came to wait for each other for ever.
  bool run(const std::vector<std::function<void()>> &bodies, Schedule &schedule);

  // The same, one body after the other, with nobody coming between.
  bool run_in_order(const std::vector<std::function<void()>> &bodies);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace membudget::unit
