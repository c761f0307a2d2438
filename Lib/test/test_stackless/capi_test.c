/* Every function of stackless.h as a function of a module, for test_capi.py, which compiles this
   as C and as C++.  An argument that is `...` stands for NULL. */

#include <Python.h>
#include <stackless.h>

enum { MOST = 5 };

/* The arguments, at most `n`; those that are not given are NULL. */
static int
unpack(PyObject *args, PyObject **out, int n)
{
    int i;
    if (PyTuple_GET_SIZE(args) > n) {
        PyErr_Format(PyExc_SystemError, "%d arguments at most", n);
        return -1;
    }
    for (i = 0; i < n; i++) {
        out[i] = i < PyTuple_GET_SIZE(args) ? PyTuple_GET_ITEM(args, i) : NULL;
        if (out[i] == Py_Ellipsis) {
            out[i] = NULL;
        }
    }
    return 0;
}

static PyObject *
from_int(int value)
{
    if (PyErr_Occurred()) {
        if (value != -1) {
            PyErr_Format(PyExc_SystemError, "%d with an exception", value);
        }
        return NULL;
    }
    return PyLong_FromLong(value);
}

/* NULL without an exception is `...`. */
static PyObject *
from_object(void *op)
{
    if (op == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_Ellipsis);
    }
    if (PyErr_Occurred()) {
        PyErr_SetString(PyExc_SystemError, "an object with an exception");
        return NULL;
    }
    return (PyObject *)op;
}

static int
as_int(PyObject *op)
{
    return op == NULL ? 0 : (int)PyLong_AsLong(op);
}

#define TASKLET ((PyTaskletObject *)o[0])
#define CHANNEL ((PyChannelObject *)o[0])

#define FUNCTION(NAME, RESULT, CALL)                                        \
    static PyObject *                                                       \
    test_##NAME(PyObject *self, PyObject *args)                             \
    {                                                                       \
        PyObject *o[MOST];                                                  \
        (void)self;                                                         \
        return unpack(args, o, MOST) < 0 ? NULL : RESULT(NAME CALL);        \
    }
#include "capi_test.h"
#undef FUNCTION

/* --- what is no plain function ------------------------------------------------------------ */

static PyObject *
objects(PyObject *self, PyObject *args)
{
    PyTypeObject *t = &PyTasklet_Type;
    PyTypeObject *c = &PyChannel_Type;
    (void)self;
    (void)args;
    return t == NULL || c == NULL ? NULL : Py_BuildValue("OOO", t, c, PyExc_TaskletExit);
}

static PyObject *
checks(PyObject *self, PyObject *args)
{
    PyObject *o[1];
    (void)self;
    if (unpack(args, o, 1) < 0) {
        return NULL;
    }
    return Py_BuildValue("iiii", PyTasklet_Check(o[0]), PyTasklet_CheckExact(o[0]),
                         PyChannel_Check(o[0]), PyChannel_CheckExact(o[0]));
}

static PyObject *
import(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return from_int(PyStackless_Import());
}

/* Each function is called with an exception set: nothing but that one must come of it. */
static PyObject *
with_exception(PyObject *self, PyObject *args)
{
    PyObject *o[MOST], *func, *result;
    (void)self;
    if (unpack(args, o, MOST) < 0 || PyStackless_Import() < 0) {
        return NULL;
    }
    func = o[0];
    PyErr_SetString(PyExc_KeyError, "was set before");
    result = PyCFunction_GET_FUNCTION(func)(self, o[1]);
    if (result != NULL) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_SystemError, "it was not noticed");
    }
    return NULL;
}

static PyObject *
call_method_main(PyObject *self, PyObject *args)
{
    PyObject *o[2];
    (void)self;
    if (unpack(args, o, 2) < 0) {
        return NULL;
    }
    return from_object(PyStackless_CallMethod_Main(o[0], o[1] ? PyUnicode_AsUTF8(o[1]) : NULL,
                                                   "ii", 1, 2));
}

static PyObject *
call_c_method_main(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return from_object(PyStackless_CallCMethod_Main(NULL, NULL, NULL));
}

static PyObject *
run_for(PyObject *self, PyObject *args)
{
    PyStackless_RunResult result;
    long long ns;
    int err;
    (void)self;
    if (!PyArg_ParseTuple(args, "L", &ns)) {
        return NULL;
    }
    err = PyStackless_RunFor(ns, &result);
    if (err < 0) {
        Py_XDECREF(result.interrupted);
        return from_int(err);
    }
    return Py_BuildValue("LLlN", result.elapsed, result.overshoot, result.runnable,
                         result.interrupted ? result.interrupted : Py_NewRef(Py_None));
}

/* --- a hook in C ---------------------------------------------------------------------------- */

static PyObject *hook_log = NULL;
static int hook_mode = 0;

static int
hook(PyTaskletObject *prev, PyTaskletObject *next)
{
    PyObject *pair = Py_BuildValue("OO", prev ? (PyObject *)prev : Py_None, (PyObject *)next);
    if (pair == NULL || PyList_Append(hook_log, pair) < 0) {
        Py_XDECREF(pair);
        return -1;
    }
    Py_DECREF(pair);
    switch (hook_mode) {
    case 1:
        PyErr_SetString(PyExc_ValueError, "by the hook");
        return -1;
    case 2:
        return PyTasklet_Run(next);
    case 3:
        return PyStackless_SetScheduleFastcallback(NULL);
    case 4:
        return -1;
    default:
        return 0;
    }
}

/* set_hook(list, mode); no list: removes it. */
static PyObject *
set_hook(PyObject *self, PyObject *args)
{
    PyObject *o[2];
    (void)self;
    if (unpack(args, o, 2) < 0) {
        return NULL;
    }
    if (PyStackless_SetScheduleFastcallback(o[0] != NULL ? hook : NULL) < 0) {
        return NULL;
    }
    Py_XINCREF(o[0]);
    Py_XSETREF(hook_log, o[0]);
    hook_mode = as_int(o[1]);
    Py_RETURN_NONE;
}

/* --- without the GIL ------------------------------------------------------------------------ */

static PyObject *
id_without_gil(PyObject *self, PyObject *args)
{
    unsigned long id;
    (void)self;
    (void)args;
    if (PyStackless_Import() < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    id = PyStackless_GetCurrentId();
    Py_END_ALLOW_THREADS
    return PyLong_FromUnsignedLong(id);
}

static PyObject *
run_without_gil(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    if (PyStackless_Import() < 0) {
        return NULL;
    }
    PyEval_SaveThread();
    Py_XDECREF(PyStackless_RunWatchdog(0));
    return NULL;
}

/* --- a loop, as a program writes it --------------------------------------------------------- */

/* Sends what it receives from one channel to another one, so often. */
static PyObject *
forward(PyObject *self, PyObject *args)
{
    PyObject *from, *to;
    long n;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOl", &from, &to, &n)) {
        return NULL;
    }
    while (n-- > 0) {
        PyObject *value = PyChannel_Receive((PyChannelObject *)from);
        int err = value == NULL ? -1 : PyChannel_Send((PyChannelObject *)to, value);
        Py_XDECREF(value);
        if (err < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

/* The sources of old extension modules compile; what they then do is complete. */
static PyObject *
old_macros(PyObject *self, PyObject *args)
{
    STACKLESS_GETARG();
    PyObject *result;
    (void)self;
    (void)args;
    STACKLESS_PROMOTE_ALL();
    result = PyStackless_Schedule_nr(Py_None, 0);
    STACKLESS_ASSERT();
    if (STACKLESS_UNWINDING(result)) {
        return (PyObject *)Py_UnwindToken;
    }
    return result;
}

/* --- soft calls ----------------------------------------------------------------------------- */

static PyObject *pair_step, *map_step, *catch_step, *wrong_step, *received_step, *sent_step;

typedef PyObject *fast_function(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);

static PyObject *
pair(PyStackless_Caller *caller, PyObject *state, PyObject *result)
{
    (void)caller;
    return PyTuple_Pack(2, result, state);
}

/* soft_call(func, *args, **kwargs): (func(*args, **kwargs), "state") */
static PyObject *
soft_call(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyStackless_Caller caller = {(void *)(fast_function *)soft_call, self, args, nargs, kwnames,
                                 NULL};
    PyObject *state, *result;
    if (nargs < 1) {
        return PyStackless_SoftCall(&caller, NULL, NULL, 0, NULL, pair_step, NULL);
    }
    state = PyUnicode_FromString("state");
    if (state == NULL) {
        return NULL;
    }
    result = PyStackless_SoftCall(&caller, args[0], args + 1, nargs - 1, kwnames, pair_step,
                                  state);
    Py_DECREF(state);
    return result;
}

/* The state: function, list of items, list of results. */
static PyObject *
map_next(PyStackless_Caller *caller, PyObject *state)
{
    PyObject *items = PyTuple_GET_ITEM(state, 1), *results = PyTuple_GET_ITEM(state, 2);
    PyObject *item;
    Py_ssize_t n = PyList_GET_SIZE(results);
    if (n >= PyList_GET_SIZE(items)) {
        return Py_NewRef(results);
    }
    item = PyList_GET_ITEM(items, n);
    return PyStackless_SoftCall(caller, PyTuple_GET_ITEM(state, 0), &item, 1, NULL, map_step,
                                state);
}

static PyObject *
map_continue(PyStackless_Caller *caller, PyObject *state, PyObject *result)
{
    return PyList_Append(PyTuple_GET_ITEM(state, 2), result) < 0 ? NULL
           : map_next(caller, state);
}

/* soft_map(func, list): a list */
static PyObject *
soft_map(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyStackless_Caller caller = {(void *)(fast_function *)soft_map, self, args, nargs, kwnames,
                                 NULL};
    PyObject *state, *result;
    if (nargs != 2 || !PyList_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "a function and a list are wanted");
        return NULL;
    }
    state = Py_BuildValue("OO[]", args[0], args[1]);
    if (state == NULL) {
        return NULL;
    }
    result = map_next(&caller, state);
    Py_DECREF(state);
    return result;
}

static PyObject *
caught(PyStackless_Caller *caller, PyObject *state, PyObject *result)
{
    (void)caller;
    (void)state;
    return result != NULL ? Py_NewRef(result) : PyErr_GetRaisedException();
}

/* soft_catch(func): what it returns, or raises */
static PyObject *
soft_catch(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyStackless_Caller caller = {(void *)(fast_function *)soft_catch, self, args, nargs, kwnames,
                                 NULL};
    return PyStackless_SoftCall(&caller, args[0], NULL, 0, NULL, catch_step, NULL);
}

static PyObject *
wrong(PyStackless_Caller *caller, PyObject *state, PyObject *result)
{
    PyObject *next = PyTuple_GET_ITEM(state, 1);
    switch (PyLong_AsLong(PyTuple_GET_ITEM(state, 0))) {
    case 0:
        return Py_NewRef(result);
    case 1:                            /* asks twice */
        PyStackless_SoftCall(caller, next, NULL, 0, NULL, pair_step, state);
        return PyStackless_SoftCall(caller, next, NULL, 0, NULL, pair_step, state);
    case 2:                            /* forgets to return */
        PyStackless_SoftCall(caller, next, NULL, 0, NULL, pair_step, state);
        return Py_NewRef(Py_None);
    case 3:                            /* returns nothing */
        return NULL;
    case 4:                            /* result and exception */
        PyErr_SetString(PyExc_KeyError, "lost");
        return Py_NewRef(Py_None);
    case 5:                            /* asks, then fails */
        PyStackless_SoftCall(caller, next, NULL, 0, NULL, pair_step, state);
        PyErr_SetString(PyExc_KeyError, "after that");
        return NULL;
    case 6:                            /* asks, and throws the answer away */
        PyStackless_SoftCall(caller, next, NULL, 0, NULL, pair_step, state);
        PyErr_Clear();
        return NULL;
    default:                           /* no continuation */
        return PyStackless_SoftCall(caller, next, NULL, 0, NULL, next, state);
    }
}

/* soft_wrong(mode, func) */
static PyObject *
soft_wrong(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyStackless_Caller caller = {(void *)(fast_function *)soft_wrong, self, args, nargs, kwnames,
                                 NULL};
    PyObject *state = PyTuple_Pack(2, args[0], args[1]);
    PyObject *result;
    if (state == NULL) {
        return NULL;
    }
    result = PyStackless_SoftCall(&caller, args[1], NULL, 0, NULL, wrong_step, state);
    Py_DECREF(state);
    return result;
}

/* The state: [from.receive, to.send, how often]. */
static PyObject *
received(PyStackless_Caller *caller, PyObject *state, PyObject *result)
{
    return PyStackless_SoftCall(caller, PyList_GET_ITEM(state, 1), &result, 1, NULL, sent_step,
                                state);
}

static PyObject *
forward_next(PyStackless_Caller *caller, PyObject *state)
{
    long n = PyLong_AsLong(PyList_GET_ITEM(state, 2));
    PyObject *left = PyLong_FromLong(n - 1);
    if (left == NULL || n <= 0) {
        Py_XDECREF(left);
        return left == NULL ? NULL : Py_NewRef(Py_None);
    }
    PyList_SetItem(state, 2, left);
    return PyStackless_SoftCall(caller, PyList_GET_ITEM(state, 0), NULL, 0, NULL, received_step,
                                state);
}

static PyObject *
sent(PyStackless_Caller *caller, PyObject *state, PyObject *result)
{
    (void)result;
    return forward_next(caller, state);
}

/* soft_forward(from.receive, to.send, n) */
static PyObject *
soft_forward(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyStackless_Caller caller = {(void *)(fast_function *)soft_forward, self, args, nargs,
                                 kwnames, NULL};
    PyObject *state = Py_BuildValue("[OOO]", args[0], args[1], args[2]);
    PyObject *result = state != NULL ? forward_next(&caller, state) : NULL;
    Py_XDECREF(state);
    return result;
}

static PyObject *
new_continuation(PyObject *self, PyObject *args)
{
    PyObject *o[3];
    if (unpack(args, o, 3) < 0) {
        return NULL;
    }
    return PyStackless_NewContinuation(o[0], o[1] ? "made" : NULL, self ? pair : NULL, as_int(o[2]));
}

#define SOFT(NAME) {#NAME, (PyCFunction)(void (*)(void))NAME, METH_FASTCALL | METH_KEYWORDS, NULL}

static PyMethodDef soft_methods[] = {
    SOFT(soft_call), {NULL, NULL, 0, NULL}
};

static PyType_Slot soft_slots[] = {
    {Py_tp_methods, soft_methods}, {0, NULL}
};

static PyType_Spec soft_spec = {
    "capi_test.Soft", 0, 0, Py_TPFLAGS_DEFAULT, soft_slots
};

static int
add_soft(PyObject *m)
{
    if (PyStackless_Import() < 0) {
        PyErr_Clear();
        return 0;
    }
    pair_step = PyStackless_NewContinuation(m, "pair_step", pair, 0);
    map_step = PyStackless_NewContinuation(m, "map_step", map_continue, 0);
    catch_step = PyStackless_NewContinuation(m, "catch_step", caught, PyStackless_CATCHES);
    wrong_step = PyStackless_NewContinuation(m, "wrong_step", wrong, 0);
    received_step = PyStackless_NewContinuation(m, "received_step", received, 0);
    sent_step = PyStackless_NewContinuation(m, "sent_step", sent, 0);
    return pair_step && map_step && catch_step && wrong_step && received_step && sent_step
           ? PyModule_Add(m, "Soft", PyType_FromSpec(&soft_spec)) : -1;
}

static PyMethodDef methods[] = {
    SOFT(soft_call), SOFT(soft_map), SOFT(soft_catch), SOFT(soft_wrong),
    SOFT(soft_forward),
    {"PyStackless_NewContinuation", new_continuation, METH_VARARGS, NULL},
#define FUNCTION(NAME, RESULT, CALL) {#NAME, test_##NAME, METH_VARARGS, NULL},
#include "capi_test.h"
#undef FUNCTION
    {"objects", objects, METH_NOARGS, NULL},
    {"checks", checks, METH_VARARGS, NULL},
    {"PyStackless_Import", import, METH_NOARGS, NULL},
    {"with_exception", with_exception, METH_VARARGS, NULL},
    {"PyStackless_CallMethod_Main", call_method_main, METH_VARARGS, NULL},
    {"PyStackless_CallCMethod_Main", call_c_method_main, METH_NOARGS, NULL},
    {"PyStackless_RunFor", run_for, METH_VARARGS, NULL},
    {"set_hook", set_hook, METH_VARARGS, NULL},
    {"id_without_gil", id_without_gil, METH_NOARGS, NULL},
    {"run_without_gil", run_without_gil, METH_NOARGS, NULL},
    {"forward", forward, METH_VARARGS, NULL},
    {"old_macros", old_macros, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL}
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "capi_test", NULL, -1, methods, NULL, NULL, NULL, NULL
};

PyMODINIT_FUNC
PyInit_capi_test(void)
{
    PyObject *m = PyModule_Create(&module);
    if (m != NULL && add_soft(m) < 0) {
        Py_CLEAR(m);
    }
    return m;
}
