#include "control/cli/profile/units.h"

#include <elfutils/libdw.h>

#include <algorithm>

namespace membudget::cli::profile {

Units::Ranges Units::ranges_of(Dwfl_Module *module) {
  Ranges ranges;
  Dwarf_Addr bias = 0;
  for (Dwarf_Die *unit = nullptr; (unit = dwfl_module_nextcu(module, unit, &bias));) {
    Dwarf_Addr base = 0, start = 0, end = 0;
    for (ptrdiff_t at = 0; (at = dwarf_ranges(unit, at, &base, &start, &end)) > 0;)
      if (start < end) ranges.push_back({start + bias, end + bias, unit, bias});
  }
  std::sort(ranges.begin(), ranges.end(), [](const Range &a, const Range &b) { return a.start < b.start; });
  return ranges;
}

Dwarf_Die *Units::unit_of(Dwfl_Module *module, uint64_t address, Dwarf_Addr *bias) {
  if (Dwarf_Die *unit = dwfl_module_addrdie(module, address, bias)) return unit;
  auto [found, is_new] = modules_.try_emplace(module);
  if (is_new) found->second = ranges_of(module);
  const Ranges &ranges = found->second;
  auto next = std::upper_bound(ranges.begin(), ranges.end(), address,
                               [](uint64_t value, const Range &range) { return value < range.start; });
  if (next == ranges.begin() || address >= std::prev(next)->end) return nullptr;
  *bias = std::prev(next)->bias;
  return std::prev(next)->unit;
}

}  // namespace membudget::cli::profile
