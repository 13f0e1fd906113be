#include "allocator/early_arena.h"

namespace membudget {

alignas(4096) unsigned char EarlyArena::memory[EarlyArena::capacity_bytes];
size_t EarlyArena::used_bytes;

void *EarlyArena::aligned(size_t alignment, size_t bytes) {
  if (bytes > capacity_bytes || alignment > capacity_bytes) return nullptr;
  if (alignment < 16) alignment = 16;
  size_t usable = (bytes + 15) & ~size_t{15};
  if (usable == 0) usable = 16;
  size_t seen = __atomic_load_n(&used_bytes, __ATOMIC_RELAXED), start, end;
  do {
    start = (seen + sizeof(size_t) + alignment - 1) & ~(alignment - 1);
    end = start + usable;
    if (end > capacity_bytes) return nullptr;
  } while (!__atomic_compare_exchange_n(&used_bytes, &seen, end, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  reinterpret_cast<size_t *>(memory + start)[-1] = usable;
  return memory + start;
}

void *EarlyArena::resize(void *block, size_t bytes) {
  size_t old = usable_size(block);
  void *grown = allocate(bytes);
  if (grown) memcpy(grown, block, old < bytes ? old : bytes);
  return grown;
}

}  // namespace membudget
