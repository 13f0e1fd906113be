// _membudget: what the package `membudget` has in C, for speed alone; it does without. Stable ABI: one file serves every
// CPython from 3.9 on.
#pragma once
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x03090000
#include <Python.h>
#include <structmember.h>

// Types of the module: new references, NULL with an exception. The caller holds the GIL, here and below.
PyObject *make_reader_type(void);
PyObject *make_items_type(void);

// The byte of the level that a Reader, or what inherits from it, reads: 0 to 255, or -1 with an exception. One load
// where the level is in this process's memory, else what its view does (a pread).
long reader_level_byte(PyObject *reader);
