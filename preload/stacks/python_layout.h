// Where CPython keeps what: offsets that hold for all releases of a minor version, on 64-bit machines.
//
// Taken from CPython's own headers. Free-threaded builds have others, and are told apart before these are used.
#pragma once

namespace membudget::stacks {

// How line numbers are kept: pairs of bytes (up to 3.9), pairs with lines that may be missing (3.10), or entries
// of varying length (from 3.11 on).
enum class LineFormat { pairs, pairs_or_none, entries };

struct PythonLayout {
  int thread_holder;  // PyThreadState.cframe; -1: the frame is in the thread state itself
  int current_frame;
  int frame_code, frame_previous;
  int frame_instruction;        // a pointer into the code, or (before 3.11) an int
  int frame_instruction_unit;   // of the int, in bytes; 0: it is a pointer
  int frame_is_entry;           // -1: none
  int frame_owner, owner_shim;  // a shim frame is no Python frame, and ends a group; -1: none
  int code_first_line, code_file, code_name, code_lines, code_instructions;
  LineFormat line_format;
  int ascii_text, utf8_length, utf8;
};

constexpr PythonLayout kPython39 = {-1, 24, 32, 24, 104, 1, -1, -1, -1, 40, 104, 112, 120, 0, LineFormat::pairs,
                                    48, 48, 56};
constexpr PythonLayout kPython310 = {-1, 24, 32, 24, 96, 2, -1, -1, -1, 40, 104, 112, 120, 0, LineFormat::pairs_or_none,
                                     48, 48, 56};
constexpr PythonLayout kPython311 = {56, 8,  32, 48, 56, 0, 68, -1, -1, 72, 112, 128, 136, 184, LineFormat::entries,
                                     48, 48, 56};
constexpr PythonLayout kPython312 = {56, 0,  0, 8, 56, 0, -1, 70, 3, 68, 112, 128, 136, 192, LineFormat::entries,
                                     40, 40, 48};
constexpr PythonLayout kPython313 = {-1, 72, 0, 8, 56, 0, -1, 70, 3, 68, 112, 128, 136, 200, LineFormat::entries,
                                     40, 40, 48};

// NULL for a version that is not known.
inline const PythonLayout *layout_of(int major, int minor) {
  if (major != 3) return nullptr;
  switch (minor) {
    case 9: return &kPython39;
    case 10: return &kPython310;
    case 11: return &kPython311;
    case 12: return &kPython312;
    case 13: return &kPython313;
    default: return nullptr;
  }
}

}  // namespace membudget::stacks
