#include "control/cli/library.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "control/cli/command.h"

namespace membudget::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char *kFileName = "libmembudget.so";

bool is_readable(const fs::path &path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && access(path.c_str(), R_OK) == 0;
}

// LD_PRELOAD is split at blanks and colons, and has no way to quote them.
std::string checked(const fs::path &path) {
  std::string text = fs::canonical(path).string();
  if (text.find_first_of(": \t\n") == std::string::npos) return text;
  throw Failure{kUsage, fmt::format("'{}' cannot be preloaded: its path has a blank or a colon in it; move or link "
                                    "the library to a path without, and set MEMBUDGET_LIBRARY",
                                    text)};
}

}  // namespace

std::string own_path() {
  std::error_code error;
  fs::path path = fs::read_symlink("/proc/self/exe", error);
  if (error) throw Failure{kFailed, "cannot read /proc/self/exe: is /proc mounted?"};
  return path.string();
}

std::string find_library() {
  if (const char *given = getenv("MEMBUDGET_LIBRARY"); given && *given) {
    if (is_readable(given)) return checked(given);
    throw Failure{kUsage,
                  fmt::format("MEMBUDGET_LIBRARY={} is no readable file; set it to the path of {}", given, kFileName)};
  }
  fs::path here = fs::path(own_path()).parent_path();
  std::vector<fs::path> folders = {here / ".." / MEMBUDGET_LIBDIR, here / "../lib" / MEMBUDGET_MULTIARCH,
                                   here / "../lib", here / "../lib64"};
  if (here.parent_path().filename() == "control") folders = {here / "../../preload"};  // where it was built
  for (const fs::path &folder : folders)
    if (is_readable(folder / kFileName)) return checked(folder / kFileName);
  throw Failure{kUsage, fmt::format("cannot find {} in {}; install or build membudget whole, or set "
                                    "MEMBUDGET_LIBRARY to its path",
                                    kFileName, folders[0].lexically_normal().string())};
}

}  // namespace membudget::cli
