// Running a command once, and what that took.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control/cli/environment.h"

namespace membudget::cli {

struct RssSample {
  double seconds = 0;     // since the start
  int64_t rss_bytes = 0;  // of the command and the processes that it started, together
};

struct Run {
  int exit_status = 0;  // as a shell has it
  int signal = 0;
  std::string last_words;  // the last line that it wrote on standard error
  double wall_s = 0, cpu_s = 0;
  int64_t peak_rss_bytes = 0, mean_rss_bytes = 0;
  int64_t end_rss_bytes = 0;  // in its last 50 ms or so
  uint64_t minor_faults = 0, major_faults = 0;
  // Only under the library.
  std::optional<int64_t> peak_live_bytes, peak_counted_bytes;
  std::optional<double> fragmentation_ratio;  // mean RSS over mean counted bytes
  std::vector<RssSample> samples;
};

// Runs the command in that environment, with nothing on its standard input and what it prints thrown away, and
// looks at its memory every 10 ms. `group` is the name of its budget's group, empty where it runs without one.
Run measure_run(const std::string &path, const std::vector<std::string> &command, Environment environment,
                const std::string &group);

}  // namespace membudget::cli
