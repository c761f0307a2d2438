/* What goes on between threads: run queues of other threads, sleeping for want of work,
   moving tasklets, and the end of threads.

   All threads of an interpreter share its GIL, and nothing of ours is shared between
   interpreters, so the queues need no locks.  A thread acts on another one's tasklets
   by linking them into queues, never by switching; the other thread finds them there
   when it holds the GIL again.

   Sleeping
   --------
   When the last runnable tasklet of a thread leaves the run queue, nothing else can go
   on, and other threads could change that, the thread sleeps: `sleeper` is the tasklet,
   which is on its channel like any other that is blocked (or paused), so that other
   threads can serve it.  Its frames stay where they are and its fields stay in the
   thread state, for nobody else uses either: tasklet_is_executing().  What becomes
   runnable meanwhile is a cyclic list again, with `woken` as its head.  Whoever adds to
   it releases `lock`, for which the sleeping thread waits with the GIL released.

   invariants   sleeper != NULL: the queue (runcount) has only what is woken; no member
                of it is CURRENT; current == sleeper
                sleeper == NULL: woken == NULL, the lock is held
                signalled: the lock has been released and not yet acquired again

   Python code must not run in a thread that sleeps, since `current` is not what it
   expects.  So for signal handlers and the schedule callback the sleeper is first made
   current again, as if it had never left (wake_undone), and afterwards the operation is
   decided anew.  That is also how it fails: nothing is left half done.  (Rejected: to
   suspend the sleeper properly and to sleep in the dispatcher.  There would be no
   tasklet to run signal handlers in, and main would need a dispatcher only to sleep.)

   Deadlock
   --------
   A thread can be woken as long as another thread of the interpreter is not asleep in
   this sense.  That is looked at before a thread falls asleep, and when a thread ends:
   then one of the sleeping threads, the initial one if it sleeps, is woken to decide
   anew.  A thread that the interpreter waits for at its end (not a daemon thread) would
   wait for ever for a main thread that does the same, so it looks now and then, without
   the GIL, whether the end has come.  The main thread looks, too, whether a signal has
   come, for that does not always interrupt its waiting: it may have come a moment
   before, or to another thread. */

#include "Python.h"
#include "pycore_ceval.h"
#include "pycore_interp.h"        // PyInterpreterState
#include "pycore_object.h"        // _PyObject_GC_TRACK()
#include "pycore_pystate.h"       // HEAD_LOCK()
#include "pycore_runtime.h"       // _PyRuntime
#include "Stackless/sched/sched.h"

/* How often they look, in microseconds. */
#define LOOK_EVERY 100000

enum { JOINED_UNKNOWN, JOINED_YES, JOINED_NO };        // joined_at_exit

/* --- threads ------------------------------------------------------------------- */

static int
is_asleep(PyThreadState *ts)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(ts);
    return sched != NULL && sched->sleeper != NULL && sched->woken == NULL
           && sched->timers.n == 0;
}

int
_PyStackless_IsInitialThread(_PyStackless_Scheduler *sched)
{
    PyThreadState *tstate = sched->tstate;
    PyInterpreterState *interp = tstate->interp;
    if (_Py_IsMainInterpreter(interp)) {
        return _Py_IsMainThread();
    }
    if (_PyInterpreterState_IsRunningMain(interp)) {
        return _PyThreadState_IsRunningMain(tstate);
    }
    /* Py_NewInterpreter() makes the first thread, and does not say that it is "main". */
    return tstate == &interp->_initial_thread.base && PyThreadState_Next(tstate) == NULL;
}

int
_PyStackless_OthersRun(_PyStackless_Scheduler *sched)
{
    PyThreadState *tstate = sched->tstate;
    PyInterpreterState *interp = tstate->interp;
    int main_waits = interp->finalizing && sched->joined_at_exit == JOINED_YES;
    int found = 0;
    HEAD_LOCK(&_PyRuntime);
    for (PyThreadState *ts = interp->threads.head; ts != NULL && !found; ts = ts->next) {
        found = ts != tstate && !ts->_status.finalizing && !is_asleep(ts)
                && !(main_waits && ts->thread_id == _PyRuntime.main_thread);
    }
    HEAD_UNLOCK(&_PyRuntime);
    return found;
}

/* The scheduler of the thread `id` (borrowed), NULL if it has none. */
static _PyStackless_Scheduler *
scheduler_of(PyInterpreterState *interp, unsigned long id)
{
    _PyStackless_Scheduler *sched = NULL;
    HEAD_LOCK(&_PyRuntime);
    for (PyThreadState *ts = interp->threads.head; ts != NULL; ts = ts->next) {
        if (ts->thread_id == id && _PyStackless_PeekScheduler(ts) != NULL) {
            sched = _PyStackless_PeekScheduler(ts);
            break;
        }
    }
    HEAD_UNLOCK(&_PyRuntime);
    return sched;
}

int
_PyStackless_ThreadBlocks(_PyStackless_Scheduler *sched)
{
    for (Py_ssize_t i = 0; i < sched->nwatchdogs; i++) {
        tasklet_extra *extra = extra_of(sched->watchdogs[i]);
        if (extra != NULL && extra->threadblock) {
            return 1;
        }
    }
    return 0;
}

/* --- the run queue of a thread that sleeps ---------------------------------------- */

static void
wake(_PyStackless_Scheduler *sched)
{
    if (!sched->signalled) {
        sched->signalled = 1;
        PyThread_release_lock(sched->lock);
    }
}

/* Links t as the last one before `head`, which may be NULL.  The queue takes over a
   reference. */
static void
link_before(_PyStackless_Scheduler *sched, PyTaskletObject *head, PyTaskletObject *t)
{
    if (head != NULL) {
        _PyStackless_QueueLink(sched, head, t);
    }
    else {
        t->next = t->prev = t;
        sched->runcount++;
    }
}

void
_PyStackless_QueueAsleep(PyTaskletObject *t, int first)
{
    _PyStackless_Scheduler *sched = sched_of(t);
    Py_INCREF(t);
    link_before(sched, sched->woken, t);
    if (first || sched->woken == NULL) {
        sched->woken = t;
    }
    _PyStackless_SetState(t, TASKLET_RUNNABLE);
    _PyStackless_CheckAsleep(sched);
    wake(sched);
}

void
_PyStackless_UnqueueAsleep(PyTaskletObject *t)
{
    _PyStackless_Scheduler *sched = sched_of(t);
    if (sched->woken == t) {
        sched->woken = t->next == t ? NULL : t->next;
    }
}

/* --- sleeping ------------------------------------------------------------------------ */

static int
lock_init(_PyStackless_Scheduler *sched)
{
    if (sched->lock == NULL) {
        sched->lock = PyThread_allocate_lock();
        if (sched->lock == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        PyThread_acquire_lock(sched->lock, WAIT_LOCK);
    }
    return 0;
}

/* Will threading._shutdown() wait for the calling thread? */
static int
is_joined_at_exit(PyThreadState *tstate)
{
    PyObject *threading = PyImport_GetModule(&_Py_ID(threading));
    PyObject *active = NULL, *id = NULL, *thread = NULL, *daemon = NULL;
    int joined = 0;
    if (threading != NULL) {
        active = PyObject_GetAttrString(threading, "_active");
        id = PyLong_FromUnsignedLong(tstate->thread_id);
        thread = active && id ? PyObject_GetItem(active, id) : NULL;
        daemon = thread ? PyObject_GetAttrString(thread, "_daemonic") : NULL;
        joined = daemon == Py_False;
    }
    PyErr_Clear();                     // then it is none of module threading's
    Py_XDECREF(threading);
    Py_XDECREF(active);
    Py_XDECREF(id);
    Py_XDECREF(thread);
    Py_XDECREF(daemon);
    return joined;
}

/* Without the GIL: is there something else to do than to sleep? */
static int
is_called(PyThreadState *tstate, PyInterpreterState *interp)
{
    const uintptr_t calls = _PY_SIGNALS_PENDING_BIT | _PY_CALLS_TO_DO_BIT
                            | _PY_ASYNC_EXCEPTION_BIT;
    return interp->finalizing
           || (_Py_atomic_load_uintptr_relaxed(&tstate->eval_breaker) & calls);
}

static int
has_async_exception(PyThreadState *tstate)
{
    return (_Py_atomic_load_uintptr_relaxed(&tstate->eval_breaker)
            & _PY_ASYNC_EXCEPTION_BIT) != 0;
}

static PyTime_t
monotonic(void)
{
    PyTime_t now;
    return PyTime_MonotonicRaw(&now) < 0 ? 0 : now;
}

/* In microseconds, until `end` at most (-1: no limit): 0 if that is over. */
static PY_TIMEOUT_T
how_long(PyTime_t end)
{
    PyTime_t left = end < 0 ? LOOK_EVERY : (end - monotonic() + 999) / 1000;
    return Py_MAX(Py_MIN(left, LOOK_EVERY), 0);
}

/* Waits for the lock, `limit` nanoseconds at most (-1: no limit), with the GIL released.
   Returns false if a signal or an exception for
   this thread came instead.  A daemon thread does not return from here when the
   interpreter has ended.  Its thread state may then be gone, so it looks with the GIL. */
static int
wait_for_lock(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyTime_t limit)
{
    PyInterpreterState *interp = tstate->interp;
    PyThread_type_lock lock = sched->lock;
    int interruptible = _Py_ThreadCanHandleSignals(interp);
    int looks = interruptible || sched->joined_at_exit == JOINED_YES;
    PyTime_t end = limit < 0 ? -1 : monotonic() + limit;
    PyLockStatus status;
    int over;
    do {
        Py_BEGIN_ALLOW_THREADS
        do {
            status = PyThread_acquire_lock_timed(lock, how_long(end), interruptible);
            over = how_long(end) == 0;
        } while (status == PY_LOCK_FAILURE && !over && looks && !is_called(tstate, interp));
        Py_END_ALLOW_THREADS
    } while (status == PY_LOCK_FAILURE && !over && !looks && !has_async_exception(tstate));
    if (sched->signalled) {
        sched->signalled = 0;
        if (status != PY_LOCK_ACQUIRED) {
            PyThread_acquire_lock(lock, WAIT_LOCK);
        }
    }
    return status == PY_LOCK_ACQUIRED || (status == PY_LOCK_FAILURE && over);
}

/* What the sleeper had before. */
typedef struct {
    PyObject *tempval;
    int flags;
} saved_pending;

enum { PENDING_FLAGS = TASKLET_RETURNS_SELF | TASKLET_RETURNS_NONE | TASKLET_RAISES };

void
_PyStackless_TakePlace(PyTaskletObject *t, const stackless_place *place)
{
    PyChannelObject *ch = t->channel;
    PyTaskletObject *after = place->after;
    if (!place->known || t->prev == NULL) {
        return;
    }
    if (after != NULL && (!tasklet_is_blocked(after) || after->channel != ch)) {
        after = NULL;                  // it has been served, and so are those before it
    }
    if (after == t->prev) {
        return;
    }
    ch->last = t->prev;
    ch->last->next = NULL;
    t->prev = after;
    t->next = after != NULL ? after->next : ch->first;
    t->next->prev = t;
    if (after != NULL) {
        after->next = t;
    }
    else {
        ch->first = t;
    }
}

static saved_pending
fall_asleep(_PyStackless_Scheduler *sched, const stackless_nap *nap)
{
    PyTaskletObject *t = sched->current;
    saved_pending old = { t->tempval, t->flags & PENDING_FLAGS };
    assert(t->next == t && sched->runcount == 1);
    t->tempval = Py_XNewRef(nap->value);
    t->flags = (t->flags & ~PENDING_FLAGS) | nap->flags;
    _PyStackless_QueueUnlink(sched, t);
    _PyStackless_SetState(t, nap->fate);
    sched->sleeper = t;
    /* The queue's reference goes to the channel or the watchdogs, or is dropped: the
       caller has one. */
    if (nap->channel != NULL) {
        _PyChannel_Append(sched, nap->channel, t);
        _PyStackless_TakePlace(t, nap->place);
        if (nap->deadline != 0) {
            _PyStackless_StartTimer(sched, t, nap->deadline, nap->sleeps);
        }
        if (nap->selection != NULL) {
            _PyStackless_StartSelect(sched, t, nap->selection);
        }
    }
    else if (nap->watches) {
        sched->watchdogs[sched->nwatchdogs++] = t;
    }
    else {
        Py_DECREF(t);
    }
    _PyStackless_CheckAsleep(sched);
    return old;
}

/* The sleeper, which is not runnable, is current again, before all others.  */
static void
wake_undone(_PyStackless_Scheduler *sched, const stackless_nap *nap)
{
    PyTaskletObject *t = sched->sleeper;
    PyTaskletObject *head = sched->woken;
    if (tasklet_is_blocked(t)) {
        _PyStackless_Discard(sched, (PyObject *)nap->place->after);
        nap->place->known = 1;
        nap->place->after = (PyTaskletObject *)Py_XNewRef(t->prev);
        _PyStackless_Unblock(t);       // the channel's reference is the queue's now
    }
    else {
        Py_INCREF(t);
        if (nap->watches) {
            _PyStackless_WatchdogRemove(sched, t);
        }
    }
    sched->sleeper = sched->woken = NULL;
    link_before(sched, head, t);
    _PyStackless_SetState(t, TASKLET_RUNNABLE);
    _PyStackless_SetState(t, TASKLET_CURRENT);
}

static void
restore_pending(_PyStackless_Scheduler *sched, saved_pending old)
{
    PyTaskletObject *t = sched->current;
    _PyStackless_Discard(sched, t->tempval);
    t->tempval = old.tempval;
    t->flags = (t->flags & ~PENDING_FLAGS) | old.flags;
}

/* The sleeper's operation is done: it goes on. */
static op_outcome
finish_nap(_PyStackless_Scheduler *sched, PyObject **result)
{
    _PyStackless_WatchdogsPop(sched, sched->current);
    *result = _PyStackless_TakeResult(sched->current);
    return *result != NULL ? OP_DONE : OP_ERROR;
}

/* `next`, which is runnable, is current instead of the sleeper. */
static op_outcome
hand_on(_PyStackless_Scheduler *sched, PyTaskletObject *next)
{
    _PyStackless_SetState(next, TASKLET_CURRENT);
    sched->current = next;
    sched->carry_tracing = 0;
    _PyStackless_WatchdogsPop(sched, next);
    return OP_SWITCHED;
}

/* The schedule callback sees the switch from the sleeper, which is runnable, but not the
   first one, to that. */
static op_outcome
hand_on_with_callback(_PyStackless_Scheduler *sched, PyTaskletObject *head,
                      PyObject **result)
{
    PyTaskletObject *t = sched->current;
    schedule_told told = {0};
    decision d;
    _PyStackless_QueueUnlink(sched, t);
    _PyStackless_QueueLink(sched, head, t);
    _PyStackless_SetState(t, TASKLET_CURRENT);
    do {
        d = (decision){ .next = t->next, .fate = TASKLET_RUNNABLE, .direct = 1 };
    } while (d.next != t && _PyStackless_TellSwitch(sched, &d, &told));
    if (d.next == t) {
        return finish_nap(sched, result);
    }
    _PyStackless_SetState(t, TASKLET_RUNNABLE);
    return hand_on(sched, d.next);
}

/* The thread woke up with something to do, or for a signal, or without hope. */
static op_outcome
wake_up(_PyStackless_Scheduler *sched, const stackless_nap *nap, saved_pending *old,
        PyObject **result)
{
    PyTaskletObject *t = sched->sleeper;
    PyTaskletObject *head = sched->woken;
    int done = nap->channel != NULL && !tasklet_is_blocked(t);
    if (nap->ends) {
        if (t->state == TASKLET_RUNNABLE) {
            _PyStackless_QueueRemove(sched, t);    // another thread has inserted it
        }
        head = NULL;
    }
    if (t->state == TASKLET_RUNNABLE || (head != NULL && !sched->mod->schedule_callback)) {
        sched->sleeper = sched->woken = NULL;
        _PyStackless_Discard(sched, old->tempval);
        if (head == t) {
            _PyStackless_SetState(t, TASKLET_CURRENT);
            return finish_nap(sched, result);
        }
        return sched->mod->schedule_callback == NULL
               ? hand_on(sched, head)
               : hand_on_with_callback(sched, head, result);
    }
    wake_undone(sched, nap);
    if (done) {
        /* Served or thrown into, and then taken out of the queue. */
        _PyStackless_Discard(sched, old->tempval);
        return finish_nap(sched, result);
    }
    restore_pending(sched, *old);
    return OP_DONE;
}

/* In the middle of an instruction: nobody can be interrupted here. */
static int
handle_events(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    _PyInterpreterFrame *handling = sched->moment.handling;
    sched->moment.handling = tstate->current_frame;
    int err = _Py_HandlePending(tstate);
    sched->moment.handling = handling;
    return err;
}

/* wait_for_lock(), until the first deadline at most: then some are runnable.  False, too, if a
   clock of the program's has to be asked: that runs Python code. */
static int
wait_for_time(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    enum { ASK_EVERY = 10000000 };     // nanoseconds: it may be slower or faster
    stackless_timers *timers = &sched->timers;
    PyTime_t limit = -1;
    if (timers->n != 0) {
        limit = timers->is_virtual ? 0 : timers->heap[0].deadline - _PyStackless_Now(sched);
        limit = timers->clock != NULL ? Py_MIN(limit, ASK_EVERY) : limit;
        limit = Py_MAX(limit, 0);
    }
    int res = limit == 0 ? 1 : wait_for_lock(tstate, sched, limit);
    if (timers->n == 0) {
        return res;
    }
    if (timers->is_virtual && res && sched->woken == NULL
        && timers->heap[0].deadline > timers->last) {
        timers->last = timers->heap[0].deadline;
    }
    _PyStackless_EndTimers(sched, _PyStackless_Now(sched));
    if (sched->signalled) {
        sched->signalled = 0;
        PyThread_acquire_lock(sched->lock, WAIT_LOCK);
    }
    return timers->clock == NULL ? res : sched->woken != NULL;
}

op_outcome
_PyStackless_Sleep(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                   const stackless_nap *nap, PyObject **result)
{
    PyTaskletObject *t = sched->current;
    *result = NULL;
    if (lock_init(sched) < 0) {
        return OP_ERROR;
    }
    if (sched->joined_at_exit == JOINED_UNKNOWN) {
        sched->joined_at_exit = JOINED_NO;
        if (!_Py_IsMainThread() && is_joined_at_exit(tstate)) {
            sched->joined_at_exit = JOINED_YES;
        }
        return OP_DONE;                // other threads may have run
    }
    Py_INCREF(t);
    saved_pending old = fall_asleep(sched, nap);
    int interrupted;
    do {
        interrupted = !wait_for_time(tstate, sched);
        _PyStackless_CheckAsleep(sched);
    } while (sched->woken == NULL && !interrupted
             && (sched->timers.n != 0 || _PyStackless_OthersRun(sched)));
    op_outcome outcome = wake_up(sched, nap, &old, result);
    _PyStackless_WatchWake(sched);
    _PyStackless_Discard(sched, (PyObject *)t);
    if (outcome == OP_DONE && *result == NULL) {
        _PyStackless_EmptyTrash(sched);
        if (interrupted && handle_events(tstate, sched) < 0) {
            return OP_ERROR;
        }
        PyTime_t now;
        if (sched->timers.clock != NULL && _PyStackless_AskClock(sched, &now) < 0) {
            return OP_ERROR;
        }
    }
    return outcome;
}

/* --- tasklets of other threads --------------------------------------------------------- */

void
_PyStackless_RunElsewhere(PyTaskletObject *t)
{
    _PyStackless_Scheduler *sched = sched_of(t);
    if (t->state == TASKLET_CURRENT) {
        return;
    }
    Py_INCREF(t);
    if (t->state == TASKLET_RUNNABLE) {
        _PyStackless_QueueRemove(sched, t);
    }
    if (sched->sleeper != NULL) {
        _PyStackless_QueueAsleep(t, 1);
        Py_DECREF(t);
    }
    else {
        _PyStackless_QueueLink(sched, sched->current->next, t);
        _PyStackless_SetState(t, TASKLET_RUNNABLE);
    }
}

void
_PyStackless_ThrowPending(PyTaskletObject *t, PyObject *bomb)
{
    Py_INCREF(t);
    PyObject *ch = NULL;
    if (tasklet_is_blocked(t)) {
        ch = tasklet_has_timer(t) ? Py_NewRef(t->channel) : NULL;  // nothing for its trash
        _PyStackless_Unblock(t);
        Py_DECREF(t);                  // the channel's
    }
    if (!tasklet_is_queued(t)) {
        _PyStackless_QueueAppend(sched_of(t), t);
    }
    PyObject *old = t->tempval;
    t->tempval = bomb;
    t->flags &= ~(TASKLET_RETURNS_SELF | TASKLET_RAISES);
    if (t->state == TASKLET_CURRENT) {
        t->flags |= TASKLET_RAISES;    // for _PyStackless_CheckThrown()
    }
    Py_XDECREF(old);
    Py_DECREF(t);
    Py_XDECREF(ch);
}

/* --- moving a tasklet ---------------------------------------------------------------------- */

/* A suspended tasklet's frames end at its scheduler's base frame, its chain of handled
   exceptions at its scheduler's root. */
static void
relink(PyTaskletObject *t, _PyStackless_Scheduler *from, _PyStackless_Scheduler *to)
{
    for (_PyInterpreterFrame *f = t->frame; f != NULL && f != &from->base;
         f = f->previous) {
        if (f->previous == &from->base) {
            f->previous = &to->base;
            break;
        }
    }
    _PyErr_StackItem *found = _PyStackless_FindExcInfo(t);
    _PyErr_StackItem **link = extra_of(t) != NULL && extra_of(t)->exc_info != NULL
                              ? &extra_of(t)->exc_info : &found;
    while (*link != &from->exc_root) {
        link = &(*link)->previous_item;
    }
    *link = &to->exc_root;
}

static void
move_tasklet(PyTaskletObject *t, _PyStackless_Scheduler *to)
{
    _PyStackless_Scheduler *from = sched_of(t);
    if (t->flags & TASKLET_IS_MAIN) {
        t->flags &= ~TASKLET_IS_MAIN;              // of a thread that has ended
        if (from->main_greenlet != NULL) {
            from->mod->greenlets->forget_main(from);
        }
    }
    if (t->flags & TASKLET_STARTED) {
        relink(t, from, to);
    }
    if (tasklet_is_blocked(t)) {
        from->nblocked--;
        to->nblocked++;
    }
    t->epoch = (uint16_t)(to->epoch - 1);          // any other: look at its frames
    _PyStackless_Adopt(to, t);
    _PyStackless_ReleaseScheduler(from);
}

int
_PyStackless_BindThread(PyTaskletObject *t, unsigned long thread_id)
{
    PyThreadState *tstate = _PyThreadState_GET();
    _PyStackless_Scheduler *to = scheduler_of(tstate->interp, thread_id);
    if (to == NULL) {
        PyErr_SetString(PyExc_ValueError, "bad thread");
        return -1;
    }
    if (to != sched_of(t)) {
        if (_PyStackless_MoveTimer(t, to) < 0) {
            return -1;
        }
        move_tasklet(t, to);
        if (to->sleeper != NULL && tasklet_has_timer(t)) {
            wake(to);                  // its first deadline may be an earlier one now
        }
    }
    return 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

void
_PyStackless_NoteThreadEnd(PyThreadState *ending)
{
    PyInterpreterState *interp = ending->interp;
    _PyStackless_Scheduler *oldest = NULL, *initial = NULL;
    int running = 0;
    HEAD_LOCK(&_PyRuntime);
    for (PyThreadState *ts = interp->threads.head; ts != NULL; ts = ts->next) {
        if (ts == ending || ts->_status.finalizing) {
            continue;
        }
        if (!is_asleep(ts)) {
            running = 1;
            break;
        }
        oldest = _PyStackless_PeekScheduler(ts);   // the newest is the first
        if (ts->thread_id == _PyRuntime.main_thread) {
            initial = oldest;
        }
    }
    HEAD_UNLOCK(&_PyRuntime);
    if (!running && oldest != NULL) {
        wake(initial != NULL ? initial : oldest);
    }
}
