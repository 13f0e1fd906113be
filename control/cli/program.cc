#include "control/cli/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "control/cli/command.h"
#include "control/cli/elf_file.h"
#include "control/cli/own_malloc.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

constexpr int kInterpreterDepth = 5;  // as many as the kernel follows

[[noreturn]] void refuse(const std::string &path, const char *id, const std::string &reason, const char *advice) {
  std::string what = fmt::format("'{}' cannot run under membudget: {}", printable(path), reason);
  throw Unpreloadable{{kUsage, what + "; " + advice}, id, what, advice};
}

enum class Presence { runnable, forbidden, missing };

Presence presence_of(const std::string &path) {
  struct stat about {};
  if (stat(path.c_str(), &about) != 0) return errno == EACCES ? Presence::forbidden : Presence::missing;
  if (!S_ISREG(about.st_mode)) return Presence::forbidden;
  return access(path.c_str(), X_OK) == 0 ? Presence::runnable : Presence::forbidden;
}

[[noreturn]] void fail_to_find(const std::string &command, bool was_forbidden) {
  std::error_code error;
  if (was_forbidden && std::filesystem::is_directory(command, error))
    throw Failure{kNotExecutable, fmt::format("'{}' is a directory, not a command", printable(command))};
  if (was_forbidden)
    throw Failure{kNotExecutable, fmt::format("'{}' may not be executed: permission denied", printable(command))};
  const char *where = command.find('/') == std::string::npos ? "no such command in PATH" : "no such file";
  throw Failure{kNotFound, fmt::format("'{}': {}", printable(command), where)};
}

// Whether the kernel would give the program other rights than ours, and the loader drop LD_PRELOAD for it.
void check_privileges(const std::string &path) {
  struct stat about {};
  struct statvfs system {};
  if (stat(path.c_str(), &about) != 0) return;
  bool kernel_ignores_them = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
                             (statvfs(path.c_str(), &system) == 0 && (system.f_flag & ST_NOSUID) != 0);
  if (kernel_ignores_them) return;
  constexpr const char *kWhy = "so the loader ignores LD_PRELOAD for it";
  constexpr const char *kAdvice =
      "run it as the user it changes to, or start under membudget the program that it starts";
  if ((about.st_mode & S_ISUID) != 0 && about.st_uid != geteuid())
    refuse(path, "set-uid", fmt::format("it is set-uid, {}", kWhy), kAdvice);
  bool sets_group = (about.st_mode & S_ISGID) != 0 && (about.st_mode & S_IXGRP) != 0;
  if (sets_group && about.st_gid != getegid()) refuse(path, "set-gid", fmt::format("it is set-gid, {}", kWhy), kAdvice);
  if (getuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0)
    refuse(path, "file-capabilities", fmt::format("it has file capabilities, {}", kWhy), kAdvice);
}

void check_elf(const std::string &path, const ElfFile &elf) {
  const ElfFile own = read_elf("/proc/self/exe");
  constexpr const char *kOtherBuild = "use a membudget that was built for the same machine as the program";
  if (elf.elf_class != own.elf_class)
    refuse(path, "architecture",
           fmt::format("it is a {}-bit program, and this membudget is for {}-bit ones",
                       elf.elf_class == ELFCLASS32 ? 32 : 64, own.elf_class == ELFCLASS32 ? 32 : 64),
           kOtherBuild);
  if (elf.machine != own.machine)
    refuse(path, "architecture", "it is a program for another processor than this membudget's", kOtherBuild);
  std::string name = std::filesystem::path(path).filename();
  bool is_loader = name.starts_with("ld-linux") || name.starts_with("ld.so") || name.starts_with("ld64.so");
  if (elf.interpreter.empty() && !is_loader)
    refuse(path, "static", "it is statically linked, so no library can be preloaded", "build it with dynamic linking");
  if (elf.interpreter.find("/ld-musl-") != std::string::npos)
    refuse(path, "musl", "it is linked with musl, and libmembudget.so is for the GNU C library",
           "build it with the GNU C library");
  std::string sanitizer = needed_sanitizer(path);
  if (!sanitizer.empty())
    refuse(
        path, "sanitizer",
        fmt::format("it is built with the AddressSanitizer, and {} ends it when any library is preloaded", sanitizer),
        "build it without -fsanitize=address");
}

}  // namespace

std::string find_program(const std::string &command, const Environment &environment) {
  if (command.empty()) fail_to_find(command, false);
  if (command.find('/') != std::string::npos) {
    Presence presence = presence_of(command);
    if (presence != Presence::runnable) fail_to_find(command, presence == Presence::forbidden);
    return command;
  }
  std::string path = environment.get("PATH").value_or("/usr/local/bin:/usr/bin:/bin");
  bool was_forbidden = false;
  for (size_t start = 0; start <= path.size();) {
    size_t end = std::min(path.find(':', start), path.size());
    std::string folder = path.substr(start, end - start);
    std::string candidate = folder.empty() ? command : folder + "/" + command;
    Presence presence = presence_of(candidate);
    if (presence == Presence::runnable) return candidate.find('/') == std::string::npos ? "./" + candidate : candidate;
    was_forbidden |= presence == Presence::forbidden;
    start = end + 1;
  }
  fail_to_find(command, was_forbidden);
}

void check_program(const std::string &path) {
  std::string file = path;
  for (int depth = 0; depth <= kInterpreterDepth; ++depth) {
    FileHead head = read_head(file);
    if (head.kind == FileHead::elf) {
      check_privileges(file);
      return check_elf(file, read_elf(file));
    }
    if (head.kind != FileHead::script) return;
    if (presence_of(head.interpreter) != Presence::runnable)
      throw Failure{kNotExecutable, fmt::format("'{}': its interpreter '{}' cannot be run", printable(file),
                                                printable(head.interpreter))};
    file = head.interpreter;
  }
}

}  // namespace membudget::cli
