/* PyStackless_NewContinuation(), PyStackless_SoftCall(): what they want is done by
   inline/soft.c. */

#include "Python.h"
#include "Stackless/inline/inline.h"
#include "Stackless/capi/capi.h"

PyObject *
PyStackless_NewContinuation(PyObject *module, const char *name,
                            PyStackless_ContinuationFunction *function, int flags)
{
    PyThreadState *tstate = STACKLESS_ENTER();
    stackless_modstate *mod = tstate != NULL ? _PyStackless_ApiState(tstate) : NULL;
    if (mod == NULL) {
        return NULL;
    }
    if (module == NULL || !PyModule_Check(module) || name == NULL || function == NULL) {
        PyErr_SetString(PyExc_TypeError, "PyStackless_NewContinuation() needs a module, a name "
                        "and a function");
        return NULL;
    }
    if (flags & ~PyStackless_CATCHES) {
        PyErr_Format(PyExc_ValueError, "flags must be 0 or PyStackless_CATCHES, not %d", flags);
        return NULL;
    }
    PyObject *module_name = PyModule_GetNameObject(module);
    PyObject *own_name = module_name != NULL ? PyUnicode_FromString(name) : NULL;
    PyObject *k = NULL;
    if (own_name != NULL) {
        k = _PyStackless_MakeContinuation(mod->continuation_type, module_name, own_name, function,
                                          flags);
    }
    Py_XDECREF(module_name);
    Py_XDECREF(own_name);
    if (k != NULL && PyModule_AddObjectRef(module, name, k) < 0) {
        Py_CLEAR(k);
    }
    return k;
}

/* Code units of the instruction that has called, if it can be done softly; else 0. */
static int
soft_size(PyThreadState *tstate, PyStackless_Caller *caller)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched == NULL || !((_PyThreadStateImpl *)tstate)->stackless_inlines
        || tstate->interp->eval_frame != NULL || (sched->current->flags & TASKLET_IS_MAIN)
        || sched->mod->hard_only || caller->args == NULL) {
        return 0;
    }
    return _PyStackless_DirectSize(tstate, sched, caller->function, caller->self, caller->args,
                                   caller->nargs, caller->kwnames);
}

static PyObject *
unwind(PyThreadState *tstate, const stackless_call *call, PyObject *continuation,
       PyObject *state, int size)
{
    PyObject *packed = _PyStackless_PackSoftCall(call);
    PyObject *pair = packed != NULL ? PyTuple_Pack(2, continuation, state) : NULL;
    if (pair == NULL) {
        Py_XDECREF(packed);
        return NULL;
    }
    stackless_op op = { .code = OP_SOFT_CALL, .target = pair, .value = packed };
    return _PyStackless_Unwind(tstate, _PyStackless_PeekScheduler(tstate), op, size);
}

PyObject *
PyStackless_SoftCall(PyStackless_Caller *caller, PyObject *callable, PyObject *const *args,
                     Py_ssize_t nargs, PyObject *kwnames, PyObject *continuation,
                     PyObject *state)
{
    PyThreadState *tstate = _PyThreadState_GET();
    _Py_EnsureFuncTstateNotNULL(__func__, tstate);
    _PyStackless_SoftRequest *request = caller != NULL ? caller->request : NULL;
    if (tstate->current_exception != NULL
        && !(request != NULL && _PyStackless_IsUnwinding(tstate))) {
        return NULL;
    }
    if (caller == NULL || callable == NULL || continuation == NULL
        || !_PyStackless_IsSoftContinuation(continuation) || nargs < 0
        || (kwnames != NULL && !PyTuple_Check(kwnames))) {
        if (tstate->current_exception == NULL) {
            PyErr_Format(PyExc_TypeError, "PyStackless_SoftCall() needs a caller, a callable, "
                         "arguments and a continuation, not %s",
                         continuation == NULL ? "NULL" : Py_TYPE(continuation)->tp_name);
        }
        return NULL;
    }
    if (kwnames != NULL && PyTuple_GET_SIZE(kwnames) == 0) {
        kwnames = NULL;
    }
    state = state != NULL ? state : Py_None;
    stackless_call call = { callable, args, nargs, kwnames };
    if (request != NULL) {
        return _PyStackless_RequestSoftCall(tstate, request, &call, continuation, state);
    }
    int size = soft_size(tstate, caller);
    return size != 0 ? unwind(tstate, &call, continuation, state, size)
                     : _PyStackless_MakeSoftCall(tstate, &call, continuation, state);
}
