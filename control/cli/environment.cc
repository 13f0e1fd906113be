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

}  // namespace

void preload(Environment *environment, const std::string &library) {
  std::string others = other_preloads(*environment);
  environment->set("LD_PRELOAD", library + (others.empty() ? "" : ":" + others));
}

void unload(Environment *environment) {
  std::string others = other_preloads(*environment);
  environment->unset("LD_PRELOAD");
  if (!others.empty()) environment->set("LD_PRELOAD", others);
}

}  // namespace membudget::cli
