// Finding the TARGET of a command, with an error that says what to do where it is not there.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control/client/api.h"
#include "control/client/steering.h"

namespace membudget::cli {

struct CloseBudget {
  void operator()(membudget_t *budget) const { membudget_close(budget); }
};
using Budget = std::unique_ptr<membudget_t, CloseBudget>;

// Opens a pid or group's name. Throws a Failure: kNoTarget, or kUsage for what can be neither.
Budget open_target(const std::string &target);

// One reading. Throws a Failure of status kNoTarget when the process has ended.
Snapshot read_snapshot(const membudget_t *, const std::string &target);

// Every process under membudget that can be seen; of the group `name` alone unless that is empty. Sorted
// by group and pid.
std::vector<Snapshot> list_processes(const std::string &name = "");

// A size for --limit and its like, where a percentage is a share of `whole_bytes`; "none" is 0. Throws a
// Failure that names the option.
int64_t parse_size(const std::string &option, const std::string &text, int64_t whole_bytes);

// The same for what cannot be a percentage.
int64_t parse_bytes(const std::string &option, const std::string &text);

// The Failure for what a function of the client returned about a target.
[[noreturn]] void fail_for(int error, const std::string &target);

// The Failure for a target that was asked for something, and did not call malloc or free in time to do it.
[[noreturn]] void fail_unanswered(const std::string &target, double timeout_s);

}  // namespace membudget::cli
