#include "control/cli/top_frame.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <set>

#include "control/cli/proc.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

constexpr size_t kHistory = 8, kBar = 8, kHeadLines = 3, kFootLines = 1;

std::string key_of(const Snapshot &s, bool is_group) { return is_group ? s.name : fmt::format("{}/{}", s.name, s.pid); }

// Of the group's limit: the level belongs to the group.
double share_of(const TopRow &row) {
  const Snapshot &s = row.counters;
  int64_t counted = row.is_group ? s.group_counted_bytes : s.counted_bytes;
  int64_t whole = s.limit_bytes > 0 ? s.limit_bytes : std::max(s.peak_counted_bytes, counted);
  return whole > 0 ? static_cast<double>(counted) / static_cast<double>(whole) : 0;
}

int64_t counted_of(const TopRow &row) {
  return row.is_group ? row.counters.group_counted_bytes : row.counters.counted_bytes;
}

bool is_before(const TopRow &a, const TopRow &b, TopOrder order) {
  switch (order) {
    case TopOrder::counted: return counted_of(a) > counted_of(b);
    case TopOrder::share: return share_of(a) > share_of(b);
    case TopOrder::live: return a.counters.live_bytes > b.counters.live_bytes;
    case TopOrder::rss: return a.rss_bytes.value_or(0) > b.rss_bytes.value_or(0);
    case TopOrder::pid: return a.counters.pid < b.counters.pid;
    case TopOrder::name: break;
  }
  return std::string(a.counters.name) < b.counters.name;
}

void sort_rows(std::vector<TopRow> *rows, TopOrder order, bool is_inverted) {
  std::stable_sort(rows->begin(), rows->end(), [&](const TopRow &a, const TopRow &b) {
    return is_inverted ? is_before(b, a, order) : is_before(a, b, order);
  });
}

TopRow sum_up(const std::vector<TopRow> &members) {
  TopRow sum = members[0];
  sum.is_group = true;
  sum.counters.live_bytes = sum.counters.group_live_bytes;
  sum.counters.pid = members[0].counters.pid;
  sum.rss_bytes = 0;
  for (const TopRow &member : members) {
    if (sum.rss_bytes)
      sum.rss_bytes = member.rss_bytes ? std::optional(*sum.rss_bytes + *member.rss_bytes) : std::nullopt;
    sum.counters.pid = std::min(sum.counters.pid, member.counters.pid);
  }
  return sum;
}

bool matches(const TopRow &row, const std::string &filter) {
  const Snapshot &s = row.counters;
  return filter.empty() || std::string(s.name).find(filter) != std::string::npos ||
         std::string(s.command).find(filter) != std::string::npos ||
         std::to_string(s.pid).find(filter) != std::string::npos;
}

Segment::Style style_of(uint32_t level) {
  if (level >= MEMBUDGET_CRITICAL) return Segment::critical;
  if (level >= MEMBUDGET_MEDIUM) return Segment::medium;
  return level >= MEMBUDGET_LOW ? Segment::low : Segment::calm;
}

std::string bar(double share) {
  auto filled = static_cast<size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(kBar) + 0.5);
  return "[" + std::string(filled, '|') + std::string(kBar - filled, ' ') + "]";
}

std::string sparkline(const History &history, bool has_unicode) {
  constexpr const char *kBlocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr const char *kLetters[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
  std::string text(kHistory - std::min(history.size(), kHistory), ' ');
  for (double share : history) {
    auto step = static_cast<size_t>(std::clamp(share, 0.0, 1.0) * 7.999);
    text += has_unicode ? kBlocks[step] : kLetters[step];
  }
  return text;
}

// Columns of a text, where each character takes one.
size_t columns_of(const std::string &text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string fit(const std::string &text, size_t width, bool right = false) {
  std::string kept;
  for (size_t at = 0, columns = 0; at < text.size(); ++at) {
    columns += (static_cast<unsigned char>(text[at]) & 0xc0) != 0x80;
    if (columns <= width) kept += text[at];
  }
  std::string blanks(width - std::min(width, columns_of(kept)), ' ');
  return right ? blanks + kept : kept + blanks;
}

// Cuts a line off at the terminal's edge.
Line clipped(Line line, size_t width) {
  size_t used = 0;
  for (Segment &segment : line) {
    size_t columns = columns_of(segment.text);
    if (used + columns > width) segment.text = fit(segment.text, width - used);
    used += std::min(columns, width - used);
  }
  return line;
}

std::string clock_text() {
  time_t now = time(nullptr);
  tm parts{};
  char text[16] = "";
  if (localtime_r(&now, &parts)) strftime(text, sizeof text, "%H:%M:%S", &parts);
  return text;
}

Line title(const TopModel &model) {
  std::set<std::string> groups;
  for (const Snapshot &s : model.processes()) groups.insert(s.name);
  return {{Segment::bold, fmt::format("membudget top  {}  processes: {}  groups: {}", clock_text(),
                                      model.processes().size(), groups.size())}};
}

Line state(const TopView &view) {
  std::string text =
      fmt::format("sorted by {}{}", kTopOrders[static_cast<size_t>(view.order)], view.is_inverted ? ", inverted" : "");
  if (!view.filter.empty()) text += "  filter: " + view.filter;
  return {{Segment::plain, text}, {Segment::bold, view.is_paused ? "  PAUSED" : ""}};
}

Line columns_line(size_t width) {
  return {{Segment::selected, fit(fmt::format("{:>7} {:<10} {:<8} {:<{}} {:>5} {:>8} {:>8} {:<8} {}", "PID", "NAME",
                                              "LEVEL", "LIMIT", kBar + 2, "%", "COUNTED", "RSS", "HISTORY", "COMMAND"),
                                  width)}};
}

// "230.4M": sizes short enough for a column.
std::string short_bytes(int64_t bytes) {
  std::string text = human_bytes(bytes);
  size_t blank = text.find(' ');
  return text.substr(0, blank) + text.substr(blank + 1, 1);
}

Line row_line(const TopRow &row, const TopModel &model, const TopView &view, bool is_selected) {
  const Snapshot &s = row.counters;
  double share = share_of(row);
  Segment::Style style = style_of(s.level), plain = is_selected ? Segment::selected : Segment::plain;
  std::string pid = row.is_group ? "-" : std::to_string(s.pid);
  std::string command = row.is_group ? fmt::format("({} processes)", s.processes) : printable(s.command);
  std::string percent = s.limit_bytes > 0 ? fmt::format("{:.1f}", 100 * share) : "-";
  return {{plain, fmt::format("{:>7} ", pid) + fit((row.is_member ? " " : "") + printable(s.name), 10) + " "},
          {style, fmt::format("{:<8} ", level_name(s.level))},
          {style, s.limit_bytes > 0 ? bar(share) : fit(" no limit", kBar + 2)},
          {plain, fmt::format(" {:>5} {:>8} {:>8} ", percent, short_bytes(counted_of(row)),
                              row.rss_bytes ? short_bytes(*row.rss_bytes) : "?")},
          {style, sparkline(model.history_of(row), view.has_unicode)},
          {plain, " " + command}};
}

}  // namespace

void TopModel::look() {
  processes_ = list_processes();
  rss_.clear();
  std::map<std::string, History> kept;
  auto note = [&](const Snapshot &s, bool is_group) {
    TopRow row;
    row.counters = s;
    row.is_group = is_group;
    std::string key = key_of(s, is_group);
    History &history = kept.try_emplace(key, histories_[key]).first->second;
    history.push_back(share_of(row));
    if (history.size() > kHistory) history.pop_front();
  };
  std::string last;
  for (const Snapshot &s : processes_) {
    rss_[s.seen_pid] = read_rss(s.seen_pid);
    note(s, false);
    if (last != s.name) note(s, true);
    last = s.name;
  }
  histories_ = std::move(kept);
}

std::optional<int64_t> TopModel::rss_of(pid_t pid) const {
  auto found = rss_.find(pid);
  return found == rss_.end() ? std::nullopt : found->second;
}

const History &TopModel::history_of(const TopRow &row) const {
  static const History kNone;
  auto found = histories_.find(key_of(row.counters, row.is_group));
  return found == histories_.end() ? kNone : found->second;
}

std::vector<TopRow> TopModel::rows(TopOrder order, bool is_inverted, bool with_groups,
                                   const std::string &filter) const {
  std::map<std::string, std::vector<TopRow>> groups;
  std::vector<TopRow> tops, result;
  for (const Snapshot &s : processes_) {
    TopRow row{s, rss_of(s.seen_pid), false, false};
    if (matches(row, filter)) groups[with_groups ? std::string(s.name) : key_of(s, false)].push_back(row);
  }
  for (const auto &[name, members] : groups) tops.push_back(members.size() > 1 ? sum_up(members) : members[0]);
  sort_rows(&tops, order, is_inverted);
  for (const TopRow &top : tops) {
    result.push_back(top);
    if (!top.is_group) continue;
    std::vector<TopRow> members = groups[top.counters.name];
    sort_rows(&members, order, is_inverted);
    for (TopRow &member : members) member.is_member = true;
    result.insert(result.end(), members.begin(), members.end());
  }
  return result;
}

size_t top_list_height(const TopView &view) {
  return view.height > kHeadLines + kFootLines ? view.height - kHeadLines - kFootLines : 1;
}

std::vector<Line> top_frame(const TopModel &model, const TopView &view) {
  std::vector<Line> lines = {title(model), state(view), columns_line(view.width)};
  std::vector<TopRow> rows = model.rows(view.order, view.is_inverted, view.with_groups, view.filter);
  size_t end = view.height == 0 ? rows.size() : std::min(rows.size(), view.first + top_list_height(view));
  for (size_t i = view.first; i < end; ++i) lines.push_back(row_line(rows[i], model, view, i == view.selected));
  if (rows.empty())
    lines.push_back(
        {{Segment::plain, view.filter.empty() ? "Nothing runs under membudget: start something with `membudget run`"
                                              : "Nothing matches the filter"}});
  if (view.height > 0) {
    while (lines.size() + kFootLines < view.height) lines.push_back({});
    lines.resize(std::min(lines.size(), view.height - 1));
    lines.push_back(
        {{Segment::bold,
          view.prompt.empty() ? "F1 Help  F4 Filter  F5 Groups  F6 Sort  I Invert  Z Pause  F10 Quit" : view.prompt}});
  }
  for (Line &line : lines) line = clipped(line, view.width);
  return lines;
}

}  // namespace membudget::cli
