// What is the matter here: settings, loader, allocators, shared memory, limits.
#include <errno.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <membudget/abi.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "control/cli/cgroup.h"
#include "control/cli/command.h"
#include "control/cli/doctor.h"
#include "control/cli/library.h"
#include "control/cli/limits.h"
#include "control/cli/own_malloc.h"
#include "control/cli/probe.h"
#include "control/cli/proc.h"
#include "control/cli/target.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLeastFreeBytes = 1 << 20;  // in the blocks' folder; a process takes about 64 KiB

std::string value_of(const Environment &environment, const char *name) { return environment.get(name).value_or(""); }

std::string folder_of(const Environment &environment) {
  std::string folder = value_of(environment, "MEMBUDGET_DIR");
  return folder.empty() ? MEMBUDGET_DEFAULT_DIR : folder;
}

std::vector<std::string> split(const std::string &list) {
  std::vector<std::string> words;
  for (size_t start = 0; start < list.size();) {
    size_t end = std::min(list.find_first_of(": \t\n", start), list.size());
    if (end > start) words.push_back(list.substr(start, end - start));
    start = end + 1;
  }
  return words;
}

bool is_ours(const std::string &library) { return fs::path(library).filename() == "libmembudget.so"; }

// How to ask for what was preloaded: by its name, where the library knows it.
std::string allocator_of(const std::string &library) {
  std::string file = fs::path(library).filename();
  for (const auto &[prefix, name] :
       {std::pair{"libjemalloc", "jemalloc"}, {"libmimalloc", "mimalloc"}, {"libtcmalloc", "tcmalloc"}})
    if (file.starts_with(prefix)) return name;
  return library;
}

// Other libraries that are preloaded: those before ours, and those with a malloc.
void examine_preloads(const Environment &environment, Diagnosis *out) {
  std::vector<std::string> libraries = split(value_of(environment, "LD_PRELOAD"));
  bool has_ours = std::any_of(libraries.begin(), libraries.end(), is_ours);
  for (const std::string &library : libraries) {
    if (is_ours(library)) {
      has_ours = false;  // what follows comes after it
      continue;
    }
    bool has_malloc = find_own_malloc(library).defines_malloc;
    if (has_ours || has_malloc)
      out->findings.push_back(
          {"preload",
           fmt::format("LD_PRELOAD has '{}'{}{}", library, has_ours ? " before libmembudget.so" : "",
                       has_malloc ? ", which defines malloc: only the first one is used" : ""),
           has_malloc ? fmt::format("take it out of LD_PRELOAD, and set MEMBUDGET_ALLOCATOR={}", allocator_of(library))
                      : "put libmembudget.so first, as `membudget run` does"});
  }
  for (const std::string &library : split(read_file("/etc/ld.so.preload")))
    if (find_own_malloc(library).defines_malloc)
      out->findings.push_back({"preload", fmt::format("/etc/ld.so.preload has '{}', which defines malloc", library),
                               "take it out, and choose the allocator by MEMBUDGET_ALLOCATOR"});
}

void examine_audit(const Environment &environment, Diagnosis *out) {
  std::string audit = value_of(environment, "LD_AUDIT");
  if (!audit.empty())
    out->findings.push_back({"audit",
                             fmt::format("LD_AUDIT={}: the auditing library runs with a C library and a malloc of "
                                         "its own, which are not counted, and slows every call between libraries",
                                         audit),
                             "unset LD_AUDIT"});
}

// Where the library is may be mounted noexec: then the loader refuses it. What there is of the blocks is not
// executed.
bool examine_library(Diagnosis *out) {
  std::string library;
  try {
    library = find_library();
  } catch (const Failure &failure) {
    out->findings.push_back({"library", failure.message, "install membudget whole"});
    return false;
  }
  struct statvfs system {};
  if (statvfs(library.c_str(), &system) == 0 && (system.f_flag & ST_NOEXEC) != 0)
    out->findings.push_back({"noexec",
                             fmt::format("'{}' is on a file system mounted noexec: it cannot be loaded", library),
                             "install it on another, and set MEMBUDGET_LIBRARY to its path"});
  return true;
}

// Whether blocks can be made in the folder.
bool examine_folder(const std::string &folder, Diagnosis *out) {
  auto found = [&](const char *id, const std::string &what, const std::string &advice) {
    out->findings.push_back({id, fmt::format("MEMBUDGET_DIR={}: {}", folder, what), advice});
    return false;
  };
  struct stat about {};
  if (folder[0] != '/') return found("directory", "not an absolute path", "give one, like /dev/shm");
  if (stat(folder.c_str(), &about) != 0 || !S_ISDIR(about.st_mode))
    return found("directory", "no such folder", "make it, or unset MEMBUDGET_DIR for /dev/shm");
  if (access(folder.c_str(), R_OK | W_OK | X_OK) != 0)
    return found("directory", "it cannot be written by this user",
                 "chmod it, or set MEMBUDGET_DIR to a folder of yours");
  struct statvfs system {};
  if (statvfs(folder.c_str(), &system) != 0) return true;
  uint64_t free_bytes = uint64_t{system.f_bavail} * system.f_frsize;
  if (free_bytes < kLeastFreeBytes)
    return found("directory-full",
                 fmt::format("only {} are free there, and each process takes about 64 KiB",
                             human_bytes(static_cast<int64_t>(free_bytes))),
                 "make it larger (docker run --shm-size), or set MEMBUDGET_DIR to another tmpfs");
  if ((system.f_flag & ST_NOEXEC) != 0)
    out->notes.push_back(fmt::format("{} is mounted noexec, which does no harm: blocks are not executed", folder));
  return true;
}

bool is_block(const std::string &name) {
  return name.starts_with(MEMBUDGET_FILE_PREFIX) && name.size() > strlen(MEMBUDGET_FILE_PREFIX);
}

std::string user_name(uid_t user) {
  const passwd *entry = getpwuid(user);
  return entry ? entry->pw_name : std::to_string(user);
}

// A group's name belongs to whoever made its block first; without a name it is a pid, which comes again.
void examine_strangers(const std::string &folder, const std::string &name, Diagnosis *out) {
  std::vector<std::string> strangers;
  std::error_code error;
  for (const auto &entry : fs::directory_iterator(folder, error)) {
    std::string file = entry.path().filename();
    struct stat about {};
    if (!is_block(file) || lstat(entry.path().c_str(), &about) != 0 || about.st_uid == geteuid()) continue;
    strangers.push_back(fmt::format("{} ({}'s)", file, user_name(about.st_uid)));
    if (!name.empty() && file == MEMBUDGET_FILE_PREFIX + name)
      out->findings.push_back(
          {"name-taken",
           fmt::format("the group's name '{}' is taken by a block of user {}", name, user_name(about.st_uid)),
           "set MEMBUDGET_NAME to another, or MEMBUDGET_DIR to a folder of yours"});
  }
  if (strangers.empty()) return;
  size_t count = strangers.size();
  strangers.resize(std::min<size_t>(count, 5));
  out->findings.push_back({"other-users",
                           fmt::format("{} has {} of other users: {}{}. Groups of those names cannot be joined", folder,
                                       count == 1 ? "a block" : fmt::format("{} blocks", count),
                                       fmt::join(strangers, ", "), count > strangers.size() ? ", ..." : ""),
                           "set MEMBUDGET_DIR to a folder for each user, like $XDG_RUNTIME_DIR"});
}

// Tries settings out in a program that does nothing.
void examine_settings(const Environment &environment, Diagnosis *out) {
  Environment wanted = environment;
  preload(&wanted, find_library());
  for (const std::string &error : try_settings(wanted))
    out->findings.push_back({"settings", error, "see `membudget run --help` for what is allowed"});
}

// The allocators that are loaded when they are asked for; the one that is set has been tried out already.
void examine_allocators(const Environment &environment, Diagnosis *out) {
  char folder[] = "/tmp/membudget-doctor-XXXXXX";
  if (!mkdtemp(folder)) return;
  for (const char *name : {"mimalloc", "tcmalloc"}) {
    if (value_of(environment, "MEMBUDGET_ALLOCATOR") == name) continue;
    Environment wanted = environment;
    for (const char *variable : {"LIMIT", "LOW", "MEDIUM", "RELEASE", "HARD_LIMIT", "MEASURE", "NAME", "CHILDREN",
                                 "MMAP_THRESHOLD", "TRIM_THRESHOLD", "ARENAS", "PYTHONMALLOC", "PROFILE", "LOG"})
      wanted.unset(std::string("MEMBUDGET_") + variable);
    wanted.set("MEMBUDGET_ALLOCATOR", name);
    wanted.set("MEMBUDGET_DIR", folder);
    preload(&wanted, find_library());
    for (const std::string &error : try_settings(wanted))
      out->findings.push_back(
          {"allocator-missing", error, "install its package, or do without it: the others are not affected"});
  }
  std::error_code error;
  fs::remove_all(folder, error);
}

void examine_limit(const Environment &environment, const char *variable, Diagnosis *out) {
  membudget_amount amount{};
  std::string text = value_of(environment, variable);
  if (text.empty() || membudget_parse_amount(text.c_str(), &amount) != 0) return;
  int64_t whole = whole_memory_bytes(getpid()), limit = parse_size(variable, text, whole);
  auto cgroup = read_cgroup(getpid());
  bool is_cgroups = cgroup && cgroup->limit_bytes && *cgroup->limit_bytes == whole;
  if (limit > whole)
    out->findings.push_back(
        {"limit-above-cgroup",
         fmt::format("{}={} is above {} of {}: the kernel would kill before the budget is crossed", variable, text,
                     is_cgroups ? "the memory cgroup's limit" : "the machine's memory", human_bytes(whole)),
         "set it to 90% or less"});
}

void examine_hard_limit(const Environment &environment, Diagnosis *out) {
  if (std::string warning = hard_limit_warning(environment); !warning.empty())
    out->findings.push_back({"hard-limit-below-limit", warning, "set MEMBUDGET_HARD_LIMIT above MEMBUDGET_LIMIT"});
}

// What the shell's limits leave: allocators reserve more address space than they use.
void examine_resource(__rlimit_resource resource, const char *flag, const char *what, Diagnosis *out) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  out->findings.push_back(
      {"ulimit",
       fmt::format("ulimit {} limits the {} to {}: allocations fail there, whatever the budget "
                   "says, and allocators reserve more than they use",
                   flag, what, human_bytes(static_cast<int64_t>(limit.rlim_cur))),
       fmt::format("ulimit {} unlimited, and set MEMBUDGET_HARD_LIMIT where allocations are to fail", flag)});
}

void examine_kernel(Diagnosis *out) {
  examine_resource(RLIMIT_AS, "-v", "address space", out);
  examine_resource(RLIMIT_DATA, "-d", "data segment", out);
  rlimit files{};
  if (getrlimit(RLIMIT_FSIZE, &files) == 0 && files.rlim_cur < MEMBUDGET_BLOCK_BYTES)
    out->findings.push_back({"ulimit",
                             fmt::format("ulimit -f is below the {} of a block", human_bytes(MEMBUDGET_BLOCK_BYTES)),
                             "ulimit -f unlimited"});
  if (read_file("/proc/sys/vm/overcommit_memory").starts_with("2"))
    out->findings.push_back({"overcommit",
                             "vm.overcommit_memory is 2: what allocators reserve counts as used, so allocations may "
                             "fail long before the budget is crossed",
                             "sysctl vm.overcommit_memory=0, or raise vm.overcommit_ratio"});
}

}  // namespace

void examine_place(const Environment &environment, Diagnosis *out) {
  std::string folder = folder_of(environment);
  examine_preloads(environment, out);
  examine_audit(environment, out);
  examine_limit(environment, "MEMBUDGET_LIMIT", out);
  examine_limit(environment, "MEMBUDGET_HARD_LIMIT", out);
  examine_hard_limit(environment, out);
  examine_kernel(out);
  bool has_library = examine_library(out);
  bool has_folder = examine_folder(folder, out);
  if (has_folder) examine_strangers(folder, value_of(environment, "MEMBUDGET_NAME"), out);
  if (has_library && has_folder) examine_settings(environment, out);
  if (has_library) examine_allocators(environment, out);
}

}  // namespace membudget::cli
