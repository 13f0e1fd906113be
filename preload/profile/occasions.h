// When a profile is written: somebody asks for one, the budget is crossed, the process exits.
#pragma once

#pragma GCC visibility push(hidden)

namespace membudget::profile {

// In the ledger's slow path: answers requests made through the process's slot, and notes a crossing.
void profile_on_request();

// When the process exits.
void profile_at_exit();

void profile_after_fork_in_child();

}  // namespace membudget::profile

#pragma GCC visibility pop
