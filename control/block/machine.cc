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
  int fd = system_open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  size_t length = 0;
  ssize_t got;
  while (length + 1 < size && (got = system_read(fd, text + length, size - 1 - length)) > 0)
    length += static_cast<size_t>(got);
  system_close(fd);
  text[length] = '\0';
  return length > 0;
}

bool read_in(const MemoryCgroup &cgroup, const char *file, char *text, size_t size) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", cgroup.folder, file);
  return read_file(path, text, size);
}

int64_t number_in(const MemoryCgroup &cgroup, const char *file) {
  char text[64];
  if (!read_in(cgroup, file, text, sizeof text)) return -1;
  if (text[0] < '0' || text[0] > '9') return INT64_MAX;  // "max"
  return strtoll(text, nullptr, 10);
}

// The number after `key` and a blank at the start of a line; 0 where there is none.
int64_t field(const char *text, const char *key) {
  size_t length = strlen(key);
  for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : nullptr)
    if (strncmp(line, key, length) == 0 && line[length] == ' ') return strtoll(line + length, nullptr, 10);
  return 0;
}

// Goes from `group` up to the root of the hierarchy at `mount` and takes the tightest limit into `out`. In a
// container the group may be named as the host sees it: then only the root is there, which is the container's own.
void take_tightest(const char *mount, const char *group, bool is_v2, MemoryCgroup *out) {
  MemoryCgroup here{};
  here.is_v2 = is_v2;
  int length = snprintf(here.folder, sizeof here.folder, "%s%s", mount, group);
  if (length < 0 || static_cast<size_t>(length) >= sizeof here.folder) return;
  char *root = here.folder + strlen(mount);
  for (;;) {
    here.limit_bytes = cgroup_limit_bytes(here);
    if (here.limit_bytes > 0 && here.limit_bytes < out->limit_bytes) *out = here;
    char *slash = strrchr(root, '/');
    if (!slash) return;
    *slash = '\0';
  }
}

bool is_listed(char *controllers, const char *wanted) {
  for (char *rest, *one = strtok_r(controllers, ",", &rest); one; one = strtok_r(nullptr, ",", &rest))
    if (strcmp(one, wanted) == 0) return true;
  return false;
}

// A line of /proc/self/cgroup: "ID:CONTROLLERS:PATH".
void take_line(char *line, const char *mount, MemoryCgroup *out) {
  char *controllers = strchr(line, ':');
  char *group = controllers ? strchr(controllers + 1, ':') : nullptr;
  if (!group) return;
  *group++ = '\0';
  ++controllers;
  char hierarchy[PATH_MAX];
  if (*controllers == '\0') {
    take_tightest(mount, group, true, out);
    snprintf(hierarchy, sizeof hierarchy, "%s/unified", mount);
    take_tightest(hierarchy, group, true, out);
  } else if (is_listed(controllers, "memory")) {
    snprintf(hierarchy, sizeof hierarchy, "%s/memory", mount);
    take_tightest(hierarchy, group, false, out);
  }
}

}  // namespace

int64_t machine_memory_bytes() {
  struct sysinfo machine;
  return sysinfo(&machine) == 0 ? static_cast<int64_t>(machine.totalram) * machine.mem_unit : INT64_MAX;
}

bool find_memory_cgroup(MemoryCgroup *out, const MachineFiles &files) {
  ErrnoGuard guard;
  *out = {};
  out->limit_bytes = machine_memory_bytes();
  char text[8192];
  if (!read_file(files.cgroup_list, text, sizeof text)) return false;
  for (char *rest, *line = strtok_r(text, "\n", &rest); line; line = strtok_r(nullptr, "\n", &rest))
    take_line(line, files.cgroup_mount, out);
  return out->folder[0] != '\0';
}

int64_t memory_limit_bytes() {
  MemoryCgroup cgroup;
  find_memory_cgroup(&cgroup);
  return cgroup.limit_bytes;
}

int64_t cgroup_limit_bytes(const MemoryCgroup &cgroup) {
  ErrnoGuard guard;
  return number_in(cgroup, cgroup.is_v2 ? "memory.max" : "memory.limit_in_bytes");
}

int64_t cgroup_charged_bytes(const MemoryCgroup &cgroup) {
  ErrnoGuard guard;
  int64_t used = number_in(cgroup, cgroup.is_v2 ? "memory.current" : "memory.usage_in_bytes");
  char text[8192];
  if (used < 0 || !read_in(cgroup, "memory.stat", text, sizeof text)) return -1;
  // The lists of pages that belong to files; pages given back with MADV_FREE are on them, too.
  int64_t reclaimable =
      cgroup.is_v2 ? field(text, "inactive_file") + field(text, "active_file") + field(text, "slab_reclaimable")
                   : field(text, "total_inactive_file") + field(text, "total_active_file");
  return used > reclaimable ? used - reclaimable : 0;
}

int64_t own_anonymous_bytes() {
  ErrnoGuard guard;
  char text[128];
  if (!read_file("/proc/self/statm", text, sizeof text)) return -1;
  char *rest = text;  // in pages: all, the resident ones, and of these those of files and shared memory
  strtoll(rest, &rest, 10);
  int64_t resident = strtoll(rest, &rest, 10);
  int64_t shared = strtoll(rest, &rest, 10);
  return (resident - shared) * sysconf(_SC_PAGESIZE);
}

int64_t own_private_bytes() {
  ErrnoGuard guard;
  char text[2048];
  if (!read_file("/proc/self/smaps_rollup", text, sizeof text)) return -1;
  return field(text, "Private_Dirty:") * 1024;
}

}  // namespace membudget
