#include "allocator/ptmalloc.h"

#include <dlfcn.h>

namespace membudget {

GlibcCalls glibc_calls;

namespace {

template <typename F>
void find(void *libc, const char *symbol, F **out) {
  *out = reinterpret_cast<F *>(dlsym(libc, symbol));
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

bool Ptmalloc::bind() {
  void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
  if (!libc) return false;
  find(libc, "malloc_usable_size", &glibc_calls.malloc_usable_size);
  find(libc, "malloc_trim", &glibc_calls.malloc_trim);
  find(libc, "malloc_info", &glibc_calls.malloc_info);
  find(libc, "malloc_stats", &glibc_calls.malloc_stats);
  find(libc, "mallinfo2", &glibc_calls.mallinfo2);
  return layout_is_known();
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
