// What glibc 2.36 makes of the arguments of the malloc family, apart from any allocator.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace membudget {

constexpr bool is_power_of_two(size_t n) { return n != 0 && (n & (n - 1)) == 0; }

// memalign and aligned_alloc take any alignment: glibc rounds it up to a power of two, and refuses (EINVAL)
// what cannot be rounded. 0 stands for "refused".
constexpr size_t rounded_alignment(size_t alignment) {
  constexpr size_t kLargest = SIZE_MAX / 2 + 1;
  if (alignment <= 16) return 16;
  if (alignment > kLargest) return 0;
  return is_power_of_two(alignment) ? alignment : size_t{1} << (64 - __builtin_clzll(alignment));
}

// POSIX: a power of two and a multiple of sizeof(void *).
constexpr bool posix_alignment_is_valid(size_t alignment) {
  return is_power_of_two(alignment) && alignment % sizeof(void *) == 0;
}

// Whether bytes + alignment is past what an object may take.
constexpr bool aligned_size_is_too_large(size_t alignment, size_t bytes) {
  return bytes > PTRDIFF_MAX || alignment > PTRDIFF_MAX - bytes;
}

}  // namespace membudget
