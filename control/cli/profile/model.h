// A profile in memory: who holds what, by stack.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace membudget::cli::profile {

// A function that runs at a place; several where calls were inlined there, innermost first.
struct Line {
  std::string function;  // empty: not known
  std::string file;
  int64_t line = 0;
};

struct Location {
  uint64_t address = 0;  // 0: told by an interpreter
  int mapping = -1;
  std::vector<Line> lines;
  bool is_interpreted = false;
};

struct Mapping {
  uint64_t start = 0, limit = 0, offset = 0;
  std::string file, build_id;
};

// Estimates.
struct Amounts {
  double live_bytes = 0, live_blocks = 0, allocated_bytes = 0, allocated_blocks = 0;
  double live_variance = 0, allocated_variance = 0;  // of the bytes

  Amounts &operator+=(const Amounts &);
  Amounts operator-() const;  // variances stay what they are
};

struct Entry {
  std::vector<uint32_t> stack;  // places in Profile::locations, innermost first
  Amounts amounts;
  bool is_mapped = false;  // memory that the program mapped by itself
};

// What is known exactly, to hold the estimates against.
struct Exact {
  int64_t live_bytes = 0, mapped_bytes = 0, live_before = 0;
};

struct Profile {
  std::vector<Mapping> mappings;
  std::vector<Location> locations;
  std::vector<Entry> entries;
  Exact exact;
  int64_t mean_bytes = 0;
  uint64_t time_ns = 0;
  uint64_t lost_blocks = 0, lost_stacks = 0;
  std::string title;  // what it is a profile of
  std::string maps;   // /proc/PID/maps, where addresses are still to be looked up
  int pid = 0;

  Amounts total(bool mapped) const;
};

// Adds another profile's entries and exact figures.
void add(Profile *to, const Profile &);

// Takes another's entries off, those of equal stacks together.
void subtract(Profile *from, const Profile &base);

// What a location is called: "function file:line", as much of it as is known.
std::string name_of(const Profile &, const Location &);

// The line of an entry's stack that a reader wants to see: in an interpreted program the innermost that is not in the
// language's own library, else the innermost that is none of an allocator's or the C and C++ libraries'. "" where there
// is none.
std::string site_of(const Profile &, const Entry &);

}  // namespace membudget::cli::profile
