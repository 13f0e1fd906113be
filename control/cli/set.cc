// membudget set: change the limits of a running process or group.
#include <fmt/format.h>

#include "control/cli/cgroup.h"
#include "control/cli/limits.h"
#include "control/cli/options.h"
#include "control/cli/target.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

struct Change {
  const char *option;
  std::string text;
  int64_t (*parse)(const std::string &, const std::string &, int64_t);
  int (*apply)(membudget_t *, int64_t);
};

// A share of memory is no distance between two stacks.
int64_t parse_distance(const std::string &option, const std::string &text, int64_t) {
  return parse_bytes(option, text);
}

// What a percentage is a share of: what the target's process, or the group's first one, may use.
int64_t whole_of(const Snapshot &snapshot) {
  if (snapshot.pid != 0) return whole_memory_bytes(snapshot.seen_pid);
  std::vector<Snapshot> members = list_processes(snapshot.name);
  return whole_memory_bytes(members.empty() ? 0 : members[0].seen_pid);
}

// By now it may have ended.
void warn_of_limits(const membudget_t *budget) {
  Snapshot snapshot{};
  if (membudget_snapshot(budget, &snapshot, sizeof snapshot) != 0) return;
  if (std::string warning = hard_limit_warning(snapshot); !warning.empty())
    fmt::print(stderr, "membudget: {}\n", warning);
}

}  // namespace

int set_command(const Arguments &arguments) {
  Options app("set", "Change the limits of a running process's group. Marks given in percent move along.",
              "Exit status: 0, or 3 where there is no such target.\n"
              "A percentage is a share of the limit of the target's memory cgroup, or of the machine's memory.\n\n"
              "  membudget set my-service --limit 1.5G\n"
              "  membudget set 4711 --limit none --hard-limit 2G");
  std::string target;
  Change changes[] = {{"--limit", "", parse_size, membudget_set_limit},
                      {"--hard-limit", "", parse_size, membudget_set_hard_limit},
                      {"--profile", "", parse_distance, membudget_set_profile}};
  app.add_target(&target);
  app.add_option("--limit", changes[0].text, "The new limit, or none")->type_name("SIZE");
  app.add_option("--hard-limit", changes[1].text, "Where allocations begin to fail, or none")->type_name("SIZE");
  app.add_option("--profile", changes[2].text, "Take stacks of blocks so far apart, like 512K, or none")
      ->type_name("SIZE");
  app.add_directory();
  app.read(arguments);
  if (app.count("--limit") + app.count("--hard-limit") + app.count("--profile") == 0)
    throw Failure{kUsage, "nothing to set: give --limit, --hard-limit or --profile; see `membudget set --help`"};
  for (const Change &change : changes)  // bad sizes are told before anything is looked for or changed
    if (app.count(change.option) > 0) change.parse(change.option, change.text, 0);
  Budget budget = open_target(target);
  int64_t whole = whole_of(read_snapshot(budget.get(), target));
  for (const Change &change : changes) {
    if (app.count(change.option) == 0) continue;
    int error = change.apply(budget.get(), change.parse(change.option, change.text, whole));
    if (error != 0) fail_for(error, target);
  }
  if (app.count("--limit") + app.count("--hard-limit") > 0) warn_of_limits(budget.get());
  return kOk;
}

}  // namespace membudget::cli
