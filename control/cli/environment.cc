#include "control/cli/environment.h"

#include <unistd.h>

#include <algorithm>

#include "control/cli/elf_file.h"

namespace membudget::cli {

Environment::Environment() {
  for (char **entry = environ; entry && *entry; ++entry) entries_.emplace_back(*entry);
}

void Environment::set(const std::string &name, const std::string &value) {
  unset(name);
  entries_.push_back(name + "=" + value);
}

void Environment::unset(const std::string &name) {
  std::erase_if(entries_, [&](const std::string &entry) { return entry.starts_with(name + "="); });
}

std::optional<std::string> Environment::get(const std::string &name) const {
  for (const std::string &entry : entries_)
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  return std::nullopt;
}

std::vector<char *> Environment::pointers() const {
  std::vector<char *> pointers;
  for (const std::string &entry : entries_) pointers.push_back(const_cast<char *>(entry.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

namespace {

// What is in LD_PRELOAD, in its order, without any libmembudget.so: two, from two installations, would both count.
std::string other_preloads(const Environment &environment) {
  std::string value, rest = environment.get("LD_PRELOAD").value_or("");
  while (!rest.empty()) {
    size_t end = std::min(rest.find_first_of(": "), rest.size());
    std::string entry = rest.substr(0, end);
    bool is_ours = entry == "libmembudget.so" || entry.ends_with("/libmembudget.so");
    if (!entry.empty() && !is_ours) value += (value.empty() ? "" : ":") + entry;
    rest.erase(0, end + 1);
  }
  return value;
}

// Bytes of static thread-local memory that the loader is to keep free, beyond what it does by itself.
//   - With an auditing library it lays out that memory before it loads what is preloaded, which then has to do with the
//     little it keeps free: too little for libmembudget.so.
//   - An allocator that is loaded by its path comes later than that in any case; jemalloc takes 2.6 KiB.
uint64_t static_tls_needed(const Environment &environment) {
  constexpr uint64_t kForOurs = 4096, kKeptAnyway = 256, kMost = 1 << 20;
  uint64_t bytes = environment.get("LD_AUDIT").value_or("").empty() ? 0 : kForOurs;
  std::string allocator = environment.get("MEMBUDGET_ALLOCATOR").value_or("");
  uint64_t its_bytes = allocator.starts_with("/") ? read_elf(allocator).tls_bytes : 0;
  if (its_bytes <= kKeptAnyway || its_bytes > kMost) return bytes;
  return bytes + (its_bytes + kForOurs - 1) / kForOurs * kForOurs;
}

void keep_room_for_static_tls(Environment *environment) {
  constexpr const char *kTunables = "GLIBC_TUNABLES", *kRoom = "glibc.rtld.optional_static_tls";
  std::string tunables = environment->get(kTunables).value_or("");
  uint64_t bytes = static_tls_needed(*environment);
  if (bytes == 0 || tunables.find(kRoom) != std::string::npos) return;
  environment->set(kTunables, tunables + (tunables.empty() ? "" : ":") + kRoom + "=" + std::to_string(bytes));
}

}  // namespace

void preload(Environment *environment, const std::string &library) {
  std::string others = other_preloads(*environment);
  environment->set("LD_PRELOAD", library + (others.empty() ? "" : ":" + others));
  keep_room_for_static_tls(environment);
}

void unload(Environment *environment) {
  std::string others = other_preloads(*environment);
  environment->unset("LD_PRELOAD");
  if (!others.empty()) environment->set("LD_PRELOAD", others);
}

}  // namespace membudget::cli
