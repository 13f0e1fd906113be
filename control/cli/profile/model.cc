#include "control/cli/profile/model.h"

#include <fmt/format.h>

#include <map>

namespace membudget::cli::profile {
namespace {

std::string base_name(const std::string &path) { return path.substr(path.rfind('/') + 1); }

// A place in two profiles that is the same: by what is known of it, since addresses differ from run to run.
std::string key_of(const Profile &p, const Location &l) {
  if (l.lines.empty() || l.lines[0].function.empty()) return name_of(p, l);
  std::string key;
  for (const Line &line : l.lines) key += fmt::format("{}\0{}\0{}\0", line.function, line.file, line.line);
  return key;
}

std::string key_of(const Profile &p, const Entry &entry) {
  std::string key = entry.is_mapped ? "m" : "";
  for (uint32_t l : entry.stack) key += key_of(p, p.locations[l]) + "\n";
  return key;
}

bool is_library_of_the_language(const std::string &file) {
  std::string name = base_name(file);
  for (const char *prefix :
       {"libc.so", "libc-", "libstdc++", "libgcc_s", "ld-linux", "libc++", "libm.so", "libpthread"})
    if (name.starts_with(prefix)) return true;
  return false;
}

// Python's own modules: who calls them wants the memory. What is installed beside them is as good as the user's own.
bool is_library_of_the_language(const Line &line) {
  if (line.file.starts_with("<frozen ")) return true;
  return line.file.find("/lib/python3.") != std::string::npos && line.file.find("-packages/") == std::string::npos;
}

bool is_allocation(const std::string &function) {
  for (const char *prefix :
       {"operator new", "std::", "__gnu_cxx::", "__libc_", "void std::", "malloc", "calloc", "realloc",
        "posix_memalign", "aligned_alloc", "strdup", "xmalloc", "g_malloc", "g_realloc", "g_slice_"})
    if (function.starts_with(prefix)) return true;
  return false;
}

std::string text_of(const Line &line) {
  std::string text = line.function.empty() ? "?" : line.function;
  if (!line.file.empty()) text += fmt::format(" {}:{}", line.file, line.line);
  return text;
}

}  // namespace

Amounts &Amounts::operator+=(const Amounts &other) {
  live_bytes += other.live_bytes;
  live_blocks += other.live_blocks;
  allocated_bytes += other.allocated_bytes;
  allocated_blocks += other.allocated_blocks;
  live_variance += other.live_variance;
  allocated_variance += other.allocated_variance;
  return *this;
}

Amounts Amounts::operator-() const {
  return {-live_bytes, -live_blocks, -allocated_bytes, -allocated_blocks, live_variance, allocated_variance};
}

Amounts Profile::total(bool mapped) const {
  Amounts sum;
  for (const Entry &entry : entries)
    if (entry.is_mapped == mapped) sum += entry.amounts;
  return sum;
}

void add(Profile *to, const Profile &other) {
  auto first_location = static_cast<uint32_t>(to->locations.size());
  int first_mapping = static_cast<int>(to->mappings.size());
  to->mappings.insert(to->mappings.end(), other.mappings.begin(), other.mappings.end());
  for (Location location : other.locations) {
    if (location.mapping >= 0) location.mapping += first_mapping;
    to->locations.push_back(location);
  }
  for (Entry entry : other.entries) {
    for (uint32_t &place : entry.stack) place += first_location;
    to->entries.push_back(entry);
  }
  to->exact.live_bytes += other.exact.live_bytes;
  to->exact.mapped_bytes += other.exact.mapped_bytes;
  to->exact.live_before += other.exact.live_before;
  to->lost_blocks += other.lost_blocks;
  to->lost_stacks += other.lost_stacks;
}

void subtract(Profile *from, const Profile &base) {
  Profile negative = base;
  for (Entry &entry : negative.entries) entry.amounts = -entry.amounts;
  negative.exact = {-base.exact.live_bytes, -base.exact.mapped_bytes, -base.exact.live_before};
  negative.lost_blocks = negative.lost_stacks = 0;
  add(from, negative);
  std::map<std::string, size_t> places;
  std::vector<Entry> merged;
  for (Entry &entry : from->entries) {
    auto [found, is_new] = places.try_emplace(key_of(*from, entry), merged.size());
    if (is_new)
      merged.push_back(entry);
    else
      merged[found->second].amounts += entry.amounts;
  }
  from->entries = std::move(merged);
}

std::string name_of(const Profile &p, const Location &l) {
  if (!l.lines.empty() && !l.lines[0].function.empty()) return text_of(l.lines[0]);
  if (l.mapping < 0) return fmt::format("? {:#x}", l.address);
  const Mapping &m = p.mappings[static_cast<size_t>(l.mapping)];  // where it is loaded differs from run to run
  return fmt::format("{}+{:#x}", base_name(m.file), l.address - m.start);
}

std::string site_of(const Profile &p, const Entry &entry) {
  const std::string suffix = entry.is_mapped ? " [mapped]" : "";
  const Location *innermost = nullptr;
  for (uint32_t place : entry.stack) {
    const Location &l = p.locations[place];
    if (!l.is_interpreted) continue;
    if (!innermost) innermost = &l;
    if (!l.lines.empty() && !is_library_of_the_language(l.lines[0])) return name_of(p, l) + suffix;
  }
  if (innermost) return name_of(p, *innermost) + suffix;
  for (uint32_t place : entry.stack) {
    const Location &l = p.locations[place];
    if (l.mapping >= 0 && is_library_of_the_language(p.mappings[static_cast<size_t>(l.mapping)].file)) continue;
    if (l.lines.empty()) return name_of(p, l) + suffix;
    for (const Line &line : l.lines)
      if (!is_allocation(line.function)) return (line.function.empty() ? name_of(p, l) : text_of(line)) + suffix;
  }
  return entry.stack.empty() ? "" : name_of(p, p.locations[entry.stack[0]]) + suffix;
}

}  // namespace membudget::cli::profile
