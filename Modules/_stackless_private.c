/* Functions of module _stackless that tests of old Stackless use.  What takes an extension
   module is in _teststackless.c. */

#include "Python.h"
#include "pycore_stackless.h"     // _PyStackless_PrivateMethods

PyDoc_STRVAR(test_nostacklesscall_doc,
"_test_nostacklesscall($module, callable, /, *args, **kwargs)\n--\n\n"
"callable(*args, **kwargs), called from C.");

static PyObject *
test_nostacklesscall(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) < 1) {
        PyErr_SetString(PyExc_TypeError, "_test_nostacklesscall() needs a callable");
        return NULL;
    }
    PyObject *rest = PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args));
    if (rest == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_Call(PyTuple_GET_ITEM(args, 0), rest, kwargs);
    Py_DECREF(rest);
    return result;
}

PyDoc_STRVAR(gc_track_doc,
"_gc_track($module, object, /)\n--\n\n"
"Let the garbage collector see an object that it did not see.");

static int
check_gc(PyObject *op, int tracked)
{
    if (!PyObject_IS_GC(op)) {
        PyErr_SetString(PyExc_TypeError, "not an object for the garbage collector");
        return -1;
    }
    if (PyObject_GC_IsTracked(op) != tracked) {
        PyErr_SetString(PyExc_ValueError, tracked ? "not tracked" : "tracked already");
        return -1;
    }
    return 0;
}

static PyObject *
gc_track(PyObject *Py_UNUSED(module), PyObject *op)
{
    if (check_gc(op, 0) < 0) {
        return NULL;
    }
    PyObject_GC_Track(op);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(gc_untrack_doc,
"_gc_untrack($module, object, /)\n--\n\n"
"Hide an object from the garbage collector.");

static PyObject *
gc_untrack(PyObject *Py_UNUSED(module), PyObject *op)
{
    if (check_gc(op, 1) < 0) {
        return NULL;
    }
    PyObject_GC_UnTrack(op);
    Py_RETURN_NONE;
}

PyMethodDef _PyStackless_PrivateMethods[] = {
    {"_test_nostacklesscall", _PyCFunction_CAST(test_nostacklesscall),
     METH_VARARGS | METH_KEYWORDS, test_nostacklesscall_doc},
    {"_gc_track", gc_track, METH_O, gc_track_doc},
    {"_gc_untrack", gc_untrack, METH_O, gc_untrack_doc},
    {NULL}
};
