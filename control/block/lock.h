// The lock of a block: a futex in shared memory that survives the death of its holder.
//
// The word is the holder's thread id, with the top bit set when somebody waits. A waiter looks every
// 10 ms whether the holder still exists, and takes the lock from one that does not; from one that holds
// it for a second (stopped by a debugger or a signal; the sections take microseconds) as well, so that
// nobody hangs on another's fate. Who was stopped may go on at any time, in the middle of its section: what
// identifies somebody (slots, shards' owners) is claimed by compare and exchange, and all else can be
// recomputed from the shards, which the one that lost the lock does before it goes on (see budget.cc). A thread that
// asks for the lock that it holds has jumped out of its section (see undisturbed.h), and has it at once.
#pragma once

#include "control/block/block.h"

namespace membudget {

class BlockLock {
 public:
  explicit BlockLock(Header *);
  ~BlockLock();
  BlockLock(const BlockLock &) = delete;
  BlockLock &operator=(const BlockLock &) = delete;

  // False once another has taken it from this holder, who was stopped meanwhile. One load.
  bool is_held() const;

 private:
  Header *header_;
  uint32_t self_;
  const Header *held_before_;
};

}  // namespace membudget
