#include "control/block/settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/block/amount.h"

namespace membudget {
namespace {

bool copy_text(const char *value, char *out, size_t size) {
  if (strlen(value) >= size) return false;
  strcpy(out, value);
  return true;
}

// The place of `value` among `choices` (a list that ends in NULL), or -1.
int choice(const char *value, const char *const *choices) {
  for (int i = 0; choices[i]; ++i)
    if (strcmp(value, choices[i]) == 0) return i;
  return -1;
}

template <typename E>
bool set_choice(const char *value, E *out, const char *const (&choices)[4]) {
  int found = choice(value, choices);
  if (found >= 0) *out = static_cast<E>(found);
  return found >= 0;
}

bool set_allocator(const char *value, Settings *s) {
  static const char *const kNames[] = {"ptmalloc", "jemalloc", "mimalloc", "tcmalloc", nullptr};
  return (choice(value, kNames) >= 0 || value[0] == '/') && copy_text(value, s->allocator, sizeof s->allocator);
}

bool set_directory(const char *value, Settings *s) {
  return value[0] == '/' && copy_text(value, s->directory, sizeof s->directory);
}

bool set_profile_directory(const char *value, Settings *s) {
  return value[0] == '/' && copy_text(value, s->profile_directory, sizeof s->profile_directory);
}

bool set_name(const char *value, Settings *s) {
  return name_is_valid(value) && copy_text(value, s->name, sizeof s->name);
}

bool set_measure(const char *value, Settings *s) {
  static const char *const kNames[4] = {"counted", "footprint", nullptr, nullptr};
  return set_choice(value, &s->measure, kNames);
}

bool set_children(const char *value, Settings *s) {
  static const char *const kNames[4] = {"join", "own", "ignore", nullptr};
  return set_choice(value, &s->children, kNames);
}

bool set_python_malloc(const char *value, Settings *s) {
  static const char *const kNames[4] = {"auto", "malloc", "keep", nullptr};
  return set_choice(value, &s->python_malloc, kNames);
}

bool set_log(const char *value, Settings *s) {
  static const char *const kNames[4] = {"quiet", "warn", "info", nullptr};
  return set_choice(value, &s->log, kNames);
}

// Bytes, and no share of anything.
bool set_bytes(const char *value, int64_t most, int64_t *out) {
  membudget_amount amount;
  if (!amount_parse(value, &amount) || amount.unit != MEMBUDGET_UNIT_BYTES || amount.value > most) return false;
  *out = amount.value;
  return true;
}

bool set_threshold(const char *value, int64_t *out) {
  if (strcmp(value, "default") != 0) return set_bytes(value, INT32_MAX, out);
  *out = kGlibcDefault;
  return true;
}

bool set_arenas(const char *value, Settings *s) {
  if (strcmp(value, "default") == 0) return s->arenas = kGlibcDefault, true;
  char *end = nullptr;
  long arenas = strtol(value, &end, 10);
  if (value[0] < '1' || value[0] > '9' || *end != '\0' || arenas > 65536) return false;
  s->arenas = arenas;
  return true;
}

// A share of nothing would be no limit at all, which is to be asked for by leaving it out.
bool set_limit(const char *value, membudget_amount *out) {
  membudget_amount amount;
  if (!amount_parse(value, &amount) || (amount_is_share(amount) && amount.value == 0)) return false;
  *out = amount;
  return true;
}

struct Variable {
  const char *name;
  const char *allowed;
  bool (*set)(const char *value, Settings *);
};

#define MEMBUDGET_SIZE "a size like 512M, or a percentage like 95%"

constexpr Variable kVariables[] = {
    {"MEMBUDGET_ALLOCATOR", "ptmalloc, jemalloc, mimalloc, tcmalloc, or the absolute path of a malloc library",
     set_allocator},
    {"MEMBUDGET_LIMIT", MEMBUDGET_SIZE, [](const char *v, Settings *s) { return set_limit(v, &s->limits.limit); }},
    {"MEMBUDGET_LOW", MEMBUDGET_SIZE, [](const char *v, Settings *s) { return amount_parse(v, &s->limits.low); }},
    {"MEMBUDGET_MEDIUM", MEMBUDGET_SIZE, [](const char *v, Settings *s) { return amount_parse(v, &s->limits.medium); }},
    {"MEMBUDGET_RELEASE", MEMBUDGET_SIZE,
     [](const char *v, Settings *s) { return amount_parse(v, &s->limits.release); }},
    {"MEMBUDGET_HARD_LIMIT", MEMBUDGET_SIZE,
     [](const char *v, Settings *s) { return set_limit(v, &s->limits.hard_limit); }},
    {"MEMBUDGET_MEASURE", "counted or footprint", set_measure},
    {"MEMBUDGET_NAME", "1 to 64 of the characters A-Z a-z 0-9 . _ -", set_name},
    {"MEMBUDGET_DIR", "an absolute path of at most 255 bytes", set_directory},
    {"MEMBUDGET_CHILDREN", "join, own or ignore", set_children},
    {"MEMBUDGET_MMAP_THRESHOLD", "a size like 128K, up to 2 GiB, or default",
     [](const char *v, Settings *s) { return set_threshold(v, &s->mmap_threshold); }},
    {"MEMBUDGET_TRIM_THRESHOLD", "a size like 128K, up to 2 GiB, or default",
     [](const char *v, Settings *s) { return set_threshold(v, &s->trim_threshold); }},
    {"MEMBUDGET_ARENAS", "1 to 65536, or default", set_arenas},
    {"MEMBUDGET_PYTHONMALLOC", "auto, malloc or keep", set_python_malloc},
    {"MEMBUDGET_PROFILE", "a size like 512K, or 0",
     [](const char *v, Settings *s) { return set_bytes(v, INT64_C(1) << 40, &s->profile_bytes); }},
    {"MEMBUDGET_PROFILE_DIR", "an absolute path of at most 255 bytes", set_profile_directory},
    {"MEMBUDGET_LOG", "quiet, warn or info", set_log},
};

}  // namespace

void settings_add_error(Settings *s, const char *format, ...) {
  size_t used = strlen(s->errors);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(s->errors + used, sizeof s->errors - used, format, arguments);
  va_end(arguments);
}

// A value is somebody's text: a line of ours stays one line, whatever is in it.
static void copy_printable(const char *value, char *out, size_t size) {
  size_t length = 0;
  for (; value[length] != '\0' && length + 1 < size; ++length)
    out[length] = static_cast<unsigned char>(value[length]) >= ' ' && value[length] != 127 ? value[length] : '?';
  out[length] = '\0';
}

// `reason` says why the value is none of those that are allowed; empty where that is plain.
static void add_refusal(const char *name, const char *value, const char *reason, const char *allowed, Settings *out) {
  char shown[101];
  copy_printable(value, shown, sizeof shown);
  settings_add_error(out, "%s=%s is not allowed: %s%s\n", name, shown, reason, allowed);
}

void settings_read(char *const *environment, Settings *out) {
  for (; environment && *environment; ++environment) {
    const char *entry = *environment;
    if (strncmp(entry, "MEMBUDGET_", 10) != 0) continue;
    for (const Variable &variable : kVariables) {
      size_t length = strlen(variable.name);
      if (strncmp(entry, variable.name, length) != 0 || entry[length] != '=') continue;
      const char *value = entry + length + 1;
      if (*value == '\0' || variable.set(value, out)) continue;
      const char *reason = amount_is_too_large(value) ? "too large; write " : "";
      add_refusal(variable.name, value, reason, variable.allowed, out);
    }
  }
}

static const char *value_of(char *const *environment, const char *name) {
  size_t length = strlen(name);
  for (; environment && *environment; ++environment)
    if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') return *environment + length + 1;
  return "";
}

void settings_check_marks(char *const *environment, int64_t whole_bytes, Settings *s) {
  const Limits defaults = Settings{}.limits;
  int64_t limit = amount_bytes(s->limits.limit, whole_bytes);
  auto check = [&](const char *name, membudget_amount *mark, const membudget_amount &fallback) {
    if (limit <= 0 || amount_bytes(*mark, limit) <= limit) return;
    *mark = fallback;
    add_refusal(name, value_of(environment, name), "above the limit; write ",
                "a size up to MEMBUDGET_LIMIT, or a percentage of it", s);
  };
  check("MEMBUDGET_LOW", &s->limits.low, defaults.low);
  check("MEMBUDGET_MEDIUM", &s->limits.medium, defaults.medium);
}

}  // namespace membudget
