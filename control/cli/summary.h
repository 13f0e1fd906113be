// What `run --summary` says at the end.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <optional>
#include <string>

#include "control/cli/supervise.h"
#include "control/cli/target.h"

namespace membudget::cli {

// Holds on to the block of a command's group, so that its figures can be read after the command has ended.
class SummaryKeeper {
 public:
  // Where the command's block will be. `name` empty: the command has been given none, and finds one itself.
  SummaryKeeper(std::string directory, std::string name);

  ~SummaryKeeper();
  SummaryKeeper(const SummaryKeeper &) = delete;
  SummaryKeeper &operator=(const SummaryKeeper &) = delete;

  // Names the group whose block the library leaves to us when its last process exits.
  static constexpr const char *kKeepVariable = "MEMBUDGET_KEEP_BLOCK";

  // Can be read when something changed in the directory; -1 where that cannot be had. Whoever holds on early
  // needs nobody to leave anything.
  int changes_fd() const { return changes_fd_; }

  // Takes hold of the block, once it is there. `ended`: the child has ended, is not reaped yet.
  void look(pid_t child, bool ended);

  // The command's budget; NULL as long as there is none.
  membudget_t *budget() const { return budget_.get(); }
  std::optional<Snapshot> counters() const;

  // Removes the block that was left for us. After the command has been reaped.
  void clear_up() const { membudget_remove_ended(directory_.c_str(), name_.c_str()); }

  // The lines that are printed.
  std::string text(const Outcome &, const std::vector<std::string> &command) const;
  // The same as a JSON object; what is not known is left out.
  std::string json(const Outcome &, const std::vector<std::string> &command) const;

 private:
  bool was_made_since_start(const std::string &name) const;
  std::string name_begun_by(pid_t child, bool ended) const;
  bool is_alive(const std::string &target) const;

  std::string directory_, name_;
  timespec started_{};
  int changes_fd_ = -1, watch_ = -1;
  Budget budget_;
};

}  // namespace membudget::cli
