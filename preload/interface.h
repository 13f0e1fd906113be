// What the readers in this process find (see interface.cc).
#pragma once

namespace membudget {

// The process has got another block, or none: its level is read there from now on.
void interface_follow();

}  // namespace membudget
