#include "control/cli/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "control/cli/statistics.h"
#include "control/cli/style.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

constexpr double kSure = 0.01, kFairlySure = 0.05;
constexpr double kLeastCpuS = 0.001;  // below what the kernel can tell

template <typename Value>
std::optional<double> number(const std::optional<Value> &value) {
  return value ? std::optional<double>(static_cast<double>(*value)) : std::nullopt;
}

// What a run costs: CPU time times mean RSS. Each alone can be bought with the other.
std::vector<double> costs_of(const Contender &contender) {
  std::vector<double> costs;
  for (const Run &run : contender.runs)
    costs.push_back(std::max(run.cpu_s, kLeastCpuS) * static_cast<double>(run.mean_rss_bytes));
  return costs;
}

double median_of(const Contender &contender, double (*of)(const Run &)) {
  std::vector<double> values;
  for (const Run &run : contender.runs) values.push_back(of(run));
  return median(values);
}

std::string change(const Contender &from, const Contender &to, double (*of)(const Run &)) {
  double before = median_of(from, of);
  if (before <= 0) return "unknown";
  auto percent = static_cast<int>(std::lround(100 * (median_of(to, of) / before - 1)));
  return percent == 0 ? "the same" : fmt::format("{:+} %", percent);
}

// "CPU time -3 %, mean RSS -12 % against plain glibc"; empty for glibc itself.
std::string gain(const Comparison &comparison, const Contender &best) {
  for (const Contender &plain : comparison.contenders)
    if (plain.name == kPlain && best.name != kPlain)
      return fmt::format("CPU time {}, mean RSS {}, peak RSS {} against plain glibc",
                         change(plain, best, [](const Run &run) { return run.cpu_s; }),
                         change(plain, best, [](const Run &run) { return static_cast<double>(run.mean_rss_bytes); }),
                         change(plain, best, [](const Run &run) { return static_cast<double>(run.peak_rss_bytes); }));
  return "least CPU time times mean RSS";
}

std::string shown_name(const std::string &name) { return name == kPlain ? "plain glibc" : printable(name); }

std::string sentence_for(const Verdict &verdict, const RankTest &test, size_t runs, const std::string &gain) {
  std::string pairs = fmt::format("{:.4g} of {:.0f} pairs of runs, p = {:.2g}", test.pairs_won, test.pairs, test.p);
  if (verdict.confidence == "not sure")
    return fmt::format(
        "{} looks best for this program ({}), but {} run{} each do not tell it from {} (cheaper in {}): "
        "not sure; take more with --runs.",
        shown_name(verdict.best), gain, runs, runs == 1 ? "" : "s", shown_name(verdict.next), pairs);
  return fmt::format("{} serves this program best: {}. That is {}: it was cheaper than the next, {}, in {}.",
                     shown_name(verdict.best), gain, verdict.confidence, shown_name(verdict.next), pairs);
}

// Median, and below it the span of the middle half, or of all where there are few.
std::string spread_text(const Figure &figure, const std::vector<double> &values) {
  if (values.empty()) return "-";
  double middle = median(values), low = quantile(values, 0.25), high = quantile(values, 0.75);
  double spread = middle > 0 ? 100 * (high - low) / 2 / middle : 0;
  std::string text = figure_text(figure, middle);
  return spread >= 0.5 ? fmt::format("{} ±{:.0f}%", text, spread) : text;
}

Json values_json(const std::vector<double> &values, bool is_whole) {
  auto put = [&](double value) { return is_whole ? Json(static_cast<int64_t>(value + 0.5)) : Json(value); };
  Json all = Json::array();
  for (double value : values) all.push_back(put(value));
  return {{"median", put(median(values))},
          {"low", put(quantile(values, 0.25))},
          {"high", put(quantile(values, 0.75))},
          {"runs", all}};
}

}  // namespace

const std::vector<Figure> &figures() {
  using R = Run;
  static const std::vector<Figure> kFigures = {
      {"wall_seconds", "WALL", Figure::seconds, [](const R &r) { return std::optional(r.wall_s); }},
      {"cpu_seconds", "CPU", Figure::seconds, [](const R &r) { return std::optional(r.cpu_s); }},
      {"peak_rss_bytes", "PEAK RSS", Figure::bytes, [](const R &r) { return number(std::optional(r.peak_rss_bytes)); }},
      {"mean_rss_bytes", "MEAN RSS", Figure::bytes, [](const R &r) { return number(std::optional(r.mean_rss_bytes)); }},
      {"end_rss_bytes", "END RSS", Figure::bytes, [](const R &r) { return number(std::optional(r.end_rss_bytes)); }},
      {"peak_live_bytes", "PEAK LIVE", Figure::bytes, [](const R &r) { return number(r.peak_live_bytes); }},
      {"peak_counted_bytes", "PEAK COUNTED", Figure::bytes, [](const R &r) { return number(r.peak_counted_bytes); }},
      {"fragmentation_ratio", "FRAG", Figure::ratio, [](const R &r) { return r.fragmentation_ratio; }},
      {"minor_faults", "MINOR FAULTS", Figure::count, [](const R &r) { return number(std::optional(r.minor_faults)); }},
      {"major_faults", "MAJOR", Figure::count, [](const R &r) { return number(std::optional(r.major_faults)); }},
  };
  return kFigures;
}

std::vector<double> values_of(const Contender &contender, const Figure &figure) {
  std::vector<double> values;
  for (const Run &run : contender.runs)
    if (auto value = figure.of(run)) values.push_back(*value);
  return values;
}

std::string figure_text(const Figure &figure, double value) {
  switch (figure.unit) {
    case Figure::seconds: return fmt::format("{:.2f} s", value);
    case Figure::bytes: return human_bytes(static_cast<int64_t>(value));
    case Figure::count: return human_count(static_cast<uint64_t>(value));
    case Figure::ratio: break;
  }
  return fmt::format("{:.2f}", value);
}

Verdict judge(const Comparison &comparison) {
  std::vector<const Contender *> ranking;
  for (const Contender &contender : comparison.contenders)
    if (!contender.runs.empty()) ranking.push_back(&contender);
  std::stable_sort(ranking.begin(), ranking.end(),
                   [](const Contender *a, const Contender *b) { return median(costs_of(*a)) < median(costs_of(*b)); });
  Verdict verdict;
  if (ranking.size() < 2) return verdict.sentence = "There is nothing to compare.", verdict;
  const Contender &best = *ranking[0], &next = *ranking[1];
  RankTest test = compare_samples(costs_of(best), costs_of(next));
  verdict.best = best.name;
  verdict.next = next.name;
  verdict.p = test.p;
  verdict.confidence = test.p <= kSure ? "sure" : test.p <= kFairlySure ? "fairly sure" : "not sure";
  verdict.sentence = sentence_for(verdict, test, best.runs.size(), gain(comparison, best));
  return verdict;
}

Json comparison_json(const Comparison &comparison) {
  Json contenders = Json::array();
  for (const Contender &contender : comparison.contenders) {
    Json json{{"allocator", contender.name}};
    for (const Figure &figure : figures()) {
      std::vector<double> values = values_of(contender, figure);
      bool is_whole = figure.unit == Figure::bytes || figure.unit == Figure::count;
      if (!values.empty()) json[figure.key] = values_json(values, is_whole);
    }
    Json statuses = Json::array(), curves = Json::array();
    for (const Run &run : contender.runs) {
      statuses.push_back(run.exit_status);
      Json curve = Json::array();
      for (const RssSample &sample : run.samples) curve.push_back({sample.seconds, sample.rss_bytes});
      curves.push_back(curve);
    }
    json["exit_statuses"] = statuses;
    json["rss_curves"] = curves;  // [seconds, bytes] for each run
    contenders.push_back(json);
  }
  Verdict verdict = judge(comparison);
  return {{"command", comparison.command},
          {"allocators", contenders},
          {"verdict",
           {{"best", verdict.best},
            {"next", verdict.next},
            {"p", verdict.p},
            {"confidence", verdict.confidence},
            {"sentence", verdict.sentence}}}};
}

std::string comparison_text(const Comparison &comparison) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> heads = {"ALLOCATOR"};
  for (const Figure &figure : figures())
    if (std::string(figure.key) != "peak_counted_bytes") heads.push_back(figure.title);
  rows.push_back(heads);
  for (const Contender &contender : comparison.contenders) {
    std::vector<std::string> row = {printable(contender.name)};
    for (const Figure &figure : figures())
      if (std::string(figure.key) != "peak_counted_bytes")
        row.push_back(spread_text(figure, values_of(contender, figure)));
    rows.push_back(row);
  }
  size_t runs = comparison.contenders.empty() ? 0 : comparison.contenders[0].runs.size();
  return table(rows, 0x7fe, 0) +
         fmt::format(
             "\nMedians of {} run{}, ± half the span of the middle half. FRAG: mean RSS over mean counted bytes.\n\n",
             runs, runs == 1 ? "" : "s") +
         paragraph(judge(comparison).sentence, "", terminal_width());
}

}  // namespace membudget::cli
