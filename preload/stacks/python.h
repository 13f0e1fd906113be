// CPython's frames, read from the interpreter's own memory: no Python code runs, nothing is allocated.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "preload/stacks/python_layout.h"
#include "preload/stacks/symbols.h"

namespace membudget::stacks {

// The Python frames of the calling thread, from the innermost one outwards. They are in groups: the frames that
// one call of the interpreter's C function runs.
class PythonFrames {
 public:
  // Nothing to read where this thread runs no Python, or one of another version than is known here.
  explicit PythonFrames(const LoadedObjects &);

  bool is_empty() const { return !next_; }

  // Whether the code at `address` is the interpreter's function that runs Python frames.
  bool is_interpreter(uint64_t address) const;

  // Writes the frames of the next group (or of all that are left), at most `most`. Returns how many.
  int take_group(uint64_t *frames, int most);
  int take_rest(uint64_t *frames, int most);

 private:
  void find_thread(const LoadedObjects &);
  int take(uint64_t *frames, int most, bool one_group);

  const char *thread_ = nullptr, *next_ = nullptr;
  const PythonLayout *layout_ = nullptr;
  uintptr_t loop_ = 0, loop_end_ = 0;  // _PyEval_EvalFrameDefault
};

}  // namespace membudget::stacks
