// This process's place in its group: joined at start-up, passed on by fork, left at exit.
//
// MEMBUDGET_CHILDREN decides what a child is: a member of the same group (join), of one of its own that is
// named NAME.PID (own), or not counted (ignore). A child that was exec'ed knows the group by MEMBUDGET_NAME,
// which the first process sets, and that it is a child by finding the block in use by another. A name that nobody
// gave (a pid, NAME.PID) only ever begins a group: where others have it already, it gets a number.
#pragma once

#include "control/block/settings.h"

namespace membudget {

struct Membership {
  Block block;
  Process *process = nullptr;  // NULL: this process is not counted
  bool created = false;
  bool is_private = false;     // only this process sees it
  bool is_named_here = false;  // nobody gave the group a name
};

// Joins, and registers the process with the barriers that withdraw allowances. Problems go to
// `settings->errors`; where no file can be had the block is memory that only this process sees.
Membership membership_begin(Settings *settings);

// Once the ledger counts into the slot: describes the process there, sets the limits of a new group,
// installs the fork handlers, and names the group in the environment for children that exec.
void membership_settle(const Membership &, const Settings &);

// Around everything that makes a child with memory of its own. The thread that calls the first calls one of
// the others; `has_child` is false when there is none after all.
void membership_before_fork();
void membership_after_fork_in_parent(bool has_child);
void membership_after_fork_in_child();

}  // namespace membudget
