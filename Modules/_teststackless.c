/* Functions for tests that need C code below a tasklet, or a switch called from it.
   Uses the public C API and the functions of module _stackless only, as the extension
   module that it is. */

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

static PyMethodDef teststackless_methods[] = {
    {"test_cframe", test_cframe, METH_VARARGS, test_cframe_doc},
    {"test_cstate", test_cstate, METH_O, test_cstate_doc},
    {NULL}
};

static PyModuleDef_Slot teststackless_slots[] = {
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
