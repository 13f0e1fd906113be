// membudget watch: a line about a process or group at an interval, until it ends.
#include <errno.h>
#include <fmt/format.h>
#include <time.h>

#include <cstdio>

#include "control/cli/options.h"
#include "control/cli/report.h"
#include "control/cli/style.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

// Of the process, or of all of the group's.
std::optional<int64_t> resident_bytes(const Snapshot &s) {
  if (s.pid != 0) return read_rss(s.seen_pid);
  int64_t sum = 0;
  for (const Snapshot &member : list_processes(s.name)) {
    if (member.seen_pid == 0) return std::nullopt;
    sum += read_rss(member.seen_pid).value_or(0);
  }
  return sum;
}

void print_json_line(const Snapshot &s) {
  Json json{{"time", iso_time(now_ns())}, {"name", s.name}};
  if (s.pid != 0) json["pid"] = s.pid;
  put_level(&json, s.level);
  json["live_bytes"] = s.live_bytes;
  json["mapped_bytes"] = s.mapped_bytes;
  json["counted_bytes"] = s.counted_bytes;
  json["peak_counted_bytes"] = s.peak_counted_bytes;
  json["group_counted_bytes"] = s.group_counted_bytes;
  json["limit_bytes"] = s.limit_bytes;
  json["crossings"] = s.crossings;
  json["allocations"] = s.allocations;
  json["frees"] = s.frees;
  if (auto rss = resident_bytes(s)) json["rss_bytes"] = *rss;
  fmt::print("{}\n", json_line(json));
}

std::string share_of_limit(const Snapshot &s, int64_t bytes) {
  if (s.limit_bytes <= 0) return "-";
  return fmt::format("{:.1f}%", 100.0 * static_cast<double>(bytes) / static_cast<double>(s.limit_bytes));
}

// The level follows what all of the group have counted, of which a process's line has only its own part.
std::string group_part(const Snapshot &s) {
  if (s.pid == 0 || s.processes <= 1) return "";
  return fmt::format("  group {:>10}  {:>6}", human_bytes(s.group_counted_bytes),
                     share_of_limit(s, s.group_counted_bytes));
}

void print_text_line(const Snapshot &s) {
  auto rss = resident_bytes(s);
  fmt::print("{}  {}  live {:>10}  counted {:>10}  {:>6} of {:>10}  RSS {:>10}  crossings {}{}\n", iso_time(now_ns()),
             in_level_colour(s.level, fmt::format("{:<8}", level_name(s.level))), human_bytes(s.live_bytes),
             human_bytes(s.counted_bytes), share_of_limit(s, s.counted_bytes),
             s.limit_bytes > 0 ? human_bytes(s.limit_bytes) : "no limit", rss ? human_bytes(*rss) : "?", s.crossings,
             group_part(s));
}

}  // namespace

int watch_command(const Arguments &arguments) {
  Options app("watch", "Print a line about a process or group at an interval, until it ends.",
              "Exit status: 0 when the target ends, 3 where there is none.");
  std::string target;
  double interval_s = 1;
  bool as_json = false;
  app.add_target(&target);
  app.add_seconds("--interval", &interval_s, 0.001, "Time between two lines (default: 1)");
  app.add_flag("--jsonl", as_json, "Print a JSON object on each line");
  app.add_flag("--json", as_json, "The same");
  app.add_directory();
  app.read(arguments);
  Budget budget = open_target(target);
  for (int result = -ETIMEDOUT; result != 0;) {
    Snapshot snapshot{};
    if (membudget_snapshot(budget.get(), &snapshot, sizeof snapshot) != 0) return kOk;
    as_json ? print_json_line(snapshot) : print_text_line(snapshot);
    if (std::fflush(stdout) != 0) return kFailed;
    while ((result = membudget_wait_end(budget.get(), static_cast<int64_t>(interval_s * 1000))) == -EINTR) {}
  }
  return kOk;
}

}  // namespace membudget::cli
