#include "preload/profile/known_stacks.h"

#include <string.h>

#include "preload/profile/module.h"

namespace membudget::profile {
namespace {

constexpr int kMostReturns = 32;  // deeper stacks are unwound each time

struct Known {
  uint32_t version;  // odd while it is being written
  uint32_t number;
  const void *frame;
  uint64_t count;
  ReturnAddress returns[kMostReturns];
  // What was taken last here, and how many times in a row. By chance wrong where threads share an entry.
  const void *taken_frame;
  uint32_t taken_number, times;
};
constexpr size_t kEntries = 64;
Known known[kEntries];

// Frames of one thread are some bytes apart, those of others megabytes.
Known &entry_of(const void *frame) {
  constexpr uint64_t kFactor = 0x9e3779b97f4a7c15;
  return known[(reinterpret_cast<uintptr_t>(frame) >> 4) * kFactor >> 58];
}

template <typename T>
T get(const T &from) {
  return __atomic_load_n(&from, __ATOMIC_RELAXED);
}
template <typename T>
void set(T *to, T value) {
  __atomic_store_n(to, value, __ATOMIC_RELAXED);
}

// A copy that nobody was writing meanwhile; or false. (Where a place is read that is not of this stack, it may not be
// there any more.)
bool copy_of(const Known &k, const void *frame, Known *copy) {
  uint32_t version = __atomic_load_n(&k.version, __ATOMIC_ACQUIRE);
  if (version % 2 != 0 || get(k.frame) != frame) return false;
  copy->number = get(k.number);
  copy->count = get(k.count);
  if (copy->count == 0 || copy->count > kMostReturns) return false;
  for (uint64_t i = 0; i < copy->count; ++i) copy->returns[i] = {get(k.returns[i].place), get(k.returns[i].address)};
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return get(k.version) == version;
}

void learn(Known *k, const void *frame, uint32_t number) {
  ReturnAddress returns[kMostReturns];
  int count = stack_module().return_addresses(frame, returns, kMostReturns);
  uint32_t version = get(k->version);
  if (count == 0 || version % 2 != 0 ||
      !__atomic_compare_exchange_n(&k->version, &version, version + 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    return;
  __atomic_thread_fence(__ATOMIC_RELEASE);
  set(&k->number, number);
  set(&k->frame, frame);
  set(&k->count, static_cast<uint64_t>(count));
  for (int i = 0; i < count; ++i) {
    set(&k->returns[i].place, returns[i].place);
    set(&k->returns[i].address, returns[i].address);
  }
  __atomic_store_n(&k->version, version + 2, __ATOMIC_RELEASE);
}

}  // namespace

bool find_known_stack(const void *frame, uint32_t *number) {
  Known k;
  if (!copy_of(entry_of(frame), frame, &k)) return false;
  for (uint64_t i = 0; i < k.count; ++i)
    if (*k.returns[i].place != k.returns[i].address) return false;
  *number = k.number;
  return true;
}

void note_stack(const void *frame, uint32_t number) {
  constexpr uint32_t kTimes = 16;  // learning it takes as long as taking it some times
  Known *k = &entry_of(frame);
  bool is_same = get(k->taken_frame) == frame && get(k->taken_number) == number;
  set(&k->taken_frame, frame);
  set(&k->taken_number, number);
  uint32_t times = is_same ? get(k->times) + 1 : 1;
  set(&k->times, times);
  if (times == kTimes && number != 0) learn(k, frame, number);
}

void known_stacks_after_fork_in_child() { memset(known, 0, sizeof known); }

}  // namespace membudget::profile
