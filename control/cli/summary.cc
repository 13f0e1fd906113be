#include "control/cli/summary.h"

#include <fmt/format.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>

#include "control/cli/report.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

std::string row(std::string_view label, const std::string &value, const std::string &note = "") {
  return fmt::format("  {:<20} {}{}{}\n", label, value, note.empty() ? "" : "  ", note);
}

double seconds(const timeval &time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

std::string exact(int64_t bytes) {
  return fmt::format("{:<10}", human_bytes(bytes)) + fmt::format(" ({} bytes)", bytes);
}

std::string counted_text(const Snapshot &s) {
  std::string text = row("peak live bytes", exact(s.peak_live_bytes));
  std::string share = s.limit_bytes > 0
                          ? fmt::format("{:.1f} % of the limit", 100.0 * static_cast<double>(s.peak_counted_bytes) /
                                                                     static_cast<double>(s.limit_bytes))
                          : "";
  text += row("peak counted bytes", exact(s.peak_counted_bytes), share);
  text += row("limit", s.limit_bytes > 0 ? exact(s.limit_bytes) : "none");
  return text + row("crossings", human_count(s.crossings));
}

std::string ending(const Outcome &outcome) {
  if (outcome.signal == 0) return fmt::format("exit status {}", outcome.exit_status);
  return fmt::format("killed by signal {} ({})", outcome.signal, strsignal(outcome.signal));
}

}  // namespace

SummaryKeeper::SummaryKeeper(std::string directory, std::string name)
    : directory_(std::move(directory)), name_(std::move(name)) {
  clock_gettime(CLOCK_REALTIME_COARSE, &started_);  // the clock of file times
  changes_fd_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (changes_fd_ >= 0) watch_ = inotify_add_watch(changes_fd_, directory_.c_str(), IN_CREATE | IN_MOVED_TO);
}

SummaryKeeper::~SummaryKeeper() {
  if (changes_fd_ >= 0) close(changes_fd_);
}

// A block of that name may have been left there by an earlier process with the same pid.
bool SummaryKeeper::was_made_since_start(const std::string &name) const {
  struct stat about {};
  std::string path = fmt::format("{}/" MEMBUDGET_FILE_PREFIX "{}", directory_, name);
  if (stat(path.c_str(), &about) != 0) return false;
  const timespec &changed = about.st_ctim;
  return changed.tv_sec != started_.tv_sec ? changed.tv_sec > started_.tv_sec : changed.tv_nsec >= started_.tv_nsec;
}

// Whether the target can be opened, so lives.
bool SummaryKeeper::is_alive(const std::string &target) const {
  membudget_t *found = nullptr;
  int error = membudget_open_at(directory_.c_str(), target.c_str(), &found);
  membudget_close(found);
  return error == 0;
}

// The name of a group that the command began without being given one: its pid, or the pid and a number where others
// have that. Empty: it has not begun yet. In another group it is before it executes, perhaps.
std::string SummaryKeeper::name_begun_by(pid_t child, bool ended) const {
  std::string pid = std::to_string(child), name = pid;
  for (int i = 2; ended && !was_made_since_start(name); ++i) {
    name = fmt::format("{}-{}", pid, i);
    if (!std::filesystem::exists(fmt::format("{}/" MEMBUDGET_FILE_PREFIX "{}", directory_, name))) return pid;
  }
  if (ended) return name;
  membudget_t *found = nullptr;
  Snapshot snapshot{};
  membudget_open_at(directory_.c_str(), pid.c_str(), &found);
  Budget budget(found);
  bool is_known = budget && membudget_snapshot(budget.get(), &snapshot, sizeof snapshot) == 0 && snapshot.pid == child;
  name = is_known ? snapshot.name : "";
  return name == pid || name.starts_with(pid + "-") ? name : "";
}

void SummaryKeeper::look(pid_t child, bool ended) {
  char events[4096];
  while (changes_fd_ >= 0 && read(changes_fd_, events, sizeof events) > 0) {}
  if (budget_) return;
  bool is_given = !name_.empty();
  if (!is_given) name_ = name_begun_by(child, ended);
  if (name_.empty()) return;
  // A block that is older counts only once the command is in its group.
  bool is_there =
      was_made_since_start(name_) || (ended ? is_given && is_alive(name_) : is_alive(std::to_string(child)));
  membudget_t *found = nullptr;
  if (is_there && membudget_open_ended(directory_.c_str(), name_.c_str(), &found) == 0) budget_.reset(found);
  if (budget_ && watch_ >= 0) inotify_rm_watch(changes_fd_, watch_);
}

std::optional<Snapshot> SummaryKeeper::counters() const {
  Snapshot snapshot{};
  if (!budget_ || membudget_snapshot(budget_.get(), &snapshot, sizeof snapshot) != 0) return std::nullopt;
  return snapshot;
}

std::string SummaryKeeper::text(const Outcome &outcome, const std::vector<std::string> &command) const {
  std::string line;
  for (const std::string &word : command) line += (line.empty() ? "" : " ") + word;
  std::string text = fmt::format("membudget: {} (group {}): {}\n", printable(line), name_, ending(outcome));
  if (auto snapshot = counters())
    text += counted_text(*snapshot);
  else
    text += row("counted", "not known: the command ended at once, or its budget is not in " + directory_);
  text +=
      row("page faults", fmt::format("{} minor, {} major", human_count(static_cast<uint64_t>(outcome.usage.ru_minflt)),
                                     human_count(static_cast<uint64_t>(outcome.usage.ru_majflt))));
  text += row("peak RSS", exact(outcome.usage.ru_maxrss * 1024), "of the largest process");
  text += row("time", fmt::format("{:.2f} s, {:.2f} s user, {:.2f} s system", outcome.wall_s,
                                  seconds(outcome.usage.ru_utime), seconds(outcome.usage.ru_stime)));
  return text;
}

std::string SummaryKeeper::json(const Outcome &outcome, const std::vector<std::string> &command) const {
  Json object = {{"name", name_},
                 {"command", command},
                 {"exit_status", outcome.exit_status},
                 {"minor_faults", outcome.usage.ru_minflt},
                 {"major_faults", outcome.usage.ru_majflt},
                 {"peak_rss_bytes", outcome.usage.ru_maxrss * 1024},
                 {"wall_s", outcome.wall_s},
                 {"user_s", seconds(outcome.usage.ru_utime)},
                 {"system_s", seconds(outcome.usage.ru_stime)}};
  if (outcome.signal != 0) object["signal"] = outcome.signal;
  if (auto snapshot = counters()) {
    object["limit_bytes"] = snapshot->limit_bytes;
    object["peak_live_bytes"] = snapshot->peak_live_bytes;
    object["peak_counted_bytes"] = snapshot->peak_counted_bytes;
    object["crossings"] = snapshot->crossings;
  }
  return json_text(object) + "\n";
}

}  // namespace membudget::cli
