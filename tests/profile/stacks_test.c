/* Stacks of every kind: the smallest, very deep ones, coroutines', of signal handlers, and such as no unwinder can
 * follow. Wherever malloc may be called, a block may be sampled there. */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "sampled.h"

enum { CALLS = 200, DEEP = 100000, COROUTINES = 20, TURNS = 50 };
enum { UNTOUCHED = 0xa5 };

static void *new_stack(size_t bytes) {
  void *stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  REQUIRE(stack != MAP_FAILED);
  memset(stack, UNTOUCHED, bytes);
  return stack;
}

static size_t untouched(const void *stack, size_t bytes) {
  size_t i = 0;
  while (i < bytes && ((const unsigned char *)stack)[i] == UNTOUCHED) i++;
  return i;
}

static void run_on_stack(void *stack, size_t bytes, void *(*run)(void *), void *argument) {
  pthread_attr_t attributes;
  pthread_t thread;
  REQUIRE(pthread_attr_init(&attributes) == 0);
  REQUIRE(pthread_attr_setstack(&attributes, stack, bytes) == 0);
  REQUIRE(pthread_create(&thread, &attributes, run, argument) == 0);
  REQUIRE(pthread_join(thread, NULL) == 0);
  pthread_attr_destroy(&attributes);
}

/* --- the smallest --- */

static void *call_now(void *unused) {
  sampled_calls(CALLS);
  return unused;
}

static void test_smallest(void) {
  size_t bytes = (size_t)PTHREAD_STACK_MIN;
  char *stack = new_stack(bytes);
  for (int i = 0; i < 3; i++) run_on_stack(stack, bytes, call_now, NULL);
  CHECK_CONTEXT(untouched(stack, bytes) >= 4096, "%zu bytes were left of %zu", untouched(stack, bytes), bytes);
  munmap(stack, bytes);
}

/* --- deep ones --- */

__attribute__((noinline)) static int descend(int depth) {
  char *volatile block = depth % 100 == 0 ? malloc(500) : NULL;
  int below = 0;
  if (depth > 1)
    below = descend(depth - 1);
  else
    sampled_calls(CALLS);
  free(block);
  return below + 1;
}

static void *call_deep(void *unused) {
  CHECK_EQ(descend(DEEP), DEEP);
  return unused;
}

static void test_deep(void) {
  size_t bytes = 64 << 20;
  void *stack = new_stack(bytes);
  run_on_stack(stack, bytes, call_deep, NULL);
  munmap(stack, bytes);
}

/* --- coroutines --- */

static ucontext_t scheduler, coroutines[COROUTINES];

static void run_coroutine(int number) {
  for (int i = 0; i < TURNS; i++) {
    sampled_calls(1 + (i + number) % 3);
    swapcontext(&coroutines[number], &scheduler);
  }
}

static void test_coroutines(void) {
  size_t bytes = 32 << 10;
  char *stacks = new_stack(bytes * COROUTINES);
  for (int i = 0; i < COROUTINES; i++) {
    REQUIRE(getcontext(&coroutines[i]) == 0);
    coroutines[i].uc_stack.ss_sp = stacks + bytes * (size_t)i;
    coroutines[i].uc_stack.ss_size = bytes;
    coroutines[i].uc_link = &scheduler;
    makecontext(&coroutines[i], (void (*)(void))run_coroutine, 1, i);
  }
  for (int turn = 0; turn < TURNS; turn++)
    for (int i = 0; i < COROUTINES; i++) REQUIRE(swapcontext(&scheduler, &coroutines[i]) == 0);
  munmap(stacks, bytes * COROUTINES);
}

/* --- a signal handler's own stack --- */

static int handled;

static void handle(int signal) {
  (void)signal;
  sampled_calls(20);
  handled++;
}

static void test_alternate(void) {
  size_t bytes = 16384 + getauxval(AT_MINSIGSTKSZ);
  stack_t stack = {.ss_sp = new_stack(bytes), .ss_size = bytes}, before;
  REQUIRE(sigaltstack(&stack, &before) == 0);
  struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
  REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
  for (int i = 0; i < 20; i++) raise(SIGUSR1);
  CHECK_EQ(handled, 20);
  REQUIRE(sigaltstack(&before, NULL) == 0);
  munmap(stack.ss_sp, bytes);
}

/* --- such as no unwinder can follow --- */

#if defined(__x86_64__)
/* Calls call() on another stack, as code does that was made at run time: no unwind tables, the frame pointer used for
 * something else, and above the return address nothing that would make sense. */
void stacks_call_blindly(void *top, void (*call)(void), uintptr_t frame_pointer);
__asm__(
    ".text\n"
    ".type stacks_call_blindly, @function\n"
    "stacks_call_blindly:\n"
    "  push %rbp\n"
    "  push %rbx\n"
    "  push %r12\n"
    "  mov %rsp, %rbx\n"
    "  mov %rdi, %rsp\n"
    "  mov %rdx, %rbp\n"
    "  call *%rsi\n"
    "  mov %rbx, %rsp\n"
    "  pop %r12\n"
    "  pop %rbx\n"
    "  pop %rbp\n"
    "  ret\n"
    ".size stacks_call_blindly, . - stacks_call_blindly\n");

static void call_few(void) { sampled_calls(5); }

static void test_blind(void) {
  size_t bytes = 64 << 10;
  char *stack = new_stack(bytes + 4096), *guard = stack + bytes;
  REQUIRE(mprotect(guard, 4096, PROT_NONE) == 0);
  void **top = (void **)(guard - 16);
  uintptr_t loop[2] = {(uintptr_t)loop, (uintptr_t)stacks_call_blindly + 24};
  const uintptr_t frame_pointers[] = {0,
                                      1,
                                      8,
                                      4096,
                                      (uintptr_t)guard,
                                      (uintptr_t)guard - 8,
                                      (uintptr_t)top,
                                      (uintptr_t)loop,
                                      (uintptr_t)stack,
                                      (uintptr_t)call_few,
                                      UINTPTR_MAX,
                                      UINTPTR_MAX - 7,
                                      (uintptr_t)1 << 47,
                                      (uintptr_t)0xdead << 48};
  const uintptr_t return_addresses[] = {0,
                                        1,
                                        4096,
                                        (uintptr_t)guard,
                                        UINTPTR_MAX,
                                        (uintptr_t)0xdead << 48,
                                        (uintptr_t)stacks_call_blindly,
                                        (uintptr_t)malloc};
  for (size_t i = 0; i < sizeof frame_pointers / sizeof *frame_pointers; i++)
    for (size_t j = 0; j < sizeof return_addresses / sizeof *return_addresses; j++) {
      top[0] = top[1] = (void *)return_addresses[j];
      stacks_call_blindly(top, call_few, frame_pointers[i]);
    }
  munmap(stack, bytes + 4096);
}
#else
static void test_blind(void) {}
#endif

int main(int count, char **arguments) {
  const char *only = count > 1 ? arguments[1] : "";
  sampled_require();
#define TEST(name) \
  if (!*only || strcmp(only, #name) == 0) test_##name()
  TEST(smallest);
  TEST(deep);
  TEST(coroutines);
  TEST(alternate);
  TEST(blind);
  return check_finish();
}
