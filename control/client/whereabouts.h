// Where processes of other pid namespaces are in this one: a container's member, looked at from the host.
//
// Its slot has its pid as the process itself knows it, which here is nobody's, or a stranger's. The kernel tells both
// pids of whatever can be seen from here: /proc/PID/ns/pid and NSpid in /proc/PID/status.
#pragma once

#include "control/block/block.h"

namespace membudget::client {

// The slot's pid where this process can use it: in /proc, for kill(). 0 where it cannot be seen from here (its
// namespace is not below ours), where it may not be looked at, or is no more. A member of our own namespace costs
// nothing; another one a look at every process of the machine: some milliseconds.
int32_t pid_seen_here(const Process *);

// Whether the process is surely no more, though of another pid namespace; false for those of our own. For certain it is
// known where the namespace, or all of the machine, is to be seen. Costs the same.
bool is_gone_from_elsewhere(const Process *);

// Whether the slot is that of the process that has the pid `pid` here, though of another namespace. Some 20 us.
bool is_of_elsewhere_with_pid(const Process *, int32_t pid);

// Frees the slots of processes that are gone from elsewhere: the block's own code, which must not search /proc in the
// middle of somebody's allocation, takes them for alive. Takes the block's lock then.
void reap_from_elsewhere(const Block &);

}  // namespace membudget::client
