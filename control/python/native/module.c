#include "module.h"

static int add(PyObject *module, const char *name, PyObject *type) {
  if (!type) return -1;
  int error = PyObject_SetAttrString(module, name, type);
  Py_DECREF(type);
  return error;
}

static int execute(PyObject *module) {
  if (add(module, "Reader", make_reader_type())) return -1;
  return add(module, "Items", make_items_type());
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)execute}, {0, NULL}};

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_membudget", NULL, 0, NULL, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__membudget(void) { return PyModuleDef_Init(&definition); }
