// Included before every source of the unit tests: makes the code's yield points call what a test sets.
#pragma once

namespace membudget::unit {

extern void (*yield_hook)();

inline void yield_point() {
  if (__builtin_expect(yield_hook != nullptr, 0)) yield_hook();
}

}  // namespace membudget::unit

#define MEMBUDGET_YIELD_POINT() ::membudget::unit::yield_point()
