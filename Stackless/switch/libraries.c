/* What the C code that a program has loaded means for hard switches.

   - A C++ runtime keeps a list of exceptions per thread (cstack/cstack.h).
   - A library may keep pointers into its C stack, in a variable of the thread or of the
     process, while Python code that it calls runs: SciPy's callbacks do, and what binds C++
     and Rust to Python.  Whether it gets away with that when others have run meanwhile
     depends on where on the stack they are, so then all begin at the same address
     (sched->same_place).  The standard library does no such thing: as long as there is
     nothing else, who is left may stay in place, and the next one begins below it.  That
     saves copying.

   Both come with a module, nearly always, so nobody looks while sys.modules does not grow.
   (Rejected: looking whose functions are on the stack, at each switch.  It takes as long as
   copying it.) */

#include "Python.h"
#include "pycore_moduleobject.h"  // PyModuleObject
#include "Stackless/switch/switch.h"

/* Does `name` (up to the first dot) stand in sys.stdlib_module_names?  Without memory: no. */
static int
is_standard(const char *name)
{
    PyObject *names = PySys_GetObject("stdlib_module_names");
    PyObject *top = PyUnicode_FromStringAndSize(name, (Py_ssize_t)strcspn(name, "."));
    int found = names != NULL && PyFrozenSet_CheckExact(names) && top != NULL
                && PySet_Contains(names, top) == 1;
    Py_XDECREF(top);
    return found;
}

/* Is a module of C code, which sys.modules has under this name, from elsewhere than the
   standard library?  (What ctypes calls may be anything; what is for tests is harmless.) */
static int
is_from_elsewhere(PyObject *name, PyModuleDef *def)
{
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    return text == NULL || strcmp(text, "_ctypes") == 0
           || (!is_standard(text) && strcmp(def->m_name, "_greenlet") != 0
               && strncmp(text, "_test", strlen("_test")) != 0);
}

static int
has_code_from_elsewhere(PyObject *modules)
{
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *name, *module;
    Py_ssize_t pos = 0;
    int found = 0;
    while (!found && PyDict_Next(modules, &pos, &name, &module)) {
        PyModuleDef *def = PyModule_Check(module) ? ((PyModuleObject *)module)->md_def : NULL;
        found = def != NULL && is_from_elsewhere(name, def);
    }
    PyErr_SetRaisedException(exc);     // instead of one for want of memory
    return found;
}

void
_PyStackless_LookForLibraries(_PyStackless_Scheduler *sched, PyObject *modules)
{
    if (modules != NULL && PyDict_GET_SIZE(modules) != sched->nmodules) {
        sched->nmodules = PyDict_GET_SIZE(modules);
        if (!sched->same_place) {
            sched->same_place = has_code_from_elsewhere(modules);
        }
    }
    _PyStackless_FindCxxRuntime();
}
