/* level_model.h: what the level has to be, from the counted bytes and the level before: the rules of the
 * interface, written a second time.
 *
 * A level is raised at once when counted bytes reach its mark. It falls when they are below its mark by
 * more than the release gap.
 */
#ifndef TESTS_PROPERTY_LEVEL_MODEL_H
#define TESTS_PROPERTY_LEVEL_MODEL_H

#include <membudget/abi.h>
#include <stdint.h>

static inline int64_t level_mark(const struct membudget_header *block, uint32_t level) {
  if (level == MEMBUDGET_LOW) return block->low_bytes;
  return level == MEMBUDGET_MEDIUM ? block->medium_bytes : block->limit_bytes;
}

static inline uint32_t level_model(const struct membudget_header *block, int64_t counted_bytes, uint32_t before) {
  static const uint32_t levels[] = {MEMBUDGET_CRITICAL, MEMBUDGET_MEDIUM, MEMBUDGET_LOW};
  for (int i = 0; i < 3; i++) {
    const int64_t mark = level_mark(block, levels[i]);
    if (counted_bytes >= mark) return levels[i];
    if (levels[i] <= before && counted_bytes >= mark - block->release_bytes) return levels[i];
  }
  return MEMBUDGET_NONE;
}

#endif
