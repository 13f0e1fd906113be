// Colours, where standard output is a terminal that shows them and the user has not declined (NO_COLOR).
#pragma once

#include <cstdint>
#include <string>

namespace membudget::cli {

// Whether colours are wanted: a terminal, NO_COLOR unset or empty, TERM neither empty nor "dumb".
bool has_colour();

// The text as a heading, in the colour of a level, or as it is.
std::string heading(const std::string &text);
std::string in_level_colour(uint32_t level, const std::string &text);

}  // namespace membudget::cli
