#include "control/cli/probe.h"

#include <errno.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "control/cli/command.h"
#include "control/cli/library.h"
#include "control/cli/target.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

constexpr int kNotPreloaded = 3;

bool is_valid_name(const std::string &name) {
  return !name.empty() && name.size() <= MEMBUDGET_NAME_MAX &&
         name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
             std::string::npos;
}

// A valid name is replaced, so that a running group of that name is not disturbed; a broken one stays, to be
// reported. Errors are to be seen, and nothing else, whatever MEMBUDGET_LOG says, and whoever has seen them before.
Environment probe_environment(const Environment &wanted, const std::string &name) {
  Environment environment = wanted;
  if (is_valid_name(wanted.get("MEMBUDGET_NAME").value_or("x"))) environment.set("MEMBUDGET_NAME", name);
  std::string log = wanted.get("MEMBUDGET_LOG").value_or("");
  if (log == "quiet" || log == "info") environment.set("MEMBUDGET_LOG", "warn");
  environment.unset("MEMBUDGET_TOLD");
  return environment;
}

// What the library says of a block that it cannot make is about the command that it is in: here, one that nobody asked
// for. "MEMBUDGET_DIR=/x: no block for probe-7 there (WHY): only this process sees its budget".
std::string in_our_words(std::string line) {
  size_t start = line.find(": no block for probe-"), end = line.find(" there (", start),
         after = line.find("): only ", end);
  if (start == std::string::npos || after == std::string::npos) return line;
  line.resize(after + 1);
  return line.replace(start, end - start, ": no block can be made");
}

// Runs the probe, its standard error being `errors_fd`, and returns its exit status, or -1 when it died.
int run_probe(const Environment &environment, const std::string &program, int errors_fd) {
  pid_t child = fork();
  if (child < 0) throw Failure{kFailed, fmt::format("cannot start a process: {}", strerror(errno))};
  if (child == 0) {
    dup2(errors_fd, STDERR_FILENO);
    char *arguments[] = {const_cast<char *>("membudget"), const_cast<char *>(kProbeCommand), nullptr};
    execve(program.c_str(), arguments, environment.pointers().data());
    _exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void remove_block(const Environment &environment, const std::string &name) {
  std::string folder = environment.get("MEMBUDGET_DIR").value_or("");
  unlink(fmt::format("{}/" MEMBUDGET_FILE_PREFIX "{}", folder.empty() ? MEMBUDGET_DEFAULT_DIR : folder, name).c_str());
}

int probe(const Environment &wanted, int errors_fd) {
  std::string name = fmt::format("probe-{}", getpid());
  Environment environment = probe_environment(wanted, name);
  int status = run_probe(environment, own_path(), errors_fd);
  remove_block(environment, name);
  return status;
}

// What a status means that the library has not explained.
std::string meaning(int status, const Environment &wanted) {
  if (status == kNotPreloaded)
    return fmt::format("{} was not loaded or did not start in this environment",
                       wanted.get("LD_PRELOAD").value_or("the library"));
  return "a program that does nothing did not survive these settings and preloaded libraries";
}

// A temporary file without a name.
struct Capture {
  FILE *file = tmpfile();
  ~Capture() {
    if (file) fclose(file);
  }
  std::string text() const {
    std::string text(65536, '\0');
    ssize_t length = pread(fileno(file), text.data(), text.size(), 0);
    text.resize(length > 0 ? static_cast<size_t>(length) : 0);
    return text;
  }
};

}  // namespace

std::vector<std::string> try_settings(const Environment &wanted) {
  Capture errors;
  if (!errors.file) throw Failure{kFailed, "cannot make a temporary file in /tmp"};
  int status = probe(wanted, fileno(errors.file));
  if (status == kOk) return {};
  std::vector<std::string> lines;
  for (std::string line : lines_of(errors.text())) {
    if (line.starts_with("membudget: ")) line.erase(0, strlen("membudget: "));
    lines.push_back(in_our_words(line));
  }
  if (lines.empty() || status != kUsage) lines.push_back(meaning(status, wanted));
  return lines;
}

void probe_settings(const Environment &wanted) {
  std::vector<std::string> errors = try_settings(wanted);
  for (const std::string &error : errors) fmt::print(stderr, "membudget: {}\n", error);
  if (!errors.empty()) throw Quit{kUsage};
}

// Under the library, which has reported what it did not take when it was loaded. Ends at once: no profile is
// written at the exit of a program that is not the user's.
int probe_command() {
  const membudget_t *budget = membudget_self();
  Snapshot snapshot{};
  if (!budget || membudget_snapshot(budget, &snapshot, sizeof snapshot) != 0) _exit(kNotPreloaded);
  _exit(snapshot.config_errors[0] == '\0' ? kOk : kUsage);
}

}  // namespace membudget::cli
