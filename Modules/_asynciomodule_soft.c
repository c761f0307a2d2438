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

   An eager task is made by upstream's Task.__init__() with a stand-in for its name, which
   is the last thing that is asked for before the task is started, and makes it stop there.

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
#include "Stackless/inline/asyncio.h"

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
    entered->eager = NULL;
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

/* --- an eager task is made ---------------------------------------------------------- */

/* The arguments of Task(), those that are not given NULL; `buffer` has room for them. */
enum { ARG_CORO, ARG_LOOP, ARG_NAME, ARG_CONTEXT, ARG_EAGER_START, ARG_COUNT };

static PyObject *const *
soft_task_arguments(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                    PyObject **buffer)
{
    static const char *const keywords[] = {
        "coro", "loop", "name", "context", "eager_start", NULL
    };
    static _PyArg_Parser parser = { .keywords = keywords, .fname = "Task" };
    return _PyArg_UnpackKeywords(args, nargs, NULL, kwnames, &parser, 1, 1, 0, buffer);
}

static int
soft_is_eager(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *buffer[ARG_COUNT] = { NULL };
    if (nargs == 0 || kwnames == NULL) {
        return 0;
    }
    PyObject *const *parsed = soft_task_arguments(args, nargs, kwnames, buffer);
    if (parsed == NULL) {
        PyErr_Clear();                 // and fails again
        return 0;
    }
    return parsed[ARG_EAGER_START] == Py_True && parsed[ARG_LOOP] != NULL
           && parsed[ARG_LOOP] != Py_None && PyCoro_CheckExact(parsed[ARG_CORO])
           && ((PyCoroObject *)parsed[ARG_CORO])->cr_frame_state < FRAME_EXECUTING;
}

/* Stands in for the name of a task, in Task.__init__(). */
typedef struct {
    PyObject_HEAD
    int asked;
} soft_name;

static PyObject *
soft_name_str(PyObject *self)
{
    ((soft_name *)self)->asked = 1;
    return NULL;
}

/* Nobody sees it, either. */
static PyTypeObject soft_name_type = {
    PyVarObject_HEAD_INIT(&PyType_Type, 0)
    .tp_name = "_asyncio._name",
    .tp_basicsize = sizeof(soft_name),
    .tp_str = soft_name_str,
};

/* Task.__init__(), but for the start.  0, or -1 with an exception. */
static int
soft_initialize(asyncio_state *state, TaskObj *task, PyObject *const *parsed)
{
    soft_name stop = { PyObject_HEAD_INIT(&soft_name_type) .asked = 0 };
    PyObject *context = parsed[ARG_CONTEXT];
    PyObject *name = parsed[ARG_NAME];
    (void)_asyncio_Task___init___impl(task, parsed[ARG_CORO], parsed[ARG_LOOP],
                                      (PyObject *)&stop, context ? context : Py_None, 1);
    if (!stop.asked) {
        return -1;
    }
    task->task_name = name == NULL || name == Py_None
                      ? PyLong_FromUnsignedLongLong(++state->task_name_counter)
                      : PyObject_Str(name);
    return task->task_name != NULL ? 0 : -1;
}

/* An exception that happens now has `exc` (stolen, may be NULL) as its context.  Returns
   the one that is left, or NULL: none is set any more. */
static PyObject *
soft_chain(PyObject *exc)
{
    _PyErr_ChainExceptions1(exc);
    return PyErr_GetRaisedException();
}

/* Undoes what soft_begin() has done.  previous: NULL if it did not come so far. */
static void
soft_put_back(asyncio_state *state, PyObject *task, PyObject *loop, PyObject *previous,
              PyObject *context)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (previous != NULL) {
        Py_XDECREF(swap_current_task(state, loop, previous));
        exc = soft_chain(exc);
    }
    (void)unregister_eager_task(state, task);
    exc = soft_chain(exc);
    (void)PyContext_Exit(context);
    _PyErr_ChainExceptions1(exc);
}

/* The first step begins.  What leave() has to put back, or NULL with an exception. */
static PyObject *
soft_begin(asyncio_state *state, TaskObj *task, PyObject *loop)
{
    PyObject *self = (PyObject *)task;
    PyObject *context = task->task_context;
    PyObject *eager = PyTuple_New(EAGER_CONTEXT + 1);
    if (eager == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(eager);
        return NULL;
    }
    PyTuple_SET_ITEM(eager, EAGER_CURRENT_TASKS, Py_NewRef(state->current_tasks));
    PyTuple_SET_ITEM(eager, EAGER_TASKS, Py_NewRef(state->eager_tasks));
    PyTuple_SET_ITEM(eager, EAGER_CONTEXT, Py_NewRef(context));
    PyObject *previous = register_eager_task(state, self) < 0
                         ? NULL : swap_current_task(state, loop, self);
    PyTuple_SET_ITEM(eager, EAGER_PREVIOUS, previous);
    if (previous == NULL) {
        soft_put_back(state, self, loop, NULL, context);
        Py_CLEAR(eager);
    }
    return eager;
}

static int
soft_start(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
           _PyStackless_EnteredTask *entered)
{
    TaskObj *task = (TaskObj *)self;
    asyncio_state *state = get_asyncio_state_by_def(self);
    PyObject *buffer[ARG_COUNT] = { NULL };
    PyObject *const *parsed = soft_task_arguments(args, nargs, kwnames, buffer);
    entered->result = NULL;
    if (parsed == NULL || soft_initialize(state, task, parsed) < 0) {
        return 0;
    }
    PyObject *loop = parsed[ARG_LOOP];
    PyObject *running = PyObject_CallMethodNoArgs(loop, &_Py_ID(is_running));
    if (running == NULL) {
        return 0;
    }
    Py_DECREF(running);                // immortal, if it is True
    int err;
    if (running != Py_True) {
        err = task_call_step_soon(state, task, NULL) < 0 || register_task(state, self) < 0;
    }
    else if (!soft_is_simple(task, 0, NULL) || task->task_must_cancel
             || task->task_loop != loop) {
        /* A loop with methods of its own may have done anything. */
        err = task_eager_start(state, task) < 0;
    }
    else {
        entered->coro = task->task_coro;
        entered->loop = loop;
        entered->current_tasks = state->current_tasks;
        entered->exc = NULL;
        entered->eager = soft_begin(state, task, loop);
        if (entered->eager == NULL) {
            task->task_log_destroy_pending = 0;
        }
        return entered->eager != NULL;
    }
    entered->result = err ? NULL : Py_NewRef(self);
    return 0;
}

/* --- after the coroutine was resumed ------------------------------------------------- */

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

/* An eager task was started, unless an exception is set. */
static PyObject *
soft_end_eager(asyncio_state *state, TaskObj *task, PyObject *eager)
{
    PyObject *self = (PyObject *)task;
    soft_put_back(state, self, task->task_loop, PyTuple_GET_ITEM(eager, EAGER_PREVIOUS),
                  PyTuple_GET_ITEM(eager, EAGER_CONTEXT));
    PyObject *exc = PyErr_GetRaisedException();
    if (task->task_state == STATE_PENDING) {
        (void)register_task(state, self);
    }
    else {
        Py_CLEAR(task->task_coro);
    }
    _PyErr_ChainExceptions1(exc);
    return PyErr_Occurred() ? NULL : Py_NewRef(self);
}

static PyObject *
soft_leave(PyObject *self, PyObject *eager, PySendResult status, PyObject *value)
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
    if (eager != NULL) {
        Py_XDECREF(result);
        return soft_end_eager(state, task, eager);
    }
    return soft_end(state, task->task_loop, self, result);
}

/* --- the module ------------------------------------------------------------------------ */

static const _PyStackless_TaskHooks soft_hooks = {
    .step = (ternaryfunc)TaskStepMethWrapper_call,
    .wakeup = (PyCFunction)task_wakeup,
    .resumes = soft_resumes,
    .enter = soft_enter,
    .leave = soft_leave,
    .init = (initproc)_asyncio_Task___init__,
    .is_eager = soft_is_eager,
    .start = soft_start,
};

static PyObject *
soft_module_def_init(PyModuleDef *def)
{
    _PyStackless_SetTaskHooks(&soft_hooks);
    return PyModuleDef_Init(def);
}
