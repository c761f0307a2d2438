/* Waiting with a deadline.

   Who waits is blocked on a channel as ever: sleep() on one that no program has, the
   scheduler's sleep_channel.  The timer is a claimant like a partner or an exception that is
   thrown: whoever takes the tasklet off the channel (_PyStackless_Unblock()) stops it, and so
   exactly one of them wakes it, and a value is taken by who does.

   Nobody is told that a deadline is over: there is no thread and no signal.  The timers are
   looked at before each operation that goes the general way.  Those that go the fast way
   (switch/fast.h) do not look, so one of the runnable tasklets, the last one in the queue, is
   marked: its `epoch` is made to differ, which keeps the fast way from entering it.  That way
   they are looked at once in each round of the queue, however long that is, and nothing else
   gets slower.  If there is nobody to mark, the next switch goes the general way.

   A thread that has nobody to run sleeps until the first deadline (threads.c). */

#include "Python.h"
#include "pycore_object.h"        // _PyObject_GC_UNTRACK()
#include "Stackless/sched/sched.h"

/* --- starting and stopping --------------------------------------------------------- */

void
_PyStackless_NoticeTimers(_PyStackless_Scheduler *sched, PyTaskletObject *left)
{
    if (sched->timers.n == 0) {
        sched->watch_switch &= ~NOTICE_TIMERS;
        return;
    }
    PyTaskletObject *t = NULL;
    if (sched->sleeper == NULL) {
        if (sched->timers.marked != NULL) {
            return;
        }
        t = sched->current->prev;
        t = t == left ? t->prev : t;   // it is about to get its epoch
    }
    if (t == NULL || t == sched->current || !(t->flags & TASKLET_STARTED)
        || _PyGreenlet_IsTasklet(t)) {
        sched->watch_switch |= NOTICE_TIMERS;
        return;
    }
    sched->watch_switch &= ~NOTICE_TIMERS;
    sched->timers.marked = t;
    t->epoch = (uint16_t)(sched->epoch - 1);
}

int
_PyStackless_PrepareTimer(_PyStackless_Scheduler *sched)
{
    return _PyStackless_EnsureExtra(sched->current) < 0
           || _PyStackless_TimersReserve(sched) < 0 ? -1 : 0;
}

void
_PyStackless_StartTimer(_PyStackless_Scheduler *sched, PyTaskletObject *t, PyTime_t deadline,
                        int sleeps)
{
    assert(tasklet_is_blocked(t) && sched_of(t) == sched);
    extra_of(t)->sleeps = (uint8_t)sleeps;
    Py_INCREF(t);
    Py_INCREF(t->channel);
    t->channel->special |= CHANNEL_TIMED;
    _PyStackless_TimerStart(sched, t, deadline);
    _PyStackless_NoticeTimers(sched, NULL);
}

void
_PyStackless_StopTimer(PyTaskletObject *t)
{
    _PyStackless_Scheduler *sched = sched_of(t);
    assert(Py_REFCNT(t) > 1);
    _PyStackless_TimerStop(sched, t);
    Py_DECREF(t);
    _PyStackless_Discard(sched, (PyObject *)t->channel);
}

int
_PyStackless_MoveTimer(PyTaskletObject *t, _PyStackless_Scheduler *to)
{
    if (!tasklet_has_timer(t)) {
        return 0;
    }
    if (_PyStackless_TimersReserve(to) < 0) {
        return -1;
    }
    _PyStackless_Scheduler *from = sched_of(t);
    PyTime_t deadline = from->timers.heap[extra_of(t)->timer - 1].deadline;
    _PyStackless_TimerStop(from, t);
    _PyStackless_TimerStart(to, t, deadline - _PyStackless_Now(from) + _PyStackless_Now(to));
    _PyStackless_NoticeTimers(to, NULL);
    return 0;
}

void
_PyStackless_TimersFini(_PyStackless_Scheduler *sched)
{
    stackless_timers *timers = &sched->timers;
    while (timers->n > 0) {
        PyTaskletObject *t = timers->heap[timers->n - 1].tasklet;
        PyChannelObject *ch = t->channel;
        _PyStackless_TimerStop(sched, t);
        Py_DECREF(ch);                 // these may run any code: t is an orphan
        Py_DECREF(t);
    }
    PyMem_Free(timers->heap);
    PyObject *clock = timers->clock;
    *timers = (stackless_timers){0};
    PyChannelObject *ch = sched->sleep_channel;
    sched->sleep_channel = NULL;
    Py_XDECREF(clock);
    Py_XDECREF(ch);
}

PyChannelObject *
_PyStackless_HiddenChannel(stackless_modstate *mod)
{
    PyChannelObject *ch = (PyChannelObject *)mod->channel_type->tp_alloc(mod->channel_type, 0);
    if (ch != NULL) {
        ch->preference = -1;
        ch->special = CHANNEL_HIDDEN;
        _PyObject_GC_UNTRACK(ch);
    }
    return ch;
}

PyObject *
_PyStackless_SleepChannel(_PyStackless_Scheduler *sched)
{
    if (sched->sleep_channel == NULL) {
        sched->sleep_channel = _PyStackless_HiddenChannel(sched->mod);
    }
    return Py_XNewRef(sched->sleep_channel);
}

/* --- the time is over -------------------------------------------------------------- */

void
_PyStackless_SetTimedOut(tasklet_state fate)
{
    PyErr_SetString(PyExc_TimeoutError,
                    fate == TASKLET_SENDING ? "nobody has received the value in time"
                                            : "nothing has been received in time");
}

/* t's deadline is over: it is runnable, last in the queue. */
static void
expire(_PyStackless_Scheduler *sched, PyTaskletObject *t)
{
    PyObject *exc = NULL;
    Py_INCREF(t);
    if (extra_of(t)->sleeps == TIMER_SCOPE) {
        exc = _PyStackless_ScopeExpired(sched, t, _PyStackless_Now(sched));
    }
    if (exc == NULL && extra_of(t)->sleeps != TIMER_SLEEP) {
        PyObject *saved = PyErr_GetRaisedException();
        _PyStackless_SetTimedOut(t->state);
        exc = PyErr_GetRaisedException();
        PyErr_SetRaisedException(saved);
    }
    _PyStackless_Unblock(t);
    Py_DECREF(t);                      // the channel's
    _PyStackless_SetPending(sched, t, exc);
    if (exc != NULL) {
        t->flags |= TASKLET_RAISES;
    }
    _PyStackless_QueueAppend(sched, t);
    Py_DECREF(t);
}

void
_PyStackless_EndTimers(_PyStackless_Scheduler *sched, PyTime_t now)
{
    enum { MOST_TRASH = 3 };           // each of them may leave two more: the rest comes later
    stackless_timers *timers = &sched->timers;
    while (timers->n > 0 && timers->heap[0].deadline <= now && sched->ntrash <= MOST_TRASH) {
        expire(sched, timers->heap[0].tasklet);
    }
    _PyStackless_NoticeTimers(sched, NULL);
}

void
_PyStackless_LookAtTimersSlow(_PyStackless_Scheduler *sched)
{
    PyTime_t now;
    PyObject *exc = NULL;
    if (sched->timers.clock != NULL) {
        exc = PyErr_GetRaisedException();
    }
    if (_PyStackless_AskClock(sched, &now) < 0) {
        PyErr_FormatUnraisable("Exception ignored in the clock of the scheduler");
        now = sched->timers.last;
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
    _PyStackless_EndTimers(sched, now);
}

int
_PyStackless_WaitsForTime(_PyStackless_Scheduler *sched, int timed)
{
    PyTaskletObject *w = _PyStackless_WakeupTarget(sched);
    if (!timed && sched->timers.n == 0) {
        return 0;
    }
    return !(sched->nwatchdogs > 0 && w->state == TASKLET_PAUSED && extra_of(w) != NULL
             && extra_of(w)->nowait);
}
