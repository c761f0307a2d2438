/* The type `tasklet`.

   What a tasklet holds depends on its state (state/objects.h): IDLE, a function in
   tempval or nothing; not STARTED, `func` and `args`; STARTED and suspended, `frame`.

   An exact tasklet that is collected while it is suspended just vanishes: its frames
   are cleared like those of a dead traceback, no `finally` runs.

   Its attributes are in tasklet_attributes.c; how tasklets switch is in
   sched/sched.c and switch/dispatch.c. */

#include "Python.h"
#include "pycore_call.h"          // _PyObject_MakeTpCall()
#include "pycore_context.h"       // PyContext
#include "pycore_long.h"          // _PyLong_IsZero()
#include "pycore_modsupport.h"    // _PyArg_ParseStackAndKeywords()
#include "pycore_object.h"        // _PyObject_GC_TRACK()
#include "pycore_tuple.h"         // _PyTuple_FromArray()
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/types/types.h"

/* --- tempval ------------------------------------------------------------------ */

/* Does it only keep the greenlet alive that t has switched to (_PyGreenlet_KeepTarget())? */
static int
tempval_is_target(PyTaskletObject *t)
{
    enum { IN_SWITCH = TASKLET_STARTED | TASKLET_RETURNS_NONE };
    const stackless_greenlet_hooks *greenlets = sched_of(t)->mod->greenlets;
    return greenlets != NULL && (t->flags & IN_SWITCH) == IN_SWITCH && !tasklet_is_blocked(t)
           && PyObject_TypeCheck(t->tempval, greenlets->type);
}

PyObject *
_PyTasklet_GetTempval(PyTaskletObject *t)
{
    if (t->flags & TASKLET_RETURNS_SELF) {
        return Py_NewRef(t);
    }
    if (t->tempval == NULL || tempval_is_target(t)) {
        return Py_None;
    }
    if (t->flags & TASKLET_RAISES && !Py_IS_TYPE(t->tempval, sched_of(t)->mod->bomb_type)) {
        return _PyBomb_FromException(sched_of(t)->mod, t->tempval);
    }
    return Py_NewRef(t->tempval);
}

void
_PyTasklet_MakeIdle(PyTaskletObject *t)
{
    assert(t->state == TASKLET_PAUSED);
    _PyStackless_TellDropped(t);
    const stackless_greenlet_hooks *greenlets = sched_of(t)->mod->greenlets;
    PyObject *greenlet = greenlets != NULL ? greenlets->unlink(t) : NULL;
    _PyStackless_AbandonHard(t);       // only of a thread that has ended
    _PyStackless_WatchdogRemove(sched_of(t), t);
    t->state = TASKLET_IDLE;           // tracked, if it is not being deallocated
    t->flags &= ~(TASKLET_RETURNS_SELF | TASKLET_RAISES);
    PyObject *tempval = t->tempval;
    t->tempval = NULL;
    /* What is dropped from here on may run code, which finds an idle tasklet and may bind
       it again: nothing of `t` is touched after that. */
    _PyTasklet_DropFrames(t);
    Py_XDECREF(tempval);
    Py_XDECREF(greenlet);
}

/* --- life --------------------------------------------------------------------------- */

static PyTaskletObject *
tasklet_alloc(PyTypeObject *type, _PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = (PyTaskletObject *)type->tp_alloc(type, 0);
    if (t != NULL) {
        _PyStackless_Adopt(sched, t);
    }
    return t;
}

static PyObject *
tasklet_new(PyTypeObject *type, PyObject *args, PyObject *kwds)
{
    PyThreadState *tstate = _PyThreadState_GET();
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched == NULL) {
        sched = _PyStackless_GetScheduler(tstate, _PyStackless_ModuleOfType(type));
        if (sched == NULL) {
            return NULL;
        }
    }
    return (PyObject *)tasklet_alloc(type, sched);
}

static void tasklet_finalize(PyObject *self);

/* Will the collector's finalizer kill it, or keep it? */
static int
is_finalized_by_us(PyObject *self)
{
    return _PyGreenlet_IsTasklet(tasklet_cast(self))
           || (Py_TYPE(self)->tp_finalize == tasklet_finalize && !_PyGC_FINALIZED(self));
}

static int
tasklet_traverse(PyObject *self, visitproc visit, void *arg)
{
    PyTaskletObject *t = tasklet_cast(self);
    Py_VISIT(Py_TYPE(self));
    if (_PyTasklet_IsHard(t) && !is_finalized_by_us(self)) {
        return 0;                      // it could still be run, so what it has is no garbage
    }
    Py_VISIT(t->tempval);
    Py_VISIT(*context_of(t));
    const tasklet_extra *extra = extra_of(t);
    if (extra != NULL) {
        Py_VISIT(extra->exc_value);
        Py_VISIT(extra->traceobj);
        Py_VISIT(extra->profileobj);
        Py_VISIT(extra->c_callable);
        Py_VISIT(extra->c_arg);
        Py_VISIT(extra->greenlet);
        Py_VISIT(extra->done);
        Py_VISIT(extra->select);
        Py_VISIT(extra->scope);
    }
    if (!(t->flags & TASKLET_STARTED)) {
        Py_VISIT(t->func);
        Py_VISIT(t->args);
        return 0;
    }
    if (tasklet_is_executing(t)) {
        return 0;
    }
    for (_PyInterpreterFrame *f = t->frame;
         f != NULL && f->owner != FRAME_OWNED_BY_CSTACK; f = f->previous) {
        if (f->owner == FRAME_OWNED_BY_TASKLET) {   // a generator visits its own
            int err = _PyFrame_Traverse(f, visit, arg);
            if (err) {
                return err;
            }
        }
    }
    return 0;
}

static int
tasklet_clear(PyObject *self)
{
    PyTaskletObject *t = tasklet_cast(self);
    if (tasklet_is_main(t)) {
        return 0;
    }
    if (_PyTasklet_IsHard(t)) {
        return 0;                      // its C functions go on to use what it has
    }
    if (tasklet_is_queued(t)) {
        return 0;                      // a finalizer has inserted it
    }
    PyObject *context = *context_of(t);
    *context_of(t) = NULL;
    if (t->state == TASKLET_PAUSED) {
        _PyTasklet_MakeIdle(t);
    }
    else if (t->state == TASKLET_IDLE) {
        PyObject *kept = t->args;
        t->args = NULL;
        _PyTasklet_SetTempval(t, NULL);
        Py_XDECREF(kept);
    }
    /* A blocked one is released by its channel, and so comes here again. */
    Py_XDECREF(context);
    return 0;
}

/* One that has C functions between its frames cannot just be dropped: TaskletExit is
   raised in it, until it ends.  If it can't be run, or will not end, it is kept for ever,
   in gc.garbage. */
static void
tasklet_finalize(PyObject *self)
{
    PyTaskletObject *t = tasklet_cast(self);
    if (!_PyTasklet_IsHard(t)) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    _PyTasklet_KillHard(t);
    PyObject *garbage = _PyThreadState_GET()->interp->gc.garbage;
    if (_PyTasklet_IsHard(t) && garbage != NULL && PyList_Append(garbage, self) < 0) {
        PyErr_FormatUnraisable("Exception ignored: a tasklet that can't be killed is lost");
        Py_INCREF(self);
    }
    if (!_PyObject_GC_IS_TRACKED(self)) {
        _PyObject_GC_TRACK(self);      // whoever called this expects it
    }
    PyErr_SetRaisedException(exc);
}

static void
tasklet_dealloc(PyObject *self)
{
    PyTaskletObject *t = tasklet_cast(self);
    PyTypeObject *type = Py_TYPE(self);
    if (_PyTasklet_IsHard(t)) {
        if (PyObject_CallFinalizerFromDealloc(self) < 0) {
            return;
        }
        /* Still hard: it has survived being killed once before. */
        _PyStackless_AbandonHard(t);
    }
    assert(t->next == NULL && !tasklet_is_blocked(t));
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, tasklet_dealloc)
    if (t->weakreflist != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    if (t->state == TASKLET_PAUSED || t->tempval != NULL || extra_of(t) != NULL
        || t->args != NULL) {
        PyObject *exc = PyErr_GetRaisedException();
        tasklet_clear(self);
        _PyStackless_ClearExtra(_PyThreadState_GET(), t);
        PyErr_SetRaisedException(exc);
    }
    Py_CLEAR(t->context);
    _PyStackless_ReleaseScheduler(sched_of(t));
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

/* --- bind, setup ------------------------------------------------------------------------ */

static int
set_error(const char *message)
{
    PyErr_SetString(PyExc_RuntimeError, message);
    return -1;
}

/* A new reference to the calling thread's current context; made if there is none. */
static PyObject *
current_context(PyThreadState *tstate)
{
    if (tstate->context == NULL) {
        tstate->context = PyContext_New();
        if (tstate->context == NULL) {
            return NULL;
        }
        tstate->context_ver++;
    }
    return Py_NewRef(tstate->context);
}

/* What a tasklet keeps of the arguments of a call.  *flag: TASKLET_HAS_KWARGS or 0.  May run
   any code, if names of arguments are compared. */
static PyObject *
pack_call(PyObject *args, PyObject *kwargs, int *flag)
{
    if (kwargs == NULL || PyDict_GET_SIZE(kwargs) == 0) {
        *flag = 0;
        return Py_NewRef(args);
    }
    *flag = TASKLET_HAS_KWARGS;
    PyObject *copy = PyDict_Copy(kwargs);
    PyObject *packed = copy ? PyTuple_Pack(2, args, copy) : NULL;
    Py_XDECREF(copy);
    return packed;
}

/* Gives an idle tasklet `func` to call with what pack_call() returned (both stolen).  Returns
   the result that was kept (the reference is the caller's), or NULL. */
static PyObject *
give_call(PyTaskletObject *t, PyObject *func, PyObject *packed, int flag)
{
    PyObject *kept = t->args;
    t->func = func;
    t->args = packed;
    t->flags |= flag;
    t->depth = 0;
    return kept;
}

static int
bind_check(PyTaskletObject *t, PyObject *func, PyObject *args, PyObject *kwargs)
{
    if (func != NULL && !PyCallable_Check(func)) {
        PyErr_SetString(PyExc_TypeError, "tasklet function must be a callable or None");
        return -1;
    }
    if (args != NULL && !PyTuple_Check(args)) {
        PyErr_SetString(PyExc_TypeError, "tasklet args must be a tuple or None");
        return -1;
    }
    if (kwargs != NULL && !PyDict_Check(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "tasklet kwargs must be a dictionary or None");
        return -1;
    }
    if (_PyGreenlet_IsTasklet(t)) {
        return set_error("can't (re)bind the tasklet of a greenlet");
    }
    if (t->state == TASKLET_CURRENT) {
        return set_error("can't (re)bind the current tasklet");
    }
    if (t->state == TASKLET_RUNNABLE || tasklet_is_blocked(t)) {
        return set_error("tasklet is scheduled");
    }
    if (tasklet_is_main(t)) {
        return set_error(args == NULL && kwargs == NULL
                         ? "can't unbind the main tasklet"
                         : "tasklet has C state on its stack");
    }
    if (_PyTasklet_IsHard(t) || (sched_of(t)->sleeper == t && sched_of(t)->tstate != NULL)) {
        return set_error("tasklet has C state on its stack");
    }
    if (args == NULL && kwargs == NULL) {
        return 0;
    }
    if (sched_of(t)->tstate == NULL) {
        return set_error("tasklet has no thread");
    }
    if (func == NULL && (t->state != TASKLET_IDLE || t->tempval == NULL)) {
        return set_error("the tasklet was not bound to a function");
    }
    return 0;
}

int
_PyTasklet_Bind(PyTaskletObject *t, PyObject *func, PyObject *args, PyObject *kwargs)
{
    func = func == Py_None ? NULL : func;
    args = args == Py_None ? NULL : args;
    kwargs = kwargs == Py_None ? NULL : kwargs;
    if (bind_check(t, func, args, kwargs) < 0) {
        return -1;
    }
    PyThreadState *tstate = _PyThreadState_GET();
    PyObject *context = NULL;
    if (func != NULL && (context = current_context(tstate)) == NULL) {
        return -1;
    }
    PyObject *packed = NULL;
    int flag = 0;
    if (args != NULL || kwargs != NULL) {
        PyObject *positional = args ? Py_NewRef(args) : PyTuple_New(0);
        packed = pack_call(positional, kwargs, &flag);
        Py_DECREF(positional);
        if (packed == NULL) {
            Py_XDECREF(context);
            return -1;
        }
    }
    int err;
    while ((err = bind_check(t, func, args, kwargs)) == 0 && t->state == TASKLET_PAUSED) {
        /* What is dropped may run code, which may even bind the tasklet or insert it. */
        _PyTasklet_MakeIdle(t);
    }
    if (err < 0) {
        Py_XDECREF(context);
        Py_XDECREF(packed);
        return -1;
    }
    PyObject *bound = Py_XNewRef(func ? func : packed ? t->tempval : NULL);
    if (context != NULL) {
        PyObject *old = *context_of(t);
        *context_of(t) = context;
        context = old;
    }
    PyObject *kept;
    if (packed == NULL) {
        kept = t->args;
        t->args = NULL;
        _PyTasklet_SetTempval(t, bound);
    }
    else {
        kept = give_call(t, bound, packed, flag);
        _PyStackless_SetState(t, TASKLET_PAUSED);
        _PyTasklet_SetTempval(t, NULL);
    }
    Py_XDECREF(context);
    Py_XDECREF(kept);
    return 0;
}

static int
bind_parse(PyTaskletObject *t, const char *format, PyObject *args, PyObject *kwds)
{
    static char *names[] = {"func", "args", "kwargs", NULL};
    PyObject *func = NULL, *call_args = NULL, *call_kwargs = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwds, format, names,
                                     &func, &call_args, &call_kwargs)) {
        return -1;
    }
    return _PyTasklet_Bind(t, func, call_args, call_kwargs);
}

static int
tasklet_init(PyObject *self, PyObject *args, PyObject *kwds)
{
    return bind_parse(tasklet_cast(self), "|OOO:tasklet", args, kwds);
}

PyDoc_STRVAR(tasklet_bind_doc,
"bind($self, /, func=None, args=None, kwargs=None)\n--\n\n"
"Bind a callable to the tasklet, which must not be scheduled; return self.\n\n"
"With args (a tuple) or kwargs (a dict) it is alive and paused then, waiting for\n"
"insert() or run(); func may be left out to use the one bound before.  Without func\n"
"and arguments the tasklet is unbound.  What the tasklet ran before is dropped.");

static PyObject *
tasklet_bind_method(PyObject *self, PyObject *args, PyObject *kwds)
{
    if (bind_parse(tasklet_cast(self), "|OOO:bind", args, kwds) < 0) {
        return NULL;
    }
    return Py_NewRef(self);
}

/* tasklet(func), the common way: what tasklet_new() and tasklet_bind() do. */
static PyObject *
new_bound(PyTypeObject *type, _PyStackless_Scheduler *sched, PyObject *func)
{
    PyObject *context = current_context(sched->tstate);
    PyTaskletObject *t = context ? PyObject_GC_New(PyTaskletObject, type) : NULL;
    if (t == NULL) {
        Py_XDECREF(context);
        return NULL;
    }
    memset((char *)t + sizeof(PyObject), 0, sizeof(*t) - sizeof(PyObject));
    _PyStackless_Adopt(sched, t);
    t->tempval = Py_NewRef(func);
    t->context = context;
    _PyObject_GC_TRACK(t);
    return (PyObject *)t;
}

static PyObject *
tasklet_vectorcall(PyObject *type, PyObject *const *args, size_t nargsf,
                   PyObject *kwnames)
{
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    PyThreadState *tstate = _PyThreadState_GET();
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (nargs == 1 && kwnames == NULL && sched != NULL && PyCallable_Check(args[0])) {
        return new_bound((PyTypeObject *)type, sched, args[0]);
    }
    if (kwnames != NULL || nargs > 3) {
        return _PyObject_MakeTpCall(tstate, type, args, nargs, kwnames);
    }
    PyObject *t = tasklet_new((PyTypeObject *)type, NULL, NULL);
    if (t != NULL
        && _PyTasklet_Bind(tasklet_cast(t), nargs > 0 ? args[0] : NULL,
                           nargs > 1 ? args[1] : NULL, nargs > 2 ? args[2] : NULL) < 0) {
        Py_CLEAR(t);
    }
    return t;
}

static PyObject *
tasklet_setup(PyObject *self, PyObject *args, PyObject *kwds)
{
    PyTaskletObject *t = tasklet_cast(self);
    int flag;
    PyObject *packed = pack_call(args, kwds, &flag);
    if (packed == NULL) {
        return NULL;
    }
    _PyStackless_Scheduler *sched = sched_of(t);
    const char *message = sched->tstate == NULL ? "tasklet has no thread"
                          : t->state != TASKLET_IDLE ? "tasklet is alive"
                          : t->tempval == NULL ? "the tasklet was not bound to a function"
                          : NULL;
    if (message != NULL) {
        Py_DECREF(packed);
        set_error(message);
        return NULL;
    }
    PyObject *kept = give_call(t, t->tempval, packed, flag);
    t->tempval = NULL;                 // its reference is func's now
    _PyStackless_QueueAppend(sched, t);
    Py_XDECREF(kept);
    return Py_NewRef(self);
}

PyDoc_STRVAR(tasklet_setup_doc,
"setup($self, /, *args, **kwargs)\n--\n\n"
"Set the arguments for the bound function and make the tasklet runnable; return self.\n"
"Calling the tasklet does the same.");

/* --- insert, remove ----------------------------------------------------------------------- */

PyDoc_STRVAR(tasklet_insert_doc,
"insert($self, /)\n--\n\n"
"Append the tasklet to the end of the run queue, if it is not there; return self.");

PyObject *
_PyTasklet_Insert(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyTaskletObject *t = tasklet_cast(self);
    if (tasklet_is_blocked(t)) {
        set_error("You cannot run a blocked tasklet");
        return NULL;
    }
    if (tasklet_is_queued(t)) {
        return Py_NewRef(self);
    }
    if (sched_of(t)->tstate == NULL) {
        set_error("Target thread isn't initialized");
        return NULL;
    }
    if (t->state == TASKLET_IDLE) {
        set_error("You cannot run an unbound(dead) tasklet");
        return NULL;
    }
    _PyStackless_QueueAppend(sched_of(t), t);
    return Py_NewRef(self);
}

PyDoc_STRVAR(tasklet_remove_doc,
"remove($self, /)\n--\n\n"
"Take the tasklet out of the run queue, if it is there: it is paused.  Return self.");

PyObject *
_PyTasklet_Remove(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyTaskletObject *t = tasklet_cast(self);
    if (sched_of(t)->tstate == NULL) {
        return Py_NewRef(self);
    }
    if (tasklet_is_blocked(t)) {
        set_error("You cannot remove a blocked tasklet.");
        return NULL;
    }
    if (t->state == TASKLET_CURRENT) {
        set_error("The current tasklet cannot be removed.");
        return NULL;
    }
    if (t->state == TASKLET_RUNNABLE) {
        _PyStackless_QueueRemove(sched_of(t), t);
    }
    return Py_NewRef(self);
}

/* --- switching ------------------------------------------------------------------------------ */

static _PyStackless_Scheduler *
calling_scheduler(PyThreadState *tstate, PyTaskletObject *t)
{
    return _PyStackless_GetScheduler(tstate, sched_of(t)->module);
}

PyObject *
_PyTasklet_SwitchingCall(PyTaskletObject *t, stackless_opcode code, PyObject *value,
                         void *fn, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    PyThreadState *tstate = _PyThreadState_GET();
    _PyStackless_Scheduler *sched = calling_scheduler(tstate, t);
    if (sched == NULL) {
        Py_XDECREF(value);
        return NULL;
    }
    sched->call = (stackless_op){ .code = code, .target = Py_NewRef(t), .value = value };
    return _PyStackless_SwitchingCall(sched, fn, (PyObject *)t, args, nargs, kwnames);
}

static int
check_no_args(const char *name, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs != 0 || kwnames != NULL) {
        PyErr_Format(PyExc_TypeError, "%s() takes no arguments (%zd given)", name,
                     nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0));
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(tasklet_run_doc,
"run($self, /)\n--\n\n"
"Run the tasklet now; the caller stays in the run queue.  A tasklet that is not queued\n"
"is queued last, so that the caller is the next one after it.");

static PyObject *
tasklet_run(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (check_no_args("run", nargs, kwnames) < 0) {
        return NULL;
    }
    return _PyTasklet_SwitchingCall(tasklet_cast(self), OP_RUN_TASKLET, NULL, tasklet_run,
                                    args, nargs, kwnames);
}

PyDoc_STRVAR(tasklet_switch_doc,
"switch($self, /)\n--\n\n"
"Run the tasklet now, like run(), and leave the caller paused.");

static PyObject *
tasklet_switch(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    if (check_no_args("switch", nargs, kwnames) < 0) {
        return NULL;
    }
    return _PyTasklet_SwitchingCall(tasklet_cast(self), OP_SWITCH_TO, NULL,
                                    tasklet_switch, args, nargs, kwnames);
}

/* The exception reaches the tasklet when its turn comes. */
static PyObject *
throw_pending(PyTaskletObject *t, PyObject *bomb)
{
    if (!_PyTasklet_IsAlive(t)) {
        int err = _PyTasklet_CheckThrowDead(t, bomb);
        Py_DECREF(bomb);
        return err < 0 ? NULL : Py_None;
    }
    _PyStackless_ThrowPending(t, bomb);
    Py_RETURN_NONE;
}

PyObject *
_PyTasklet_ThrowBomb(PyTaskletObject *t, PyObject *bomb, int pending, void *fn,
                     PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (pending && !(t->state == TASKLET_CURRENT
                     && sched_of(t)->tstate == _PyThreadState_GET())) {
        return throw_pending(t, bomb);
    }
    return _PyTasklet_SwitchingCall(t, OP_THROW, bomb, fn, args, nargs, kwnames);
}

PyDoc_STRVAR(tasklet_throw_doc,
"throw($self, /, exc, val=None, tb=None, pending=False)\n--\n\n"
"Raise an exception in the tasklet, at once or (pending) when its turn comes.\n\n"
"exc is an exception class (val: its argument, a tuple of them, or an instance) or an\n"
"instance.  TaskletExit is silently ignored by a tasklet that is not alive; another\n"
"exception is then a RuntimeError here.");

static PyObject *
tasklet_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"exc", "val", "tb", "pending", NULL};
    static _PyArg_Parser parser = {.keywords = names,
                                   .format = "O|OOp:throw"};
    PyObject *exc, *val = NULL, *tb = NULL;
    int pending = 0;
    if (!_PyArg_ParseStackAndKeywords(args, nargs, kwnames, &parser,
                                      &exc, &val, &tb, &pending)) {
        return NULL;
    }
    PyTaskletObject *t = tasklet_cast(self);
    PyObject *bomb = _PyBomb_FromThrow(sched_of(t)->mod, exc, val, tb);
    if (bomb == NULL) {
        return NULL;
    }
    return _PyTasklet_ThrowBomb(t, bomb, pending, tasklet_throw, args, nargs, kwnames);
}

PyDoc_STRVAR(tasklet_raise_exception_doc,
"raise_exception($self, exc_class, /, *args)\n--\n\n"
"Raise exc_class(*args) in the tasklet at once.");

static PyObject *
tasklet_raise_exception(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    PyTaskletObject *t = tasklet_cast(self);
    if (kwnames != NULL) {
        PyErr_SetString(PyExc_TypeError, "raise_exception() takes no keyword arguments");
        return NULL;
    }
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "raise_exception() takes at least 1 argument");
        return NULL;
    }
    if (!PyExceptionClass_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "tasklet.raise_exception needs Exception or "
                        "string subclass as first parameter");
        return NULL;
    }
    PyObject *exc_args = _PyTuple_FromArray(args + 1, nargs - 1);
    if (exc_args == NULL) {
        return NULL;
    }
    PyObject *bomb = _PyBomb_FromThrow(sched_of(t)->mod, args[0], exc_args, NULL);
    Py_DECREF(exc_args);
    if (bomb == NULL) {
        return NULL;
    }
    return _PyTasklet_ThrowBomb(t, bomb, 0, tasklet_raise_exception, args, nargs, kwnames);
}

PyDoc_STRVAR(tasklet_kill_doc,
"kill($self, /, pending=False)\n--\n\n"
"Raise TaskletExit in the tasklet, at once or (pending) when its turn comes.\n"
"Has no effect on one that is not alive.");

PyObject *
_PyTasklet_Kill(PyTaskletObject *t, int pending, void *fn, PyObject *const *args,
                Py_ssize_t nargs, PyObject *kwnames)
{
    if (sched_of(t)->tstate == NULL && t->state != TASKLET_IDLE) {
        /* An orphan: nobody can run it any more. */
        Py_INCREF(t);
        if (tasklet_is_blocked(t)) {
            _PyStackless_Unblock(t);
            Py_DECREF(t);              // the channel's
        }
        _PyTasklet_MakeIdle(t);
        Py_DECREF(t);
        Py_RETURN_NONE;
    }
    PyObject *bomb = _PyBomb_FromThrow(sched_of(t)->mod, PyExc_TaskletExit, NULL, NULL);
    if (bomb == NULL) {
        return NULL;
    }
    return _PyTasklet_ThrowBomb(t, bomb, pending, fn, args, nargs, kwnames);
}

static PyObject *
tasklet_kill(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"pending", NULL};
    static _PyArg_Parser parser = {.keywords = names,
                                   .format = "|p:kill"};
    int pending = 0;
    if (!_PyArg_ParseStackAndKeywords(args, nargs, kwnames, &parser, &pending)) {
        return NULL;
    }
    return _PyTasklet_Kill(tasklet_cast(self), pending, tasklet_kill, args, nargs, kwnames);
}

/* --- waiting for the end --------------------------------------------------------------------- */

static PyObject *
wait_for_end(PyTaskletObject *t, stackless_opcode code, const char *name, void *fn,
             PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t nkw = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs + nkw > 1
        || (nkw == 1 && !PyUnicode_EqualToUTF8(PyTuple_GET_ITEM(kwnames, 0), "timeout"))) {
        PyErr_Format(PyExc_TypeError, "%s() takes no argument but 'timeout' (%zd given)", name,
                     nargs + nkw);
        return NULL;
    }
    _PyStackless_Scheduler *sched = calling_scheduler(_PyThreadState_GET(), t);
    PyTime_t deadline = 0;
    if (sched == NULL
        || (nargs + nkw == 1
            && _PyStackless_ParseTimeout(sched, "timeout", args[0], &deadline) < 0)) {
        return NULL;
    }
    sched->call = (stackless_op){ .code = code, .target = Py_NewRef(t), .deadline = deadline };
    return _PyStackless_SwitchingCall(sched, fn, (PyObject *)t, args, nargs, kwnames);
}

PyDoc_STRVAR(tasklet_join_doc,
"join($self, /, timeout=None)\n--\n\n"
"Wait until the tasklet has ended, and return None; at once if it is not alive.\n\n"
"timeout: how many seconds to wait at most (None: no limit); then TimeoutError.  What the\n"
"tasklet raises is raised in main, as if nobody waited.  RuntimeError for the calling tasklet\n"
"and for main.");

static PyObject *
tasklet_join(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return wait_for_end(tasklet_cast(self), OP_JOIN, "join", tasklet_join, args, nargs,
                        kwnames);
}

PyDoc_STRVAR(tasklet_result_doc,
"result($self, /, timeout=None)\n--\n\n"
"Wait until the tasklet has ended, and return what its function returned.\n\n"
"An exception that it did not catch is raised here, and not in main.  If somebody has waited\n"
"for its end, the result is kept, and can be asked for again.  RuntimeError if it ended\n"
"before anybody waited, or was killed.  timeout and other errors as those of join().");

static PyObject *
tasklet_result(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return wait_for_end(tasklet_cast(self), OP_RESULT, "result", tasklet_result, args, nargs,
                        kwnames);
}

/* --- flags ------------------------------------------------------------------------------------- */

PyObject *
_PyTasklet_SetFlag(PyTaskletObject *t, int flag, PyObject *value, const char *message)
{
    if (!PyLong_Check(value)) {
        PyErr_SetString(PyExc_TypeError, message);
        return NULL;
    }
    PyObject *old = PyBool_FromLong(t->flags & flag);
    t->flags = !_PyLong_IsZero((PyLongObject *)value) ? t->flags | flag : t->flags & ~flag;
    return old;
}

static PyObject *
tasklet_set_atomic(PyObject *self, PyObject *value)
{
    return _PyTasklet_SetFlag(tasklet_cast(self), TASKLET_ATOMIC, value,
                              "set_atomic needs exactly one bool or integer");
}

static PyObject *
tasklet_set_ignore_nesting(PyObject *self, PyObject *value)
{
    return _PyTasklet_SetFlag(tasklet_cast(self), TASKLET_IGNORE_NESTING, value,
                              "set_ignore_nesting needs exactly one bool or integer");
}

/* --- threads and contexts ---------------------------------------------------------------------- */

/* Does it have something on the C stack of its thread that it cannot do without? */
static int
has_c_state(PyTaskletObject *t)
{
    return tasklet_is_main(t) || tasklet_is_executing(t) || _PyTasklet_IsHard(t)
           || _PyTasklet_NestingLevel(t) != 0 || tasklet_is_watchdog(t)
           || ((t->flags & TASKLET_STARTED) && t->frame == NULL);  // a former main
}

int
_PyStackless_ThreadId(PyObject *id, unsigned long *target)
{
    int overflow = 0;
    long n = id != NULL ? PyLong_AsLongAndOverflow(id, &overflow) : -1;
    if (n == -1 && overflow == 0) {
        *target = PyThread_get_thread_ident();
        return 0;
    }
    if (n < 0 && overflow <= 0) {
        PyErr_Format(PyExc_OverflowError,
                     "thread id must be that of a thread, or -1, not %R", id);
        return -1;
    }
    *target = PyLong_AsUnsignedLong(id);
    return *target == (unsigned long)-1 && PyErr_Occurred() ? -1 : 0;
}

PyObject *
_PyTasklet_BindThread(PyObject *self, PyObject *args)
{
    PyTaskletObject *t = tasklet_cast(self);
    PyObject *id = NULL;
    unsigned long target;
    if (!PyArg_ParseTuple(args, "|O!:bind_thread", &PyLong_Type, &id)
        || _PyStackless_ThreadId(id, &target) < 0) {
        return NULL;
    }
    if (sched_of(t)->tstate != NULL && sched_of(t)->tstate->thread_id == target) {
        Py_RETURN_NONE;
    }
    if (_PyGreenlet_IsTasklet(t)) {
        set_error("can't (re)bind the tasklet of a greenlet");
        return NULL;
    }
    if (tasklet_is_queued(t)) {
        set_error("can't (re)bind a runnable tasklet");
        return NULL;
    }
    if (has_c_state(t)) {
        set_error("tasklet has C state on its stack");
        return NULL;
    }
    if (target == PyThread_get_thread_ident()
        && calling_scheduler(_PyThreadState_GET(), t) == NULL) {
        return NULL;
    }
    if (_PyStackless_IsSelecting(t)) {
        set_error("a tasklet that waits in select() cannot be moved");
        return NULL;
    }
    if (_PyStackless_BindThread(t, target) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *
_PyTasklet_GetContext(PyTaskletObject *t)
{
    PyObject **slot = context_of(t);
    if (tasklet_is_executing(t) && sched_of(t)->tstate != NULL) {
        slot = &sched_of(t)->tstate->context;
    }
    if (*slot == NULL) {
        *slot = PyContext_New();
    }
    return *slot;
}

static int
context_is_entered(PyObject *context)
{
    return context != NULL && ((PyContext *)context)->ctx_entered;
}

PyDoc_STRVAR(tasklet_set_context_doc,
"set_context($self, context, /)\n--\n\n"
"Make the contextvars.Context the tasklet's; return self.");

static PyObject *
tasklet_set_context(PyObject *self, PyObject *context)
{
    PyTaskletObject *t = tasklet_cast(self);
    if (!PyContext_CheckExact(context)) {
        PyErr_Format(PyExc_TypeError, "set_context() argument must be a Context, not %s",
                     Py_TYPE(context)->tp_name);
        return NULL;
    }
    PyThreadState *tstate = _PyThreadState_GET();
    if (tasklet_is_queued(t) && sched_of(t)->tstate != tstate) {
        set_error("tasklet belongs to a different thread");
        return NULL;
    }
    int in_thread = tasklet_is_executing(t) && sched_of(t)->tstate != NULL;
    tstate = in_thread ? sched_of(t)->tstate : tstate;
    PyObject **slot = in_thread ? &tstate->context : context_of(t);
    if (context_is_entered(*slot)) {
        set_error("the current context of the tasklet has been entered.");
        return NULL;
    }
    PyObject *old = *slot;
    *slot = Py_NewRef(context);
    if (in_thread) {
        tstate->context_ver++;
    }
    Py_XDECREF(old);
    return Py_NewRef(self);
}

PyDoc_STRVAR(tasklet_context_run_doc,
"context_run($self, callable, /, *args, **kwargs)\n--\n\n"
"Call callable(*args, **kwargs) with the tasklet's context as the current one.");

static PyObject *
tasklet_context_run(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "run() missing 1 required positional argument");
        return NULL;
    }
    PyThreadState *tstate = _PyThreadState_GET();
    PyObject *context = _PyTasklet_GetContext(tasklet_cast(self));
    if (context == NULL) {
        return NULL;
    }
    PyObject *saved = tstate->context;
    tstate->context = Py_NewRef(context);
    tstate->context_ver++;
    PyObject *result = PyObject_Vectorcall(args[0], args + 1, nargs - 1, kwnames);
    PyObject *exc = PyErr_GetRaisedException();
    Py_XSETREF(tstate->context, saved);
    tstate->context_ver++;
    PyErr_SetRaisedException(exc);
    return result;
}

/* --- the type --------------------------------------------------------------------- */

#define SWITCHING(NAME) _PyCFunction_CAST(NAME), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef tasklet_methods[] = {
    {"bind", _PyCFunction_CAST(tasklet_bind_method), METH_VARARGS | METH_KEYWORDS,
     tasklet_bind_doc},
    {"setup", _PyCFunction_CAST(tasklet_setup), METH_VARARGS | METH_KEYWORDS,
     tasklet_setup_doc},
    {"insert", _PyTasklet_Insert, METH_NOARGS, tasklet_insert_doc},
    {"remove", _PyTasklet_Remove, METH_NOARGS, tasklet_remove_doc},
    {"run", SWITCHING(tasklet_run), tasklet_run_doc},
    {"switch", SWITCHING(tasklet_switch), tasklet_switch_doc},
    {"throw", SWITCHING(tasklet_throw), tasklet_throw_doc},
    {"raise_exception", SWITCHING(tasklet_raise_exception), tasklet_raise_exception_doc},
    {"kill", SWITCHING(tasklet_kill), tasklet_kill_doc},
    {"join", SWITCHING(tasklet_join), tasklet_join_doc},
    {"result", SWITCHING(tasklet_result), tasklet_result_doc},
    {"set_atomic", tasklet_set_atomic, METH_O,
     PyDoc_STR("set_atomic($self, flag, /)\n--\n\n"
               "While set, no watchdog interrupts it.  Returns the old value.")},
    {"set_ignore_nesting", tasklet_set_ignore_nesting, METH_O,
     PyDoc_STR("set_ignore_nesting($self, flag, /)\n--\n\n"
               "Whether a watchdog may interrupt it below C code.  Returns the old value.")},
    {"bind_thread", _PyTasklet_BindThread, METH_VARARGS,
     PyDoc_STR("bind_thread($self, thread_id=-1, /)\n--\n\n"
               "Move the tasklet to another thread (default: the calling one).")},
    {"set_context", tasklet_set_context, METH_O, tasklet_set_context_doc},
    {"context_run", SWITCHING(tasklet_context_run), tasklet_context_run_doc},
    {NULL}
};

PyDoc_STRVAR(tasklet_doc,
"tasklet(func=None, args=None, kwargs=None)\n--\n\n"
"A microthread: a callable that runs in turns with others in one thread.\n\n"
"tasklet(func)(*args, **kwargs) makes one that is ready to run.");

static PyMemberDef tasklet_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(PyTaskletObject, weakreflist),
     Py_READONLY},
    {NULL}
};

static PyType_Slot tasklet_slots[] = {
    {Py_tp_doc, (void *)tasklet_doc},
    {Py_tp_new, tasklet_new},
    {Py_tp_init, tasklet_init},
    {Py_tp_finalize, tasklet_finalize},
    {Py_tp_dealloc, tasklet_dealloc},
    {Py_tp_traverse, tasklet_traverse},
    {Py_tp_clear, tasklet_clear},
    {Py_tp_call, tasklet_setup},
    {Py_tp_methods, tasklet_methods},
    {Py_tp_getset, _PyTasklet_GetSet},
    {Py_tp_members, tasklet_members},
    {0, NULL}
};

PyType_Spec _PyTasklet_Spec = {
    .name = "_stackless.tasklet",
    .basicsize = sizeof(PyTaskletObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = tasklet_slots,
};

int
_PyTasklet_InitType(PyTypeObject *type)
{
    type->tp_vectorcall = tasklet_vectorcall;
    return 0;
}
