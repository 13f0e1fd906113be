#include "control/cli/memory_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>

#include "control/cli/own_malloc.h"
#include "control/cli/proc.h"

namespace membudget::cli {
namespace {

constexpr uint64_t kGoArenas = UINT64_C(0xc000000000);  // where Go's heap begins on 64-bit Linux
constexpr uint64_t kGoArenasEnd = UINT64_C(0xe000000000);
constexpr uint64_t kMostGuardBytes = 1 << 20;  // below a thread's stack; larger ones are reservations

struct Mapping {
  uint64_t start = 0, end = 0;
  std::string permissions, name;
  bool is_unreserved = false;  // MAP_NORESERVE
  int64_t anonymous_bytes = 0, lazy_free_bytes = 0;
};

// "start-end permissions offset device inode   name"; false for any other line.
bool parse_header(const std::string &line, Mapping *out) {
  unsigned long start = 0, end = 0;
  char permissions[8] = "";
  int name_at = 0;
  if (sscanf(line.c_str(), "%lx-%lx %7s %*s %*s %*s %n", &start, &end, permissions, &name_at) < 3) return false;
  *out = {start, end, permissions, name_at > 0 ? line.substr(static_cast<size_t>(name_at)) : "", false, 0, 0};
  return true;
}

std::vector<Mapping> read_mappings(pid_t pid) {
  std::vector<Mapping> mappings;
  std::istringstream lines(read_file(fmt::format("/proc/{}/smaps", pid)));
  for (std::string line; std::getline(lines, line);) {
    Mapping next;
    long kilobytes = 0;
    if (parse_header(line, &next))
      mappings.push_back(next);
    else if (mappings.empty())
      continue;
    else if (sscanf(line.c_str(), "Anonymous: %ld", &kilobytes) == 1)
      mappings.back().anonymous_bytes = int64_t{kilobytes} * 1024;
    else if (sscanf(line.c_str(), "LazyFree: %ld", &kilobytes) == 1)
      mappings.back().lazy_free_bytes = int64_t{kilobytes} * 1024;
    else if (line.starts_with("VmFlags:"))
      mappings.back().is_unreserved = (line + " ").find(" nr ") != std::string::npos;
  }
  return mappings;
}

bool is_file(const Mapping &mapping) { return mapping.name.starts_with('/'); }

// glibc puts a small guard directly below a thread's stack; its arenas have theirs above.
bool is_thread_stack(const Mapping &mapping, const Mapping *before) {
  return mapping.name.empty() && mapping.permissions == "rw-p" && before && before->permissions == "---p" &&
         before->name.empty() && before->end == mapping.start && before->end - before->start <= kMostGuardBytes;
}

// What libraries say about whose heap it is that malloc does not see.
const char *runtime_of_file(const std::string &file) {
  std::string name = std::filesystem::path(file).filename();
  if (name.starts_with("libjvm.so")) return "Java's heap and compiled code";
  if (name == "node" || name == "nodejs" || name.starts_with("libnode.so")) return "V8's heap and compiled code (node)";
  if (name.starts_with("libcoreclr.so") || name.starts_with("libmono")) return ".NET's heap and compiled code";
  if (name.starts_with("libluajit")) return "LuaJIT's heap and compiled code";
  if (name.starts_with("libjavascriptcoregtk")) return "JavaScriptCore's heap and compiled code";
  if (name.starts_with("libruby")) return "Ruby's heap and compiled code";
  return nullptr;
}

bool is_python(const std::string &file) {
  std::string name = std::filesystem::path(file).filename();
  return name.starts_with("libpython") || name.starts_with("python");
}

// Of the allocators, these two leave MAP_NORESERVE away; with the others it says nothing.
bool reserves_its_memory(const std::string &allocator) { return allocator == "ptmalloc" || allocator == "tcmalloc"; }

bool is_runtime(const Mapping &mapping, bool unreserved_is_foreign) {
  bool is_code = mapping.name.empty() && mapping.permissions[2] == 'x';
  bool is_go = mapping.start >= kGoArenas && mapping.start < kGoArenasEnd;
  bool is_named = mapping.name.starts_with("[anon:") && mapping.name.find("malloc") == std::string::npos;
  return is_code || is_go || is_named || (mapping.is_unreserved && unreserved_is_foreign);
}

void add(const Mapping &mapping, const Mapping *before, bool unreserved_is_foreign, MemoryMap *map) {
  int64_t bytes = mapping.anonymous_bytes - mapping.lazy_free_bytes;
  if (is_file(mapping))
    map->file_bytes += bytes;
  else if (mapping.name.starts_with("[stack") || is_thread_stack(mapping, before))
    map->stack_bytes += bytes;
  else if (is_runtime(mapping, unreserved_is_foreign))
    map->runtime_bytes += bytes;
  else
    map->heap_bytes += bytes;
}

// Files are looked into by way of the process's own root, which may be a container's.
void name_owners(pid_t pid, const std::set<std::string> &files, MemoryMap *map) {
  for (const std::string &file : files) {
    map->has_python |= is_python(file);
    if (const char *runtime = runtime_of_file(file)) map->runtime = runtime;
    if (file.find("/libmembudget.so") != std::string::npos) continue;  // has a jemalloc of its own, counted
    OwnMalloc own = find_own_malloc(fmt::format("/proc/{}/root{}", pid, file));
    if (own.runtime == "Go's runtime" && map->runtime.empty()) map->runtime = own.runtime;
    std::string name = std::filesystem::path(file).filename();
    bool is_allocator = own.defines_malloc && (name.starts_with("libjemalloc") || name.starts_with("libmimalloc") ||
                                               name.starts_with("libtcmalloc"));
    if (!own.runtime.empty() && !is_allocator) map->own_allocators.push_back(fmt::format("{} ({})", own.runtime, name));
  }
  if (map->runtime.empty()) map->runtime = "a JIT's or garbage collector's heap";
}

}  // namespace

std::optional<MemoryMap> read_memory_map(pid_t pid, const std::string &allocator) {
  std::vector<Mapping> mappings = read_mappings(pid);
  if (mappings.empty()) return std::nullopt;
  MemoryMap map;
  std::set<std::string> files;
  for (size_t i = 0; i < mappings.size(); ++i) {
    add(mappings[i], i > 0 ? &mappings[i - 1] : nullptr, reserves_its_memory(allocator), &map);
    if (is_file(mappings[i]) && mappings[i].permissions[2] == 'x') files.insert(mappings[i].name);
  }
  constexpr int64_t kWorthNaming = 4 << 20;  // below it, files need not be searched
  if (map.heap_bytes + map.runtime_bytes >= kWorthNaming) name_owners(pid, files, &map);
  return map;
}

}  // namespace membudget::cli
