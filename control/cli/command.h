// The commands: one file each, one table (main.cc). A command parses its own arguments, prints its result
// on standard output, and returns its exit status; what goes wrong it throws as a Failure.
#pragma once

#include <string>
#include <vector>

namespace membudget::cli {

// Exit statuses, as documented.
constexpr int kOk = 0;
constexpr int kFailed = 1;    // anything that is not one of the others
constexpr int kUsage = 2;     // wrong arguments or settings
constexpr int kNoTarget = 3;  // no such target, or it ended
constexpr int kTimeOut = 4;
constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;

// Ends the command with one line on standard error, "membudget: MESSAGE".
struct Failure {
  int status;
  std::string message;
};

// Ends the command without a word: help was printed.
struct Quit {
  int status;
};

using Arguments = std::vector<std::string>;

struct Command {
  const char *name;
  const char *summary;  // one line of `membudget --help`
  int (*run)(const Arguments &);
};

int balloon_command(const Arguments &);
int compare_command(const Arguments &);
int doctor_command(const Arguments &);
int ls_command(const Arguments &);
int profile_command(const Arguments &);
int run_command(const Arguments &);
int set_command(const Arguments &);
int show_command(const Arguments &);
int top_command(const Arguments &);
int trim_command(const Arguments &);
int wait_command(const Arguments &);
int watch_command(const Arguments &);

// Not in the table: what `run` starts under the library to try the settings out.
constexpr const char *kProbeCommand = "__probe";
int probe_command();

}  // namespace membudget::cli
