// Gathering a report, and its figures that are worked out from others.
#include "control/cli/report.h"

namespace membudget::cli {
namespace {

void add(const ProcessMemory &more, ProcessMemory *sum) {
  sum->rss_bytes += more.rss_bytes;
  sum->pss_bytes += more.pss_bytes;
  sum->uss_bytes += more.uss_bytes;
  sum->private_dirty_bytes += more.private_dirty_bytes;
  sum->anonymous_bytes += more.anonymous_bytes;
  sum->pss_anonymous_bytes += more.pss_anonymous_bytes;
  sum->lazy_free_bytes += more.lazy_free_bytes;
  sum->swap_bytes += more.swap_bytes;
}

void add(const ProcessStat &more, ProcessStat *sum) {
  sum->minor_faults += more.minor_faults;
  sum->major_faults += more.major_faults;
  sum->threads += more.threads;
}

// The sum over all members, absent where one of them lacks it.
template <typename Part>
std::optional<Part> sum_of(const std::vector<Member> &members, std::optional<Part> Member::*part) {
  Part sum{};
  for (const Member &member : members) {
    if (!(member.*part)) return std::nullopt;
    add(*(member.*part), &sum);
  }
  return members.empty() ? std::nullopt : std::optional<Part>(sum);
}

int64_t at_least_zero(int64_t bytes) { return bytes > 0 ? bytes : 0; }

}  // namespace

std::optional<int64_t> Member::copied_bytes() const {
  if (!memory) return std::nullopt;
  if (counters.inherited_live_bytes == 0 && counters.inherited_mapped_bytes == 0) return 0;
  int64_t own = at_least_zero(counters.live_bytes - counters.inherited_live_bytes) +
                at_least_zero(counters.mapped_bytes - counters.inherited_mapped_bytes);
  return at_least_zero(memory->private_dirty_bytes - own);
}

std::optional<ProcessMemory> Report::members_memory() const { return sum_of(members, &Member::memory); }

std::optional<int64_t> Report::copied_bytes() const {
  int64_t sum = 0;
  for (const Member &member : members) {
    auto copied = member.copied_bytes();
    if (!copied) return std::nullopt;
    sum += *copied;
  }
  return sum;
}

std::optional<int64_t> Report::target_copied_bytes() const {
  if (is_group) return copied_bytes();
  return Member{counters, memory, stat}.copied_bytes();
}

std::optional<int64_t> Report::anonymous_bytes() const {
  if (!memory) return std::nullopt;
  bool is_shared = is_group && members.size() > 1 && memory->pss_anonymous_bytes > 0;
  return is_shared ? memory->pss_anonymous_bytes : memory->anonymous_bytes;
}

std::optional<int64_t> Report::uncounted_bytes() const {
  if (!memory) return std::nullopt;
  return *anonymous_bytes() - counters.counted_bytes;
}

std::optional<double> Report::fragmentation_ratio() const {
  if (!memory || counters.counted_bytes <= 0) return std::nullopt;
  int64_t heap = map ? map->heap_bytes : *anonymous_bytes() - memory->lazy_free_bytes;
  return static_cast<double>(heap) / static_cast<double>(counters.counted_bytes);
}

std::optional<int64_t> Report::footprint_bytes() const {
  if (counters.measure == MEMBUDGET_MEASURE_FOOTPRINT || counters.overhead_bytes != 0)
    return counters.group_counted_bytes + counters.overhead_bytes;
  if (!memory) return std::nullopt;
  return *anonymous_bytes() + memory->swap_bytes;
}

Report gather_report(const membudget_t *budget, const std::string &target) {
  Report report;
  report.counters = read_snapshot(budget, target);
  report.is_group = report.counters.pid == 0;
  for (const Snapshot &process : list_processes(report.counters.name))
    report.members.push_back({process, read_memory(process.seen_pid), read_stat(process.seen_pid)});
  if (report.is_group) {
    report.memory = report.members_memory();
    report.stat = sum_of(report.members, &Member::stat);
    if (report.members.size() == 1)
      report.map = read_memory_map(report.members[0].counters.seen_pid, report.counters.allocator);
    if (!report.members.empty()) report.cgroup = read_cgroup(report.members[0].counters.seen_pid);
    return report;
  }
  pid_t pid = report.counters.seen_pid;
  report.memory = read_memory(pid);
  report.stat = read_stat(pid);
  report.map = read_memory_map(pid, report.counters.allocator);
  report.cgroup = read_cgroup(pid);
  return report;
}

}  // namespace membudget::cli
