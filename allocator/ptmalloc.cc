#include "allocator/ptmalloc.h"

#include <dlfcn.h>

namespace membudget {

GlibcCalls glibc_calls;

namespace {

template <typename F>
void find(void *libc, const char *symbol, F **out) {
  *out = reinterpret_cast<F *>(dlsym(libc, symbol));
}

// A program may define these names, too, for a malloc of its own (Chromium's does).
bool is_glibcs(void *libc) {
  return dlsym(libc, "__libc_malloc") == reinterpret_cast<void *>(__libc_malloc) &&
         dlsym(libc, "__libc_free") == reinterpret_cast<void *>(__libc_free);
}

bool layout_is_known() {
  if (!glibc_calls.malloc_usable_size) return false;
  constexpr size_t kSamples[] = {1, 24, 25, 1000, size_t{100'000}, 3u << 20};
  for (size_t bytes : kSamples) {
    void *block = __libc_malloc(bytes);
    if (!block) continue;
    bool same = Ptmalloc::usable_size(block) == glibc_calls.malloc_usable_size(block);
    __libc_free(block);
    if (!same) return false;
  }
  return true;
}

}  // namespace

const char *Ptmalloc::bind() {
  void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
  if (!libc || !is_glibcs(libc)) return "the program has a malloc of its own in glibc's place";
  find(libc, "malloc_usable_size", &glibc_calls.malloc_usable_size);
  find(libc, "malloc_trim", &glibc_calls.malloc_trim);
  find(libc, "malloc_info", &glibc_calls.malloc_info);
  find(libc, "malloc_stats", &glibc_calls.malloc_stats);
  find(libc, "mallinfo2", &glibc_calls.mallinfo2);
  return layout_is_known() ? nullptr : "this glibc keeps its chunks in another way than membudget knows";
}

void Ptmalloc::configure(int64_t mmap_threshold, int64_t trim_threshold, int64_t arenas) {
  if (mmap_threshold >= 0) __libc_mallopt(M_MMAP_THRESHOLD, static_cast<int>(mmap_threshold));
  if (trim_threshold >= 0) __libc_mallopt(M_TRIM_THRESHOLD, static_cast<int>(trim_threshold));
  if (arenas > 0) __libc_mallopt(M_ARENA_MAX, static_cast<int>(arenas));
}

void Ptmalloc::trim() {
  if (glibc_calls.malloc_trim) glibc_calls.malloc_trim(0);
}

}  // namespace membudget
