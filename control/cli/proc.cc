#include "control/cli/proc.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace membudget::cli {
namespace {

std::string proc_path(pid_t pid, const char *file) { return fmt::format("/proc/{}/{}", pid, file); }

void add_line(const std::string &key, int64_t bytes, ProcessMemory *out) {
  if (key == "Private_Dirty:" || key == "Private_Hugetlb:") out->private_dirty_bytes += bytes;
  if (key == "Rss:")
    out->rss_bytes += bytes;
  else if (key == "Pss:")
    out->pss_bytes += bytes;
  else if (key == "Private_Clean:" || key == "Private_Dirty:" || key == "Private_Hugetlb:")
    out->uss_bytes += bytes;
  else if (key == "Anonymous:")
    out->anonymous_bytes += bytes;
  else if (key == "Pss_Anon:")
    out->pss_anonymous_bytes += bytes;
  else if (key == "LazyFree:")
    out->lazy_free_bytes += bytes;
  else if (key == "Swap:")
    out->swap_bytes += bytes;
}

}  // namespace

std::string read_file(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return text.str();
}

std::optional<ProcessMemory> read_memory(pid_t pid) {
  std::string text = read_file(proc_path(pid, "smaps_rollup"));
  if (text.empty()) text = read_file(proc_path(pid, "smaps"));
  if (text.empty()) return std::nullopt;
  ProcessMemory memory;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string key, unit;
    int64_t kilobytes = 0;
    if (fields >> key >> kilobytes >> unit && unit == "kB") add_line(key, kilobytes * 1024, &memory);
  }
  return memory;
}

std::optional<ProcessStat> read_stat(pid_t pid) {
  std::string text = read_file(proc_path(pid, "stat"));
  size_t end_of_name = text.rfind(')');
  if (end_of_name == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(end_of_name + 1));
  ProcessStat stat;
  std::string value;
  for (int field = 3; field <= 20 && fields >> value; ++field) {
    uint64_t number = strtoull(value.c_str(), nullptr, 10);
    if (field == 10) stat.minor_faults = number;
    if (field == 12) stat.major_faults = number;
    if (field == 20) stat.threads = number;
  }
  return stat;
}

std::optional<int64_t> read_rss(pid_t pid) {
  std::istringstream fields(read_file(proc_path(pid, "statm")));
  int64_t size = 0, resident = 0;
  if (!(fields >> size >> resident)) return std::nullopt;
  return resident * sysconf(_SC_PAGESIZE);
}

std::string read_process_name(pid_t pid) {
  std::string name = read_file(proc_path(pid, "comm"));
  return name.substr(0, name.find('\n'));
}

}  // namespace membudget::cli
