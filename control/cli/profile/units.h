// Which compilation unit of a file's DWARF the code at an address is from. gcc writes a table for that (.debug_aranges),
// which is all that libdw's own look-up knows of; clang writes none: there the units are asked for their ranges.
#pragma once

#include <elfutils/libdwfl.h>
#include <stdint.h>

#include <map>
#include <vector>

namespace membudget::cli::profile {

class Units {
 public:
  // NULL where there is no such unit. `bias` is what addresses in memory are above those in the DWARF.
  Dwarf_Die *unit_of(Dwfl_Module *module, uint64_t address, Dwarf_Addr *bias);

 private:
  struct Range {
    uint64_t start, end;  // in memory
    Dwarf_Die *unit;
    Dwarf_Addr bias;
  };
  using Ranges = std::vector<Range>;  // by start

  static Ranges ranges_of(Dwfl_Module *module);

  std::map<Dwfl_Module *, Ranges> modules_;
};

}  // namespace membudget::cli::profile
