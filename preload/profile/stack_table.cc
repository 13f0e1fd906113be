#include "preload/profile/stack_table.h"

#include <string.h>

#include "preload/profile/memory.h"

namespace membudget::profile {
namespace {

constexpr uint32_t kStacks = 1 << 16, kPlaces = 1 << 17, kFrames = 1 << 22;

struct Table {
  uint32_t places[kPlaces];  // stack numbers by hash, 0 where free
  Stack stacks[kStacks];
  uint64_t frames[kFrames];
};
Table *table;
constinit SpinLock lock{};
uint32_t stack_count = 1;  // number 0 is there from the start
uint32_t frame_count;
uint64_t lost;

uint64_t hash_of(const uint64_t *frames, int count) {
  uint64_t hash = static_cast<uint64_t>(count);
  for (int i = 0; i < count; ++i) {
    hash = (hash ^ frames[i]) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 29;
  }
  return hash;
}

bool is_stack(const Stack &s, uint64_t hash, const uint64_t *frames, uint32_t count) {
  return s.hash == hash && s.frames == count &&
         memcmp(&table->frames[s.first_frame], frames, count * sizeof *frames) == 0;
}

// A new number for a stack, or 0. What is visible to others, and to a child, is set last.
uint32_t add(uint64_t hash, const uint64_t *frames, uint32_t count) {
  if (stack_count == kStacks || count > kFrames - frame_count) return 0;
  memcpy(&table->frames[frame_count], frames, count * sizeof *frames);
  table->stacks[stack_count] = {hash, frame_count, count, 0, 0, 0};
  frame_count += count;
  __atomic_store_n(&stack_count, stack_count + 1, __ATOMIC_RELEASE);
  return stack_count - 1;
}

uint32_t number_of(const uint64_t *frames, uint32_t count) {
  uint64_t hash = hash_of(frames, static_cast<int>(count));
  size_t place = hash >> 47;
  static_assert(kPlaces == 1 << (64 - 47));
  for (; table->places[place] != 0; place = (place + 1) % kPlaces)
    if (is_stack(table->stacks[table->places[place]], hash, frames, count)) return table->places[place];
  return table->places[place] = add(hash, frames, count);
}

void add_to(double *sum, double more) {
  double seen, next;
  __atomic_load(sum, &seen, __ATOMIC_RELAXED);
  do next = seen + more;
  while (!__atomic_compare_exchange(sum, &seen, &next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

}  // namespace

bool stack_table_begin() {
  if (!table) table = static_cast<Table *>(reserve(sizeof(Table)));
  return table != nullptr;
}

uint32_t stack_table_number(const uint64_t *frames, int count) {
  SpinGuard guard(lock);
  uint32_t number = count > 0 ? number_of(frames, static_cast<uint32_t>(count)) : 0;
  if (number == 0) ++lost;
  return number;
}

void stack_table_note(uint32_t number, double bytes, double weight) {
  Stack *s = &table->stacks[number];
  add_to(&s->allocated_blocks, weight);
  add_to(&s->allocated_bytes, bytes * weight);
  add_to(&s->allocated_variance, bytes * bytes * weight * (weight - 1));
}

uint32_t stack_table_size() { return __atomic_load_n(&stack_count, __ATOMIC_ACQUIRE); }
const Stack &stack_table_at(uint32_t number) { return table->stacks[number]; }
const uint64_t *stack_table_frames(const Stack &s) { return &table->frames[s.first_frame]; }
uint64_t stack_table_lost() { return lost; }
void stack_table_after_fork_in_child() { lock.reset(); }

}  // namespace membudget::profile
