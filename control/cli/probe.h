// Trying the settings out: this program starts itself under the library, in the environment the command will
// have, and sees what the library made of it.
#pragma once

#include "control/cli/environment.h"

namespace membudget::cli {

// Throws a Quit of status kUsage when a setting is broken: the library has said which by then, on standard
// error.
void probe_settings(const Environment &);

}  // namespace membudget::cli
