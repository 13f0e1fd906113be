// Figures and texts as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace membudget::cli {

// "0 B", "999 B", "1.5 KiB", "230.4 MiB"; negative sizes keep their sign.
std::string human_bytes(int64_t bytes);

// "1,234,567".
std::string human_count(uint64_t count);

// "none", "low", "medium", "critical".
const char *level_name(uint32_t level);

// A level by name or number. False when it is none.
bool parse_level(const std::string &text, uint32_t *out);

// "2024-05-17T09:30:00.123Z".
std::string iso_time(uint64_t realtime_ns);

// Text of another process, made safe for a terminal and for one line: control characters become blanks or
// '?'.
std::string printable(std::string_view text);

// The lines of a text, without empty ones.
std::vector<std::string> lines_of(std::string_view text);

// Rows in aligned columns, the first row being the headings. Columns whose bit is set in `right_aligned`
// are so; the last one is cut off so that lines fit `width` (0: not at all).
std::string table(const std::vector<std::vector<std::string>> &rows, uint32_t right_aligned, size_t width);

// A paragraph in lines of at most `width` columns (0: 100), each after `indent`.
std::string paragraph(std::string_view text, const std::string &indent, size_t width);

// Columns of the terminal on standard output; 0 when it is none.
size_t terminal_width();

}  // namespace membudget::cli
