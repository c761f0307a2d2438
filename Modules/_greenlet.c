/* The builtin module _greenlet: what the package `greenlet` is made of.  Under the name
   greenlet._greenlet, too.

   greenlet.greenlet is a static type, because extension modules know its layout, and the
   capsule with the C functions is one for the process.  So interpreters with a GIL of
   their own cannot have it. */

#include "Python.h"
#include <time.h>                 // CLOCKS_PER_SEC
#include "Stackless/greenlet/greenlet.h"
#include "pycore_pystate.h"       // _PyThreadState_GET()

/* --- the functions of the module ------------------------------------------------- */

static _PyStackless_Scheduler *
get_scheduler(void)
{
    return _PyGreenlet_GetScheduler(_PyThreadState_GET());
}

static PyObject *
get_current(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return (PyObject *)_PyGreenlet_GetCurrent();
}

static PyObject *
set_trace(PyObject *Py_UNUSED(module), PyObject *callback)
{
    _PyStackless_Scheduler *sched = get_scheduler();
    if (sched == NULL) {
        return NULL;
    }
    PyObject *old = _PyGreenlet_SetTrace(sched, callback == Py_None ? NULL : callback);
    return old ? old : Py_None;
}

static PyObject *
get_trace(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    _PyStackless_Scheduler *sched = get_scheduler();
    if (sched == NULL) {
        return NULL;
    }
    return Py_NewRef(sched->greenlet_trace ? sched->greenlet_trace : Py_None);
}

static PyObject *
zero(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(0);
}

static PyObject *
count_main(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSsize_t(_PyGreenlet_CountMain());
}

static PyObject *
set_thread_local(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *key, *value;
    if (!PyArg_UnpackTuple(args, "set_thread_local", 2, 2, &key, &value)) {
        return NULL;
    }
    PyObject *dict = PyThreadState_GetDict();
    if (dict == NULL) {
        return PyErr_NoMemory();
    }
    if (PyDict_SetItem(dict, key, value) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Here a thread's end takes no search for references, so there is nothing to enable. */
static int optional_cleanup = 1;

static PyObject *
enable_optional_cleanup(PyObject *Py_UNUSED(module), PyObject *flag)
{
    int on = PyObject_IsTrue(flag);
    if (on < 0) {
        return NULL;
    }
    optional_cleanup = on;
    Py_RETURN_NONE;
}

static PyObject *
get_clocks(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return optional_cleanup ? PyLong_FromLong(0) : Py_None;
}

static PyMethodDef module_methods[] = {
    {"getcurrent", get_current, METH_NOARGS,
     PyDoc_STR("getcurrent() -> greenlet\n\n"
               "The calling greenlet.  RuntimeError while the interpreter is finalized.")},
    {"settrace", set_trace, METH_O,
     PyDoc_STR("settrace(callback) -> object\n\n"
               "Have callback(event, (origin, target)) called after each switch of greenlets\n"
               "in this thread; event is 'switch' or 'throw'.  None removes it.  Returns the\n"
               "previous one.")},
    {"gettrace", get_trace, METH_NOARGS,
     PyDoc_STR("gettrace() -> object\n\nWhat settrace() has set, or None.")},
    {"get_pending_cleanup_count", zero, METH_NOARGS,
     PyDoc_STR("get_pending_cleanup_count() -> int\n\n"
               "How many ended threads are still to be cleaned up: 0, that is done at once.")},
    {"get_total_main_greenlets", count_main, METH_NOARGS,
     PyDoc_STR("get_total_main_greenlets() -> int\n\nHow many main greenlets there are.")},
    {"set_thread_local", set_thread_local, METH_VARARGS,
     PyDoc_STR("set_thread_local(key, value) -> None\n\n"
               "Set an item of the dict of the thread state.")},
    {"enable_optional_cleanup", enable_optional_cleanup, METH_O,
     PyDoc_STR("enable_optional_cleanup(bool) -> None\n\n"
               "Has no effect but on get_clocks_used_doing_optional_cleanup().")},
    {"get_clocks_used_doing_optional_cleanup", get_clocks, METH_NOARGS,
     PyDoc_STR("get_clocks_used_doing_optional_cleanup() -> int | None\n\n"
               "0, or None after enable_optional_cleanup(False).")},
    {NULL}
};

/* --- the C API -------------------------------------------------------------------- */

static int
check(PyGreenlet *g)
{
    if (g == NULL || !_PyGreenlet_Check((PyObject *)g)) {
        PyErr_BadArgument();
        return -1;
    }
    return 0;
}

static PyGreenlet *
capi_new(PyObject *run, PyGreenlet *parent)
{
    PyObject *g = PyObject_CallNoArgs((PyObject *)&PyGreenlet_Type);
    if (g != NULL && run != NULL && PyObject_SetAttrString(g, "run", run) < 0) {
        Py_CLEAR(g);
    }
    if (g != NULL && parent != NULL
        && _PyGreenlet_SetParent((PyGreenlet *)g, (PyObject *)parent) < 0) {
        Py_CLEAR(g);
    }
    return (PyGreenlet *)g;
}

static PyObject *
capi_throw(PyGreenlet *g, PyObject *typ, PyObject *val, PyObject *tb)
{
    if (check(g) < 0) {
        return NULL;
    }
    return _PyGreenlet_Throw(g, typ ? typ : _PyGreenlet_Exit, val, tb);
}

static PyObject *
capi_switch(PyGreenlet *g, PyObject *args, PyObject *kwargs)
{
    if (check(g) < 0) {
        return NULL;
    }
    if (args != NULL && !PyTuple_Check(args)) {
        PyErr_Format(PyExc_TypeError, "PyGreenlet_Switch(): args must be a tuple or NULL, "
                     "not %.200s", Py_TYPE(args)->tp_name);
        return NULL;
    }
    return _PyGreenlet_Switch(g, args, kwargs);
}

static int
capi_set_parent(PyGreenlet *g, PyGreenlet *parent)
{
    return check(g) < 0 ? -1 : _PyGreenlet_SetParent(g, (PyObject *)parent);
}

static int
capi_is_main(PyGreenlet *g)
{
    return check(g) < 0 ? -1 : greenlet_is_main(g);
}

static int
capi_is_started(PyGreenlet *g)
{
    return check(g) < 0 ? -1 : !greenlet_is_pending(g);
}

static int
capi_is_active(PyGreenlet *g)
{
    return check(g) < 0 ? -1 : greenlet_is_active(g);
}

static PyGreenlet *
capi_get_parent(PyGreenlet *g)
{
    return check(g) < 0 ? NULL : (PyGreenlet *)Py_XNewRef(_PyGreenlet_GetParent(g));
}

/* In the order of greenlet/greenlet.h; the exceptions are filled in by module_exec(). */
enum { SLOT_ERROR = 1, SLOT_EXIT = 2 };

static void *c_api[] = {
    &PyGreenlet_Type,
    NULL,
    NULL,
    capi_new,
    _PyGreenlet_GetCurrent,
    capi_throw,
    capi_switch,
    capi_set_parent,
    capi_is_main,
    capi_is_started,
    capi_is_active,
    capi_get_parent,
};

/* --- the module --------------------------------------------------------------------- */

/* Makes the exception when the first interpreter imports the module. */
static int
init_exception(PyObject **slot, const char *name, const char *doc, PyObject *base)
{
    if (*slot == NULL) {
        *slot = PyErr_NewExceptionWithDoc(name, doc, base, NULL);
    }
    return *slot == NULL ? -1 : 0;
}

/* What the module and the class both have. */
static int
add_shared(PyObject *module, const char *name, PyObject *value)
{
    PyObject *type_dict = PyGreenlet_Type.tp_dict;
    return value == NULL || PyModule_AddObjectRef(module, name, value) < 0
           || PyDict_SetItemString(type_dict, name, value) < 0 ? -1 : 0;
}

static int
add_shared_function(PyObject *module, const char *name)
{
    PyObject *func = PyObject_GetAttrString(module, name);
    int err = add_shared(module, name, func);
    Py_XDECREF(func);
    return err;
}

static int
add_capsule(PyObject *module)
{
    c_api[SLOT_ERROR] = _PyGreenlet_Error;
    c_api[SLOT_EXIT] = _PyGreenlet_Exit;
    PyObject *capsule = PyCapsule_New(c_api, "greenlet._C_API", NULL);
    int err = PyModule_AddObjectRef(module, "_C_API", capsule);
    Py_XDECREF(capsule);
    return err;
}

static int
module_exec(PyObject *module)
{
    if (PyType_Ready(&PyGreenlet_Type) < 0 || _PyGreenlet_GetStackless() == NULL
        || init_exception(&_PyGreenlet_Error, "greenlet.error",
                          "A greenlet cannot be switched to.", NULL) < 0
        || init_exception(&_PyGreenlet_Exit, "greenlet.GreenletExit",
                          "Ends a greenlet; not an error in its parent.",
                          PyExc_BaseException) < 0) {
        return -1;
    }
    if (add_shared_function(module, "getcurrent") < 0
        || add_shared_function(module, "settrace") < 0
        || add_shared_function(module, "gettrace") < 0
        || add_shared(module, "error", _PyGreenlet_Error) < 0
        || add_shared(module, "GreenletExit", _PyGreenlet_Exit) < 0) {
        return -1;
    }
    PyType_Modified(&PyGreenlet_Type);
    if (PyModule_AddObjectRef(module, "greenlet", (PyObject *)&PyGreenlet_Type) < 0
        || PyModule_AddIntConstant(module, "GREENLET_USE_GC", 1) < 0
        || PyModule_AddIntConstant(module, "GREENLET_USE_TRACING", 1) < 0
        || PyModule_AddIntConstant(module, "GREENLET_USE_CONTEXT_VARS", 1) < 0
        || PyModule_AddIntConstant(module, "GREENLET_USE_STANDARD_THREADING", 1) < 0
        || PyModule_AddIntConstant(module, "CLOCKS_PER_SEC", CLOCKS_PER_SEC) < 0) {
        return -1;
    }
    return add_capsule(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_SUPPORTED},
    {Py_mod_gil, Py_MOD_GIL_USED},
    {0, NULL}
};

PyDoc_STRVAR(module_doc,
"Greenlets: coroutines that are switched by hand.  Programs import the package `greenlet`.");

static struct PyModuleDef greenlet_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_greenlet",
    .m_doc = module_doc,
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__greenlet(void)
{
    return PyModuleDef_Init(&greenlet_module);
}
