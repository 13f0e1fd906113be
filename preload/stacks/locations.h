// Places in source files that an interpreter told: each once, with its texts, for ever.
#pragma once

#include "preload/profile/stacks.h"

namespace membudget::stacks {

struct Text {
  const char *bytes;
  uint32_t length;
};

// The frame that stands for a place, as <membudget/profile.h> has it; 0 where there is no room for another. Texts
// are cut off at 4 KiB. With signals blocked.
uint64_t location_frame(Text file, Text function, uint32_t line);

void for_each_location(void (*visit)(const SourceLocation &, void *), void *context);
void locations_after_fork_in_child();

}  // namespace membudget::stacks
