/* An extension module that uses all of greenlet/greenlet.h; test_capi.py
   compiles it, as C and as C++, and imports it. */

#include <Python.h>
#include <stddef.h>
#include <string.h>
#include <greenlet/greenlet.h>

#if PyGreenlet_API_pointers != 12
#  error "the table has twelve entries"
#endif

#define GREENLET(op) ((PyGreenlet *)(op))
#define OBJECT(op) ((PyObject *)(op))

/* What a C caller would pass for a missing argument: Python's None here. */
static PyObject *
or_null(PyObject *op)
{
    return op == Py_None ? NULL : op;
}

static PyObject *
from_int(int result)
{
    return result < 0 ? NULL : PyLong_FromLong(result);
}


/* --- the functions of the table, as they are --- */

static PyObject *
capi_new(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *run, *parent;
    if (!PyArg_ParseTuple(args, "OO", &run, &parent)) {
        return NULL;
    }
    return OBJECT(PyGreenlet_New(or_null(run), GREENLET(or_null(parent))));
}

static PyObject *
capi_getcurrent(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    return OBJECT(PyGreenlet_GetCurrent());
}

static PyObject *
capi_throw(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *g, *type, *value, *tb;
    if (!PyArg_ParseTuple(args, "OOOO", &g, &type, &value, &tb)) {
        return NULL;
    }
    return PyGreenlet_Throw(GREENLET(g), type, or_null(value), or_null(tb));
}

static PyObject *
capi_switch(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *g, *a, *k;
    if (!PyArg_ParseTuple(args, "OOO", &g, &a, &k)) {
        return NULL;
    }
    return PyGreenlet_Switch(GREENLET(g), or_null(a), or_null(k));
}

static PyObject *
capi_setparent(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *g, *parent;
    if (!PyArg_ParseTuple(args, "OO", &g, &parent)) {
        return NULL;
    }
    return from_int(PyGreenlet_SetParent(GREENLET(g), GREENLET(or_null(parent))));
}

static PyObject *
capi_main(PyObject *Py_UNUSED(module), PyObject *g)
{
    return from_int(PyGreenlet_MAIN(GREENLET(g)));
}

static PyObject *
capi_started(PyObject *Py_UNUSED(module), PyObject *g)
{
    return from_int(PyGreenlet_STARTED(GREENLET(g)));
}

static PyObject *
capi_active(PyObject *Py_UNUSED(module), PyObject *g)
{
    return from_int(PyGreenlet_ACTIVE(GREENLET(g)));
}

static PyObject *
capi_getparent(PyObject *Py_UNUSED(module), PyObject *g)
{
    PyObject *parent = OBJECT(PyGreenlet_GET_PARENT(GREENLET(g)));
    if (parent == NULL && !PyErr_Occurred()) {
        return PyUnicode_FromString("NULL");
    }
    return parent;
}

static PyObject *
capi_check(PyObject *Py_UNUSED(module), PyObject *op)
{
    return PyLong_FromLong(PyGreenlet_Check(or_null(op)));
}

static PyObject *
capi_objects(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    return Py_BuildValue("(OOO)", OBJECT(&PyGreenlet_Type),
                         PyExc_GreenletError, PyExc_GreenletExit);
}

static PyObject *
capi_sizes(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    return Py_BuildValue("(nnn)", (Py_ssize_t)sizeof(PyGreenlet),
                         (Py_ssize_t)offsetof(PyGreenlet, weakreflist),
                         (Py_ssize_t)offsetof(PyGreenlet, dict));
}


/* --- switching from the depths of the C stack --- */

/* deep(g, n): switch to g below so many calls, each of which has a buffer on
   the stack; RuntimeError if one of them has changed meanwhile. */
static PyObject *
deep(PyGreenlet *g, int n)
{
    char buffer[200], expected[200];
    memset(expected, 'a' + n % 26, sizeof(expected));
    memcpy(buffer, expected, sizeof(buffer));
    PyObject *result = n ? deep(g, n - 1) : PyGreenlet_Switch(g, NULL, NULL);
    if (result != NULL && memcmp(buffer, expected, sizeof(buffer)) != 0) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_RuntimeError, "the C stack has changed");
        return NULL;
    }
    return result;
}

static PyObject *
capi_deep(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *g;
    int n;
    if (!PyArg_ParseTuple(args, "Oi", &g, &n)) {
        return NULL;
    }
    return deep(GREENLET(g), n);
}


/* --- subclasses with fields of their own --- */

typedef struct {
    PyGreenlet greenlet;
    PyObject *extra;
    long number;
} Sub;

static PyObject *
sub_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *self = PyGreenlet_Type.tp_new(type, args, kwargs);
    if (self != NULL) {
        ((Sub *)self)->number = 42;
    }
    return self;
}

static int
sub_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return PyGreenlet_Type.tp_init(self, args, kwargs);
}

static int
sub_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((Sub *)self)->extra);
    return PyGreenlet_Type.tp_traverse(self, visit, arg);
}

/* A heap type's instances own a reference to their type.  (A Python class over a static
   type sees to that itself.) */
static int
heap_sub_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return sub_traverse(self, visit, arg);
}

static int
sub_clear(PyObject *self)
{
    PyGreenlet_Type.tp_clear(self);
    Py_CLEAR(((Sub *)self)->extra);
    return 0;
}

/* In the order of Cython's: its own fields first, then all that is a
   greenlet's, which may run code and bring the object back to life. */
static void
sub_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((Sub *)self)->extra);
    PyObject_GC_Track(self);
    PyGreenlet_Type.tp_dealloc(self);
}

static void
heap_sub_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    sub_dealloc(self);
    Py_DECREF(type);
}

static PyObject *
sub_get_extra(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *extra = ((Sub *)self)->extra;
    return Py_NewRef(extra == NULL ? Py_None : extra);
}

static int
sub_set_extra(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(((Sub *)self)->extra, Py_XNewRef(value));
    return 0;
}

static PyObject *
sub_get_number(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(((Sub *)self)->number);
}

static PyGetSetDef sub_getset[] = {
    {"extra", sub_get_extra, sub_set_extra, NULL, NULL},
    {"number", sub_get_number, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject StaticSub = {
    PyVarObject_HEAD_INIT(NULL, 0)
};

static PyType_Slot heap_slots[] = {
    {Py_tp_new, (void *)sub_new},
    {Py_tp_init, (void *)sub_init},
    {Py_tp_dealloc, (void *)heap_sub_dealloc},
    {Py_tp_traverse, (void *)heap_sub_traverse},
    {Py_tp_clear, (void *)sub_clear},
    {Py_tp_getset, sub_getset},
    {0, NULL},
};

static PyType_Spec heap_spec = {
    "capi_test.HeapSub", sizeof(Sub), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, heap_slots,
};

static int
add_types(PyObject *module)
{
    StaticSub.tp_name = "capi_test.StaticSub";
    StaticSub.tp_basicsize = sizeof(Sub);
    StaticSub.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC;
    StaticSub.tp_base = &PyGreenlet_Type;
    StaticSub.tp_new = sub_new;
    StaticSub.tp_init = sub_init;
    StaticSub.tp_dealloc = sub_dealloc;
    StaticSub.tp_traverse = sub_traverse;
    StaticSub.tp_clear = sub_clear;
    StaticSub.tp_getset = sub_getset;
    if (PyModule_AddType(module, &StaticSub) < 0) {
        return -1;
    }
    PyObject *bases = PyTuple_Pack(1, OBJECT(&PyGreenlet_Type));
    if (bases == NULL) {
        return -1;
    }
    PyObject *heap = PyType_FromSpecWithBases(&heap_spec, bases);
    Py_DECREF(bases);
    int result = heap == NULL ? -1 : PyModule_AddObjectRef(module, "HeapSub", heap);
    Py_XDECREF(heap);
    return result;
}


/* --- the module --- */

static PyMethodDef methods[] = {
    {"new", capi_new, METH_VARARGS, NULL},
    {"getcurrent", capi_getcurrent, METH_NOARGS, NULL},
    {"throw", capi_throw, METH_VARARGS, NULL},
    {"switch", capi_switch, METH_VARARGS, NULL},
    {"setparent", capi_setparent, METH_VARARGS, NULL},
    {"main", capi_main, METH_O, NULL},
    {"started", capi_started, METH_O, NULL},
    {"active", capi_active, METH_O, NULL},
    {"getparent", capi_getparent, METH_O, NULL},
    {"check", capi_check, METH_O, NULL},
    {"objects", capi_objects, METH_NOARGS, NULL},
    {"sizes", capi_sizes, METH_NOARGS, NULL},
    {"deep", capi_deep, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "capi_test", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC
PyInit_capi_test(void)
{
    PyGreenlet_Import();
    if (_PyGreenlet_API == NULL) {
        return NULL;
    }
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && add_types(module) < 0) {
        Py_CLEAR(module);
    }
    return module;
}
