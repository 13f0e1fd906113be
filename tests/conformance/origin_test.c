/* Blocks come from the allocator that was chosen: its own statistics move by what is allocated, glibc's
 * do not, and with ptmalloc the other way round. */
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include "check.h"
#include "library.h"
#include "memory.h"

enum { BLOCKS = 6000 };
static void *blocks[BLOCKS];

/* By every function, and of sizes that go every way within an allocator. Returns the usable bytes. */
static int64_t allocate_all(void) {
  const size_t sizes[] = {1500, 3000, 9000, 40000};
  int64_t usable = 0;
  for (int i = 0; i < BLOCKS; i++) {
    const size_t size = sizes[i / 8 % 4];
    switch (i % 8) {
      case 0: blocks[i] = malloc(size); break;
      case 1: blocks[i] = calloc(size, 1); break;
      case 2: blocks[i] = realloc(malloc(100), size); break;
      case 3: blocks[i] = reallocarray(NULL, size, 1); break;
      case 4: blocks[i] = aligned_alloc(64, size); break;
      case 5: blocks[i] = memalign(256, size); break;
      case 6: blocks[i] = i % 16 < 8 ? valloc(size) : pvalloc(size); break;
      default: REQUIRE(posix_memalign(&blocks[i], 32, size) == 0);
    }
    REQUIRE(blocks[i] != NULL);
    usable += (int64_t)malloc_usable_size(blocks[i]);
  }
  return usable;
}

static void free_all(void) {
  for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
}

static void *symbol_of(const char *library, const char *name) {
  void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  return handle ? dlsym(handle, name) : NULL;
}

/* libc's own mallinfo2, whoever interposes it. */
static int64_t bytes_of_glibc(void) {
  struct mallinfo2 (*own)(void);
  *(void **)&own = symbol_of("libc.so.6", "mallinfo2");
  REQUIRE(own != NULL);
  const struct mallinfo2 info = own();
  return (int64_t)(info.uordblks + info.hblkhd);
}

static int64_t bytes_of_tcmalloc(void) {
  int (*property)(const char *, size_t *);
  size_t bytes = 0;
  *(void **)&property = symbol_of("libtcmalloc_minimal.so.4", "MallocExtension_GetNumericProperty");
  REQUIRE(property != NULL);
  REQUIRE(property("generic.current_allocated_bytes", &bytes) == 1);
  return (int64_t)bytes;
}

/* What mimalloc has committed of the kernel's memory. */
static int64_t bytes_of_mimalloc(void) {
  void (*info)(size_t *, size_t *, size_t *, size_t *, size_t *, size_t *, size_t *, size_t *);
  size_t committed = 0, ignored;
  *(void **)&info = symbol_of("libmimalloc.so.2", "mi_process_info");
  REQUIRE(info != NULL);
  info(&ignored, &ignored, &ignored, &ignored, &ignored, &committed, &ignored, &ignored);
  return (int64_t)committed;
}

static int mimalloc_owns_all(void) {
  int (*in_heap)(const void *);
  *(void **)&in_heap = symbol_of("libmimalloc.so.2", "mi_is_in_heap_region");
  REQUIRE(in_heap != NULL);
  for (int i = 0; i < BLOCKS; i++)
    if (!((in_heap)(blocks[i]) & 1)) return 0;
  return 1;
}

/* jemalloc lies within the library, with no name outside: what it prints of itself has to do. */
static int64_t bytes_of_jemalloc(void) {
  static char text[1 << 20];
  const int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), saved = dup(2);
  REQUIRE(file >= 0 && saved >= 0);
  dup2(file, 2);
  malloc_stats();
  dup2(saved, 2);
  const ssize_t got = pread(file, text, sizeof text - 1, 0);
  REQUIRE(got > 0);
  text[got] = 0;
  close(saved);
  close(file);
  REQUIRE(strstr(text, "Begin jemalloc statistics") != NULL);
  const char *allocated = strstr(text, "Allocated: ");
  REQUIRE(allocated != NULL);
  return strtoll(allocated + strlen("Allocated: "), NULL, 10);
}

static int64_t bytes_of_toy(void) {
  const int64_t *live = symbol_of(library_expected(), "toy_live_bytes");
  REQUIRE(live != NULL);
  return *live;
}

static int64_t bytes_of_chosen(void) {
  if (library_is("jemalloc")) return bytes_of_jemalloc();
  if (library_is("mimalloc")) return bytes_of_mimalloc();
  if (library_is("tcmalloc")) return bytes_of_tcmalloc();
  return library_is("toy") ? bytes_of_toy() : bytes_of_glibc();
}

int main(void) {
  library_check_expected();
  CHECK(bytes_of_chosen() >= 0); /* whatever this itself allocates, it has now */
  const int64_t chosen_before = bytes_of_chosen(), glibc_before = bytes_of_glibc();
  const int64_t usable = allocate_all();
  const int64_t chosen = bytes_of_chosen() - chosen_before, glibc = bytes_of_glibc() - glibc_before;
  /* mimalloc's are of segments, of which some were there before. */
  CHECK_CONTEXT(chosen >= usable * (library_is("mimalloc") ? 5 : 9) / 10,
                "%s: its own statistics moved by %lld for %lld", library_expected(), (long long)chosen,
                (long long)usable);
  if (!library_is_glibc()) CHECK_CONTEXT(glibc < 4096, "glibc's moved by %lld", (long long)glibc);
  if (library_is("mimalloc")) CHECK(mimalloc_owns_all());
  free_all();
  if (library_is_glibc()) CHECK(bytes_of_glibc() - glibc_before < usable / 20);
  if (library_is("tcmalloc") || library_is("jemalloc")) CHECK(bytes_of_chosen() - chosen_before < usable / 20);
  return check_finish();
}
