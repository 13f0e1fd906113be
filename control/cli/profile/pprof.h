// pprof's profile.proto, compressed with gzip.
#pragma once

#include <string>

#include "control/cli/profile/model.h"

namespace membudget::cli::profile {

std::string to_pprof(const Profile &);

// Reads what to_pprof() wrote. Throws a Failure for anything else; `path` is for the message.
Profile from_pprof(const std::string &bytes, const std::string &path);

}  // namespace membudget::cli::profile
