// A report as JSON. Keys are documented and stable; sizes are bytes; what is not known is left out.
#include "control/cli/report.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

template <typename Value>
void put(Json *to, const char *key, const std::optional<Value> &value) {
  if (value) (*to)[key] = *value;
}

void put_identity(const Report &report, Json *to) {
  const Snapshot &s = report.counters;
  (*to)["name"] = s.name;
  const Snapshot *single = !report.is_group ? &s : report.members.size() == 1 ? &report.members[0].counters : nullptr;
  if (single) {
    (*to)["pid"] = single->pid;
    (*to)["command"] = single->command;
  }
  (*to)["allocator"] = s.allocator;
}

void put_limits(const Snapshot &s, Json *to) {
  (*to)["limit_bytes"] = s.limit_bytes;
  (*to)["hard_limit_bytes"] = s.hard_limit_bytes;
  if (s.limit_bytes > 0) {
    (*to)["low_bytes"] = s.low_bytes;
    (*to)["medium_bytes"] = s.medium_bytes;
    (*to)["release_bytes"] = s.release_bytes;
  }
  (*to)["measure"] = s.measure == MEMBUDGET_MEASURE_FOOTPRINT ? "footprint" : "counted";
}

void put_counters(const Snapshot &s, Json *to) {
  put_level(to, s.level);
  (*to)["live_bytes"] = s.live_bytes;
  (*to)["mapped_bytes"] = s.mapped_bytes;
  (*to)["counted_bytes"] = s.counted_bytes;
  (*to)["peak_counted_bytes"] = s.peak_counted_bytes;
  (*to)["peak_live_bytes"] = s.peak_live_bytes;
  (*to)["peak_error_bytes"] = s.peak_error_bytes;
  (*to)["allocations"] = s.allocations;
  (*to)["frees"] = s.frees;
  (*to)["crossings"] = s.crossings;
  if (s.last_crossing_ns != 0)
    (*to)["last_crossing"] = {{"time", iso_time(s.last_crossing_ns)},
                              {"live_bytes", s.last_crossing_live_bytes},
                              {"counted_bytes", s.last_crossing_counted_bytes}};
}

void put_memory(const ProcessMemory &memory, Json *to) {
  (*to)["rss_bytes"] = memory.rss_bytes;
  (*to)["pss_bytes"] = memory.pss_bytes;
  (*to)["uss_bytes"] = memory.uss_bytes;
}

// Of the uncounted bytes: whose they are, lazy_free_bytes aside.
Json uncounted_json(const Report &report) {
  const MemoryMap &map = *report.map;
  Json json{{"allocator_bytes", map.heap_bytes - report.counters.counted_bytes},
            {"stack_bytes", map.stack_bytes},
            {"file_bytes", map.file_bytes},
            {"runtime_bytes", map.runtime_bytes}};
  if (map.runtime_bytes > 0) json["runtime"] = map.runtime;
  json["own_allocators"] = map.own_allocators;
  return json;
}

void put_kernel_view(const Report &report, Json *to) {
  if (report.stat) (*to)["threads"] = report.stat->threads;
  (*to)["config_errors"] = lines_of(report.counters.config_errors);
  if (report.memory) {
    put_memory(*report.memory, to);
    (*to)["lazy_free_bytes"] = report.memory->lazy_free_bytes;
    (*to)["swap_bytes"] = report.memory->swap_bytes;
  }
  if (report.stat) {
    (*to)["minor_faults"] = report.stat->minor_faults;
    (*to)["major_faults"] = report.stat->major_faults;
  }
  put(to, "anonymous_bytes", report.anonymous_bytes());
  put(to, "uncounted_bytes", report.uncounted_bytes());
  put(to, "copied_bytes", report.target_copied_bytes());
  if (report.map) (*to)["uncounted"] = uncounted_json(report);
  put(to, "fragmentation_ratio", report.fragmentation_ratio());
  put(to, "footprint_bytes", report.footprint_bytes());
  (*to)["reserve_bytes"] = report.counters.reserve_bytes;
}

Json cgroup_json(const Cgroup &cgroup) {
  Json json{{"path", cgroup.path}};
  put(&json, "limit_bytes", cgroup.limit_bytes);
  put(&json, "usage_bytes", cgroup.usage_bytes);
  return json;
}

Json member_json(const Member &member) {
  const Snapshot &s = member.counters;
  Json json{{"pid", s.pid},
            {"command", s.command},
            {"live_bytes", s.live_bytes},
            {"mapped_bytes", s.mapped_bytes},
            {"inherited_bytes", s.inherited_live_bytes}};
  if (member.memory) put_memory(*member.memory, &json);
  put(&json, "copied_bytes", member.copied_bytes());
  return json;
}

Json group_json(const Report &report) {
  const Snapshot &s = report.counters;
  Json json{{"name", s.name},
            {"limit_bytes", s.limit_bytes},
            {"live_bytes", s.group_live_bytes},
            {"counted_bytes", s.group_counted_bytes}};
  put_level(&json, s.level);
  if (auto memory = report.members_memory()) put_memory(*memory, &json);
  put(&json, "copied_bytes", report.copied_bytes());
  json["uncounted_processes"] = s.uncounted_processes;
  json["processes"] = Json::array();
  for (const Member &member : report.members) json["processes"].push_back(member_json(member));
  return json;
}

}  // namespace

void put_level(Json *to, uint32_t level) {
  (*to)["level"] = level;
  (*to)["level_name"] = level_name(level);
}

Json report_json(const Report &report) {
  Json json;
  put_identity(report, &json);
  put_limits(report.counters, &json);
  put_counters(report.counters, &json);
  put_kernel_view(report, &json);
  json["notes"] = report_notes(report);
  if (report.cgroup) json["cgroup"] = cgroup_json(*report.cgroup);
  json["group"] = group_json(report);
  return json;
}

std::string json_text(const Json &json) { return json.dump(2, ' ', false, Json::error_handler_t::replace); }

std::string json_line(const Json &json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace membudget::cli
