// The exported malloc family. C++'s new and delete come here through libstdc++, which calls malloc and free.
#include "preload/startup.h"
#include "preload/table.h"

#define MEMBUDGET_EXPORT extern "C" __attribute__((visibility("default")))

using membudget::entry_table;

namespace membudget {
namespace {

// Until the first call, each function chooses the allocator and calls again.
void *first_malloc(size_t bytes) { return startup_choose(), entry_table.malloc(bytes); }
void first_free(void *block) {
  if (block) startup_choose(), entry_table.free(block);
}
void *first_calloc(size_t count, size_t bytes) { return startup_choose(), entry_table.calloc(count, bytes); }
void *first_realloc(void *block, size_t bytes) { return startup_choose(), entry_table.realloc(block, bytes); }
void *first_memalign(size_t alignment, size_t bytes) {
  return startup_choose(), entry_table.memalign(alignment, bytes);
}
int first_posix_memalign(void **out, size_t alignment, size_t bytes) {
  return startup_choose(), entry_table.posix_memalign(out, alignment, bytes);
}
size_t first_usable_size(void *block) { return startup_choose(), entry_table.usable_size(block); }

size_t page_bytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

EntryTable entry_table = {first_malloc,   first_free,           first_calloc,     first_realloc,
                          first_memalign, first_posix_memalign, first_usable_size};

}  // namespace membudget

MEMBUDGET_EXPORT void *malloc(size_t bytes) { return entry_table.malloc(bytes); }
MEMBUDGET_EXPORT void free(void *block) { entry_table.free(block); }
MEMBUDGET_EXPORT void *calloc(size_t count, size_t bytes) { return entry_table.calloc(count, bytes); }
MEMBUDGET_EXPORT void *realloc(void *block, size_t bytes) { return entry_table.realloc(block, bytes); }

MEMBUDGET_EXPORT void *memalign(size_t alignment, size_t bytes) { return entry_table.memalign(alignment, bytes); }
MEMBUDGET_EXPORT void *aligned_alloc(size_t alignment, size_t bytes) { return entry_table.memalign(alignment, bytes); }
MEMBUDGET_EXPORT int posix_memalign(void **out, size_t alignment, size_t bytes) {
  return entry_table.posix_memalign(out, alignment, bytes);
}

MEMBUDGET_EXPORT size_t malloc_usable_size(void *block) { return entry_table.usable_size(block); }

// What follows is written by means of the functions above as the program sees them, as in glibc: a program with a
// malloc of its own seldom has these, and hands them its blocks.
MEMBUDGET_EXPORT void cfree(void *block) { free(block); }
MEMBUDGET_EXPORT void free_sized(void *block, size_t) { free(block); }
MEMBUDGET_EXPORT void free_aligned_sized(void *block, size_t, size_t) { free(block); }

MEMBUDGET_EXPORT void *reallocarray(void *block, size_t count, size_t bytes) {
  size_t total;
  if (__builtin_mul_overflow(count, bytes, &total)) return errno = ENOMEM, nullptr;
  return realloc(block, total);
}

MEMBUDGET_EXPORT void *valloc(size_t bytes) { return memalign(membudget::page_bytes(), bytes); }
MEMBUDGET_EXPORT void *pvalloc(size_t bytes) {
  size_t page = membudget::page_bytes(), rounded;
  if (__builtin_add_overflow(bytes, page - 1, &rounded)) return errno = ENOMEM, nullptr;
  return memalign(page, rounded & ~(page - 1));
}
