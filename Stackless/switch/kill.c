/* Killing tasklets that cannot just be dropped, since C functions lie between their frames,
   or since another thread runs them: TaskletExit is raised in them. */

#include "Python.h"
#include "pycore_interp.h"        // PyInterpreterState
#include "pycore_pyerrors.h"
#include "pycore_pystate.h"       // _PyThreadState_GET(), HEAD_LOCK()
#include "pycore_runtime.h"       // _PyRuntime
#include "Stackless/switch/switch.h"

void
_PyTasklet_KillHard(PyTaskletObject *t)
{
    enum { ATTEMPTS = 10 };
    PyThreadState *tstate = _PyThreadState_GET();
    for (int i = 0; i < ATTEMPTS && _PyTasklet_IsHard(t) && !_PyGreenlet_IsTasklet(t)
                    && sched_of(t)->tstate == tstate; i++) {
        PyObject *bomb = _PyBomb_FromThrow(sched_of(t)->mod, PyExc_TaskletExit, NULL, NULL);
        PyObject *result = NULL;
        if (bomb != NULL) {
            sched_of(t)->call = (stackless_op){ .code = OP_THROW, .target = Py_NewRef(t),
                                                .value = bomb };
            result = _PyStackless_CallFromC(sched_of(t));
        }
        if (result == NULL) {
            PyErr_FormatUnraisable("Exception ignored while a tasklet was being killed");
            break;
        }
        Py_DECREF(result);
    }
}

/* --- all of a thread, and other threads --------------------------------------------- */

/* A new reference, or NULL.  Greenlets are not killed when their thread ends. */
static PyTaskletObject *
first_to_kill(_PyStackless_Scheduler *sched)
{
    stackless_hard *h = sched->hard;
    while (h != NULL && (_PyGreenlet_IsTasklet(h->owner)
                         || _PyStackless_IsBeingFreed(h->owner))) {
        h = h->next;
    }
    return h != NULL ? (PyTaskletObject *)Py_NewRef(h->owner) : NULL;
}

void
_PyStackless_KillHard(_PyStackless_Scheduler *sched)
{
    PyObject *exc = PyErr_GetRaisedException();
    Py_ssize_t attempts = 2 * sched->nhard;        // those that die may make others hard
    PyTaskletObject *t;
    while (attempts-- > 0 && sched->current == sched->main
           && (t = first_to_kill(sched)) != NULL) {
        _PyTasklet_KillHard(t);
        Py_DECREF(t);
    }
    PyErr_SetRaisedException(exc);
}

/* Other threads that switch tasklets see TaskletExit in what they run now, in main and
   in what is inside run(); a thread that ends in consequence kills what else it has.
   Those that sleep stay asleep. */
static void
kill_tasklets(_PyStackless_Scheduler *sched, PyObject *bomb)
{
    if (sched->tstate == NULL || sched->sleeper != NULL) {
        return;                        // dropping a value may have run code
    }
    for (Py_ssize_t i = 0; i < sched->nwatchdogs; i++) {
        _PyStackless_ThrowPending(sched->watchdogs[i], Py_NewRef(bomb));
    }
    PyTaskletObject *current = sched->current;
    if (current != NULL) {
        _PyStackless_ThrowPending(current, Py_NewRef(bomb));
    }
    PyTaskletObject *main = sched->main;
    if (main != NULL && main != current) {
        _PyStackless_ThrowPending(main, Py_NewRef(bomb));
    }
}

/* Lets other threads run for about a millisecond each, or a little more as long as there
   are any of the `n`. */
static void
let_others_run(_PyStackless_Scheduler **scheds, int n)
{
    enum { MORE = 20 };
    PyThread_type_lock lock = PyThread_allocate_lock();
    if (lock == NULL) {
        return;
    }
    PyThread_acquire_lock(lock, WAIT_LOCK);
    for (int i = 0, left = n; i < n + MORE && left > 0; i++) {
        Py_BEGIN_ALLOW_THREADS
        PyThread_acquire_lock_timed(lock, 1000, 0);
        Py_END_ALLOW_THREADS
        left = 0;
        for (int k = 0; k < n; k++) {
            left += scheds[k]->tstate != NULL;
        }
    }
    PyThread_release_lock(lock);
    PyThread_free_lock(lock);
}

void
_PyStackless_KillOtherThreads(PyThreadState *tstate)
{
    enum { MOST = 1000 };
    _PyStackless_Scheduler *scheds[MOST];
    int n = 0;
    HEAD_LOCK(&_PyRuntime);
    for (PyThreadState *ts = tstate->interp->threads.head; ts != NULL && n < MOST;
         ts = ts->next) {
        _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(ts);
        if (ts != tstate && sched != NULL && sched->sleeper == NULL) {
            sched->refcount++;
            scheds[n++] = sched;
        }
    }
    HEAD_UNLOCK(&_PyRuntime);
    if (n == 0) {
        return;
    }
    PyObject *bomb = _PyBomb_FromThrow(scheds[0]->mod, PyExc_TaskletExit, NULL, NULL);
    if (bomb == NULL) {
        PyErr_Clear();                 // no memory: they go on as they are
    }
    else {
        for (int i = 0; i < n; i++) {
            kill_tasklets(scheds[i], bomb);
        }
        let_others_run(scheds, n);
        Py_DECREF(bomb);
    }
    for (int i = 0; i < n; i++) {
        _PyStackless_ReleaseScheduler(scheds[i]);
    }
}
