// What the figures of a report mean, in words, where they are far apart.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "control/cli/report.h"
#include "control/cli/text.h"

namespace membudget::cli {
namespace {

// Below these, a difference is not worth a sentence.
constexpr int64_t kLeastBytes = 8 << 20;
constexpr double kLeastShare = 0.1;

bool is_large(int64_t bytes, int64_t whole) {
  return bytes >= kLeastBytes && static_cast<double>(bytes) >= kLeastShare * static_cast<double>(whole);
}

std::string target_of(const Report &report) {
  return report.is_group ? std::string(report.counters.name) : std::to_string(report.counters.pid);
}

using Notes = std::vector<std::string>;

void add_lazy_free(const Report &report, Notes *notes) {
  if (!is_large(report.memory->lazy_free_bytes, *report.anonymous_bytes())) return;
  notes->push_back(
      fmt::format("{} of the RSS was freed and given back with MADV_FREE: this is no leak. The kernel takes those "
                  "pages when memory gets scarce, and shows them as resident until then; `membudget balloon` "
                  "presses them out.",
                  human_bytes(report.memory->lazy_free_bytes)));
}

std::string own_allocators(const MemoryMap &map) {
  return map.own_allocators.empty() ? "" : fmt::format("{}", fmt::join(map.own_allocators, ", "));
}

void add_allocator(const Report &report, Notes *notes) {
  const MemoryMap &map = *report.map;
  int64_t kept = map.heap_bytes - report.counters.counted_bytes;
  if (!is_large(kept, *report.anonymous_bytes())) return;
  std::string others = own_allocators(map);
  if (others.empty())
    notes->push_back(
        fmt::format("About {} is held by the allocator ({}) but not handed out: free blocks, room "
                    "between blocks, its own tables. `membudget trim {}` hands back what it can.",
                    human_bytes(kept), printable(report.counters.allocator), target_of(report)));
  else
    notes->push_back(
        fmt::format("About {} is held by allocators and not counted: free blocks of {}, or the "
                    "blocks of {}, which does not go through malloc.",
                    human_bytes(kept), printable(report.counters.allocator), others));
}

void add_runtime(const Report &report, Notes *notes) {
  const MemoryMap &map = *report.map;
  if (is_large(map.runtime_bytes, *report.anonymous_bytes()))
    notes->push_back(
        fmt::format("{} did not come through malloc: {}. The budget does not see it; give the "
                    "runtime a limit of its own, and the budget the rest.",
                    human_bytes(map.runtime_bytes), map.runtime));
  if (is_large(map.stack_bytes, *report.anonymous_bytes()))
    notes->push_back(fmt::format("{} is the stacks of {} threads.", human_bytes(map.stack_bytes),
                                 report.stat ? human_count(report.stat->threads) : "its"));
  if (is_large(map.file_bytes, *report.anonymous_bytes()))
    notes->push_back(
        fmt::format("{} is pages of programs and libraries that were written to.", human_bytes(map.file_bytes)));
}

void add_mapped(const Report &report, Notes *notes) {
  const Snapshot &s = report.counters;
  if (report.map && report.map->has_python && is_large(s.mapped_bytes, s.counted_bytes))
    notes->push_back(
        fmt::format("The {} mapped are CPython's arenas for the most part, counted whole. With "
                    "MEMBUDGET_PYTHONMALLOC=malloc each small object is counted by itself.",
                    human_bytes(s.mapped_bytes)));
}

void add_absent(const Report &report, Notes *notes) {
  int64_t swap = report.memory->swap_bytes;
  int64_t untouched = report.counters.counted_bytes - *report.anonymous_bytes() - swap;
  if (is_large(swap, *report.anonymous_bytes())) notes->push_back(fmt::format("{} is swapped out.", human_bytes(swap)));
  if (is_large(untouched, report.counters.counted_bytes))
    notes->push_back(fmt::format("{} of what is counted has not been touched yet: it takes no memory until it is.",
                                 human_bytes(untouched)));
}

// Where nothing else explains a large RSS, the program itself holds it.
void add_held(const Report &report, Notes *notes) {
  int64_t anonymous = *report.anonymous_bytes();
  bool is_counted = static_cast<double>(report.counters.counted_bytes) >= 0.9 * static_cast<double>(anonymous);
  if (notes->empty() && anonymous >= kLeastBytes && is_counted)
    notes->push_back(
        "The program holds what the kernel sees: nothing worth mentioning is kept by the allocator "
        "or waits to be taken. If it grows on and on, the program leaks, or caches.");
}

}  // namespace

std::vector<std::string> report_notes(const Report &report) {
  Notes notes;
  if (!report.memory) return notes;
  add_lazy_free(report, &notes);
  if (report.map) {
    add_allocator(report, &notes);
    add_runtime(report, &notes);
  }
  add_absent(report, &notes);
  add_held(report, &notes);
  add_mapped(report, &notes);
  return notes;
}

}  // namespace membudget::cli
