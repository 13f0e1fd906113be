// What libmembudget.so asks of the module that takes stacks, libmembudget-stacks.so.
//
// The module is apart because it needs libunwind, and is loaded only when profiling is on. It is called with all
// signals blocked, in a thread that is not inside it already, wherever the program may call malloc.
#pragma once

#include <stdint.h>

namespace membudget {

// A place in a source file, as an interpreter tells it. The texts are not zero-terminated.
struct SourceLocation {
  uint32_t id, line;
  const char *file, *function;
  uint32_t file_bytes, function_bytes;
};

// A return address, and where on the stack it is.
struct ReturnAddress {
  const uint64_t *place;
  uint64_t address;
};

struct StackModule {
  uint32_t version;
  // The frames of the calling thread, innermost first, as <membudget/profile.h> defines them. Returns how many,
  // `most` at the most. Allocates nothing; from 1 us to 1 ms, where code is seen for the first time.
  int (*capture)(uint64_t *frames, int most);
  // The return addresses that lead out of the frame that begins at `frame` (its canonical frame address, above which
  // its caller's begin), innermost first, to the stack's end. Returns how many; 0 where they do not tell the whole
  // stack: with an interpreter's frames, with more than `most`, far apart, or not found. From 5 us.
  int (*return_addresses)(const void *frame, ReturnAddress *returns, int most);
  // Visits every location that capture() has named. Other threads may go on naming some.
  void (*for_each_location)(void (*visit)(const SourceLocation &, void *), void *context);
  // In a new child: whoever was inside in the parent is not here.
  void (*after_fork_in_child)();
};

constexpr uint32_t kStackModuleVersion = 2;
constexpr const char *kStackModuleSymbol = "membudget_stack_module";
constexpr const char *kStackModuleFile = "libmembudget-stacks.so";
constexpr int kMostFrames = 512;

}  // namespace membudget
