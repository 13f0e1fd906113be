#include "control/cli/environment.h"

#include <unistd.h>

#include <algorithm>

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

// With an auditing library the loader lays out static thread-local memory before it loads what is preloaded, which then
// has to do with the little it keeps free: too little for libmembudget.so, unless it is told to keep more.
void keep_room_beside_auditors(Environment *environment) {
  constexpr const char *kTunables = "GLIBC_TUNABLES", *kRoom = "glibc.rtld.optional_static_tls";
  std::string tunables = environment->get(kTunables).value_or("");
  if (environment->get("LD_AUDIT").value_or("").empty() || tunables.find(kRoom) != std::string::npos) return;
  environment->set(kTunables, tunables + (tunables.empty() ? "" : ":") + kRoom + "=4096");
}

}  // namespace

void preload(Environment *environment, const std::string &library) {
  std::string others = other_preloads(*environment);
  environment->set("LD_PRELOAD", library + (others.empty() ? "" : ":" + others));
  keep_room_beside_auditors(environment);
}

void unload(Environment *environment) {
  std::string others = other_preloads(*environment);
  environment->unset("LD_PRELOAD");
  if (!others.empty()) environment->set("LD_PRELOAD", others);
}

}  // namespace membudget::cli
