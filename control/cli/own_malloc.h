// Allocators that are linked into a program or library, where no preloaded library can replace them.
#pragma once

#include <string>

namespace membudget::cli {

struct OwnMalloc {
  std::string runtime;          // "Go's runtime", "Rust's jemalloc"...: memory past malloc; empty: none was found
  bool defines_malloc = false;  // exports malloc itself
  bool uses_deepbind = false;   // calls dlopen with RTLD_DEEPBIND
};

// Looks into the ELF file for what these leave there; all false where it cannot be read. Reads the whole file.
OwnMalloc find_own_malloc(const std::string &path);

// The AddressSanitizer's runtime that a program is linked with ("libasan.so.8"), which ends the program at once when
// another library is preloaded before it. Empty: none, or one that is linked in statically, as clang does it.
std::string needed_sanitizer(const std::string &path);

}  // namespace membudget::cli
