// The program that `run` starts: finding it, and refusing what no preloaded library can reach.
#pragma once

#include <string>

#include "control/cli/command.h"
#include "control/cli/environment.h"

namespace membudget::cli {

// The path that the command means, looked for in the environment's PATH as execvp() does. Throws a Failure:
// kNotFound, or kNotExecutable.
std::string find_program(const std::string &command, const Environment &);

// Why no library can be preloaded into a program: a Failure of status kUsage whose message is `what` and
// `advice`.
struct Unpreloadable : Failure {
  std::string id;      // as doctor names it: static, set-uid, set-gid, file-capabilities, architecture, musl, sanitizer
  std::string what;    // one sentence without its full stop, naming the file
  std::string advice;  // what to do
};

// Throws Unpreloadable for a program that would run without the library: a static one, one that gains
// privileges (set-uid, set-gid, file capabilities), one of another architecture or another C library, one with the
// AddressSanitizer; a Failure of status kNotExecutable where a script's interpreter cannot be run. For a script it is
// the interpreter that counts. What cannot be read is let through.
void check_program(const std::string &path);

}  // namespace membudget::cli
