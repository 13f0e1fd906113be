#include "preload/stacks/locations.h"

#include <string.h>

#include <membudget/profile.h>

#include "preload/profile/memory.h"

namespace membudget::stacks {
namespace {

constexpr uint32_t kLocations = 1 << 16, kPlaces = 1 << 17, kTextBytes = 32 << 20, kLongest = 4096;

struct Location {
  uint64_t hash;
  uint32_t line, file, function;  // offsets of the texts
  uint16_t file_bytes, function_bytes;
};

struct Table {
  uint32_t places[kPlaces];  // numbers by hash, 0 where free
  Location locations[kLocations];
  char text[kTextBytes];
};
Table *table;
constinit profile::SpinLock lock{};
uint32_t count = 1;  // number 0 is none
uint32_t text_used;

uint64_t mix(uint64_t hash, Text text) {
  for (uint32_t i = 0; i < text.length; ++i) hash = (hash ^ static_cast<unsigned char>(text.bytes[i])) * 0x100000001b3;
  return hash;
}

bool is_text(uint32_t offset, uint32_t length, Text text) {
  return length == text.length && memcmp(&table->text[offset], text.bytes, length) == 0;
}

bool is_location(const Location &l, uint64_t hash, Text file, Text function, uint32_t line) {
  return l.hash == hash && l.line == line && is_text(l.function, l.function_bytes, function) &&
         is_text(l.file, l.file_bytes, file);
}

uint32_t keep(Text text) {
  uint32_t offset = text_used;
  memcpy(&table->text[offset], text.bytes, text.length);
  text_used += text.length;
  return offset;
}

// What is visible to others, and to a child, is set last.
uint32_t add(uint64_t hash, Text file, Text function, uint32_t line) {
  if (count == kLocations || file.length + function.length > kTextBytes - text_used) return 0;
  Location l = {hash,
                line,
                keep(file),
                keep(function),
                static_cast<uint16_t>(file.length),
                static_cast<uint16_t>(function.length)};
  table->locations[count] = l;
  __atomic_store_n(&count, count + 1, __ATOMIC_RELEASE);
  return count - 1;
}

uint32_t number_of(Text file, Text function, uint32_t line) {
  uint64_t hash = mix(mix(0xcbf29ce484222325 ^ line, file), function);
  hash *= 0x9e3779b97f4a7c15;
  size_t place = hash >> 47;
  for (; table->places[place] != 0; place = (place + 1) % kPlaces)
    if (is_location(table->locations[table->places[place]], hash, file, function, line)) return table->places[place];
  return table->places[place] = add(hash, file, function, line);
}

}  // namespace

uint64_t location_frame(Text file, Text function, uint32_t line) {
  profile::SpinGuard guard(lock);
  if (!table) table = static_cast<Table *>(profile::reserve(sizeof(Table)));
  if (!table) return 0;
  if (file.length > kLongest) file.length = kLongest;
  if (function.length > kLongest) function.length = kLongest;
  uint32_t number = number_of(file, function, line);
  return number ? MEMBUDGET_PROFILE_IS_LOCATION | number : 0;
}

void for_each_location(void (*visit)(const SourceLocation &, void *), void *context) {
  uint32_t end = __atomic_load_n(&count, __ATOMIC_ACQUIRE);
  for (uint32_t i = 1; i < end; ++i) {
    const Location &l = table->locations[i];
    visit({i, l.line, &table->text[l.file], &table->text[l.function], l.file_bytes, l.function_bytes}, context);
  }
}

void locations_after_fork_in_child() { lock.reset(); }

}  // namespace membudget::stacks
