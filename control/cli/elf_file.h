// What kind of file a program is: a look at its first bytes.
#pragma once

#include <cstdint>
#include <string>

namespace membudget::cli {

struct FileHead {
  enum Kind { unreadable, elf, script, other } kind = unreadable;
  std::string interpreter;  // of a script: what follows #!, without its argument
};
FileHead read_head(const std::string &path);

struct ElfFile {
  uint8_t elf_class = 0;    // ELFCLASS32, ELFCLASS64
  uint16_t machine = 0;     // EM_...
  std::string interpreter;  // PT_INTERP; empty in a static program
  uint64_t tls_bytes = 0;   // PT_TLS: what each thread has of it
};
// All zero for a file that is no ELF file, or is cut short.
ElfFile read_elf(const std::string &path);

}  // namespace membudget::cli
