// Many threads of many processes cross the group's limit at once: when the level is up, counted bytes are at most the
// limit and one allocation in flight per thread, and a waiter in each of the processes has been woken. Run with
// MEMBUDGET_LIMIT, low and medium at the limit.
//
// level_processes_test PROCESSES THREADS ROUNDS
#include <errno.h>
#include <linux/futex.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <initializer_list>

#include "check.h"
#include "group.h"
#include "library.h"
#include "memory.h"

namespace {

constexpr int kThreadsMost = 16;
constexpr unsigned kBlocks = 1 << 14;
constexpr size_t kLargest = 8 << 10;
constexpr timespec kMostWait = {20, 0};

struct Shared {
  pthread_barrier_t start, stop, go_on;
  int64_t last_usable;  // of the allocations after which a thread saw the level, in this round
  long woken;
} * shared;

long rounds;
membudget_header *block;

struct Worker {
  uint64_t random;
  unsigned used;
  void *blocks[kBlocks];
};
Worker workers[kThreadsMost];

// Allocates, and now and then frees, until an allocation returns with the level up.
void fill(Worker *worker) {
  while (worker->used < kBlocks) {
    if (worker->used && random_below(&worker->random, 5) == 0) {
      free(worker->blocks[--worker->used]);
      continue;
    }
    void *made = malloc(random_size(&worker->random, kLargest));
    worker->blocks[worker->used++] = made;
    if (library_level(block) != MEMBUDGET_CRITICAL) continue;
    __atomic_add_fetch(&shared->last_usable, static_cast<int64_t>(malloc_usable_size(made)), __ATOMIC_RELAXED);
    return;
  }
  _exit(2);
}

void *work(void *argument) {
  auto *worker = static_cast<Worker *>(argument);
  for (long round = 0; round < rounds; round++) {
    pthread_barrier_wait(&shared->start);
    fill(worker);
    pthread_barrier_wait(&shared->stop);
    pthread_barrier_wait(&shared->go_on);
    while (worker->used) free(worker->blocks[--worker->used]);
  }
  return nullptr;
}

// Asleep until the level is up.
void *wait(void *) {
  for (long round = 0; round < rounds; round++) {
    pthread_barrier_wait(&shared->start);
    for (;;) {
      const uint32_t word = __atomic_load_n(&block->level_word, __ATOMIC_ACQUIRE);
      if ((word & 0xff) == MEMBUDGET_CRITICAL) break;
      if (syscall(SYS_futex, &block->level_word, FUTEX_WAIT, word, &kMostWait, nullptr, 0) != 0 && errno == ETIMEDOUT)
        _exit(3);
    }
    __atomic_add_fetch(&shared->woken, 1, __ATOMIC_RELAXED);
    pthread_barrier_wait(&shared->stop);
    pthread_barrier_wait(&shared->go_on);
  }
  return nullptr;
}

[[noreturn]] void live(int number, int threads) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  pthread_t ids[kThreadsMost], waiter;
  if (pthread_create(&waiter, nullptr, wait, nullptr) != 0) _exit(4);
  for (int i = 0; i < threads; i++) {
    workers[i].random = static_cast<uint64_t>(number * kThreadsMost + i + 1);
    if (pthread_create(&ids[i], nullptr, work, &workers[i]) != 0) _exit(4);
  }
  for (int i = 0; i < threads; i++) pthread_join(ids[i], nullptr);
  pthread_join(waiter, nullptr);
  _exit(0);
}

void check_crossing(long round, uint64_t crossings_before, long processes, int64_t mapped_bytes) {
  const int64_t counted = group_live_bytes() + mapped_bytes;
  const int64_t most = block->limit_bytes - 1 + __atomic_exchange_n(&shared->last_usable, 0, __ATOMIC_RELAXED);
  CHECK_EQ(library_level(block), MEMBUDGET_CRITICAL);
  CHECK_EQ(block->crossings, crossings_before + 1);
  CHECK_EQ(__atomic_exchange_n(&shared->woken, 0, __ATOMIC_RELAXED), processes);
  CHECK_CONTEXT(counted <= most, "round %ld: %lld counted is %lld more than all threads may be ahead", round,
                static_cast<long long>(counted), static_cast<long long>(counted - most));
  CHECK_CONTEXT(block->last_crossing_counted_bytes >= block->limit_bytes && block->last_crossing_counted_bytes <= most,
                "crossed at %lld, limit %lld", static_cast<long long>(block->last_crossing_counted_bytes),
                static_cast<long long>(block->limit_bytes));
}

int64_t group_mapped_bytes() {
  int64_t sum = 0;
  group_for_each([&](const membudget_process *process) {
    const int64_t own = process->mapped_bytes - process->inherited_mapped_bytes;
    if (own > 0) sum += own;
  });
  return sum;
}

void prepare_barrier(pthread_barrier_t *barrier, unsigned count) {
  pthread_barrierattr_t attributes;
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  REQUIRE(pthread_barrier_init(barrier, &attributes, count) == 0);
}

}  // namespace

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 4);
  block = library_block();
  const int processes = atoi(arguments[1]), threads = atoi(arguments[2]);
  rounds = atol(arguments[3]);
  REQUIRE(processes > 0 && threads > 0 && threads <= kThreadsMost && block->limit_bytes > 0);
  shared =
      static_cast<Shared *>(mmap(nullptr, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  REQUIRE(shared != MAP_FAILED);
  for (pthread_barrier_t *barrier : {&shared->start, &shared->stop, &shared->go_on})
    prepare_barrier(barrier, static_cast<unsigned>(processes * (threads + 1) + 1));
  pid_t children[64];
  REQUIRE(processes <= 64);
  for (int i = 0; i < processes; i++) {
    children[i] = fork();
    if (children[i] == 0) live(i, threads);
    REQUIRE(children[i] > 0);
  }
  alarm(200);  // a child that failed keeps the others at a barrier
  for (long round = 0; round < rounds; round++) {
    const uint64_t crossings = block->crossings;
    pthread_barrier_wait(&shared->start);
    pthread_barrier_wait(&shared->stop);
    check_crossing(round, crossings, processes, group_mapped_bytes());
    pthread_barrier_wait(&shared->go_on);
    while (library_level(block) != MEMBUDGET_NONE) usleep(200);  // a level that stays up: the alarm
  }
  for (int i = 0; i < processes; i++) {
    int status = -1;
    REQUIRE(waitpid(children[i], &status, 0) == children[i]);
    CHECK_CONTEXT(status == 0, "status %#x", status);
  }
  return check_finish();
}
