// Live bytes, to the byte: many threads operate on shared blocks, come and go, allocate and free in their
// destructors, and at every rest the library's counters are what the reference library summed.
//
// ledger_test READER THREADS ROUNDS OPERATIONS: operations per thread and round.
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/stat.h>

#include "books.h"
#include "check.h"
#include "library.h"
#include "memory.h"
#include "operations.h"

namespace {

// Blocks from before main, by constructors; those of the library early.c are from before our own.
struct BeforeMain {
  BeforeMain() {
    for (size_t i = 0; i < 500; i++) blocks[i] = i % 3 ? malloc(i * 17) : memalign(128, i * 19);
  }
  void free_all() {
    for (void *&block : blocks) free(block), block = nullptr;
  }
  void *blocks[500];
} before_main;

extern "C" void early_free_all(void);

pthread_barrier_t rest;
pthread_key_t key;
long rounds, operations;
uint64_t operations_done;

void operate_many(uint64_t *random, long count) {
  for (long i = 0; i < count; i++) operate(random);
  __atomic_add_fetch(&operations_done, static_cast<uint64_t>(count), __ATOMIC_RELAXED);
}

// A key's destructor: comes again as often as POSIX allows, so also after the library's own had its turn.
void operate_at_the_end(void *value) {
  uint64_t random = reinterpret_cast<uintptr_t>(value);
  operate_many(&random, 20);
  pthread_setspecific(key, reinterpret_cast<void *>(random | 1));
}

struct Leaver {
  explicit Leaver(uint64_t seed) : random(seed), block(malloc(seed % 5000)) {}
  ~Leaver() {
    free(block);
    operate_many(&random, 20);
  }
  uint64_t random;
  void *block;
};

// A short life: operations, and more of them in both kinds of destructors.
void *live_shortly(void *seed) {
  uint64_t random = reinterpret_cast<uintptr_t>(seed);
  static thread_local Leaver leaver(random_next(&random));
  pthread_setspecific(key, reinterpret_cast<void *>(leaver.random | 1));
  operate_many(&random, operations / 20 + 1);
  return nullptr;
}

void start_short_life(uint64_t *random, bool joined) {
  pthread_t thread;
  REQUIRE(pthread_create(&thread, nullptr, live_shortly, reinterpret_cast<void *>(random_next(random) | 1)) == 0);
  if (joined)
    pthread_join(thread, nullptr);
  else
    pthread_detach(thread);
}

void *work(void *seed) {
  uint64_t random = reinterpret_cast<uintptr_t>(seed);
  for (long round = 0; round < rounds; round++) {
    operate_many(&random, operations / 2);
    start_short_life(&random, round % 2 == 0);
    operate_many(&random, operations / 2);
    pthread_barrier_wait(&rest);
    pthread_barrier_wait(&rest);
  }
  return nullptr;
}

// Until all detached threads are gone: the kernel removes a thread after its last instruction.
void wait_for_threads(long threads) {
  struct stat tasks;
  do {
    usleep(500);
    REQUIRE(stat("/proc/self/task", &tasks) == 0);
  } while (static_cast<long>(tasks.st_nlink) - 2 > threads);
}

void run(const Reference &reference, const outside *reader, long threads, uint64_t *random) {
  pthread_t workers[256];
  pthread_barrier_init(&rest, nullptr, static_cast<unsigned>(threads) + 1);
  for (long i = 0; i < threads; i++) {
    void *seed = reinterpret_cast<void *>(random_next(random) | 1);
    REQUIRE(pthread_create(&workers[i], nullptr, work, seed) == 0);
  }
  bool agree = true;
  for (long round = 0; round < rounds; round++) {
    pthread_barrier_wait(&rest);
    wait_for_threads(threads + 1);
    char when[60];
    snprintf(when, sizeof when, "%ld threads, round %ld", threads, round);
    if (agree) agree = books_agree(reference, reader, when);
    pthread_barrier_wait(&rest);
  }
  for (long i = 0; i < threads; i++) pthread_join(workers[i], nullptr);
  books_agree(reference, reader, "after the threads");
}

}  // namespace

int main(int count, char **arguments) {
  const Reference reference = reference_find();
  books_agree(reference, nullptr, "at the start of main");
  library_check_expected();
  REQUIRE(count == 5);
  const long threads = atol(arguments[2]);
  rounds = atol(arguments[3]);
  operations = atol(arguments[4]);
  uint64_t random = operations_seed();
  const outside reader = outside_start(arguments[1]);
  REQUIRE(pthread_key_create(&key, operate_at_the_end) == 0);
  run(reference, &reader, threads, &random);
  CHECK(operations_done >= static_cast<uint64_t>(threads * rounds * operations));
  operations_free_all();
  before_main.free_all();
  early_free_all();
  books_agree(reference, &reader, "with all freed");
  CHECK(reference.live_bytes() < static_cast<int64_t>(MIB));
  outside_stop(&reader);
  printf("%llu operations\n", static_cast<unsigned long long>(operations_done));
  return check_finish();
}
