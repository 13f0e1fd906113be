// _membudget.Items: what membudget.Batch inherits the insertion, guard() and looking up from, where this module was
// built. The same class in Python (_items.py) takes four times as long, which is a tenth of what json.loads takes.
//
// Here is what an insertion does when it is the only thread's, finds room and leaves the budget uncrossed; all else is
// in Python, by Batch's methods. The GIL makes each step whole, as between two bytecodes: keys may run Python code, and
// let another thread take the batch meanwhile, so the rules for that (`_sole_thread`) are those of _items.py.
#include "module.h"

typedef struct {
  PyObject ob_base;
  PyObject *items;            // a dict
  PyObject *budget;           // anything with `crossed`
  unsigned long sole_thread;  // that inserts without a lock; 0: none
  int sole_depth;             // insertions under way in it
  char must_look;             // upon each insertion, at more than whether the budget is crossed
  char is_reader;             // the budget is one of _membudget.Reader
} Items;

// 0 once the method was called, -1 with its exception.
static int call(PyObject *self, const char *method, PyObject *first, PyObject *second) {
  PyObject *name = PyUnicode_FromString(method);
  if (!name) return -1;
  PyObject *result = PyObject_CallMethodObjArgs(self, name, first, second, NULL);
  Py_DECREF(name);
  Py_XDECREF(result);
  return result ? 0 : -1;
}

// Whether the exception is MemoryError, which is then gone.
static int was_refused(void) {
  if (!PyErr_ExceptionMatches(PyExc_MemoryError)) return 0;
  PyErr_Clear();
  return 1;
}

// A new reference: another thread may replace the batch's.
static PyObject *items_of(const Items *self) {
  if (!self->items) PyErr_SetString(PyExc_AttributeError, "the batch was not initialized");
  Py_XINCREF(self->items);
  return self->items;
}

static int insert_alone(Items *self, PyObject *key, PyObject *payload) {
  PyObject *items = items_of(self);
  if (!items) return -1;
  self->sole_depth++;
  int error = PyDict_CheckExact(items) ? PyDict_SetItem(items, key, payload) : PyObject_SetItem(items, key, payload);
  self->sole_depth--;
  Py_DECREF(items);
  return error;
}

// Whether the budget is crossed: 0 or 1, or -1 with an exception.
static int is_crossed(const Items *self) {
  if (self->is_reader) {
    long byte = reader_level_byte(self->budget);
    return byte < 0 ? -1 : byte == 255;
  }
  PyObject *crossed = self->budget ? PyObject_GetAttrString(self->budget, "crossed") : NULL;
  if (!crossed) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_AttributeError, "the batch has no budget");
    return -1;
  }
  int result = PyObject_IsTrue(crossed);
  Py_DECREF(crossed);
  return result;
}

static int set_item(PyObject *object, PyObject *key, PyObject *payload) {
  if (!payload) return call(object, "_delete", key, NULL);
  Items *self = (Items *)object;
  int error = self->sole_thread == PyThread_get_thread_ident() ? insert_alone(self, key, payload)
                                                               : call(object, "_insert_locked", key, payload);
  if (error && (!was_refused() || call(object, "_insert_again", key, payload))) return -1;
  int crossed = is_crossed(self);
  if (crossed < 0) return -1;
  return crossed || self->must_look ? call(object, "_flush_if_due", NULL, NULL) : 0;
}

// Batch tries again, after MemoryError.
static PyObject *call_again(PyObject *self, PyObject *arguments, PyObject *keywords) {
  PyObject *rest = PyTuple_GetSlice(arguments, 1, PyTuple_Size(arguments));
  PyObject *named = keywords ? PyDict_Copy(keywords) : PyDict_New();
  PyObject *result = NULL;
  if (rest && named)
    result = PyObject_CallMethod(self, "_call_again", "OOO", PyTuple_GetItem(arguments, 0), rest, named);
  Py_XDECREF(named);
  Py_XDECREF(rest);
  return result;
}

static PyObject *guard(PyObject *self, PyObject *arguments, PyObject *keywords) {
  Py_ssize_t count = PyTuple_Size(arguments);
  if (count < 1) {
    PyErr_SetString(PyExc_TypeError, "guard() needs a function to call");
    return NULL;
  }
  PyObject *function = PyTuple_GetItem(arguments, 0), *result = NULL;  // borrowed
  if (count == 2 && !keywords) {                                       // needs no tuple of its own
    result = PyObject_CallFunctionObjArgs(function, PyTuple_GetItem(arguments, 1), NULL);
  } else {
    PyObject *rest = PyTuple_GetSlice(arguments, 1, count);
    if (rest) result = PyObject_Call(function, rest, keywords);
    Py_XDECREF(rest);
  }
  return result || !was_refused() ? result : call_again(self, arguments, keywords);
}

static PyObject *get_item(PyObject *self, PyObject *key) {
  PyObject *items = items_of((Items *)self);
  if (!items) return NULL;
  PyObject *payload = PyObject_GetItem(items, key);
  Py_DECREF(items);
  return payload;
}

static PyObject *get(PyObject *self, PyObject *arguments) {
  PyObject *key, *payload = Py_None, *items;
  if (!PyArg_UnpackTuple(arguments, "get", 1, 2, &key, &payload)) return NULL;
  if (!(items = items_of((Items *)self))) return NULL;
  PyObject *found = PyDict_GetItemWithError(items, key);
  if (found || !PyErr_Occurred()) {
    payload = found ? found : payload;
    Py_INCREF(payload);
  } else {
    payload = NULL;
  }
  Py_DECREF(items);
  return payload;
}

static int contains(PyObject *self, PyObject *key) {
  PyObject *items = items_of((Items *)self);
  if (!items) return -1;
  int result = PySequence_Contains(items, key);
  Py_DECREF(items);
  return result;
}

static Py_ssize_t length(PyObject *self) {
  PyObject *items = items_of((Items *)self);
  if (!items) return -1;
  Py_ssize_t result = PyObject_Size(items);
  Py_DECREF(items);
  return result;
}

static PyObject *get_budget(PyObject *object, void *unused) {
  (void)unused;
  Items *self = (Items *)object;
  if (!self->budget) PyErr_SetString(PyExc_AttributeError, "the batch has no budget");
  Py_XINCREF(self->budget);
  return self->budget;
}

// Whether it is laid out as a Reader, which what only claims to be one (isinstance) is not; -1 with an exception.
static int is_reader(PyObject *budget) {
  PyObject *module = PyImport_ImportModule("_membudget");
  PyObject *type = module ? PyObject_GetAttrString(module, "Reader") : NULL;
  int result = type && PyType_Check(type) ? PyType_IsSubtype(Py_TYPE(budget), (PyTypeObject *)type) : 0;
  Py_XDECREF(type);
  Py_XDECREF(module);
  return PyErr_Occurred() ? -1 : result;
}

static int set_budget(PyObject *object, PyObject *budget, void *unused) {
  (void)unused;
  Items *self = (Items *)object;
  int reads = budget ? is_reader(budget) : 0;
  if (reads < 0) return -1;
  PyObject *old = self->budget;
  Py_XINCREF(budget);
  self->budget = budget;
  self->is_reader = (char)reads;
  Py_XDECREF(old);
  return 0;
}

static int traverse(PyObject *object, visitproc visit, void *arg) {
  Items *self = (Items *)object;
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->items);
  Py_VISIT(self->budget);
  return 0;
}

static int forget(PyObject *object) {
  Items *self = (Items *)object;
  PyObject *items = self->items, *budget = self->budget;
  self->items = self->budget = NULL;
  self->is_reader = 0;
  Py_XDECREF(items);
  Py_XDECREF(budget);
  return 0;
}

static void dealloc(PyObject *object) {
  PyTypeObject *type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  forget(object);
  ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
  Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"guard", (PyCFunction)(void (*)(void))guard, METH_VARARGS | METH_KEYWORDS,
     "guard($self, function, /, *arguments, **keywords)\n--\n\n"
     "function(*arguments, **keywords); upon MemoryError the batch is flushed, and it is called once more.\n\n"
     "    batch[key] = batch.guard(json.loads, line)\n\n"
     "In a group of processes again and again, as long as others flush and for 30 s more."},
    {"get", get, METH_VARARGS, "get($self, key, default=None, /)\n--\n\nThe payload of `key`, or `default`."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"_items", T_OBJECT_EX, offsetof(Items, items), 0, NULL},
    {"_sole_thread", T_ULONG, offsetof(Items, sole_thread), 0, NULL},
    {"_sole_depth", T_INT, offsetof(Items, sole_depth), 0, NULL},
    {"_must_look", T_BOOL, offsetof(Items, must_look), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"budget", get_budget, set_budget, "The Budget that says when to hand the items over.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, (void *)dealloc},
    {Py_tp_traverse, (void *)traverse},
    {Py_tp_clear, (void *)forget},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {Py_mp_ass_subscript, (void *)set_item},
    {Py_mp_subscript, (void *)get_item},
    {Py_mp_length, (void *)length},
    {Py_sq_contains, (void *)contains},
    {0, NULL},
};

static PyType_Spec spec = {"_membudget.Items", sizeof(Items), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

PyObject *make_items_type(void) { return PyType_FromSpec(&spec); }
