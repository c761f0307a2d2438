/* The table of the public C functions, and what each of them begins with: the thread, the
   interpreter, the arguments.  What a function does then is what the method of that name
   does, called from C: a switch of a tasklet other than main is hard. */

#include "Python.h"
#include "Stackless/capi/capi.h"

/* --- the table ------------------------------------------------------------------------- */

/* As an extension module declares it. */
typedef struct {
    int version;
    int size;
    PyObject **exc_tasklet_exit;
#define STACKLESS_FUNCTION(RESULT, NAME, PARAMETERS, ARGUMENTS, FAILURE) RESULT (*NAME) PARAMETERS;
#include "stackless/functions.h"
#undef STACKLESS_FUNCTION
} api_table;

static const api_table table = {
    .version = STACKLESS_API_VERSION,
    .size = sizeof(api_table),
    .exc_tasklet_exit = &PyExc_TaskletExit,
#define STACKLESS_FUNCTION(RESULT, NAME, PARAMETERS, ARGUMENTS, FAILURE) .NAME = NAME,
#include "stackless/functions.h"
#undef STACKLESS_FUNCTION
};

int
_PyStackless_AddCAPI(PyObject *module)
{
    return PyModule_Add(module, "_C_API", PyCapsule_New((void *)&table, STACKLESS_CAPSULE, NULL));
}

/* --- the calling thread ---------------------------------------------------------------- */

/* The module _stackless (new reference); NULL with ImportError. */
static PyObject *
import_module(void)
{
    PyObject *module = PyImport_ImportModuleLevel("_stackless", NULL, NULL, NULL, 0);
    if (module != NULL && _PyStackless_StateOfModule(module) == NULL) {
        PyErr_Format(PyExc_ImportError,
                     "the module _stackless has been replaced by %R in sys.modules", module);
        Py_CLEAR(module);
    }
    return module;
}

stackless_modstate *
_PyStackless_ApiState(PyThreadState *tstate)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched != NULL) {
        return sched->mod;
    }
    PyObject *module = import_module();
    if (module == NULL) {
        return NULL;
    }
    stackless_modstate *mod = _PyStackless_StateOfModule(module);
    Py_DECREF(module);                 // its types, which live as long, keep it
    return mod;
}

_PyStackless_Scheduler *
_PyStackless_ApiScheduler(PyThreadState *tstate)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched != NULL) {
        return sched;
    }
    PyObject *module = import_module();
    if (module == NULL) {
        return NULL;
    }
    sched = _PyStackless_GetScheduler(tstate, module);
    Py_DECREF(module);
    return sched;
}

int
_PyStackless_IsInside(PyThreadState *tstate)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    return tstate->current_frame != NULL
           || (sched != NULL && (sched->current != sched->main || sched->in_call_main));
}

/* --- arguments ------------------------------------------------------------------------- */

static PyThreadState *
enter_with(const char *function, PyObject *op, int is_channel)
{
    PyThreadState *tstate = _PyStackless_ApiEnter(function);
    stackless_modstate *mod = tstate != NULL ? _PyStackless_ApiState(tstate) : NULL;
    if (mod == NULL) {
        return NULL;
    }
    PyTypeObject *type = is_channel ? mod->channel_type : mod->tasklet_type;
    if (op == NULL || !PyObject_TypeCheck(op, type)) {
        PyErr_Format(PyExc_TypeError, "%s() argument must be a %s, not %s", function,
                     is_channel ? "channel" : "tasklet",
                     op == NULL ? "NULL" : Py_TYPE(op)->tp_name);
        return NULL;
    }
    return tstate;
}

PyThreadState *
_PyStackless_ApiTasklet(const char *function, void *op)
{
    return enter_with(function, op, 0);
}

PyThreadState *
_PyStackless_ApiChannel(const char *function, void *op)
{
    return enter_with(function, op, 1);
}

PyObject *
_PyStackless_ApiBomb(PyThreadState *tstate, const char *function, PyObject *klass,
                     PyObject *args)
{
    stackless_modstate *mod = _PyStackless_ApiState(tstate);
    if (mod == NULL) {
        return NULL;
    }
    if (klass == NULL || !PyExceptionClass_Check(klass)) {
        PyErr_Format(PyExc_TypeError, "%s() needs an exception class, not %s", function,
                     klass == NULL ? "NULL"
                     : PyType_Check(klass) ? ((PyTypeObject *)klass)->tp_name
                     : Py_TYPE(klass)->tp_name);
        return NULL;
    }
    PyObject *packed = args == NULL ? PyTuple_New(0)
                       : PyTuple_Check(args) ? Py_NewRef(args) : PyTuple_Pack(1, args);
    PyObject *bomb = packed != NULL ? _PyBomb_FromThrow(mod, klass, packed, NULL) : NULL;
    Py_XDECREF(packed);
    return bomb;
}

/* --- operations ------------------------------------------------------------------------ */

PyObject *
_PyStackless_ApiCall(PyThreadState *tstate, stackless_opcode code, void *target,
                     PyObject *value)
{
    _PyStackless_Scheduler *sched = _PyStackless_ApiScheduler(tstate);
    if (sched == NULL) {
        Py_XDECREF(value);
        return NULL;
    }
    sched->announced.frame = NULL;     // whatever the eval loop has called, it is not this
    sched->call = (stackless_op){ .code = code, .target = Py_XNewRef((PyObject *)target),
                                  .value = value };
    return _PyStackless_CallFromC(sched);
}
