// A file as one range of bytes.
#pragma once

#include <string>
#include <string_view>

namespace membudget::cli {

class MappedFile {
 public:
  explicit MappedFile(const std::string &path);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  // Empty where the file cannot be read. What is cut off while it is mapped reads as zeros.
  std::string_view bytes() const { return {static_cast<const char *>(start_), size_}; }

 private:
  void *start_ = nullptr;
  size_t size_ = 0;
};

}  // namespace membudget::cli
