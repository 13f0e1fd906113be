#include "control/cli/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace membudget::cli {

MappedFile::MappedFile(const std::string &path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return;
  struct stat about {};
  bool is_mappable = fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0;
  if (is_mappable) {
    void *start = mmap(nullptr, static_cast<size_t>(about.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (start != MAP_FAILED) start_ = start, size_ = static_cast<size_t>(about.st_size);
  }
  close(fd);
}

MappedFile::~MappedFile() {
  if (start_) munmap(start_, size_);
}

}  // namespace membudget::cli
