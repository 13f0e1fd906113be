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
  const ElfW(Rela) *calls = nullptr, *data = nullptr;
  size_t calls_bytes = 0, data_bytes = 0;
  uintptr_t bytes = 0;  // from `base` on
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
    uintptr_t end = object.dlpi_phdr[i].p_vaddr + object.dlpi_phdr[i].p_memsz;
    if (object.dlpi_phdr[i].p_type == PT_LOAD && end > t.bytes) t.bytes = end;
    if (object.dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
    for (auto *d = reinterpret_cast<const ElfW(Dyn) *>(t.base + object.dlpi_phdr[i].p_vaddr); d->d_tag != DT_NULL;
         ++d) {
      if (d->d_tag == DT_SYMTAB) t.symbols = at<ElfW(Sym)>(t.base, d->d_un.d_ptr);
      if (d->d_tag == DT_STRTAB) t.strings = at<char>(t.base, d->d_un.d_ptr);
      if (d->d_tag == DT_GNU_HASH) t.hash = at<uint32_t>(t.base, d->d_un.d_ptr);
      if (d->d_tag == DT_JMPREL) t.calls = at<ElfW(Rela)>(t.base, d->d_un.d_ptr);
      if (d->d_tag == DT_PLTRELSZ) t.calls_bytes = d->d_un.d_val;
      if (d->d_tag == DT_RELA) t.data = at<ElfW(Rela)>(t.base, d->d_un.d_ptr);
      if (d->d_tag == DT_RELASZ) t.data_bytes = d->d_un.d_val;
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

// Whether the loader has come to the end of the relocations: an object is in its list before that. What they have made
// is an address, what stood there before none, or an offset into the object. What may stay zero (weak) tells nothing.
bool is_relocated(const Tables &t) {
  const ElfW(Rela) *first = t.calls ? t.calls : t.data;
  size_t count = (t.calls ? t.calls_bytes : t.data_bytes) / sizeof *first;
  if (t.base == 0 || !first) return true;  // no shared object: there before any thread
  for (const ElfW(Rela) *r = first + count; r-- > first;) {
    const ElfW(Sym) &s = t.symbols[ELF64_R_SYM(r->r_info)];
    if (ELF64_ST_BIND(s.st_info) == STB_WEAK) continue;
    return __atomic_load_n(reinterpret_cast<const uintptr_t *>(t.base + r->r_offset), __ATOMIC_ACQUIRE) > t.bytes;
  }
  return true;
}

struct Search {
  Symbol *symbols;
  int count;
  Found found = Found::no;
};

int look_into(dl_phdr_info *object, size_t, void *context) {
  auto &search = *static_cast<Search *>(context);
  Tables tables = tables_of(*object);
  for (int i = 0; i < search.count; ++i)
    if (!find(tables, &search.symbols[i])) return 0;
  search.found = is_relocated(tables) ? Found::yes : Found::being_loaded;
  return 1;
}

}  // namespace

Found find_symbols(Symbol *symbols, int count) {
  Search search = {symbols, count};
  dl_iterate_phdr(look_into, &search);
  return search.found;
}

void with_objects_kept(void (*function)(void *, const LoadedObjects &), void *argument) {
  struct Call {
    void (*function)(void *, const LoadedObjects &);
    void *argument;
  } call = {function, argument};
  dl_iterate_phdr(
      [](dl_phdr_info *object, size_t, void *context) {
        const auto &c = *static_cast<const Call *>(context);
        c.function(c.argument, {object->dlpi_adds, object->dlpi_subs});
        return 1;
      },
      &call);
}

LoadedObjects loaded_objects() {
  LoadedObjects objects;
  with_objects_kept([](void *out, const LoadedObjects &now) { *static_cast<LoadedObjects *>(out) = now; }, &objects);
  return objects;
}

}  // namespace membudget::stacks
