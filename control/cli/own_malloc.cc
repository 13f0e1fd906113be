#include "control/cli/own_malloc.h"

#include <elf.h>
#include <string.h>

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "control/cli/mapped_file.h"

namespace membudget::cli {
namespace {

// What each allocator leaves in the file, stripped or not: texts of its messages and names of its functions.
struct Marker {
  const char *text;
  const char *runtime;
};

constexpr Marker kMarkers[] = {
    {"_rjem_mallocx", "Rust's jemalloc"},
    {"duckdb_je_mallocx", "DuckDB's jemalloc"},
    {"je_arrow_mallocx", "Arrow's jemalloc"},
    {"je_arrow_private_", "Arrow's jemalloc"},
    {"<jemalloc>: Error", "a jemalloc linked into it"},
    {"mimalloc: warning: ", "a mimalloc linked into it"},
    {"src/tcmalloc.cc", "a tcmalloc linked into it"},
};
constexpr const char *kGoSection = ".go.buildinfo";

constexpr int kDeepBind = 0x8, kBindNow = 0x2, kBindLazy = 0x1;
constexpr size_t kBeforeCall = 48;  // bytes before a call in which its second argument is looked for

template <typename Part>
std::optional<Part> part_at(std::string_view file, uint64_t offset) {
  Part part;
  if (offset > file.size() || sizeof part > file.size() - offset) return std::nullopt;
  memcpy(&part, file.data() + offset, sizeof part);
  return part;
}

std::string_view text_at(std::string_view file, uint64_t offset) {
  if (offset >= file.size()) return {};
  return {file.data() + offset, strnlen(file.data() + offset, file.size() - offset)};
}

// The sections of a 64-bit ELF file; empty for any other.
class Sections {
 public:
  explicit Sections(std::string_view file) : file_(file) {
    auto header = part_at<Elf64_Ehdr>(file, 0);
    if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64) return;
    machine_ = header->e_machine;
    for (unsigned i = 0; i < header->e_shnum; ++i) {
      auto section = part_at<Elf64_Shdr>(file, header->e_shoff + uint64_t{i} * header->e_shentsize);
      if (!section) return;
      sections_.push_back(*section);
    }
    if (header->e_shstrndx < sections_.size()) names_ = sections_[header->e_shstrndx].sh_offset;
  }

  const Elf64_Shdr *find(std::string_view name) const {
    for (const Elf64_Shdr &section : sections_)
      if (text_at(file_, names_ + section.sh_name) == name) return &section;
    return nullptr;
  }

  unsigned machine() const { return machine_; }

  template <typename Entry>
  std::vector<Entry> entries(std::string_view name) const {
    std::vector<Entry> found;
    const Elf64_Shdr *section = find(name);
    for (uint64_t at = 0; section && at + sizeof(Entry) <= section->sh_size; at += sizeof(Entry)) {
      auto entry = part_at<Entry>(file_, section->sh_offset + at);
      if (!entry) break;
      found.push_back(*entry);
    }
    return found;
  }

  std::string_view dynamic_name(uint64_t name) const {
    const Elf64_Shdr *names = find(".dynstr");
    return names ? text_at(file_, names->sh_offset + name) : std::string_view{};
  }
  std::string_view dynamic_name(const Elf64_Sym &symbol) const { return dynamic_name(symbol.st_name); }

 private:
  std::string_view file_;
  std::vector<Elf64_Shdr> sections_;
  uint64_t names_ = 0;
  unsigned machine_ = EM_NONE;
};

bool defines_malloc(const Sections &sections) {
  for (const Elf64_Sym &symbol : sections.entries<Elf64_Sym>(".dynsym"))
    if (symbol.st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol.st_info) == STT_FUNC &&
        sections.dynamic_name(symbol) == "malloc")
      return true;
  return false;
}

// The address of the pointer through which dlopen is called; 0 where it is not.
uint64_t dlopen_slot(const Sections &sections) {
  auto symbols = sections.entries<Elf64_Sym>(".dynsym");
  for (const char *table : {".rela.plt", ".rela.dyn"})
    for (const Elf64_Rela &entry : sections.entries<Elf64_Rela>(table)) {
      uint64_t index = ELF64_R_SYM(entry.r_info);
      if (index < symbols.size() && sections.dynamic_name(symbols[index]) == "dlopen") return entry.r_offset;
    }
  return 0;
}

struct Code {
  std::string_view bytes;
  uint64_t address = 0;

  uint64_t target_of(size_t displacement_at) const {
    int32_t displacement;
    memcpy(&displacement, bytes.data() + displacement_at, sizeof displacement);
    return address + displacement_at + 4 + static_cast<uint64_t>(static_cast<int64_t>(displacement));
  }
};

Code code_of(std::string_view file, const Sections &sections, std::string_view name) {
  const Elf64_Shdr *section = sections.find(name);
  if (!section || section->sh_offset > file.size() || section->sh_size > file.size() - section->sh_offset) return {};
  return {file.substr(section->sh_offset, section->sh_size), section->sh_addr};
}

// Whether one of the instructions before a call is `mov $FLAGS, %esi` with RTLD_DEEPBIND among the flags.
bool passes_deepbind(std::string_view code, size_t call) {
  constexpr char kMoveToEsi = '\xbe';
  for (size_t at = call < kBeforeCall ? 0 : call - kBeforeCall; at + 5 <= call; ++at) {
    int32_t flags;
    memcpy(&flags, code.data() + at + 1, sizeof flags);
    bool is_mode = (flags & (kBindNow | kBindLazy)) != 0 && (flags & ~0x110f) == 0;
    if (code[at] == kMoveToEsi && is_mode && (flags & kDeepBind) != 0) return true;
  }
  return false;
}

// The addresses of the stubs that jump to dlopen: `jmp *slot(%rip)`, after an optional endbr64.
std::vector<uint64_t> stubs_of(std::string_view file, const Sections &sections, uint64_t slot) {
  std::vector<uint64_t> stubs;
  for (const char *name : {".plt", ".plt.sec", ".plt.got"}) {
    Code code = code_of(file, sections, name);
    for (size_t at = 0; at + 6 <= code.bytes.size(); ++at)
      if (code.bytes.substr(at, 2) == "\xff\x25" && code.target_of(at + 2) == slot)
        for (uint64_t before : {0, 4, 5}) stubs.push_back(code.address + at - before);
  }
  return stubs;
}

// By the machine code of x86-64: calls of dlopen with the flag as a constant.
bool uses_deepbind(std::string_view file, const Sections &sections) {
  uint64_t slot = sections.machine() == EM_X86_64 ? dlopen_slot(sections) : 0;
  if (slot == 0) return false;
  std::vector<uint64_t> stubs = stubs_of(file, sections, slot);
  Code code = code_of(file, sections, ".text");
  for (size_t at = 0; at + 6 <= code.bytes.size(); ++at) {
    bool is_call = false;
    if (code.bytes[at] == '\xe8' || code.bytes[at] == '\xe9')
      for (uint64_t stub : stubs) is_call |= code.target_of(at + 1) == stub;
    else if (code.bytes[at] == '\xff' && (code.bytes[at + 1] == '\x15' || code.bytes[at + 1] == '\x25'))
      is_call = code.target_of(at + 2) == slot;
    if (is_call && passes_deepbind(code.bytes, at)) return true;
  }
  return false;
}

}  // namespace

OwnMalloc find_own_malloc(const std::string &path) {
  MappedFile mapped(path);
  std::string_view file = mapped.bytes();
  OwnMalloc found;
  Sections sections(file);
  if (sections.machine() == EM_NONE) return found;
  found.defines_malloc = defines_malloc(sections);
  found.uses_deepbind = uses_deepbind(file, sections);
  if (sections.find(kGoSection)) found.runtime = "Go's runtime";
  for (const Marker &marker : kMarkers)
    if (found.runtime.empty() && file.find(marker.text) != std::string_view::npos) found.runtime = marker.runtime;
  return found;
}

std::string needed_sanitizer(const std::string &path) {
  MappedFile mapped(path);
  Sections sections(mapped.bytes());
  for (const Elf64_Dyn &entry : sections.entries<Elf64_Dyn>(".dynamic")) {
    if (entry.d_tag != DT_NEEDED) continue;
    std::string_view library = sections.dynamic_name(entry.d_un.d_val);
    for (const char *name : {"libasan.so", "libhwasan.so", "libclang_rt.asan", "libclang_rt.hwasan"})  // gcc's, clang's
      if (library.starts_with(name)) return std::string(library);
  }
  return {};
}

}  // namespace membudget::cli
