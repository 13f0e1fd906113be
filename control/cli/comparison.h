// What came of running a command under several allocators, and how that is told.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "control/cli/measure.h"
#include "control/cli/report.h"

namespace membudget::cli {

constexpr const char *kPlain = "glibc";  // without the library

struct Contender {
  std::string name;  // kPlain, or what MEMBUDGET_ALLOCATOR is set to
  std::vector<Run> runs;
};

struct Comparison {
  std::string command;
  std::vector<Contender> contenders;
};

// A figure of the table: how a run has it, absent where it does not.
struct Figure {
  const char *key;    // in JSON
  const char *title;  // in tables
  enum Unit { seconds, bytes, count, ratio } unit;
  std::function<std::optional<double>(const Run &)> of;
};
const std::vector<Figure> &figures();

// The values of one figure, of the runs that have it.
std::vector<double> values_of(const Contender &, const Figure &);

// As a table shows it: "1.23 s", "45.6 MiB".
std::string figure_text(const Figure &, double value);

struct Verdict {
  std::string best, next;
  double p = 1;
  std::string confidence;  // "sure", "fairly sure", "not sure"
  std::string sentence;
};
// Which contender needs least CPU time times mean RSS, and how sure that is.
Verdict judge(const Comparison &);

Json comparison_json(const Comparison &);
std::string comparison_text(const Comparison &);

// One page that needs nothing else: the sentence, the RSS curves, the table.
std::string comparison_html(const Comparison &);

}  // namespace membudget::cli
