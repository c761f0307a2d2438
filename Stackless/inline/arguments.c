/* Arguments of calls of Python functions: from where a call has them to the locals of the
   function's frame, without a tuple of names, an array or a dict in between, and without the
   data stack, from which a switch would have to move the frame.

   What is not obviously right is left to upstream, which knows what to say about it: nothing
   here raises, or runs any code. */

#include "Python.h"
#include "pycore_code.h"          // PyCodeObject
#include "pycore_dict.h"          // DK_UNICODE_ENTRIES()
#include "pycore_function.h"
#include "pycore_tuple.h"         // _PyTuple_FromArray()
#include "Stackless/inline/inline.h"

/* Which parameter may be given as the keyword `name`, or -1. */
static inline int
parameter_index(PyCodeObject *code, int nparams, PyObject *name)
{
    PyObject **names = &PyTuple_GET_ITEM(code->co_localsplusnames, 0);
    for (int i = code->co_posonlyargcount; i < nparams; i++) {
        if (names[i] == name) {
            return i;
        }
    }
    return -1;
}

/* A keyword argument.  0: it is none of the parameters (which are interned, too).  1: it is
   bound.  -1: who knows. */
static inline int
bind_keyword(PyCodeObject *code, int nparams, PyObject **locals, PyObject *name,
             PyObject *value)
{
    int i = parameter_index(code, nparams, name);
    if (i < 0) {
        return (code->co_flags & CO_VARKEYWORDS) && PyUnicode_CheckExact(name)
               && PyUnicode_CHECK_INTERNED(name) ? 0 : -1;
    }
    if (locals[i] != NULL) {
        return -1;
    }
    locals[i] = value;
    return 1;
}

/* Returns the number of keywords that are no parameters, or -1. */
static Py_ssize_t
bind_keywords(PyCodeObject *code, int nparams, PyObject **locals,
              const stackless_arguments *a)
{
    Py_ssize_t others = 0;
    if (a->kwnames != NULL) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(a->kwnames); i++) {
            int bound = bind_keyword(code, nparams, locals, PyTuple_GET_ITEM(a->kwnames, i),
                                     a->args[a->nargs + i]);
            if (bound < 0) {
                return -1;
            }
            others += !bound;
        }
    }
    if (a->kwargs != NULL) {
        PyDictKeysObject *keys = ((PyDictObject *)a->kwargs)->ma_keys;
        if (!DK_IS_UNICODE(keys) || ((PyDictObject *)a->kwargs)->ma_values != NULL) {
            return PyDict_GET_SIZE(a->kwargs) > 0 ? -1 : 0;
        }
        PyDictUnicodeEntry *entry = DK_UNICODE_ENTRIES(keys);
        for (Py_ssize_t n = keys->dk_nentries; n > 0; n--, entry++) {
            if (entry->me_value == NULL) {
                continue;
            }
            int bound = bind_keyword(code, nparams, locals, entry->me_key, entry->me_value);
            if (bound < 0) {
                return -1;
            }
            others += !bound;
        }
    }
    return others;
}

/* Those that were not given, the first `n` of which were.  -1: one has no default. */
static int
bind_defaults(PyFunctionObject *func, PyCodeObject *code, PyObject **locals, int n)
{
    PyObject *defaults = func->func_defaults;
    int required = code->co_argcount
                   - (defaults != NULL ? (int)PyTuple_GET_SIZE(defaults) : 0);
    for (int i = n; i < code->co_argcount; i++) {
        if (locals[i] == NULL) {
            if (i < required) {
                return -1;
            }
            locals[i] = PyTuple_GET_ITEM(defaults, i - required);
        }
    }
    PyObject *kwdefaults = func->func_kwdefaults;
    for (int i = code->co_argcount; i < code->co_argcount + code->co_kwonlyargcount; i++) {
        if (locals[i] == NULL) {
            /* (Where all keys are exact strings, looking one up calls nothing.) */
            if (kwdefaults == NULL || !DK_IS_UNICODE(((PyDictObject *)kwdefaults)->ma_keys)) {
                return -1;
            }
            locals[i] = PyDict_GetItemWithError(
                kwdefaults, PyTuple_GET_ITEM(code->co_localsplusnames, i));
            if (locals[i] == NULL) {
                return -1;
            }
        }
    }
    return 0;
}

/* What __exit__(self, *exc) gets where a `with` ends without an exception. */
static struct {
    PyGC_Head gc;                 // the type says that instances have one
    PyObject_VAR_HEAD
    PyObject *items[3];
} no_exception = {
    .ob_base = PyVarObject_HEAD_INIT(&PyTuple_Type, 3)
    .items = { Py_None, Py_None, Py_None },
};

/* The tuple of a function's *args: the last `n` arguments.  New reference, or NULL. */
static PyObject *
other_arguments(const stackless_arguments *a, Py_ssize_t n)
{
    PyObject *const *first = a->args + (a->nargs - n);
    if (n == 3 && first[0] == Py_None && first[1] == Py_None && first[2] == Py_None) {
        return (PyObject *)&no_exception.ob_base;      // immortal
    }
    if (a->tuple != NULL && n == PyTuple_GET_SIZE(a->tuple)) {
        return Py_NewRef(a->tuple);
    }
    return _PyTuple_FromArray(first, n);
}

/* The dict of its **kwargs, of so many keywords.  Likewise. */
static PyObject *
other_keywords(PyCodeObject *code, int nparams, const stackless_arguments *a, Py_ssize_t n)
{
    if (a->kwargs != NULL && n == PyDict_GET_SIZE(a->kwargs) && Py_REFCNT(a->kwargs) == 1) {
        return Py_NewRef(a->kwargs);   // made for this call
    }
    PyObject *dict = PyDict_New();
    Py_ssize_t nkw = a->kwnames != NULL && n > 0 ? PyTuple_GET_SIZE(a->kwnames) : 0;
    for (Py_ssize_t i = 0; dict != NULL && i < nkw; i++) {
        PyObject *name = PyTuple_GET_ITEM(a->kwnames, i);
        if (parameter_index(code, nparams, name) < 0
            && PyDict_SetItem(dict, name, a->args[a->nargs + i]) < 0) {
            Py_CLEAR(dict);
        }
    }
    PyObject *name, *value;
    Py_ssize_t pos = 0;
    while (dict != NULL && n > 0 && a->kwargs != NULL
           && PyDict_Next(a->kwargs, &pos, &name, &value)) {
        if (parameter_index(code, nparams, name) < 0
            && PyDict_SetItem(dict, name, value) < 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

int
_PyStackless_BindArguments(PyFunctionObject *func, PyObject **locals,
                           const stackless_arguments *a)
{
    PyCodeObject *code = (PyCodeObject *)func->func_code;
    int nparams = code->co_argcount + code->co_kwonlyargcount;
    Py_ssize_t given = a->nargs + (a->self != NULL);
    Py_ssize_t more = given - code->co_argcount;
    if (more > 0 && !(code->co_flags & CO_VARARGS)) {
        return 0;
    }
    if (more > a->nargs) {
        return 0;                      // self is one of *args
    }
    int n = more > 0 ? code->co_argcount : (int)given;
    int k = 0;
    if (a->self != NULL) {
        locals[k++] = a->self;
    }
    for (PyObject *const *arg = a->args; k < n; k++) {
        locals[k] = *arg++;
    }
    for (; k < code->co_nlocalsplus; k++) {
        locals[k] = NULL;
    }
    Py_ssize_t others = a->kwnames != NULL || a->kwargs != NULL
                        ? bind_keywords(code, nparams, locals, a) : 0;
    if (others < 0 || (n < nparams && bind_defaults(func, code, locals, n) < 0)) {
        return 0;
    }
    PyObject *tuple = NULL, *dict = NULL;
    if (code->co_flags & CO_VARARGS) {
        tuple = other_arguments(a, more > 0 ? more : 0);
    }
    if (code->co_flags & CO_VARKEYWORDS) {
        dict = other_keywords(code, nparams, a, others);
    }
    if ((tuple == NULL && (code->co_flags & CO_VARARGS))
        || (dict == NULL && (code->co_flags & CO_VARKEYWORDS))) {
        PyErr_Clear();                 // no memory: upstream says so, if it needs any
        Py_XDECREF(tuple);
        Py_XDECREF(dict);
        return 0;
    }
    for (k = 0; k < nparams; k++) {
        Py_INCREF(locals[k]);
    }
    if (tuple != NULL) {
        locals[k++] = tuple;
    }
    if (dict != NULL) {
        locals[k] = dict;
    }
    return 1;
}
