/* Functions for tests that need C code below a tasklet, or a switch called from it.
   Uses the public C API and the functions of module _stackless only, as the extension
   module that it is.

   There is no test_PyEval_EvalFrameEx(), for a frame that C code has made: 3.13 cannot
   evaluate one.  When such a frame returns, upstream's interpreter takes it for that of a
   generator, and writes to memory before it. */

#include "Python.h"

static PyObject *
call_schedule(PyObject *stackless)
{
    return PyObject_CallMethod(stackless, "schedule", NULL);
}

/* With `words` words of stack in use, which must come back as they were. */
static Py_NO_INLINE int
burn_stack(PyObject *stackless, long words, long depth)
{
    enum { FRAME_WORDS = 64 };
    volatile uintptr_t burnt[FRAME_WORDS];
    for (int i = 0; i < FRAME_WORDS; i++) {
        burnt[i] = (uintptr_t)depth + (uintptr_t)i;
    }
    int err = 0;
    if (words > FRAME_WORDS) {
        err = burn_stack(stackless, words - FRAME_WORDS, depth + 1);
    }
    else {
        PyObject *res = call_schedule(stackless);
        err = res == NULL ? -1 : 0;
        Py_XDECREF(res);
    }
    for (int i = 0; i < FRAME_WORDS; i++) {
        if (burnt[i] != (uintptr_t)depth + (uintptr_t)i) {
            Py_FatalError("the C stack of a tasklet has changed while it was suspended");
        }
    }
    return err;
}

PyDoc_STRVAR(test_cframe_doc,
"test_cframe($module, switches, words=0, /)\n--\n\n"
"Call stackless.schedule() from C `switches` times, with so many words of C stack in\n"
"use.  Returns the calling tasklet.");

static PyObject *
test_cframe(PyObject *Py_UNUSED(module), PyObject *args)
{
    enum { MOST_WORDS = 1 << 16 };
    long switches, words = 0;
    if (!PyArg_ParseTuple(args, "l|l:test_cframe", &switches, &words)) {
        return NULL;
    }
    if (words < 0 || words > MOST_WORDS) {
        PyErr_Format(PyExc_ValueError, "words must be in the range from 0 to %d",
                     MOST_WORDS);
        return NULL;
    }
    PyObject *stackless = PyImport_ImportModule("_stackless");
    PyObject *result = NULL;
    int err = stackless == NULL ? -1 : 0;
    while (err == 0 && switches-- > 0) {
        err = burn_stack(stackless, words, 0);
    }
    if (err == 0) {
        result = PyObject_CallMethod(stackless, "getcurrent", NULL);
    }
    Py_XDECREF(stackless);
    return result;
}

PyDoc_STRVAR(test_cstate_doc,
"test_cstate($module, callable, /)\n--\n\n"
"callable(), called from C: a switch in it is hard.");

static PyObject *
test_cstate(PyObject *Py_UNUSED(module), PyObject *callable)
{
    return PyObject_CallNoArgs(callable);
}

/* --- pointers to the C stack, kept by a library ------------------------------------- */

typedef struct by_pointer {
    const char *is;               // what tells it from whatever else may be there
    PyObject *callable;
    struct by_pointer *outer;
} by_pointer;

static const char valid[] = "by_pointer";
static _Thread_local by_pointer *innermost;

static Py_NO_INLINE PyObject *
call_innermost(long i)
{
    if (innermost == NULL || innermost->is != valid) {
        PyErr_SetString(PyExc_SystemError, "the pointer is to somebody else's stack");
        return NULL;
    }
    return PyObject_CallFunction(innermost->callable, "l", i);
}

PyDoc_STRVAR(test_cpointer_doc,
"test_cpointer($module, callable, count, /)\n--\n\n"
"[callable(0), ..., callable(count - 1)], where `callable` is looked up on the C stack by a\n"
"variable of the thread, as SciPy's integrators do.  SystemError if it is not there.");

static PyObject *
test_cpointer(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *callable;
    long count;
    if (!PyArg_ParseTuple(args, "Ol:test_cpointer", &callable, &count)) {
        return NULL;
    }
    PyObject *results = PyList_New(0);
    by_pointer self = { .is = valid, .callable = callable, .outer = innermost };
    innermost = &self;
    int err = results == NULL ? -1 : 0;
    for (long i = 0; err == 0 && i < count; i++) {
        PyObject *result = call_innermost(i);
        err = result == NULL ? -1 : PyList_Append(results, result);
        Py_XDECREF(result);
    }
    innermost = self.outer;
    self.is = NULL;
    if (err < 0) {
        Py_CLEAR(results);
    }
    return results;
}

PyDoc_STRVAR(test_caddress_doc,
"test_caddress($module, /)\n--\n\n"
"Where the C stack is.");

static PyObject *
test_caddress(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromVoidPtr(__builtin_frame_address(0));
}

/* --- a function of several steps ------------------------------------------------- */

enum { DEMO_SCHEDULE = 1, DEMO_REMOVE = 2, DEMO_CALL = 100, DEMO_RETURN = 101, DEMO_STEPS = 2 };

static int
demo_step(PyObject *stackless, long action, PyObject *result)
{
    PyObject *res = action == DEMO_SCHEDULE
                    ? PyObject_CallMethod(stackless, "schedule", "(O)", result)
                    : PyObject_CallMethod(stackless, "schedule_remove", NULL);
    Py_XDECREF(res);
    return res == NULL ? -1 : 0;
}

static PyObject *
demo_call(PyObject *callback)
{
    PyObject *result = PyObject_CallNoArgs(callback);
    if (result == NULL && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyObject *context = PyErr_GetRaisedException();
        PyErr_SetString(PyExc_RuntimeError, "demo_soft_switchable callback failed");
        PyObject *failure = PyErr_GetRaisedException();
        PyException_SetContext(failure, context);      // steals it
        PyErr_SetRaisedException(failure);
    }
    return result;
}

static PyObject *
demo(long action, PyObject *result)
{
    if (action == DEMO_CALL) {
        return demo_call(result);
    }
    if (action == DEMO_RETURN) {
        return Py_NewRef(result);
    }
    if (action < 0 || action > DEMO_RETURN) {
        PyErr_SetString(PyExc_SystemError, "invalid state");
        return NULL;
    }
    PyObject *stackless = PyImport_ImportModule("_stackless");
    if (stackless == NULL) {
        return NULL;
    }
    int steps = 0, err = 0;
    while (err == 0 && steps < DEMO_STEPS) {
        err = action == 0 ? 0 : demo_step(stackless, action, result);
        steps++;
    }
    Py_DECREF(stackless);
    return err < 0 ? NULL : PyLong_FromLong(steps);
}

PyDoc_STRVAR(softswitchablefunc_doc,
"softswitchablefunc($module, action, result=None, /)\n--\n\n"
"A function that may switch in the middle, twice.  `action` is 0: it does not, and returns\n"
"the number of its steps, 2.  1: schedule(result) in each step, 2 to 99: schedule_remove();\n"
"it returns 2.  100: it returns result(), or raises RuntimeError, with the exception as its\n"
"context, if that raises an Exception.  101: it returns result.  Otherwise SystemError.\n"
"Its switches are hard.");

static PyObject *
softswitchablefunc(PyObject *Py_UNUSED(self), PyObject *args)
{
    long action;
    PyObject *result = Py_None;
    if (!PyArg_ParseTuple(args, "l|O:softswitchablefunc", &action, &result)) {
        return NULL;
    }
    return demo(action, result);
}

static PyMethodDef demo_methods[] = {
    {"demo", softswitchablefunc, METH_VARARGS,
     PyDoc_STR("demo($self, action, result=None, /)\n--\n\nThe same as softswitchablefunc().")},
    {NULL}
};

static PyType_Slot demo_slots[] = {
    {Py_tp_doc, PyDoc_STR("With softswitchablefunc() as a method.")},
    {Py_tp_methods, demo_methods},
    {0, NULL}
};

static PyType_Spec demo_spec = {
    .name = "_teststackless.SoftSwitchableDemo",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = demo_slots,
};

static int
teststackless_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &demo_spec, NULL);
    int err = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return err;
}

static PyMethodDef teststackless_methods[] = {
    {"test_cframe", test_cframe, METH_VARARGS, test_cframe_doc},
    {"test_cstate", test_cstate, METH_O, test_cstate_doc},
    {"test_cpointer", test_cpointer, METH_VARARGS, test_cpointer_doc},
    {"test_caddress", test_caddress, METH_NOARGS, test_caddress_doc},
    {"softswitchablefunc", softswitchablefunc, METH_VARARGS, softswitchablefunc_doc},
    {NULL}
};

static PyModuleDef_Slot teststackless_slots[] = {
    {Py_mod_exec, teststackless_exec},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {Py_mod_gil, Py_MOD_GIL_USED},
    {0, NULL}
};

static struct PyModuleDef teststackless_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_teststackless",
    .m_doc = PyDoc_STR("Functions for the tests of stackless."),
    .m_methods = teststackless_methods,
    .m_slots = teststackless_slots,
};

PyMODINIT_FUNC
PyInit__teststackless(void)
{
    return PyModuleDef_Init(&teststackless_module);
}
