// One report about a process or a group: the exact figures beside the kernel's.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "control/cli/cgroup.h"
#include "control/cli/memory_map.h"
#include "control/cli/proc.h"
#include "control/cli/target.h"

namespace membudget::cli {

using Json = nlohmann::ordered_json;

struct Member {
  Snapshot counters;
  std::optional<ProcessMemory> memory;
  std::optional<ProcessStat> stat;

  // What a forked child holds for itself beyond what it counted itself: inherited pages that it wrote to, and so
  // copied (CPython writes to all that it reads), and what its allocator keeps. 0 for one that inherited nothing.
  std::optional<int64_t> copied_bytes() const;
};

struct Report {
  bool is_group = false;
  Snapshot counters;  // of the process, or the group's sums
  // The process's own, or sums over the members; absent where any of them is not known.
  std::optional<ProcessMemory> memory;
  std::optional<ProcessStat> stat;
  std::optional<Cgroup> cgroup;  // of the process, or of the group's first one
  std::vector<Member> members;   // of the group
  std::optional<MemoryMap> map;  // of the process, or the group's only one

  // Anonymous memory of the process; of a group with each shared page counted once.
  std::optional<int64_t> anonymous_bytes() const;

  // The members' sums, absent where one of theirs is not known.
  std::optional<ProcessMemory> members_memory() const;
  // The members' sum, absent where one of theirs is not known: with the group's counted bytes what all take.
  std::optional<int64_t> copied_bytes() const;
  // Of the target: the process's own, or the group's.
  std::optional<int64_t> target_copied_bytes() const;
  // Anonymous memory that neither the allocator handed out nor the program mapped; negative where counted
  // memory has not been touched yet.
  std::optional<int64_t> uncounted_bytes() const;
  // The heap's resident bytes, without what the kernel may take at will, over counted bytes; of a group of
  // several all of its anonymous memory.
  std::optional<double> fragmentation_ratio() const;
  // What is held against the limit under MEMBUDGET_MEASURE=footprint: as the library last measured it, else
  // the anonymous memory of now, swapped out or not.
  std::optional<int64_t> footprint_bytes() const;
};

Report gather_report(const membudget_t *, const std::string &target);

// The keys of `show --json`.
Json report_json(const Report &);

// What the figures mean where exact and kernel's view are far apart, a sentence each.
std::vector<std::string> report_notes(const Report &);

// The same for people.
std::string report_text(const Report &);

// What `ls --json` and `show --json` say about a level: the number, and its name beside it.
void put_level(Json *, uint32_t level);

// JSON as it is printed: two blanks of indent, and bytes that are no UTF-8 replaced.
std::string json_text(const Json &);
std::string json_line(const Json &);

}  // namespace membudget::cli
