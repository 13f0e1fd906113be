// Programs that `membudget run` and `doctor` look at before they start them.
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "control/cli/elf_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  int fd = memfd_create("elf", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, size) != static_cast<ssize_t>(size)) return 0;
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  membudget::cli::read_head(path);
  membudget::cli::read_elf(path);
  close(fd);
  return 0;
}
