// The lines that hold the memory, as a table.
#pragma once

#include <string>
#include <vector>

#include "control/cli/profile/model.h"

namespace membudget::cli::profile {

struct Site {
  std::string name;
  Amounts amounts;
};

// By live bytes, the most first.
std::vector<Site> sites_of(const Profile &);

// What the profile is of, its total, and the exact figure beside it; one line.
std::string heading(const Profile &);

// The first `count` sites for the terminal, under the totals.
std::string to_table(const Profile &, size_t count);

// The same for programs.
std::string to_json(const Profile &, size_t count);

}  // namespace membudget::cli::profile
