// membudget doctor: say what would keep a budget from working here.
#include "control/cli/doctor.h"

#include <fmt/format.h>

#include <algorithm>

#include "control/cli/options.h"
#include "control/cli/report.h"
#include "control/cli/style.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

constexpr const char *kFooter =
    "Looks at the settings in the environment (MEMBUDGET_LIMIT and so on), the library, the allocators, the\n"
    "shared memory, the limits of this shell and its memory cgroup; and at COMMAND, which is not run: whether a\n"
    "library can be preloaded into it, and whether its memory comes through malloc.\n"
    "Exit status: 0 nothing found, 1 something found, 2 wrong arguments, 126 or 127 no such command.\n\n"
    "  MEMBUDGET_LIMIT=2G membudget doctor -- python3 service.py";

Json diagnosis_json(const Diagnosis &diagnosis) {
  Json findings = Json::array();
  for (const Finding &finding : diagnosis.findings)
    findings.push_back({{"id", finding.id}, {"what", finding.what}, {"advice", finding.advice}});
  return {{"findings", findings}, {"notes", diagnosis.notes}};
}

std::string diagnosis_text(const Diagnosis &diagnosis) {
  std::string text;
  for (const Finding &finding : diagnosis.findings)
    text += heading(finding.id) + "\n" + paragraph(printable(finding.what), "  ", terminal_width()) +
            paragraph("-> " + printable(finding.advice), "  ", terminal_width());
  for (const std::string &note : diagnosis.notes) text += paragraph("note: " + printable(note), "", terminal_width());
  if (diagnosis.findings.empty()) text += "Nothing found that would keep a budget from working here.\n";
  return text;
}

}  // namespace

int doctor_command(const Arguments &arguments) {
  Options app("doctor", "Say what would keep a budget from working here, or in a command.", kFooter);
  app.set_usage("\nUsage: membudget doctor [OPTIONS] [-- COMMAND [ARGUMENTS...]]");
  bool as_json = false;
  app.add_flag("--json", as_json, "Print a JSON object: findings (id, what, advice) and notes");
  app.add_directory();
  Arguments command = app.read_with_command(arguments);
  Environment environment;
  Diagnosis diagnosis;
  if (!command.empty()) examine_command(command, environment, &diagnosis);
  examine_place(environment, &diagnosis);
  fmt::print("{}", as_json ? json_text(diagnosis_json(diagnosis)) + "\n" : diagnosis_text(diagnosis));
  return diagnosis.findings.empty() ? kOk : kFailed;
}

}  // namespace membudget::cli
