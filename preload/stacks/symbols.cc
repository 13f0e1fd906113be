#include "preload/stacks/symbols.h"

#include <elf.h>
#include <link.h>
#include <string.h>

namespace membudget::stacks {
namespace {

struct Tables {
  uintptr_t base = 0;
  const ElfW(Sym) *symbols = nullptr;
  const char *strings = nullptr;
  const uint32_t *hash = nullptr;  // DT_GNU_HASH
};

// glibc leaves addresses in the dynamic section, but for objects it may not write to.
template <typename T>
const T *at(uintptr_t base, uintptr_t value) {
  return reinterpret_cast<const T *>(value < base ? base + value : value);
}

Tables tables_of(const dl_phdr_info &object) {
  Tables t;
  t.base = object.dlpi_addr;
  for (int i = 0; i < object.dlpi_phnum; ++i) {
    if (object.dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
    for (auto *d = reinterpret_cast<const ElfW(Dyn) *>(t.base + object.dlpi_phdr[i].p_vaddr); d->d_tag != DT_NULL;
         ++d) {
      if (d->d_tag == DT_SYMTAB) t.symbols = at<ElfW(Sym)>(t.base, d->d_un.d_ptr);
      if (d->d_tag == DT_STRTAB) t.strings = at<char>(t.base, d->d_un.d_ptr);
      if (d->d_tag == DT_GNU_HASH) t.hash = at<uint32_t>(t.base, d->d_un.d_ptr);
    }
  }
  return t;
}

uint32_t gnu_hash(const char *name) {
  uint32_t hash = 5381;
  for (; *name; ++name) hash = hash * 33 + static_cast<unsigned char>(*name);
  return hash;
}

bool find(const Tables &t, Symbol *wanted) {
  if (!t.symbols || !t.strings || !t.hash) return false;
  uint32_t buckets = t.hash[0], first = t.hash[1], bloom_words = t.hash[2];
  const uint32_t *bucket = t.hash + 4 + bloom_words * (sizeof(ElfW(Addr)) / 4), *chain = bucket + buckets;
  uint32_t hash = gnu_hash(wanted->name), i = buckets ? bucket[hash % buckets] : 0;
  if (i < first) return false;
  for (;; ++i) {
    uint32_t entry = chain[i - first];
    const ElfW(Sym) &s = t.symbols[i];
    if ((entry | 1) == (hash | 1) && s.st_shndx != SHN_UNDEF && strcmp(t.strings + s.st_name, wanted->name) == 0) {
      wanted->address = t.base + s.st_value;
      wanted->bytes = s.st_size;
      return true;
    }
    if (entry & 1) return false;
  }
}

struct Search {
  Symbol *symbols;
  int count;
};

int look_into(dl_phdr_info *object, size_t, void *context) {
  auto &search = *static_cast<Search *>(context);
  Tables tables = tables_of(*object);
  for (int i = 0; i < search.count; ++i)
    if (!find(tables, &search.symbols[i])) return 0;
  return 1;
}

}  // namespace

bool find_symbols(Symbol *symbols, int count) {
  Search search = {symbols, count};
  return dl_iterate_phdr(look_into, &search) == 1;
}

LoadedObjects loaded_objects() {
  LoadedObjects objects;
  dl_iterate_phdr(
      [](dl_phdr_info *object, size_t, void *out) {
        *static_cast<LoadedObjects *>(out) = {object->dlpi_adds, object->dlpi_subs};
        return 1;
      },
      &objects);
  return objects;
}

}  // namespace membudget::stacks
