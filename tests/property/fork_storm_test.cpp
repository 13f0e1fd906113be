// Forks from a process whose other threads allocate all the while: no child hangs, and nothing is lost in parent
// or child. What a child inherits is what the parent had just before, while its other threads went on; from
// there on it counts to the byte.
//
// fork_storm_test FORKS
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "books.h"
#include "check.h"
#include "group.h"
#include "library.h"
#include "memory.h"

namespace {

constexpr int kThreads = 3, kBlocks = 40, kParentsBlocks = 20, kChildSeconds = 30;
constexpr size_t kLargest = 20000;
// What the other threads may have allocated or freed between the library's look and the fork itself: all theirs.
constexpr int64_t kUnderWay = kThreads * kBlocks * (kLargest + 8192);

bool is_stopping;
void *parents_blocks[kParentsBlocks];

void churn(void **blocks, int count, uint64_t *random) {
  void *&block = blocks[random_below(random, static_cast<uint64_t>(count))];
  free(block);
  block = malloc(random_below(random, kLargest));
}

void *churn_until_stopped(void *seed) {
  uint64_t random = reinterpret_cast<uintptr_t>(seed);
  void *blocks[kBlocks] = {};
  while (!__atomic_load_n(&is_stopping, __ATOMIC_RELAXED)) {
    for (int i = 0; i < 100; i++) churn(blocks, kBlocks, &random);
    usleep(50);  // or the forks wait for a processor most of the time
  }
  for (void *block : blocks) free(block);
  return nullptr;
}

int64_t live_bytes() { return counters_read(library_block(), library_process()).live_bytes; }

// In the child. 0, or what is wrong; exit statuses, since a child's own output would not be seen to fail.
int child_counts(const Reference &reference, uint64_t random) {
  alarm(kChildSeconds);
  const membudget_process *process = library_process();
  if (process->pid != getpid()) return 1;
  const int64_t inherited = live_bytes(), off = inherited - reference.live_bytes();
  if (process->inherited_live_bytes != inherited) return 2;
  if (off > kUnderWay || off < -kUnderWay) return 3;
  void *blocks[kBlocks] = {};
  for (int i = 0; i < 100; i++) churn(blocks, kBlocks, &random);
  for (void *block : parents_blocks) free(block);
  if (live_bytes() - reference.live_bytes() != off) return 4;
  for (void *block : blocks) free(block);
  return live_bytes() - reference.live_bytes() == off ? 0 : 5;
}

void fork_once(const Reference &reference, uint64_t *random) {
  churn(parents_blocks, kParentsBlocks, random);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(child_counts(reference, random_next(random)));
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK_CONTEXT(status == 0, "a child's status is %#x", status);
}

}  // namespace

int main(int count, char **arguments) {
  const Reference reference = reference_find();
  library_check_expected();
  REQUIRE(count == 2);
  uint64_t random = static_cast<uint64_t>(getpid());
  pthread_t threads[kThreads];
  for (pthread_t &thread : threads)
    REQUIRE(pthread_create(&thread, nullptr, churn_until_stopped, reinterpret_cast<void *>(random_next(&random))) == 0);
  for (long i = 0, forks = atol(arguments[1]); i < forks && !check_failed; i++) fork_once(reference, &random);
  __atomic_store_n(&is_stopping, true, __ATOMIC_RELAXED);
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
  books_agree(reference, counters_read(library_block(), library_process()), "within", "at the end");
  CHECK_EQ(group_live_bytes(), reference.live_bytes());
  CHECK_EQ(library_block()->uncounted_processes, 0);
  CHECK_CONTEXT(library_block()->process_high <= 3, "%u slots for two processes", library_block()->process_high);
  for (void *block : parents_blocks) free(block);
  return check_finish();
}
