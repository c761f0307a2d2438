/* Functions of module _stackless that tests of old Stackless use.  What takes an extension
   module is in _teststackless.c. */

#include "Python.h"
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "pycore_stackless.h"     // _PyStackless_InitPrivate()

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

PyDoc_STRVAR(test_outside_doc,
"_test_outside($module, /)\n--\n\n"
"Run all runnable tasklets, as a program without a main tasklet would.  Afterwards the\n"
"caller is current again: main, or another tasklet as long as main is not scheduled.");

static PyObject *
test_outside(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    PyThreadState *tstate = _PyThreadState_GET();
    _PyStackless_Scheduler *sched = _PyStackless_GetScheduler(tstate, module);
    if (sched == NULL) {
        return NULL;
    }
    if (sched->current != sched->main && tasklet_is_queued(sched->main)) {
        PyErr_SetString(PyExc_RuntimeError, "main tasklet is still scheduled");
        return NULL;
    }
    sched->call = (stackless_op){ .code = OP_RUN_ALL };
    return _PyStackless_CallFromC(sched);
}

/* Softly "from C": a frame that nobody sees, as those of C code that waits for its turn
   have to be (the trampoline's, send_sequence()'s). */
static const char test_cframe_nr_source[] =
    "def _test_cframe_nr(switches, /):\n"
    "    'Call schedule() so many times, softly.  Returns the calling tasklet.'\n"
    "    for _ in range(switches):\n"
    "        _stackless.schedule()\n"
    "    return _stackless.getcurrent()\n";

static PyMethodDef private_methods[] = {
    {"_test_nostacklesscall", _PyCFunction_CAST(test_nostacklesscall),
     METH_VARARGS | METH_KEYWORDS, test_nostacklesscall_doc},
    {"_gc_track", gc_track, METH_O, gc_track_doc},
    {"_gc_untrack", gc_untrack, METH_O, gc_untrack_doc},
    {"_test_outside", test_outside, METH_NOARGS, test_outside_doc},
    {NULL}
};

int
_PyStackless_InitPrivate(PyObject *module)
{
    PyObject *func = _PyStackless_HiddenFunction(test_cframe_nr_source, "_test_cframe_nr",
                                                 "_stackless", module);
    int err = PyModule_Add(module, "_test_cframe_nr", func);       // steals func
    return err < 0 ? -1 : PyModule_AddFunctions(module, private_methods);
}
