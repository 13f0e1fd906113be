/* Mapped bytes after every single mmap, munmap and mremap, against a model that knows each page: private
 * anonymous writable pages, mapped without MAP_NORESERVE and MAP_STACK, count; all others do not.
 *
 * The operations hit a range of their own at random, so that mappings are split, cut, replaced and moved.
 * What a page was mapped as decides; mprotect() afterwards changes nothing.
 *
 * mapped_steps_test STEPS
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "library.h"
#include "memory.h"

enum { PAGE = 4096, PAGES = 512, RW = PROT_READ | PROT_WRITE, ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS };

static char *range;
static unsigned char counts[PAGES]; /* the model: 1 where a page counts */
static int64_t base_bytes;
static int file;
static const char *did;
static long left_behind;

static int64_t model_bytes(void) {
  int64_t pages = 0;
  for (int i = 0; i < PAGES; i++) pages += counts[i];
  return pages * PAGE;
}

static int64_t mapped_bytes(void) { return __atomic_load_n(&library_process()->mapped_bytes, __ATOMIC_ACQUIRE); }

static void set(size_t page, size_t pages, int value) { memset(counts + page, value, pages); }

/* 1 or 0 where all of these pages are the same in the model, -1 where they are not. */
static int uniform(size_t page, size_t pages) {
  for (size_t i = page + 1; i < page + pages; i++)
    if (counts[i] != counts[page]) return -1;
  return counts[page];
}

static const struct {
  const char *name;
  int protection, flags, of_file, counts;
} kinds[] = {
    {"private", RW, ANONYMOUS, 0, 1},
    {"private, populated", RW, ANONYMOUS | MAP_POPULATE, 0, 1},
    {"write only", PROT_WRITE, ANONYMOUS, 0, 1},
    {"executable", RW | PROT_EXEC, ANONYMOUS, 0, 1},
    {"no access", PROT_NONE, ANONYMOUS, 0, 0},
    {"read only", PROT_READ, ANONYMOUS, 0, 0},
    {"no reserve", RW, ANONYMOUS | MAP_NORESERVE, 0, 0},
    {"stack", RW, ANONYMOUS | MAP_STACK, 0, 0},
    {"shared", RW, MAP_SHARED | MAP_ANONYMOUS, 0, 0},
    {"file, private", RW, MAP_PRIVATE, 1, 0},
    {"file, shared", RW, MAP_SHARED, 1, 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void map_fixed(uint64_t *random, size_t page, size_t pages) {
  const size_t kind = random_below(random, 2) ? 0 : random_below(random, KINDS);
  const size_t bytes = pages * PAGE - random_below(random, PAGE); /* the kernel rounds up */
  const int fd = kinds[kind].of_file ? file : -1;
  did = kinds[kind].name;
  void *(*map)(void *, size_t, int, int, int, off_t) = random_below(random, 2) ? mmap : mmap64;
  void *got = map(range + page * PAGE, bytes, kinds[kind].protection, kinds[kind].flags | MAP_FIXED, fd, 0);
  REQUIRE(got == range + page * PAGE);
  set(page, pages, kinds[kind].counts);
}

static void unmap(uint64_t *random, size_t page, size_t pages) {
  did = "munmap";
  CHECK_EQ(munmap(range + page * PAGE, pages * PAGE - random_below(random, PAGE)), 0);
  set(page, pages, 0);
}

/* To another place of the range, or to a new size in place; where the kernel refuses, nothing changes. */
static void remap(uint64_t *random, size_t page, size_t pages) {
  const int kind = uniform(page, pages);
  const size_t to = random_below(random, PAGES), new_pages = 1 + random_below(random, PAGES - to);
  const int moves = random_below(random, 2) != 0;
  if (kind < 0) return;
  did = moves ? "mremap, moving" : "mremap in place";
  if (!moves && page + new_pages > PAGES) return;
  void *got = moves ? mremap(range + page * PAGE, pages * PAGE, new_pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                             range + to * PAGE)
                    : mremap(range + page * PAGE, pages * PAGE, new_pages * PAGE, 0);
  if (got == MAP_FAILED) {
    /* A move that fails may have unmapped what was there before. */
    if (moves) REQUIRE(munmap(range + to * PAGE, new_pages * PAGE) == 0);
    if (moves) set(to, new_pages, 0);
    return;
  }
  set(page, pages, 0);
  set(moves ? to : page, new_pages, kind);
}

/* Leaves an empty mapping behind, which goes on counting: the program may fill it again. */
static void remap_leaving(uint64_t *random, size_t page, size_t pages) {
  const int kind = uniform(page, pages);
  const size_t to = random_below(random, PAGES - pages + 1);
  if (kind < 0) return;
  did = "mremap that unmaps nothing";
  void *got = mremap(range + page * PAGE, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
                     range + to * PAGE);
  if (got != MAP_FAILED) {
    CHECK(got == range + to * PAGE);
    set(to, pages, kind);
    left_behind += kind;
  } else if (errno != EINVAL) { /* the kernel may have unmapped what was there */
    REQUIRE(munmap(range + to * PAGE, pages * PAGE) == 0);
    set(to, pages, 0);
  }
}

/* Where the kernel puts it, in odd sizes, cut at both ends, grown, and gone again. */
static void map_elsewhere(uint64_t *random) {
  const int64_t before = mapped_bytes();
  const size_t pages = 3 + random_below(random, 40);
  did = "a mapping elsewhere";
  char *got = mmap(NULL, pages * PAGE - 100, RW, ANONYMOUS, -1, 0);
  REQUIRE(got != MAP_FAILED);
  CHECK_EQ(mapped_bytes() - before, pages * PAGE);
  CHECK_EQ(munmap(got, PAGE), 0);
  CHECK_EQ(munmap(got + (pages - 1) * PAGE, 1), 0);
  CHECK_EQ(mapped_bytes() - before, (pages - 2) * PAGE);
  char *grown = mremap(got + PAGE, (pages - 2) * PAGE, pages * 3 * PAGE, MREMAP_MAYMOVE);
  REQUIRE(grown != MAP_FAILED);
  CHECK_EQ(mapped_bytes() - before, pages * 3 * PAGE);
  CHECK(mremap(grown, pages * 3 * PAGE, PAGE, 0) == grown);
  CHECK_EQ(mapped_bytes() - before, PAGE);
  CHECK_EQ(munmap(grown, PAGE), 0);
  CHECK_EQ(mapped_bytes(), before);
}

static void failures(void) {
  did = "a failing call";
  errno = 0;
  CHECK(munmap(range + 1, PAGE) == -1 && errno == EINVAL);
  CHECK(munmap(range, 0) == -1 && errno == EINVAL);
  CHECK(mmap(NULL, 0, RW, ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
  CHECK(mmap(range + 7, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EINVAL);
  CHECK(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EBADF);
  CHECK(mmap(NULL, opaque_size(SIZE_MAX) - 8191, RW, ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
  CHECK(mremap(range + 1, PAGE, PAGE, 0) == MAP_FAILED && errno == EINVAL);
  void *taken = mmap(range, PAGE, PROT_NONE, ANONYMOUS | MAP_FIXED, -1, 0);
  set(0, 1, 0);
  CHECK(mmap(taken, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST);
}

static void step(uint64_t *random) {
  const size_t page = random_below(random, PAGES), most = PAGES - page < 60 ? PAGES - page : 60;
  const size_t pages = 1 + random_below(random, most);
  switch (random_below(random, 13)) {
    case 0:
    case 1:
    case 2: unmap(random, page, pages); break;
    case 3:
    case 4:
    case 5: remap(random, page, pages); break;
    case 6: map_elsewhere(random); break;
    case 7: failures(); break;
    case 12: remap_leaving(random, page, pages); break;
    case 8:
      did = "mprotect";
      mprotect(range + page * PAGE, pages * PAGE, random_below(random, 2) ? PROT_READ : RW);
      break;
    default: map_fixed(random, page, pages);
  }
}

/* More mappings than any program has, of a page each, with pages that do not count between. */
static void many_small_mappings(void) {
  enum { MANY = 20000 };
  const int64_t before = mapped_bytes();
  char *many = mmap(NULL, 2 * MANY * (size_t)PAGE, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(many != MAP_FAILED);
  for (size_t i = 0; i < MANY; i++) {
    const size_t at = i * 7919 % MANY * 2;
    REQUIRE(mmap(many + at * PAGE, PAGE, RW, ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
  }
  CHECK_EQ(mapped_bytes() - before, (int64_t)MANY * PAGE);
  for (size_t i = 0; i < MANY / 2; i++) CHECK_EQ(munmap(many + i * 6007 % (MANY / 2) * 2 * PAGE, PAGE), 0);
  CHECK_EQ(mapped_bytes() - before, (int64_t)MANY / 2 * PAGE);
  CHECK_EQ(munmap(many, 2 * MANY * (size_t)PAGE), 0);
  CHECK_EQ(mapped_bytes(), before);
}

int main(int count, char **arguments) {
  library_check_expected();
  REQUIRE(count == 2);
  base_bytes = mapped_bytes();
  range = mmap(NULL, PAGES * PAGE, PROT_NONE, ANONYMOUS | MAP_NORESERVE, -1, 0);
  file = memfd_create("mapped_steps", MFD_CLOEXEC);
  REQUIRE(range != MAP_FAILED && file >= 0 && ftruncate(file, PAGES * PAGE) == 0);
  CHECK_EQ(mapped_bytes(), base_bytes);
  uint64_t random = 23;
  for (long i = 0, steps = atol(arguments[1]); i < steps && !check_failed; i++) {
    step(&random);
    CHECK_CONTEXT(mapped_bytes() - base_bytes == model_bytes(), "step %ld, %s: %lld pages too many", i, did,
                  (long long)(mapped_bytes() - base_bytes - model_bytes()) / PAGE);
  }
  CHECK_EQ(munmap(range, PAGES * PAGE), 0);
  CHECK_EQ(mapped_bytes(), base_bytes);
  many_small_mappings();
  /* Where the kernel has it (5.7), it came about. */
  void *page = mmap(NULL, PAGE, RW, ANONYMOUS, -1, 0);
  if (mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP) != MAP_FAILED) CHECK(left_behind > 0);
  return check_finish();
}
