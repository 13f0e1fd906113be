// Symbols of the loaded objects, without dlsym: that takes the loader's lock, which another thread may hold for long.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace membudget::stacks {

struct Symbol {
  const char *name;
  uintptr_t address = 0;
  size_t bytes = 0;
};

// Finds the exported symbols of an object that has them all; false when none has. The loader's list is locked for
// as long as it is read, by a lock that the same thread may hold.
bool find_symbols(Symbol *symbols, int count);

// How many objects were ever loaded: when it changes, it is worth another look.
uint64_t loads_so_far();

}  // namespace membudget::stacks
