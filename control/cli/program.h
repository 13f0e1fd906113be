// The program that `run` starts: finding it, and refusing what no preloaded library can reach.
#pragma once

#include <string>

#include "control/cli/environment.h"

namespace membudget::cli {

// The path that the command means, looked for in the environment's PATH as execvp() does. Throws a Failure:
// kNotFound, or kNotExecutable.
std::string find_program(const std::string &command, const Environment &);

// Throws a Failure of status kUsage for a program that would run without the library: a static one, one that
// gains privileges (set-uid, set-gid, file capabilities), one of another architecture or another C library.
// For a script it is the interpreter that counts. What cannot be read is let through.
void check_program(const std::string &path);

}  // namespace membudget::cli
