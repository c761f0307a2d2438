/* What the operations of a thread's scheduler (sched.c) change: the states of
   tasklets, the run queue, the tasklets inside run() (watchdogs), pending results, the
   trash.

   References that are dropped here and may be the last ones go to the scheduler's trash. */

#include "Python.h"
#include "pycore_object.h"        // _PyObject_GC_TRACK()
#include "Stackless/sched/sched.h"

/* --- states and lists ------------------------------------------------------ */

#ifndef NDEBUG
int
_PyStackless_IsLegal(PyTaskletObject *t, tasklet_state state)
{
    enum { IDLE = 1 << TASKLET_IDLE, PAUSED = 1 << TASKLET_PAUSED,
           RUNNABLE = 1 << TASKLET_RUNNABLE, CURRENT = 1 << TASKLET_CURRENT,
           BLOCKED = 1 << TASKLET_RECEIVING | 1 << TASKLET_SENDING };
    static const uint8_t legal[] = {   // the states that may follow
        [TASKLET_IDLE] = PAUSED | RUNNABLE,
        [TASKLET_PAUSED] = RUNNABLE | BLOCKED | IDLE,   // blocked: unpickled
        [TASKLET_RUNNABLE] = CURRENT | PAUSED | IDLE,
        [TASKLET_CURRENT] = RUNNABLE | PAUSED | BLOCKED | IDLE,
        [TASKLET_RECEIVING] = PAUSED | RUNNABLE,
        [TASKLET_SENDING] = PAUSED | RUNNABLE,
    };
    return (legal[t->state] & (1 << state)) != 0;
}
#endif

/* Runnable tasklets are reachable by construction, and blocked ones are shown to the
   garbage collector only when it makes a full collection (_PyStackless_CollectionStart),
   so it is the paused and the idle ones that are tracked. */
void
_PyStackless_SetState(PyTaskletObject *t, tasklet_state state)
{
    assert(_PyStackless_IsLegal(t, state));
    t->state = (uint8_t)state;
    int tracked = _PyObject_GC_IS_TRACKED(t);
    if (state == TASKLET_PAUSED || state == TASKLET_IDLE) {
        if (!tracked) {
            _PyObject_GC_TRACK(t);
        }
        return;
    }
    if (tracked) {
        _PyStackless_Untrack(t);
    }
    if (state == TASKLET_RUNNABLE && _PyGreenlet_IsTasklet(t)) {
        sched_of(t)->mod->greenlets->own(t);
    }
}

/* A class may have a finalizer of its own, which makes the tasklet runnable: upstream's
   subtype_dealloc() expects it to be tracked then. */
void
_PyStackless_Untrack(PyTaskletObject *t)
{
    PyTypeObject *type = sched_of(t)->mod->tasklet_type;
    if (Py_TYPE(t)->tp_finalize == type->tp_finalize || _PyGreenlet_IsTasklet(t)) {
        _PyObject_GC_UNTRACK(t);
    }
}

/* Appends t at the end: before the current tasklet.  The queue takes a reference. */
void
_PyStackless_QueueInsert(_PyStackless_Scheduler *sched, PyTaskletObject *pos,
                    PyTaskletObject *t)
{
    Py_INCREF(t);
    _PyStackless_QueueLink(sched, pos, t);
    _PyStackless_SetState(t, TASKLET_RUNNABLE);
}

void
_PyStackless_QueueAppend(_PyStackless_Scheduler *sched, PyTaskletObject *t)
{
    if (sched->sleeper != NULL) {
        _PyStackless_QueueAsleep(t, 0);
    }
    else {
        _PyStackless_QueueInsert(sched, sched->current, t);
    }
}

/* Takes t, which is not current, out of the queue; it is then paused.  The queue's
   reference is dropped, so the caller must hold one. */
void
_PyStackless_QueueRemove(_PyStackless_Scheduler *sched, PyTaskletObject *t)
{
    assert(t->state == TASKLET_RUNNABLE && Py_REFCNT(t) > 1);
    if (sched->sleeper != NULL) {
        _PyStackless_UnqueueAsleep(t);
    }
    if (t == sched->timers.marked) {
        sched->timers.marked = NULL;
        sched->watch_switch |= NOTICE_TIMERS;
    }
    _PyStackless_QueueUnlink(sched, t);
    _PyStackless_SetState(t, TASKLET_PAUSED);
    Py_DECREF(t);
}

void
_PyStackless_Unblock(PyTaskletObject *t)
{
    assert(tasklet_is_blocked(t));
    PyChannelObject *ch = t->channel;
    if (ch->special && _PyStackless_UnblockProxy(t)) {
        return;
    }
    if (tasklet_has_timer(t)) {
        _PyStackless_StopTimer(t);     // the channel's last reference may be in the trash now
    }
    if (_PyStackless_IsSelecting(t)) {
        _PyStackless_StopSelect(t);
    }
    _PyChannel_Unlink(sched_of(t), t);
    if (ch->first == NULL) {
        ch->special &= ~CHANNEL_TIMED;
    }
    _PyStackless_SetState(t, TASKLET_PAUSED);
}

void
_PyStackless_EmptyTrash(_PyStackless_Scheduler *sched)
{
    PyObject *trash[Py_ARRAY_LENGTH(sched->trash)];
    int n = sched->ntrash;
    memcpy(trash, sched->trash, n * sizeof(PyObject *));
    sched->ntrash = 0;
    for (int i = 0; i < n; i++) {
        Py_DECREF(trash[i]);
    }
}

void
_PyStackless_SetPending(_PyStackless_Scheduler *sched, PyTaskletObject *t, PyObject *value)
{
    _PyStackless_Discard(sched, t->tempval);
    t->tempval = value;
    t->flags &= ~(TASKLET_RETURNS_SELF | TASKLET_RAISES);
}

PyObject *
_PyStackless_TakeResult(PyTaskletObject *t)
{
    PyObject *value = t->tempval;
    int returns_none = 0;
    if (extra_of(t) != NULL && extra_of(t)->select != NULL) {
        assert(!tasklet_is_blocked(t));
        _PyStackless_Discard(sched_of(t), (PyObject *)extra_of(t)->select);
        extra_of(t)->select = NULL;
    }
    if (t->flags & TASKLET_STARTED) {
        returns_none = t->flags & TASKLET_RETURNS_NONE;
        t->flags &= ~TASKLET_RETURNS_NONE;
    }
    if (t->flags & TASKLET_RETURNS_SELF) {
        t->flags &= ~TASKLET_RETURNS_SELF;
        return Py_NewRef(t);
    }
    if (value == NULL) {
        return Py_None;
    }
    t->tempval = NULL;
    int raises = t->flags & TASKLET_RAISES;
    t->flags &= ~TASKLET_RAISES;
    if (Py_IS_TYPE(value, sched_of(t)->mod->bomb_type)) {
        _PyBomb_Explode(value);
        Py_DECREF(value);
        return NULL;
    }
    if (raises) {
        const stackless_greenlet_hooks *greenlets = sched_of(t)->mod->greenlets;
        if (greenlets != NULL && Py_IS_TYPE(value, greenlets->traced_type)) {
            return greenlets->take_traced(sched_of(t), value);
        }
        PyErr_SetRaisedException(value);
        return NULL;
    }
    if (returns_none) {
        _PyStackless_Discard(sched_of(t), value);
        return Py_None;
    }
    return value;
}

void
_PyTasklet_SetTempval(PyTaskletObject *t, PyObject *value)
{
    t->flags &= ~(TASKLET_RETURNS_SELF | TASKLET_RAISES);
    Py_XSETREF(t->tempval, value);
}

/* --- watchdogs --------------------------------------------------------------------- */

PyTaskletObject *
_PyStackless_WakeupTarget(_PyStackless_Scheduler *sched)
{
    return sched->nwatchdogs ? sched->watchdogs[sched->nwatchdogs - 1] : sched->main;
}

int
_PyStackless_WatchdogsReserve(_PyStackless_Scheduler *sched)
{
    if (sched->nwatchdogs == sched->watchdogs_size) {
        Py_ssize_t size = sched->watchdogs_size * 2 + 8;
        void *mem = PyMem_Realloc(sched->watchdogs, size * sizeof(PyTaskletObject *));
        if (mem == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        sched->watchdogs = mem;
        sched->watchdogs_size = size;
    }
    return 0;
}

/* t, which is inside run(), will never return from there: it is made to forget what it
   was doing. */
void
_PyStackless_WatchdogRemove(_PyStackless_Scheduler *sched, PyTaskletObject *t)
{
    for (Py_ssize_t i = 0; i < sched->nwatchdogs; i++) {
        if (sched->watchdogs[i] == t) {
            if (t == sched->timed) {
                _PyStackless_WatchStop(sched);
            }
            sched->nwatchdogs--;
            for (Py_ssize_t k = i; k < sched->nwatchdogs; k++) {
                sched->watchdogs[k] = sched->watchdogs[k + 1];
            }
            Py_DECREF(t);              // the caller has one
            return;
        }
    }
}

void
_PyStackless_WatchdogsPop(_PyStackless_Scheduler *sched, PyTaskletObject *t)
{
    Py_ssize_t i = sched->nwatchdogs;
    while (--i >= 0 && sched->watchdogs[i] != t) {
    }
    if (i < 0) {
        return;
    }
    for (Py_ssize_t k = sched->nwatchdogs - 1; k > i; k--) {
        PyTaskletObject *w = sched->watchdogs[k];
        if (w == sched->timed) {
            _PyStackless_WatchStop(sched);
        }
        if (w->state == TASKLET_PAUSED) {
            _PyStackless_QueueInsert(sched, t, w);
        }
        Py_DECREF(w);                  // it is in the queue, or blocked
    }
    if (t == sched->timed) {
        _PyStackless_WatchStop(sched);
    }
    sched->nwatchdogs = i;
    Py_DECREF(t);                      // it is in the queue
}
