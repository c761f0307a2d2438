/* The pickle flags of a thread, and those that new threads begin with. */

#include "Python.h"
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/pickle/pickle.h"

/* What `old` becomes, or -1 with an exception. */
static int
changed_flags(int old, long flags, long mask)
{
    if (flags < -1 || (flags >= 0 && (flags & mask) > PICKLEFLAGS_ALL)) {
        PyErr_SetString(PyExc_ValueError, "you must not set an undefined pickle-flag");
        return -1;
    }
    return flags == -1 ? old : (int)((old & ~mask) | (flags & mask));
}

static PyObject *
change_flags(uint8_t *where, PyObject *args, PyObject *kwds, const char *format,
             const char *name)
{
    char *names[] = {(char *)name, "mask", NULL};
    long flags = -1, mask = -1;
    if (!PyArg_ParseTupleAndKeywords(args, kwds, format, names, &flags, &mask)) {
        return NULL;
    }
    int old = *where;
    int changed = changed_flags(old, flags, mask);
    if (changed < 0) {
        return NULL;
    }
    *where = (uint8_t)changed;
    return PyLong_FromLong(old);
}

PyObject *
_PyStackless_PickleFlags(PyObject *module, PyObject *args, PyObject *kwds)
{
    _PyStackless_Scheduler *sched = _PyStackless_GetScheduler(_PyThreadState_GET(), module);
    return sched ? change_flags(&sched->pickle_flags, args, kwds, "|ll:pickle_flags",
                                "new_flags") : NULL;
}

PyObject *
_PyStackless_PickleFlagsDefault(PyObject *module, PyObject *args, PyObject *kwds)
{
    stackless_modstate *mod = PyModule_GetState(module);
    return change_flags(&mod->pickle_flags, args, kwds, "|ll:pickle_flags_default",
                        "new_default");
}

/* The attribute pickle_with_tracing_state of the module. */

PyObject *
_PyStackless_GetWithTracing(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *module = PyType_GetModule(Py_TYPE(self));
    _PyStackless_Scheduler *sched = module == NULL ? NULL : _PyStackless_GetScheduler(
        _PyThreadState_GET(), module);
    return sched ? PyBool_FromLong(sched->pickle_flags & PICKLEFLAGS_PRESERVE_TRACING_STATE)
                 : NULL;
}

int
_PyStackless_SetWithTracing(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    PyObject *module = PyType_GetModule(Py_TYPE(self));
    _PyStackless_Scheduler *sched = module == NULL ? NULL : _PyStackless_GetScheduler(
        _PyThreadState_GET(), module);
    if (sched == NULL) {
        return -1;
    }
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete pickle_with_tracing_state");
        return -1;
    }
    int on = PyObject_IsTrue(value);
    if (on < 0) {
        return -1;
    }
    uint8_t bit = on ? PICKLEFLAGS_PRESERVE_TRACING_STATE : 0;
    sched->pickle_flags = (sched->pickle_flags & ~PICKLEFLAGS_PRESERVE_TRACING_STATE) | bit;
    sched->mod->pickle_flags =
        (sched->mod->pickle_flags & ~PICKLEFLAGS_PRESERVE_TRACING_STATE) | bit;
    return 0;
}
