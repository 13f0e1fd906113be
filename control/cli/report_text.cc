// A report for people: the same figures, in words where they need them.
#include <fmt/format.h>

#include <algorithm>

#include "control/cli/report.h"
#include "control/cli/style.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

// "  live            200.1 MiB  handed out by the allocator and not yet freed"
std::string row(std::string_view label, std::string_view value, std::string_view note = "") {
  std::string line = fmt::format("  {:<14}{:>12}", label, value);
  return note.empty() ? line + "\n" : fmt::format("{}  {}\n", line, note);
}

std::string section(const std::string &title) { return "\n" + heading(title) + "\n"; }

std::string limit_text(int64_t bytes) { return bytes > 0 ? human_bytes(bytes) : "none"; }

std::string percent(int64_t part, int64_t whole) {
  return fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string title(const Report &report) {
  const Snapshot &s = report.counters;
  if (report.is_group)
    return heading(
               fmt::format("Group {}: {} process{}", printable(s.name), s.processes, s.processes == 1 ? "" : "es")) +
           "\n";
  return fmt::format("{}\nprocess {} of group {}\n", heading(printable(s.command)), s.pid, printable(s.name));
}

std::string budget_part(const Report &report) {
  const Snapshot &s = report.counters;
  std::string marks =
      s.limit_bytes > 0 ? fmt::format("low from {}, medium from {}; falls {} below its mark", human_bytes(s.low_bytes),
                                      human_bytes(s.medium_bytes), human_bytes(s.release_bytes))
                        : "it is only counted";
  std::string text = section(report.is_group || s.processes <= 1 ? "Budget" : "Budget (the group's)");
  text += in_level_colour(s.level, row("level", level_name(s.level), fmt::format("{}", s.level)));
  text += row("limit", limit_text(s.limit_bytes), marks);
  text += row("hard limit", limit_text(s.hard_limit_bytes), s.hard_limit_bytes > 0 ? "allocations past it fail" : "");
  text += row("crossings", human_count(s.crossings),
              s.last_crossing_ns == 0 ? ""
                                      : fmt::format("last {} at {} counted", iso_time(s.last_crossing_ns),
                                                    human_bytes(s.last_crossing_counted_bytes)));
  if (auto footprint = report.footprint_bytes())
    text += row("footprint", human_bytes(*footprint), "counted bytes plus what the kernel charges beyond them");
  if (s.reserve_bytes > 0) text += row("reserve", human_bytes(s.reserve_bytes), "what a flush was seen to need");
  return text;
}

std::string counted_part(const Report &report) {
  const Snapshot &s = report.counters;
  std::string text = section(fmt::format("Counted exactly, by {}", printable(s.allocator)));
  text += row("live", human_bytes(s.live_bytes), "handed out by the allocator and not yet freed");
  text += row("mapped", human_bytes(s.mapped_bytes), "mapped by the program itself (CPython's arenas, for one)");
  text += row("counted", human_bytes(s.counted_bytes),
              s.limit_bytes > 0 ? fmt::format("live + mapped; the group's are {} of the limit",
                                              percent(s.group_counted_bytes, s.limit_bytes))
                                : "live + mapped");
  std::string error = s.peak_error_bytes > 0 ? fmt::format("or up to {} more", human_bytes(s.peak_error_bytes)) : "";
  text += row("peak counted", human_bytes(s.peak_counted_bytes), error);
  text += row("peak live", human_bytes(s.peak_live_bytes), error);
  text += row("allocations", human_count(s.allocations), fmt::format("{} frees", human_count(s.frees)));
  if (s.inherited_live_bytes > 0)
    text += row("inherited", human_bytes(s.inherited_live_bytes), "of the live bytes, from the parent at fork");
  return text;
}

std::string uncounted_note(int64_t bytes) {
  return bytes >= 0 ? "anonymous memory that was not counted: allocator overhead, stacks, JIT or GC heaps"
                    : "less anonymous memory than counted: some was not touched yet, or swapped out";
}

// Of the uncounted: whose it is. What is too small to matter is left out.
std::string map_rows(const Report &report) {
  constexpr int64_t kLeast = 64 << 10;
  const MemoryMap &map = *report.map;
  std::string text;
  auto add = [&](const char *label, int64_t bytes, const std::string &note) {
    if (bytes >= kLeast) text += row(label, human_bytes(bytes), note);
  };
  add(" allocator", map.heap_bytes - report.counters.counted_bytes, "held by the allocator, not handed out");
  add(" stacks", map.stack_bytes, "of the threads");
  add(" libraries", map.file_bytes, "written pages of programs and libraries");
  add(" runtime", map.runtime_bytes, map.runtime);
  return text;
}

bool is_out_of_sight(const Report &report) {
  if (!report.is_group) return report.counters.seen_pid == 0;
  return std::any_of(report.members.begin(), report.members.end(),
                     [](const Member &member) { return member.counters.seen_pid == 0; });
}

std::string kernel_part(const Report &report) {
  std::string text = section("Seen by the kernel");
  if (!report.memory)
    text += is_out_of_sight(report)
                ? "  Not known: its pid namespace cannot be seen from this one\n"
                : "  Its memory cannot be read: /proc/PID/smaps_rollup of another user's process takes root\n"
                  "  (CAP_SYS_PTRACE)\n";
  if (const auto &m = report.memory) {
    text += row("RSS", human_bytes(m->rss_bytes), "resident, shared pages counted whole");
    text += row("PSS", human_bytes(m->pss_bytes), "resident, shared pages divided among their users");
    text += row("USS", human_bytes(m->uss_bytes), "resident and not shared");
    text +=
        row("anonymous", human_bytes(*report.anonymous_bytes()),
            report.is_group && report.members.size() > 1 ? "heap, stacks and private maps, shared pages counted once"
                                                         : "heap, stacks and private maps");
    text += row("lazy free", human_bytes(m->lazy_free_bytes), "of it, given back but not yet taken (MADV_FREE)");
    text += row("swap", human_bytes(m->swap_bytes));
    text += row("uncounted", human_bytes(*report.uncounted_bytes()), uncounted_note(*report.uncounted_bytes()));
    if (report.map) text += map_rows(report);
  }
  if (auto copied = report.target_copied_bytes(); copied && *copied > 0)
    text += row("copied", human_bytes(*copied), "inherited memory that a child wrote to, so that it has its own");
  if (auto ratio = report.fragmentation_ratio())
    text += row("fragmentation", fmt::format("{:.2f}", *ratio),
                report.map ? "the heap's resident bytes over counted ones" : "anonymous less lazy free, over counted");
  if (const auto &stat = report.stat) {
    text += row("minor faults", human_count(stat->minor_faults));
    text += row("major faults", human_count(stat->major_faults));
    text += row("threads", human_count(stat->threads));
  }
  return text;
}

std::string cgroup_part(const Report &report) {
  if (!report.cgroup) return "";
  const Cgroup &cgroup = *report.cgroup;
  std::string text = section("Memory cgroup " + printable(cgroup.path));
  text += row("limit", limit_text(cgroup.limit_bytes.value_or(0)));
  if (cgroup.usage_bytes) text += row("usage", human_bytes(*cgroup.usage_bytes), "page cache included");
  return text;
}

std::vector<std::string> member_cells(const Member &member) {
  const Snapshot &s = member.counters;
  auto kernel = [&](int64_t ProcessMemory::*part) {
    return member.memory ? human_bytes((*member.memory).*part) : std::string("?");
  };
  auto copied = member.copied_bytes();
  return {"  " + std::to_string(s.pid),
          human_bytes(s.live_bytes),
          human_bytes(s.mapped_bytes),
          human_bytes(s.inherited_live_bytes),
          kernel(&ProcessMemory::rss_bytes),
          kernel(&ProcessMemory::pss_bytes),
          kernel(&ProcessMemory::uss_bytes),
          copied ? human_bytes(*copied) : std::string("?"),
          printable(s.command)};
}

std::string copied_note(const Report &report) {
  auto copied = report.copied_bytes();
  if (!copied || report.members.size() <= 1) return "";
  return fmt::format(", {} copied by children", human_bytes(*copied));
}

std::string left_out_note(uint64_t processes) {
  if (processes == 0) return "";
  return fmt::format("  and {} so far that found no free slot of the {}: they are not counted\n",
                     human_count(processes), MEMBUDGET_PROCESSES);
}

std::string group_part(const Report &report) {
  const Snapshot &s = report.counters;
  if (!report.is_group && report.members.size() <= 1) return "";
  std::string text =
      section(fmt::format("Processes of the group {}: {} live, {} counted{}", printable(s.name),
                          human_bytes(s.group_live_bytes), human_bytes(s.group_counted_bytes), copied_note(report)));
  std::vector<std::vector<std::string>> rows = {
      {"  PID", "LIVE", "MAPPED", "INHERITED", "RSS", "PSS", "USS", "COPIED", "COMMAND"}};
  for (const Member &member : report.members) rows.push_back(member_cells(member));
  return text + table(rows, 0xff, terminal_width()) + left_out_note(s.uncounted_processes);
}

std::string errors_part(const Report &report) {
  std::string text;
  for (const std::string &line : lines_of(report.counters.config_errors)) text += "  " + printable(line) + "\n";
  return text.empty() ? "" : section("Settings that were not taken") + text;
}

std::string notes_part(const Report &report) {
  std::string text;
  for (const std::string &note : report_notes(report)) text += paragraph(note, "  ", terminal_width());
  return text.empty() ? "" : section("What that means") + text;
}

}  // namespace

std::string report_text(const Report &report) {
  return title(report) + errors_part(report) + budget_part(report) + counted_part(report) + kernel_part(report) +
         cgroup_part(report) + notes_part(report) + group_part(report);
}

}  // namespace membudget::cli
