// The memory that this process may use, and what the kernel charges for it. cgroup v1 and v2, hybrid ones too.
//
// All functions read small files in /proc and /sys, keep errno, and may be called in signal handlers.
#pragma once

#include <stdint.h>

namespace membudget {

// A memory cgroup with a limit; the folder is empty when none binds the process.
struct MemoryCgroup {
  char folder[1024];
  bool is_v2;
  int64_t limit_bytes;
};

// Where to look; tests have trees of their own.
struct MachineFiles {
  const char *cgroup_list = "/proc/self/cgroup";
  const char *cgroup_mount = "/sys/fs/cgroup";
};

// The tightest limit among the memory cgroups that the process is in and their ancestors, as far as they can be
// seen. False: none is below the machine's memory. About 50 us.
bool find_memory_cgroup(MemoryCgroup *out, const MachineFiles & = {});

// Bytes; never 0: that cgroup's limit, else the machine's memory.
int64_t memory_limit_bytes();
int64_t machine_memory_bytes();

// The cgroup's limit as it is now, INT64_MAX where it has none any more, -1 when it is gone. 6 us.
int64_t cgroup_limit_bytes(const MemoryCgroup &);

// What is charged to the cgroup and cannot be taken back at will: without page cache and MADV_FREE'd pages. -1 when
// it cannot be read. About 20 us.
int64_t cgroup_charged_bytes(const MemoryCgroup &);

// This process's resident anonymous memory, -1 without /proc. About 4 us.
int64_t own_anonymous_bytes();

// What of it no other process shares: its private dirty pages. -1 where the kernel has no smaps_rollup (before 4.14).
// Some 4 ms for each 100 MiB of the process.
int64_t own_private_bytes();

}  // namespace membudget
