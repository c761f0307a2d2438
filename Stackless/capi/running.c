/* PyStackless_...(): the scheduler, its callbacks, and embedding. */

#include "Python.h"
#include "Stackless/capi/capi.h"

/* --- scheduling ------------------------------------------------------------------------ */

PyObject *
PyStackless_Schedule(PyObject *retval, int remove)
{
    PyThreadState *tstate = STACKLESS_ENTER();
    return tstate == NULL ? NULL : _PyStackless_ApiCall(
        tstate, remove ? OP_SCHEDULE_REMOVE : OP_SCHEDULE, NULL, Py_XNewRef(retval));
}

int
PyStackless_GetRunCount(void)
{
    PyThreadState *tstate = STACKLESS_ENTER();
    if (tstate == NULL) {
        return -1;
    }
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    Py_ssize_t count = sched != NULL ? sched->runcount : 1;
    count -= !_PyStackless_IsInside(tstate);
    return count > INT_MAX ? INT_MAX : (int)count;
}

PyObject *
PyStackless_GetCurrent(void)
{
    PyThreadState *tstate = STACKLESS_ENTER();
    if (tstate == NULL || !_PyStackless_IsInside(tstate)) {
        return NULL;
    }
    _PyStackless_Scheduler *sched = _PyStackless_ApiScheduler(tstate);
    return sched != NULL ? Py_NewRef((PyObject *)sched->current) : NULL;
}

/* (Of what the thread itself changes only, so that nothing has to be held.) */
unsigned long
PyStackless_GetCurrentId(void)
{
    PyThreadState *tstate = PyGILState_GetThisThreadState();
    _PyStackless_Scheduler *sched = tstate != NULL ? _PyStackless_PeekScheduler(tstate) : NULL;
    if (sched == NULL || sched->current == sched->main) {
        return PyThread_get_thread_ident();
    }
    return (unsigned long)(uintptr_t)sched->current;
}

static PyObject *
run(PyThreadState *tstate, const _PyStackless_RunArgs *args)
{
    PyObject *packed = NULL;
    if (args->timeout > 0 || args->seconds > 0 || args->threadblock) {
        packed = PyBytes_FromStringAndSize((const char *)args, sizeof(*args));
        if (packed == NULL) {
            return NULL;
        }
    }
    return _PyStackless_ApiCall(tstate, OP_RUN_ALL, NULL, packed);
}

PyObject *
PyStackless_RunWatchdogEx(long timeout, int flags)
{
    PyThreadState *tstate = STACKLESS_ENTER();
    if (tstate == NULL) {
        return NULL;
    }
    if (flags < 0 || flags > 255) {
        PyErr_Format(PyExc_ValueError, "flags must be in [0..255], not %d", flags);
        return NULL;
    }
    _PyStackless_RunArgs args = {
        .timeout = timeout,
        .threadblock = (flags & Py_WATCHDOG_THREADBLOCK) != 0,
        .soft = (flags & PY_WATCHDOG_SOFT) != 0,
        .ignore_nesting = (flags & PY_WATCHDOG_IGNORE_NESTING) != 0,
        .totaltimeout = (flags & PY_WATCHDOG_TOTALTIMEOUT) != 0,
    };
    return run(tstate, &args);
}

PyObject *
PyStackless_RunWatchdog(long timeout)
{
    return PyStackless_RunWatchdogEx(timeout, 0);
}

int
PyStackless_AdjustSwitchTrap(int change)
{
    PyThreadState *tstate = STACKLESS_ENTER();
    _PyStackless_Scheduler *sched = tstate != NULL ? _PyStackless_ApiScheduler(tstate) : NULL;
    if (sched == NULL) {
        return -1;
    }
    int old = sched->switch_trap;
    if (change > 0 ? old > INT_MAX - change : old < INT_MIN - change) {
        PyErr_Format(PyExc_OverflowError, "cannot change the trap level %d by %d", old, change);
        return -1;
    }
    sched->switch_trap += change;
    return old;
}

int
PyStackless_CanYield(void)
{
    PyThreadState *tstate = STACKLESS_ENTER();
    _PyStackless_Scheduler *sched = tstate != NULL ? _PyStackless_PeekScheduler(tstate) : NULL;
    if (sched == NULL) {
        return tstate != NULL;
    }
    return !sched->switch_trap && !sched->in_schedule_callback
           && !(sched->current->flags & TASKLET_BLOCK_TRAP);
}

/* --- callbacks ------------------------------------------------------------------------- */

static int
set_callback(const char *function, PyObject *callable, int of_channels)
{
    PyThreadState *tstate = _PyStackless_ApiEnter(function);
    /* The scheduler, so that the callback is not told of the caller's main tasklet. */
    _PyStackless_Scheduler *sched = tstate != NULL ? _PyStackless_ApiScheduler(tstate) : NULL;
    if (sched == NULL) {
        return -1;
    }
    if (callable == Py_None) {
        callable = NULL;
    }
    if (callable != NULL && !PyCallable_Check(callable)) {
        PyErr_Format(PyExc_TypeError, "%s() argument must be callable or NULL, not %s", function,
                     Py_TYPE(callable)->tp_name);
        return -1;
    }
    stackless_modstate *mod = sched->mod;
    PyObject **slot = of_channels ? &mod->channel_callback : &mod->schedule_callback;
    PyObject *old = *slot;
    *slot = Py_XNewRef(callable);
    _PyStackless_NoteUnusual(mod);
    Py_XDECREF(old);
    return 0;
}

int
PyStackless_SetChannelCallback(PyObject *callable)
{
    return set_callback(__func__, callable, 1);
}

int
PyStackless_SetScheduleCallback(PyObject *callable)
{
    return set_callback(__func__, callable, 0);
}

#define HOOK_NAME "_stackless.schedule_hook"

static PyObject *
call_hook(PyObject *capsule, PyObject *const *args, Py_ssize_t nargs)
{
    slp_schedule_hook_func *hook = (slp_schedule_hook_func *)PyCapsule_GetPointer(capsule,
                                                                                  HOOK_NAME);
    if (hook == NULL) {
        return NULL;
    }
    stackless_modstate *mod = _PyStackless_ApiState(_PyThreadState_GET());
    if (mod == NULL) {
        return NULL;
    }
    PyTypeObject *type = mod->tasklet_type;
    if (nargs != 2 || !(args[0] == Py_None || PyObject_TypeCheck(args[0], type))
        || !PyObject_TypeCheck(args[1], type)) {
        PyErr_SetString(PyExc_TypeError, "a schedule hook is called with two tasklets");
        return NULL;
    }
    PyTaskletObject *prev = args[0] == Py_None ? NULL : (PyTaskletObject *)args[0];
    if (hook(prev, (PyTaskletObject *)args[1]) != 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_SystemError, "a schedule hook failed without an exception");
        }
        return NULL;
    }
    if (PyErr_Occurred()) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef hook_def = {
    "schedule_hook", _PyCFunction_CAST(call_hook), METH_FASTCALL,
    PyDoc_STR("schedule_hook(prev, next, /)\n--\n\nThe schedule callback that C code has set.")
};

int
PyStackless_SetScheduleFastcallback(slp_schedule_hook_func *hook)
{
    if (hook == NULL) {
        return PyStackless_SetScheduleCallback(NULL);
    }
    if (STACKLESS_ENTER() == NULL) {
        return -1;
    }
    PyObject *capsule = PyCapsule_New((void *)hook, HOOK_NAME, NULL);
    PyObject *callable = capsule != NULL ? PyCFunction_New(&hook_def, capsule) : NULL;
    int err = callable != NULL ? PyStackless_SetScheduleCallback(callable) : -1;
    Py_XDECREF(capsule);
    Py_XDECREF(callable);
    return err;
}

/* --- main ------------------------------------------------------------------------------ */

PyObject *
PyStackless_Call_Main(PyObject *func, PyObject *args, PyObject *kwds)
{
    PyThreadState *tstate = STACKLESS_ENTER();
    if (tstate == NULL) {
        return NULL;
    }
    if (func == NULL || !PyCallable_Check(func)) {
        PyErr_Format(PyExc_TypeError, "PyStackless_Call_Main() needs a callable, not %s",
                     func == NULL ? "NULL" : Py_TYPE(func)->tp_name);
        return NULL;
    }
    if ((args != NULL && !PyTuple_Check(args)) || (kwds != NULL && !PyDict_Check(kwds))) {
        PyErr_SetString(PyExc_TypeError,
                        "PyStackless_Call_Main() needs a tuple or NULL, and a dict or NULL");
        return NULL;
    }
    if (_PyStackless_IsInside(tstate)) {
        PyErr_SetString(PyExc_RuntimeError, "Call_Main cannot run within a main tasklet");
        return NULL;
    }
    _PyStackless_Scheduler *sched = _PyStackless_ApiScheduler(tstate);
    PyObject *empty = sched != NULL && args == NULL ? PyTuple_New(0) : NULL;
    PyObject *result = NULL;
    if (sched != NULL && (args != NULL || empty != NULL)) {
        sched->in_call_main = 1;
        result = PyObject_Call(func, args != NULL ? args : empty, kwds);
        sched->in_call_main = 0;
    }
    Py_XDECREF(empty);
    return result;
}

/* What `format` describes, as a tuple. */
static PyObject *
build_arguments(const char *format, va_list arguments)
{
    PyObject *value = format != NULL && *format != '\0' ? Py_VaBuildValue(format, arguments)
                                                        : PyTuple_New(0);
    if (value != NULL && !PyTuple_Check(value)) {
        Py_SETREF(value, PyTuple_Pack(1, value));
    }
    return value;
}

static PyObject *
va_call_main(PyObject *callable, const char *format, va_list arguments)
{
    PyObject *args = build_arguments(format, arguments);
    PyObject *result = args != NULL ? PyStackless_Call_Main(callable, args, NULL) : NULL;
    Py_XDECREF(args);
    return result;
}

PyObject *
PyStackless_VaCallMethod_Main(PyObject *o, const char *name, const char *format,
                              va_list arguments)
{
    if (STACKLESS_ENTER() == NULL) {
        return NULL;
    }
    if (o == NULL) {
        PyErr_SetString(PyExc_SystemError,
                        "PyStackless_CallMethod_Main() needs an object, not NULL");
        return NULL;
    }
    PyObject *callable = name != NULL ? PyObject_GetAttrString(o, name) : Py_NewRef(o);
    if (callable == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    if (!PyCallable_Check(callable)) {
        PyErr_SetString(PyExc_TypeError, "call of non-callable attribute");
    }
    else {
        result = va_call_main(callable, format, arguments);
    }
    Py_DECREF(callable);
    return result;
}

PyObject *
PyStackless_VaCallCMethod_Main(PyMethodDef *method, PyObject *self, const char *format,
                               va_list arguments)
{
    if (STACKLESS_ENTER() == NULL) {
        return NULL;
    }
    if (method == NULL) {
        PyErr_SetString(PyExc_SystemError,
                        "PyStackless_CallCMethod_Main() needs a method definition, not NULL");
        return NULL;
    }
    PyObject *callable = PyCFunction_New(method, self);
    PyObject *result = callable != NULL ? va_call_main(callable, format, arguments) : NULL;
    Py_XDECREF(callable);
    return result;
}

/* --- types ----------------------------------------------------------------------------- */

PyTypeObject *
PyStackless_TaskletType(void)
{
    PyThreadState *tstate = STACKLESS_ENTER();
    stackless_modstate *mod = tstate != NULL ? _PyStackless_ApiState(tstate) : NULL;
    return mod != NULL ? mod->tasklet_type : NULL;
}

PyTypeObject *
PyStackless_ChannelType(void)
{
    PyThreadState *tstate = STACKLESS_ENTER();
    stackless_modstate *mod = tstate != NULL ? _PyStackless_ApiState(tstate) : NULL;
    return mod != NULL ? mod->channel_type : NULL;
}

/* An exception that is set is none of this function's business. */
static int
is_instance(const char *function, PyObject *op, int of_channels, int exact)
{
    PyThreadState *tstate = _PyThreadState_GET();
    _Py_EnsureFuncTstateNotNULL(function, tstate);
    PyObject *exc = PyErr_GetRaisedException();
    stackless_modstate *mod = _PyStackless_ApiState(tstate);
    PyErr_SetRaisedException(exc);
    if (mod == NULL || op == NULL) {
        return 0;
    }
    PyTypeObject *type = of_channels ? mod->channel_type : mod->tasklet_type;
    return Py_IS_TYPE(op, type) || (!exact && PyObject_TypeCheck(op, type));
}

int
PyStackless_IsTasklet(PyObject *op, int exact)
{
    return is_instance(__func__, op, 0, exact);
}

int
PyStackless_IsChannel(PyObject *op, int exact)
{
    return is_instance(__func__, op, 1, exact);
}

/* --- for a time ------------------------------------------------------------------------ */

static PyTime_t
now(void)
{
    PyTime_t t;
    return PyTime_MonotonicRaw(&t) < 0 ? 0 : t;
}

int
PyStackless_RunFor(long long nanoseconds, PyStackless_RunResult *result)
{
    PyStackless_RunResult ignored;
    result = result != NULL ? result : &ignored;
    *result = (PyStackless_RunResult){0};
    PyThreadState *tstate = STACKLESS_ENTER();
    _PyStackless_Scheduler *sched = tstate != NULL ? _PyStackless_ApiScheduler(tstate) : NULL;
    if (sched == NULL) {
        return -1;
    }
    if (sched->timed != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "PyStackless_RunFor() within a run() that has a time limit");
        return -1;
    }
    if (sched->runcount == 1 && sched->timers.n == 0) {
        return _PyStackless_CheckThrown(sched);
    }
    _PyStackless_RunArgs args = { .seconds = (double)Py_MAX(nanoseconds, 1) * 1e-9,
                                  .totaltimeout = 1, .nowait = 1 };
    PyTime_t begin = now();
    PyObject *who = run(tstate, &args);
    result->elapsed = now() - begin;
    result->overshoot = Py_MAX(0, result->elapsed - Py_MAX(nanoseconds, 0));
    int err = who == NULL ? -1 : 0;
    if (who != NULL && who != Py_None) {
        err = _PyStackless_ApiStatus(_PyTasklet_Insert(who, NULL));
        result->interrupted = Py_NewRef(who);
    }
    Py_XDECREF(who);
    result->runnable = sched->runcount - 1;
    if (result != &ignored) {
        return err;
    }
    Py_XDECREF(ignored.interrupted);
    return err;
}
