#include "control/cli/text.h"

#include <fmt/format.h>
#include <membudget/abi.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace membudget::cli {
namespace {

struct LevelName {
  uint32_t level;
  const char *name;
};

constexpr LevelName kLevels[] = {
    {MEMBUDGET_NONE, "none"}, {MEMBUDGET_LOW, "low"}, {MEMBUDGET_MEDIUM, "medium"}, {MEMBUDGET_CRITICAL, "critical"}};

// Bytes of the colour sequence (ESC [ ... m) that the text has at a place; 0 where there is none.
size_t colour_length(std::string_view text, size_t at) {
  if (text.substr(at, 2) != "\033[") return 0;
  size_t end = text.find('m', at);
  return end == std::string_view::npos ? 0 : end + 1 - at;
}

// Columns that a text takes, colours aside; wide characters count as one.
size_t visible_width(std::string_view text) {
  size_t width = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (size_t colour = colour_length(text, at); colour > 0)
      at += colour - 1;
    else
      width += (static_cast<unsigned char>(text[at]) & 0xc0) != 0x80;
  }
  return width;
}

std::string pad(const std::string &cell, size_t width, bool right) {
  std::string blanks(width - std::min(width, visible_width(cell)), ' ');
  return right ? blanks + cell : cell + blanks;
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// At most `width` columns; 0 is no limit. Colours are kept, whatever they paint.
std::string cut(const std::string &text, size_t width) {
  if (width == 0 || visible_width(text) <= width) return text;
  std::string kept;
  size_t columns = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    size_t colour = colour_length(text, at);
    if (colour == 0) columns += !is_continuation(text[at]);
    if (colour > 0 || columns <= width) kept += text.substr(at, std::max<size_t>(colour, 1));
    if (colour > 0) at += colour - 1;
  }
  return kept;
}

// Bytes of the UTF-8 character that the text begins with; 0 when it begins with none.
size_t character_length(std::string_view text) {
  auto first = static_cast<unsigned char>(text[0]);
  size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i)
    if (!is_continuation(text[i])) return 0;
  return length;
}

}  // namespace

std::string human_bytes(int64_t bytes) {
  constexpr const char *kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto size = static_cast<double>(bytes);
  size_t unit = 0;
  while ((size >= 1023.95 || size <= -1023.95) && unit + 1 < std::size(kUnits)) size /= 1024, ++unit;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", size, kUnits[unit]);
}

std::string human_count(uint64_t count) {
  std::string digits = std::to_string(count), text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

const char *level_name(uint32_t level) {
  const char *name = kLevels[0].name;
  for (const LevelName &known : kLevels)
    if (level >= known.level) name = known.name;
  return name;
}

bool parse_level(const std::string &text, uint32_t *out) {
  for (const LevelName &known : kLevels) {
    if (text != known.name && text != std::to_string(known.level)) continue;
    *out = known.level;
    return true;
  }
  return false;
}

std::string iso_time(uint64_t realtime_ns) {
  auto seconds = static_cast<time_t>(realtime_ns / 1'000'000'000);
  tm parts{};
  char text[32];
  if (!gmtime_r(&seconds, &parts) || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts) == 0) return "?";
  return fmt::format("{}.{:03}Z", text, realtime_ns / 1'000'000 % 1000);
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    size_t length = character_length(text);
    auto first = static_cast<unsigned char>(text[0]);
    bool is_blank = first == '\t' || first == '\n';
    bool is_control = first < 0x20 || first == 0x7f || (first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0);
    if (length == 0 || is_blank || is_control)
      out.push_back(is_blank ? ' ' : '?');
    else
      out.append(text.substr(0, length));
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string table(const std::vector<std::vector<std::string>> &rows, uint32_t right_aligned, size_t width) {
  std::vector<size_t> widths;
  for (const auto &row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], visible_width(row[i]));
  }
  std::string text;
  for (const auto &row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line += "  ";
      line += i + 1 == row.size() ? row[i] : pad(row[i], widths[i], (right_aligned >> i & 1) != 0);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += cut(line, width) + "\n";
  }
  return text;
}

std::string paragraph(std::string_view text, const std::string &indent, size_t width) {
  constexpr size_t kUsual = 100, kLeast = 40;
  size_t most = std::max(width == 0 ? kUsual : std::min(width, kUsual), kLeast);
  std::string out, line;
  while (!text.empty()) {
    size_t end = std::min(text.find(' '), text.size());
    std::string word(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && visible_width(indent + line) + 1 + visible_width(word) > most)
      out += indent + line + "\n", line.clear();
    line += (line.empty() ? "" : " ") + word;
  }
  return line.empty() ? out : out + indent + line + "\n";
}

size_t terminal_width() {
  winsize size{};
  return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

}  // namespace membudget::cli
