// membudget trim: have free memory handed back to the kernel, and say what came of it.
#include <errno.h>
#include <fmt/format.h>

#include "control/cli/options.h"
#include "control/cli/report.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

int64_t resident_bytes(const membudget_t *budget, const std::string &target) {
  return gather_report(budget, target).memory.value_or(ProcessMemory{}).rss_bytes;
}

}  // namespace

int trim_command(const Arguments &arguments) {
  Options app("trim", "Have a process, or all of a group, hand free memory back to the kernel.",
              "Exit status: 0, 3 no such target or it ended, 4 it did not answer in time.\n"
              "The process does this itself, when it next allocates or frees: one that sleeps answers when it\n"
              "wakes up.");
  std::string target;
  double timeout_s = 10;
  bool as_json = false;
  app.add_target(&target);
  app.add_seconds("--timeout", &timeout_s, 0, "How long to wait for it (default: 10)");
  app.add_flag("--json", as_json, "Print a JSON object");
  app.add_directory();
  app.read(arguments);
  Budget budget = open_target(target);
  int64_t before = resident_bytes(budget.get(), target), released = 0;
  int result = membudget_trim_within(budget.get(), static_cast<int64_t>(timeout_s * 1000), &released);
  if (result == -ETIMEDOUT)
    throw Failure{kTimeOut, fmt::format("'{}' did not answer within {} s: it trims when it next allocates or frees",
                                        target, timeout_s)};
  if (result != 0) fail_for(result, target);
  int64_t after = resident_bytes(budget.get(), target);
  if (as_json)
    fmt::print("{}\n",
               json_text({{"rss_before_bytes", before}, {"rss_after_bytes", after}, {"released_bytes", released}}));
  else
    fmt::print("RSS before {}, after {}; {} handed back\n", human_bytes(before), human_bytes(after),
               human_bytes(released));
  return kOk;
}

}  // namespace membudget::cli
