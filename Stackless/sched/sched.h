/* The scheduler of a thread: who runs next.  It decides and keeps the lists; how a tasklet is
   left and entered is none of its business.

   First what any room above may call, file by file, then how an operation makes another
   tasklet current: what greenlets, which have operations of their own, need of it. */

#ifndef STACKLESS_SCHED_SCHED_H
#define STACKLESS_SCHED_SCHED_H

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "Stackless/wait/wait.h"

/* --- sched.c: operations --------------------------------------------------------- */

/* Carries `op` out for the current tasklet, or, if `how` is SWITCH_NOT, finds out that
   it takes a switch.  All that can fail is done before anything is changed.
   `*result`: new reference for OP_DONE. */
extern op_outcome _PyStackless_Execute(PyThreadState *tstate,
                                       _PyStackless_Scheduler *sched,
                                       const stackless_op *op, int how,
                                       PyObject **result);
/* Picks who follows a tasklet that ended, with `exc` (stolen, may be NULL) if it
   was not caught in it, and makes that one current.  Runs Python code before. */
extern void _PyStackless_Finish(PyThreadState *tstate,
                                _PyStackless_Scheduler *sched, PyObject *exc);

/* 0 if it does not matter that t, which is not alive, cannot get this exception; -1 with
   RuntimeError otherwise. */
extern int _PyTasklet_CheckThrowDead(PyTaskletObject *t, PyObject *bomb);
/* Raises what another thread has thrown into the running tasklet: -1, or 0. */
extern int _PyStackless_CheckThrown(_PyStackless_Scheduler *sched);

/* --- queue.c: what they change ----------------------------------------------------- */

extern void _PyStackless_QueueAppend(_PyStackless_Scheduler *sched, PyTaskletObject *t);
extern void _PyStackless_QueueRemove(_PyStackless_Scheduler *sched, PyTaskletObject *t);
/* Takes t off its channel; the channel's reference to t goes to the caller. */
extern void _PyStackless_Unblock(PyTaskletObject *t);
extern void _PyStackless_SetState(PyTaskletObject *t, tasklet_state state);
/* t, which is tracked by the garbage collector, need not be any more. */
extern void _PyStackless_Untrack(PyTaskletObject *t);
#ifndef NDEBUG
extern int _PyStackless_IsLegal(PyTaskletObject *t, tasklet_state state);
#endif

extern void _PyStackless_WatchdogRemove(_PyStackless_Scheduler *sched, PyTaskletObject *t);
/* t becomes current: if it is inside run(), that call returns, and those that were
   called later are made runnable, to return when their turn comes. */
extern void _PyStackless_WatchdogsPop(_PyStackless_Scheduler *sched, PyTaskletObject *t);

/* The value that the tasklet's pending call is to return, or NULL: an exception. */
extern PyObject *_PyStackless_TakeResult(PyTaskletObject *t);
extern void _PyTasklet_SetTempval(PyTaskletObject *t, PyObject *value); // steals
extern void _PyStackless_EmptyTrash(_PyStackless_Scheduler *sched);
/* Gives a tasklet its pending result: value (stolen) or NULL for None. */
extern void _PyStackless_SetPending(_PyStackless_Scheduler *sched, PyTaskletObject *t,
                                    PyObject *value);
/* Links t into the run queue before `pos`.  The queue takes a reference. */
extern void _PyStackless_QueueInsert(_PyStackless_Scheduler *sched, PyTaskletObject *pos,
                                     PyTaskletObject *t);
/* Who goes on when nobody is runnable: the innermost run(), or main.  Borrowed. */
extern PyTaskletObject *_PyStackless_WakeupTarget(_PyStackless_Scheduler *sched);
/* Room for one more tasklet inside run(): 0, or -1 with an exception. */
extern int _PyStackless_WatchdogsReserve(_PyStackless_Scheduler *sched);

/* Links t before pos in the run queue, which takes over a reference. */
static inline void
_PyStackless_QueueLink(_PyStackless_Scheduler *sched, PyTaskletObject *pos,
                       PyTaskletObject *t)
{
    assert(t->next == NULL && t->prev == NULL);
    t->next = pos;
    t->prev = pos->prev;
    pos->prev->next = t;
    pos->prev = t;
    sched->runcount++;
}

/* The run queue's reference goes to the caller. */
static inline void
_PyStackless_QueueUnlink(_PyStackless_Scheduler *sched, PyTaskletObject *t)
{
    assert(tasklet_is_queued(t));
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->next = t->prev = NULL;
    sched->runcount--;
}

/* t, which is SENDING or RECEIVING, waits; the channel takes over a reference to it. */
static inline void
_PyChannel_Append(_PyStackless_Scheduler *sched, PyChannelObject *ch, PyTaskletObject *t)
{
    assert(sched_of(t) == sched);
    assert(t->next == NULL && t->prev == NULL && t->channel == NULL);
    t->channel = ch;
    t->prev = ch->last;
    if (ch->last != NULL) {
        ch->last->next = t;
    }
    else {
        ch->first = t;
    }
    ch->last = t;
    ch->balance += t->state == TASKLET_SENDING ? 1 : -1;
    sched->nblocked++;
    if (ch->busy_link == NULL) {
        ch->busy_next = sched->busy;
        if (sched->busy != NULL) {
            sched->busy->busy_link = &ch->busy_next;
        }
        sched->busy = ch;
        ch->busy_link = &sched->busy;
    }
}

/* The channel's reference goes to the caller. */
static inline void
_PyChannel_Unlink(_PyStackless_Scheduler *sched, PyTaskletObject *t)
{
    assert(sched_of(t) == sched);
    PyChannelObject *ch = t->channel;
    if (t->prev != NULL) {
        t->prev->next = t->next;
    }
    else {
        ch->first = t->next;
    }
    if (t->next != NULL) {
        t->next->prev = t->prev;
    }
    else {
        ch->last = t->prev;
    }
    t->next = t->prev = NULL;
    t->channel = NULL;
    ch->balance -= t->state == TASKLET_SENDING ? 1 : -1;
    sched->nblocked--;
}

/* For a state that means being on a list, or current. */
static inline void
_PyStackless_SetListedState(PyTaskletObject *t, tasklet_state state)
{
    assert(_PyStackless_IsLegal(t, state));
    t->state = (uint8_t)state;
    if (_PyObject_GC_IS_TRACKED(t)) {
        _PyStackless_Untrack(t);
    }
}

/* --- threads.c: other threads, sleeping ----------------------------------------------- */

/* Where a tasklet waited that had to leave its channel for a moment. */
typedef struct {
    int known;
    PyTaskletObject *after;       // strong; NULL: it was the first
} stackless_place;

/* How the current tasklet leaves the run queue. */
typedef struct {
    tasklet_state fate;           // SENDING, RECEIVING, PAUSED
    PyChannelObject *channel;     // SENDING, RECEIVING: waits there
    stackless_place *place;       // SENDING, RECEIVING: set if it left the channel
    int watches;                  // PAUSED: it is inside run(), on the watchdogs
    PyObject *value;              // its pending result (borrowed) or NULL
    int flags;                    // TASKLET_RETURNS_SELF, _NONE
    PyTime_t deadline;            // RECEIVING, SENDING: a stackless_op's
    int sleeps;                   // TIMER_...
    PyObject *selection;          // of the select() in which it waits (borrowed), or NULL
    int ends;                     // it has ended: it is current again, whoever is woken
} stackless_nap;

/* Could another thread make one of this thread's tasklets runnable? */
extern int _PyStackless_OthersRun(_PyStackless_Scheduler *sched);
/* Is it the thread that the interpreter started with? */
extern int _PyStackless_IsInitialThread(_PyStackless_Scheduler *sched);
/* Does a run(threadblock=True) go on? */
extern int _PyStackless_ThreadBlocks(_PyStackless_Scheduler *sched);
/* The current tasklet, alone in the run queue, leaves it, and the thread sleeps until
   another thread makes a tasklet runnable.  All that leaving it takes is prepared.
   OP_SWITCHED: that one is current now.
   OP_DONE, *result: it is the tasklet itself, this is the result of its call.
   OP_DONE, *result == NULL: nothing has changed; decide again.
   OP_ERROR: the same two cases, with an exception instead.
   Releases the GIL; runs signal handlers, and the schedule callback. */
extern op_outcome _PyStackless_Sleep(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                                     const stackless_nap *nap, PyObject **result);

/* t, the last one that waits on its channel, takes its former place there. */
extern void _PyStackless_TakePlace(PyTaskletObject *t, const stackless_place *place);

/* Appends t to the run queue of a thread that sleeps, or puts it first; wakes it. */
extern void _PyStackless_QueueAsleep(PyTaskletObject *t, int first);
/* t is about to be unlinked from the run queue of a thread that sleeps. */
extern void _PyStackless_UnqueueAsleep(PyTaskletObject *t);
/* t, alive and not blocked, runs next in its own thread, which is another one. */
extern void _PyStackless_RunElsewhere(PyTaskletObject *t);
/* The bomb (stolen) reaches t, which is alive and not current here, when its turn
   comes, or, if it is running in another thread, at its next switching call. */
extern void _PyStackless_ThrowPending(PyTaskletObject *t, PyObject *bomb);
/* Moves t to a thread by its identifier; -1 with an exception. */
extern int _PyStackless_BindThread(PyTaskletObject *t, unsigned long thread_id);
/* A thread ends: does that leave the others without hope? */
extern void _PyStackless_NoteThreadEnd(PyThreadState *ending);

/* --- waiting.c: deadlines ------------------------------------------------------------ */

/* What StartTimer() of the current tasklet takes: 0, or -1 with an exception. */
extern int _PyStackless_PrepareTimer(_PyStackless_Scheduler *sched);
/* t, which is blocked, waits until `deadline` at most. */
extern void _PyStackless_StartTimer(_PyStackless_Scheduler *sched, PyTaskletObject *t,
                                    PyTime_t deadline, int sleeps);
/* The timers, if there are any, are looked at before long.  `left`: who is just being left, or
   NULL. */
extern void _PyStackless_NoticeTimers(_PyStackless_Scheduler *sched, PyTaskletObject *left);
/* t, which has a timer, is about to leave its channel.  The caller has a reference to t. */
extern void _PyStackless_StopTimer(PyTaskletObject *t);
/* The timer of t, if it has one, is to be one of another thread's: 0, or -1 with an
   exception. */
extern int _PyStackless_MoveTimer(PyTaskletObject *t, _PyStackless_Scheduler *to);
/* The thread has ended.  Runs Python code. */
extern void _PyStackless_TimersFini(_PyStackless_Scheduler *sched);
/* New reference, or NULL with an exception. */
extern PyObject *_PyStackless_SleepChannel(_PyStackless_Scheduler *sched);
/* TimeoutError, for who was to be SENDING or RECEIVING. */
extern void _PyStackless_SetTimedOut(tasklet_state fate);
/* Those whose deadline is not after `now` are runnable. */
extern void _PyStackless_EndTimers(_PyStackless_Scheduler *sched, PyTime_t now);
extern void _PyStackless_LookAtTimersSlow(_PyStackless_Scheduler *sched);
/* If nobody is runnable: does the thread go on when a deadline is over?  `timed`: the current
   tasklet is about to wait for one. */
extern int _PyStackless_WaitsForTime(_PyStackless_Scheduler *sched, int timed);

/* Those whose deadline is over are runnable.  A clock of the program's runs Python code. */
static inline void
_PyStackless_LookAtTimers(_PyStackless_Scheduler *sched)
{
    if (sched->timers.n != 0) {
        _PyStackless_LookAtTimersSlow(sched);
    }
}

/* A channel that no program has; NULL with an exception. */
extern PyChannelObject *_PyStackless_HiddenChannel(stackless_modstate *mod);

/* --- select.c: several things, and the end of a tasklet ------------------------------ */

extern PyType_Spec _PyStackless_ProxySpec;
extern PyType_Spec _PyStackless_SelectionSpec;
/* Of the cases of a select(), and its default or NULL; NULL with an exception. */
extern PyObject *_PyStackless_NewSelection(stackless_modstate *mod, PyObject *const *args,
                                           Py_ssize_t n, PyObject *fallback);
/* What select() returns if it has a default: once only.  Or NULL. */
extern PyObject *_PyStackless_SelectionDefault(PyObject *selection);
/* Who waits in t's place in a channel's queue: t, or (a proxy) another one.  Borrowed; NULL if
   t is. */
extern PyTaskletObject *_PyStackless_WaiterOf(PyTaskletObject *t);
/* Takes t off its channel if it is a proxy: 1, or 0. */
extern int _PyStackless_UnblockProxy(PyTaskletObject *t);
/* The index of a case that can be done at once: *op is set (borrowed; no target: the case is a
   tasklet that has ended).  -1: none; -2 with an exception. */
extern Py_ssize_t _PyStackless_ReadyCase(_PyStackless_Scheduler *sched, PyObject *selection,
                                         int biased, stackless_op *op);
/* What select() returns of case i with `value` (stolen), once only. */
extern PyObject *_PyStackless_FillSelection(stackless_modstate *mod, PyObject *selection,
                                            Py_ssize_t i, PyObject *value);
/* What StartSelect() takes.  *op: target and value of the first case (borrowed).  0, or -1 with
   an exception. */
extern int _PyStackless_PrepareSelect(_PyStackless_Scheduler *sched, PyObject *selection,
                                      stackless_op *op);
/* t, which has a side block and is blocked for the first case, waits for the others, too. */
extern void _PyStackless_StartSelect(_PyStackless_Scheduler *sched, PyTaskletObject *t,
                                     PyObject *selection);
extern void _PyStackless_StopSelect(PyTaskletObject *t);
extern int _PyStackless_IsSelecting(const PyTaskletObject *t);
/* The first waiter of a channel is to receive `value`, or (NULL) has sent *sent, which gets its
   reference.  Returns the tasklet, which is paused, with its pending result; the channel's
   reference to it goes to the caller. */
extern PyTaskletObject *_PyStackless_Claim(_PyStackless_Scheduler *sched,
                                           PyTaskletObject *first, PyObject *value,
                                           PyObject **sent);
/* Can the calling thread's current tasklet wait for the end of t?  0, or -1 with an exception. */
extern int _PyStackless_CheckJoin(PyTaskletObject *t);
/* Where others wait for the end of t (borrowed); NULL with an exception. */
extern PyChannelObject *_PyStackless_DoneChannel(PyTaskletObject *t);
/* t, which has a DoneChannel(), has ended with `value` or `*exc`, which is NULL afterwards if
   somebody gets it.  Returns what is to be kept (new reference), or NULL. */
extern PyObject *_PyStackless_TellJoiners(_PyStackless_Scheduler *sched, PyTaskletObject *t,
                                          PyObject *value, PyObject **exc);
/* t will never end. */
extern void _PyStackless_TellDropped(PyTaskletObject *t);

/* --- scope.c: cancelling ------------------------------------------------------------- */

extern PyType_Spec _PyStackless_ScopeSpec;
/* The current tasklet, which is in a scope, is about to block.  0: *limit is the deadline of its
   scopes (0: none); -1 with Cancelled. */
extern int _PyStackless_CheckCancelled(_PyStackless_Scheduler *sched, PyTime_t *limit);
/* What t, which is blocked in a scope, is to get at the time `now` (new reference); NULL: nothing. */
extern PyObject *_PyStackless_ScopeExpired(_PyStackless_Scheduler *sched, PyTaskletObject *t,
                                           PyTime_t now);
/* t, which is in a scope, has ended with `value` or `exc` (stolen).  Returns `exc`, or NULL: it
   has gone to whom it concerns.  Runs Python code. */
extern PyObject *_PyStackless_MemberEnded(_PyStackless_Scheduler *sched, PyTaskletObject *t,
                                          PyObject *value, PyObject *exc);

/* --- watchdog.c: time limits --------------------------------------------------------- */

typedef struct {
    long timeout;                 // ticks; <= 0: no limit
    double seconds;               // likewise
    int threadblock;
    int soft;
    int ignore_nesting;
    int totaltimeout;
    int nowait;
} _PyStackless_RunArgs;

/* Starts the time limit of a run(), if it has one, with `sched->current` as the one who
   gets control back; it is stopped whenever that one leaves run().  Only the outermost
   limit counts.  0, or -1 with an exception. */
extern int _PyStackless_WatchStart(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                                   const _PyStackless_RunArgs *args);
extern void _PyStackless_WatchStop(_PyStackless_Scheduler *sched);
extern void _PyStackless_WatchFini(_PyStackless_Scheduler *sched);
/* The argument of the instruction at code unit i, with its EXTENDED_ARGs. */
extern int _PyStackless_OpargAt(PyCodeObject *code, int i);
/* Its opcode, an INSTRUMENTED_... one if it has events of its own, besides LINE and
   INSTRUCTION. */
extern int _PyStackless_EventOpcodeAt(PyCodeObject *code, int i);
/* Another tasklet has become current, and sched->watch_switch is set. */
extern void _PyStackless_WatchSwitch(PyThreadState *tstate, _PyStackless_Scheduler *sched);
/* The thread has slept, in the current tasklet. */
extern void _PyStackless_WatchWake(_PyStackless_Scheduler *sched);
/* The current tasklet goes on where it was interrupted: finishes the instruction at
   frame->instr_ptr, which is a call that has returned, or a jump or RESUME at which
   nothing has happened yet.  May run monitoring tools: an exception may be set. */
extern void _PyStackless_FinishInterrupted(PyThreadState *tstate,
                                           _PyStackless_Scheduler *sched,
                                           _PyInterpreterFrame *frame);

/* --- dump.c, debug.c ------------------------------------------------------------------ */

/* Sets RuntimeError: `message`, followed by who is blocked, where and on what.  `channel`
   (may be NULL): what the current tasklet wants to wait for. */
extern void _PyStackless_SetDeadlock(_PyStackless_Scheduler *sched, const char *message,
                                     tasklet_state fate, PyChannelObject *channel);
/* _stackless._dump() */
extern PyObject *_PyStackless_Dump(PyObject *module, PyObject *args);

#ifdef Py_DEBUG
/* After a switch, before the current tasklet goes on.  `left` may be NULL. */
extern void _PyStackless_Check(_PyStackless_Scheduler *sched, PyTaskletObject *left);
/* When the thread falls asleep, and before it is woken. */
extern void _PyStackless_CheckAsleep(_PyStackless_Scheduler *sched);
extern void _PyStackless_DebugInit(stackless_modstate *mod);
/* Who runs after the current tasklet, if that does not matter: the next in the queue,
   but for STACKLESS_DEBUG=shuffle. */
extern PyTaskletObject *_PyStackless_Successor(_PyStackless_Scheduler *sched);
extern void _PyStackless_DebugSwitched(_PyStackless_Scheduler *sched);
#else
#  define _PyStackless_DebugInit(mod) ((void)0)
#  define _PyStackless_Successor(sched) ((sched)->current->next)
#  define _PyStackless_DebugSwitched(sched) ((void)0)
#  define _PyStackless_Check(sched, left) ((void)0)
#  define _PyStackless_CheckAsleep(sched) ((void)0)
#endif

/* --- making another tasklet current ------------------------------------------------------ */

/* The part of _PyStackless_PrepareLeave() that most switches do not need
   (switch/dispatch.c). */
extern int _PyStackless_PrepareLeaveSlow(PyThreadState *tstate,
                                         _PyStackless_Scheduler *sched);

/* Can the current tasklet be left softly, or main at all?  Moves its frames off the
   data stack and allocates what suspending it takes.  -1 with an exception, else 0. */
static inline int
_PyStackless_PrepareLeave(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    if (!_PyStackless_SaveNeedsExtra(tstate, sched)
        && extra_of(sched->current) == NULL
        && tstate->datastack_top == sched->datastack_base) {
        return 0;
    }
    return _PyStackless_PrepareLeaveSlow(tstate, sched);
}

/* What an operation has decided. */
typedef struct {
    PyTaskletObject *next;        // who becomes current; NULL: sleep until there is one
    tasklet_state fate;           // of the current tasklet
    int insert_next;              // next has to be queued first, if need be unblocked
    int direct;                   // a soft time limit does not divert this switch
    int carry_tracing;            // trace and profile function stay with the thread
} decision;

/* Whether switching is allowed here: 0, or -1 with an exception. */
extern int _PyStackless_CheckMaySwitch(_PyStackless_Scheduler *sched);

/* Who becomes current instead of d->next, which stays next in the queue: the one whose
   run() has a soft time limit that is over.  Or NULL. */
extern PyTaskletObject *_PyStackless_Diverted(_PyStackless_Scheduler *sched,
                                              const decision *d);

/* callbacks.c: whom the schedule callback was told of in the operation under way. */
typedef struct {
    PyTaskletObject *next;        // to be compared only
    int times;
} schedule_told;

/* Tells the schedule callback, if there is one, that the current tasklet is to be left for
   what was decided, unless it knows.  The callback, or another thread meanwhile, may change
   that: 1, it is to be decided again.  *told: empty at first. */
extern int _PyStackless_TellSwitch(_PyStackless_Scheduler *sched, const decision *d,
                                   schedule_told *told);
/* Tells it that the calling thread's main tasklet came into being; that of the initial
   thread has always been there. */
extern void _PyStackless_TellMain(_PyStackless_Scheduler *sched);
/* -1 with an exception: the current tasklet is in the channel callback. */
extern int _PyStackless_CheckNoChannelCallback(_PyStackless_Scheduler *sched);
/* Runs the channel callback, which must be set: 0, or -1 with an exception. */
extern int _PyStackless_CallChannelCallback(_PyStackless_Scheduler *sched,
                                            PyChannelObject *ch, PyObject *value, int sending,
                                            int willblock);

/* Everything that can fail or run code before a commit: 0, or -1 with an exception.  1: the
   callback was told. */
extern int _PyStackless_PrepareCommit(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                                      const decision *d, int how, schedule_told *told);

/* The commit common to all: `d->next` becomes current.  The current tasklet's state is
   changed to its fate; if it leaves the queue, the queue's reference to it is the
   caller's, for the new list (channel, watchdogs) or to be discarded. */
extern void _PyStackless_Commit(_PyStackless_Scheduler *sched, const decision *d);

/* The same when the current tasklet has ended: d->fate is TASKLET_IDLE. */
extern void _PyStackless_CommitEnd(_PyStackless_Scheduler *sched, const decision *d);

/* Who runs after the current tasklet ended, and with which exception. */
extern void _PyStackless_DecideAfterEnd(_PyStackless_Scheduler *sched, PyObject **exc,
                                        decision *d);

#endif /* !STACKLESS_SCHED_SCHED_H */
