// membudget ls: the groups and processes there are.
#include <fmt/format.h>

#include "control/cli/options.h"
#include "control/cli/report.h"
#include "control/cli/style.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

Json process_json(const Snapshot &s) {
  Json json{{"name", s.name}, {"pid", s.pid}, {"allocator", s.allocator}};
  put_level(&json, s.level);
  json["live_bytes"] = s.live_bytes;
  json["counted_bytes"] = s.counted_bytes;
  json["limit_bytes"] = s.limit_bytes;
  json["command"] = s.command;
  json["group"] = {{"name", s.name},
                   {"processes", s.processes},
                   {"live_bytes", s.group_live_bytes},
                   {"counted_bytes", s.group_counted_bytes}};
  return json;
}

std::string limit_cell(const Snapshot &s) { return s.limit_bytes > 0 ? human_bytes(s.limit_bytes) : "-"; }

// A group of several processes has a line of its own, with the sums, above theirs.
std::string process_table(const std::vector<Snapshot> &processes) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "PID", "ALLOCATOR", "LEVEL", "LIVE", "COUNTED", "LIMIT", "COMMAND"}};
  std::string group;
  for (const Snapshot &s : processes) {
    bool is_single = s.processes <= 1;
    if (!is_single && group != s.name)
      rows.push_back({printable(s.name), "-", "-", in_level_colour(s.level, level_name(s.level)),
                      human_bytes(s.group_live_bytes), human_bytes(s.group_counted_bytes), limit_cell(s),
                      fmt::format("({} processes)", s.processes)});
    group = s.name;
    rows.push_back({is_single ? printable(s.name) : " " + printable(s.name), std::to_string(s.pid),
                    printable(s.allocator), is_single ? in_level_colour(s.level, level_name(s.level)) : "",
                    human_bytes(s.live_bytes), human_bytes(s.counted_bytes), is_single ? limit_cell(s) : "",
                    printable(s.command)});
  }
  return table(rows, 0x72, terminal_width());
}

}  // namespace

int ls_command(const Arguments &arguments) {
  Options app("ls", "List the groups and processes that run under membudget.",
              "Removes the blocks that processes of yours left behind when they were killed.");
  bool as_json = false;
  app.add_flag("--json", as_json, "Print a JSON array, one object for each process");
  app.add_directory();
  app.read(arguments);
  std::vector<Snapshot> processes = list_processes();
  if (as_json) {
    Json json = Json::array();
    for (const Snapshot &process : processes) json.push_back(process_json(process));
    fmt::print("{}\n", json_text(json));
  } else if (processes.empty()) {
    fmt::print(stderr, "membudget: nothing runs under membudget; start something with `membudget run -- CMD`\n");
  } else {
    fmt::print("{}", process_table(processes));
  }
  return kOk;
}

}  // namespace membudget::cli
