// Parts of a test that run in a process of their own: the ledger belongs to a process and starts once.
#pragma once

#include <sys/types.h>

#include <functional>

namespace membudget::unit {

// Starts `body` in a child, which exits with 1 if a check failed there.
pid_t start_child(const std::function<void()> &body);

// Waits for it, kills it after `seconds`, and fails the test unless it exited with 0.
void expect_child_succeeds(pid_t child, int seconds = 540);

inline void in_child(const std::function<void()> &body) { expect_child_succeeds(start_child(body)); }

// Kills it, and has it gone, not a zombie, before returning.
void kill_child(pid_t child);

}  // namespace membudget::unit
