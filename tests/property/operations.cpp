#include "operations.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/random.h>

#include <atomic>
#include <new>

#include "check.h"
#include "memory.h"

namespace {

constexpr size_t kSlots = 4096;
std::atomic<void *> slots[kSlots];

constexpr size_t kTag = 0x9e3779b97f4a7c15;

// Blocks carry their own address and the size asked for, and a mark in their last byte.
struct Tag {
  size_t address;
  size_t size;
};

size_t tag_of(const void *block) { return reinterpret_cast<size_t>(block) ^ kTag; }

void put_tag(void *block, size_t size) {
  const size_t usable = malloc_usable_size(block);
  CHECK_CONTEXT(usable >= size, "%zu usable of %zu", usable, size);
  if (usable < sizeof(Tag)) return;
  *static_cast<Tag *>(block) = {tag_of(block), size};
  if (usable > sizeof(Tag)) static_cast<unsigned char *>(block)[usable - 1] = 0xa5;
}

bool has_tag(const void *block) { return malloc_usable_size(const_cast<void *>(block)) >= sizeof(Tag); }

void check_tag(void *block) {
  if (!has_tag(block)) return;
  const size_t usable = malloc_usable_size(block);
  CHECK_CONTEXT(static_cast<Tag *>(block)->address == tag_of(block), "%p of %zu bytes was overwritten", block, usable);
  if (usable > sizeof(Tag)) CHECK(static_cast<unsigned char *>(block)[usable - 1] == 0xa5);
}

template <typename Function>
Function optional(const char *name) {
  Function function;
  *reinterpret_cast<void **>(&function) = dlsym(RTLD_DEFAULT, name);
  return function;
}

size_t random_alignment(uint64_t *random) { return size_t{1} << random_below(random, 14); }

// Half of them around multiples of a few powers of two: blocks of one size class, aligned ones among them,
// then share and change pages within an allocator.
size_t size_to_ask(uint64_t *random) {
  if (random_below(random, 2)) return random_size(random, kLargestSize);
  const size_t unit = size_t{64} << (2 * random_below(random, 5));
  return unit * (1 + random_below(random, 4)) - random_below(random, 2);
}

struct Made {
  void *block;
  size_t size;  // that was asked for
  Operation operation;
};

Made allocate(uint64_t *random) {
  const size_t size = size_to_ask(random), alignment = random_alignment(random);
  void *block = nullptr;
  switch (random_below(random, 12)) {
    case 0: return {calloc(size, 1), size, {"calloc", size, 1}};
    case 1: return {calloc(3, size), 3 * size, {"calloc", 3, size}};
    case 2: return {realloc(nullptr, size), size, {"realloc of null", 0, size}};
    case 3: return {reallocarray(nullptr, 2, size), 2 * size, {"reallocarray of null", 2, size}};
    case 4: return {aligned_alloc(alignment, size), size, {"aligned_alloc", alignment, size}};
    case 5: return {memalign(alignment, size), size, {"memalign", alignment, size}};
    case 6:
      CHECK_EQ(posix_memalign(&block, alignment * sizeof(void *), size), 0);
      return {block, size, {"posix_memalign", alignment * sizeof(void *), size}};
    case 7: return {random_below(random, 2) ? valloc(size) : pvalloc(size), size, {"valloc or pvalloc", 0, size}};
    case 8: return {::operator new(size), size, {"new", 0, size}};
    case 9: return {::operator new (size, std::align_val_t{alignment}), size, {"aligned new", alignment, size}};
    default: return {malloc(size), size, {"malloc", 0, size}};
  }
}

// libstdc++'s delete is free: a block may go either way, whatever it came by.
Operation release(void *block, uint64_t *random) {
  static const auto free_sized_found = optional<void (*)(void *, size_t)>("free_sized");
  static const auto cfree_found = optional<void (*)(void *)>("cfree");
  const size_t usable = malloc_usable_size(block);
  const uint64_t way = random_below(random, 16);
  errno = EXDEV;
  if (way == 0) {
    CHECK(realloc(block, 0) == nullptr);
    return {"realloc to 0", usable, 0};
  }
  if (way == 1 && cfree_found) return cfree_found(block), Operation{"cfree", usable, 0};
  if (way == 2) return ::operator delete(opaque_pointer(block)), Operation{"delete", usable, 0};
  if (way == 3 && free_sized_found && has_tag(block)) {
    free_sized_found(block, static_cast<Tag *>(block)->size);
    return {"free_sized", usable, 0};
  }
  free(block);
  CHECK_EQ(errno, EXDEV);
  return {"free", usable, 0};
}

// Resizes *block, or fails to.
Operation resize(void **block, uint64_t *random) {
  const size_t usable = malloc_usable_size(*block), size = size_to_ask(random) + 1;
  if (random_below(random, 20) == 0) {
    errno = 0;
    CHECK(realloc(*block, opaque_size(PTRDIFF_MAX) + size) == nullptr);
    CHECK(reallocarray(*block, opaque_size(SIZE_MAX / 2), 3) == nullptr);
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(malloc_usable_size(*block), usable);
    return {"a failing realloc", usable, size};
  }
  const bool tagged = has_tag(*block) && size >= sizeof(Tag);
  const size_t tag = tag_of(*block);
  void *resized = random_below(random, 4) ? realloc(*block, size) : reallocarray(*block, size, 1);
  if (!resized) {
    CHECK_CONTEXT(resized != nullptr, "realloc to %zu", size);
    return {"realloc", usable, size};
  }
  if (tagged) CHECK(static_cast<Tag *>(resized)->address == tag);
  put_tag(resized, size);
  *block = resized;
  return {"realloc", usable, size};
}

Operation without_a_block(uint64_t *random) {
  void *block = nullptr;
  switch (random_below(random, 6)) {
    case 0: return free(nullptr), Operation{"free of null", 0, 0};
    case 1: CHECK(malloc(opaque_size(SIZE_MAX)) == nullptr); return {"a failing malloc", SIZE_MAX, 0};
    case 2: CHECK(calloc(opaque_size(SIZE_MAX / 2), 4) == nullptr); return {"a failing calloc", 0, 0};
    case 3: CHECK_EQ(posix_memalign(&block, 3, 100), EINVAL); return {"a failing posix_memalign", 3, 100};
    case 4: CHECK(memalign(64, opaque_size(SIZE_MAX - 100)) == nullptr); return {"a failing memalign", 64, 0};
    default: return malloc_usable_size(nullptr), Operation{"malloc_usable_size of null", 0, 0};
  }
}

}  // namespace

Operation operate(uint64_t *random) {
  const uint64_t choice = random_below(random, 1000);
  if (choice < 10) return without_a_block(random);
  if (choice == 10 && random_below(random, 100) == 0) return malloc_trim(0), Operation{"malloc_trim", 0, 0};

  std::atomic<void *> &slot = slots[random_below(random, kSlots)];
  void *block = slot.exchange(nullptr);
  Operation done;
  if (!block) {
    const Made made = allocate(random);
    CHECK_CONTEXT(made.block != nullptr, "%s(%zu, %zu)", made.operation.name, made.operation.first,
                  made.operation.second);
    if (!made.block) return made.operation;
    put_tag(made.block, made.size);
    block = made.block;
    done = made.operation;
  } else {
    check_tag(block);
    if (choice < 600) return release(block, random);
    done = resize(&block, random);
  }
  free(slot.exchange(block));
  return done;
}

void operations_free_all() {
  for (std::atomic<void *> &slot : slots) free(slot.exchange(nullptr));
}

uint64_t operations_seed() {
  uint64_t seed = 0;
  const char *given = getenv("TEST_SEED");
  if (given)
    seed = strtoull(given, nullptr, 0);
  else
    REQUIRE(getrandom(&seed, sizeof seed, 0) == sizeof seed);
  printf("seed: TEST_SEED=%#llx\n", static_cast<unsigned long long>(seed));
  fflush(stdout);
  return seed;
}
