/* library.h: the library under test as a test program sees it from within: whether it is there, which
 * allocator it uses, and its counters, read from the shared block as membudget/abi.h says.
 *
 * Nothing here allocates.
 */
#ifndef TESTS_SUPPORT_LIBRARY_H
#define TESTS_SUPPORT_LIBRARY_H

#include <dlfcn.h>
#include <membudget/abi.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* One reading of a process's counters. Live bytes are exact when no thread is inside an allocation call. */
struct counters {
  int64_t live_bytes, mapped_bytes, counted_bytes;
  uint64_t allocations, frees;
};

/* The block that this process is counted in, and its slot there; NULL when the library is not loaded. */
static inline struct membudget_header *library_block(void) {
  void *(*get)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "membudget_preload_block");
  return get ? (struct membudget_header *)get() : NULL;
}

static inline struct membudget_process *library_process(void) {
  void *(*get)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "membudget_preload_process");
  return get ? (struct membudget_process *)get() : NULL;
}

static inline const struct membudget_shard *counters_shard(const struct membudget_header *block,
                                                           const struct membudget_process *process, uint32_t index) {
  return (const struct membudget_shard *)((const char *)process + block->shard_offset +
                                          (uint64_t)index * block->shard_bytes);
}

/* Sums a process's shards: all that was freed first, so that calls under way only make it too large. */
static inline struct counters counters_read(const struct membudget_header *block,
                                            const struct membudget_process *process) {
  struct counters sum = {0, 0, 0, 0, 0};
  const uint32_t high = __atomic_load_n(&process->shard_high, __ATOMIC_ACQUIRE);
  const uint32_t shards = high < block->shard_count ? high : block->shard_count;
  for (uint32_t i = 0; i < shards; i++) {
    const struct membudget_shard *shard = counters_shard(block, process, i);
    sum.live_bytes -= __atomic_load_n(&shard->freed_bytes, __ATOMIC_ACQUIRE);
    sum.frees += __atomic_load_n(&shard->frees, __ATOMIC_RELAXED);
  }
  for (uint32_t i = 0; i < shards; i++) {
    const struct membudget_shard *shard = counters_shard(block, process, i);
    sum.live_bytes += __atomic_load_n(&shard->allocated_bytes, __ATOMIC_ACQUIRE);
    sum.allocations += __atomic_load_n(&shard->allocations, __ATOMIC_RELAXED);
  }
  sum.mapped_bytes = __atomic_load_n(&process->mapped_bytes, __ATOMIC_ACQUIRE);
  sum.counted_bytes = sum.live_bytes + sum.mapped_bytes;
  return sum;
}

static inline uint32_t library_level(const struct membudget_header *block) {
  return __atomic_load_n(&block->level_word, __ATOMIC_ACQUIRE) & 0xffu;
}

/* The allocator that this test is meant to run on: "plain" for glibc without the library. */
static inline const char *library_expected(void) {
  const char *allocator = getenv("TEST_ALLOCATOR");
  return allocator ? allocator : "plain";
}

/* Whether that is in its name, or in the file name of one given by its path. */
static inline int library_is(const char *allocator) {
  const char *slash = strrchr(library_expected(), '/');
  return strstr(slash ? slash : library_expected(), allocator) != NULL;
}

/* glibc's malloc, with or without the library in front of it. */
static inline int library_is_glibc(void) { return library_is("plain") || library_is("ptmalloc"); }

/* First in every main: fails when the test does not run on what it is meant to run on. */
static inline void library_check_expected(void) {
  const struct membudget_process *process = library_process();
  if (library_is("plain")) {
    REQUIRE(process == NULL);
    return;
  }
  REQUIRE(process != NULL && library_block() != NULL);
  REQUIRE(library_block()->magic == MEMBUDGET_MAGIC);
  /* A path may be too long for it. */
  CHECK_CONTEXT(strncmp(process->allocator, library_expected(), sizeof process->allocator - 1) == 0,
                "allocator is '%s', not '%s'", process->allocator, library_expected());
  CHECK_CONTEXT(process->config_errors[0] == 0, "config_errors: %s", process->config_errors);
}

#endif
