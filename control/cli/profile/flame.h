// A flame graph of the live bytes: one file to look at in a browser, which needs nothing else.
#pragma once

#include <string>

#include "control/cli/profile/model.h"

namespace membudget::cli::profile {

std::string to_svg(const Profile &);

// The same within a page that also has the table of sites.
std::string to_html(const Profile &);

}  // namespace membudget::cli::profile
