#include "control/cli/profile/symbols.h"

#include <cxxabi.h>
#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "control/cli/profile/perf_map.h"
#include "control/cli/profile/units.h"

namespace membudget::cli::profile {
namespace {

std::string demangled(const char *name) {
  if (!name) return "";
  int status = 0;
  std::unique_ptr<char, decltype(&free)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status), free);
  return text ? text.get() : name;
}

// The name as it was linked, which tells overloads and namespaces apart; else the plain one.
std::string function_name(Dwarf_Die *die) {
  Dwarf_Attribute attribute;
  for (unsigned name : {DW_AT_linkage_name, DW_AT_MIPS_linkage_name})
    if (dwarf_attr_integrate(die, name, &attribute)) return demangled(dwarf_formstring(&attribute));
  const char *plain = dwarf_diename(die);
  return plain ? plain : "";
}

Dwarf_Word number(Dwarf_Die *die, unsigned name) {
  Dwarf_Attribute attribute;
  Dwarf_Word value = 0;
  if (dwarf_attr(die, name, &attribute)) dwarf_formudata(&attribute, &value);
  return value;
}

// The files and functions of one process, by its map.
class Files {
 public:
  explicit Files(const std::string &maps) : dwfl_(dwfl_begin(&callbacks)) {
    std::unique_ptr<FILE, decltype(&fclose)> file(
        maps.empty() ? nullptr : fmemopen(const_cast<char *>(maps.data()), maps.size(), "r"), fclose);
    if (!dwfl_ || !file) return;
    dwfl_report_begin(dwfl_);
    dwfl_linux_proc_maps_report(dwfl_, file.get());
    dwfl_report_end(dwfl_, nullptr, nullptr);
  }
  ~Files() { dwfl_end(dwfl_); }
  Files(const Files &) = delete;
  Files &operator=(const Files &) = delete;

  Dwfl_Module *module_of(uint64_t address) const { return dwfl_ ? dwfl_addrmodule(dwfl_, address) : nullptr; }

  Mapping mapping_of(Dwfl_Module *module) const {
    Mapping m;
    const char *file = nullptr;
    const char *name = dwfl_module_info(module, nullptr, &m.start, &m.limit, nullptr, nullptr, &file, nullptr);
    m.file = file ? file : name ? name : "";
    GElf_Addr bias;
    dwfl_module_getelf(module, &bias);
    const unsigned char *bits;
    GElf_Addr where;
    int bytes = dwfl_module_build_id(module, &bits, &where);
    for (int i = 0; i < bytes; ++i) m.build_id += fmt::format("{:02x}", bits[i]);
    return m;
  }

  // What runs at `address`: inlined calls first.
  std::vector<Line> lines_of(Dwfl_Module *module, uint64_t address) {
    Dwarf_Addr bias = 0;
    Dwarf_Die *unit = units_.unit_of(module, address, &bias);
    Line line = unit ? source_of(unit, address - bias) : Line{};
    std::vector<Line> lines = inlined_lines(unit, address - bias, line);
    if (!lines.empty()) return lines;
    line.function = demangled(dwfl_module_addrname(module, address));
    if (line.function.empty() && line.file.empty()) return {};
    return {line};
  }

 private:
  static Line source_of(Dwarf_Die *unit, Dwarf_Addr address) {
    Line line;
    int number = 0;
    Dwarf_Line *source = dwarf_getsrc_die(unit, address);
    const char *file = source ? dwarf_linesrc(source, nullptr, nullptr) : nullptr;
    if (file && dwarf_lineno(source, &number) == 0) line = {"", file, number};
    return line;
  }

  // The calls around `line`, which is at `address`.
  static std::vector<Line> inlined_lines(Dwarf_Die *unit, Dwarf_Addr address, Line line) {
    Dwarf_Die *found = nullptr;
    int count = unit ? dwarf_getscopes(unit, address, &found) : 0;
    std::unique_ptr<Dwarf_Die, decltype(&free)> scopes(found, free);
    Dwarf_Files *files = nullptr;
    if (unit) dwarf_getsrcfiles(unit, &files, nullptr);
    std::vector<Line> lines;
    for (int i = 0; i < count; ++i) {
      Dwarf_Die *scope = scopes.get() + i;
      int tag = dwarf_tag(scope);
      if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram) continue;
      line.function = function_name(scope);
      lines.push_back(line);
      if (tag == DW_TAG_subprogram) break;
      const char *file = files ? dwarf_filesrc(files, number(scope, DW_AT_call_file), nullptr, nullptr) : nullptr;
      line = {"", file ? file : "", static_cast<int64_t>(number(scope, DW_AT_call_line))};
    }
    return lines;
  }

  static inline char *debug_path = nullptr;
  static inline const Dwfl_Callbacks callbacks = {dwfl_linux_proc_find_elf, dwfl_standard_find_debuginfo, nullptr,
                                                  &debug_path};
  Dwfl *dwfl_;
  Units units_;
};

class Symbolizer {
 public:
  explicit Symbolizer(Profile *profile) : profile_(*profile), files_(profile->maps), perf_map_(profile->pid) {}

  void fill_in() {
    if (Dwfl_Module *program = files_.module_of(strtoull(profile_.maps.c_str(), nullptr, 16))) mapping_of(program);
    for (Location &l : profile_.locations)
      if (!l.is_interpreted && l.lines.empty()) fill_in(&l);
    for (Entry &entry : profile_.entries) drop_own_frames(&entry);
  }

 private:
  void fill_in(Location *l) {
    uint64_t call = l->address - 1;  // where the code goes on may be in the next line, or the next function
    Dwfl_Module *module = files_.module_of(call);
    if (!module) {
      if (std::string name = perf_map_.name_of(call); !name.empty()) l->lines = {{name, "", 0}};
      return;
    }
    if (is_own(files_.mapping_of(module).file)) {
      own_.insert(static_cast<uint32_t>(l - profile_.locations.data()));
      return;
    }
    l->mapping = mapping_of(module);
    l->lines = files_.lines_of(module, call);
  }

  int mapping_of(Dwfl_Module *module) {
    auto [found, is_new] = mappings_.try_emplace(module, static_cast<int>(profile_.mappings.size()));
    if (is_new) profile_.mappings.push_back(files_.mapping_of(module));
    return found->second;
  }

  static bool is_own(const std::string &file) {
    std::string name = file.substr(file.rfind('/') + 1);
    return name == "libmembudget.so" || name == "libmembudget-stacks.so" || name.starts_with("libunwind");
  }

  void drop_own_frames(Entry *entry) const {
    auto &stack = entry->stack;
    stack.erase(stack.begin(), std::find_if(stack.begin(), stack.end(), [&](uint32_t l) { return !own_.contains(l); }));
  }

  Profile &profile_;
  Files files_;
  PerfMap perf_map_;
  std::map<Dwfl_Module *, int> mappings_;
  std::set<uint32_t> own_;  // locations in membudget's own code
};

}  // namespace

void symbolize(Profile *profile) { Symbolizer(profile).fill_in(); }

}  // namespace membudget::cli::profile
