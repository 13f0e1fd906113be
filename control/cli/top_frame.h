// One picture of `membudget top`, apart from the terminal it is drawn on.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control/cli/target.h"

namespace membudget::cli {

enum class TopOrder { counted, share, live, rss, pid, name };
constexpr const char *kTopOrders[] = {"counted", "share", "live", "rss", "pid", "name"};

// What of its history is drawn beside a process: shares of the limit, or of its own peak without one.
using History = std::deque<double>;

struct TopRow {
  Snapshot counters;
  std::optional<int64_t> rss_bytes;
  bool is_group = false;   // the sums of a group of several
  bool is_member = false;  // stands below such a row
};

// What is known at one time, and what was at the times before.
class TopModel {
 public:
  // Looks at all processes. Reads statm alone: nobody is slowed down.
  void look();

  const std::vector<Snapshot> &processes() const { return processes_; }
  std::optional<int64_t> rss_of(pid_t) const;

  // In order, groups with their members below them; only rows whose name, command or pid has `filter` in it.
  std::vector<TopRow> rows(TopOrder, bool is_inverted, bool with_groups, const std::string &filter) const;

  const History &history_of(const TopRow &) const;

 private:
  std::vector<Snapshot> processes_;
  std::map<pid_t, std::optional<int64_t>> rss_;
  std::map<std::string, History> histories_;  // by group, or group and pid
};

struct Segment {
  enum Style { plain, bold, selected, calm, low, medium, critical } style = plain;
  std::string text;
};
using Line = std::vector<Segment>;

struct TopView {
  size_t width = 80, height = 24;
  TopOrder order = TopOrder::counted;
  bool is_inverted = false, with_groups = true, is_paused = false;
  bool has_unicode = true;
  std::string filter;
  std::string prompt;   // instead of the keys' names; empty for those
  size_t selected = 0;  // row; out of range: none
  size_t first = 0;     // row at the top of the list
};

// The lines of a frame, each of at most `width` columns, at most `height` of them. 0: as many as there are.
std::vector<Line> top_frame(const TopModel &, const TopView &);

// How many rows of the list fit.
size_t top_list_height(const TopView &);

}  // namespace membudget::cli
