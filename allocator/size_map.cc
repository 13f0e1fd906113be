#include "allocator/size_map.h"

#include "control/block/system.h"

namespace membudget {

template <unsigned kPageBits>
typename SizeMap<kPageBits>::Entry *SizeMap<kPageBits>::entries;

template <unsigned kPageBits>
bool SizeMap<kPageBits>::reserve() {
  ErrnoGuard guard;
  size_t bytes = sizeof(Entry) << (kAddressBits - kPageBits);
  void *memory =
      system_mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return false;
  syscall(SYS_madvise, memory, bytes, MADV_DONTDUMP);
  syscall(SYS_madvise, memory, bytes, MADV_NOHUGEPAGE);  // or each touch would take two megabytes
  entries = static_cast<Entry *>(memory);
  return true;
}

template <unsigned kPageBits>
void SizeMap<kPageBits>::note(const void *block, size_t usable_bytes) {
  Entry *entry = entry_of(block);
  if (__atomic_load_n(entry, __ATOMIC_RELAXED) == kMixed) return;
  __atomic_store_n(entry, static_cast<Entry>(usable_bytes <= kMostBytes ? usable_bytes : 0), __ATOMIC_RELAXED);
}

template <unsigned kPageBits>
void SizeMap<kPageBits>::note_aligned(const void *block) {
  __atomic_store_n(entry_of(block), kMixed, __ATOMIC_RELAXED);
}

template class SizeMap<16>;
template class SizeMap<13>;

}  // namespace membudget
