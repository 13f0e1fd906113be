// An environment that is put together for a command.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace membudget::cli {

class Environment {
 public:
  // A copy of this process's.
  Environment();

  void set(const std::string &name, const std::string &value);
  void unset(const std::string &name);
  std::optional<std::string> get(const std::string &name) const;

  // For execve; valid until the next change.
  std::vector<char *> pointers() const;

 private:
  std::vector<std::string> entries_;  // NAME=VALUE
};

// Puts the library first in LD_PRELOAD, in place of any other libmembudget.so; what else is there stays, in
// its order.
void preload(Environment *, const std::string &library);

// Takes every libmembudget.so out of LD_PRELOAD.
void unload(Environment *);

}  // namespace membudget::cli
