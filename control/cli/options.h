// The arguments of one command, on CLI11: its help and its errors in this program's shape.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "control/cli/command.h"

namespace membudget::cli {

class Options : public CLI::App {
 public:
  // `name` is the command's; empty for the program itself. The footer ends its help: statuses, examples.
  Options(const std::string &name, const std::string &description, const std::string &footer);

  // The first lines of the help, where the usual ones do not say it.
  void set_usage(const std::string &lines);

  // --dir, for commands that look for blocks; sets MEMBUDGET_DIR of this process.
  void add_directory();

  // A number of seconds, not below `least`.
  void add_seconds(const std::string &name, double *seconds, double least, const std::string &help_text);

  // TARGET, which must be given.
  void add_target(std::string *target);

  // As read(), for a command line that ends in [--] COMMAND...; returns the command, or nothing. Options are read
  // up to "--", or to the first word that is none.
  Arguments read_with_command(const Arguments &);

  // Prints help and throws Quit where it was asked for; throws a Failure of status kUsage for what it cannot
  // parse.
  void read(const Arguments &);
};

}  // namespace membudget::cli
