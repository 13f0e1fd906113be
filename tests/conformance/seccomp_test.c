/* A program that shuts itself in (seccomp) after its start: system calls that the library's slow path makes fail, or
 * would end the process. Counts, level and heap are right nevertheless.
 *
 * ALLOWED_AFTER_START is what libmembudget(8) names for filters that kill. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "library.h"
#include "memory.h"

enum { BLOCKS = 4000, SKIPS = 40 };

/* What every program needs that computes and ends, and its allocator. */
static const int of_the_program[] = {SYS_read, SYS_write,  SYS_exit_group, SYS_exit,     SYS_rt_sigreturn, SYS_brk,
                                     SYS_mmap, SYS_munmap, SYS_mremap,     SYS_mprotect, SYS_madvise};
/* What the library makes on top of it, as long as the process is alone in its group and only counts bytes. */
static const int ALLOWED_AFTER_START[] = {SYS_gettid, SYS_futex,         SYS_membarrier,
                                          SYS_getpid, SYS_clock_gettime, SYS_rt_sigprocmask};

static unsigned allow(struct sock_filter *code, const int *calls, size_t count) {
  for (size_t i = 0; i < count; i++) {
    code[2 * i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
    code[2 * i + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  return 2 * (unsigned)count;
}

/* All but the calls above get `otherwise`. False where the kernel has no such filters. */
static int shut_in(unsigned otherwise, int with_the_librarys) {
  struct sock_filter code[3 + 2 * SKIPS];
  unsigned length = 0;
  code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  length += allow(code + length, of_the_program, sizeof of_the_program / sizeof *of_the_program);
  if (with_the_librarys)
    length += allow(code + length, ALLOWED_AFTER_START, sizeof ALLOWED_AFTER_START / sizeof *ALLOWED_AFTER_START);
  code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise);
  const struct sock_fprog program = {(unsigned short)length, code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

static uint32_t level(void) { return library_block() ? library_block()->level_word & 0xff : 0; }

static int64_t live_bytes(void) {
  return library_block() ? counters_read(library_block(), library_process()).live_bytes : 0;
}

/* Fills memory past the budget of 8 MiB and frees it again, twice. */
static void fill_and_free(void) {
  static void *blocks[BLOCKS];
  const int is_counted = library_block() != NULL;
  for (int round = 0; round < 2; round++) {
    const int64_t before = live_bytes();
    int64_t taken = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
      const size_t size = i % 100 ? 100 + i : 200000;
      blocks[i] = i % 2 ? malloc(size) : calloc(1, size);
      CHECK(blocks[i] != NULL);
      if (i % 3 == 0) blocks[i] = realloc(blocks[i], size + 500);
      memory_fill(blocks[i], 100, i);
      taken += (int64_t)malloc_usable_size(blocks[i]);
    }
    if (is_counted) CHECK_EQ(live_bytes() - before, taken);
    CHECK_EQ(level(), is_counted ? MEMBUDGET_CRITICAL : 0);
    for (unsigned i = 0; i < BLOCKS; i++) {
      CHECK(memory_holds(blocks[i], 100, i));
      free(blocks[i]);
    }
    CHECK_EQ(level(), MEMBUDGET_NONE);
    if (is_counted) CHECK_EQ(live_bytes(), before);
  }
}

/* In a child: 0 all was right, 1 not, 77 no filters here. Ends by exit() or, where that may not be, by _exit(). */
static void run_shut_in(unsigned otherwise, int with_the_librarys, int ends_at_once) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (!shut_in(otherwise, with_the_librarys)) _exit(77);
    fill_and_free();
    if (ends_at_once) syscall(SYS_exit_group, check_failed != 0);
    exit(check_failed != 0);
  }
  int status;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK_CONTEXT(status == 0 || status == 77 << 8, "with 0x%x it ended with 0x%x", otherwise, (unsigned)status);
}

int main(void) {
  library_check_expected();
  run_shut_in(SECCOMP_RET_ERRNO | EPERM, 0, 0);
  run_shut_in(SECCOMP_RET_ERRNO | ENOSYS, 0, 0);
  run_shut_in(SECCOMP_RET_ERRNO | EPERM, 1, 1);
  run_shut_in(SECCOMP_RET_KILL_PROCESS, 1, 1);
  return check_finish();
}
