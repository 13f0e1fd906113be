// The map of code compiled at run time that runtimes write for perf (node --perf-basic-prof, a java agent).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

namespace membudget::cli::profile {

class PerfMap {
 public:
  // Reads /tmp/perf-PID.map, if there is one.
  explicit PerfMap(pid_t);

  // The function at an address; empty where there is none.
  std::string name_of(uint64_t address) const;

 private:
  struct Code {
    uint64_t end;
    std::string name;
  };
  std::map<uint64_t, Code> code_;  // by start
};

}  // namespace membudget::cli::profile
