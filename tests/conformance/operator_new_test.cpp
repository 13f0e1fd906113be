// C++ allocation reaches the same allocator: [new.delete], plain, array, nothrow, aligned, sized.
#include <malloc.h>

#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "check.h"
#include "library.h"
#include "memory.h"

namespace {

// What lies in blocks now, where that can be told: by the library, else by glibc.
int64_t live_bytes() {
  if (const membudget_process *process = library_process()) return counters_read(library_block(), process).live_bytes;
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

template <typename Allocate, typename Release>
void counted_and_given_back(size_t size, Allocate allocate, Release release) {
  const int64_t before = live_bytes();
  void *block = allocate(size);
  REQUIRE(block != nullptr);
  const int64_t usable = static_cast<int64_t>(malloc_usable_size(block));
  CHECK(usable >= static_cast<int64_t>(size));
  const int64_t grown = live_bytes() - before;
  if (library_is("plain"))
    CHECK(grown >= usable);
  else
    CHECK_EQ(grown, usable);
  memory_fill(block, size, 3);
  CHECK(memory_holds(block, size, 3));
  release(block, size);
  if (!library_is("plain")) CHECK_EQ(live_bytes() - before, 0);
}

void every_form() {
  for (size_t size : {size_t{2000}, size_t{30000}, size_t{3} << 20}) {
    counted_and_given_back(
        size, [](size_t n) { return ::operator new(n); }, [](void *p, size_t) { ::operator delete(p); });
    counted_and_given_back(
        size, [](size_t n) { return ::operator new[](n); }, [](void *p, size_t n) { ::operator delete[](p, n); });
    counted_and_given_back(
        size, [](size_t n) { return ::operator new(n, std::nothrow); },
        [](void *p, size_t n) { ::operator delete(p, n); });
    counted_and_given_back(
        size, [](size_t n) { return ::operator new[](n, std::nothrow); },
        [](void *p, size_t) { ::operator delete[](p, std::nothrow); });
  }
}

void every_alignment() {
  for (size_t alignment = 1; alignment <= MIB; alignment *= 2) {
    const auto aligned = std::align_val_t{alignment};
    for (size_t size = 1; size < 100000; size = size * 7 + 1) {
      void *one = ::operator new(size, aligned), *array = ::operator new[](size, aligned, std::nothrow);
      REQUIRE(one != nullptr && array != nullptr);
      CHECK(memory_is_aligned(one, alignment) && memory_is_aligned(array, alignment));
      memory_fill(one, size, 1);
      memory_fill(array, size, 2);
      CHECK(memory_holds(one, size, 1));
      ::operator delete(one, size, aligned);
      ::operator delete[](array, aligned);
    }
  }
}

bool handler_called;

void failures() {
  const size_t impossible = opaque_size(SIZE_MAX / 2);
  CHECK(::operator new(impossible, std::nothrow) == nullptr);
  CHECK(::operator new[](impossible, std::align_val_t{64}, std::nothrow) == nullptr);
  bool thrown = false;
  try {
    ::operator delete(::operator new(impossible));
  } catch (const std::bad_alloc &) { thrown = true; }
  CHECK(thrown);
  std::set_new_handler([] {
    handler_called = true;
    std::set_new_handler(nullptr);
  });
  CHECK(::operator new(impossible, std::nothrow) == nullptr);
  CHECK(handler_called);
}

void containers() {
  std::vector<std::unique_ptr<std::string>> strings;
  for (size_t i = 0; i < 3000; i++) strings.push_back(std::make_unique<std::string>(i, 'c'));
  size_t sum = 0;
  for (const auto &string : strings) sum += string->size();
  CHECK_EQ(sum, 3000 * 2999 / 2);
}

}  // namespace

int main() {
  library_check_expected();
  every_form();
  every_alignment();
  failures();
  containers();
  return check_finish();
}
