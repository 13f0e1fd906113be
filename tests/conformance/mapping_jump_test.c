/* Handlers that jump (siglongjmp) out of mmap(), munmap() and mremap(), by the signals that are not blocked there:
 *
 * sent     a timer sends SIGSEGV all the time, while another thread maps, too
 * sandbox  a filter answers some calls by SIGSYS; the handler jumps, or makes the call on the program's behalf
 * stack    the stack ends within the call, wherever it may
 *
 * Neither this thread nor others hang afterwards, and as soon as the pages of the interrupted call are unmapped,
 * mapped_bytes is what it was, to the byte. */
#include <alloca.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>

#include "check.h"
#include "library.h"
#include "memory.h"

enum { PAGE = 4096, PAGES = 64, JUMPS = 3000, RW = PROT_READ | PROT_WRITE, ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS };
/* The filter's own: how long what is refused is, and what the handler is to do itself. */
enum { REFUSED = 5 * PAGE - 1, DONE_BY_HANDLER = 7 * PAGE - 1 };

static char *range; /* addresses of our own, where nobody else's mappings come */
static int64_t base_bytes;
static sigjmp_buf out;
static volatile sig_atomic_t may_jump;
static volatile long jumps;
static int running = 1;

static int64_t mapped_bytes(void) { return __atomic_load_n(&library_process()->mapped_bytes, __ATOMIC_ACQUIRE); }

static void *map(size_t page, size_t bytes) {
  return mmap(range + page * PAGE, bytes, RW, ANONYMOUS | MAP_FIXED, -1, 0);
}

/* Undisturbed: whatever is there, it is gone afterwards. */
static void clear(const char *what) {
  CHECK(munmap(range, PAGES * (size_t)PAGE) == 0);
  const int64_t mapped = mapped_bytes();
  CHECK_CONTEXT(mapped == base_bytes, "%lld bytes after %s, and %ld jumps", (long long)(mapped - base_bytes), what,
                jumps);
  REQUIRE(mmap(range, PAGES * (size_t)PAGE, PROT_NONE, ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == range);
}

static void jump(int signal) {
  (void)signal;
  if (!may_jump) return;
  may_jump = 0;
  jumps++;
  siglongjmp(out, 1);
}

static void handle_by(int signal, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  REQUIRE(sigaction(signal, &action, NULL) == 0);
}

/* What may be jumped out of: mappings that are split, cut, moved, grown and replaced. */
static void map_and_unmap(void) {
  map(0, 8 * PAGE);
  map(2, 3 * PAGE);
  munmap(range + 3 * PAGE, PAGE);
  mremap(range, 2 * PAGE, 6 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, range + 20 * PAGE);
  mremap(range + 20 * PAGE, 6 * PAGE, 3 * PAGE, 0);
  map(21, PAGE);
  munmap(range, 30 * PAGE);
}

/* --- sent --- */

/* In turn with the other thread for the table; it must go on, whatever the other leaves. */
static void *keep_mapping(void *rounds) {
  while (__atomic_load_n(&running, __ATOMIC_RELAXED)) {
    char *memory = mmap(NULL, 3 * PAGE, RW, ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    CHECK(munmap(memory + PAGE, PAGE) == 0);
    CHECK(munmap(memory, 3 * PAGE) == 0);
    __atomic_add_fetch((long *)rounds, 1, __ATOMIC_RELAXED);
  }
  return NULL;
}

static void jump_when_sent(void) {
  static long rounds;
  pthread_t other;
  timer_t timer;
  sigset_t all, before;
  sigfillset(&all);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGSEGV};
  handle_by(SIGSEGV, jump, SA_RESTART);
  REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  for (int alone = 1; alone >= 0; alone--) {
    const long most = jumps + JUMPS;
    if (!alone) {
      pthread_sigmask(SIG_SETMASK, &all, &before); /* the signal is for this thread */
      REQUIRE(pthread_create(&other, NULL, keep_mapping, &rounds) == 0);
      pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    const time_t end = time(NULL) + 20;
    while (jumps < most && time(NULL) < end && !check_failed) {
      const struct itimerspec every = {{0, 7001}, {0, 1 + jumps % 97 * 200}}, never = {{0, 0}, {0, 0}};
      if (sigsetjmp(out, 1) == 0) {
        REQUIRE(timer_settime(timer, 0, &every, NULL) == 0);
        may_jump = 1;
        for (;;) map_and_unmap();
      }
      REQUIRE(timer_settime(timer, 0, &never, NULL) == 0);
      if (alone) clear("a signal");
    }
  }
  __atomic_store_n(&running, 0, __ATOMIC_RELAXED);
  REQUIRE(pthread_join(other, NULL) == 0);
  clear("all");
  CHECK(jumps > 100);
  CHECK(rounds > 100);
}

/* --- sandbox --- */

static void *map_here(void *unused) {
  (void)unused;
  void *memory = mmap(NULL, PAGE, RW, ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED && munmap(memory, PAGE) == 0);
  return NULL;
}

#if defined(__x86_64__)
/* The calls of this program alone that have one of two odd lengths. False where there are no filters. */
static int trap_odd_lengths(void) {
  const unsigned length = offsetof(struct seccomp_data, args[1]), call = offsetof(struct seccomp_data, nr);
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, length),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, REFUSED, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DONE_BY_HANDLER, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, call),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
  };
  const struct sock_fprog program = {sizeof code / sizeof *code, code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

static void handle_call(int signal, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  void *address = (void *)registers[REG_RDI];
  const size_t bytes = (size_t)registers[REG_RSI];
  if (bytes == REFUSED) jump(signal);
  CHECK_EQ(bytes, DONE_BY_HANDLER);
  const size_t more = bytes + 1; /* of as many pages, and allowed */
  const int protection = (int)registers[REG_RDX], flags = (int)registers[REG_R10];
  if (info->si_syscall == SYS_munmap)
    registers[REG_RAX] = munmap(address, more);
  else if (info->si_syscall == SYS_mmap)
    registers[REG_RAX] = (greg_t)mmap(address, more, protection, flags, -1, 0);
  else
    registers[REG_RAX] = (greg_t)mremap(address, more, (size_t)protection, flags);
}

static void jump_out_of(int what) {
  if (sigsetjmp(out, 1) != 0) return;
  may_jump = 1;
  if (what == 0) map(1, REFUSED);
  if (what == 1) munmap(range + PAGE, REFUSED);
  if (what == 2) mremap(range + PAGE, REFUSED, PAGE, 0);
  CHECK_CONTEXT(0, "%d was not refused", what);
}

static void jump_out_of_a_sandbox(void) {
  struct sigaction action = {.sa_sigaction = handle_call, .sa_flags = SA_SIGINFO | SA_NODEFER};
  REQUIRE(sigaction(SIGSYS, &action, NULL) == 0);
  if (!trap_odd_lengths()) exit(77);
  for (int i = 0; i < 300; i++) {
    pthread_t other;
    map(0, 10 * PAGE);
    jump_out_of(i % 3);
    CHECK_EQ(mapped_bytes() - base_bytes, 10 * PAGE); /* nothing came of it */
    REQUIRE(pthread_create(&other, NULL, map_here, NULL) == 0 && pthread_join(other, NULL) == 0);
    CHECK_EQ(mapped_bytes() - base_bytes, 10 * PAGE);
    CHECK(munmap(range + 2 * PAGE, 2 * PAGE) == 0);
    CHECK_EQ(mapped_bytes() - base_bytes, 8 * PAGE);
    clear("a refused call");
    CHECK(map(0, DONE_BY_HANDLER) == range);
    CHECK_EQ(mapped_bytes() - base_bytes, 7 * PAGE);
    CHECK(mremap(range, DONE_BY_HANDLER, 9 * PAGE, 0) == MAP_FAILED || mapped_bytes() - base_bytes == 9 * PAGE);
    CHECK(munmap(range, DONE_BY_HANDLER) == 0);
    clear("a call that was done by a handler");
  }
  CHECK_EQ(jumps, 300);
}
#else
static void jump_out_of_a_sandbox(void) { exit(77); }
#endif

/* --- stack --- */

/* Goes down until `left` bytes of the stack are left, and maps there. */
static __attribute__((noinline)) void map_at_the_end(const char *lowest, size_t left, int only_unmaps) {
  const char *here = __builtin_frame_address(0);
  volatile char *taken = alloca((size_t)(here - lowest) - left);
  taken[0] = 1;
  if (only_unmaps)
    munmap(range + 3 * PAGE, PAGE);
  else
    map_and_unmap();
}

static void *jump_out_at_the_end(void *stack) {
  enum { ALTERNATE = 64 << 10, STEP = 16, MOST = 12 << 10 };
  const stack_t alternate = {.ss_sp = malloc(ALTERNATE), .ss_size = ALTERNATE};
  REQUIRE(alternate.ss_sp && sigaltstack(&alternate, NULL) == 0);
  volatile size_t left;
  volatile int was_enough = 0, only_unmaps;
  for (left = 256; left < MOST && !check_failed; left += STEP) {
    for (only_unmaps = 0; only_unmaps < 2; only_unmaps++) {
      map(0, 8 * PAGE);
      was_enough = 0;
      if (sigsetjmp(out, 1) == 0) {
        may_jump = 1;
        map_at_the_end(stack, left, only_unmaps);
        was_enough = 1;
      }
      may_jump = 0;
      clear("the end of a stack");
    }
  }
  CHECK(was_enough);
  return NULL;
}

static void jump_out_of_overflows(void) {
  enum { STACK = 256 << 10 };
  pthread_t thread;
  pthread_attr_t attributes;
  char *stack = mmap(NULL, STACK + PAGE, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(stack != MAP_FAILED && mprotect(stack + PAGE, STACK, RW) == 0);
  handle_by(SIGSEGV, jump, SA_ONSTACK);
  pthread_attr_init(&attributes);
  REQUIRE(pthread_attr_setstack(&attributes, stack + PAGE, STACK) == 0);
  REQUIRE(pthread_create(&thread, &attributes, jump_out_at_the_end, stack + PAGE) == 0);
  REQUIRE(pthread_join(thread, NULL) == 0);
  CHECK(jumps > 10);
}

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 2);
  range = mmap(NULL, PAGES * (size_t)PAGE, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(range != MAP_FAILED);
  base_bytes = mapped_bytes();
  if (strcmp(arguments[1], "sent") == 0) jump_when_sent();
  if (strcmp(arguments[1], "sandbox") == 0) jump_out_of_a_sandbox();
  if (strcmp(arguments[1], "stack") == 0) jump_out_of_overflows();
  return check_finish();
}
