// A folder for block files, removed at the end of the test.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace membudget::unit {

class Folder {
 public:
  Folder() {
    char path[] = "/dev/shm/membudget-unit.XXXXXX", fallback[] = "/tmp/membudget-unit.XXXXXX";
    const char *made = mkdtemp(path);
    if (!made) made = mkdtemp(fallback);
    EXPECT_NE(made, nullptr);
    path_ = made ? made : "";
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder &) = delete;
  Folder &operator=(const Folder &) = delete;

  const char *path() const { return path_.c_str(); }
  std::string block(const std::string &name) const { return path_ + "/membudget-" + name; }
  size_t files() const {
    size_t count = 0;
    for (const auto &entry : std::filesystem::directory_iterator(path_)) count += entry.exists();
    return count;
  }

 private:
  std::string path_;
};

}  // namespace membudget::unit
