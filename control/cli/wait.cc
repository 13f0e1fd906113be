// membudget wait: sleep until a level is reached.
#include <errno.h>
#include <fmt/format.h>

#include <chrono>

#include "control/cli/options.h"
#include "control/cli/target.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

using Clock = std::chrono::steady_clock;

// The wait goes on after a signal that only stopped and continued us.
int wait_for(membudget_t *budget, uint32_t level, double timeout_s) {
  auto start = Clock::now();
  for (;;) {
    double left_s = timeout_s - std::chrono::duration<double>(Clock::now() - start).count();
    int64_t left_ms = timeout_s < 0 ? -1 : left_s > 0 ? static_cast<int64_t>(left_s * 1000) + 1 : 0;
    int result = membudget_wait(budget, level, left_ms);
    if (result != -EINTR) return result;
  }
}

}  // namespace

int wait_command(const Arguments &arguments) {
  Options app("wait", "Sleep until a process's or group's level is reached; returns at once where it is.",
              "Exit status: 0 reached, 4 time-out, 3 no such target or it ended.\n\n"
              "  membudget wait my-service --level critical --timeout 60 && notify-send 'memory is full'");
  std::string target, level_text = "critical";
  double timeout_s = -1;
  app.add_target(&target);
  app.add_option("--level", level_text, "none, low, medium or critical (or 0, 50, 100, 255); default: critical")
      ->type_name("LEVEL");
  app.add_seconds("--timeout", &timeout_s, 0, "Give up after so long (default: never)");
  app.add_directory();
  app.read(arguments);
  uint32_t level = 0;
  if (!parse_level(level_text, &level))
    throw Failure{kUsage,
                  fmt::format("--level {}: no level; use none, low, medium or critical", printable(level_text))};
  Budget budget = open_target(target);
  int result = wait_for(budget.get(), level, timeout_s);
  if (result == -ETIMEDOUT)
    throw Failure{kTimeOut,
                  fmt::format("'{}' did not reach level {} within {} s", target, level_name(level), timeout_s)};
  if (result != 0) fail_for(result, target);
  return kOk;
}

}  // namespace membudget::cli
