#include "preload/stacks/native.h"

#define UNW_LOCAL_ONLY
#include <libunwind.h>
#include <stddef.h>

#include "control/block/system.h"

// Calls function(argument) on another stack, which ends at `top`. Its frame is found by its frame pointer, so that
// unwinding goes on from one stack to the other.
extern "C" void membudget_call_on(char *top, void (*function)(void *), void *argument);
#if defined(__x86_64__)
__asm__(R"(
  .text
  .type membudget_call_on, @function
  .hidden membudget_call_on
membudget_call_on:
  .cfi_startproc
  pushq %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset %rbp, -16
  movq %rsp, %rbp
  .cfi_def_cfa_register %rbp
  movq %rdi, %rsp
  movq %rdx, %rdi
  callq *%rsi
  leave
  .cfi_def_cfa %rsp, 8
  ret
  .cfi_endproc
  .size membudget_call_on, . - membudget_call_on
)");
#elif defined(__aarch64__)
__asm__(R"(
  .text
  .type membudget_call_on, @function
  .hidden membudget_call_on
membudget_call_on:
  .cfi_startproc
  stp x29, x30, [sp, #-16]!
  .cfi_def_cfa_offset 16
  .cfi_offset x29, -16
  .cfi_offset x30, -8
  mov x29, sp
  .cfi_def_cfa x29, 16
  mov sp, x0
  mov x0, x2
  blr x1
  mov sp, x29
  .cfi_def_cfa sp, 16
  ldp x29, x30, [sp], #16
  .cfi_def_cfa_offset 0
  ret
  .cfi_endproc
  .size membudget_call_on, . - membudget_call_on
)");
#else
void membudget_call_on(char *, void (*function)(void *), void *argument) { function(argument); }
#endif

namespace membudget::stacks {
namespace {

// Where unwinding happens. A few, for as many threads at a time.
struct Place {
  uint32_t is_taken;
  char *stack;
  uint64_t machine[kMostMachineFrames];
  Finish *finish;
  uint64_t *frames;
  int most, count;
};
constexpr int kPlaces = 8;
constexpr size_t kStackBytes = 128 << 10;
Place places[kPlaces];

char *new_stack() {
  void *memory =
      system_mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  syscall(SYS_mprotect, memory, size_t{4096}, PROT_NONE);
  return static_cast<char *>(memory);
}

Place *claim() {
  constexpr int kRounds = 1000;
  for (int round = 0; round < kRounds; ++round) {
    for (Place &p : places) {
      if (__atomic_exchange_n(&p.is_taken, 1u, __ATOMIC_ACQUIRE) != 0) continue;
      if (!p.stack) p.stack = new_stack();
      if (p.stack) return &p;
      __atomic_store_n(&p.is_taken, 0u, __ATOMIC_RELEASE);
      return nullptr;
    }
    syscall(SYS_sched_yield);
  }
  return nullptr;
}

// Frame by frame; what libunwind keeps of the code for it can be dropped when objects were unloaded.
__attribute__((noinline)) int step_through(uint64_t *addresses, int most) {
  unw_context_t context;
  unw_cursor_t cursor;
  if (unw_getcontext(&context) != 0 || unw_init_local(&cursor, &context) != 0) return 0;
  int count = 0;
  for (unw_word_t address; count < most && unw_step(&cursor) > 0; addresses[count++] = address)
    if (unw_get_reg(&cursor, UNW_REG_IP, &address) != 0) break;
  return count;
}

// What the calling thread knows of the code.
struct ThreadCache {
  uint32_t captures;
  uint64_t unloads;  // that there had been when its cache was begun
};
__attribute__((tls_model("initial-exec"))) __thread ThreadCache thread_cache;
uint64_t unloads_flushed;

// unw_backtrace keeps what it learnt about each place in the code, for each thread: some ns a frame from then on.
// That cache takes 400 KiB, which a thread has to be worth; and nothing drops what was learnt of code that is gone, by
// which a stack of the code that came in its place would be read in wrong places, past its end too.
bool may_use_thread_cache(uint64_t unloads) {
  constexpr uint32_t kWorthIt = 16;
  if (unloads != __atomic_load_n(&unloads_flushed, __ATOMIC_ACQUIRE)) {
    unw_flush_cache(unw_local_addr_space, 0, 0);
    __atomic_store_n(&unloads_flushed, unloads, __ATOMIC_RELEASE);
  }
  if (thread_cache.captures < kWorthIt) {
    ++thread_cache.captures;
    thread_cache.unloads = unloads;
    return false;
  }
  return thread_cache.unloads == unloads;
}

void unwind_here(void *argument) {
  auto *p = static_cast<Place *>(argument);
  LoadedObjects objects = loaded_objects();
  int machine_count = may_use_thread_cache(objects.unloads)
                          ? unw_backtrace(reinterpret_cast<void **>(p->machine), kMostMachineFrames)
                          : step_through(p->machine, kMostMachineFrames);
  // cppcheck-suppress AssignmentAddressToInteger  ; finish is a pointer to a function, which returns a count
  p->count = p->finish(objects, p->machine, machine_count, p->frames, p->most);
}

struct Search {
  uintptr_t frame;
  ReturnAddress *returns;
  int most, count;
};

#if defined(__x86_64__)
// Where libunwind read the frame's return address: 0 where it did not read it from the stack, within reach of `frame`.
// Further on a stack may have ended that was at the same place as another one.
uintptr_t place_of_return(unw_cursor_t *cursor, uintptr_t frame) {
  constexpr uintptr_t kReach = 32 << 10;
  unw_save_loc_t where;
  if (unw_get_save_loc(cursor, UNW_X86_64_RIP, &where) != 0 || where.type != UNW_SLT_MEMORY) return 0;
  return where.u.addr + sizeof(uint64_t) >= frame && where.u.addr - frame + sizeof(uint64_t) < kReach ? where.u.addr
                                                                                                      : 0;
}

// The number of return addresses from the frame on, to the end of the stack; or 0.
__attribute__((noinline)) int search(const Search &s) {
  unw_context_t context;
  unw_cursor_t cursor;
  if (unw_getcontext(&context) != 0 || unw_init_local(&cursor, &context) != 0) return 0;
  int count = 0, more;
  while ((more = unw_step(&cursor)) > 0) {
    uintptr_t place = place_of_return(&cursor, s.frame);
    if (count == 0 && place + sizeof(uint64_t) != s.frame) continue;
    unw_word_t address;
    if (count == s.most || place == 0 || unw_get_reg(&cursor, UNW_REG_IP, &address) != 0) return 0;
    s.returns[count++] = {reinterpret_cast<const uint64_t *>(place), address};
  }
  return more == 0 ? count : 0;
}
#else
int search(const Search &) { return 0; }  // where a return address is on the stack is known on x86 alone
#endif

void search_here(void *argument) {
  auto *s = static_cast<Search *>(argument);
  s->count = search(*s);
}

}  // namespace

int find_return_addresses(const void *frame, ReturnAddress *returns, int most) {
  Place *p = claim();
  if (!p) return 0;
  Search s = {reinterpret_cast<uintptr_t>(frame), returns, most, 0};
  membudget_call_on(p->stack + kStackBytes, search_here, &s);
  __atomic_store_n(&p->is_taken, 0u, __ATOMIC_RELEASE);
  return s.count;
}

__attribute__((noinline)) int unwind(uint64_t *frames, int most, Finish *finish) {
  Place *p = claim();
  if (!p) return 0;
  p->finish = finish;
  p->frames = frames;
  p->most = most;
  membudget_call_on(p->stack + kStackBytes, unwind_here, p);
  int count = p->count;
  __atomic_store_n(&p->is_taken, 0u, __ATOMIC_RELEASE);
  return count;
}

void unwind_after_fork_in_child() {
  for (Place &p : places) p.is_taken = 0;
}

}  // namespace membudget::stacks
