#include "allocator/size_map.h"

#include "control/block/system.h"

namespace membudget {

template <unsigned kPageBits>
typename SizeMap<kPageBits>::Leaf **SizeMap<kPageBits>::root;

namespace {

void *take_pages(size_t bytes) {
  ErrnoGuard guard;
  void *memory =
      system_mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

template <unsigned kPageBits>
bool SizeMap<kPageBits>::reserve() {
  size_t leaves = size_t{1} << (kAddressBits - kPageBits - kLeafBits);
  root = static_cast<Leaf **>(take_pages(leaves * sizeof(Leaf *)));
  return root != nullptr;
}

template <unsigned kPageBits>
uint16_t *SizeMap<kPageBits>::make_entry(const void *block) {
  if (uint16_t *entry = entry_of(block)) return entry;
  auto *leaf = static_cast<Leaf *>(take_pages(sizeof(Leaf)));
  if (!leaf) return nullptr;
  Leaf *none = nullptr;
  Leaf **place = &root[reinterpret_cast<uintptr_t>(block) >> kPageBits >> kLeafBits];
  if (!__atomic_compare_exchange_n(place, &none, leaf, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    ErrnoGuard guard;
    system_munmap(leaf, sizeof(Leaf));
  }
  return entry_of(block);
}

// Without memory for an entry there is none, and so nothing wrong in it.
template <unsigned kPageBits>
void SizeMap<kPageBits>::note(const void *block, size_t usable_bytes) {
  uint16_t *entry = make_entry(block);
  if (!entry || __atomic_load_n(entry, __ATOMIC_RELAXED) == kMixed) return;
  size_t units = usable_bytes >> kUnitBits;
  bool fits = units < kMixed && usable_bytes % (1 << kUnitBits) == 0;
  __atomic_store_n(entry, static_cast<uint16_t>(fits ? units : 0), __ATOMIC_RELAXED);
}

template <unsigned kPageBits>
void SizeMap<kPageBits>::note_aligned(const void *block, size_t usable_bytes) {
  uint16_t *entry = make_entry(block);
  if (entry && __atomic_load_n(entry, __ATOMIC_RELAXED) != usable_bytes >> kUnitBits)
    __atomic_store_n(entry, kMixed, __ATOMIC_RELAXED);
}

template class SizeMap<16>;
template class SizeMap<12>;

}  // namespace membudget
