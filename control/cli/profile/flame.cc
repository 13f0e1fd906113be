#include "control/cli/profile/flame.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "control/cli/profile/sites.h"
#include "control/cli/text.h"

namespace membudget::cli::profile {
namespace {

constexpr double kWidth = 1200, kRow = 18, kTop = 44, kNarrowest = 0.3, kCharacter = 6.6;

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

// A call and what is live under it. A profile with a base may have less than nothing somewhere: widths are of the
// absolute bytes.
struct Node {
  std::string name;
  Amounts amounts;
  double width = 0;
  int hue = 0;  // by kind of code
  std::map<std::string, Node> callees;
};

enum Hue { kNative = 32, kInterpreted = 205, kMapped = 285 };

class Tree {
 public:
  explicit Tree(const Profile &profile) : profile_(profile) {
    root.name = "all";
    for (const Entry &entry : profile.entries)
      if (entry.amounts.live_bytes != 0) add(entry);
    measure(&root);
  }

  Node root;

 private:
  void add(const Entry &entry) {
    Node *node = &root;
    node->amounts += entry.amounts;
    for (auto place = entry.stack.rbegin(); place != entry.stack.rend(); ++place) {
      const Location &l = profile_.locations[*place];
      if (l.lines.empty()) {
        node = descend(node, name_of(profile_, l), l, entry);
        continue;
      }
      for (auto line = l.lines.rbegin(); line != l.lines.rend(); ++line)
        node = descend(node, label(l, *line), l, entry);
    }
    node->width += std::abs(entry.amounts.live_bytes);
    if (entry.is_mapped) node->hue = kMapped;
  }

  std::string label(const Location &l, const Line &line) const {
    if (line.function.empty()) return name_of(profile_, l);
    if (!l.is_interpreted) return line.function;
    return fmt::format("{} {}:{}", line.function, line.file.substr(line.file.rfind('/') + 1), line.line);
  }

  Node *descend(Node *from, const std::string &name, const Location &l, const Entry &entry) {
    Node *node = &from->callees[name];
    node->name = name;
    node->hue = l.is_interpreted ? kInterpreted : kNative;
    node->amounts += entry.amounts;
    return node;
  }

  static double measure(Node *node) {
    for (auto &[name, callee] : node->callees) node->width += measure(&callee);
    return node->width;
  }

  const Profile &profile_;
};

class Drawing {
 public:
  explicit Drawing(const Profile &profile) : profile_(profile), tree_(profile) {}

  std::string svg() {
    draw(tree_.root, 0, kWidth, 0);
    double height = kTop + kRow * rows_ + 8;
    return fmt::format(kSvg, fmt::arg("width", kWidth), fmt::arg("height", height),
                       fmt::arg("title", escaped(heading(profile_))), fmt::arg("frames", frames_),
                       fmt::arg("script", kScript));
  }

 private:
  static constexpr const char *kSvg =
      R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="100%" font-family="ui-monospace,Menlo,monospace" font-size="11">
<title>{title}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="8" y="18" font-size="13" font-family="sans-serif">{title}</text>
<text id="detail" x="8" y="35" fill="#444" font-family="sans-serif">Width: live bytes, estimated. Blue: interpreted; orange: native; violet: mapped. Click a frame to zoom, the topmost to zoom out.</text>
<g id="frames">
{frames}</g>
<script><![CDATA[{script}]]></script>
</svg>
)";

  // Zooms by moving and scaling; each frame knows its place among all, from 0 to 1200.
  static constexpr const char *kScript = R"(
(function () {
  var svg = document.currentScript.closest('svg'), detail = svg.querySelector('#detail'), hint = detail.textContent;
  var frames = Array.prototype.slice.call(svg.querySelectorAll('#frames > g'));
  function number(frame, name) { return parseFloat(frame.getAttribute('data-' + name)); }
  function fit(frame, x, width) {
    var rect = frame.querySelector('rect'), text = frame.querySelector('text'), name = frame.getAttribute('data-name');
    rect.setAttribute('x', x); rect.setAttribute('width', Math.max(0, width - 0.4));
    text.setAttribute('x', x + 3);
    var room = Math.floor((width - 6) / 6.6);
    text.textContent = room < 3 ? '' : name.length <= room ? name : name.slice(0, room - 1) + '\u2026';
    frame.style.display = width < 0.2 ? 'none' : '';
  }
  function zoom(to) {
    var left = number(to, 'x'), width = number(to, 'w'), level = number(to, 'd');
    frames.forEach(function (frame) {
      var x = number(frame, 'x'), w = number(frame, 'w'), below = number(frame, 'd') < level;
      var inside = below ? x <= left + 0.001 && x + w >= left + width - 0.001 : x >= left - 0.001 && x + w <= left + width + 0.001;
      if (!inside) { frame.style.display = 'none'; return; }
      frame.style.opacity = below ? 0.5 : 1;
      if (below) fit(frame, 0, 1200); else fit(frame, (x - left) * 1200 / width, w * 1200 / width);
    });
  }
  frames.forEach(function (frame) {
    frame.style.cursor = 'pointer';
    frame.addEventListener('click', function () { zoom(frame); });
    frame.addEventListener('mouseover', function () { detail.textContent = frame.querySelector('title').textContent; });
    frame.addEventListener('mouseout', function () { detail.textContent = hint; });
  });
})();
)";

  static std::string shortened(const std::string &name, double width) {
    auto room = static_cast<size_t>(std::max(0.0, (width - 6) / kCharacter));
    if (room < 3) return "";
    return name.size() <= room ? name : name.substr(0, room - 1) + "\xe2\x80\xa6";
  }

  // The whole on top, callees below it: the wide ones are seen first, however deep the stacks.
  void draw(const Node &node, double x, double width, int row) {
    if (width < kNarrowest) return;
    rows_ = std::max(rows_, row + 1);
    double y = kTop + kRow * row;
    double share = tree_.root.width > 0 ? 100 * node.width / tree_.root.width : 0;
    std::string about = fmt::format(
        "{}: {} \xc2\xb1 {} ({:.1f} %), {:.0f} blocks", node.name, human_bytes(std::llround(node.amounts.live_bytes)),
        human_bytes(std::llround(std::sqrt(node.amounts.live_variance))), share, node.amounts.live_blocks);
    frames_ += fmt::format(
        "<g data-x=\"{0:.3f}\" data-w=\"{1:.3f}\" data-d=\"{2}\" data-name=\"{3}\"><title>{4}</title>"
        "<rect x=\"{0:.2f}\" y=\"{5}\" width=\"{6:.2f}\" height=\"{7}\" rx=\"2\" fill=\"hsl({8},{9}%,{10}%)\"/>"
        "<text x=\"{11:.2f}\" y=\"{12}\">{13}</text></g>\n",
        x, width, row, escaped(node.name), escaped(about), y, std::max(0.0, width - 0.4), kRow - 1,
        node.hue ? node.hue : 0, node.hue ? 70 : 0, 68 + static_cast<int>(std::hash<std::string>{}(node.name) % 12),
        x + 3, y + 13, escaped(shortened(node.name, width)));
    for (const auto &[name, callee] : node.callees) {
      double part = node.width > 0 ? width * callee.width / node.width : 0;
      draw(callee, x, part, row + 1);
      x += part;
    }
  }

  const Profile &profile_;
  Tree tree_;
  std::string frames_;
  int rows_ = 1;
};

std::string table_rows(const Profile &profile) {
  std::string rows;
  for (const Site &site : sites_of(profile))
    rows += fmt::format("<tr><td>{}</td><td>{}</td><td>{:.0f}</td><td>{}</td><td>{}</td></tr>\n",
                        human_bytes(std::llround(site.amounts.live_bytes)),
                        human_bytes(std::llround(std::sqrt(site.amounts.live_variance))), site.amounts.live_blocks,
                        human_bytes(std::llround(site.amounts.allocated_bytes)), escaped(site.name));
  return rows;
}

}  // namespace

std::string to_svg(const Profile &profile) { return Drawing(profile).svg(); }

std::string to_html(const Profile &profile) {
  return fmt::format(R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{0}</title>
<style>body{{font:14px sans-serif;margin:1em;color:#222}}table{{border-collapse:collapse;margin-top:1em}}
td,th{{padding:2px 10px;text-align:right;white-space:nowrap}}td:last-child,th:last-child{{text-align:left;font-family:monospace}}
tr:nth-child(even){{background:#f4f4f4}}</style></head><body>
{1}
<table><tr><th>Live</th><th>&plusmn;</th><th>Blocks</th><th>Allocated</th><th>Where</th></tr>
{2}</table></body></html>
)",
                     escaped(heading(profile)), to_svg(profile), table_rows(profile));
}

}  // namespace membudget::cli::profile
