// The file that libmembudget.so writes (<membudget/profile.h>).
#pragma once

#include <string>

#include "control/cli/profile/model.h"

namespace membudget::cli::profile {

bool is_raw(const std::string &bytes);

// Addresses are not looked up yet. Throws a Failure where the file is not whole; `path` is for the message.
Profile read_raw(const std::string &bytes, const std::string &path);

}  // namespace membudget::cli::profile
