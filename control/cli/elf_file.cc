#include "control/cli/elf_file.h"

#include <elf.h>
#include <string.h>

#include <fstream>

namespace membudget::cli {
namespace {

constexpr size_t kHeadBytes = 256;  // as much of a #! line as the kernel reads
constexpr size_t kInterpreterBytes = 4096;

template <typename Part>
bool read_at(std::ifstream &file, uint64_t offset, Part *out) {
  file.clear();
  file.seekg(static_cast<std::streamoff>(offset));
  return static_cast<bool>(file.read(reinterpret_cast<char *>(out), sizeof *out));
}

template <typename Header, typename Segment>
void read_as(std::ifstream &file, ElfFile *out) {
  Header header;
  if (!read_at(file, 0, &header)) return;
  out->machine = header.e_machine;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Segment segment;
    if (!read_at(file, header.e_phoff + uint64_t{i} * header.e_phentsize, &segment)) return;
    if (segment.p_type == PT_TLS) out->tls_bytes = segment.p_memsz;
    if (segment.p_type != PT_INTERP || segment.p_filesz > kInterpreterBytes) continue;
    out->interpreter.resize(segment.p_filesz);
    file.seekg(static_cast<std::streamoff>(segment.p_offset));
    file.read(out->interpreter.data(), static_cast<std::streamsize>(segment.p_filesz));
    out->interpreter.resize(strnlen(out->interpreter.c_str(), out->interpreter.size()));
  }
}

}  // namespace

FileHead read_head(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return {};
  std::string head(kHeadBytes, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<size_t>(file.gcount()));
  if (head.starts_with(ELFMAG)) return {FileHead::elf, ""};
  if (!head.starts_with("#!")) return {FileHead::other, ""};
  size_t start = head.find_first_not_of(" \t", 2);
  size_t end = head.find_first_of(" \t\r\n", start);
  if (start == std::string::npos || head[start] == '\n') return {FileHead::other, ""};
  return {FileHead::script, head.substr(start, end == std::string::npos ? end : end - start)};
}

ElfFile read_elf(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  ElfFile elf;
  unsigned char identity[EI_NIDENT];
  if (!file || !read_at(file, 0, &identity) || memcmp(identity, ELFMAG, SELFMAG) != 0) return elf;
  elf.elf_class = identity[EI_CLASS];
  if (elf.elf_class == ELFCLASS64) read_as<Elf64_Ehdr, Elf64_Phdr>(file, &elf);
  if (elf.elf_class == ELFCLASS32) read_as<Elf32_Ehdr, Elf32_Phdr>(file, &elf);
  return elf;
}

}  // namespace membudget::cli
