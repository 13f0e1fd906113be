#include "control/block/machine.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "control/block/system.h"

namespace membudget {
namespace {

bool read_file(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t length = read(fd, text, size - 1);
  close(fd);
  text[length > 0 ? length : 0] = '\0';
  return length > 0;
}

// The limit in one file, or none ("max" and unreadable files are none).
int64_t limit_in(const char *path) {
  char text[64];
  if (!read_file(path, text, sizeof text) || text[0] < '0' || text[0] > '9') return INT64_MAX;
  long long bytes = strtoll(text, nullptr, 10);
  return bytes > 0 ? bytes : INT64_MAX;
}

// The tightest limit from `group` up to the root of the hierarchy mounted at `mount`.
int64_t tightest(const char *mount, char *group, const char *file) {
  int64_t limit = INT64_MAX;
  for (;;) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s/%s", mount, strcmp(group, "/") == 0 ? "" : group, file);
    int64_t here = limit_in(path);
    if (here < limit) limit = here;
    char *slash = strrchr(group, '/');
    if (!slash || group[0] == '\0') return limit;
    *slash = '\0';
  }
}

// A line of /proc/self/cgroup: "ID:CONTROLLERS:PATH".
int64_t limit_of_line(char *line) {
  char *controllers = strchr(line, ':');
  char *group = controllers ? strchr(controllers + 1, ':') : nullptr;
  if (!group) return INT64_MAX;
  *group++ = '\0';
  ++controllers;
  if (*controllers == '\0') {
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", group);
    int64_t plain = tightest("/sys/fs/cgroup", copy, "memory.max");
    int64_t hybrid = tightest("/sys/fs/cgroup/unified", group, "memory.max");
    return plain < hybrid ? plain : hybrid;
  }
  for (char *rest, *one = strtok_r(controllers, ",", &rest); one; one = strtok_r(nullptr, ",", &rest))
    if (strcmp(one, "memory") == 0) return tightest("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
  return INT64_MAX;
}

}  // namespace

int64_t memory_limit_bytes() {
  ErrnoGuard guard;
  struct sysinfo machine;
  int64_t limit = INT64_MAX;
  if (sysinfo(&machine) == 0) limit = static_cast<int64_t>(machine.totalram) * machine.mem_unit;
  char text[8192];
  if (!read_file("/proc/self/cgroup", text, sizeof text)) return limit;
  for (char *rest, *line = strtok_r(text, "\n", &rest); line; line = strtok_r(nullptr, "\n", &rest)) {
    int64_t here = limit_of_line(line);
    if (here < limit) limit = here;
  }
  return limit;
}

}  // namespace membudget
