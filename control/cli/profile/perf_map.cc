#include "control/cli/profile/perf_map.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "control/cli/text.h"

namespace membudget::cli::profile {

PerfMap::PerfMap(pid_t pid) {
  std::ifstream file(fmt::format("/tmp/perf-{}.map", pid));
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    uint64_t start = 0, bytes = 0;
    if (!(words >> std::hex >> start >> bytes >> std::ws)) continue;
    std::string name;
    std::getline(words, name);
    code_.insert_or_assign(start, Code{start + bytes, printable(name)});  // later ones are newer
  }
}

std::string PerfMap::name_of(uint64_t address) const {
  auto next = code_.upper_bound(address);
  if (next == code_.begin()) return "";
  const Code &code = std::prev(next)->second;
  return address < code.end ? code.name : "";
}

}  // namespace membudget::cli::profile
