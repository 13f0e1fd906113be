#include "control/block/guard.h"

#include <signal.h>
#include <stdint.h>

#include "control/block/system.h"

namespace membudget {
namespace {

enum State : uint32_t { kFree, kTaken, kGuarded, kReplacing, kReplaced };

struct Range {
  uintptr_t start;
  size_t bytes;
  uint32_t state;
};

Range ranges[128];
struct sigaction before;  // what SIGBUS did
uint32_t is_installed;
void (*on_loss)(void *);

bool move(Range &r, uint32_t from, uint32_t to) {
  return __atomic_compare_exchange_n(&r.state, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

// The range that `address` lies in, be it replaced already; NULL where there is none.
Range *range_of(uintptr_t address) {
  for (Range &r : ranges)
    if (__atomic_load_n(&r.state, __ATOMIC_ACQUIRE) >= kGuarded && address - r.start < r.bytes) return &r;
  return nullptr;
}

// True when there is memory now, or will be: another thread is about to put it there, and the touch is made again.
bool replace(Range &r, bool *was_first) {
  *was_first = false;
  if (!move(r, kGuarded, kReplacing)) return true;
  constexpr int kFlags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  auto *start = reinterpret_cast<void *>(r.start);
  *was_first = system_mmap(start, r.bytes, PROT_READ | PROT_WRITE, kFlags, -1, 0) != MAP_FAILED;
  __atomic_store_n(&r.state, *was_first ? kReplaced : kGuarded, __ATOMIC_RELEASE);
  return *was_first;
}

// As it would have gone without us. A fault comes again when the touch is repeated; what was sent is sent again.
void pass_on(int number, siginfo_t *info, void *context) {
  struct sigaction action = before;
  if (before.sa_flags & static_cast<int>(SA_RESETHAND)) before.sa_handler = SIG_DFL;
  if (action.sa_handler != SIG_DFL && (action.sa_flags & SA_SIGINFO)) return action.sa_sigaction(number, info, context);
  if (action.sa_handler != SIG_DFL) return action.sa_handler(number);
  sigaction(SIGBUS, &action, nullptr);
  if (info->si_code <= 0) syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
}

void on_fault(int number, siginfo_t *info, void *context) {
  ErrnoGuard guard;
  Range *r = info->si_code > 0 ? range_of(reinterpret_cast<uintptr_t>(info->si_addr)) : nullptr;
  bool was_first = false;
  if (!r || !replace(*r, &was_first)) return pass_on(number, info, context);
  if (was_first && on_loss) on_loss(reinterpret_cast<void *>(r->start));
}

void install() {
  if (__atomic_exchange_n(&is_installed, 1u, __ATOMIC_ACQ_REL) != 0) return;
  if (sigaction(SIGBUS, nullptr, &before) != 0 || before.sa_handler == SIG_IGN) return;
  struct sigaction ours = before;
  ours.sa_sigaction = on_fault;
  // On the thread's other stack, where it has one: a fiber's own may be small.
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | (before.sa_flags & static_cast<int>(SA_RESTART | SA_NODEFER));
  sigaction(SIGBUS, &ours, nullptr);
}

}  // namespace

void guard_add(void *address, size_t bytes) {
  ErrnoGuard guard;
  for (Range &r : ranges) {
    if (!move(r, kFree, kTaken)) continue;
    r.start = reinterpret_cast<uintptr_t>(address);
    r.bytes = bytes;
    __atomic_store_n(&r.state, kGuarded, __ATOMIC_RELEASE);
    return install();
  }
}

void guard_remove(void *address) {
  if (Range *r = range_of(reinterpret_cast<uintptr_t>(address))) __atomic_store_n(&r->state, kFree, __ATOMIC_RELEASE);
}

bool guard_replace(void *address) {
  ErrnoGuard guard;
  Range *r = range_of(reinterpret_cast<uintptr_t>(address));
  bool was_first = false;
  return r && replace(*r, &was_first) && was_first;
}

void guard_on_loss(void (*lost)(void *address)) { on_loss = lost; }

}  // namespace membudget
