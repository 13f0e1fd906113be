#include "preload/log.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/block/system.h"
#include "control/block/undisturbed.h"

namespace membudget {
namespace {

constexpr char kToldName[] = "MEMBUDGET_TOLD";

// Standard error may be a pipe that nobody reads any more: its signal would be ours, and end the program.
void write_line(const char *text, size_t length) {
  Undisturbed undisturbed;
  sigset_t pipe_only, before;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&before);
  bool is_lost = system_write(STDERR_FILENO, text, length) < 0 && errno == EPIPE;
  constexpr timespec kAtOnce{};
  if (is_lost && sigismember(&before, SIGPIPE) == 0) sigtimedwait(&pipe_only, nullptr, &kAtOnce);
}

__attribute__((format(printf, 1, 2))) void say(const char *format, ...) {
  ErrnoGuard guard;
  char text[1200] = "membudget: ";
  constexpr size_t kStart = sizeof "membudget: " - 1;
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text + kStart, sizeof text - kStart - 1, format, arguments);
  va_end(arguments);
  if (length < 0) return;
  size_t end = strlen(text);
  text[end] = '\n';
  write_line(text, end + 1);
}

// FNV-1a.
uint32_t hash_of(const char *text) {
  uint32_t hash = 2166136261u;
  for (; *text; ++text) hash = (hash ^ static_cast<unsigned char>(*text)) * 16777619u;
  return hash;
}

// Whether a process whose environment this one has has told the same, and that this one tells it now.
bool were_told(const char *errors) {
  char mark[16];
  snprintf(mark, sizeof mark, "%08x", hash_of(errors));
  const char *told = getenv(kToldName);
  if (told && strcmp(told, mark) == 0) return true;
  setenv(kToldName, mark, 1);
  return false;
}

}  // namespace

void log_errors(const Settings &settings) {
  if (settings.log == Log::quiet || settings.errors[0] == '\0' || were_told(settings.errors)) return;
  for (const char *line = settings.errors; *line;) {
    size_t length = strcspn(line, "\n");
    say("%.*s", static_cast<int>(length), line);
    line += length + (line[length] == '\n');
  }
}

void log_in_force(const Settings &settings, const Block &block) {
  if (settings.log != Log::info) return;
  const Header *h = block.header;
  char limits[160] = "no limit", hard_limit[48] = "";
  if (h->limit_bytes > 0)
    snprintf(limits, sizeof limits, "limit %" PRId64 " bytes of %s, low from %" PRId64 ", medium from %" PRId64,
             h->limit_bytes, h->measure == MEMBUDGET_MEASURE_FOOTPRINT ? "footprint" : "counted memory", h->low_bytes,
             h->medium_bytes);
  if (h->hard_limit_bytes > 0) snprintf(hard_limit, sizeof hard_limit, ", hard limit %" PRId64, h->hard_limit_bytes);
  say("group %s begins: %s, %s%s; block %s/" MEMBUDGET_FILE_PREFIX "%s", h->name, settings.allocator, limits,
      hard_limit, settings.directory, h->name);
}

void log_crossing(const Settings &settings, const Block &block) {
  constexpr uint64_t kSecond = 1'000'000'000, kDay = 86'400;
  if (settings.log != Log::info) return;
  Header *h = block.header;
  uint64_t told = __atomic_load_n(&h->told_crossing_ns, __ATOMIC_RELAXED);
  uint64_t last = __atomic_load_n(&h->last_crossing_ns, __ATOMIC_RELAXED);
  if (last == told || (last > told && last - told < kSecond) ||
      !__atomic_compare_exchange_n(&h->told_crossing_ns, &told, last, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    return;
  auto second = static_cast<unsigned>(last / kSecond % kDay);
  say("%02u:%02u:%02u UTC: group %s crossed its budget: %" PRId64 " bytes counted, limit %" PRId64 " (crossing %" PRIu64
      ")",
      second / 3600, second / 60 % 60, second % 60, h->name, h->last_crossing_counted_bytes, h->limit_bytes,
      h->crossings);
}

void log_lost_profile(const Settings &settings, int error) {
  static bool is_told;
  if (settings.log == Log::quiet || __atomic_exchange_n(&is_told, true, __ATOMIC_RELAXED)) return;
  say("MEMBUDGET_PROFILE_DIR=%.255s: a profile could not be written (%s)", settings.profile_directory,
      strerrordesc_np(error));
}

}  // namespace membudget
