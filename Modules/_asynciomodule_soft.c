/* The module _asyncio: upstream's, and what lets tasklets be left softly in its tasks.

   Tools/build/merge.sh has this file compiled in place of upstream's, which it includes
   unchanged.  A step of a task is done by upstream's code unless the eval loop of a
   tasklet asks for the simple case: a pending task, whose coroutine is to get None or an
   exception that can be thrown into it softly.  Then enter() does what task_step() does
   before it resumes the coroutine; the eval loop resumes it; and leave() runs upstream's
   task_step_impl() with a stand-in for the coroutine, whose only answer is what the real
   one has answered already.

   While its coroutine runs a task may be cancelled, even ended.  task_step_impl() looks at
   these fields before it resumes the coroutine, and so they are put aside until then.

   Rejected: a macro in place of PyIter_Send().  It would cost every step of every task a
   test. */

#ifndef Py_BUILD_CORE_BUILTIN
#  define Py_BUILD_CORE_MODULE 1
#endif

#include "Python.h"

/* PyInit__asyncio() calls ours. */
#define PyModuleDef_Init soft_module_def_init
static PyObject *soft_module_def_init(PyModuleDef *def);
#include "_asynciomodule.c"
#undef PyModuleDef_Init

#include "pycore_frame.h"         // FRAME_EXECUTING
#include "pycore_stackless_asyncio.h"

/* --- before the coroutine is resumed --------------------------------------------- */

/* `raises`: the step begins with an exception, `exc` if that is known already. */
static int
soft_is_simple(const TaskObj *task, int raises, PyObject *exc)
{
    /* What the task has waited for must have another owner: then letting go of it, which
       is due before the coroutine is looked at, runs no code. */
    PyObject *coro = task->task_coro;
    if (task->task_loop == NULL || coro == NULL || !PyCoro_CheckExact(coro)
        || task->task_state != STATE_PENDING
        || (task->task_fut_waiter != NULL && Py_REFCNT(task->task_fut_waiter) == 1)) {
        return 0;
    }
    return raises || task->task_must_cancel
           ? _PyStackless_CanThrow(coro, exc != NULL ? exc : PyExc_BaseException)
           : ((PyCoroObject *)coro)->cr_frame_state < FRAME_EXECUTING;
}

static PyObject *
soft_resumes(PyObject *callable, PyObject *const *args, Py_ssize_t nargs)
{
    TaskObj *task;
    int raises;
    if (PyCFunction_Check(callable)) {
        task = (TaskObj *)PyCFunction_GET_SELF(callable);
        asyncio_state *state = get_asyncio_state_by_def((PyObject *)task);
        if (nargs != 1 || !(Future_CheckExact(state, args[0])
                            || Task_CheckExact(state, args[0]))) {
            return NULL;
        }
        FutureObj *future = (FutureObj *)args[0];
        if (future->fut_state == STATE_PENDING) {
            return NULL;
        }
        raises = future->fut_state == STATE_CANCELLED || future->fut_exception != NULL;
    }
    else {
        task = ((TaskStepMethWrapper *)callable)->sw_task;
        if (nargs != 0 || task == NULL) {
            return NULL;
        }
        raises = ((TaskStepMethWrapper *)callable)->sw_arg != NULL;
    }
    return soft_is_simple(task, raises, NULL) ? (PyObject *)task : NULL;
}

/* What the step is begun with (new reference): an exception, or NULL. */
static PyObject *
soft_exception(asyncio_state *state, PyObject *callable, PyObject *const *args,
               Py_ssize_t nargs)
{
    if (nargs == 0) {
        return Py_XNewRef(((TaskStepMethWrapper *)callable)->sw_arg);
    }
    PyObject *result = NULL;
    switch (future_get_result(state, (FutureObj *)args[0], &result)) {
    case -1:
        if (!PyErr_Occurred()) {
            PyErr_NoMemory();          // of 3.13.5, which does not say so
        }
        return PyErr_GetRaisedException();
    case 0:
        Py_CLEAR(result);              // the future has it
    }
    return result;
}

/* The end of the step: the task is no longer the current one of `loop`. */
static PyObject *
soft_end(asyncio_state *state, PyObject *loop, PyObject *task, PyObject *result)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (leave_task(state, loop, task) < 0) {
        Py_CLEAR(result);
    }
    _PyErr_ChainExceptions1(exc);
    return result;
}

static int
soft_enter(PyObject *self, PyObject *callable, PyObject *const *args, Py_ssize_t nargs,
           _PyStackless_EnteredTask *entered)
{
    TaskObj *task = (TaskObj *)self;
    asyncio_state *state = get_asyncio_state_by_def(self);
    PyObject *loop = Py_NewRef(task->task_loop);
    PyObject *exc = soft_exception(state, callable, args, nargs);
    int simple = 0;
    entered->result = NULL;
    if (enter_task(state, loop, self) == 0) {
        if (task->task_must_cancel && task->task_state == STATE_PENDING
            && (exc == NULL
                || !PyErr_GivenExceptionMatches(exc, state->asyncio_CancelledError))) {
            Py_XSETREF(exc, create_cancelled_error(state, (FutureObj *)task));
            if (exc == NULL && !PyErr_Occurred()) {
                PyErr_NoMemory();      // likewise
            }
        }
        /* A loop with a hash function of its own may have done anything. */
        simple = !PyErr_Occurred() && task->task_loop == loop
                 && soft_is_simple(task, exc != NULL, exc);
        if (!simple) {
            PyObject *result = PyErr_Occurred() ? NULL : task_step_impl(state, task, exc);
            entered->result = soft_end(state, loop, self, result);
        }
    }
    if (simple) {
        task->task_must_cancel = 0;
        Py_CLEAR(task->task_fut_waiter);
        entered->coro = task->task_coro;
        entered->loop = loop;
        entered->current_tasks = state->current_tasks;
        entered->exc = exc;
    }
    else {
        Py_XDECREF(exc);
    }
    Py_DECREF(loop);
    return simple;
}

/* --- after it ------------------------------------------------------------------------ */

/* Stands in for the coroutine of a task, in task_step_impl(). */
typedef struct {
    PyObject_HEAD
    TaskObj *task;
    PyObject *coro;
    PyObject *fut_waiter;
    fut_state state;
    unsigned must_cancel;
    PySendResult status;
    PyObject *value;              // NULL: exc
    PyObject *exc;
} soft_answer;

static PySendResult
soft_answer_send(PyObject *self, PyObject *Py_UNUSED(arg), PyObject **result)
{
    soft_answer *answer = (soft_answer *)self;
    TaskObj *task = answer->task;
    task->task_coro = answer->coro;
    task->task_fut_waiter = answer->fut_waiter;
    task->task_state = answer->state;
    task->task_must_cancel = answer->must_cancel;
    *result = answer->value;
    PyErr_SetRaisedException(answer->exc);
    return answer->status;
}

static PyAsyncMethods soft_answer_async = { .am_send = soft_answer_send };

/* Nobody sees it: it needs no more than this, and not to be made ready. */
static PyTypeObject soft_answer_type = {
    PyVarObject_HEAD_INIT(&PyType_Type, 0)
    .tp_name = "_asyncio._answer",
    .tp_basicsize = sizeof(soft_answer),
    .tp_as_async = &soft_answer_async,
};

static PyObject *
soft_leave(PyObject *self, PySendResult status, PyObject *value)
{
    TaskObj *task = (TaskObj *)self;
    asyncio_state *state = get_asyncio_state_by_def(self);
    soft_answer answer = {
        PyObject_HEAD_INIT(&soft_answer_type)
        .task = task,
        .coro = task->task_coro,
        .fut_waiter = task->task_fut_waiter,
        .state = task->task_state,
        .must_cancel = task->task_must_cancel,
        .status = status,
        .value = value,
        .exc = PyErr_GetRaisedException(),
    };
    task->task_coro = (PyObject *)&answer;
    task->task_fut_waiter = NULL;
    task->task_state = STATE_PENDING;
    task->task_must_cancel = 0;
    PyObject *result = task_step_impl(state, task, NULL);
    return soft_end(state, task->task_loop, self, result);
}

/* --- the module ------------------------------------------------------------------------ */

static const _PyStackless_TaskHooks soft_hooks = {
    .step = (ternaryfunc)TaskStepMethWrapper_call,
    .wakeup = (PyCFunction)task_wakeup,
    .resumes = soft_resumes,
    .enter = soft_enter,
    .leave = soft_leave,
};

static PyObject *
soft_module_def_init(PyModuleDef *def)
{
    _PyStackless_SetTaskHooks(&soft_hooks);
    return PyModuleDef_Init(def);
}
