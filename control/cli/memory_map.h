// Where a process's anonymous memory is: its mappings sorted by what uses them, from /proc/PID/smaps.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace membudget::cli {

// Resident anonymous bytes of each kind, without what was given back with MADV_FREE. Together they are the
// process's anonymous memory less LazyFree.
struct MemoryMap {
  int64_t heap_bytes = 0;                   // the allocator's, and what the program maps in the ordinary way
  int64_t stack_bytes = 0;                  // the main thread's and all others'
  int64_t file_bytes = 0;                   // written pages of programs and libraries
  int64_t runtime_bytes = 0;                // heaps and code that never came through malloc or a counted mmap
  std::string runtime;                      // whose they probably are: "V8 (node)", "a JIT or a garbage collector"
  bool has_python = false;                  // CPython is in the process, so arenas of pymalloc may be
  std::vector<std::string> own_allocators;  // malloc libraries linked into the program and its libraries
};

// `allocator` is the one that the process runs on. Takes the process's mmap lock for reading, as smaps_rollup
// does. Absent where it cannot be read.
std::optional<MemoryMap> read_memory_map(pid_t, const std::string &allocator);

}  // namespace membudget::cli
