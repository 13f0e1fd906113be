// Files that are said to be profiles: the library's own format, and pprof's.
#include <stdint.h>

#include <string>

#include "control/cli/command.h"
#include "control/cli/profile/pprof.h"
#include "control/cli/profile/raw.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace membudget::cli;
  std::string bytes(reinterpret_cast<const char *>(data), size);
  try {
    if (profile::is_raw(bytes)) profile::to_pprof(profile::read_raw(bytes, "file"));
    profile::from_pprof(bytes, "file");
  } catch (const Failure &) {}  // as it should be
  return 0;
}
