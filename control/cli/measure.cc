#include "control/cli/measure.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <sstream>

#include "control/cli/command.h"
#include "control/cli/proc.h"
#include "control/cli/statistics.h"
#include "control/cli/summary.h"
#include "control/cli/supervise.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kLookMs = 10;
constexpr double kFamilyLookS = 0.2;  // between two looks for processes that the command started
constexpr size_t kMostSamples = 2000;

// The parent's pid, field 4 of /proc/PID/stat; 0 where it cannot be read.
pid_t parent_of(const std::string &pid) {
  std::string text = read_file("/proc/" + pid + "/stat");
  size_t end_of_name = text.rfind(')');
  char state = 0;
  int parent = 0;
  if (end_of_name == std::string::npos || sscanf(text.c_str() + end_of_name + 1, " %c %d", &state, &parent) != 2)
    return 0;
  return parent;
}

// The process and all that descend from it. Costs a look at every process of the machine.
std::set<pid_t> family_of(pid_t root) {
  std::vector<std::pair<pid_t, pid_t>> processes;  // and their parents
  std::error_code error;
  for (const auto &entry : std::filesystem::directory_iterator("/proc", error)) {
    std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") == std::string::npos)
      processes.emplace_back(static_cast<pid_t>(strtol(name.c_str(), nullptr, 10)), parent_of(name));
  }
  std::set<pid_t> family = {root};
  for (bool has_grown = true; has_grown;) {
    has_grown = false;
    for (const auto &[pid, parent] : processes)
      if (family.contains(parent)) has_grown |= family.insert(pid).second;
  }
  return family;
}

// Looks at a command's memory while it runs.
class Sampler {
 public:
  explicit Sampler(SummaryKeeper *keeper) : keeper_(keeper) {}

  void look(pid_t child, bool ended) {
    double now = std::chrono::duration<double>(Clock::now() - start_).count();
    if (keeper_) keeper_->look(child, ended);
    if (ended || now < next_sample_s_) return;
    next_sample_s_ = now + interval_s_;
    if (now >= next_family_look_s_) family_ = family_of(child), next_family_look_s_ = now + kFamilyLookS;
    int64_t rss = 0;
    for (pid_t pid : family_) rss += read_rss(pid).value_or(0);
    if (rss > 0) add(now, rss);
  }

  void put_figures(Run *run) const {
    run->samples = samples_;
    run->mean_rss_bytes = rss_seconds_ > 0 ? static_cast<int64_t>(rss_seconds_ / covered_s_) : 0;
    run->end_rss_bytes = end_rss_bytes();
    for (const RssSample &sample : samples_) run->peak_rss_bytes = std::max(run->peak_rss_bytes, sample.rss_bytes);
    if (counted_seconds_ > 0) run->fragmentation_ratio = rss_seconds_ / counted_seconds_;
  }

 private:
  // The middle one of the last samples: the very last may have seen the process being torn down.
  int64_t end_rss_bytes() const {
    constexpr size_t kLast = 5;
    std::vector<double> last;
    for (size_t i = samples_.size(); i-- > 0 && last.size() < kLast;)
      last.push_back(static_cast<double>(samples_[i].rss_bytes));
    return static_cast<int64_t>(median(last));
  }

  // Means are over time, so that they do not depend on when samples were taken.
  void add(double now, int64_t rss) {
    double lasted = now - last_sample_s_;
    rss_seconds_ += lasted * static_cast<double>(rss);
    covered_s_ += lasted;
    if (keeper_ && keeper_->budget())
      counted_seconds_ += lasted * static_cast<double>(membudget_counted_bytes(keeper_->budget()));
    last_sample_s_ = now;
    samples_.push_back({now, rss});
    if (samples_.size() >= kMostSamples) thin_out();
  }

  // Every second one goes; of each two the larger stays, so that peaks do.
  void thin_out() {
    std::vector<RssSample> kept;
    for (size_t i = 0; i + 1 < samples_.size(); i += 2)
      kept.push_back(samples_[i].rss_bytes >= samples_[i + 1].rss_bytes ? samples_[i] : samples_[i + 1]);
    samples_ = kept;
    interval_s_ *= 2;
  }

  SummaryKeeper *keeper_;
  Clock::time_point start_ = Clock::now();
  double interval_s_ = 0.001 * kLookMs, next_sample_s_ = 0, next_family_look_s_ = 0, last_sample_s_ = 0;
  double rss_seconds_ = 0, counted_seconds_ = 0, covered_s_ = 0;
  std::set<pid_t> family_;
  std::vector<RssSample> samples_;
};

double seconds(const timeval &time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// In the child: nothing to read, nothing to see.
void redirect(int errors_fd) {
  int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(nothing, STDIN_FILENO);
  dup2(nothing, STDOUT_FILENO);
  dup2(errors_fd, STDERR_FILENO);
}

std::string last_line(FILE *file) {
  constexpr off_t kTail = 4096;
  off_t size = lseek(fileno(file), 0, SEEK_END);
  std::string text(kTail, '\0');
  ssize_t length = pread(fileno(file), text.data(), text.size(), std::max<off_t>(0, size - kTail));
  text.resize(length > 0 ? static_cast<size_t>(length) : 0);
  std::vector<std::string> lines = lines_of(text);
  return lines.empty() ? "" : printable(lines.back());
}

void put_outcome(const Outcome &outcome, Run *run) {
  run->exit_status = outcome.exit_status;
  run->signal = outcome.signal;
  run->wall_s = outcome.wall_s;
  run->cpu_s = seconds(outcome.usage.ru_utime) + seconds(outcome.usage.ru_stime);
  run->peak_rss_bytes = std::max<int64_t>(run->peak_rss_bytes, outcome.usage.ru_maxrss * 1024);
  if (run->mean_rss_bytes == 0) run->mean_rss_bytes = run->end_rss_bytes = run->peak_rss_bytes;  // ended at once
  run->minor_faults = static_cast<uint64_t>(outcome.usage.ru_minflt);
  run->major_faults = static_cast<uint64_t>(outcome.usage.ru_majflt);
}

}  // namespace

Run measure_run(const std::string &path, const std::vector<std::string> &command, Environment environment,
                const std::string &group) {
  std::string directory = environment.get("MEMBUDGET_DIR").value_or("");
  std::optional<SummaryKeeper> keeper;
  if (!group.empty()) {
    environment.set("MEMBUDGET_NAME", group);
    environment.set(SummaryKeeper::kKeepVariable, group);
    keeper.emplace(directory.empty() ? MEMBUDGET_DEFAULT_DIR : directory, group);
  }
  std::unique_ptr<FILE, int (*)(FILE *)> errors(tmpfile(), fclose);
  if (!errors) throw Failure{kFailed, "cannot make a temporary file in /tmp"};
  Sampler sampler(keeper ? &*keeper : nullptr);
  auto start = [&] {
    redirect(fileno(errors.get()));
    try {
      execute(path, command, environment);
    } catch (const Failure &failure) {
      fmt::print(stderr, "{}\n", failure.message);
      _exit(failure.status);
    }
  };
  Outcome outcome = supervise(
      start, keeper ? keeper->changes_fd() : -1, [&](pid_t child, bool ended) { sampler.look(child, ended); }, kLookMs);
  Run run;
  sampler.put_figures(&run);
  put_outcome(outcome, &run);
  if (keeper) {
    if (auto counters = keeper->counters()) {
      run.peak_live_bytes = counters->peak_live_bytes;
      run.peak_counted_bytes = counters->peak_counted_bytes;
    }
    keeper->clear_up();
  }
  run.last_words = last_line(errors.get());
  return run;
}

}  // namespace membudget::cli
