// Changing a budget from outside (limits) and asking for memory to be handed back.
#include "control/client/steering.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <membudget/profile.h>

#include "control/block/amount.h"
#include "control/block/system.h"
#include "control/client/handle.h"
#include "control/client/whereabouts.h"

namespace membudget::client {
namespace {

constexpr int64_t kTrimTimeoutMs = 5000;
constexpr int64_t kTrimSliceNs = 20'000'000;  // a process may end, or not wake us, while we wait for it
constexpr int64_t kMostBytes = INT64_C(1) << 62;

membudget_amount bytes_amount(int64_t bytes) { return {bytes, MEMBUDGET_UNIT_BYTES, 1}; }

// Whether the target can be changed by us now: 0 or -errno.
int check_writable(const membudget_t *budget, int64_t bytes) {
  if (!budget || bytes < 0 || bytes > kMostBytes) return -EINVAL;
  if (!target_is_alive(budget)) return -ESRCH;
  return view_of(budget).block.writable ? 0 : -EACCES;
}

// One process that was asked, and what it was asked: a number that another word follows when it is done. When it has
// ended another one may get its slot, which begins the numbers anew.
struct Asked {
  Process *process;
  uint64_t generation;
  int32_t pid;
  uint32_t request;
  const uint32_t *done;
};

Asked asked_of(Process *p, const uint32_t *done) {
  return {p, __atomic_load_n(&p->generation, __ATOMIC_ACQUIRE), p->pid, 0, done};
}

bool slot_is_anothers(const Asked &asked) {
  return __atomic_load_n(&asked.process->generation, __ATOMIC_ACQUIRE) != asked.generation;
}

bool has_answered(const Asked &asked) {
  return static_cast<int32_t>(__atomic_load_n(asked.done, __ATOMIC_ACQUIRE) - asked.request) >= 0;
}

// Waits for one answer: 0, -ESRCH when the process ended instead, -ETIMEDOUT. Asks for attention each time
// round, since a thread that is being given an allowance meanwhile may overwrite the request for it.
int await_answer(const Block &block, const Asked &asked, int64_t deadline) {
  for (;;) {
    budget_request_attention(block, asked.process);
    uint32_t seen = __atomic_load_n(asked.done, __ATOMIC_ACQUIRE);
    bool is_done = has_answered(asked);
    if (slot_is_anothers(asked)) return -ESRCH;
    if (is_done) return 0;
    reap_from_elsewhere(block);
    if (!slot_is_taken(asked.process)) return -ESRCH;
    int64_t left = deadline - kernel_ns();
    if (left <= 0) return -ETIMEDOUT;
    futex_wait(asked.done, seen, left < kTrimSliceNs ? left : kTrimSliceNs);
  }
}

// Asks for a profile. False while somebody else's request is under way: the process answers the last one only.
bool ask_for_profile(const Block &block, Process *p, Asked *asked) {
  *asked = asked_of(p, &p->profile_done);
  uint32_t done = __atomic_load_n(&p->profile_done, __ATOMIC_ACQUIRE), last = done;
  bool is_ours =
      __atomic_compare_exchange_n(&p->profile_request, &last, done + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
  asked->request = is_ours ? done + 1 : last;
  if (!is_ours) return false;
  budget_request_attention(block, p);
  return true;
}

// Waits for others' requests to be answered, then asks, and waits for the answer: 0, -ESRCH, -ETIMEDOUT.
int await_profile(const Block &block, Asked *asked, bool *is_asked, int64_t deadline) {
  while (!*is_asked) {
    if (int error = await_answer(block, *asked, deadline); error != 0) return error;
    *is_asked = ask_for_profile(block, asked->process, asked);
  }
  int error = await_answer(block, *asked, deadline);
  if (error == -ETIMEDOUT) {  // taken back, or it would write a file that nobody removes
    uint32_t mine = asked->request;
    __atomic_compare_exchange_n(&asked->process->profile_request, &mine, mine - 1, false, __ATOMIC_ACQ_REL,
                                __ATOMIC_RELAXED);
  }
  return error;
}

// All are asked before any is waited for, so that the processes of a group trim side by side.
int ask_all(membudget_t *budget, Asked *asked, int *count, int64_t *released) {
  View view = view_of(budget);
  if (!view.block.header) return -ESRCH;
  if (!view.block.writable) return -EACCES;
  bool any = false;
  for_each_live_process(budget, [&](Process *p) {
    any = true;
    if (slot_is_own(p)) {
      *released += preload_trim();
      return;
    }
    Asked *one = &asked[(*count)++];
    *one = asked_of(p, &p->trim_done);
    one->request = __atomic_add_fetch(&p->trim_request, 1, __ATOMIC_ACQ_REL);
    budget_request_attention(view.block, p);
  });
  return any ? 0 : -ESRCH;
}

}  // namespace
}  // namespace membudget::client

using namespace membudget::client;

int membudget_set_limit(membudget_t *budget, int64_t bytes) {
  int error = check_writable(budget, bytes);
  if (error != 0) return error;
  if (handle_of(budget)->is_self) return preload_set_limit(bytes);
  membudget::ErrnoGuard guard;
  const membudget::Block &block = handle_of(budget)->block;
  membudget::Limits limits{};
  limits.limit = bytes_amount(bytes);
  membudget::budget_set_limits(block, limits, 0);
  return 0;
}

int membudget_set_hard_limit(membudget_t *budget, int64_t bytes) {
  int error = check_writable(budget, bytes);
  if (error != 0) return error;
  membudget::ErrnoGuard guard;
  const membudget::Block block = view_of(budget).block;
  membudget::Limits limits{};
  limits.hard_limit = bytes_amount(bytes);
  membudget::budget_set_limits(block, limits, 0);
  return 0;
}

int membudget_trim_within(membudget_t *budget, int64_t timeout_ms, int64_t *released_bytes) {
  if (!budget) return -EINVAL;
  membudget::ErrnoGuard guard;
  int64_t released = 0;
  int result = 0;
  if (handle_of(budget)->is_self) {
    released = preload_trim();
  } else {
    Asked asked[MEMBUDGET_PROCESSES];
    int count = 0;
    int64_t deadline = membudget::kernel_ns() + timeout_ms * 1'000'000;
    result = ask_all(budget, asked, &count, &released);
    for (int i = 0; i < count; ++i) {
      int answer = await_answer(handle_of(budget)->block, asked[i], deadline);
      if (answer == 0)
        released += __atomic_load_n(&asked[i].process->trim_released_bytes, __ATOMIC_RELAXED);
      else if (answer == -ETIMEDOUT || count == 1)
        result = answer;
    }
  }
  if (released_bytes) *released_bytes = released;
  return result;
}

int membudget_set_profile(membudget_t *budget, int64_t mean_bytes) {
  int error = check_writable(budget, mean_bytes);
  if (error != 0) return error;
  membudget::ErrnoGuard guard;
  const membudget::Block block = view_of(budget).block;
  for_each_live_process(budget, [&](membudget::Process *p) {
    __atomic_store_n(&p->profile_mean_bytes, mean_bytes, __ATOMIC_RELAXED);
    membudget::budget_request_attention(block, p);
  });
  return 0;
}

int membudget_profile_each(membudget_t *budget, int64_t timeout_ms,
                           void (*tell)(int pid, const char *path, int error, void *context), void *context) {
  if (!budget) return -EINVAL;
  membudget::ErrnoGuard guard;
  View view = view_of(budget);
  if (!view.block.header) return -ESRCH;
  if (!view.block.writable) return -EACCES;
  Asked asked[MEMBUDGET_PROCESSES];
  bool is_asked[MEMBUDGET_PROCESSES];
  int count = 0;
  bool any = false;
  for_each_live_process(budget, [&](membudget::Process *p) {
    any = true;
    if (__atomic_load_n(&p->profile_mean_bytes, __ATOMIC_RELAXED) <= 0) return tell(p->pid, nullptr, -ENODATA, context);
    is_asked[count] = ask_for_profile(view.block, p, &asked[count]);
    ++count;
  });
  int64_t deadline = membudget::kernel_ns() + timeout_ms * 1'000'000;
  for (int i = 0; i < count; ++i) {
    membudget::Process *p = asked[i].process;
    int error = await_profile(view.block, &asked[i], &is_asked[i], deadline);
    if (error == 0) error = -__atomic_load_n(&p->profile_error, __ATOMIC_RELAXED);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/profile-%d-%u" MEMBUDGET_PROFILE_SUFFIX, block_directory(nullptr), asked[i].pid,
             asked[i].request);
    if (error == -ESRCH && is_asked[i]) unlink(path);  // what it wrote, or began to, before it ended
    tell(asked[i].pid, path, error, context);
  }
  return any ? 0 : -ESRCH;
}

int membudget_trim(membudget_t *budget) { return membudget_trim_within(budget, kTrimTimeoutMs, nullptr); }

int membudget_set_reserve(membudget_t *budget, int64_t bytes) {
  return budget && handle_of(budget)->is_self ? preload_set_reserve(bytes) : -EINVAL;
}

int membudget_flush_begins(membudget_t *budget) {
  return budget && handle_of(budget)->is_self ? preload_flush(true) : -EINVAL;
}

int membudget_flush_ends(membudget_t *budget) {
  return budget && handle_of(budget)->is_self ? preload_flush(false) : -EINVAL;
}

void membudget_leave_group(void) {
  membudget::ErrnoGuard guard;
  preload_leave();
}

int membudget_parse_amount(const char *text, struct membudget_amount *out) {
  if (!out) return -EINVAL;
  if (membudget::amount_parse(text, out)) return 0;
  return membudget::amount_is_too_large(text) ? -ERANGE : -EINVAL;
}
