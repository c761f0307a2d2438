/* Soft calls: a C function that wants Python code called, and to go on afterwards, without
   holding C stack.

   It says what to call, a continuation (a C function that an object of ours names) and a state
   object, and returns.  If the eval loop of a tasklet called it, with nothing in between, it
   has returned with the unwind token, and the hook comes here: a continuation frame, which
   keeps the two, is pushed, and then what is to be called.  Anywhere else the call is made at
   once, and so is the continuation's, in a loop.  A continuation asks for the next call in
   the same way, so it is written once, and never knows. */

#include "Python.h"
#include "pycore_object.h"        // _PyObject_GC_TRACK()
#include "pycore_pyerrors.h"      // _PyErr_SetRaisedException()
#include "pycore_descrobject.h"   // PyMethodDescrObject
#include "pycore_tuple.h"         // _PyTuple_FromArray()
#include "Stackless/inline/inline.h"

typedef struct {
    PyObject_HEAD
    PyObject *name;
    PyObject *module;             // the module's name
    PyStackless_ContinuationFunction *function;
    int flags;
} soft_continuation;

/* --- the type -------------------------------------------------------------------------- */

static void
continuation_dealloc(PyObject *op)
{
    soft_continuation *k = (soft_continuation *)op;
    PyTypeObject *type = Py_TYPE(op);
    Py_XDECREF(k->name);
    Py_XDECREF(k->module);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
continuation_repr(PyObject *op)
{
    soft_continuation *k = (soft_continuation *)op;
    return PyUnicode_FromFormat("<continuation %U.%U>", k->module, k->name);
}

/* Pickled as the global that it is. */
static PyObject *
continuation_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(((soft_continuation *)op)->name);
}

static PyMethodDef continuation_methods[] = {
    {"__reduce__", continuation_reduce, METH_NOARGS, NULL},
    {NULL}
};

static PyMemberDef continuation_members[] = {
    {"__name__", _Py_T_OBJECT, offsetof(soft_continuation, name), Py_READONLY},
    {"__qualname__", _Py_T_OBJECT, offsetof(soft_continuation, name), Py_READONLY},
    {"__module__", _Py_T_OBJECT, offsetof(soft_continuation, module), Py_READONLY},
    {NULL}
};

PyDoc_STRVAR(continuation_doc,
"What a C function goes on with when a call that it has asked for is over.");

static PyType_Slot continuation_slots[] = {
    {Py_tp_doc, (void *)continuation_doc},
    {Py_tp_dealloc, continuation_dealloc},
    {Py_tp_repr, continuation_repr},
    {Py_tp_methods, continuation_methods},
    {Py_tp_members, continuation_members},
    {0, NULL}
};

PyType_Spec _PyStackless_ContinuationSpec = {
    .name = "_stackless.continuation",
    .basicsize = sizeof(soft_continuation),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = continuation_slots,
};

int
_PyStackless_IsSoftContinuation(PyObject *op)
{
    return Py_TYPE(op)->tp_dealloc == continuation_dealloc;
}

PyObject *
_PyStackless_MakeContinuation(PyTypeObject *type, PyObject *module, PyObject *name,
                              PyStackless_ContinuationFunction *function, int flags)
{
    soft_continuation *k = (soft_continuation *)type->tp_alloc(type, 0);
    if (k != NULL) {
        k->name = Py_NewRef(name);
        k->module = Py_NewRef(module);
        k->function = function;
        k->flags = flags;
    }
    return (PyObject *)k;
}

/* --- asking ---------------------------------------------------------------------------- */

/* The values in one tuple: callable, names of keyword arguments or None, arguments. */
static PyObject *
pack(const stackless_call *call)
{
    Py_ssize_t n = call->nargs + (call->kwnames ? PyTuple_GET_SIZE(call->kwnames) : 0);
    PyObject *packed = PyTuple_New(2 + n);
    if (packed != NULL) {
        PyTuple_SET_ITEM(packed, 0, Py_NewRef(call->callable));
        PyTuple_SET_ITEM(packed, 1, Py_NewRef(call->kwnames ? call->kwnames : Py_None));
        for (Py_ssize_t i = 0; i < n; i++) {
            PyTuple_SET_ITEM(packed, 2 + i, Py_NewRef(call->args[i]));
        }
    }
    return packed;
}

static stackless_call
unpack(PyObject *packed)
{
    PyObject *kwnames = PyTuple_GET_ITEM(packed, 1);
    Py_ssize_t n = PyTuple_GET_SIZE(packed) - 2;
    if (kwnames == Py_None) {
        kwnames = NULL;
    }
    return (stackless_call){ PyTuple_GET_ITEM(packed, 0), &PyTuple_GET_ITEM(packed, 2),
                             n - (kwnames ? PyTuple_GET_SIZE(kwnames) : 0), kwnames };
}

/* Lets go of what has been called, or will not be. */
static void
drop_call(_PyStackless_SoftRequest *request)
{
    PyObject *exc = PyErr_GetRaisedException();
    Py_XDECREF(request->packed);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(request->small); i++) {
        Py_XDECREF(request->small[i]);
    }
    PyErr_SetRaisedException(exc);
}

static void
drop(_PyStackless_SoftRequest *request)
{
    PyObject *exc = PyErr_GetRaisedException();
    Py_CLEAR(request->continuation);
    Py_CLEAR(request->state);
    drop_call(request);
    *request = (_PyStackless_SoftRequest){0};
    PyErr_SetRaisedException(exc);
}

/* 0, or -1 with an exception. */
static int
keep_call(_PyStackless_SoftRequest *request, const stackless_call *call)
{
    enum { FIRST = 2 };
    Py_ssize_t n = call->nargs + (call->kwnames ? PyTuple_GET_SIZE(call->kwnames) : 0);
    if (n > (Py_ssize_t)Py_ARRAY_LENGTH(request->small) - FIRST) {
        request->packed = pack(call);
        if (request->packed == NULL) {
            return -1;
        }
        request->call = unpack(request->packed);
        return 0;
    }
    request->small[0] = Py_NewRef(call->callable);
    request->small[1] = Py_XNewRef(call->kwnames);
    for (Py_ssize_t i = 0; i < n; i++) {
        request->small[FIRST + i] = Py_NewRef(call->args[i]);
    }
    request->call = *call;
    request->call.args = request->small + FIRST;
    return 0;
}

PyObject *
_PyStackless_PackSoftCall(const stackless_call *call)
{
    return pack(call);
}

/* The token says that the request was made: it goes no further than ask(). */
PyObject *
_PyStackless_RequestSoftCall(PyThreadState *tstate, _PyStackless_SoftRequest *request,
                             const stackless_call *call, PyObject *continuation,
                             PyObject *state)
{
    if (request->continuation != NULL) {
        tstate->current_exception = NULL;          // the token
        drop(request);
        PyErr_SetString(PyExc_SystemError,
                        "a continuation has asked for a second soft call: the result of the "
                        "first one is to be returned");
        return NULL;
    }
    if (keep_call(request, call) < 0) {
        return NULL;
    }
    request->continuation = Py_NewRef(continuation);
    request->state = Py_NewRef(state);
    tstate->current_exception = (PyObject *)&_PyStackless_UnwindToken.exc;
    return NULL;
}

/* Calls the continuation's function with `result` (borrowed; NULL: an exception is set).  What
   it returned; NULL without an exception: it has asked for another call. */
static PyObject *
go_on(PyThreadState *tstate, PyObject *op, PyObject *state, PyObject *result,
      _PyStackless_SoftRequest *request)
{
    soft_continuation *k = (soft_continuation *)op;
    if (result == NULL && !(k->flags & PyStackless_CATCHES)) {
        return NULL;
    }
    PyStackless_Caller caller = { .request = request };
    PyObject *value = k->function(&caller, state, result);
    int unwinds = _PyStackless_IsUnwinding(tstate);
    if (unwinds) {
        tstate->current_exception = NULL;
    }
    if (request->continuation != NULL) {
        if (unwinds && value == NULL) {
            return NULL;
        }
        drop(request);
        if (value != NULL || unwinds || !PyErr_Occurred()) {
            Py_XDECREF(value);
            PyErr_Clear();
            PyErr_Format(PyExc_SystemError,
                         "%R has asked for a soft call, and not returned its result", op);
        }
        return NULL;
    }
    if (value != NULL && PyErr_Occurred()) {
        Py_DECREF(value);
        PyErr_Clear();
        PyErr_Format(PyExc_SystemError, "%R returned a result with an exception set", op);
        return NULL;
    }
    if (value == NULL && !PyErr_Occurred()) {
        PyErr_Format(PyExc_SystemError, "%R returned NULL without an exception", op);
    }
    return value;
}

/* --- in C ------------------------------------------------------------------------------ */

PyObject *
_PyStackless_MakeSoftCall(PyThreadState *tstate, const stackless_call *call,
                          PyObject *continuation, PyObject *state)
{
    PyObject *result = PyObject_Vectorcall(call->callable, call->args, call->nargs,
                                           call->kwnames);
    Py_INCREF(continuation);
    Py_INCREF(state);
    for (;;) {
        _PyStackless_SoftRequest request = {0};
        PyObject *value = go_on(tstate, continuation, state, result, &request);
        PyObject *exc = PyErr_GetRaisedException();
        Py_XDECREF(result);
        Py_DECREF(continuation);
        Py_DECREF(state);
        PyErr_SetRaisedException(exc);
        if (request.continuation == NULL) {
            return value;
        }
        continuation = request.continuation;
        state = request.state;
        result = PyObject_Vectorcall(request.call.callable, request.call.args,
                                     request.call.nargs, request.call.kwnames);
        drop_call(&request);
    }
}

/* --- softly ---------------------------------------------------------------------------- */

static int
is_ours(const stackless_modstate *mod, PyTypeObject *type)
{
    return PyType_IsSubtype(type, mod->channel_type) || PyType_IsSubtype(type, mod->tasklet_type);
}

/* A function or method that switches tasklets?  Called from here it would do so hard. */
static int
may_switch(_PyStackless_Scheduler *sched, PyObject *callable)
{
    if (PyCFunction_CheckExact(callable)) {
        PyObject *self = PyCFunction_GET_SELF(callable);
        return self != NULL && (self == sched->module || is_ours(sched->mod, Py_TYPE(self)));
    }
    return Py_IS_TYPE(callable, &PyMethodDescr_Type)
           && is_ours(sched->mod, PyDescr_TYPE(callable));
}

/* One of these is called by an instruction of a frame that nobody sees. */
static step_outcome
call(PyThreadState *tstate, const stackless_call *call, PyObject **value)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (call->kwnames != NULL || !may_switch(sched, call->callable)) {
        return _PyStackless_CallAny(tstate, call, value);
    }
    PyObject *args = _PyTuple_FromArray(call->args, call->nargs);
    if (args == NULL) {
        return STEP_FAILED;
    }
    PyObject *both[] = { call->callable, args };
    step_outcome outcome = _PyStackless_PushFunction(tstate, sched->mod->trampoline, NULL, both,
                                                     2, NULL);
    PyObject *exc = PyErr_GetRaisedException();
    Py_DECREF(args);
    PyErr_SetRaisedException(exc);
    return outcome;
}

/* State: the continuation; its state. */
step_outcome
_PyStackless_SoftStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                      PyObject **value)
{
    for (;;) {
        _PyStackless_SoftRequest request = {0};
        PyObject *result = event == AT_RAISE ? NULL : *value;
        *value = go_on(tstate, c->localsplus[STATE_A], c->localsplus[STATE_B], result, &request);
        PyObject *exc = PyErr_GetRaisedException();
        Py_XDECREF(result);
        if (request.continuation == NULL) {
            PyErr_SetRaisedException(exc);
            return *value != NULL ? STEP_DONE : STEP_FAILED;
        }
        assert(exc == NULL);
        Py_SETREF(c->localsplus[STATE_A], request.continuation);
        Py_SETREF(c->localsplus[STATE_B], request.state);
        step_outcome outcome = call(tstate, &request.call, value);
        drop_call(&request);
        if (outcome == STEP_PUSHED || tstate->current_frame != c) {
            return outcome;
        }
        event = outcome == STEP_FAILED ? AT_RAISE : AT_RETURN;
    }
}

void
_PyStackless_BeginSoftCall(PyThreadState *tstate, PyObject *target, PyObject *packed,
                           PyObject *callable, PyObject *arg)
{
    PyObject *value = NULL;
    step_outcome outcome = STEP_FAILED;
    if ((callable == NULL
         || _PyStackless_PushState(tstate, CONTINUE_C_RETURN, callable, arg, NULL,
                                   continuation_make_number(0)) != NULL)
        && _PyStackless_PushContinuation(tstate, CONTINUE_SOFT, PyTuple_GET_ITEM(target, 0),
                                         PyTuple_GET_ITEM(target, 1), NULL, 0) != NULL) {
        stackless_call first = unpack(packed);
        outcome = call(tstate, &first, &value);
    }
    (void)_PyStackless_Deliver(tstate, outcome, value, NULL, 0);
    PyObject *exc = PyErr_GetRaisedException();
    Py_DECREF(target);
    Py_DECREF(packed);
    PyErr_SetRaisedException(exc);
}
