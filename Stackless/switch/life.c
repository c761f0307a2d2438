/* The life of a scheduler: it is made when a thread first uses tasklets, and ends with the
   thread, or later, with the last of its tasklets.  And what the garbage collector is
   told of those that are blocked.

   What happens in between is in sched/sched.c. */

#include "Python.h"
#include "pycore_interp.h"        // PyInterpreterState
#include "pycore_object.h"        // _PyObject_GC_TRACK()
#include "pycore_pylifecycle.h"   // _Py_IsInterpreterFinalizing()
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/switch/switch.h"

/* --- garbage collection ---------------------------------------------------------- */

static void
show_channel(PyChannelObject *ch)
{
    if (!_PyObject_GC_IS_TRACKED(ch)) {
        _PyObject_GC_TRACK(ch);
    }
    for (PyTaskletObject *t = ch->first; t != NULL; t = t->next) {
        if (!_PyObject_GC_IS_TRACKED(t)) {
            _PyObject_GC_TRACK(t);
        }
    }
}

/* Lets the collector track the blocked tasklets of a thread and their channels.  (One that is
   being freed lets go of them.) */
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
        if (!_PyStackless_IsBeingFreed(ch)) {
            show_channel(ch);
        }
        link = &ch->busy_next;
    }
}

/* The collector is shown what is blocked when it looks for garbage everywhere: because
   the program asked for it, or when there are more than twice as many as at the last
   time.  In between they count as reachable, so a million waiting tasklets cost the
   collector nothing. */
void
_PyStackless_CollectionStart(PyThreadState *tstate, int generation, int asked_for,
                             PyGC_Head *unreachable, PyGC_Head *finalizers)
{
    _PyStackless_NoteCollection(tstate, unreachable, finalizers);
    PyThreadState *ts = PyInterpreterState_ThreadHead(tstate->interp);
    for (; ts != NULL; ts = PyThreadState_Next(ts)) {
        _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(ts);
        if (sched == NULL) {
            continue;
        }
        if (generation == 2
            && (asked_for || sched->nblocked > 2 * sched->nblocked_tracked + 1000)) {
            show_blocked(sched);
        }
    }
}

/* --- creation and end --------------------------------------------------------- */

static PyTaskletObject *
new_main(_PyStackless_Scheduler *sched)
{
    PyTypeObject *type = sched->mod->tasklet_type;
    PyTaskletObject *t = (PyTaskletObject *)type->tp_alloc(type, 0);
    if (t != NULL) {
        _PyStackless_Adopt(sched, t);
        t->state = TASKLET_CURRENT;
        t->flags = TASKLET_IS_MAIN | TASKLET_STARTED;
        Py_INCREF(t);                  // the run queue's
        _PyObject_GC_UNTRACK(t);
    }
    return t;
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
    sched = _PyStackless_AllocScheduler();
    if (sched == NULL) {
        return NULL;
    }
    sched->tstate = tstate;
    sched->module = Py_NewRef(module);
    sched->mod = PyModule_GetState(module);
    sched->pickle_flags = sched->mod->pickle_flags;
    sched->timers.last = PyTime_MIN;
    sched->obstacle = _PyStackless_SwitchObstacle();
    sched->left_state = TASKLET_RUNNABLE;
    sched->left_flags = TASKLET_STARTED | TASKLET_RETURNS_SELF;
    /* The dispatcher does the rest; but a tasklet of another thread may come before it. */
    sched->base.owner = FRAME_OWNED_BY_CSTACK;
    sched->base.f_executable = Py_None;
    sched->main = new_main(sched);
    if (sched->main == NULL) {
        sched->tstate = NULL;
        _PyStackless_ReleaseScheduler(sched);
        return NULL;
    }
    sched->main->next = sched->main->prev = sched->main;
    sched->current = sched->main;
    sched->runcount = 1;
    ((_PyThreadStateImpl *)tstate)->stackless = sched;
    _PyStackless_TellMain(sched);
    return sched;
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

/* A tasklet whose frames are those of a thread that has ended, or on its C stack: nobody can
   go on with it.  Except main of a thread that returned, it leaks what its frames own, as
   the thread does. */
static void
end_tasklet(PyThreadState *tstate, PyTaskletObject *t)
{
    t->flags &= ~TASKLET_WITH_FRAMES;
    _PyStackless_SetState(t, TASKLET_IDLE);
    _PyTasklet_SetTempval(t, NULL);
    _PyStackless_ClearExtra(tstate, t);
}

static void
end_current(PyThreadState *tstate, PyTaskletObject *t)
{
    t->next = t->prev = NULL;
    sched_of(t)->runcount = 0;
    end_tasklet(tstate, t);
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
    _PyStackless_AbandonCollection(sched);
    show_blocked(sched);               // nobody will do so later
    _PyStackless_ForgetBusy(sched);
    ((_PyThreadStateImpl *)tstate)->stackless = NULL;
    sched->tstate = NULL;
    _PyStackless_WatchFini(sched);
    _PyStackless_TimersFini(sched);
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
    if (main->state == TASKLET_PAUSED) {
        end_tasklet(tstate, main);
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
