// Part of libmembudget.so where coverage is measured. The library runs before its constructors do, and counts in its own
// memory until the counters' file is mapped: here it is, and what was counted before is added. (The runtime, which would
// start by itself, empties that memory then.)
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern int64_t __llvm_profile_counter_bias __attribute__((visibility("hidden")));
uint64_t *__llvm_profile_begin_counters(void);
uint64_t *__llvm_profile_end_counters(void);
void __llvm_profile_initialize_file(void);

int __llvm_profile_runtime;  // defined: the runtime does not start by itself, nor register anything for the exit

__attribute__((constructor)) static void map_counters(void) {
  const uint64_t *begin = __llvm_profile_begin_counters(), *end = __llvm_profile_end_counters();
  const size_t count = (size_t)(end - begin), bytes = count * sizeof *begin;
  const long mapped = syscall(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint64_t *early = (uint64_t *)mapped;
  if (mapped < 0 && mapped >= -4095) return;
  memcpy(early, begin, bytes);
  __llvm_profile_initialize_file();
  if (__llvm_profile_counter_bias != 0) {
    uint64_t *now = (uint64_t *)((intptr_t)begin + (intptr_t)__llvm_profile_counter_bias);
    for (size_t i = 0; i < count; i++) now[i] += early[i];
  }
  syscall(SYS_munmap, early, bytes);
}
