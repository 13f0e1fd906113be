/* Signals that come while stacks are taken: a profiling timer, and one thread that signals the others all the time.
 * Handlers take a stack themselves, allocate where they may (not within malloc itself), and jump out at times. */
#include <execinfo.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

#include "sampled.h"

enum { THREADS = 3, ROUNDS = 1500, SIGNALS = 4000 };

static __thread volatile sig_atomic_t may_allocate, may_jump;
static __thread sigjmp_buf out;
static int running = THREADS;
static long handled, jumped;

static void handle(int signal) {
  (void)signal;
  void *frames[30];
  int count = backtrace(frames, 30);
  CHECK(count > 0);
  __atomic_add_fetch(&handled, 1, __ATOMIC_RELAXED);
  if (!may_allocate) return;
  sampled_calls(1);
  if (!may_jump) return;
  may_allocate = may_jump = 0;
  __atomic_add_fetch(&jumped, 1, __ATOMIC_RELAXED);
  siglongjmp(out, 1);
}

static void *work(void *unused) {
  for (volatile int round = 0; round < ROUNDS; round++) {
    sampled_calls(2);
    if (sigsetjmp(out, 1) == 0) {
      may_allocate = 1;
      may_jump = round % 4 == 0;
      if (round % 16 == 0) raise(SIGUSR1);
      for (volatile unsigned i = 0; i < 2000; i++) continue;
    }
    may_allocate = may_jump = 0;
  }
  __atomic_sub_fetch(&running, 1, __ATOMIC_RELAXED);
  return unused;
}

static void start_timer(long microseconds) {
  struct itimerval every = {{0, microseconds}, {0, microseconds}};
  REQUIRE(setitimer(ITIMER_PROF, &every, NULL) == 0);
}

int main(void) {
  pthread_t threads[THREADS];
  void *warm[2];
  sampled_require();
  backtrace(warm, 2);  // loads what it needs
  struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
  sigfillset(&action.sa_mask);  // or the timer's would come within the other's malloc, and jump out of it
  REQUIRE(sigaction(SIGPROF, &action, NULL) == 0);
  REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_create(&threads[i], NULL, work, NULL) == 0);
  start_timer(1000);
  for (int i = 0; i < SIGNALS && __atomic_load_n(&running, __ATOMIC_RELAXED) == THREADS; i++) {
    pthread_kill(threads[i % THREADS], SIGUSR1);
    sampled_calls(1);
  }
  for (int i = 0; i < THREADS; i++) REQUIRE(pthread_join(threads[i], NULL) == 0);
  start_timer(0);
  CHECK(handled > 0);
  CHECK(jumped > 0);
  return check_finish();
}
