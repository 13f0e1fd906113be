// Every way to make a child, under load of its own: those with memory of their own count for themselves, from what
// they inherited; those that share the parent's count where it does. Parent and child to the byte, against the
// reference library.
//
// child_kinds_test ROUNDS, or "spawned" for the program that a child executes
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "books.h"
#include "check.h"
#include "group.h"
#include "library.h"
#include "memory.h"

extern "C" pid_t _Fork(void);
extern char **environ;

namespace {

constexpr int kBlocks = 50;
constexpr size_t kLargest = 30000;
void *blocks[kBlocks];
uint64_t random_state;
Reference reference;
char stack[256 * 1024] __attribute__((aligned(64)));

void churn(int times) {
  for (int i = 0; i < times; i++) {
    void *&block = blocks[random_below(&random_state, kBlocks)];
    free(block);
    block = malloc(random_below(&random_state, kLargest));
  }
}

bool is_exact() { return counters_read(library_block(), library_process()).live_bytes == reference.live_bytes(); }

// In a child with memory of its own: 0, or what is wrong.
int lives_by_itself() {
  const membudget_process *process = library_process();
  if (process->pid != getpid()) return 1;
  if (process->inherited_live_bytes != reference.live_bytes() || !is_exact()) return 2;
  churn(500);
  return is_exact() ? 0 : 3;
}

int run_by_itself(void *) { return lives_by_itself(); }

// In a child that shares the parent's memory: nothing but allocate, there where the parent counts.
int run_in_parents_memory(void *parents_pid) {
  churn(100);
  return library_process()->pid == *static_cast<pid_t *>(parents_pid) ? 0 : 1;
}

void expect_success(pid_t child, const char *kind) {
  int status = -1;
  REQUIRE(child > 0);
  REQUIRE(waitpid(child, &status, __WALL) == child);
  CHECK_CONTEXT(status == 0, "a child by %s has status %#x", kind, status);
  CHECK_CONTEXT(is_exact(), "the parent after %s", kind);
  CHECK_EQ(library_process()->pid, getpid());
  CHECK_CONTEXT(group_live_bytes() == reference.live_bytes(), "the group after %s", kind);
  churn(100);
}

void by_fork() {
  const pid_t child = fork();
  if (child == 0) _exit(lives_by_itself());
  expect_success(child, "fork");
}

void by_fork_without_handlers() {
  const pid_t child = _Fork();
  if (child == 0) _exit(lives_by_itself());
  expect_success(child, "_Fork");
}

void by_clone(int flags, const char *kind) {
  pid_t self = getpid();
  const bool shares = flags & CLONE_VM;
  expect_success(clone(shares ? run_in_parents_memory : run_by_itself, stack + sizeof stack, flags | SIGCHLD, &self),
                 kind);
}

void by_vfork() {
  pid_t self = getpid();
  const pid_t child = vfork();
  if (child == 0) _exit(run_in_parents_memory(&self));
  expect_success(child, "vfork");
}

void by_vfork_and_exec(const char *program) {
  char *const arguments[] = {const_cast<char *>(program), const_cast<char *>("spawned"), nullptr};
  const pid_t child = vfork();
  if (child == 0) {
    execve(program, arguments, environ);
    _exit(127);
  }
  expect_success(child, "vfork and exec");
}

void by_spawn(const char *program) {
  char *const arguments[] = {const_cast<char *>(program), const_cast<char *>("spawned"), nullptr};
  pid_t child = -1;
  REQUIRE(posix_spawn(&child, program, nullptr, nullptr, arguments, environ) == 0);
  expect_success(child, "posix_spawn");
}

// A daemon's way: the child's child lives on by itself. It becomes ours to wait for (see main).
void by_double_fork() {
  int says[2];
  pid_t daemon = -1;
  REQUIRE(pipe(says) == 0);
  const pid_t child = fork();
  if (child == 0) {
    setsid();
    daemon = fork();
    if (daemon == 0) _exit(lives_by_itself());
    _exit(write(says[1], &daemon, sizeof daemon) != sizeof daemon);
  }
  REQUIRE(read(says[0], &daemon, sizeof daemon) == sizeof daemon);
  close(says[0]);
  close(says[1]);
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK_EQ(status, 0);
  expect_success(daemon, "fork, twice");
}

// The program that was spawned: a member of its own of the same group, which inherited nothing.
int run_spawned() {
  const membudget_process *process = library_process();
  if (!process || process->pid != getpid() || process->inherited_live_bytes != 0) return 1;
  int members = 0;
  bool has_parent = false;
  group_for_each([&](const membudget_process *member) {
    members++;
    has_parent |= member->pid == getppid();
  });
  if (members != 2 || !has_parent) return 2;
  churn(500);
  return is_exact() ? 0 : 3;
}

}  // namespace

int main(int count, char **arguments) {
  reference = reference_find();
  random_state = static_cast<uint64_t>(getpid());
  REQUIRE(count == 2);
  if (strcmp(arguments[1], "spawned") == 0) return run_spawned();
  library_check_expected();
  REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  for (long round = 0, rounds = atol(arguments[1]); round < rounds && !check_failed; round++) {
    churn(300);
    by_fork();
    by_fork_without_handlers();
    by_clone(0, "clone");
    by_clone(CLONE_VM | CLONE_VFORK, "clone with CLONE_VM");
    by_vfork();
    by_vfork_and_exec(arguments[0]);
    by_spawn(arguments[0]);
    by_double_fork();
  }
  CHECK_EQ(library_block()->uncounted_processes, 0);
  return check_finish();
}
