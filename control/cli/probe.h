// Trying the settings out: this program starts itself under the library, in the environment the command will
// have, and sees what the library made of it.
#pragma once

#include <string>
#include <vector>

#include "control/cli/environment.h"

namespace membudget::cli {

// Throws a Quit of status kUsage when a setting is broken; says which on standard error, a line each.
void probe_settings(const Environment &);

// The same for whoever wants to know: what is wrong, a line each; empty when all is well. Writes nothing.
std::vector<std::string> try_settings(const Environment &);

}  // namespace membudget::cli
