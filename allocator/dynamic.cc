#include "allocator/dynamic.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace membudget {

DynamicCalls dynamic_calls;
bool dynamic_sizes_known;
int16_t dynamic_small_sizes[kSmallBytes + 1];
int16_t dynamic_medium_sizes[kMediumBytes / kMediumStep + 1];

namespace {

constexpr char kOwnMark[] = "membudget_preload_block";  // what every libmembudget.so exports, and no allocator

uintptr_t code_start, code_end;

// The address range of a loaded library, for dynamic_contains_code().
int note_range(dl_phdr_info *info, size_t, void *base) {
  if (info->dlpi_addr != *static_cast<ElfW(Addr) *>(base)) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto &segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD) continue;
    uintptr_t start = info->dlpi_addr + segment.p_vaddr;
    if (code_start == 0 || start < code_start) code_start = start;
    if (start + segment.p_memsz > code_end) code_end = start + segment.p_memsz;
  }
  return 1;
}

// Finds functions of one library, and remembers the first that it lacks. What its dependencies define
// does not count: libc has a malloc too.
struct Finder {
  void *handle;
  ElfW(Addr) base;
  const char *missing = nullptr;

  template <typename F>
  bool optional(const char *symbol, F **out) const {
    *out = reinterpret_cast<F *>(dlsym(handle, symbol));
    Dl_info about;
    link_map *map = nullptr;
    if (*out &&
        dladdr1(reinterpret_cast<void *>(*out), &about, reinterpret_cast<void **>(&map), RTLD_DL_LINKMAP) != 0 && map &&
        map->l_addr == base)
      return true;
    *out = nullptr;
    return false;
  }

  template <typename F>
  void required(const char *symbol, F **out) {
    if (!optional(symbol, out) && !missing) missing = symbol;
  }
};

bool open_library(const char *path, const char *advice, Finder *finder, char *why, size_t why_size) {
  finder->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  link_map *map = nullptr;
  if (finder->handle && dlinfo(finder->handle, RTLD_DI_LINKMAP, &map) == 0) {
    finder->base = map->l_addr;
    return true;
  }
  const char *reason = dlerror();
  if (!reason) reason = "cannot be loaded";
  // glibc lays out static thread-local memory as the program starts: what it is told to keep free then can be had now.
  bool lacks_room = strstr(reason, "static TLS") != nullptr;
  const char *instead = lacks_room && strstr(path, "jemalloc") ? ", or MEMBUDGET_ALLOCATOR=jemalloc" : "";
  if (lacks_room) advice = " (set GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384, which membudget run does";
  snprintf(why, why_size, "%s%s%s%s", reason, advice, instead, lacks_room ? ")" : "");
  return false;
}

// Whether what the allocator says about sizes is what it does, by samples.
bool says_true_sizes(const DynamicCalls &calls) {
  if (!calls.good_size) return false;
  constexpr size_t kSamples[] = {1, 17, 48, 200, 1000, 1025, 5000, 20000};
  for (size_t bytes : kSamples) {
    void *block = calls.malloc(bytes);
    bool same = block && calls.usable_size(block) == calls.good_size(bytes);
    if (block) calls.free(block);
    if (!same) return false;
  }
  return true;
}

int16_t entry_for(size_t usable) {
  return usable <= MimallocSizes::kMostBytes ? static_cast<int16_t>(usable) : MimallocSizes::kNever;
}

void learn_sizes(const DynamicCalls &calls) {
  bool is_known = says_true_sizes(calls);
  dynamic_small_sizes[0] = MimallocSizes::kNever;
  for (size_t bytes = 1; bytes <= kSmallBytes; ++bytes)
    dynamic_small_sizes[bytes] = is_known ? entry_for(calls.good_size(bytes)) : MimallocSizes::kNever;
  for (size_t bytes = 0; bytes <= kMediumBytes; bytes += kMediumStep) {
    bool is_one_class =
        is_known && bytes > kSmallBytes && calls.good_size(bytes) == calls.good_size(bytes - kMediumStep + 1);
    dynamic_medium_sizes[bytes / kMediumStep] =
        is_one_class ? entry_for(calls.good_size(bytes)) : MimallocSizes::kNever;
  }
}

// Whether the pages of tcmalloc are 8 KiB or a multiple of that: with smaller ones, two of these blocks, which
// get an odd number of 4 KiB pages each, could not both start at a multiple.
bool tcmalloc_pages_are_known(const DynamicCalls &calls) {
  constexpr size_t kOddPages = 65 * 4096, kPage = 8192;
  void *first = calls.malloc(kOddPages), *second = calls.malloc(kOddPages), *third = calls.malloc(kOddPages);
  bool aligned =
      (reinterpret_cast<uintptr_t>(first) | reinterpret_cast<uintptr_t>(second) | reinterpret_cast<uintptr_t>(third)) %
          kPage ==
      0;
  calls.free(first);
  calls.free(second);
  calls.free(third);
  return aligned;
}

bool accept(const Finder &finder, DynamicCalls calls, const char *path, char *why, size_t why_size) {
  if (finder.missing) {
    snprintf(why, why_size, "%s is no malloc library: it does not define %s", path, finder.missing);
    return false;
  }
  void *trial = calls.malloc(64);
  if (!trial || calls.usable_size(trial) < 64) {
    snprintf(why, why_size, "%s does not work here: a first allocation failed", path);
    return false;
  }
  calls.free(trial);
  calls.handle = finder.handle;
  ElfW(Addr) base = finder.base;
  dl_iterate_phdr(note_range, &base);
  learn_sizes(calls);
  dynamic_calls = calls;
  return true;
}

void (*mi_stats_print_function)(void *);
void mimalloc_stats() { mi_stats_print_function(nullptr); }

// The numbers of two options since 2.0.0 (2.1 renamed them): decommit_delay and segment_decommit_delay, in ms.
constexpr int kDelays[] = {15, 23};
long (*mi_option_get_function)(int);
void (*mi_option_set_function)(int, long);
long usual_delays[2];

void learn_mimalloc_delays(const Finder &finder) {
  int (*version)();
  if (!finder.optional("mi_version", &version) || version() / 100 != 2) return;
  if (!finder.optional("mi_option_get", &mi_option_get_function) ||
      !finder.optional("mi_option_set", &mi_option_set_function)) {
    mi_option_set_function = nullptr;
    return;
  }
  for (int i = 0; i < 2; ++i) usual_delays[i] = mi_option_get_function(kDelays[i]);
}

void set_mimalloc_delays(bool at_once) {
  if (!mi_option_set_function) return;
  for (int i = 0; i < 2; ++i) mi_option_set_function(kDelays[i], at_once ? 0 : usual_delays[i]);
}

// With its delays it would only note what it is to give back later.
bool gives_back_at_once;
void (*mi_collect_function)(bool);
void mimalloc_trim() {
  set_mimalloc_delays(true);
  mi_collect_function(true);
  set_mimalloc_delays(gives_back_at_once);
}

size_t (*tc_nallocx_function)(size_t, int);
size_t tcmalloc_good_size(size_t bytes) { return tc_nallocx_function(bytes, 0); }

// What the thread's cache keeps, up to 32 MiB, goes back first: with next to no room it gives away half of what lay idle
// at each call of free. Other threads' caches stay.
void (*tc_release_function)();
int (*tc_get_function)(const char *, size_t *);
int (*tc_set_function)(const char *, size_t);
void tcmalloc_trim() {
  constexpr const char *kCaches = "tcmalloc.max_total_thread_cache_bytes";
  constexpr int kHalvings = 24;
  size_t usual;
  if (tc_get_function && tc_set_function && tc_get_function(kCaches, &usual) && tc_set_function(kCaches, 0)) {
    for (int i = 0; i < kHalvings; ++i) dynamic_calls.free(dynamic_calls.malloc(64));
    tc_set_function(kCaches, usual);
  }
  tc_release_function();
}

int (*foreign_posix_memalign)(void **, size_t, size_t);
void *foreign_memalign(size_t alignment, size_t bytes) {
  void *block = nullptr;
  if (alignment < sizeof(void *)) alignment = sizeof(void *);
  return foreign_posix_memalign(&block, alignment, bytes) == 0 ? block : nullptr;
}

int (*foreign_malloc_trim)(size_t);
void foreign_trim() { foreign_malloc_trim(0); }

}  // namespace

bool dynamic_bind_mimalloc(char *why, size_t why_size) {
  constexpr const char *kPath = "libmimalloc.so.2";
  Finder finder{};
  DynamicCalls calls{};
  if (!open_library(kPath, " (on Debian: apt-get install libmimalloc2.0)", &finder, why, why_size)) return false;
  finder.required("mi_malloc", &calls.malloc);
  finder.required("mi_free", &calls.free);
  finder.required("mi_calloc", &calls.calloc);
  finder.required("mi_realloc", &calls.realloc);
  finder.required("mi_memalign", &calls.memalign);
  finder.required("mi_usable_size", &calls.usable_size);
  finder.required("mi_collect", &mi_collect_function);
  finder.optional("mi_good_size", &calls.good_size);
  calls.trim = mimalloc_trim;
  if (finder.optional("mi_stats_print", &mi_stats_print_function)) calls.stats = mimalloc_stats;
  learn_mimalloc_delays(finder);
  dynamic_sizes_known = MimallocSizes::reserve();
  return accept(finder, calls, kPath, why, why_size);
}

bool dynamic_bind_tcmalloc(char *why, size_t why_size) {
  constexpr const char *kPath = "libtcmalloc_minimal.so.4";
  Finder finder{};
  DynamicCalls calls{};
  if (!open_library(kPath, " (on Debian: apt-get install libtcmalloc-minimal4)", &finder, why, why_size)) return false;
  finder.required("tc_malloc", &calls.malloc);
  finder.required("tc_free", &calls.free);
  finder.required("tc_calloc", &calls.calloc);
  finder.required("tc_realloc", &calls.realloc);
  finder.required("tc_memalign", &calls.memalign);
  finder.required("tc_malloc_size", &calls.usable_size);
  finder.required("MallocExtension_ReleaseFreeMemory", &tc_release_function);
  finder.optional("MallocExtension_GetNumericProperty", &tc_get_function);
  finder.optional("MallocExtension_SetNumericProperty", &tc_set_function);
  calls.trim = tcmalloc_trim;
  finder.optional("tc_malloc_stats", &calls.stats);
  if (finder.optional("tc_nallocx", &tc_nallocx_function)) calls.good_size = tcmalloc_good_size;
  if (!accept(finder, calls, kPath, why, why_size)) return false;
  dynamic_sizes_known = tcmalloc_pages_are_known(calls) && TcmallocSizes::reserve();
  return true;
}

bool dynamic_bind_path(const char *path, char *why, size_t why_size) {
  Finder finder{};
  DynamicCalls calls{};
  if (!open_library(path, "", &finder, why, why_size)) return false;
  void (*mark)();
  if (finder.optional(kOwnMark, &mark)) {
    snprintf(why, why_size, "it is libmembudget.so itself, or another of that kind");
    return false;
  }
  finder.required("malloc", &calls.malloc);
  finder.required("free", &calls.free);
  finder.required("calloc", &calls.calloc);
  finder.required("realloc", &calls.realloc);
  finder.required("malloc_usable_size", &calls.usable_size);
  if (!finder.optional("memalign", &calls.memalign)) {
    finder.required("posix_memalign", &foreign_posix_memalign);
    calls.memalign = foreign_memalign;
  }
  finder.optional("malloc_stats", &calls.stats);
  if (finder.optional("malloc_trim", &foreign_malloc_trim)) calls.trim = foreign_trim;
  return accept(finder, calls, path, why, why_size);
}

// glibc's free keeps errno since 2.33; others do not promise it.
void Foreign::release(void *block) {
  int kept = errno;
  dynamic_calls.free(block);
  errno = kept;
}

void *dynamic_aligned(size_t alignment, size_t bytes) {
  if (bytes == 0) bytes = 1;
  void *block = dynamic_calls.memalign(alignment, bytes);
  if (!block || reinterpret_cast<uintptr_t>(block) % alignment == 0) return block;
  dynamic_calls.free(block);
  block = dynamic_calls.memalign(alignment, bytes + alignment / 2 + 1);
  if (!block || reinterpret_cast<uintptr_t>(block) % alignment == 0) return block;
  dynamic_calls.free(block);
  return nullptr;
}

void dynamic_give_back_at_once(bool at_once) {
  gives_back_at_once = at_once;
  set_mimalloc_delays(at_once);
}

bool dynamic_is_another_there() {
  const void *first = dlsym(RTLD_DEFAULT, kOwnMark);
  Dl_info its, ours;
  return first && dladdr(first, &its) != 0 && dladdr(&dynamic_calls, &ours) != 0 && its.dli_fbase != ours.dli_fbase;
}

bool dynamic_contains_code(const void *address) {
  auto at = reinterpret_cast<uintptr_t>(address);
  return at >= code_start && at < code_end;
}

}  // namespace membudget
