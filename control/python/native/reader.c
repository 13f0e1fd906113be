// _membudget.Reader: what membudget.Budget inherits `level` and `crossed` from, where this module was built. The same
// class in Python (_level.py) takes twice as long, most of it to call the property.
#include "module.h"

typedef struct {
  PyObject ob_base;
  const unsigned char *byte;  // in memory of the view's; NULL: ask the view
  PyObject *view;             // owned, as are the levels: a tuple of all 256
  PyObject *levels;
} Reader;

// The view's level_address, or NULL where it has none. *failed is set with an exception.
static const unsigned char *address_of(PyObject *view, int *failed) {
  PyObject *number = PyObject_GetAttrString(view, "level_address");
  const unsigned char *address = NULL;
  if (number && number != Py_None) address = PyLong_AsVoidPtr(number);
  *failed = PyErr_Occurred() != NULL;
  Py_XDECREF(number);
  return address;
}

static PyObject *read_from(PyObject *self, PyObject *arguments) {
  Reader *reader = (Reader *)self;
  PyObject *view, *levels;
  int failed;
  if (!PyArg_ParseTuple(arguments, "OO!", &view, &PyTuple_Type, &levels)) return NULL;
  if (PyTuple_Size(levels) != 256) {
    PyErr_SetString(PyExc_ValueError, "there are 256 levels");
    return NULL;
  }
  const unsigned char *address = address_of(view, &failed);
  if (failed) return NULL;
  PyObject *old_view = reader->view, *old_levels = reader->levels;
  Py_INCREF(view);
  Py_INCREF(levels);
  reader->byte = address;
  reader->view = view;
  reader->levels = levels;
  Py_XDECREF(old_view);
  Py_XDECREF(old_levels);
  Py_INCREF(Py_None);
  return Py_None;
}

long reader_level_byte(PyObject *self) {
  const Reader *reader = (const Reader *)self;
  if (reader->byte) return __atomic_load_n(reader->byte, __ATOMIC_RELAXED);
  if (!reader->view) {
    PyErr_SetString(PyExc_AttributeError, "no budget is attached");
    return -1;
  }
  PyObject *number = PyObject_CallMethod(reader->view, "read_level_byte", NULL);
  if (!number) return -1;
  long byte = PyLong_AsLong(number);
  Py_DECREF(number);
  return PyErr_Occurred() ? -1 : byte & 0xff;
}

static PyObject *get_level(PyObject *self, void *unused) {
  (void)unused;
  long byte = reader_level_byte(self);
  if (byte < 0) return NULL;
  PyObject *level = PyTuple_GetItem(((Reader *)self)->levels, byte);
  Py_XINCREF(level);
  return level;
}

static PyObject *get_crossed(PyObject *self, void *unused) {
  (void)unused;
  long byte = reader_level_byte(self);
  return byte < 0 ? NULL : PyBool_FromLong(byte == 255);
}

static void dealloc(PyObject *self) {
  Reader *reader = (Reader *)self;
  PyTypeObject *type = Py_TYPE(self);
  Py_XDECREF(reader->view);
  Py_XDECREF(reader->levels);
  ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
  Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"_read_from", read_from, METH_VARARGS, "_read_from(view, levels): where the level is read from now on."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"level", get_level, NULL,
     "The group's Level right now. One load from memory, no system call (another's: one pread).", NULL},
    {"crossed", get_crossed, NULL, "Whether the budget is crossed: level is CRITICAL. Costs what level costs.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec spec = {"_membudget.Reader", sizeof(Reader), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

PyObject *make_reader_type(void) { return PyType_FromSpec(&spec); }
