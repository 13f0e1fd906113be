#include "preload/stacks/python.h"

#include "preload/stacks/locations.h"
#include "preload/stacks/python_layout.h"
#include "preload/stacks/python_lines.h"
#include "preload/stacks/python_text.h"
#include "preload/stacks/symbols.h"

namespace membudget::stacks {
namespace {

// The interpreter of this process; it is looked for anew when objects were loaded or unloaded. Changed and called into
// with the loader's list locked alone: another thread may be unloading it.
struct Interpreter {
  const PythonLayout *layout;  // NULL: there is none that is known
  void *(*this_thread)();      // PyGILState_GetThisThreadState: reads a thread-specific value, and no more
  uintptr_t loop, loop_end;    // _PyEval_EvalFrameDefault
};
Interpreter interpreter;
uint64_t changes_seen;

template <typename T>
T read(const char *object, int offset) {
  return *reinterpret_cast<const T *>(object + offset);
}

// "3.11.2 (main, ...)". Py_GetVersion() puts together a text in memory of its own, each time the same.
const PythonLayout *layout_by(const char *version) {
  int major = 0, minor = 0;
  for (; *version >= '0' && *version <= '9'; ++version) major = major * 10 + *version - '0';
  if (*version++ != '.') return nullptr;
  for (; *version >= '0' && *version <= '9'; ++version) minor = minor * 10 + *version - '0';
  return layout_of(major, minor);
}

bool is_free_threaded() {
  Symbol only_there = {"_Py_DecRefShared"};
  return find_symbols(&only_there, 1) != Found::no;
}

// Sets its layout, or that there is none. False when it is just being loaded.
bool find_interpreter() {
  __atomic_store_n(&interpreter.layout, nullptr, __ATOMIC_RELAXED);
  Symbol symbols[] = {{"_PyEval_EvalFrameDefault"}, {"PyGILState_GetThisThreadState"}, {"Py_GetVersion"}};
  Found found = find_symbols(symbols, 3);
  if (found != Found::yes || is_free_threaded()) return found != Found::being_loaded;
  const PythonLayout *layout = layout_by(reinterpret_cast<const char *(*)()>(symbols[2].address)());
  interpreter.this_thread = reinterpret_cast<void *(*)()>(symbols[1].address);
  interpreter.loop = symbols[0].address;
  interpreter.loop_end = symbols[0].address + symbols[0].bytes;
  __atomic_store_n(&interpreter.layout, layout, __ATOMIC_RELAXED);
  return true;
}

// Whether it is known, without the lock, that there is none.
bool has_no_interpreter(const LoadedObjects &objects) {
  bool is_known = objects.loads + objects.unloads == __atomic_load_n(&changes_seen, __ATOMIC_ACQUIRE);
  return is_known && !__atomic_load_n(&interpreter.layout, __ATOMIC_RELAXED);
}

// With the lock.
void look_for_interpreter(const LoadedObjects &objects) {
  uint64_t changes = objects.loads + objects.unloads;
  if (changes == changes_seen) return;
  bool is_settled = find_interpreter();
  if (is_settled) __atomic_store_n(&changes_seen, changes, __ATOMIC_RELEASE);
}

// Where in its code a frame is, in bytes; negative before its first instruction.
long offset_of(const PythonLayout &l, const char *frame, const char *code) {
  if (l.frame_instruction_unit)
    return static_cast<long>(read<int32_t>(frame, l.frame_instruction)) * l.frame_instruction_unit;
  return read<const char *>(frame, l.frame_instruction) - (code + l.code_instructions);
}

uint64_t number_of(const PythonLayout &l, const char *frame) {
  const char *code = read<const char *>(frame, l.frame_code);
  int first_line = read<int32_t>(code, l.code_first_line), line = first_line;
  long offset = offset_of(l, frame, code);
  if (offset >= 0) line = python_line(l.line_format, read<const char *>(code, l.code_lines), offset, first_line);
  char file[kMostTextBytes], name[kMostTextBytes];
  return location_frame(python_text(l, read<const char *>(code, l.code_file), file),
                        python_text(l, read<const char *>(code, l.code_name), name),
                        static_cast<uint32_t>(line > 0 ? line : first_line));
}

}  // namespace

void PythonFrames::find_thread(const LoadedObjects &objects) {
  look_for_interpreter(objects);
  layout_ = interpreter.layout;
  if (!layout_) return;
  loop_ = interpreter.loop;
  loop_end_ = interpreter.loop_end;
  thread_ = static_cast<const char *>(interpreter.this_thread());
}

PythonFrames::PythonFrames(const LoadedObjects &objects) {
  if (has_no_interpreter(objects)) return;
  with_objects_kept(
      [](void *frames, const LoadedObjects &now) { static_cast<PythonFrames *>(frames)->find_thread(now); }, this);
  if (!thread_) return;
  const char *holder = layout_->thread_holder >= 0 ? read<const char *>(thread_, layout_->thread_holder) : thread_;
  if (holder) next_ = read<const char *>(holder, layout_->current_frame);
}

bool PythonFrames::is_interpreter(uint64_t address) const { return next_ && address > loop_ && address <= loop_end_; }

int PythonFrames::take_group(uint64_t *frames, int most) { return take(frames, most, true); }
int PythonFrames::take_rest(uint64_t *frames, int most) { return take(frames, most, false); }

int PythonFrames::take(uint64_t *frames, int most, bool one_group) {
  int count = 0;
  while (next_ && count < most) {
    const PythonLayout &l = *layout_;
    const char *frame = next_;
    next_ = read<const char *>(frame, l.frame_previous);
    bool is_shim = l.owner_shim >= 0 && read<char>(frame, l.frame_owner) == l.owner_shim;
    uint64_t number = is_shim ? 0 : number_of(l, frame);
    if (number) frames[count++] = number;
    bool has_groups = l.frame_is_entry >= 0 || l.owner_shim >= 0;
    bool ends_group = !has_groups || is_shim || (l.frame_is_entry >= 0 && read<char>(frame, l.frame_is_entry) != 0);
    if (one_group && ends_group) break;
  }
  return count;
}

}  // namespace membudget::stacks
