// A comparison as one page: no scripts, nothing to load; the curves are inline SVG.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "control/cli/comparison.h"
#include "control/cli/statistics.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

// Okabe and Ito's colours, which colour-blind people tell apart; glibc, the yardstick, is grey.
constexpr const char *kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#a6761d"};
constexpr const char *kPlainColour = "#888888";

constexpr double kWidth = 860, kHeight = 380, kLeft = 80, kRight = 16, kTop = 12, kBottom = 44;

constexpr const char *kStyle = R"(
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #ffffff; --rule: #d0d0d0; --soft: #666; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #161616; --rule: #3a3a3a; --soft: #aaa; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1060px;
  margin: 2em auto; padding: 0 1em; }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { padding: .3em .8em; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
small { color: var(--soft); }
svg { width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .rule { stroke: var(--rule); } svg polyline { fill: none; stroke-linejoin: round; }
.verdict { border-left: 4px solid #0072b2; padding: .4em 1em; }
)";

std::string escaped(const std::string &text) {
  std::string out;
  for (char c : printable(text)) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

struct Scale {
  double most_s = 0.01, most_bytes = 1;
  double x(double seconds) const { return kLeft + (kWidth - kLeft - kRight) * seconds / most_s; }
  double y(double bytes) const { return kHeight - kBottom - (kHeight - kTop - kBottom) * bytes / most_bytes; }
};

// The step of an axis: 1, 2 or 5 times a power of ten, five to ten of them.
double step_of(double most) {
  double power = std::pow(10.0, std::floor(std::log10(most)));
  for (double factor : {0.1, 0.2, 0.5, 1.0})
    if (most / (power * factor) <= 10) return power * factor;
  return power;
}

Scale scale_for(const Comparison &comparison) {
  Scale scale;
  for (const Contender &contender : comparison.contenders)
    for (const Run &run : contender.runs)
      for (const RssSample &sample : run.samples) {
        scale.most_s = std::max(scale.most_s, sample.seconds);
        scale.most_bytes = std::max(scale.most_bytes, 1.05 * static_cast<double>(sample.rss_bytes));
      }
  return scale;
}

std::string axes(const Scale &scale) {
  std::string svg;
  double step_s = step_of(scale.most_s), step_mib = step_of(scale.most_bytes / 1048576);
  for (double mib = 0; mib * 1048576 <= scale.most_bytes; mib += step_mib) {
    double y = scale.y(mib * 1048576);
    svg += fmt::format("<line class=\"rule\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", kLeft, kWidth - kRight,
                       y, y);
    svg += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.4g} MiB</text>\n", kLeft - 6, y + 4, mib);
  }
  for (int i = 0; i * step_s <= scale.most_s; ++i)
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.4g} s</text>\n", scale.x(i * step_s),
                       kHeight - kBottom + 18, i * step_s);
  return svg;
}

std::string curve(const Run &run, const Scale &scale, const std::string &colour, bool is_median,
                  const std::string &name) {
  std::string points;
  for (const RssSample &sample : run.samples)
    points += fmt::format("{:.1f},{:.1f} ", scale.x(sample.seconds), scale.y(static_cast<double>(sample.rss_bytes)));
  return fmt::format(
      "<polyline points=\"{}\" stroke=\"{}\" stroke-width=\"{}\" opacity=\"{}\"><title>{}</title></polyline>\n", points,
      colour, is_median ? 2.2 : 0.8, is_median ? 1.0 : 0.35, escaped(name));
}

// The run in the middle by its wall time stands for the rest.
size_t typical_run(const Contender &contender) {
  std::vector<size_t> order(contender.runs.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return contender.runs[a].wall_s < contender.runs[b].wall_s; });
  return order.empty() ? 0 : order[order.size() / 2];
}

std::string colour_of(const Comparison &comparison, size_t index) {
  if (comparison.contenders[index].name == kPlain) return kPlainColour;
  size_t before = 0;
  for (size_t i = 0; i < index; ++i) before += comparison.contenders[i].name != kPlain;
  return kColours[before % std::size(kColours)];
}

std::string chart(const Comparison &comparison) {
  Scale scale = scale_for(comparison);
  std::string svg =
      fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"RSS over time\">\n", kWidth, kHeight);
  svg += axes(scale);
  for (bool is_median : {false, true})  // thick ones on top
    for (size_t i = 0; i < comparison.contenders.size(); ++i) {
      const Contender &contender = comparison.contenders[i];
      for (size_t run = 0; run < contender.runs.size(); ++run)
        if ((run == typical_run(contender)) == is_median)
          svg += curve(contender.runs[run], scale, colour_of(comparison, i), is_median, contender.name);
    }
  double x = kLeft;
  for (size_t i = 0; i < comparison.contenders.size(); ++i) {
    const std::string &name = comparison.contenders[i].name;
    svg += fmt::format(
        "<rect x=\"{}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"{}\">{}</text>\n", x,
        kHeight - 16, colour_of(comparison, i), x + 17, kHeight - 6, escaped(name));
    x += 40 + 7.5 * static_cast<double>(name.size());
  }
  return svg + "</svg>\n";
}

std::string table_html(const Comparison &comparison) {
  std::string html = "<div class=\"wide\"><table><thead><tr><th>allocator</th>";
  for (const Figure &figure : figures()) {
    std::string title = figure.title;
    std::transform(title.begin(), title.end(), title.begin(), [](unsigned char c) { return std::tolower(c); });
    html += fmt::format("<th>{}</th>", title);
  }
  html += "</tr></thead><tbody>\n";
  for (const Contender &contender : comparison.contenders) {
    html += fmt::format("<tr><td>{}</td>", escaped(contender.name));
    for (const Figure &figure : figures()) {
      std::vector<double> values = values_of(contender, figure);
      html += values.empty() ? "<td>-</td>"
                             : fmt::format("<td>{}<br><small>{} – {}</small></td>", figure_text(figure, median(values)),
                                           figure_text(figure, quantile(values, 0.25)),
                                           figure_text(figure, quantile(values, 0.75)));
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

}  // namespace

std::string comparison_html(const Comparison &comparison) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\">\n<title>membudget compare</title>\n<style>{}</style></head>\n<body>\n"
      "<h1>Allocators compared</h1>\n<p><code>{}</code></p>\n<p class=\"verdict\">{}</p>\n"
      "<h2>RSS over time</h2>\n{}<p><small>The typical run of each, and thinly the others.</small></p>\n"
      "<h2>Figures</h2>\n{}<p><small>Medians, and below them the span of the middle half of {} runs each. "
      "Frag: mean RSS over mean counted bytes. glibc: without membudget.</small></p>\n</body>\n</html>\n",
      kStyle, escaped(comparison.command), escaped(judge(comparison).sentence), chart(comparison),
      table_html(comparison), comparison.contenders.empty() ? 0 : comparison.contenders[0].runs.size());
}

}  // namespace membudget::cli
