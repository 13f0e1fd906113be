// Where processes of other pid namespaces are in this one: a container's member, looked at from the host.
//
// Its slot has its pid as the process itself knows it, which here is nobody's, or a stranger's. The kernel tells both
// pids of whatever can be seen from here: /proc/PID/ns/pid and NSpid in /proc/PID/status.
#pragma once

#include "control/block/block.h"

namespace membudget::client {

// The slot's pid where this process can use it: in /proc, for kill(). 0 where it cannot be seen from here (its
// namespace is not below ours), where it may not be looked at, or is no more. A member of our own namespace costs
// nothing; others a look at every process of the machine, some milliseconds.
int32_t pid_seen_here(const Process *);

// The same of all slots in use, by one such look.
struct Pids {
  int32_t of[MEMBUDGET_PROCESSES] = {};
};
void pids_seen_here(const Block &, Pids *out);

// Whether the slot is that of the process that has the pid `pid` here, though of another namespace, and lives. Some 20 us.
bool is_of_elsewhere_with_pid(const Process *, int32_t pid);

// Frees the slots of processes that are surely no more, though of another pid namespace: the block's own code, which
// must not search /proc in the middle of somebody's allocation, takes them for alive. For certain it is known where
// others of the namespace, or all of the machine, are to be seen. By one look; takes the block's lock then. Nothing
// where the block is not ours to write.
void reap_from_elsewhere(const Block &);

}  // namespace membudget::client
