/* What greenlets and the scheduler's module have to know of each other. */

#include "Python.h"
#include "Stackless/greenlet/greenlet.h"

/* Imports the scheduler's module, which learns what greenlets are (new reference). */
static PyObject *
import_stackless(void)
{
    PyObject *module = PyImport_ImportModuleLevel("_stackless", NULL, NULL, NULL, 0);
    if (module == NULL) {
        return NULL;
    }
    stackless_modstate *state = _PyStackless_StateOfModule(module);
    if (state == NULL) {
        PyErr_Format(PyExc_ImportError, "_stackless must be the builtin module, not %R", module);
        Py_DECREF(module);
        return NULL;
    }
    if (state->greenlet_tasklet_type == NULL) {
        state->greenlet_tasklet_type = (PyTypeObject *)PyType_FromModuleAndSpec(
            module, &_PyGreenlet_TaskletSpec, (PyObject *)state->tasklet_type);
    }
    state->greenlets = &_PyGreenlet_Hooks;
    if (state->str_run == NULL) {
        state->str_run = PyUnicode_InternFromString("run");
    }
    if (state->greenlet_tasklet_type == NULL || state->str_run == NULL) {
        Py_CLEAR(module);
    }
    return module;
}

/* It is remembered where programs do not come: it is needed whenever a thread first uses
   greenlets, whatever has become of sys.modules and __import__() by then. */
PyObject *
_PyGreenlet_GetStackless(void)
{
    PyObject *names = PyInterpreterState_GetDict(PyInterpreterState_Get());
    PyObject *key = PyUnicode_InternFromString("greenlet._stackless");
    PyObject *module = NULL;
    if (names == NULL || key == NULL) {
        PyErr_NoMemory();
    }
    else if (PyDict_GetItemRef(names, key, &module) == 0) {
        module = import_stackless();
        if (module != NULL && PyDict_SetItem(names, key, module) < 0) {
            Py_CLEAR(module);
        }
    }
    Py_XDECREF(key);
    Py_XDECREF(module);                // the dict has it
    return module;
}
