// membudget show: one report about a process or a group.
#include <fmt/format.h>

#include "control/cli/options.h"
#include "control/cli/report.h"

namespace membudget::cli {

int show_command(const Arguments &arguments) {
  Options app(
      "show", "Report everything known about a process or group: the exact figures beside the kernel's.",
      "Exit status: 0, or 3 where there is no such target.\n"
      "A group's figures are sums over its processes; what a forked child inherited is counted once.\n"
      "What a child writes to of that, the kernel copies for it: copied_bytes, its private memory beyond what it\n"
      "counted itself. Counted and copied bytes together are what the group takes.");
  std::string target;
  bool as_json = false;
  app.add_target(&target);
  app.add_flag("--json", as_json, "Print a JSON object; sizes are bytes, what is not known is left out");
  app.add_directory();
  app.read(arguments);
  Budget budget = open_target(target);
  Report report = gather_report(budget.get(), target);
  if (as_json)
    fmt::print("{}\n", json_text(report_json(report)));
  else
    fmt::print("{}", report_text(report));
  return kOk;
}

}  // namespace membudget::cli
