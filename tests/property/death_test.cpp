// kill -9 at random moments: workers that allocate on all sides of a mark are killed and replaced, over and
// over. Whatever a dead one held, the block's lock among it: the others go on, the group's live bytes are those
// of the living to the byte, and the slots are used again.
//
// death_test KILLS
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "books.h"
#include "check.h"
#include "group.h"
#include "library.h"
#include "memory.h"

namespace {

constexpr int kWorkers = 8, kBlocks = 32, kKillsBetweenChecks = 10;
constexpr size_t kLargest = 16384;
constexpr double kMostSeconds = 5;  // until a worker rests: more than what a dead holder of the lock may cost

// A worker's place in memory that all share. A second thread makes one in two of them a process of threads.
struct Seat {
  pid_t pid;
  int64_t inherited_bytes;  // by the reference, at the fork
  int64_t live_bytes;       // by the reference, at rest
  uint64_t steps;
  uint32_t rests, thread_rests;  // the rest it came to
};

struct Shared {
  uint32_t rest;  // odd: everybody rests
  Seat seats[kWorkers];
} * shared;

template <typename T>
T load(const T &word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
template <typename T>
void store(T &word, T value) {
  __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

void sleep_us(long us) {
  const timespec pause = {0, us * 1000};
  nanosleep(&pause, nullptr);
}

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// The blocks of one thread.
struct Blocks {
  void *blocks[kBlocks] = {};
  uint64_t random;

  explicit Blocks(uint64_t seed) : random(seed) {}
  // Some steps, and a pause: or all wait for a processor most of the time.
  void go_on() {
    for (int i = 0; i < 50; i++) step();
    sleep_us(100);
  }
  void step() {
    void *&block = blocks[random_below(&random, kBlocks)];
    if (block && random_below(&random, 4) == 0) {
      block = realloc(block, 1 + random_below(&random, kLargest));
      return;
    }
    free(block);
    block = random_below(&random, 3) ? malloc(random_below(&random, kLargest)) : nullptr;
  }
};

void wait_while(uint32_t rest) {
  while (load(shared->rest) == rest) sleep_us(50);
}

[[noreturn]] void *work_in_a_thread(void *argument) {
  auto *seat = static_cast<Seat *>(argument);
  Blocks own(static_cast<uint64_t>(getpid()) << 20);
  for (;;) {
    const uint32_t rest = load(shared->rest);
    if (rest & 1) {
      store(seat->thread_rests, rest);
      wait_while(rest);
    }
    own.go_on();
  }
}

[[noreturn]] void work(const Reference &reference, Seat *seat, bool has_thread) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  pthread_t thread;
  if (has_thread && pthread_create(&thread, nullptr, work_in_a_thread, seat) != 0) _exit(1);
  Blocks own(static_cast<uint64_t>(getpid()));
  for (;;) {
    const uint32_t rest = load(shared->rest);
    if (rest & 1) {
      while (has_thread && load(seat->thread_rests) != rest) sleep_us(20);
      store(seat->live_bytes, reference.live_bytes());
      store(seat->rests, rest);
      wait_while(rest);
    }
    own.go_on();
    store(seat->steps, seat->steps + 1);
  }
}

void start(const Reference &reference, int index) {
  Seat *seat = &shared->seats[index];
  *seat = {0, reference.live_bytes(), 0, 0, 0, 0};
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) work(reference, seat, index % 2);
  seat->pid = child;
}

void end(int index) {
  int status = 0;
  REQUIRE(kill(shared->seats[index].pid, SIGKILL) == 0);
  REQUIRE(waitpid(shared->seats[index].pid, &status, 0) == shared->seats[index].pid);
  CHECK_CONTEXT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %#x", status);
}

// A worker as it was at the last check.
struct Before {
  pid_t pid;
  uint64_t steps;
};

// The group stands at its limit, so that all of them go for the lock.
void set_limit(int64_t bytes) {
  static auto set = reinterpret_cast<int (*)(int64_t)>(dlsym(RTLD_DEFAULT, "membudget_preload_set_limit"));
  REQUIRE(set && set(bytes) == 0);
}

// Everybody comes to rest soon, has done something since the last time, and the sums are right.
void check(const Reference &reference, Before *before) {
  const uint32_t rest = shared->rest + 1;
  const double start = now();
  store(shared->rest, rest);
  int64_t expected = 0;
  for (int i = 0; i < kWorkers; i++) {
    const Seat &seat = shared->seats[i];
    while (load(seat.rests) != rest && now() - start < kMostSeconds) sleep_us(20);
    REQUIRE(load(seat.rests) == rest);
    CHECK(seat.pid != before[i].pid || seat.steps > before[i].steps);
    before[i] = {seat.pid, seat.steps};
    if (seat.live_bytes > seat.inherited_bytes) expected += seat.live_bytes - seat.inherited_bytes;
  }
  CHECK_EQ(group_live_bytes(), expected + reference.live_bytes());
  set_limit(group_live_bytes());
  store(shared->rest, rest + 1);
}

// The level follows once a member has looked up.
void check_what_is_left(const Reference &reference) {
  const membudget_header *block = library_block();
  CHECK_EQ(group_live_bytes(), reference.live_bytes());
  sleep_us(60'000);
  for (int i = 0; i < 2000; i++) free(opaque_pointer(malloc(1000)));
  CHECK_EQ(library_level(block), MEMBUDGET_NONE);
  CHECK_EQ(block->uncounted_processes, 0);
  CHECK_CONTEXT(block->process_high <= kWorkers + 2, "%u slots for %d processes", block->process_high, kWorkers + 1);
  CHECK_CONTEXT(block->crossings > 20, "only %llu crossings", static_cast<unsigned long long>(block->crossings));
}

}  // namespace

int main(int count, char **arguments) {
  const Reference reference = reference_find();
  library_check_expected();
  REQUIRE(count == 2);
  shared =
      static_cast<Shared *>(mmap(nullptr, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  REQUIRE(shared != MAP_FAILED);
  Blocks own(static_cast<uint64_t>(getpid()));
  Before before[kWorkers] = {};
  long held = 0;
  for (int i = 0; i < kWorkers; i++) start(reference, i);
  for (long kills = 0, most = atol(arguments[1]); kills < most && !check_failed; kills++) {
    for (uint64_t i = random_below(&own.random, 200); i > 0; i--) own.step();
    sleep_us(static_cast<long>(random_below(&own.random, 400)));
    const auto victim = static_cast<int>(random_below(&own.random, kWorkers));
    end(victim);
    held += (library_block()->lock & 0x7fffffff) == static_cast<uint32_t>(shared->seats[victim].pid);
    start(reference, victim);
    if (kills % kKillsBetweenChecks == 0) check(reference, before);
  }
  printf("%ld of the dead held the block's lock\n", held);
  check(reference, before);
  for (int i = 0; i < kWorkers; i++) end(i);
  check_what_is_left(reference);
  return check_finish();
}
