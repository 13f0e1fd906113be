#include "control/cli/style.h"

#include <membudget/abi.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace membudget::cli {
namespace {

std::string painted(const char *codes, const std::string &text) {
  return has_colour() ? std::string("\033[") + codes + "m" + text + "\033[0m" : text;
}

}  // namespace

bool has_colour() {
  const char *declined = getenv("NO_COLOR"), *terminal = getenv("TERM");
  if ((declined && *declined) || !terminal || !*terminal || strcmp(terminal, "dumb") == 0) return false;
  return isatty(STDOUT_FILENO) != 0;
}

std::string heading(const std::string &text) { return painted("1", text); }

std::string in_level_colour(uint32_t level, const std::string &text) {
  if (level >= MEMBUDGET_CRITICAL) return painted("1;31", text);
  if (level >= MEMBUDGET_MEDIUM) return painted("35", text);
  if (level >= MEMBUDGET_LOW) return painted("33", text);
  return painted("32", text);
}

}  // namespace membudget::cli
