// CPython's tables of line numbers.
#pragma once

#include "preload/stacks/python_layout.h"

namespace membudget::stacks {

// The line of the instruction at byte `offset` of the code that begins in `first_line`, by the bytes object `table`;
// 0 where it has none.
int python_line(LineFormat, const char *table, long offset, int first_line);

}  // namespace membudget::stacks
