/* Between the core and the module _asyncio (Modules/_asynciomodule_soft.c): what a step of
   an asyncio task does before and after it resumes the task's coroutine, so that the
   eval loop of a tasklet can resume it without C code in between.  The first step of an
   eager task is a part of making it. */

#ifndef STACKLESS_INLINE_ASYNCIO_H
#define STACKLESS_INLINE_ASYNCIO_H
#ifdef __cplusplus
extern "C" {
#endif

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

/* A step that has begun. */
typedef struct {
    PyObject *coro;               // to be resumed; borrowed, as the next two
    PyObject *loop;
    PyObject *current_tasks;      // the dict in which `loop` has its running task
    PyObject *exc;                // owned: what is thrown into it, or NULL
    PyObject *eager;              // owned: see start()
    PyObject *result;             // otherwise: see enter()
} _PyStackless_EnteredTask;

/* What is put back after the first step of an eager task: the items of a tuple. */
enum { EAGER_CURRENT_TASKS, EAGER_TASKS, EAGER_PREVIOUS, EAGER_CONTEXT };

typedef struct {
    /* What an event loop calls to step a task: an object whose type has this tp_call, or
       a built-in method with this function, which gets the future that was waited for. */
    ternaryfunc step;
    PyCFunction wakeup;

    /* The task (borrowed), if a call of such an object would just resume its suspended or
       fresh coroutine, or throw into it what _PyStackless_CanThrow(); otherwise NULL.  No
       side effects, no exceptions. */
    PyObject *(*resumes)(PyObject *callable, PyObject *const *args, Py_ssize_t nargs);
    /* The step of such a call begins.  1: the coroutine is to be resumed now, then leave()
       is due.  0: it was no longer that simple, and is over; entered->result is what it
       returns, NULL with an exception. */
    int (*enter)(PyObject *task, PyObject *callable, PyObject *const *args,
                 Py_ssize_t nargs, _PyStackless_EnteredTask *entered);
    /* The coroutine yielded or returned `value`, which is stolen, or raised the exception
       that is set (`value` is NULL).  The result of the step, or NULL.  eager: NULL, or what
       start() gave. */
    PyObject *(*leave)(PyObject *task, PyObject *eager, PySendResult status,
                       PyObject *value);

    /* Classes with this tp_init, and PyType_GenericNew(), make tasks. */
    initproc init;
    /* Would a call of such a class resume a coroutine at once, if its loop is running?  No
       side effects, no exceptions. */
    int (*is_eager)(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
    /* Such a call initializes its new task.  As enter(), with entered->eager set, which is
       due to leave(); the result is the task. */
    int (*start)(PyObject *task, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames, _PyStackless_EnteredTask *entered);
} _PyStackless_TaskHooks;

/* Does throwing the exception (an instance or a class) into op, a generator or coroutine,
   run no Python code but its own and that of those it delegates to? */
PyAPI_FUNC(int) _PyStackless_CanThrow(PyObject *op, PyObject *exc);

/* Called when the module is loaded, by every interpreter with the same hooks: they are
   static, and extension modules are never unloaded. */
PyAPI_FUNC(void) _PyStackless_SetTaskHooks(const _PyStackless_TaskHooks *hooks);

#ifdef __cplusplus
}
#endif
#endif /* !STACKLESS_INLINE_ASYNCIO_H */
