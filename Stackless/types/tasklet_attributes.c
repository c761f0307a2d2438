/* The attributes of tasklets. */

#include "Python.h"
#include "pycore_frame.h"         // _PyFrame_GetFrameObject()
#include "pycore_interp.h"        // PyInterpreterState.sysdict_copy
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/types/types.h"

static PyObject *
tasklet_get_alive(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(_PyTasklet_IsAlive(tasklet_cast(self)));
}

static PyObject *
tasklet_get_paused(PyObject *self, void *Py_UNUSED(closure))
{
    PyTaskletObject *t = tasklet_cast(self);
    return PyBool_FromLong(t->state == TASKLET_PAUSED && sched_of(t)->tstate != NULL);
}

static PyObject *
tasklet_get_scheduled(PyObject *self, void *Py_UNUSED(closure))
{
    PyTaskletObject *t = tasklet_cast(self);
    int ending = t->state == TASKLET_CURRENT && sched_of(t)->finishing;
    return PyBool_FromLong(t->state >= TASKLET_RUNNABLE && !ending);
}

static PyObject *
tasklet_get_blocked(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(tasklet_is_blocked(tasklet_cast(self)));
}

static PyObject *
tasklet_get_is_current(PyObject *self, void *Py_UNUSED(closure))
{
    PyTaskletObject *t = tasklet_cast(self);
    return PyBool_FromLong(t->state == TASKLET_CURRENT && sched_of(t)->tstate != NULL);
}

static PyObject *
get_flag(PyObject *self, void *flag)
{
    return PyBool_FromLong(tasklet_cast(self)->flags & (int)(intptr_t)flag);
}

static PyObject *
tasklet_get_is_main(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(tasklet_is_main(tasklet_cast(self)));
}

static int
tasklet_set_block_trap(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete block_trap");
        return -1;
    }
    PyObject *old = _PyTasklet_SetFlag(tasklet_cast(self), TASKLET_BLOCK_TRAP, value,
                                       "block_trap must be set to a bool or integer");
    Py_XDECREF(old);
    return old == NULL ? -1 : 0;
}

int
_PyTasklet_NestingLevel(PyTaskletObject *t)
{
    if (_PyTasklet_IsHard(t)) {
        return extra_of(t)->hard->c_recursion / STACKLESS_EVAL_C_UNITS;
    }
    if (!tasklet_is_executing(t) || t->flags & TASKLET_IS_MAIN
        || sched_of(t)->tstate == NULL) {
        return 0;
    }
    /* The getter itself may be below one counted C call. */
    PyThreadState *tstate = sched_of(t)->tstate;
    int level = _PyStackless_NestingLevel(tstate, sched_of(t));
    return level / STACKLESS_EVAL_C_UNITS;
}

static PyObject *
tasklet_get_nesting_level(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(_PyTasklet_NestingLevel(tasklet_cast(self)));
}

static PyObject *
tasklet_get_restorable(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(_PyTasklet_NestingLevel(tasklet_cast(self)) == 0);
}

static PyObject *
tasklet_get_frame(PyObject *self, void *Py_UNUSED(closure))
{
    if (PySys_Audit("sys._getframe", NULL) < 0) {
        return NULL;
    }
    _PyInterpreterFrame *frame = _PyTasklet_TopFrame(tasklet_cast(self));
    frame = _PyFrame_GetFirstComplete(frame);
    if (frame == NULL) {
        Py_RETURN_NONE;
    }
    return Py_XNewRef(_PyFrame_GetFrameObject(frame));
}

static PyObject *
tasklet_get_recursion_depth(PyObject *self, void *Py_UNUSED(closure))
{
    PyTaskletObject *t = tasklet_cast(self);
    int depth = 0;
    if (tasklet_is_executing(t) && sched_of(t)->tstate != NULL) {
        depth = _PyStackless_UsedDepth(sched_of(t)->tstate);
    }
    else if (tasklet_is_suspended(t)) {
        depth = tasklet_depth(t);
    }
    return PyLong_FromLong(depth);
}

static PyObject *
tasklet_get_tempval(PyObject *self, void *Py_UNUSED(closure))
{
    return _PyTasklet_GetTempval(tasklet_cast(self));
}

static int
tasklet_set_tempval(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    PyTaskletObject *t = tasklet_cast(self);
    if (value == Py_None) {
        value = NULL;
    }
    _PyTasklet_SetTempval(t, Py_XNewRef(value));
    return 0;
}

static PyObject *
tasklet_get_thread_id(PyObject *self, void *Py_UNUSED(closure))
{
    PyThreadState *tstate = sched_of(tasklet_cast(self))->tstate;
    return tstate ? PyLong_FromUnsignedLong(tstate->thread_id) : PyLong_FromLong(-1);
}

/* A neighbour on a channel may be garbage, with the channel. */
static PyObject *
neighbour(PyTaskletObject *t)
{
    PyObject *ref = _PyStackless_NewRefFromWeak(_PyStackless_WaiterOf(t));
    return ref != NULL ? ref : Py_NewRef(Py_None);
}

static PyObject *
tasklet_get_next(PyObject *self, void *Py_UNUSED(closure))
{
    return neighbour(tasklet_cast(self)->next);
}

static PyObject *
tasklet_get_prev(PyObject *self, void *Py_UNUSED(closure))
{
    return neighbour(tasklet_cast(self)->prev);
}

static PyObject *
tasklet_get_channel(PyObject *self, void *Py_UNUSED(closure))
{
    PyTaskletObject *t = tasklet_cast(self);
    PyObject *ch = NULL;
    if (tasklet_is_blocked(t)) {
        ch = _PyStackless_NewRefFromWeak(t->channel);
    }
    if (ch != NULL && (((PyChannelObject *)ch)->special & CHANNEL_HIDDEN)) {
        Py_CLEAR(ch);
    }
    return ch != NULL ? ch : Py_NewRef(Py_None);
}

static PyObject *
tasklet_get_context_id(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *context = _PyTasklet_GetContext(tasklet_cast(self));
    return context ? PyLong_FromVoidPtr(context) : NULL;
}

/* --- tracing ---------------------------------------------------------------------------------------- */

typedef struct {
    const char *what;
    const char *setter;           // of module sys
    size_t object;                // in tasklet_extra
    size_t thread_object;         // in PyThreadState
} hook_kind;

static const hook_kind trace_kind = {
    "trace", "settrace", offsetof(tasklet_extra, traceobj),
    offsetof(PyThreadState, c_traceobj),
};
static const hook_kind profile_kind = {
    "profile", "setprofile", offsetof(tasklet_extra, profileobj),
    offsetof(PyThreadState, c_profileobj),
};

static PyObject *
tasklet_get_hook(PyObject *self, void *closure)
{
    PyTaskletObject *t = tasklet_cast(self);
    const hook_kind *kind = closure;
    PyObject *func = NULL;
    if (tasklet_is_executing(t) && sched_of(t)->tstate != NULL) {
        func = *(PyObject **)((char *)sched_of(t)->tstate + kind->thread_object);
    }
    else if (extra_of(t) != NULL) {
        func = *(PyObject **)((char *)extra_of(t) + kind->object);
    }
    return Py_NewRef(func ? func : Py_None);
}

/* Calls what sys.settrace or sys.setprofile was when the interpreter began: a debugger may
   have put a function of its own there, to be told when the program calls it. */
static PyObject *
call_setter(const hook_kind *kind, PyObject *value)
{
    PyObject *names = PyInterpreterState_Get()->sysdict_copy;
    PyObject *setter = NULL;
    if (names != NULL && PyDict_GetItemStringRef(names, kind->setter, &setter) < 0) {
        return NULL;
    }
    if (setter == NULL) {
        PyErr_Format(PyExc_RuntimeError, "no %s function can be set any more: the "
                     "interpreter is being finalized", kind->what);
        return NULL;
    }
    PyObject *result = PyObject_CallOneArg(setter, value);
    Py_DECREF(setter);
    return result;
}

static int
refuse_elsewhere(const hook_kind *kind)
{
    PyErr_Format(PyExc_RuntimeError, "You cannot set the %s function of the current "
                 "tasklet of another thread", kind->what);
    return -1;
}

/* The same for a suspended tasklet, by lending it the thread's fields for a moment.  That
   may run any code, in which other tasklets and threads run, so nothing is lent that
   somebody has: what comes of it is put in its place afterwards. */
static int
set_hook_suspended(PyThreadState *tstate, PyTaskletObject *t, const hook_kind *kind,
                   PyObject *value)
{
    tasklet_extra mine = {0}, hook = {0};
    _PyStackless_SwapTracing(tstate, &mine, &hook);
    PyObject *res = call_setter(kind, value);
    _PyStackless_SwapTracing(tstate, &hook, &mine);
    int err = res == NULL ? -1 : 0;
    Py_XDECREF(res);
    if (err == 0 && tasklet_is_executing(t)) {
        err = refuse_elsewhere(kind);
    }
    if (err == 0) {
        err = _PyStackless_EnsureExtra(t);
    }
    if (err == 0) {
        _PyStackless_ExchangeHook(extra_of(t), &hook, kind == &trace_kind);
    }
    _PyStackless_DropHooks(tstate, &hook);
    return err;
}

static int
tasklet_set_hook(PyObject *self, PyObject *value, void *closure)
{
    PyTaskletObject *t = tasklet_cast(self);
    const hook_kind *kind = closure;
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "cannot delete %s_function", kind->what);
        return -1;
    }
    PyThreadState *tstate = _PyThreadState_GET();
    if (tasklet_is_executing(t)) {
        if (sched_of(t)->tstate != tstate) {
            return refuse_elsewhere(kind);
        }
        PyObject *res = call_setter(kind, value);
        Py_XDECREF(res);
        return res == NULL ? -1 : 0;
    }
    return set_hook_suspended(tstate, t, kind, value);
}

PyGetSetDef _PyTasklet_GetSet[] = {
    {"alive", tasklet_get_alive, NULL,
     PyDoc_STR("It has something to run and a thread to run on.")},
    {"paused", tasklet_get_paused, NULL, PyDoc_STR("Alive, but in no queue.")},
    {"scheduled", tasklet_get_scheduled, NULL,
     PyDoc_STR("In the run queue or in the queue of a channel.")},
    {"blocked", tasklet_get_blocked, NULL, PyDoc_STR("Waiting on a channel.")},
    {"restorable", tasklet_get_restorable, NULL,
     PyDoc_STR("No C code lies between its frames.")},
    {"atomic", get_flag, NULL, PyDoc_STR("See set_atomic()."), (void *)TASKLET_ATOMIC},
    {"ignore_nesting", get_flag, NULL, PyDoc_STR("See set_ignore_nesting()."),
     (void *)TASKLET_IGNORE_NESTING},
    {"block_trap", get_flag, tasklet_set_block_trap,
     PyDoc_STR("If true, an operation that would block it raises instead."),
     (void *)TASKLET_BLOCK_TRAP},
    {"is_main", tasklet_get_is_main, NULL, PyDoc_STR("It is its thread's main tasklet.")},
    {"is_current", tasklet_get_is_current, NULL,
     PyDoc_STR("It is its thread's current tasklet.")},
    {"frame", tasklet_get_frame, NULL, PyDoc_STR("The topmost frame, or None.")},
    {"nesting_level", tasklet_get_nesting_level, NULL,
     PyDoc_STR("How many times C code that cannot be unwound called Python code.")},
    {"recursion_depth", tasklet_get_recursion_depth, NULL,
     PyDoc_STR("Python calls in progress.")},
    {"tempval", tasklet_get_tempval, tasklet_set_tempval,
     PyDoc_STR("What its pending switching call will return, or the bound function.")},
    {"thread_id", tasklet_get_thread_id, NULL,
     PyDoc_STR("threading.get_ident() of its thread; -1 if that has ended.")},
    {"next", tasklet_get_next, NULL, PyDoc_STR("The next one in its queue, or None.")},
    {"prev", tasklet_get_prev, NULL, PyDoc_STR("The one before it in its queue, or None.")},
    {"_channel", tasklet_get_channel, NULL, PyDoc_STR("What it is blocked on, or None.")},
    {"context_id", tasklet_get_context_id, NULL, PyDoc_STR("id() of its Context.")},
    {"trace_function", tasklet_get_hook, tasklet_set_hook,
     PyDoc_STR("Its own sys.gettrace()."), (void *)&trace_kind},
    {"profile_function", tasklet_get_hook, tasklet_set_hook,
     PyDoc_STR("Its own sys.getprofile()."), (void *)&profile_kind},
    {NULL}
};
