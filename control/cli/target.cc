#include "control/cli/target.h"

#include <errno.h>
#include <fmt/format.h>
#include <string.h>

#include <algorithm>
#include <tuple>

#include "control/cli/command.h"
#include "control/cli/proc.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

std::string directory() {
  const char *path = getenv("MEMBUDGET_DIR");
  return path && *path ? path : MEMBUDGET_DEFAULT_DIR;
}

std::string absence(const std::string &target) {
  std::string name = target.find_first_not_of("0123456789") == std::string::npos && target.size() <= 10
                         ? read_process_name(static_cast<pid_t>(strtol(target.c_str(), nullptr, 10)))
                         : "";
  if (name.empty())
    return fmt::format(
        "no process or group '{}' runs under membudget (looked in {}); `membudget ls` lists those that do", target,
        directory());
  return fmt::format(
      "process {} ({}) does not run under membudget (looked in {}); start it with `membudget run -- CMD`", target,
      printable(name), directory());
}

int64_t share(const membudget_amount &amount, int64_t whole_bytes) {
  if (amount.unit == MEMBUDGET_UNIT_BYTES) return amount.value;
  return static_cast<int64_t>(static_cast<__int128>(whole_bytes) * amount.value / 1'000'000);
}

int64_t parse(const std::string &option, const std::string &text, int64_t whole_bytes, bool may_be_share) {
  if (text == "none") return 0;
  membudget_amount amount{};
  int error = membudget_parse_amount(text.c_str(), &amount);
  bool is_share = amount.unit == MEMBUDGET_UNIT_MILLIONTHS;
  // No share at all would be no limit.
  if (error == 0 && (!is_share || (may_be_share && amount.value > 0))) return share(amount, whole_bytes);
  throw Failure{kUsage, fmt::format("{} {}: {}; write bytes, a size like 512M or 1.5G, {}or none", option,
                                    printable(text), error == -ERANGE ? "too large" : "not allowed",
                                    may_be_share ? "a percentage like 80%, " : "")};
}

int collect(const Snapshot *process, void *context) {
  static_cast<std::vector<Snapshot> *>(context)->push_back(*process);
  return 0;
}

}  // namespace

void fail_for(int error, const std::string &target) {
  std::string shown = printable(target);
  switch (-error) {
    case ENOENT: throw Failure{kNoTarget, absence(shown)};
    case ESRCH: throw Failure{kNoTarget, fmt::format("'{}' has ended", shown)};
    case EACCES:
      throw Failure{kNoTarget, fmt::format("'{}' belongs to another user; run this as that user or as root", shown)};
    case EPROTO:
      throw Failure{kNoTarget, fmt::format("the block of '{}' in {} is damaged or of another version of membudget; "
                                           "use the membudget it was started with",
                                           shown, directory())};
    case EINVAL:
      throw Failure{kUsage,
                    fmt::format("'{}' is neither a pid nor a group's name (1 to 64 of A-Z a-z 0-9 . _ -)", shown)};
    default: throw Failure{kFailed, fmt::format("'{}': {}", shown, strerror(-error))};
  }
}

void fail_unanswered(const std::string &target, double timeout_s) {
  throw Failure{
      kTimeOut,
      fmt::format("'{}' did not answer within {} s: it does in its next malloc or free; where it sleeps, give "
                  "it longer by --timeout; CPython's small objects reach malloc only where it was started by "
                  "`membudget run --pythonmalloc malloc`",
                  printable(target), timeout_s)};
}

Budget open_target(const std::string &target) {
  membudget_t *budget = nullptr;
  int error = membudget_open(target.c_str(), &budget);
  if (error != 0) fail_for(error, target);
  return Budget(budget);
}

Snapshot read_snapshot(const membudget_t *budget, const std::string &target) {
  Snapshot snapshot{};
  int error = membudget_snapshot(budget, &snapshot, sizeof snapshot);
  if (error != 0) fail_for(error, target);
  return snapshot;
}

std::vector<Snapshot> list_processes(const std::string &name) {
  std::vector<Snapshot> processes;
  int error = membudget_for_each(nullptr, collect, &processes);
  if (error < 0) throw Failure{kFailed, fmt::format("cannot read {}: {}", directory(), strerror(-error))};
  if (!name.empty()) std::erase_if(processes, [&](const Snapshot &process) { return name != process.name; });
  std::sort(processes.begin(), processes.end(), [](const Snapshot &a, const Snapshot &b) {
    return std::make_tuple(std::string(a.name), a.pid) < std::make_tuple(std::string(b.name), b.pid);
  });
  return processes;
}

int64_t parse_size(const std::string &option, const std::string &text, int64_t whole_bytes) {
  return parse(option, text, whole_bytes, true);
}

int64_t parse_bytes(const std::string &option, const std::string &text) { return parse(option, text, 0, false); }

}  // namespace membudget::cli
