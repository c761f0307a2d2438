/* The scheduler of a thread: the run queue, the watchdogs, and the operations that
   make another tasklet current.

   An operation is executed in three steps: *decide* who would run next, without
   changing anything; *prepare* what can fail (callbacks, memory for suspending the
   current tasklet); *commit*, which cannot fail and runs no Python code.  References
   that a commit drops go to the scheduler's trash.

   What goes on between threads, and sleeping, is in threads.c.  Another
   thread may link tasklets into our run queue, or take them out, whenever we run Python
   code or release the GIL, so what was decided before that is decided again after it.

   Choosing the next tasklet never allocates. */

#include "Python.h"
#include "pycore_pystate.h"       // _Py_GetConfig()
#include "Stackless/sched/sched.h"

/* --- switching ------------------------------------------------------------------------ */

int
_PyStackless_CheckThrown(_PyStackless_Scheduler *sched)
{
    if (!(sched->current->flags & TASKLET_RAISES)) {
        return 0;
    }
    PyObject *value = _PyStackless_TakeResult(sched->current);
    assert(value == NULL);
    (void)value;
    return -1;
}

int
_PyStackless_CheckMaySwitch(_PyStackless_Scheduler *sched)
{
    if (_PyStackless_CheckThrown(sched) < 0) {
        return -1;
    }
    if (sched->switch_trap) {
        PyErr_SetString(PyExc_RuntimeError, "switch_trap");
        return -1;
    }
    if (sched->in_schedule_callback) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot switch tasklets inside the schedule callback");
        return -1;
    }
    return 0;
}

PyTaskletObject *
_PyStackless_Diverted(_PyStackless_Scheduler *sched, const decision *d)
{
    PyTaskletObject *w = sched->divert_to;
    return w != NULL && !d->direct && w != d->next && w->state == TASKLET_PAUSED ? w : NULL;
}

/* The current tasklet leaves the queue for `fate`, perhaps `timed`: until a deadline.  Who
   follows?  0 or -1 (deadlock). */
static int
decide_successor(_PyStackless_Scheduler *sched, tasklet_state fate, PyChannelObject *ch,
                 int timed, decision *d)
{
    PyTaskletObject *cur = sched->current;
    *d = (decision){ .fate = fate, .next = _PyStackless_Successor(sched) };
    if (cur->next != cur) {
        return 0;
    }
    PyTaskletObject *w = _PyStackless_WakeupTarget(sched);
    if (sched->divert_to != NULL && sched->divert_to->state == TASKLET_PAUSED) {
        d->next = sched->divert_to;
        d->insert_next = 1;
        return 0;
    }
    if (_PyStackless_WaitsForTime(sched, timed)) {
        d->next = NULL;
        return 0;
    }
    d->next = w;
    if (w == cur && fate == TASKLET_PAUSED) {
        return 0;
    }
    d->insert_next = w->state == TASKLET_PAUSED;
    if (d->insert_next && !_PyStackless_ThreadBlocks(sched)) {
        return 0;
    }
    if (_PyStackless_OthersRun(sched)) {
        d->next = NULL;
        return 0;
    }
    if (d->insert_next && _PyStackless_IsInitialThread(sched)) {
        return 0;
    }
    _PyStackless_SetDeadlock(
        sched, "Deadlock: the last runnable tasklet cannot be blocked.", fate, ch);
    return -1;
}

void
_PyStackless_Commit(_PyStackless_Scheduler *sched, const decision *d)
{
    PyTaskletObject *cur = sched->current;
    PyTaskletObject *next = d->next;
    PyTaskletObject *instead = _PyStackless_Diverted(sched, d);
    if (d->insert_next) {
        if (tasklet_is_blocked(next)) {
            _PyStackless_Unblock(next);
            _PyStackless_Discard(sched, (PyObject *)next);
        }
        _PyStackless_QueueInsert(sched, cur, next);
    }
    if (instead != NULL) {
        _PyStackless_QueueInsert(sched, next, instead);
        next = instead;
    }
    assert(next != cur);
    if (d->fate != TASKLET_RUNNABLE) {
        _PyStackless_QueueUnlink(sched, cur);
    }
    _PyStackless_SetState(cur, d->fate);
    _PyStackless_SetState(next, TASKLET_CURRENT);
    sched->current = next;
    if (next == sched->timers.marked) {
        sched->timers.marked = NULL;
        _PyStackless_NoticeTimers(sched, cur);
    }
    sched->carry_tracing = d->carry_tracing;
    if (sched->nwatchdogs) {
        _PyStackless_WatchdogsPop(sched, next);
    }
}

int
_PyStackless_PrepareCommit(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                           const decision *d, int how, schedule_told *told)
{
    if (_PyStackless_CheckMaySwitch(sched) < 0) {
        return -1;
    }
    if (sched->mod->schedule_callback != NULL && _PyStackless_TellSwitch(sched, d, told)) {
        return 1;
    }
    return how == SWITCH_HARD ? 0 : _PyStackless_PrepareLeave(tstate, sched);
}

/* The value of a call that did not switch: a bomb raises instead. */
static op_outcome
explode_bomb(_PyStackless_Scheduler *sched, PyObject **result)
{
    if (!Py_IS_TYPE(*result, sched->mod->bomb_type)) {
        return OP_DONE;
    }
    _PyBomb_Explode(*result);
    _PyStackless_Discard(sched, *result);
    *result = NULL;
    return OP_ERROR;
}

/* --- schedule, run, switch --------------------------------------------------------- */

/* Decides what `op` does: OP_SWITCHED, then *d says what to commit, or OP_DONE or
   OP_ERROR.  Changes nothing. */
typedef op_outcome (*decide_function)(_PyStackless_Scheduler *sched,
                                      const stackless_op *op, decision *d,
                                      PyObject **result);

/* Decides and prepares.  OP_SWITCHED: what *d says is to be committed. */
static inline op_outcome
decide_and_prepare(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                   const stackless_op *op, int how, decide_function decide,
                   decision *d, PyObject **result)
{
    schedule_told told = {0};
    for (;;) {
        _PyStackless_LookAtTimers(sched);
        op_outcome outcome = decide(sched, op, d, result);
        if (outcome != OP_SWITCHED) {
            return outcome;
        }
        if (how == SWITCH_NOT) {
            return _PyStackless_CheckMaySwitch(sched) < 0 ? OP_ERROR : OP_NEEDS_SWITCH;
        }
        int again = _PyStackless_PrepareCommit(tstate, sched, d, how, &told);
        if (again <= 0) {
            return again < 0 ? OP_ERROR : OP_SWITCHED;
        }
    }
}

static op_outcome
decide_schedule(_PyStackless_Scheduler *sched, const stackless_op *op, decision *d,
                PyObject **result)
{
    PyTaskletObject *cur = sched->current;
    if (op->code == OP_SCHEDULE) {
        *d = (decision){ .next = _PyStackless_Successor(sched),
                         .fate = TASKLET_RUNNABLE };
    }
    else if (decide_successor(sched, TASKLET_PAUSED, NULL, 0, d) < 0) {
        return OP_ERROR;
    }
    if (d->next == cur && _PyStackless_Diverted(sched, d) == NULL) {
        _PyStackless_SetPending(sched, cur, NULL); // as if `value` had been there
        *result = Py_NewRef(op->value ? op->value : (PyObject *)cur);
        return explode_bomb(sched, result);
    }
    return OP_SWITCHED;
}

static op_outcome
execute_schedule(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                 const stackless_op *op, int how, PyObject **result)
{
    PyTaskletObject *cur = sched->current;
    int returns_self = op->value == NULL ? TASKLET_RETURNS_SELF : 0;
    decision d;
    op_outcome outcome;
    do {
        outcome = decide_and_prepare(tstate, sched, op, how, decide_schedule, &d,
                                     result);
        if (outcome != OP_SWITCHED) {
            return outcome;
        }
        if (d.next == NULL) {
            stackless_nap nap = { .fate = TASKLET_PAUSED, .value = op->value,
                                  .flags = returns_self };
            outcome = _PyStackless_Sleep(tstate, sched, &nap, result);
            if (outcome != OP_DONE || *result != NULL) {
                return outcome;
            }
        }
    } while (d.next == NULL);
    _PyStackless_SetPending(sched, cur, Py_XNewRef(op->value));
    cur->flags |= returns_self;
    _PyStackless_Commit(sched, &d);
    if (d.fate == TASKLET_PAUSED) {
        _PyStackless_Discard(sched, (PyObject *)cur);
    }
    return OP_SWITCHED;
}

static const _PyStackless_RunArgs *
run_args(const stackless_op *op)
{
    static const _PyStackless_RunArgs none;
    return op->value ? (const _PyStackless_RunArgs *)PyBytes_AS_STRING(op->value) : &none;
}

static op_outcome
decide_run_all(_PyStackless_Scheduler *sched, const stackless_op *op, decision *d,
               PyObject **result)
{
    PyTaskletObject *cur = sched->current;
    int threadblock = run_args(op)->threadblock != 0;
    int nowait = run_args(op)->nowait != 0;
    *d = (decision){ .next = _PyStackless_Successor(sched), .fate = TASKLET_PAUSED };
    if (cur->next == cur && !nowait && sched->timers.n != 0) {
        d->next = NULL;
    }
    else if (cur->next == cur) {
        if (!threadblock
            || (!_PyStackless_OthersRun(sched) && _PyStackless_IsInitialThread(sched))) {
            *result = Py_None;
            return OP_DONE;
        }
        if (!_PyStackless_OthersRun(sched)) {
            _PyStackless_SetDeadlock(
                sched, "Deadlock: the last runnable tasklet cannot be blocked.",
                TASKLET_PAUSED, NULL);
            return OP_ERROR;
        }
        d->next = NULL;
    }
    if ((threadblock || nowait) && _PyStackless_EnsureExtra(cur) < 0) {
        return OP_ERROR;
    }
    if (extra_of(cur) != NULL) {
        extra_of(cur)->threadblock = (uint8_t)threadblock;
        extra_of(cur)->nowait = (uint8_t)nowait;
    }
    return _PyStackless_WatchdogsReserve(sched) < 0 ? OP_ERROR : OP_SWITCHED;
}

static op_outcome
begin_run_all(PyThreadState *tstate, _PyStackless_Scheduler *sched,
              const stackless_op *op, int how, decision *d, PyObject **result)
{
    op_outcome outcome;
    do {
        outcome = decide_and_prepare(tstate, sched, op, how, decide_run_all, d, result);
        if (outcome != OP_SWITCHED) {
            return outcome;
        }
        if (_PyStackless_WatchStart(tstate, sched, run_args(op)) < 0) {
            return OP_ERROR;
        }
        if (d->next == NULL) {
            stackless_nap nap = { .fate = TASKLET_PAUSED, .watches = 1,
                                  .flags = TASKLET_RETURNS_NONE };
            outcome = _PyStackless_Sleep(tstate, sched, &nap, result);
            if (outcome != OP_DONE || *result != NULL) {
                return outcome;
            }
        }
    } while (d->next == NULL);
    return OP_SWITCHED;
}

static op_outcome
execute_run_all(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                const stackless_op *op, int how, PyObject **result)
{
    PyTaskletObject *cur = sched->current;
    decision d;
    op_outcome outcome = begin_run_all(tstate, sched, op, how, &d, result);
    if (outcome != OP_SWITCHED) {
        if (cur == sched->timed) {
            _PyStackless_WatchStop(sched);
        }
        return outcome;
    }
    if (sched->current != cur) {
        return OP_SWITCHED;            // by others, while it slept
    }
    _PyStackless_SetPending(sched, cur, NULL);
    cur->flags |= TASKLET_RETURNS_NONE;
    sched->watchdogs[sched->nwatchdogs++] = cur;   // with the queue's reference
    _PyStackless_Commit(sched, &d);
    return OP_SWITCHED;
}

static op_outcome
decide_interrupt(_PyStackless_Scheduler *sched, const stackless_op *op, decision *d,
                 PyObject **result)
{
    PyTaskletObject *w = (PyTaskletObject *)op->target;
    if (w != sched->timed || (sched->current->flags & TASKLET_RAISES)) {
        *result = Py_None;             // woken, or thrown into, during the schedule callback
        return OP_DONE;
    }
    *d = (decision){ .next = w, .fate = TASKLET_PAUSED, .direct = 1,
                     .insert_next = !tasklet_is_queued(w) };
    return OP_SWITCHED;
}

/* run(timeout) returns the tasklet that it interrupted. */
static op_outcome
execute_interrupt(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                  const stackless_op *op, int how, PyObject **result)
{
    PyTaskletObject *cur = sched->current;
    decision d;
    op_outcome outcome = decide_and_prepare(tstate, sched, op, how,
                                            decide_interrupt, &d, result);
    if (outcome != OP_SWITCHED) {
        return outcome;
    }
    _PyStackless_SetPending(sched, d.next, Py_NewRef(cur));
    d.next->flags &= ~TASKLET_RETURNS_NONE;
    _PyStackless_Commit(sched, &d);
    _PyStackless_Discard(sched, (PyObject *)cur);
    return OP_SWITCHED;
}

static int
check_can_run(PyTaskletObject *t)
{
    const char *msg = NULL;
    if (tasklet_is_blocked(t)) {
        msg = "You cannot run a blocked tasklet";
    }
    else if (sched_of(t)->tstate == NULL) {
        msg = "tasklet has no thread";
    }
    else if (t->state == TASKLET_IDLE) {
        msg = "You cannot run an unbound(dead) tasklet";
    }
    if (msg != NULL) {
        PyErr_SetString(PyExc_RuntimeError, msg);
        return -1;
    }
    return 0;
}

static op_outcome
decide_run_tasklet(_PyStackless_Scheduler *sched, const stackless_op *op, decision *d,
                   PyObject **result)
{
    PyTaskletObject *t = (PyTaskletObject *)op->target;
    if (check_can_run(t) < 0) {
        return OP_ERROR;
    }
    if (sched_of(t) != sched) {
        if (op->code == OP_SWITCH_TO) {
            PyErr_SetString(PyExc_RuntimeError, "can't switch to a different thread.");
            return OP_ERROR;
        }
        _PyStackless_RunElsewhere(t);
        *result = Py_None;
        return OP_DONE;
    }
    if (t == sched->current) {
        *result = _PyStackless_TakeResult(t);
        return *result != NULL ? OP_DONE : OP_ERROR;
    }
    *d = (decision){
        .next = t,
        .fate = op->code == OP_RUN_TASKLET ? TASKLET_RUNNABLE : TASKLET_PAUSED,
        .insert_next = !tasklet_is_queued(t),
    };
    return OP_SWITCHED;
}

static op_outcome
execute_run_tasklet(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                    const stackless_op *op, int how, PyObject **result)
{
    PyTaskletObject *cur = sched->current;
    decision d;
    op_outcome outcome = decide_and_prepare(tstate, sched, op, how,
                                            decide_run_tasklet, &d, result);
    if (outcome != OP_SWITCHED) {
        return outcome;
    }
    /* What is in cur's tempval by then, and that may be its own, is the result. */
    _PyStackless_Commit(sched, &d);
    if (d.fate == TASKLET_PAUSED) {
        _PyStackless_Discard(sched, (PyObject *)cur);
    }
    return OP_SWITCHED;
}

/* --- throw ------------------------------------------------------------------------------- */

int
_PyTasklet_CheckThrowDead(PyTaskletObject *t, PyObject *bomb)
{
    int orphan = sched_of(t)->tstate == NULL;
    if (_PyBomb_Matches(bomb, PyExc_TaskletExit)
        && !(orphan && t->state != TASKLET_IDLE)) {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError, orphan ? "tasklet has no thread"
                                               : "You cannot throw to a dead tasklet");
    return -1;
}

static op_outcome
decide_throw(_PyStackless_Scheduler *sched, const stackless_op *op, decision *d,
             PyObject **result)
{
    PyTaskletObject *t = (PyTaskletObject *)op->target;
    if (t == sched->current) {
        _PyBomb_Explode(op->value);
        return OP_ERROR;
    }
    if (!_PyTasklet_IsAlive(t)) {
        if (_PyTasklet_CheckThrowDead(t, op->value) < 0) {
            return OP_ERROR;
        }
        *result = Py_None;
        return OP_DONE;
    }
    if (sched_of(t) != sched) {
        _PyStackless_ThrowPending(t, Py_NewRef(op->value));
        *result = Py_None;
        return OP_DONE;
    }
    *d = (decision){ .next = t, .fate = TASKLET_RUNNABLE,
                     .insert_next = !tasklet_is_queued(t) };
    return OP_SWITCHED;
}

static op_outcome
execute_throw(PyThreadState *tstate, _PyStackless_Scheduler *sched,
              const stackless_op *op, int how, PyObject **result)
{
    PyTaskletObject *cur = sched->current;
    PyTaskletObject *t = (PyTaskletObject *)op->target;
    decision d;
    op_outcome outcome = decide_and_prepare(tstate, sched, op, how,
                                            decide_throw, &d, result);
    if (outcome != OP_SWITCHED) {
        return outcome;
    }
    _PyStackless_SetPending(sched, t, Py_NewRef(op->value));
    _PyStackless_SetPending(sched, cur, NULL);
    cur->flags |= TASKLET_RETURNS_NONE;
    _PyStackless_Commit(sched, &d);
    return OP_SWITCHED;
}

/* --- channels -------------------------------------------------------------------------------- */

/* Nobody waits at the other end.  `selection`: of the select() of which this is the first case,
   or NULL. */
static op_outcome
execute_block(PyThreadState *tstate, _PyStackless_Scheduler *sched,
              const stackless_op *op, int how, PyObject *selection, schedule_told *told,
              stackless_place *place, PyObject **result)
{
    PyTaskletObject *cur = sched->current;
    PyChannelObject *ch = (PyChannelObject *)op->target;
    decision d;
    int sends = selection != NULL ? op->value != NULL : op->code == OP_SEND;
    tasklet_state fate = sends ? TASKLET_SENDING : TASKLET_RECEIVING;
    if (op->deadline == STACKLESS_AT_ONCE && !ch->closing) {
        _PyStackless_SetTimedOut(fate);
        return OP_ERROR;
    }
    if (cur->flags & TASKLET_BLOCK_TRAP) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this tasklet does not like to be blocked.");
        return OP_ERROR;
    }
    if (ch->closing) {
        PyErr_SetString(PyExc_ValueError,
                        "Send/receive operation on a closed channel");
        return OP_ERROR;
    }
    PyTime_t deadline = op->deadline, limit = 0;
    int sleeps = op->code == OP_SLEEP ? TIMER_SLEEP : TIMER_TIMEOUT;
    if (_PyStackless_CheckMaySwitch(sched) < 0
        || (extra_of(cur) != NULL && extra_of(cur)->scope != NULL
            && _PyStackless_CheckCancelled(sched, &limit) < 0)) {
        return OP_ERROR;
    }
    if (limit != 0 && (deadline == 0 || limit < deadline)) {
        deadline = limit;
        sleeps = TIMER_SCOPE;
    }
    if (decide_successor(sched, fate, ch, deadline != 0, &d) < 0) {
        return OP_ERROR;
    }
    if (how == SWITCH_NOT) {
        return OP_NEEDS_SWITCH;
    }
    int again = _PyStackless_PrepareCommit(tstate, sched, &d, how, told);
    if (again != 0) {
        return again < 0 ? OP_ERROR : OP_DONE;     // OP_DONE: decide again
    }
    if ((deadline != 0 || selection != NULL) && _PyStackless_PrepareTimer(sched) < 0) {
        return OP_ERROR;
    }
    int returns_none = 0;
    if (op->code != OP_RECEIVE && op->code != OP_RESULT && selection == NULL) {
        returns_none = TASKLET_RETURNS_NONE;
    }
    if (d.next == NULL) {
        stackless_nap nap = { .fate = fate, .channel = ch, .place = place,
                              .value = op->value, .flags = returns_none,
                              .deadline = deadline, .sleeps = sleeps,
                              .selection = selection };
        *told = (schedule_told){0};
        return _PyStackless_Sleep(tstate, sched, &nap, result);
    }
    _PyStackless_SetPending(sched, cur, Py_XNewRef(op->value));
    cur->flags |= returns_none;
    _PyStackless_Commit(sched, &d);
    _PyChannel_Append(sched, ch, cur);             // with the queue's reference
    _PyStackless_TakePlace(cur, place);
    if (deadline != 0) {
        _PyStackless_StartTimer(sched, cur, deadline, sleeps);
    }
    if (selection != NULL) {
        _PyStackless_StartSelect(sched, cur, selection);
    }
    return OP_SWITCHED;
}

/* A partner waits: the value is handed over.  `selection`, `i`: the case of a select() that this
   is, or NULL. */
static op_outcome
execute_handover(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                 const stackless_op *op, int how, PyObject *selection, Py_ssize_t i,
                 schedule_told *told, PyObject **result)
{
    PyTaskletObject *cur = sched->current;
    PyChannelObject *ch = (PyChannelObject *)op->target;
    PyTaskletObject *partner = _PyStackless_WaiterOf(ch->first);
    int sending = op->code == OP_SEND;
    decision d = { .next = NULL, .fate = TASKLET_RUNNABLE };
    if (ch->schedule_all) {
        d.next = cur->next == cur ? partner : _PyStackless_Successor(sched);
    }
    else if (ch->preference == (sending ? -1 : 1)) {
        d.next = partner;
        d.direct = 1;
    }
    if (d.next != NULL) {
        if (how == SWITCH_NOT) {
            return _PyStackless_CheckMaySwitch(sched) < 0 ? OP_ERROR : OP_NEEDS_SWITCH;
        }
        int again = _PyStackless_PrepareCommit(tstate, sched, &d, how, told);
        if (again != 0) {
            *result = NULL;
            return again < 0 ? OP_ERROR : OP_DONE;
        }
    }
    PyObject *received = NULL;
    _PyStackless_Claim(sched, ch->first, sending ? op->value : NULL, &received);
    /* With preference the partner runs directly after the caller, otherwise last.  The
       list's reference to it is the queue's now. */
    PyTaskletObject *pos = d.next == partner ? cur->next : cur;
    _PyStackless_QueueInsert(sched, pos, partner);
    Py_DECREF(partner);
    if (selection != NULL) {
        received = _PyStackless_FillSelection(sched->mod, selection, i,
                                              received ? received : Py_None);
    }
    if (d.next != NULL) {
        _PyStackless_SetPending(sched, cur, received);
        if (sending && selection == NULL) {
            cur->flags |= TASKLET_RETURNS_NONE;
        }
        _PyStackless_Commit(sched, &d);
        return OP_SWITCHED;
    }
    *result = received != NULL ? received : Py_None;
    return OP_DONE;
}

/* The same with a partner of another thread: it becomes runnable there, and the caller
   goes on.  The channel callback is called afterwards (`tell`). */
static op_outcome
execute_handover_elsewhere(_PyStackless_Scheduler *sched, const stackless_op *op,
                           int tell, PyObject **result)
{
    PyChannelObject *ch = (PyChannelObject *)op->target;
    PyTaskletObject *partner = _PyStackless_WaiterOf(ch->first);
    int sending = op->code == OP_SEND;
    if (sched_of(partner)->tstate == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "tasklet has no thread");
        return OP_ERROR;
    }
    if (tell && _PyStackless_CheckNoChannelCallback(sched) < 0) {
        return OP_ERROR;
    }
    *result = Py_None;
    Py_INCREF(partner->channel);       // nothing for the other thread's trash
    PyObject *keep = (PyObject *)partner->channel;
    _PyStackless_Claim(sched, ch->first, sending ? op->value : NULL, result);
    _PyStackless_Discard(sched, keep);
    _PyStackless_QueueAppend(sched_of(partner), partner);
    Py_DECREF(partner);                            // the channel's
    if (tell && _PyStackless_CallChannelCallback(sched, ch, op->value, sending, 0) < 0) {
        /* It is too late to fail: the value has been handed over. */
        PyErr_FormatUnraisable("Exception ignored in the channel callback");
    }
    return sending ? OP_DONE : explode_bomb(sched, result);
}

/* Without callbacks that change something in between. */
static int
would_switch(PyTaskletObject *cur, PyChannelObject *ch, int sending)
{
    if (sending ? ch->balance < 0 : ch->balance > 0) {
        return ch->schedule_all || ch->preference == (sending ? -1 : 1);
    }
    return !(cur->flags & TASKLET_BLOCK_TRAP) && !ch->closing;
}

static op_outcome
execute_channel_from(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                     const stackless_op *op, int how, stackless_place *place,
                     PyObject **result)
{
    PyChannelObject *ch = (PyChannelObject *)op->target;
    int sending = op->code == OP_SEND;
    schedule_told told = {0};
    int called = sched->mod->channel_callback == NULL;
    for (;;) {
        _PyStackless_LookAtTimers(sched);
        int partner = sending ? ch->balance < 0 : ch->balance > 0;
        if (partner && sched_of(ch->first) != sched) {
            return execute_handover_elsewhere(sched, op, !called, result);
        }
        if (!called) {
            if (how == SWITCH_NOT && would_switch(sched->current, ch, sending)) {
                return OP_NEEDS_SWITCH;
            }
            called = 1;
            if (_PyStackless_CheckNoChannelCallback(sched) < 0
                || _PyStackless_CallChannelCallback(sched, ch, op->value, sending, !partner) < 0) {
                return OP_ERROR;
            }
            continue;
        }
        op_outcome outcome = partner
            ? execute_handover(tstate, sched, op, how, NULL, 0, &told, result)
            : execute_block(tstate, sched, op, how, NULL, &told, place, result);
        if (outcome != OP_DONE) {
            return outcome;
        }
        if (*result != NULL) {
            break;
        }
    }
    return sending ? OP_DONE : explode_bomb(sched, result);
}

static op_outcome
execute_channel(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                const stackless_op *op, int how, PyObject **result)
{
    stackless_place place = {0};
    op_outcome outcome = execute_channel_from(tstate, sched, op, how, &place, result);
    _PyStackless_Discard(sched, (PyObject *)place.after);
    return outcome;
}

static op_outcome
execute_sleep(PyThreadState *tstate, _PyStackless_Scheduler *sched, const stackless_op *op,
              int how, PyObject **result)
{
    stackless_place place = {0};
    schedule_told told = {0};
    op_outcome outcome;
    do {
        _PyStackless_LookAtTimers(sched);
        outcome = execute_block(tstate, sched, op, how, NULL, &told, &place, result);
    } while (outcome == OP_DONE && *result == NULL);
    _PyStackless_Discard(sched, (PyObject *)place.after);
    return outcome;
}

/* join(), result() */
static op_outcome
execute_join(PyThreadState *tstate, _PyStackless_Scheduler *sched, const stackless_op *op,
             int how, PyObject **result)
{
    PyTaskletObject *t = (PyTaskletObject *)op->target;
    stackless_place place = {0};
    schedule_told told = {0};
    stackless_op wait = *op;
    op_outcome outcome;
    do {
        _PyStackless_LookAtTimers(sched);
        if (!_PyTasklet_IsAlive(t)) {
            outcome = OP_DONE;
            *result = Py_None;
            if (op->code == OP_RESULT && t->state == TASKLET_IDLE && t->args != NULL) {
                *result = Py_NewRef(t->args);
                outcome = explode_bomb(sched, result);
            }
            else if (op->code == OP_RESULT) {
                PyErr_SetString(PyExc_RuntimeError, "the tasklet has no result: it has not run, "
                                "or nobody had asked for it when it ended");
                *result = NULL;
                outcome = OP_ERROR;
            }
            break;
        }
        wait.target = _PyStackless_CheckJoin(t) < 0
                      ? NULL : (PyObject *)_PyStackless_DoneChannel(t);
        if (wait.target == NULL) {
            outcome = OP_ERROR;
            break;
        }
        Py_INCREF(wait.target);
        outcome = execute_block(tstate, sched, &wait, how, NULL, &told, &place, result);
        _PyStackless_Discard(sched, wait.target);
    } while (outcome == OP_DONE && *result == NULL);
    _PyStackless_Discard(sched, (PyObject *)place.after);
    return outcome;
}

static op_outcome
execute_select(PyThreadState *tstate, _PyStackless_Scheduler *sched, const stackless_op *op,
               int how, PyObject **result)
{
    stackless_place place = {0};
    schedule_told told = {0};
    op_outcome outcome;
    do {
        _PyStackless_LookAtTimers(sched);
        stackless_op one = *op;
        Py_ssize_t i = _PyStackless_ReadyCase(sched, op->value, op->target != NULL, &one);
        if (i == -2) {
            outcome = OP_ERROR;
        }
        else if (i < 0 && (*result = _PyStackless_SelectionDefault(op->value)) != NULL) {
            outcome = OP_DONE;
        }
        else if (i < 0) {
            outcome = _PyStackless_PrepareSelect(sched, op->value, &one) < 0
                ? OP_ERROR
                : execute_block(tstate, sched, &one, how, op->value, &told, &place, result);
        }
        else if (one.target == NULL) {
            *result = _PyStackless_FillSelection(sched->mod, op->value, i, Py_None);
            outcome = OP_DONE;
        }
        else if (sched_of(((PyChannelObject *)one.target)->first) != sched) {
            outcome = execute_handover_elsewhere(sched, &one, 0, result);
            if (outcome == OP_DONE) {
                *result = _PyStackless_FillSelection(sched->mod, op->value, i, *result);
            }
        }
        else {
            outcome = execute_handover(tstate, sched, &one, how, op->value, i, &told, result);
        }
    } while (outcome == OP_DONE && *result == NULL);
    _PyStackless_Discard(sched, (PyObject *)place.after);
    return outcome == OP_DONE ? explode_bomb(sched, result) : outcome;
}

op_outcome
_PyStackless_Execute(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                     const stackless_op *op, int how, PyObject **result)
{
    *result = NULL;
    if (_PyStackless_CheckThrown(sched) < 0) {
        return OP_ERROR;
    }
    switch (op->code) {
        case OP_SCHEDULE:
        case OP_SCHEDULE_REMOVE:
            return execute_schedule(tstate, sched, op, how, result);
        case OP_RUN_ALL:
            return execute_run_all(tstate, sched, op, how, result);
        case OP_INTERRUPT:
            return execute_interrupt(tstate, sched, op, how, result);
        case OP_RUN_TASKLET:
        case OP_SWITCH_TO:
            return execute_run_tasklet(tstate, sched, op, how, result);
        case OP_THROW:
            return execute_throw(tstate, sched, op, how, result);
        case OP_SEND:
        case OP_RECEIVE:
            return execute_channel(tstate, sched, op, how, result);
        case OP_SLEEP:
            return execute_sleep(tstate, sched, op, how, result);
        case OP_JOIN:
        case OP_RESULT:
            return execute_join(tstate, sched, op, how, result);
        case OP_SELECT:
            return execute_select(tstate, sched, op, how, result);
        case OP_SOFT_CALL:             // switches nobody: EvalSwitch() has done it
            break;
        case OP_GREENLET_SWITCH:
        case OP_GREENLET_SWITCH_KW:
        case OP_GREENLET_THROW:
        case OP_GREENLET_EXIT:
            _PyStackless_LookAtTimers(sched);
            return sched->mod->greenlets->execute(tstate, sched, op, how, result);
    }
    Py_UNREACHABLE();
}

/* --- the end of a tasklet ----------------------------------------------------------------------- */

/* Lets the error handler see an exception that a tasklet did not catch.  Returns what
   is left of it (new reference) or NULL. */
static PyObject *
call_error_handler(_PyStackless_Scheduler *sched, PyObject *exc)
{
    PyObject *handler = sched->mod->error_handler;
    if (handler == NULL) {
        return exc;
    }
    Py_INCREF(handler);
    PyObject *tb = PyException_GetTraceback(exc);
    PyObject *res = PyObject_CallFunctionObjArgs(
        handler, (PyObject *)Py_TYPE(exc), exc, tb ? tb : Py_None, NULL);
    Py_XDECREF(tb);
    Py_DECREF(handler);
    Py_DECREF(exc);
    if (res != NULL) {
        Py_DECREF(res);
        return NULL;
    }
    return PyErr_GetRaisedException();
}

/* SystemExit in a tasklet ends the process from main, which gets TaskletExit to clean
   up; _PyStackless_KeepAlive() then finds the code to exit with. */
static PyObject *
exit_from_main(_PyStackless_Scheduler *sched, PyObject *exc)
{
    PyObject *code = PyObject_GetAttrString(exc, "code");
    if (code == NULL) {
        PyErr_Clear();
        code = Py_NewRef(Py_None);
    }
    PyObject *instead = PyObject_CallOneArg(PyExc_TaskletExit, code);
    Py_DECREF(code);
    if (instead == NULL) {
        Py_DECREF(exc);
        return PyErr_GetRaisedException();
    }
    Py_DECREF(exc);
    Py_XSETREF(sched->exit_exc, Py_NewRef(instead));
    return instead;
}

/* 1: print the TaskletExit that is set, 0: it ends the process like any SystemExit. */
int
_PyStackless_KeepAlive(PyThreadState *tstate)
{
    PyObject *exc = tstate->current_exception;
    if (exc == NULL || !PyErr_GivenExceptionMatches(exc, PyExc_TaskletExit)) {
        return 0;
    }
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    return sched == NULL || sched->exit_exc != exc;
}

static PyObject *
uncaught(_PyStackless_Scheduler *sched, PyObject *exc)
{
    if (exc == NULL) {
        return NULL;
    }
    if (PyErr_GivenExceptionMatches(exc, PyExc_TaskletExit) && exc != sched->exit_exc) {
        Py_DECREF(exc);
        return NULL;
    }
    if (PyErr_GivenExceptionMatches(exc, PyExc_SystemExit)) {
        int is_main = _Py_IsMainInterpreter(sched->tstate->interp);
        if (!_PyStackless_IsInitialThread(sched)
            || (is_main && _Py_GetConfig()->inspect)) {
            Py_DECREF(exc);
            return NULL;
        }
        if (is_main) {
            return exit_from_main(sched, exc);
        }
    }
    return call_error_handler(sched, exc);
}

void
_PyStackless_DecideAfterEnd(_PyStackless_Scheduler *sched, PyObject **exc, decision *d)
{
    PyTaskletObject *cur = sched->current;
    PyTaskletObject *w = _PyStackless_WakeupTarget(sched);
    *d = (decision){ .fate = TASKLET_IDLE, .next = _PyStackless_Successor(sched) };
    if (*exc == NULL && cur->next != cur) {
        return;
    }
    if (*exc != NULL && *exc == sched->exit_exc) {
        w = sched->main;
    }
    if (*exc == NULL && tasklet_is_blocked(w)) {
        _PyStackless_SetDeadlock(sched, w->state == TASKLET_RECEIVING
            ? "the main tasklet is receiving without a sender available."
            : "the main tasklet is sending without a receiver available.",
            TASKLET_IDLE, NULL);
        *exc = PyErr_GetRaisedException();
    }
    d->next = w;
    d->insert_next = !tasklet_is_queued(w);
    d->direct = 1;
}

void
_PyStackless_CommitEnd(_PyStackless_Scheduler *sched, const decision *d)
{
    PyTaskletObject *t = sched->current;
    _PyStackless_SetPending(sched, t, NULL);
    assert(t->flags & TASKLET_STARTED);
    t->flags &= ~TASKLET_WITH_FRAMES;
    t->frame = NULL;
    t->args = NULL;
    _PyStackless_Commit(sched, d);
    _PyStackless_Discard(sched, (PyObject *)t);
}

/* The current tasklet has ended, with `exc` (stolen, may be NULL).  If nobody is runnable, and
   somebody waits for a time, so does the thread.  Returns what is to be raised in the next
   one. */
static PyObject *
wait_at_end(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyObject *exc)
{
    PyTaskletObject *cur = sched->current;
    for (;;) {
        _PyStackless_LookAtTimers(sched);
        if (exc != NULL || cur->next != cur || sched->divert_to != NULL
            || !_PyStackless_WaitsForTime(sched, 0)) {
            return exc;
        }
        stackless_nap nap = { .fate = TASKLET_PAUSED, .ends = 1 };
        PyObject *none;
        if (_PyStackless_Sleep(tstate, sched, &nap, &none) == OP_ERROR) {
            exc = uncaught(sched, PyErr_GetRaisedException());
        }
    }
}

void
_PyStackless_Finish(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyObject *exc)
{
    decision d;
    schedule_told told = {0};
    exc = uncaught(sched, exc);
    do {
        if (sched->mod->schedule_callback == NULL || told.times > 0) {
            _PyStackless_StopTracing(tstate);      // the callback saw that it was traced
        }
        exc = wait_at_end(tstate, sched, exc);
        _PyStackless_DecideAfterEnd(sched, &exc, &d);
    } while (sched->mod->schedule_callback != NULL
             && _PyStackless_TellSwitch(sched, &d, &told));
    if (exc != NULL) {
        _PyStackless_SetPending(sched, d.next, exc);
        d.next->flags |= TASKLET_RAISES;
    }
    _PyStackless_CommitEnd(sched, &d);
}
