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

// Finds the exported symbols of an object that has them all. The loader's list is locked for as long as it is read, by a
// lock that the same thread may hold. `being_loaded`: there is one, but another thread is about to load it, and nothing
// in it can be called yet.
enum class Found { no, yes, being_loaded };
Found find_symbols(Symbol *symbols, int count);

// How many objects were ever loaded, and unloaded: when that changes, it is worth another look, and what is known of
// the code at an address may be wrong.
struct LoadedObjects {
  uint64_t loads = 0, unloads = 0;
};
LoadedObjects loaded_objects();

// Calls function(argument, objects) with the loader's list locked: what is loaded then stays so until it returns.
void with_objects_kept(void (*function)(void *, const LoadedObjects &), void *argument);

}  // namespace membudget::stacks
