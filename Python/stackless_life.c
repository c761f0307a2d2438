/* The life of a scheduler: it is made when a thread first uses tasklets, and ends with the
   thread, or later, with the last of its tasklets.  And what the garbage collector is
   told of those that are blocked.

   What happens in between is in stackless_sched.c. */

#include "Python.h"
#include "pycore_interp.h"        // PyInterpreterState
#include "pycore_object.h"        // _PyObject_GC_TRACK()
#include "pycore_pylifecycle.h"   // _Py_IsInterpreterFinalizing()
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "pycore_stackless.h"

/* --- garbage collection ---------------------------------------------------------- */

/* Lets the collector track the blocked tasklets of a thread and their channels. */
static void
show_blocked(_PyStackless_Scheduler *sched)
{
    sched->nblocked_tracked = sched->nblocked;
    PyChannelObject **link = &sched->busy;
    while (*link != NULL) {
        PyChannelObject *ch = *link;
        if (ch->first == NULL) {
            *link = ch->busy_next;
            if (ch->busy_next != NULL) {
                ch->busy_next->busy_link = link;
            }
            ch->busy_next = NULL;
            ch->busy_link = NULL;
            continue;
        }
        if (!_PyObject_GC_IS_TRACKED(ch)) {
            _PyObject_GC_TRACK(ch);
        }
        for (PyTaskletObject *t = ch->first; t != NULL; t = t->next) {
            if (!_PyObject_GC_IS_TRACKED(t)) {
                _PyObject_GC_TRACK(t);
            }
        }
        link = &ch->busy_next;
    }
}

/* Empties the list of channels that the collector must see. */
static void
forget_busy(_PyStackless_Scheduler *sched)
{
    PyChannelObject *ch;
    while ((ch = sched->busy) != NULL) {
        sched->busy = ch->busy_next;
        ch->busy_next = NULL;
        ch->busy_link = NULL;
    }
}

/* The collector is shown what is blocked when it looks for garbage everywhere: because
   the program asked for it, or when there are more than twice as many as at the last
   time.  In between they count as reachable, so a million waiting tasklets cost the
   collector nothing. */
void
_PyStackless_CollectionStart(PyThreadState *tstate, int generation, int asked_for)
{
    PyThreadState *ts = PyInterpreterState_ThreadHead(tstate->interp);
    for (; ts != NULL; ts = PyThreadState_Next(ts)) {
        _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(ts);
        if (sched == NULL) {
            continue;
        }
        sched->collecting = ts == tstate;
        if (generation == 2
            && (asked_for || sched->nblocked > 2 * sched->nblocked_tracked + 1000)) {
            show_blocked(sched);
        }
    }
}

/* --- creation and end --------------------------------------------------------- */

_PyStackless_Scheduler *_PyStackless_schedulers[STACKLESS_MAX_SCHEDULERS];
static int next_index;                 // where to look for a free one

/* Gives it an index.  Interpreters with a GIL of their own may do so at the same time.  -1
   with an exception: all are in use. */
static int
register_scheduler(_PyStackless_Scheduler *sched)
{
    int start = _Py_atomic_load_int_relaxed(&next_index);
    for (int i = 0; i < STACKLESS_MAX_SCHEDULERS; i++) {
        sched->index = (uint16_t)(start + i);
        void *expected = NULL;
        if (_Py_atomic_compare_exchange_ptr(&_PyStackless_schedulers[sched->index],
                                            &expected, sched)) {
            _Py_atomic_store_int_relaxed(&next_index, sched->index + 1);
            return 0;
        }
    }
    PyErr_Format(PyExc_RuntimeError, "at most %d threads can use tasklets, those included whose "
                 "tasklets outlived them", STACKLESS_MAX_SCHEDULERS);
    return -1;
}

static void
unregister_scheduler(_PyStackless_Scheduler *sched)
{
    _Py_atomic_store_ptr(&_PyStackless_schedulers[sched->index], NULL);
    _Py_atomic_store_int_relaxed(&next_index, sched->index);
}

_PyStackless_Scheduler *
_PyStackless_GetScheduler(PyThreadState *tstate, PyObject *module)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched != NULL) {
        return sched;
    }
    if (tstate->_status.finalizing) {
        PyErr_SetString(PyExc_RuntimeError,
                        "no tasklets can be used any more: the thread has ended");
        return NULL;
    }
    sched = PyMem_Calloc(1, sizeof(*sched));
    if (sched == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (register_scheduler(sched) < 0) {
        PyMem_Free(sched);
        return NULL;
    }
    sched->refcount = 1;
    sched->tstate = tstate;
    sched->module = Py_NewRef(module);
    sched->mod = PyModule_GetState(module);
    sched->obstacle = _PyStackless_SwitchObstacle();
    sched->left_state = TASKLET_RUNNABLE;
    sched->left_flags = TASKLET_STARTED | TASKLET_RETURNS_SELF;
    /* The dispatcher does the rest; but a tasklet of another thread may come before it. */
    sched->base.owner = FRAME_OWNED_BY_CSTACK;
    sched->base.f_executable = Py_None;
    sched->main = _PyTasklet_NewMain(sched->mod->tasklet_type, sched);
    if (sched->main == NULL) {
        sched->refcount = 0;
        unregister_scheduler(sched);
        Py_DECREF(module);
        PyMem_Free(sched);
        return NULL;
    }
    sched->main->next = sched->main->prev = sched->main;
    sched->current = sched->main;
    sched->runcount = 1;
    ((_PyThreadStateImpl *)tstate)->stackless = sched;
    if (sched->mod->schedule_callback != NULL) {
        _PyStackless_CallScheduleCallback(sched, NULL, sched->main);
    }
    return sched;
}

void
_PyStackless_ReleaseScheduler(_PyStackless_Scheduler *sched)
{
    if (--sched->refcount == 0) {
        assert(sched->tstate == NULL);
        forget_busy(sched);
        unregister_scheduler(sched);
        PyObject *module = sched->module;
        _PyStackless_DataStackFree(sched);
        _PyStackless_FreeFramePool(sched);
        for (int i = 0; i < STACKLESS_KNOWN_MISSING; i++) {
            Py_XDECREF(sched->missing[i].name);
        }
        _PyStackless_SliceRelease(&sched->cstack.slice);
        PyMem_Free(sched->main_entries);
        PyMem_Free(sched->watchdogs);
        /* A daemon thread that slept when the interpreter ended still holds on to it. */
        if (sched->lock != NULL && sched->sleeper == NULL) {
            PyThread_release_lock(sched->lock);
            PyThread_free_lock(sched->lock);
        }
        PyMem_Free(sched);
        Py_XDECREF(module);
    }
}

/* Empties the run queue but for the current tasklet: what is in it never runs. */
static void
drop_runnable(_PyStackless_Scheduler *sched)
{
    for (;;) {
        PyTaskletObject *t = sched->woken;
        if (sched->sleeper == NULL && sched->current->next != sched->current) {
            t = sched->current->next;
        }
        if (t == NULL) {
            return;
        }
        Py_INCREF(t);
        _PyStackless_QueueRemove(sched, t);
        Py_DECREF(t);
    }
}

/* A tasklet whose frames are on the C stack of a thread that has ended: nobody can go
   on with it.  Except main of a thread that returned, it leaks what its frames own, as
   the thread does. */
static void
end_current(PyThreadState *tstate, PyTaskletObject *t)
{
    t->next = t->prev = NULL;
    sched_of(t)->runcount = 0;
    t->flags &= ~TASKLET_WITH_FRAMES;
    _PyStackless_SetState(t, TASKLET_IDLE);
    _PyTasklet_SetTempval(t, NULL);
    _PyStackless_ClearExtra(tstate, t);
    Py_DECREF(t);                      // the queue's
}

/* The calling thread ends, or one that is gone already: after a fork, or a daemon thread
   at the end of the interpreter.  Such a one may have stopped anywhere. */
static void
end_scheduler(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    _PyStackless_CancelOp(sched);
    drop_runnable(sched);
    if (tstate == _PyThreadState_GET() && !_Py_IsInterpreterFinalizing(tstate->interp)) {
        _PyStackless_KillHard(sched);
        drop_runnable(sched);          // they may have left something
    }
    if (sched->current != sched->main) {
        sched->datastack_root = NULL;  // in use: upstream frees the data stack
    }
    show_blocked(sched);               // nobody will do so later
    forget_busy(sched);
    ((_PyThreadStateImpl *)tstate)->stackless = NULL;
    sched->tstate = NULL;
    _PyStackless_WatchFini(sched);
    while (sched->nwatchdogs > 0) {
        Py_DECREF(sched->watchdogs[--sched->nwatchdogs]);
    }
    PyTaskletObject *main = sched->main;
    PyTaskletObject *current = sched->current;
    sched->main = sched->current = NULL;
    Py_CLEAR(sched->exit_exc);
    Py_CLEAR(sched->greenlet_trace);
    Py_CLEAR(sched->postponed);
    if (current->state == TASKLET_CURRENT) {
        end_current(tstate, current);
    }
    Py_DECREF(main);
    _PyStackless_ReleaseScheduler(sched);
}

void
_PyStackless_ThreadEnd(PyThreadState *tstate)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched != NULL) {
        end_scheduler(tstate, sched);
    }
    _PyStackless_NoteThreadEnd(tstate);
}
