// The text of a CPython str, without asking the interpreter.
#pragma once

#include "preload/stacks/locations.h"
#include "preload/stacks/python_layout.h"

namespace membudget::stacks {

constexpr int kMostTextBytes = 1024;

// In UTF-8: the object's own, or written into `buffer` of kMostTextBytes and cut off there. "?" for what it cannot be.
Text python_text(const PythonLayout &, const char *object, char *buffer);

}  // namespace membudget::stacks
