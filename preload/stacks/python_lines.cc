#include "preload/stacks/python_lines.h"

#include <stdint.h>

namespace membudget::stacks {
namespace {

struct Bytes {
  const uint8_t *at, *end;
};

// A bytes object: its length, its hash, its bytes.
Bytes bytes_of(const char *object) {
  auto *first = reinterpret_cast<const uint8_t *>(object) + 32;
  return {first, first + *reinterpret_cast<const int64_t *>(object + 16)};
}

// (bytes of code, change of line): the change comes before the instruction that the bytes lead up to.
int line_by_pairs(Bytes table, long offset, int line) {
  long covered = 0;
  for (; table.at + 1 < table.end; table.at += 2) {
    covered += table.at[0];
    if (covered > offset) break;
    line += static_cast<int8_t>(table.at[1]);
  }
  return line;
}

// (bytes of code, change of line): the change holds for those bytes; -128: they have no line.
int line_by_pairs_or_none(Bytes table, long offset, int line) {
  constexpr int8_t kNone = -128;
  long covered = 0;
  for (; table.at + 1 < table.end; table.at += 2) {
    covered += table.at[0];
    auto change = static_cast<int8_t>(table.at[1]);
    if (change != kNone) line += change;
    if (covered > offset) return change == kNone ? 0 : line;
  }
  return line;
}

// Entries begin with a byte that has its highest bit set: a kind, and how many code units it covers.
class Entries {
 public:
  explicit Entries(Bytes table) : table_(table) {}

  int line_at(long offset, int line) {
    for (long covered = 0; table_.at < table_.end;) {
      uint8_t first = *table_.at++;
      int kind = (first >> 3) & 15;
      line += change_of(kind);
      covered += ((first & 7) + 1) * 2;
      if (offset < covered) return kind == kNoLine ? 0 : line;
      while (table_.at < table_.end && !(*table_.at & 128)) ++table_.at;
    }
    return line;
  }

 private:
  static constexpr int kNoLine = 15, kLong = 14, kNoColumns = 13, kOneLine0 = 10, kOneLine2 = 12;

  int change_of(int kind) {
    if (kind == kLong || kind == kNoColumns) return signed_number();
    return kind >= kOneLine0 && kind <= kOneLine2 ? kind - kOneLine0 : 0;
  }

  int signed_number() {
    uint32_t value = 0;
    for (int shift = 0; table_.at < table_.end && shift < 32; shift += 6) {
      uint8_t part = *table_.at++;
      value |= static_cast<uint32_t>(part & 63) << shift;
      if (!(part & 64)) break;
    }
    return value & 1 ? -static_cast<int>(value >> 1) : static_cast<int>(value >> 1);
  }

  Bytes table_;
};

}  // namespace

int python_line(LineFormat format, const char *table, long offset, int first_line) {
  switch (format) {
    case LineFormat::pairs: return line_by_pairs(bytes_of(table), offset, first_line);
    case LineFormat::pairs_or_none: return line_by_pairs_or_none(bytes_of(table), offset, first_line);
    case LineFormat::entries: break;
  }
  return Entries(bytes_of(table)).line_at(offset, first_line);
}

}  // namespace membudget::stacks
