/* Signal handlers that jump (siglongjmp) out of the library's slow path, thousands of times, driven by a timer: counts
 * and level are right afterwards, and nothing hangs. The calls go over the limit and back all the time, so that most
 * of the time is spent there.
 *
 * No malloc survives a jump out of itself: a handler jumps only where what it interrupts is the library's own code, or a
 * system call that this code makes. Run with a limit and a small release gap. With the argument "segv" it is SIGSEGV,
 * sent by the timer, which is hardly blocked anywhere: the jumps are out of locked sections, too. */
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include "check.h"
#include "library.h"
#include "memory.h"

enum { JUMPS = 1500, MOST_SECONDS = 40, MAP_BYTES = 1 << 20 };

struct range {
  uintptr_t start, end;
};

static struct range library, system_call;
static sigjmp_buf out;
static int is_segv;
static timer_t timer;
static volatile sig_atomic_t may_jump;
static volatile long jumps, jumps_from_system_calls;

static int find_code(struct dl_phdr_info *object, size_t size, void *unused) {
  (void)size, (void)unused;
  if (!strstr(object->dlpi_name, "libmembudget.so")) return 0;
  for (int i = 0; i < object->dlpi_phnum; i++)
    if (object->dlpi_phdr[i].p_type == PT_LOAD && object->dlpi_phdr[i].p_flags & PF_X) {
      library.start = object->dlpi_addr + object->dlpi_phdr[i].p_vaddr;
      library.end = library.start + object->dlpi_phdr[i].p_memsz;
    }
  return 1;
}

static int is_in(const struct range *range, uintptr_t address) {
  return address >= range->start && address < range->end;
}

/* Where the handler came in, and, in syscall(), who called that: it has no frame. */
static uintptr_t interrupted(const ucontext_t *context, uintptr_t *caller) {
#if defined(__x86_64__)
  *caller = *(const uintptr_t *)context->uc_mcontext.gregs[REG_RSP];
  return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
  *caller = context->uc_mcontext.regs[30];
  return context->uc_mcontext.pc;
#else
  (void)context;
  return *caller = 0;
#endif
}

static void handle(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  uintptr_t caller = 0, at = interrupted(context, &caller);
  const int is_system_call = is_in(&system_call, at) && is_in(&library, caller);
  if (!may_jump || (!is_in(&library, at) && !is_system_call)) return;
  may_jump = 0;
  jumps++;
  jumps_from_system_calls += is_system_call;
  siglongjmp(out, 1);
}

static void start_timer(long microseconds) {
  struct itimerspec every = {{0, microseconds * 1000}, {0, microseconds * 1000}};
  REQUIRE(timer_settime(timer, 0, &every, NULL) == 0);
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Over the limit and back, until a handler jumps out of it. What the interrupted call held is lost to the program. */
static void hover(void) {
  if (sigsetjmp(out, 1) != 0) return;
  for (;;) {
    /* Volatile, and no block is held over a call that may be jumped out of but in one place. */
    char *volatile block;
    may_jump = 1;
    block = malloc(300000);
    may_jump = 0;
    if (!block) return;
    may_jump = 1;
    free(block);
    may_jump = 0;
    void *volatile memory;
    may_jump = 1;
    memory = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    may_jump = 0;
    REQUIRE(memory != MAP_FAILED);
    may_jump = 1;
    munmap(memory, MAP_BYTES);
    may_jump = 0;
  }
}

/* The limit is set `room` bytes above what is counted: the very next allocation of more crosses it. */
static void check_crossing(int (*set_limit)(int64_t)) {
  const struct membudget_header *block = library_block();
  const int64_t counted = counters_read(block, library_process()).counted_bytes;
  REQUIRE(set_limit(counted + 200000) == 0);
  void *first = malloc(1000);
  CHECK(library_level(block) < MEMBUDGET_CRITICAL);
  const int64_t before = now_ns();
  void *second = malloc(250000);
  CHECK_CONTEXT(library_level(block) == MEMBUDGET_CRITICAL, "level %u after %ld jumps", library_level(block), jumps);
  free(second);
  CHECK(library_level(block) < MEMBUDGET_CRITICAL);
  free(first);
  /* A lock that was left behind is waited for a second; one slow call is the machine's. */
  static int slow;
  slow += now_ns() - before > 900000000;
  CHECK(slow < 3);
}

/* Far from where the jumps were, further up the stack or further down. */
static void check_crossing_deep(int (*set_limit)(int64_t)) {
  volatile char deep[100000];
  deep[0] = deep[sizeof deep - 1] = 1;
  check_crossing(set_limit);
  CHECK_EQ(deep[0], 1);
}

int main(int arguments, char **argument) {
  library_check_expected();
  struct membudget_header *block = library_block();
  int (*set_limit)(int64_t) = (int (*)(int64_t))dlsym(RTLD_DEFAULT, "membudget_preload_set_limit");
  REQUIRE(block && set_limit && dl_iterate_phdr(find_code, NULL) == 1);
  Dl_info about;
  const ElfW(Sym) *symbol = NULL;
  REQUIRE(dladdr1((void *)syscall, &about, (void **)&symbol, RTLD_DL_SYMENT) != 0 && symbol);
  system_call.start = (uintptr_t)about.dli_saddr;
  system_call.end = system_call.start + symbol->st_size;
  is_segv = arguments > 1 && strcmp(argument[1], "segv") == 0;
  const int signal = is_segv ? SIGSEGV : SIGALRM;
  struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART};
  REQUIRE(sigaction(signal, &action, NULL) == 0);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
  REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  const struct counters before = counters_read(block, library_process());
  const int64_t end = now_ns() + MOST_SECONDS * INT64_C(1000000000);
  while (jumps < JUMPS && now_ns() < end) {
    REQUIRE(set_limit(counters_read(block, library_process()).counted_bytes + 200000) == 0);
    start_timer(37 + jumps % 61);
    hover();
    start_timer(0);
    if (jumps % 2)
      check_crossing(set_limit);
    else
      check_crossing_deep(set_limit);
    int cancellation = -1;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &cancellation);
    CHECK_EQ(cancellation, PTHREAD_CANCEL_ENABLE);
  }
  /* Whole blocks and mappings alone were lost, each counted once or not at all. */
  const struct counters after = counters_read(block, library_process());
  const int64_t mapped = after.mapped_bytes - before.mapped_bytes;
  CHECK_CONTEXT(mapped >= 0 && mapped % MAP_BYTES == 0, "%lld mapped bytes", (long long)mapped);
  CHECK(after.live_bytes >= before.live_bytes);
  CHECK_CONTEXT(jumps > 20 && jumps_from_system_calls > 0, "%ld jumps, %ld from system calls", jumps,
                jumps_from_system_calls);
  return check_finish();
}
