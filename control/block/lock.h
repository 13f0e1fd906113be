// The lock of a block: a futex in shared memory that survives the death of its holder.
//
// The word is the holder's thread id, with the top bit set when somebody waits. A waiter looks every
// 10 ms whether the holder still exists, and takes the lock from one that does not; from one that holds
// it for a second (stopped by a debugger or a signal; the sections take microseconds) as well, so that
// nobody hangs on another's fate. All that the lock protects can be recomputed from the shards.
#pragma once

#include "control/block/block.h"

namespace membudget {

class BlockLock {
 public:
  explicit BlockLock(Header *);
  ~BlockLock();
  BlockLock(const BlockLock &) = delete;
  BlockLock &operator=(const BlockLock &) = delete;

 private:
  Header *header_;
  uint32_t self_;
};

// Whether the calling thread still holds the lock that it took: another may have taken it from a stopped one.
bool lock_is_own(const Header *);

}  // namespace membudget
