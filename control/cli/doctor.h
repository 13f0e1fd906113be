// What would keep a budget from working: found by looking, without running anybody's program.
#pragma once

#include <string>
#include <vector>

#include "control/cli/environment.h"

namespace membudget::cli {

struct Finding {
  std::string id;      // stable, for scripts: "static", "own-malloc"...
  std::string what;    // what is the matter
  std::string advice;  // what to do
};

struct Diagnosis {
  std::vector<Finding> findings;   // each keeps a budget from working, or from working well
  std::vector<std::string> notes;  // worth knowing, no trouble
};

// The settings, the library, the allocators, the folder of the blocks, and the limits of this process.
void examine_place(const Environment &, Diagnosis *);

// A command that is to run in that environment. Throws what find_program throws where there is none.
void examine_command(const std::vector<std::string> &command, const Environment &, Diagnosis *);

}  // namespace membudget::cli
