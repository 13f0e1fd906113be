/* Makes system calls of one library fail, in a program and its children.
 *
 * inject LIBRARY LOG CALL ERROR COMMAND...
 *   CALL: 0, none; N, the Nth that LIBRARY makes; -N, each that has the system call number N. ERROR: an errno.
 *   LOG: gets a line for each of LIBRARY's calls: its place in order, system call number, whether it was made to fail,
 *   and from where it was made, a number that is the same in each run.
 * Ends as COMMAND does.
 *
 * Whose call it is the stack tells, unwound at each: the first frame outside of libc and the dynamic linker. Not the
 * library's are those that an allocator makes, or libc for the program behind a function that the library stands for:
 * what these do when they fail is the program's affair. */
#include <elf.h>
#include <errno.h>
#include <libunwind-ptrace.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_THREADS = 256, MOST_MAPPINGS = 512, MOST_FRAMES = 40 };

struct thread {
  pid_t tid;
  struct UPT_info *unwinding;
  int is_inside; /* between the entry and the exit of a system call */
  int must_fail;
  int maps_code;
};

struct mapping {
  unsigned long start, end;
  char kind; /* c: libc and the linker, l: the library, o: other */
};

static struct thread threads[MOST_THREADS];
static struct mapping mappings[MOST_MAPPINGS];
static int mapping_count;
static unw_addr_space_t space;
static const char *library;
static long wanted, calls;
static unsigned long site; /* of the last call: made of the innermost two addresses within the library */
static int error_number;
static FILE *listing;

static void die(const char *what) {
  perror(what);
  exit(125);
}

/* Names of functions by address: to look them up takes a millisecond. Addresses are not random here, so that they
 * mean the same in every process, until one executes something else. */
static struct {
  unw_word_t ip;
  char name[64];
} names[1 << 14];

static const char *name_at(unw_cursor_t *cursor, unw_word_t ip) {
  size_t place = (ip * 0x9e3779b97f4a7c15ul) >> 50;
  if (names[place].ip != ip) {
    names[place].ip = ip;
    names[place].name[0] = '\0';
    unw_get_proc_name(cursor, names[place].name, sizeof names[place].name, NULL);
  }
  return names[place].name;
}

static struct thread *thread_of(pid_t tid) {
  struct thread *empty = NULL;
  for (int i = 0; i < MOST_THREADS; ++i) {
    if (threads[i].tid == tid) return &threads[i];
    if (!threads[i].tid && !empty) empty = &threads[i];
  }
  if (!empty) die("too many threads");
  memset(empty, 0, sizeof *empty);
  empty->tid = tid;
  empty->unwinding = _UPT_create(tid);
  return empty;
}

static void forget(pid_t tid) {
  struct thread *t = thread_of(tid);
  _UPT_destroy(t->unwinding);
  t->tid = 0;
}

static void read_mappings(pid_t tid) {
  char path[64], line[4352], permissions[8];
  snprintf(path, sizeof path, "/proc/%d/maps", tid);
  FILE *file = fopen(path, "r");
  mapping_count = 0;
  while (file && mapping_count < MOST_MAPPINGS && fgets(line, sizeof line, file)) {
    struct mapping *m = &mappings[mapping_count];
    if (sscanf(line, "%lx-%lx %7s", &m->start, &m->end, permissions) != 3 || permissions[2] != 'x') continue;
    line[strcspn(line, "\n")] = '\0';
    const char *name = strchr(line, '/');
    name = name ? name : "";
    m->kind = strcmp(name, library) == 0 ? 'l' : strstr(name, "/libc.so") || strstr(name, "/ld-linux-") ? 'c' : 'o';
    ++mapping_count;
  }
  if (file) fclose(file);
}

static char kind_of(unsigned long address) {
  for (int i = 0; i < mapping_count; ++i)
    if (address >= mappings[i].start && address < mappings[i].end) return mappings[i].kind;
  return '?';
}

/* Functions behind which it is an allocator's call, or the program's. */
static int is_for_others(const char *function) {
  static const char *const exact[] = {"malloc", "free",   "calloc",        "realloc",     "memalign", "posix_memalign",
                                      "mmap",   "mmap64", "munmap",        "mremap",      "madvise",  "_Fork",
                                      "clone",  "fork",   "__malloc_trim", "malloc_trim", NULL};
  for (int i = 0; exact[i]; ++i)
    if (strcmp(function, exact[i]) == 0) return 1;
  return strstr(function, "libc_malloc") || strstr(function, "libc_calloc") || strstr(function, "libc_realloc") ||
         strstr(function, "libc_memalign") || strstr(function, "libc_free") || strstr(function, "int_malloc") ||
         strstr(function, "sysmalloc") || strstr(function, "je_") || strstr(function, "pages_map") ||
         strstr(function, "pages_unmap") || strstr(function, "os_pages_") || strstr(function, "arena_");
}

/* Calls that cannot fail, or whose failure libc itself does not survive. */
static int is_left_alone(long number, int frames_in_libc) {
  switch (number) {
    case SYS_exit:
    case SYS_exit_group:
    case SYS_rt_sigreturn:
    case SYS_gettid:
    case SYS_getpid:
    case SYS_getppid:
    case SYS_getuid:
    case SYS_geteuid:
    case SYS_sched_yield:
    case SYS_rt_sigprocmask: return 1;
    case SYS_futex: return frames_in_libc > 1;
    default: return 0;
  }
}

static int is_memory_call(long number) {
  return number == SYS_mmap || number == SYS_munmap || number == SYS_mremap || number == SYS_madvise ||
         number == SYS_brk || number == SYS_mprotect;
}

/* Whether any word near the top of the stack points into the library: to unwind takes long. */
static int may_be_ours(struct thread *t, unsigned long stack) {
  unsigned long words[2048];
  struct iovec here = {words, sizeof words}, there = {(void *)stack, sizeof words};
  ssize_t got = process_vm_readv(t->tid, &here, 1, &there, 1, 0);
  if (got <= 0) { /* the stack ends before that */
    here.iov_len = there.iov_len = 4096 - stack % 4096;
    got = process_vm_readv(t->tid, &here, 1, &there, 1, 0);
  }
  if (mapping_count == 0) read_mappings(t->tid);
  for (ssize_t i = 0; i < got / 8; ++i)
    for (int m = 0; m < mapping_count; ++m)
      if (mappings[m].kind == 'l' && words[i] >= mappings[m].start && words[i] < mappings[m].end) return 1;
  return 0;
}

static int is_ours(struct thread *t, long number, unsigned long stack) {
  unw_cursor_t cursor;
  unw_word_t ip;
  int in_libc = 0, is_found = 0, has_loader = 0;
  site = 0;
  if (!may_be_ours(t, stack)) return 0;
  if (unw_init_remote(&cursor, space, t->unwinding) != 0) return 0;
  for (int depth = 0; depth < MOST_FRAMES; ++depth) {
    if (unw_get_reg(&cursor, UNW_REG_IP, &ip) != 0) return 0;
    char kind = kind_of(ip);
    if (kind == '?') read_mappings(t->tid), kind = kind_of(ip);
    if (kind == 'c' && !is_found) {
      ++in_libc;
      const char *name = name_at(&cursor, ip);
      if (strncmp(name, "dlopen", 6) == 0 || strncmp(name, "__dlopen", 8) == 0) has_loader = 1;
      if (in_libc > 1 && !has_loader && is_for_others(name)) return 0;
    } else if (kind == 'l') {
      if (is_found++ < 2) site = site * 31 + ip;
      const char *name = name_at(&cursor, ip);
      /* Exported functions that only pass on; what the library does by itself within them is for malloc and its kin. */
      int is_mapping = strstr(name, "mmap") || strstr(name, "munmap") || strstr(name, "mremap") ||
                       strstr(name, "madvise") || strstr(name, "3mapE") || strstr(name, "5unmapE") ||
                       strstr(name, "5remapE");
      if (is_memory_call(number) && (is_mapping || in_libc > 1) && !has_loader) return 0;
      if (number == SYS_clone || number == SYS_clone3 || number == SYS_fork) return 0;
      if (strstr(name, "je_") || strstr(name, "pages_")) return 0;
    } else if (!is_found) {
      return 0;
    } else {
      break;
    }
    if (unw_step(&cursor) <= 0) break;
  }
  return is_found && !is_left_alone(number, in_libc);
}

static void at_entry(struct thread *t) {
  struct user_regs_struct registers;
  if (ptrace(PTRACE_GETREGS, t->tid, NULL, &registers) != 0) return;
  long number = (long)registers.orig_rax;
  t->must_fail = 0;
  t->maps_code = (number == SYS_mmap || number == SYS_mprotect) && (registers.rdx & PROT_EXEC);
  if (!is_ours(t, number, registers.rsp)) return;
  ++calls;
  t->must_fail = error_number && (calls == wanted || number == -wanted);
  fprintf(listing, "%ld %ld %d %lu\n", calls, number, t->must_fail, site % 1000000007);
  if (!t->must_fail) return;
  registers.orig_rax = (unsigned long long)-1;
  ptrace(PTRACE_SETREGS, t->tid, NULL, &registers);
}

static void at_exit_of_call(struct thread *t) {
  struct user_regs_struct registers;
  if (t->maps_code) mapping_count = 0;
  if (!t->must_fail || ptrace(PTRACE_GETREGS, t->tid, NULL, &registers) != 0) return;
  registers.rax = (unsigned long long)-(long)error_number;
  ptrace(PTRACE_SETREGS, t->tid, NULL, &registers);
}

/* What a stopped thread gets when it goes on: a signal, or 0. */
static int handle_stop(pid_t tid, int status) {
  int signal_number = WSTOPSIG(status), event = status >> 16;
  struct thread *t = thread_of(tid);
  if (signal_number == (SIGTRAP | 0x80)) {
    t->is_inside = !t->is_inside;
    if (t->is_inside)
      at_entry(t);
    else
      at_exit_of_call(t);
    return 0;
  }
  if (event == PTRACE_EVENT_EXEC) {
    t->is_inside = 1; /* its exit follows */
    t->must_fail = 0;
    mapping_count = 0;
    memset(names, 0, sizeof names);
    _UPT_destroy(t->unwinding);
    t->unwinding = _UPT_create(tid);
    unw_flush_cache(space, 0, 0);
  }
  if (event != 0 || signal_number == SIGSTOP) return 0;
  return signal_number;
}

int main(int count, char **arguments) {
  if (count < 6) return fprintf(stderr, "usage: inject LIBRARY LOG CALL ERROR COMMAND...\n"), 125;
  library = arguments[1];
  listing = fopen(arguments[2], "w");
  wanted = atol(arguments[3]);
  error_number = atoi(arguments[4]);
  if (!listing) die(arguments[2]);
  pid_t child = fork();
  if (child == 0) {
    const char *preload = getenv("INJECT_PRELOAD"); /* not for this program itself */
    if (preload) setenv("LD_PRELOAD", preload, 1), unsetenv("INJECT_PRELOAD");
    personality(ADDR_NO_RANDOMIZE);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(125);
    raise(SIGSTOP);
    execvp(arguments[5], arguments + 5);
    _exit(127);
  }
  int status, result = 125;
  space = unw_create_addr_space(&_UPT_accessors, 0);
  unw_set_caching_policy(space, UNW_CACHE_GLOBAL);
  if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) die("ptrace");
  long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                 PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SETOPTIONS, child, NULL, options) != 0) die("ptrace");
  ptrace(PTRACE_SYSCALL, child, NULL, 0);
  for (pid_t tid; (tid = waitpid(-1, &status, __WALL)) > 0;) {
    if (WIFSTOPPED(status)) {
      ptrace(PTRACE_SYSCALL, tid, NULL, handle_stop(tid, status));
      continue;
    }
    if (tid == child) result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    forget(tid);
  }
  fclose(listing);
  return result;
}
