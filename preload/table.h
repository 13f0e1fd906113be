// Which instance of the malloc family is in force: one table of functions, so that an exported function is
// one well-predicted jump.
#pragma once

#include <stddef.h>

#include "preload/entry.h"

#pragma GCC visibility push(hidden)  // or each use of what is declared here goes through the GOT

namespace membudget {

struct EntryTable {
  void *(*malloc)(size_t);
  void (*free)(void *);
  void *(*calloc)(size_t, size_t);
  void *(*realloc)(void *, size_t);
  void *(*memalign)(size_t, size_t);
  int (*posix_memalign)(void **, size_t, size_t);
  size_t (*usable_size)(void *);
};

template <typename A, typename Count>
constexpr EntryTable table_of() {
  using E = Entry<A, Count>;
  return {E::malloc, E::free, E::calloc, E::realloc, E::memalign, E::posix_memalign, E::usable_size};
}

extern EntryTable entry_table;

}  // namespace membudget

#pragma GCC visibility pop
