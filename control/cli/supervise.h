// Running a command as a child as if it had been executed in our place: signals, job control, exit status.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "control/cli/environment.h"

namespace membudget::cli {

// Executes the program in place of this one. Returns only by throwing a Failure.
[[noreturn]] void execute(const std::string &path, const std::vector<std::string> &command, const Environment &);

struct Outcome {
  int exit_status = 0;  // as a shell has it: 128 + signal for a death by signal
  int signal = 0;       // that it died of, or 0
  double wall_s = 0;
  rusage usage{};  // of the command and those of its children that it waited for
};

// Calls `start` in a child, which must execute the command, and returns when it has ended. `look` is called from
// time to time (no longer than `longest_pause_ms` apart), whenever `watched_fd` (-1: none) can be read, and once more
// after the end, before the child is reaped.
Outcome supervise(const std::function<void()> &start, int watched_fd,
                  const std::function<void(pid_t child, bool ended)> &look, int64_t longest_pause_ms = 1000);

}  // namespace membudget::cli
