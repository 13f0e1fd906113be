#include "control/cli/cgroup.h"

#include <fmt/format.h>
#include <unistd.h>

#include <sstream>

#include "control/cli/proc.h"

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
  if (version_2 && type == "cgroup2") return Hierarchy{mount_point, root, "memory.max", "memory.current"};
  if (!version_2 && type == "cgroup" && has_word(options, "memory"))
    return Hierarchy{mount_point, root, "memory.limit_in_bytes", "memory.usage_in_bytes"};
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

std::optional<Cgroup> read_from(const Hierarchy &hierarchy, const std::string &own_path) {
  std::string path = below_root(own_path, hierarchy.root);
  std::optional<Cgroup> found;
  for (;;) {
    std::string folder = hierarchy.mount_point + (path == "/" ? "" : path);
    auto limit = read_number(folder + "/" + hierarchy.limit_file);
    auto usage = read_number(folder + "/" + hierarchy.usage_file);
    if (limit && *limit >= kNoLimit) limit.reset();
    bool is_tighter = limit && (!found || !found->limit_bytes || *limit < *found->limit_bytes);
    if (is_tighter || (!found && usage)) found = Cgroup{path, limit, usage};
    if (path == "/" || path.empty()) return found;
    path.resize(std::max<size_t>(path.rfind('/'), 1));
  }
}

}  // namespace

std::optional<Cgroup> read_cgroup(pid_t pid) {
  for (bool version_2 : {false, true}) {
    auto path = path_in(pid, version_2);
    auto hierarchy = path ? find_hierarchy(version_2) : std::nullopt;
    auto found = hierarchy ? read_from(*hierarchy, *path) : std::nullopt;
    if (found) return found;
  }
  return std::nullopt;
}

int64_t whole_memory_bytes(pid_t pid) {
  int64_t machine = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  auto cgroup = read_cgroup(pid);
  return cgroup && cgroup->limit_bytes && *cgroup->limit_bytes < machine ? *cgroup->limit_bytes : machine;
}

}  // namespace membudget::cli
