// The memory cgroup a process is in: version 2, or version 1's memory controller.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace membudget::cli {

struct Cgroup {
  std::string path;                    // as in /proc/PID/cgroup
  std::optional<int64_t> limit_bytes;  // absent: none
  std::optional<int64_t> usage_bytes;  // page cache included
};

// The one that limits the process: of its own and all above it, the one with the lowest limit. Where none
// has a limit, its own. Absent where there is no memory controller, or it cannot be seen from here.
std::optional<Cgroup> read_cgroup(pid_t);

// What a percentage of a limit refers to: that cgroup's limit, or else the machine's memory.
int64_t whole_memory_bytes(pid_t);

// How much more memory may be taken where a process is, before something is killed for it.
struct Headroom {
  int64_t bytes = 0;   // reclaimable page cache and LazyFree pages included, a margin taken off; not below 0
  std::string reason;  // what is the narrowest place, with its figures
};
Headroom read_headroom(pid_t);

// The folder of the process's own memory cgroup: who writes a pid to cgroup.procs in there moves it. Absent where
// it cannot be seen.
std::optional<std::string> cgroup_folder(pid_t);

}  // namespace membudget::cli
