#include "allocator/size_map.h"

#include "control/block/system.h"

namespace membudget {

namespace {

// False, with *seen as it is, when it has changed.
bool exchange(int16_t *entry, int16_t *seen, int16_t wanted) {
  return __atomic_compare_exchange_n(entry, seen, wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

}  // namespace

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
  bool fits = usable_bytes <= kMostBytes && usable_bytes % kMostMarks == 0;  // as all are that an allocator has here
  auto size = static_cast<Entry>(fits ? usable_bytes : 0);
  Entry seen = __atomic_load_n(entry, __ATOMIC_RELAXED);
  do {
    if (seen == size || seen == kMixed || (is_marked(seen) && size_of(seen) == usable_bytes && fits)) return;
  } while (!exchange(entry, &seen, size));
}

template <unsigned kPageBits>
void SizeMap<kPageBits>::mark(const void *block) {
  Entry *entry = entry_of(block), wanted;
  Entry seen = __atomic_load_n(entry, __ATOMIC_RELAXED);
  do {
    if (seen > 0)
      wanted = marked(static_cast<size_t>(seen), 1);
    else if (is_marked(seen) && marks_of(seen) < kMostMarks)
      wanted = marked(size_of(seen), marks_of(seen) + 1);
    else
      return;
  } while (!exchange(entry, &seen, wanted));
}

template <unsigned kPageBits>
void SizeMap<kPageBits>::unmark(const void *block) {
  Entry *entry = entry_of(block), wanted;
  Entry seen = __atomic_load_n(entry, __ATOMIC_RELAXED);
  do {
    if (!is_marked(seen) || marks_of(seen) == kMostMarks) return;
    int marks = marks_of(seen) - 1;
    wanted = marks ? marked(size_of(seen), marks) : static_cast<Entry>(size_of(seen));
  } while (!exchange(entry, &seen, wanted));
}

template <unsigned kPageBits>
void SizeMap<kPageBits>::note_aligned(const void *block) {
  __atomic_store_n(entry_of(block), kMixed, __ATOMIC_RELAXED);
}

template class SizeMap<16>;
template class SizeMap<13>;

}  // namespace membudget
