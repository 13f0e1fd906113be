#include "control/cli/profile/sites.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "control/cli/text.h"

namespace membudget::cli::profile {
namespace {

int64_t rounded(double value) { return std::llround(value); }
std::string bytes(double value) { return human_bytes(rounded(value)); }
std::string error_of(double variance) { return bytes(std::sqrt(variance)); }

std::string totals(const Profile &p, const char *what, const Amounts &amounts, int64_t exact, int64_t before) {
  std::string text = fmt::format("{}: {} estimated \xc2\xb1 {}, {} exact", what, bytes(amounts.live_bytes),
                                 error_of(amounts.live_variance), human_bytes(exact));
  if (before > 0) text += fmt::format(" ({} of it from before the first sample)", human_bytes(before));
  (void)p;
  return text + "\n";
}

}  // namespace

std::vector<Site> sites_of(const Profile &profile) {
  std::map<std::string, Amounts> sums;
  for (const Entry &entry : profile.entries) sums[site_of(profile, entry)] += entry.amounts;
  std::vector<Site> sites;
  for (const auto &[name, amounts] : sums) sites.push_back({name.empty() ? "(stack not taken)" : name, amounts});
  std::stable_sort(sites.begin(), sites.end(),
                   [](const Site &a, const Site &b) { return a.amounts.live_bytes > b.amounts.live_bytes; });
  return sites;
}

std::string heading(const Profile &p) {
  Amounts live = p.total(false);
  return fmt::format("{}: {} live, estimated \xc2\xb1 {}; {} exact", p.title, bytes(live.live_bytes),
                     error_of(live.live_variance), human_bytes(p.exact.live_bytes));
}

std::string to_table(const Profile &p, size_t count) {
  Amounts mapped = p.total(true);
  std::string text = p.title + "\n" + totals(p, "live", p.total(false), p.exact.live_bytes, p.exact.live_before);
  if (p.exact.mapped_bytes != 0 || mapped.live_bytes != 0) text += totals(p, "mapped", mapped, p.exact.mapped_bytes, 0);
  if (p.lost_blocks > 0)
    text += fmt::format("{} samples were lost: a larger MEMBUDGET_PROFILE takes fewer\n", p.lost_blocks);
  std::vector<std::vector<std::string>> rows = {{"LIVE", "+-", "BLOCKS", "ALLOCATED", "WHERE"}};
  for (const Site &site : sites_of(p)) {
    if (rows.size() > count) break;
    const Amounts &a = site.amounts;
    rows.push_back({bytes(a.live_bytes), error_of(a.live_variance), fmt::format("{:.0f}", a.live_blocks),
                    bytes(a.allocated_bytes), site.name});
  }
  return text + "\n" + table(rows, 0b1111, terminal_width());
}

std::string to_json(const Profile &p, size_t count) {
  Amounts live = p.total(false), mapped = p.total(true);
  nlohmann::ordered_json json = {{"title", p.title},
                                 {"mean_bytes", p.mean_bytes},
                                 {"live_bytes", p.exact.live_bytes},
                                 {"live_bytes_before", p.exact.live_before},
                                 {"estimated_live_bytes", rounded(live.live_bytes)},
                                 {"standard_error_bytes", rounded(std::sqrt(live.live_variance))},
                                 {"mapped_bytes", p.exact.mapped_bytes},
                                 {"estimated_mapped_bytes", rounded(mapped.live_bytes)},
                                 {"lost_blocks", p.lost_blocks},
                                 {"sites", nlohmann::ordered_json::array()}};
  for (const Site &site : sites_of(p)) {
    if (json["sites"].size() >= count) break;
    const Amounts &a = site.amounts;
    json["sites"].push_back({{"where", site.name},
                             {"live_bytes", rounded(a.live_bytes)},
                             {"standard_error_bytes", rounded(std::sqrt(a.live_variance))},
                             {"live_blocks", rounded(a.live_blocks)},
                             {"allocated_bytes", rounded(a.allocated_bytes)},
                             {"allocated_blocks", rounded(a.allocated_blocks)}});
  }
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace membudget::cli::profile
