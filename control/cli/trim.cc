// membudget trim: have free memory handed back to the kernel, and say what came of it.
#include <errno.h>
#include <fmt/format.h>

#include "control/cli/options.h"
#include "control/cli/report.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

// Absent where the kernel does not tell.
std::optional<int64_t> resident_bytes(const membudget_t *budget, const std::string &target) {
  auto memory = gather_report(budget, target).memory;
  return memory ? std::optional(memory->rss_bytes) : std::nullopt;
}

std::string known(std::optional<int64_t> bytes) { return bytes ? human_bytes(*bytes) : "?"; }

}  // namespace

int trim_command(const Arguments &arguments) {
  Options app("trim", "Have a process, or all of a group, hand free memory back to the kernel.",
              "Exit status: 0, 3 no such target or it ended, 4 it did not answer in time.\n"
              "The process does this itself, in its next call of malloc or free: one that sleeps answers when it\n"
              "wakes up, and CPython with small objects alone, which it keeps in arenas, not at all (but with\n"
              "MEMBUDGET_PYTHONMALLOC=malloc).");
  std::string target;
  double timeout_s = 10;
  bool as_json = false;
  app.add_target(&target);
  app.add_seconds("--timeout", &timeout_s, 0, "How long to wait for it (default: 10)");
  app.add_flag("--json", as_json, "Print a JSON object");
  app.add_directory();
  app.read(arguments);
  Budget budget = open_target(target);
  auto before = resident_bytes(budget.get(), target);
  int64_t released = 0;
  int result = membudget_trim_within(budget.get(), static_cast<int64_t>(timeout_s * 1000), &released);
  if (result == -ETIMEDOUT) fail_unanswered(target, timeout_s);
  if (result != 0) fail_for(result, target);
  auto after = resident_bytes(budget.get(), target);
  if (as_json) {
    Json json;
    if (before) json["rss_before_bytes"] = *before;
    if (after) json["rss_after_bytes"] = *after;
    json["released_bytes"] = released;
    fmt::print("{}\n", json_text(json));
  } else {
    fmt::print("RSS before {}, after {}; {} handed back\n", known(before), known(after), human_bytes(released));
  }
  return kOk;
}

}  // namespace membudget::cli
