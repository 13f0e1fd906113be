// libmembudget-stacks.so: one call that takes the calling thread's stack, interpreters' frames put in place.
#include <string.h>

#include "preload/profile/stacks.h"
#include "preload/stacks/locations.h"
#include "preload/stacks/native.h"
#include "preload/stacks/python.h"

namespace membudget::stacks {
namespace {

// Python's frames in place of the interpreter's own.
int merge(const LoadedObjects &objects, const uint64_t *machine, int machine_count, uint64_t *frames, int most) {
  PythonFrames python(objects);
  int count = 0;
  if (python.is_empty()) {
    count = machine_count < most ? machine_count : most;
    memcpy(frames, machine, static_cast<size_t>(count) * sizeof *frames);
    return count;
  }
  for (int i = 0; i < machine_count && count < most; ++i) {
    if (python.is_interpreter(machine[i]))
      count += python.take_group(frames + count, most - count);
    else
      frames[count++] = machine[i];
  }
  return count + python.take_rest(frames + count, most - count);
}

int return_addresses(const void *frame, ReturnAddress *returns, int most) {
  bool is_python = !PythonFrames(loaded_objects()).is_empty();
  return is_python ? 0 : find_return_addresses(frame, returns, most);
}

int capture(uint64_t *frames, int most) { return unwind(frames, most, merge); }

void after_fork_in_child() {
  unwind_after_fork_in_child();
  locations_after_fork_in_child();
}

}  // namespace
}  // namespace membudget::stacks

extern "C" __attribute__((visibility("default"))) const membudget::StackModule membudget_stack_module;
const membudget::StackModule membudget_stack_module = {
    membudget::kStackModuleVersion, membudget::stacks::capture, membudget::stacks::return_addresses,
    membudget::stacks::for_each_location, membudget::stacks::after_fork_in_child};
