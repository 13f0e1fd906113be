// What becomes of a mapped block whose file is cut short: whoever owns a file may truncate it at any time, and a touch
// of what is gone raises SIGBUS. No file in a folder can be sealed against it, and a look before each touch would cost
// the hot path a system call. So a block's memory is guarded: a fault in it puts zeros of this process's own in the
// place of the whole block, and the program goes on; a block of zeros has no limit, no members and no level.
//
// The handler is put in when the first block is mapped, where SIGBUS has its default action or a handler; every fault
// elsewhere, and every SIGBUS that was sent, has the effect that it had before. Where SIGBUS is ignored it is left at
// that. A fault is not survived in a thread that blocks SIGBUS (the kernel kills then, whatever the handler), nor once
// the program has set an action of its own that does not call the one before it.
#pragma once

#include <stddef.h>

namespace membudget {

// Guards [address, address + bytes), a mapping of its own. Does nothing for more than a hundred or so at a time.
void guard_add(void *address, size_t bytes);

// Before the mapping goes.
void guard_remove(void *address);

// Puts zeros in the place of the guarded memory at `address`, as a fault would. False when it is guarded no more, or
// there is no memory. [signal-safe]
bool guard_replace(void *address);

// Called after each replacement by a fault, in the handler: what it does must be signal-safe.
void guard_on_loss(void (*lost)(void *address));

}  // namespace membudget
