#include "control/cli/limits.h"

#include <fmt/format.h>
#include <unistd.h>

#include "control/cli/cgroup.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

std::string warning(int64_t hard_limit_bytes, int64_t limit_bytes) {
  return fmt::format("the hard limit, {}, is below the limit, {}: allocations fail before the budget is crossed",
                     human_bytes(hard_limit_bytes), human_bytes(limit_bytes));
}

// What is not set, or does not parse, is unit 0, value 0.
membudget_amount amount_of(const Environment &environment, const char *variable) {
  membudget_amount amount{};
  std::string text = environment.get(variable).value_or("");
  if (membudget_parse_amount(text.c_str(), &amount) != 0) amount = {};
  return amount;
}

int64_t bytes_of(const membudget_amount &amount, int64_t whole_bytes) {
  if (amount.unit == MEMBUDGET_UNIT_BYTES) return amount.value;
  return static_cast<int64_t>(static_cast<__int128>(whole_bytes) * amount.value / 1'000'000);
}

}  // namespace

std::string hard_limit_warning(const Environment &environment) {
  membudget_amount limit = amount_of(environment, "MEMBUDGET_LIMIT"),
                   hard = amount_of(environment, "MEMBUDGET_HARD_LIMIT");
  int64_t whole = whole_memory_bytes(getpid());
  int64_t limit_bytes = bytes_of(limit, whole), hard_bytes = bytes_of(hard, whole);
  std::string measure = environment.get("MEMBUDGET_MEASURE").value_or("");
  bool is_footprint = measure == "footprint" || (measure.empty() && limit.unit == MEMBUDGET_UNIT_MILLIONTHS);
  int64_t least = is_footprint ? limit_bytes - limit_bytes / 100 - 1 : limit_bytes;
  return hard_bytes > 0 && hard_bytes < least ? warning(hard_bytes, limit_bytes) : "";
}

std::string hard_limit_warning(const Snapshot &s) {
  bool is_below = s.hard_limit_bytes > 0 && s.hard_limit_bytes < s.limit_bytes - s.reserve_bytes;
  return is_below ? warning(s.hard_limit_bytes, s.limit_bytes) : "";
}

}  // namespace membudget::cli
