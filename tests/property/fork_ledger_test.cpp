// Live bytes across fork: a child starts from what it inherited, counts on by itself, with threads and children
// of its own, and the group counts what was inherited once. All to the byte, against the reference library,
// whose sums a child inherits, too.
//
// fork_ledger_test ROUNDS
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "books.h"
#include "check.h"
#include "group.h"
#include "library.h"
#include "memory.h"
#include "operations.h"

namespace {

constexpr int kChildren = 3, kOperations = 3000;

// What the library says must be what the reference summed; `where` names the process.
void check_live(const Reference &reference, const char *where) {
  const int64_t seen = counters_read(library_block(), library_process()).live_bytes;
  CHECK_CONTEXT(seen == reference.live_bytes(), "%s: live bytes are off by %lld", where,
                static_cast<long long>(seen - reference.live_bytes()));
  CHECK_EQ(library_process()->pid, getpid());
}

void *operate_in_a_thread(void *seed) {
  uint64_t random = reinterpret_cast<uintptr_t>(seed);
  for (int i = 0; i < kOperations; i++) operate(&random);
  return nullptr;
}

void operate_in_threads(uint64_t *random) {
  pthread_t threads[2];
  for (pthread_t &thread : threads) {
    void *seed = reinterpret_cast<void *>(random_next(random));
    REQUIRE(pthread_create(&thread, nullptr, operate_in_a_thread, seed) == 0);
  }
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
}

// The life of a child up to where it rests; its own children come and go.
void live(const Reference &reference, uint64_t *random, int depth) {
  check_live(reference, "a child at its start");
  operate_in_a_thread(reinterpret_cast<void *>(random_next(random)));
  check_live(reference, "a child");
  operate_in_threads(random);
  check_live(reference, "a child after its threads");
  if (depth == 0) return;
  const pid_t grandchild = fork();
  if (grandchild == 0) {
    live(reference, random, depth - 1);
    _exit(check_failed != 0);
  }
  int status = -1;
  waitpid(grandchild, &status, 0);
  CHECK_EQ(status, 0);
  check_live(reference, "a child after its child");
}

struct Child {
  pid_t pid;
  int says, hears;          // pipes: its live bytes; that it may end
  int64_t inherited_bytes;  // by the reference, at the fork
};

Child start_child(const Reference &reference, uint64_t seed) {
  int says[2], hears[2];
  REQUIRE(pipe(says) == 0 && pipe(hears) == 0);
  Child child = {0, says[0], hears[1], reference.live_bytes()};
  child.pid = fork();
  REQUIRE(child.pid >= 0);
  if (child.pid == 0) {
    close(hears[1]);
    live(reference, &seed, 1);
    const int64_t bytes = reference.live_bytes();
    char end;
    if (write(says[1], &bytes, sizeof bytes) != sizeof bytes || read(hears[0], &end, 1) != 0) _exit(2);
    _exit(check_failed != 0);
  }
  close(says[1]);
  close(hears[0]);
  return child;
}

// All children rest at the same time: the group's sum is what each has beyond what it inherited.
void run_round(const Reference &reference, uint64_t *random) {
  Child children[kChildren];
  for (Child &child : children) child = start_child(reference, random_next(random));
  operate_in_threads(random);
  int64_t beyond = 0;
  for (Child &child : children) {
    int64_t bytes = 0;
    REQUIRE(read(child.says, &bytes, sizeof bytes) == sizeof bytes);
    if (bytes > child.inherited_bytes) beyond += bytes - child.inherited_bytes;
  }
  check_live(reference, "the parent beside its children");
  CHECK_EQ(group_live_bytes(), reference.live_bytes() + beyond);
  for (Child &child : children) close(child.hears);  // all of them: later children hold the earlier ones' ends
  for (Child &child : children) {
    int status = -1;
    waitpid(child.pid, &status, 0);
    CHECK_EQ(status, 0);
    close(child.says);
  }
  CHECK_EQ(group_live_bytes(), reference.live_bytes());
}

}  // namespace

int main(int count, char **arguments) {
  const Reference reference = reference_find();
  library_check_expected();
  REQUIRE(count == 2);
  uint64_t random = operations_seed();
  operate_in_a_thread(reinterpret_cast<void *>(random_next(&random)));
  check_live(reference, "the parent at its start");
  for (long round = 0, rounds = atol(arguments[1]); round < rounds && !check_failed; round++)
    run_round(reference, &random);
  operations_free_all();
  check_live(reference, "the parent at its end");
  return check_finish();
}
