#include "control/cli/cgroup.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <vector>

#include "control/cli/proc.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

// Version 1 writes "no limit" as a number near 2^63.
constexpr int64_t kNoLimit = INT64_C(1) << 60;

// Where a hierarchy is mounted, and which cgroup is at its top.
struct Hierarchy {
  std::string mount_point;
  std::string root;
  const char *limit_file;
  const char *usage_file;
  const char *cache_prefix;  // of inactive_file and active_file in memory.stat, with all below included
};

bool has_word(const std::string &list, const std::string &word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

// The path of the process in the hierarchy: version 1 names its controllers, version 2 none.
std::optional<std::string> path_in(pid_t pid, bool version_2) {
  std::istringstream lines(read_file(fmt::format("/proc/{}/cgroup", pid)));
  for (std::string line; std::getline(lines, line);) {
    size_t first = line.find(':');
    size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    if (version_2 ? controllers.empty() : has_word(controllers, "memory")) return line.substr(second + 1);
  }
  return std::nullopt;
}

// One line of mountinfo: fields 4 (root) and 5 (mount point), then after " - " type, source, options.
std::optional<Hierarchy> parse_mount(const std::string &line, bool version_2) {
  size_t dash = line.find(" - ");
  if (dash == std::string::npos) return std::nullopt;
  std::istringstream before(line.substr(0, dash)), after(line.substr(dash + 3));
  std::string skipped, root, mount_point, type, source, options;
  before >> skipped >> skipped >> skipped >> root >> mount_point;
  after >> type >> source >> options;
  if (version_2 && type == "cgroup2") return Hierarchy{mount_point, root, "memory.max", "memory.current", ""};
  if (!version_2 && type == "cgroup" && has_word(options, "memory"))
    return Hierarchy{mount_point, root, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"};
  return std::nullopt;
}

std::optional<Hierarchy> find_hierarchy(bool version_2) {
  std::istringstream lines(read_file("/proc/self/mountinfo"));
  for (std::string line; std::getline(lines, line);)
    if (auto found = parse_mount(line, version_2)) return found;
  return std::nullopt;
}

std::optional<int64_t> read_number(const std::string &path) {
  std::istringstream text(read_file(path));
  int64_t number = 0;
  if (!(text >> number)) return std::nullopt;  // "max", or no such file
  return number;
}

// A container may see its own cgroup at the top of the mount, under a path that only the host knows.
std::string below_root(const std::string &path, const std::string &root) {
  if (root == "/") return path;
  if (path == root) return "/";
  return path.starts_with(root + "/") ? path.substr(root.size()) : path;
}

// One cgroup on the way from a process's own to the top.
struct Stage {
  Cgroup cgroup;
  std::string folder;
};

std::vector<Stage> stages_of(const Hierarchy &hierarchy, const std::string &own_path) {
  std::string path = below_root(own_path, hierarchy.root);
  std::vector<Stage> stages;
  for (;;) {
    std::string folder = hierarchy.mount_point + (path == "/" ? "" : path);
    auto limit = read_number(folder + "/" + hierarchy.limit_file);
    if (limit && *limit >= kNoLimit) limit.reset();
    stages.push_back({{path, limit, read_number(folder + "/" + hierarchy.usage_file)}, folder});
    if (path == "/" || path.empty()) return stages;
    path.resize(std::max<size_t>(path.rfind('/'), 1));
  }
}

std::optional<Cgroup> tightest_of(const std::vector<Stage> &stages) {
  std::optional<Cgroup> found;
  for (const auto &[cgroup, folder] : stages) {
    bool is_tighter =
        cgroup.limit_bytes && (!found || !found->limit_bytes || *cgroup.limit_bytes < *found->limit_bytes);
    if (is_tighter || (!found && cgroup.usage_bytes)) found = cgroup;
  }
  return found;
}

// A field of a file of lines "name value" or "name: value kB"; 0 where it is not there.
int64_t read_field(const std::string &path, const std::string &name) {
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string key;
    int64_t value = 0;
    if (!(fields >> key >> value) || (key != name && key != name + ":")) continue;
    std::string unit;
    return (fields >> unit) ? value * 1024 : value;
  }
  return 0;
}

int64_t margin_of(int64_t whole) { return std::max<int64_t>(16 << 20, whole / 50); }

// Where a stage has a limit: what may be taken below it.
std::optional<Headroom> headroom_of(const Stage &stage, const std::string &cache_prefix) {
  const Cgroup &cgroup = stage.cgroup;
  if (!cgroup.limit_bytes || !cgroup.usage_bytes) return std::nullopt;
  std::string statistics = stage.folder + "/memory.stat";
  int64_t cache =
      read_field(statistics, cache_prefix + "inactive_file") + read_field(statistics, cache_prefix + "active_file");
  int64_t left = *cgroup.limit_bytes - *cgroup.usage_bytes + cache - margin_of(*cgroup.limit_bytes);
  return Headroom{
      std::max<int64_t>(left, 0),
      fmt::format("memory cgroup {} has {} of its {} in use, {} of that reclaimable", printable(cgroup.path),
                  human_bytes(*cgroup.usage_bytes), human_bytes(*cgroup.limit_bytes), human_bytes(cache))};
}

Headroom machine_headroom() {
  int64_t whole = read_field("/proc/meminfo", "MemTotal"), available = read_field("/proc/meminfo", "MemAvailable");
  return {std::max<int64_t>(available - margin_of(whole), 0),
          fmt::format("the machine has {} of its {} available", human_bytes(available), human_bytes(whole))};
}

}  // namespace

std::optional<Cgroup> read_cgroup(pid_t pid) {
  for (bool version_2 : {false, true}) {
    auto path = path_in(pid, version_2);
    auto hierarchy = path ? find_hierarchy(version_2) : std::nullopt;
    auto found = hierarchy ? tightest_of(stages_of(*hierarchy, *path)) : std::nullopt;
    if (found) return found;
  }
  return std::nullopt;
}

Headroom read_headroom(pid_t pid) {
  Headroom least = machine_headroom();
  for (bool version_2 : {false, true}) {
    auto path = path_in(pid, version_2);
    auto hierarchy = path ? find_hierarchy(version_2) : std::nullopt;
    if (!hierarchy) continue;
    for (const Stage &stage : stages_of(*hierarchy, *path))
      if (auto headroom = headroom_of(stage, hierarchy->cache_prefix); headroom && headroom->bytes < least.bytes)
        least = *headroom;
  }
  return least;
}

std::optional<std::string> cgroup_folder(pid_t pid) {
  for (bool version_2 : {false, true}) {
    auto path = path_in(pid, version_2);
    auto hierarchy = path ? find_hierarchy(version_2) : std::nullopt;
    if (!hierarchy) continue;
    Stage own = stages_of(*hierarchy, *path).front();
    if (own.cgroup.usage_bytes) return own.folder;
  }
  return std::nullopt;
}

int64_t whole_memory_bytes(pid_t pid) {
  int64_t machine = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  auto cgroup = read_cgroup(pid);
  return cgroup && cgroup->limit_bytes && *cgroup->limit_bytes < machine ? *cgroup->limit_bytes : machine;
}

}  // namespace membudget::cli
