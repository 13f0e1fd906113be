// The footprint: counted bytes plus the overhead, which is what the kernel charges beyond them, as last measured.
//
// Counted bytes move exactly; the overhead is measured by whoever is in the slow path when memory has grown a
// little since (by an eighth of the room to the next mark, 64 KiB at the least), fallen by a sixteenth of the limit, or
// some milliseconds have passed. Nothing is measured for an idle process. Between two measurements the footprint is wrong
// by what the kernel charged meanwhile without a count: a fraction of the growth, page tables, other processes of the
// cgroup.
// Memory that is allocated and not touched counts nevertheless: the overhead is never below 0.
//
// While a large block may not have been touched yet, what others free meanwhile is taken for kept by their allocators,
// where the kernel's account does not say otherwise: when the block is touched it would be missing. It is in doubt, and
// counts against large requests alone: neither a level rises nor is a small request refused for its sake.
//
// Everything here is called with the block's lock held, but for the questions that take a const Header.
#pragma once

#include "control/block/budget.h"

namespace membudget {

// What one process sees of the kernel's accounts.
struct Reading {
  int64_t whole_bytes;    // what percentages are shares of; 0: not known
  int64_t charged_bytes;  // -1: not known
  bool is_of_cgroup;      // charged to the whole cgroup, else to this process alone
  int64_t private_bytes;  // what a forked child has to itself, where no cgroup is charged; else -1
};

// How this process measures, and has its allocator hand back what it keeps. Readers have none and measure nothing.
struct Meter {
  Reading (*read)(bool is_forked);  // a process that inherited memory
  void (*trim)();
  // The level, or what this process itself counts, have changed.
  void (*follow)(const Header *, int64_t own_counted, bool is_flushing);
};
void footprint_meter(const Meter &);

// Whether this process can measure and the block has use for it: the footprint, a percentage to follow, or flushes
// whose highest count is to be known.
bool footprint_is_measured(const Header *);

// Whether the last measurement is old. A look at the clock where one is needed at all.
bool footprint_is_due(const Header *);

// Measures, when it is due, or `counted` bytes would change the level. `fresh_bytes`: a block among them that nobody
// has had the time to touch.
void footprint_measure_if_due(const Block &, Process *self, int64_t counted, int64_t fresh_bytes);
void footprint_measure(const Block &, Process *self, int64_t counted, int64_t fresh_bytes);

// Before it, whenever a thread looks up: the block that it is being handed out, or a size that is not large. What is
// large counts as not touched for everybody who measures, until the same thread looks up again, it is freed, or ten
// seconds later. `shard`: the thread's, 0 for all that have none. `counted`: of `bytes`, what is counted already.
void footprint_note_fresh(Process *self, uint32_t shard, int64_t bytes, int64_t counted);

// Whether giving back what allocators keep may spare the rise from one level to another, or let one fall that stays
// up, or what is in doubt would be missed otherwise; whether it may make `counted` fit below the hard limit. No, when
// the last try shows that there is too little to be had, or trimming takes more than its share of the time.
bool footprint_trim_helps(const Header *, int64_t counted, uint32_t before, uint32_t level);
bool footprint_trim_makes_room(const Header *, int64_t counted);

// Has this process's allocator hand back what it keeps, now, and asks the other members to do so at their next look.
// `level`: the one that the group would go to without it.
void footprint_trim(const Block &, Process *self, uint32_t level);
// After it, when it has been measured.
void footprint_note_trimmed(Header *, int64_t counted);

// Tells this process's allocator of the level, and what this process counts and whether it flushes: what others of the
// group allocate says nothing about what becomes free here.
void footprint_follow(const Header *, const Process *self);

}  // namespace membudget
