// How far the calling thread allocates until it looks again whether a peak is to be noted.
#pragma once

#include "allocator/ledger.h"
#include "control/block/words.h"

namespace membudget::ledger {

// A thread that turns over much looks seldom: alone, it may miss a sixteenth of what it holds, up to four strides.
inline int64_t longest_stride(int64_t net) {
  if (thread.peak_reached_net_bytes == INT64_MAX) return kLongestStride;
  return smallest(largest(net / 16, kLongestStride), 4 * kLongestStride);
}

// How many bytes the thread may allocate until it looks again whether a peak is to be noted. The trigger knows
// what was allocated, not what stays: a thread that grows looks often (near a mark, at each new peak), one that only
// turns over seldom.
inline int64_t stride_after(const Shard &s, int64_t net) {
  constexpr int64_t kShortest = 4 << 10;
  int64_t grown = net - thread.last_net_bytes, allocated = s.allocated_bytes - thread.last_allocated_bytes;
  thread.last_net_bytes = net;
  thread.last_allocated_bytes = s.allocated_bytes;
  if (2 * grown >= allocated) {
    thread.stride_bytes = kShortest;
    if (thread.is_near_mark) return 0;
  } else {
    thread.stride_bytes = smallest(2 * thread.stride_bytes, longest_stride(net));
  }
  return thread.stride_bytes;
}

}  // namespace membudget::ledger
