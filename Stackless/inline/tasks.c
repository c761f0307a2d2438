/* Tasks of asyncio: a step resumes the task's coroutine in the eval loop.  What upstream's
   C code does before and after that is asked of Modules/_asynciomodule_soft.c. */

#include "Python.h"
#include "pycore_pystate.h"       // _PyThreadStateImpl
#include "Stackless/inline/asyncio.h"
#include "Stackless/inline/inline.h"

const _PyStackless_TaskHooks *_PyStackless_KnownTaskHooks;

void
_PyStackless_SetTaskHooks(const _PyStackless_TaskHooks *hooks)
{
    _Py_atomic_store_ptr_release(&_PyStackless_KnownTaskHooks, (void *)hooks);
}

/* State: the task, its loop; while its coroutine runs: the dict of running tasks, or what is
   put back after the start of an eager one (a tuple, EAGER_...), and the coroutine, in place
   of the number.  (The garbage collector may take it from the task before the frames of a
   tasklet are dropped.) */
step_outcome
_PyStackless_TaskStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                      PyObject **value)
{
    PyObject *under_way = c->localsplus[STATE_C];
    if (under_way != NULL) {
        PySendResult status = event == AT_RETURN ? PYGEN_RETURN
                              : event == AT_YIELD ? PYGEN_NEXT : PYGEN_ERROR;
        PyObject *eager = PyTuple_CheckExact(under_way) ? under_way : NULL;
        c->localsplus[STATE_C] = NULL;
        *value = _PyStackless_GetTaskHooks()->leave(c->localsplus[STATE_A], eager, status,
                                                    *value);
        PyObject *exc = PyErr_GetRaisedException();
        Py_DECREF(under_way);
        PyErr_SetRaisedException(exc);
    }
    return *value ? STEP_DONE : STEP_FAILED;
}

/* What enter() or start() has returned, for the continuation that is there. */
static step_outcome
go_on(PyThreadState *tstate, int has_begun, const _PyStackless_EnteredTask *entered,
      PyObject **value)
{
    if (!has_begun) {
        *value = entered->result;
        return *value ? STEP_DONE : STEP_FAILED;
    }
    _PyInterpreterFrame *c = tstate->current_frame;
    c->localsplus[STATE_B] = Py_NewRef(entered->loop);
    c->localsplus[STATE_C] = entered->eager ? entered->eager
                                            : Py_NewRef(entered->current_tasks);
    Py_SETREF(c->localsplus[STATE_NUMBER], Py_NewRef(entered->coro));
    if (entered->exc == NULL) {
        return _PyStackless_EnterGenerator(tstate, (PyGenObject *)entered->coro, Py_None);
    }
    return _PyStackless_EnterThrow(tstate, entered->coro, entered->exc, value);
}

step_outcome
_PyStackless_CallTask(PyThreadState *tstate, PyObject *task, const stackless_call *call,
                      PyObject **value)
{
    if (!_PyStackless_PushContinuation(tstate, CONTINUE_TASK, task, NULL, NULL, 0)) {
        return STEP_FAILED;
    }
    const _PyStackless_TaskHooks *hooks = _PyStackless_GetTaskHooks();
    _PyStackless_EnteredTask entered;
    int has_begun = hooks->enter(task, call->callable, call->args, call->nargs, &entered);
    return go_on(tstate, has_begun, &entered, value);
}

step_outcome
_PyStackless_MakeEagerTask(PyThreadState *tstate, PyTypeObject *type,
                           const stackless_call *call, PyObject **value)
{
    PyObject *task = PyType_GenericNew(type, NULL, NULL);
    if (task == NULL) {
        return STEP_FAILED;
    }
    void *pushed = _PyStackless_PushContinuation(tstate, CONTINUE_TASK, task, NULL, NULL, 0);
    Py_DECREF(task);
    if (pushed == NULL) {
        return STEP_FAILED;
    }
    const _PyStackless_TaskHooks *hooks = _PyStackless_GetTaskHooks();
    _PyStackless_EnteredTask entered;
    int has_begun = hooks->start(task, call->args, call->nargs, call->kwnames, &entered);
    return go_on(tstate, has_begun, &entered, value);
}

PyObject *
_PyStackless_TaskContext(_PyInterpreterFrame *c)
{
    PyObject *under_way = c->localsplus[STATE_C];
    return under_way != NULL && PyTuple_CheckExact(under_way)
           ? PyTuple_GET_ITEM(under_way, EAGER_CONTEXT) : NULL;
}

static void
report_failure(int err)
{
    if (err < 0) {
        PyErr_FormatUnraisable("Exception ignored while an asyncio task was being dropped");
    }
}

/* `task` is no longer the loop's current one, but `previous` (if not None). */
static int
abandon_current_task(PyObject *current_tasks, PyObject *loop, PyObject *task,
                     PyObject *previous)
{
    PyObject *current;
    int found = PyDict_GetItemRef(current_tasks, loop, &current);
    if (found > 0 && current == task) {
        found = previous == Py_None ? PyDict_DelItem(current_tasks, loop)
                                    : PyDict_SetItem(current_tasks, loop, previous);
    }
    Py_XDECREF(current);
    return found;
}

/* When a step is dropped, the loop is no longer the thread's running one, either.  The start
   of an eager task tells nothing about that: it may be in any tasklet.  (The context that it
   has entered was left by _PyStackless_LeaveContexts().)
   The task's type and module may be half torn down by the garbage collector, so they are
   not asked. */
void
_PyStackless_AbandonTask(_PyStackless_Scheduler *sched, _PyInterpreterFrame *frame)
{
    PyObject *task = frame->localsplus[STATE_A];
    PyObject *loop = frame->localsplus[STATE_B];
    PyObject *under_way = frame->localsplus[STATE_C];
    if (under_way == NULL) {
        return;
    }
    if (PyTuple_CheckExact(under_way)) {
        report_failure(abandon_current_task(
            PyTuple_GET_ITEM(under_way, EAGER_CURRENT_TASKS), loop, task,
            PyTuple_GET_ITEM(under_way, EAGER_PREVIOUS)));
        report_failure(PySet_Discard(PyTuple_GET_ITEM(under_way, EAGER_TASKS), task));
        return;
    }
    _PyThreadStateImpl *tstate = (_PyThreadStateImpl *)sched->tstate;
    if (tstate != NULL && tstate->asyncio_running_loop == loop) {
        Py_CLEAR(tstate->asyncio_running_loop);
    }
    report_failure(abandon_current_task(under_way, loop, task, Py_None));
}
