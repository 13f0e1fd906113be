// What the kernel says about a process, from /proc. All of it absent where it cannot be read, and for the pid 0, which is
// that of a process that cannot be seen from this pid namespace.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace membudget::cli {

struct ProcessMemory {
  int64_t rss_bytes = 0;
  int64_t pss_bytes = 0;            // shared pages divided among those that share them
  int64_t uss_bytes = 0;            // pages of this process alone
  int64_t private_dirty_bytes = 0;  // of those, the ones that were written: no file's
  int64_t anonymous_bytes = 0;
  int64_t pss_anonymous_bytes = 0;  // shared ones divided, as in pss_bytes; 0 on kernels before 5.5
  int64_t lazy_free_bytes = 0;      // given back with MADV_FREE, not yet taken
  int64_t swap_bytes = 0;
};

// From smaps_rollup, or smaps where the kernel is older than 4.14. Takes the process's mmap lock for
// reading: about 15 ms for 360 MB of RSS.
std::optional<ProcessMemory> read_memory(pid_t);

struct ProcessStat {
  uint64_t minor_faults = 0;
  uint64_t major_faults = 0;
  uint64_t threads = 0;
};
std::optional<ProcessStat> read_stat(pid_t);

// Resident bytes from statm: cheap, but recent kernels sum it up roughly.
std::optional<int64_t> read_rss(pid_t);

// The short name of a process ("python3"), whoever's it is; empty when there is no such process.
std::string read_process_name(pid_t);

// A whole file, empty when it cannot be read.
std::string read_file(const std::string &path);

}  // namespace membudget::cli
