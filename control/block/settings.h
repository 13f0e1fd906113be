// The environment variables as one table: name, meaning, and where the value goes.
#pragma once

#include <stddef.h>

#include "control/block/budget.h"

namespace membudget {

enum class Children : uint32_t { join, own, ignore };
enum class PythonMalloc : uint32_t { automatic, malloc, keep };
enum class Log : uint32_t { quiet, warn, info };

// Where glibc's own behaviour is left alone.
constexpr int64_t kGlibcDefault = -1;

struct Settings {
  char allocator[256] = "ptmalloc";
  char name[MEMBUDGET_NAME_MAX + 8] = "";  // empty: the pid of the group's first process
  char directory[256] = MEMBUDGET_DEFAULT_DIR;
  Limits limits = {{},
                   {900'000, MEMBUDGET_UNIT_MILLIONTHS, 1},
                   {970'000, MEMBUDGET_UNIT_MILLIONTHS, 1},
                   {20'000, MEMBUDGET_UNIT_MILLIONTHS, 1},
                   {}};
  int64_t measure = -1;  // MEMBUDGET_MEASURE_..., -1: as the limit's unit suggests
  Children children = Children::join;
  int64_t mmap_threshold = 128 << 10;
  int64_t trim_threshold = 128 << 10;
  int64_t arenas = kGlibcDefault;
  PythonMalloc python_malloc = PythonMalloc::automatic;
  int64_t profile_bytes = 0;
  char profile_directory[256] = "";  // empty: profiles are written on request only
  Log log = Log::warn;

  // What did not parse, a line each: variable, value, what is allowed.
  char errors[sizeof(Process::config_errors)] = "";
};

// Reads MEMBUDGET_* from an environment (`environ`). A broken value leaves the default and adds a line to
// `errors`. An empty value is as good as none.
void settings_read(char *const *environment, Settings *out);

// Marks that lie above the limit, which would never be reached: an error each, and the default instead. `whole_bytes`
// is what percentages of the limit are shares of.
void settings_check_marks(char *const *environment, int64_t whole_bytes, Settings *);

// Adds a line to `errors`, cut off where it is full.
void settings_add_error(Settings *, const char *format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace membudget
