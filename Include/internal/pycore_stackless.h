/* Tasklets, channels and the scheduler: structures and internal functions.

   Who owns what
   -------------
   scheduler   one per thread that ever used tasklets; counted by the thread and by
               each of its tasklets, so it outlives the thread (tstate is then NULL
               and the tasklets are orphans).
   run queue   cyclic list through next/prev; owns one reference to each member.
               The running tasklet is a member, except within a switch.
   channel     linear list through next/prev of the tasklets blocked on it; owns
               one reference to each; first come, first served.
   watchdogs   array of the tasklets inside run(); owns a reference to each.
   tasklet     owns its frames (from the topmost one down to its bottom frame,
               whose `previous` is the scheduler's `base` frame for ever), its
               context and its side block.  Does not own its channel.

   Invariants
   ----------
   - The state enum says on which list a tasklet is; nothing else does.
   - A channel never has senders and receivers at once: `balance` is the signed
     length of its queue.
   - Exactly one tasklet per scheduler is CURRENT, and `current` refers to it, except
     while the thread sleeps for want of work: then `current` is the sleeper, which is
     blocked, paused or runnable again, with its frames still in the thread state.
     main is CURRENT iff no dispatcher runs.
   - A suspended tasklet's frames are all in heap blocks or in generators. */

#ifndef Py_INTERNAL_STACKLESS_H
#define Py_INTERNAL_STACKLESS_H
#ifdef __cplusplus
extern "C" {
#endif

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "pycore_frame.h"         // _PyInterpreterFrame
#include "pycore_object.h"        // _PyObject_GC_UNTRACK()
#include "pycore_stackless_cstack.h" // _PyStackless_Slice
#include "pycore_stackless_hooks.h" // FRAME_OWNED_BY_TASKLET
#include "pycore_tstate.h"        // _PyThreadStateImpl

/* What an activation of the eval loop takes off c_recursion_remaining: ceval.c's
   PY_EVAL_C_STACK_UNITS, which no header has. */
#define STACKLESS_EVAL_C_UNITS 2

typedef struct _PyTaskletObject PyTaskletObject;
typedef struct _PyChannelObject PyChannelObject;
typedef struct _PyStackless_Scheduler _PyStackless_Scheduler;

/* --- operations ---------------------------------------------------------- */

/* What a switching call wants.  Decided by the builtin, done by the hook. */
typedef enum {
    OP_SCHEDULE,                  // value: result or NULL for the tasklet itself
    OP_SCHEDULE_REMOVE,           // same
    OP_RUN_ALL,                   // stackless.run(); value: NULL or _PyStackless_RunArgs
    OP_RUN_TASKLET,               // target: tasklet
    OP_SWITCH_TO,                 // same; the caller is paused
    OP_THROW,                     // target: tasklet, value: bomb
    OP_SEND,                      // target: channel, value
    OP_RECEIVE,                   // target: channel
    OP_INTERRUPT,                 // target: who is inside run() with a time limit
    OP_GREENLET_SWITCH,           // target: greenlet, value: tuple
    OP_GREENLET_SWITCH_KW,        // same, value: pair of tuple and dict
    OP_GREENLET_THROW,            // same, value: cell with the exception
    OP_GREENLET_EXIT,             // same, GreenletExit for a dead one: it is handed over
} stackless_opcode;

typedef struct {
    stackless_opcode code;
    PyObject *target;             // strong
    PyObject *value;              // strong
} stackless_op;

/* A builtin's wish, from the token to the hook.  `owner` is the tasklet that returned
   the token: one that another tasklet finds is not its own. */
typedef struct {
    PyTaskletObject *owner;
    stackless_op op;
    int size;                     // code units of the calling instruction
} pending_op;

/* --- tasklets ------------------------------------------------------------ */

typedef enum {
    TASKLET_IDLE,                 // nothing to run: new, bound without arguments, dead
    TASKLET_PAUSED,               // alive, on no list
    TASKLET_RUNNABLE,             // on the run queue
    TASKLET_CURRENT,              // on the run queue and executing
    TASKLET_RECEIVING,            // on a channel's queue
    TASKLET_SENDING,              // on a channel's queue
} tasklet_state;

enum {
    TASKLET_STARTED = 1,          // `frame` is valid, otherwise `func` and `args` are
    TASKLET_IS_MAIN = 2,
    TASKLET_ATOMIC = 4,
    TASKLET_IGNORE_NESTING = 8,
    TASKLET_BLOCK_TRAP = 16,
    TASKLET_RETURNS_SELF = 32,    // stands for tempval == self, without the cycle
    TASKLET_RAISES = 64,          // tempval is an exception to be raised
    TASKLET_HAS_KWARGS = 128,     // not STARTED: `args` is the pair (tuple, dict)
    TASKLET_RETURNS_NONE = 128,   // STARTED: whatever tempval is, unless it raises
    TASKLET_WITH_FRAMES = TASKLET_STARTED | TASKLET_RETURNS_NONE,  // they go with the frames
};

/* A thread state's data stack. */
typedef struct {
    _PyStackChunk *chunk;
    PyObject **top;
    PyObject **limit;
} stackless_datastack;

/* The fields of the thread state that belong to the C functions under way: what main
   and those who are suspended hard keep, in addition. */
typedef struct {
    stackless_datastack datastack;
    PyObject *exception;
    PyObject *delete_later;
    int tracing;
    int what_event;
} stackless_c_fields;

/* The frame at the bottom of an eval loop that was called from C, and the entry frame
   below it; others may follow that. */
typedef struct {
    _PyInterpreterFrame *frame;   // NULL: there is none, entry is the topmost frame
    _PyInterpreterFrame *entry;
} hard_entry;

/* Of what follows, the part that is nearly always empty: an exception is set, something is
   being traced, the data stack has several chunks or a token is on its way. */
typedef struct {
    stackless_c_fields fields;
    size_t root_top;
    pending_op pending;                // if it is this tasklet's
} hard_rest;

/* What a tasklet keeps that was left with C functions between its frames. */
typedef struct stackless_hard {
    _PyStackless_Slice slice;
    PyTaskletObject *owner;
    struct stackless_hard *next;       // list of those that are suspended hard
    struct stackless_hard **link;      // NULL: this one is not
    PyObject **data;                   // copy of the data stack's first chunk
    hard_entry *entries;
    hard_rest *rest;                   // NULL: nothing of that
    PyObject *delete_later;
    uint32_t data_used;                // words
    uint32_t data_size;
    uint32_t nentries;
    uint32_t entries_size;
    int c_recursion;                   // used since the dispatcher
} stackless_hard;

/* What most tasklets never have: made when first needed, kept to the end. */
typedef struct {
    PyObject *context;            // see _PyTaskletObject
    int depth;                    // likewise
    _PyErr_StackItem *exc_info;   // NULL: see _PyStackless_FindExcInfo()
    PyObject *exc_value;          // the root's exception while suspended
    Py_tracefunc tracefunc;
    Py_tracefunc profilefunc;
    PyObject *traceobj;
    PyObject *profileobj;
    PyObject *c_callable;         // the C call whose C_RETURN or C_RAISE is still due
    PyObject *c_arg;
    PyObject *greenlet;           // that stands for it (greenlet_tasklets have a field)
    stackless_hard *hard;
    uint8_t interrupted;          // its pending call is run(timeout)'s interrupt
    uint8_t threadblock;          // inside run(threadblock=True), if inside run()
} tasklet_extra;

struct _PyTaskletObject {
    PyObject_HEAD
    PyTaskletObject *next;
    PyTaskletObject *prev;
    union {
        _PyInterpreterFrame *frame;    // STARTED and suspended: the topmost one
        PyObject *func;                // not STARTED, alive: what to call
    };
    PyObject *tempval;                 // what the pending switching call returns
    union {
        PyChannelObject *channel;      // SENDING, RECEIVING: borrowed
        PyObject *args;                // not STARTED, alive: tuple, or (tuple, dict)
    };
    PyObject *weakreflist;
    union {
        PyObject *context;             // NULL while CURRENT: the thread state has it
        uintptr_t tagged_extra;        // odd: 1 + its side block, which has the context
    };
    uint8_t state;                     // tasklet_state
    uint8_t flags;
    uint16_t epoch;                    // of instrumentation, when suspended
    uint16_t sched;                    // counted: see sched_of()
    int16_t depth;                     // Python recursion used, when suspended without a side
};                                     // block; ~: exc_info is _PyStackless_NearGenerator()'s

enum { STACKLESS_SMALL_DEPTH = INT16_MAX };

/* The side block, or NULL. */
static inline tasklet_extra *
extra_of(const PyTaskletObject *t)
{
    return t->tagged_extra & 1 ? (tasklet_extra *)(t->tagged_extra - 1) : NULL;
}

/* Where its context is, unless it is CURRENT. */
static inline PyObject **
context_of(PyTaskletObject *t)
{
    tasklet_extra *extra = extra_of(t);
    return extra != NULL ? &extra->context : &t->context;
}

/* --- channels ------------------------------------------------------------ */

struct _PyChannelObject {
    PyObject_HEAD
    PyTaskletObject *first;
    PyTaskletObject *last;
    PyChannelObject *busy_next;        // list of channels the collector must see
    PyChannelObject **busy_link;       // NULL: not on it
    PyObject *weakreflist;
    int balance;
    signed char preference;            // -1 receiver, 0 none, 1 sender
    uint8_t schedule_all;
    uint8_t closing;
};

/* --- the scheduler of a thread ------------------------------------------- */

/* May an operation switch, and how? */
enum { SWITCH_NOT, SWITCH_SOFT, SWITCH_HARD };

typedef enum {
    OP_ERROR = -1,                // exception set, nothing changed
    OP_DONE,                      // no switch needed; *result is the call's value
    OP_NEEDS_SWITCH,              // only when asked not to switch; nothing changed
    OP_SWITCHED,                  // another tasklet is current now
} op_outcome;

/* What greenlets, which lie above the scheduler, do in its operations (greenlet_switch.c). */
typedef struct {
    op_outcome (*execute)(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                          const stackless_op *op, int how, PyObject **result);
    /* An operation failed that would have started a greenlet: this does not keep its
       callable alive, which may refer to it. */
    void (*note_failure)(_PyStackless_Scheduler *sched, const stackless_op *op);
    /* The callable of `greenlet`, if that is pending, and of whoever it would switch to, is
       looked up before an operation begins: this may run any code.  0, or -1 with an
       exception.  Within a hard switch, if something else has to be looked up by then, the
       operation fails without an exception: it is to be begun again after another call of
       this function. */
    int (*look_up)(_PyStackless_Scheduler *sched, PyObject *greenlet);
    /* Whose turn it is after the current tasklet, a greenlet's, ended with `value` or `exc`
       (stolen; the other one is NULL): makes that one current. */
    void (*finish)(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyObject *value,
                   PyObject *exc);
    /* A switch between greenlets with a trace function is to be told to it before its value
       is there: then the pending result is an object of this type, and take_traced(), which
       steals it, returns the value (new reference), or NULL with an exception. */
    PyTypeObject *traced_type;
    PyObject *(*take_traced)(_PyStackless_Scheduler *sched, PyObject *traced);
    /* t's greenlet is dead from now on, if t is the tasklet of one that was made.  Returns
       the reference that it had, or NULL. */
    PyObject *(*unlink)(PyTaskletObject *t);
    /* Deletes the greenlets whose deletion other threads or a garbage collection have left
       to this thread. */
    void (*delete_postponed)(_PyStackless_Scheduler *sched);
} stackless_greenlet_hooks;

/* The types and callbacks of an interpreter: the state of module _stackless. */
typedef struct {
    _PyStackless_ChannelMethods channel_methods;   // first; strong
    PyTypeObject *tasklet_type;
    PyTypeObject *channel_type;
    PyTypeObject *bomb_type;
    PyTypeObject *atomic_type;
    PyTypeObject *module_type;         // of the module `stackless`
    PyTypeObject *greenlet_tasklet_type;
    const stackless_greenlet_hooks *greenlets;     // NULL, as the next one: not imported
    PyObject *str_run;            // "run"
    PyObject *trampoline;         // function: calls what is no plain Python function
    PyObject *keywords_trampoline;     // the same, with keyword arguments
    PyObject *schedule_callback;
    PyObject *channel_callback;
    PyObject *error_handler;
    uint8_t hard_only;            // enable_softswitch(False)
    uint8_t unusual;              // no fast paths: _PyStackless_NoteUnusual()
    uint8_t debug_gc;             // see stackless_debug.c
    uint8_t debug_slow;
    uint8_t debug_shuffle;
    uint64_t debug_random;        // the seed and the number of switches so far
} stackless_modstate;

/* A class, by its version, whose plain __getattr__() is asked for `name`: neither the class
   nor, as long as their keys are those of this version, its instances have it. */
typedef struct {
    unsigned int type_version;         // 0: none
    uint32_t keys_version;
    PyObject *name;                    // strong
    PyObject *getattr;                 // the Python function.  Borrowed
} stackless_missing;

enum { STACKLESS_KNOWN_MISSING = 8 };

/* Blocks of memory of the same size, each of which begins with the address of the next. */
typedef struct {
    void **first;
    Py_ssize_t count;
} stackless_kept_blocks;

struct _PyStackless_Scheduler {
    stackless_modstate *mod;           // first
    Py_ssize_t refcount;
    uint16_t index;                    // in _PyStackless_schedulers[]
    PyThreadState *tstate;             // NULL: the thread has ended
    PyObject *module;                  // strong: keeps the types
    PyTaskletObject *main;             // strong
    PyTaskletObject *current;
    Py_ssize_t runcount;

    pending_op pending;
    stackless_op call;                 // what a builtin's caller wants; read at once
    PyObject *call_result;             // likewise: what the builtin returns
    void (*commit)(_PyStackless_Scheduler *);      // likewise: _PyStackless_LeaveHard()

    _PyInterpreterFrame *announced_frame;
    PyObject *announced;               // borrowed; see _PyStackless_AnnounceCall

    /* The dispatcher. */
    _PyInterpreterFrame base;          // below the bottom frame of each tasklet
    stackless_kept_blocks kept[32];    // blocks for frames, by size in words
    stackless_missing missing[STACKLESS_KNOWN_MISSING];
    _PyStackChunk *datastack_root;     // the first chunk of the tasklets' data stack
    PyObject **datastack_base;         // its beginning: nothing is in use
    _PyInterpreterFrame *main_frame;   // main's current_frame while it is away
    int c_recursion_base;              // c_recursion_remaining at nesting level 0
    int starting;
    _PyErr_StackItem exc_root;         // below the exceptions a tasklet handles

    /* Hard switching. */
    _PyStackless_Main cstack;
    char *far;                         // where the C stack of the current tasklet begins
    stackless_hard *hard;              // list
    Py_ssize_t nhard;
    char *hard_far;                    // not below the `far` of any of them
    Py_ssize_t cxx_modules;            // when the C++ runtime was last looked for
    unsigned int cxx_calls;
    hard_entry *main_entries;          // of main's frames, while main is away
    uint32_t nmain_entries;
    uint32_t main_entries_size;

    PyTaskletObject **watchdogs;
    Py_ssize_t nwatchdogs;
    Py_ssize_t watchdogs_size;
    PyTaskletObject *timed;            // one of them: inside run() with a time limit
    PyTaskletObject *divert_to;        // timed, whose soft time limit is over
    struct _PyStackless_Watch *watch;  // NULL: no time limit so far
    uint8_t between;                   // the instruction at instr_ptr is finished,
    uint8_t jumped;                    // or not begun, after a jump

    PyChannelObject *busy;             // channels that had waiters since last looked
    Py_ssize_t nblocked;
    Py_ssize_t nblocked_tracked;       // at the last look

    PyObject *last_context;            // of the tasklet left last, to be compared only
    uintptr_t seen_version;            // of instrumentation
    uint8_t left_state;                // these three as in a tasklet that was left in
    uint8_t left_flags;                // schedule()
    uint16_t epoch;
    union {
        struct {
            int switch_trap;
            uint8_t in_schedule_callback;
            uint8_t watch_switch;      // the next switch is to be noticed
            uint16_t tracing_elsewhere;    // see stackless_tstate.c
        };
        uint64_t unusual_switch;       // one of them: not the fast way
    };
    uint8_t finishing;                 // the current tasklet has ended
    uint8_t collecting;                // its thread made the last garbage collection
    uint8_t in_channel_callback;

    /* Sleeping for want of work: stackless_threads.c. */
    uint8_t signalled;                 // `lock` has been released for the sleeper
    uint8_t joined_at_exit;            // waits_for_thread
    PyTaskletObject *sleeper;          // NULL: the thread does not sleep.  Borrowed
    PyTaskletObject *woken;            // while it does: head of the run queue, or NULL
    PyThread_type_lock lock;           // made when first needed; held but for a moment

    const char *obstacle;              // its thread's _PyStackless_SwitchObstacle()

    PyObject *exit_exc;                // SystemExit under way from a tasklet to main

    /* Greenlets. */
    PyObject *greenlet_trace;          // greenlet.settrace(), or NULL
    PyObject *postponed;               // list of greenlets to delete, or NULL
    uint8_t carry_tracing;             // in the switch under way: greenlets share sys.settrace()

    /* What a switch leaves over.  Decref'ing may run any code, so it has to wait
       until the thread state is whole again. */
    PyTaskletObject *left;             // strong: the tasklet that was switched from
    int ntrash;
    PyObject *trash[12];
};

/* All schedulers of the process.  A tasklet has the index of its scheduler rather than the
   address, because there may be millions of tasklets, and the bytes count. */
enum { STACKLESS_MAX_SCHEDULERS = UINT16_MAX + 1 };
extern _PyStackless_Scheduler *_PyStackless_schedulers[STACKLESS_MAX_SCHEDULERS];

static inline _PyStackless_Scheduler *
sched_of(const PyTaskletObject *t)
{
    return _PyStackless_schedulers[t->sched];
}

/* t, which has no scheduler, becomes one of its tasklets. */
static inline void
_PyStackless_Adopt(_PyStackless_Scheduler *sched, PyTaskletObject *t)
{
    t->sched = sched->index;
    sched->refcount++;
}

/* Drop a reference (may be NULL): later, if it is the last one. */
static inline void
_PyStackless_Discard(_PyStackless_Scheduler *sched, PyObject *op)
{
    if (op == NULL) {
        return;
    }
    if (Py_REFCNT(op) > 1) {
        Py_DECREF(op);
    }
    else {
        assert(sched->ntrash < (int)Py_ARRAY_LENGTH(sched->trash));
        sched->trash[sched->ntrash++] = op;
    }
}
extern void _PyStackless_EmptyTrash(_PyStackless_Scheduler *sched);

/* t has been left.  If code ran (to make the exception that a bomb stands for) between
   the last switch and what settles it, there is another one still. */
static inline void
_PyStackless_SetLeft(_PyStackless_Scheduler *sched, PyTaskletObject *t)
{
    PyObject *old = (PyObject *)sched->left;
    sched->left = (PyTaskletObject *)Py_NewRef(t);
    _PyStackless_Discard(sched, old);
}

/* stackless_modstate.c */

extern struct PyModuleDef _PyStackless_Module;         // _stackless.c
extern stackless_modstate *_PyStackless_StateOfType(PyTypeObject *type);
extern PyObject *_PyStackless_ModuleOfType(PyTypeObject *type);
/* The function `name` that `source` defines, with one global.  Its frames are left out
   of tracebacks, of f_back and of tracing. */
extern PyObject *_PyStackless_HiddenFunction(const char *source, const char *name,
                                             const char *global, PyObject *value);

/* stackless_schedulers.c */

/* A zeroed one with an index and one reference.  NULL with an exception: out of memory, or
   all are in use. */
extern _PyStackless_Scheduler *_PyStackless_AllocScheduler(void);
extern void _PyStackless_ReleaseScheduler(_PyStackless_Scheduler *sched);
/* Empties the list of channels that the collector must see. */
extern void _PyStackless_ForgetBusy(_PyStackless_Scheduler *sched);

/* stackless_life.c */

/* The calling thread's scheduler, with its main tasklet; made when needed.
   Borrowed.  NULL with an exception if out of memory. */
extern _PyStackless_Scheduler *_PyStackless_GetScheduler(PyThreadState *tstate,
                                                         PyObject *module);

/* stackless_sched.c */

/* Carries `op` out for the current tasklet, or, if `how` is SWITCH_NOT, finds out that
   it takes a switch.  All that can fail is done before anything is changed.
   `*result`: new reference for OP_DONE. */
extern op_outcome _PyStackless_Execute(PyThreadState *tstate,
                                       _PyStackless_Scheduler *sched,
                                       const stackless_op *op, int how,
                                       PyObject **result);
/* Picks who follows a tasklet that ended, with `exc` (stolen, may be NULL) if it
   was not caught in it, and makes that one current. */
extern void _PyStackless_Finish(PyThreadState *tstate,
                                _PyStackless_Scheduler *sched, PyObject *exc);

/* Runs the program's callback, which must be set.  prev == NULL: None. */
extern void _PyStackless_CallScheduleCallback(_PyStackless_Scheduler *sched,
                                              PyTaskletObject *prev,
                                              PyTaskletObject *next);
/* 0 if it does not matter that t, which is not alive, cannot get this exception; -1 with
   RuntimeError otherwise. */
extern int _PyTasklet_CheckThrowDead(PyTaskletObject *t, PyObject *bomb);
/* Raises what another thread has thrown into the running tasklet: -1, or 0. */
extern int _PyStackless_CheckThrown(_PyStackless_Scheduler *sched);

/* stackless_queue.c */

extern void _PyStackless_QueueAppend(_PyStackless_Scheduler *sched, PyTaskletObject *t);
extern void _PyStackless_QueueRemove(_PyStackless_Scheduler *sched, PyTaskletObject *t);
/* Takes t off its channel; the channel's reference to t goes to the caller. */
extern void _PyStackless_Unblock(PyTaskletObject *t);
extern void _PyStackless_SetState(PyTaskletObject *t, tasklet_state state);
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

/* stackless_threads.c */

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
/* The identifier that a program gave: `id`, an int, or that of the calling thread if it is
   -1 or NULL.  -1 with OverflowError. */
extern int _PyStackless_ThreadId(PyObject *id, unsigned long *target);
/* Moves t to a thread by its identifier; -1 with an exception. */
extern int _PyStackless_BindThread(PyTaskletObject *t, unsigned long thread_id);
/* A thread ends: does that leave the others without hope? */
extern void _PyStackless_NoteThreadEnd(PyThreadState *ending);

/* stackless_dispatch.c */

/* Runs tasklets until main is current again.  The caller made another one current, and
   settles what is left over when it has taken main's pending result. */
extern int _PyStackless_Dispatch(PyThreadState *tstate, _PyStackless_Scheduler *sched);
/* On a dispatcher's C stack: runs tasklets until main is current, or one is suspended
   hard and another one can begin there. */
extern void _PyStackless_RunTasklets(void *sched);
/* t, which has executed `frame`, is left softly for main, which has been made current: the
   next thing that the eval loop does is to return to the dispatcher. */
extern void _PyStackless_LeaveForMain(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                                      PyTaskletObject *t, _PyInterpreterFrame *frame);
/* Lets go of what the switch left over, now that the thread state is whole again. */
extern void _PyStackless_Settle(PyThreadState *tstate, _PyStackless_Scheduler *sched);
/* The part of _PyStackless_PrepareLeave() that most switches do not need. */
extern int _PyStackless_PrepareLeaveSlow(PyThreadState *tstate,
                                         _PyStackless_Scheduler *sched);
/* Carries out a switching builtin's operation, sched->call, whose references are stolen.
   `fn`: the C function as it stands in the method table; args, nargs, kwnames: as it
   got them; args == NULL: tp_iternext.  The result is what the builtin returns.
   All arguments fit in registers: a builtin that ends by calling this leaves no frame of
   its own, which a hard switch would have to copy. */
extern PyObject *_PyStackless_SwitchingCall(
    _PyStackless_Scheduler *sched, void *fn, PyObject *self, PyObject *const *args,
    Py_ssize_t nargs, PyObject *kwnames);
/* Of the calling instruction, in code units, if there is no C code between it and the
   builtin, described as above, that could not be unwound; else 0. */
extern int _PyStackless_DirectSize(
    PyThreadState *tstate, _PyStackless_Scheduler *sched, void *fn, PyObject *self,
    PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
extern void _PyStackless_CancelOp(_PyStackless_Scheduler *sched);
/* Sets the token, for `op` (stolen) to be carried out by the hook.  `size`: in code
   units, of the instruction that is being executed.  Returns NULL. */
extern PyObject *_PyStackless_Unwind(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                                     stackless_op op, int size);
/* How many eval loops and other counted C calls lie above the dispatcher. */
extern int _PyStackless_NestingLevel(PyThreadState *tstate, _PyStackless_Scheduler *sched);

/* stackless_frames.c */

/* Moves the frames of the current tasklet, whose stack pointers are saved, from the data
   stack to blocks of their own.  0, or -1 with an exception: some have moved. */
extern int _PyStackless_PromoteFrames(PyThreadState *tstate, _PyStackless_Scheduler *sched);
/* Drops function, arguments or frames without running them.  Runs Python code. */
extern void _PyTasklet_DropFrames(PyTaskletObject *t);

/* stackless_watchdog.c */

typedef struct {
    long timeout;                 // ticks; <= 0: no limit
    double seconds;               // likewise
    int threadblock;
    int soft;
    int ignore_nesting;
    int totaltimeout;
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

/* Carries out sched->call, whose references are stolen, for C code.  Result or NULL as a
   builtin's. */
extern PyObject *_PyStackless_CallFromC(_PyStackless_Scheduler *sched);

/* stackless_hard.c */

extern int _PyStackless_DataStackInit(PyThreadState *tstate,
                                      _PyStackless_Scheduler *sched);
extern void _PyStackless_DataStackEmpty(PyThreadState *tstate,
                                        _PyStackless_Scheduler *sched);
/* Main is about to be left: makes sure that those who are suspended hard can be put
   back over its part of the C stack.  0 or -1 with an exception. */
extern int _PyStackless_PrepareOverlay(PyThreadState *tstate,
                                       _PyStackless_Scheduler *sched);
/* Before a part of the C stack is left: is there a C++ runtime now? */
extern void _PyStackless_NoticeCxxRuntime(PyThreadState *tstate,
                                          _PyStackless_Scheduler *sched);
/* While main is away, the entry frames on its C stack may be overlaid. */
extern void _PyStackless_UnlinkMainEntries(_PyStackless_Scheduler *sched);
extern void _PyStackless_LinkMainEntries(_PyStackless_Scheduler *sched);
/* _PyStackless_CallFromC() for a tasklet that has C functions between its frames. */
extern PyObject *_PyStackless_CallHard(_PyStackless_Scheduler *sched);
/* The tasklet that calls schedule() in `frame`, in an eval loop above C functions, is left
   if nothing else is special about that.  `base`: what it calls, not with the last reference.
   Whether it was left, or MemoryError is set; then the call is over. */
extern int _PyStackless_ScheduleAbove(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                                      _PyInterpreterFrame *frame, PyObject **base);
extern int _PyStackless_CanLeaveHard(_PyStackless_Scheduler *sched);
/* Leaves the current tasklet, from within C functions, if it can be left so, for the one
   that commit(sched) makes current, which cannot fail.  The result is what the pending
   call returns; out of memory, sched->call.value (strong) is dropped. */
extern PyObject *_PyStackless_LeaveHard(_PyStackless_Scheduler *sched,
                                        void (*commit)(_PyStackless_Scheduler *));
/* Goes on in the current tasklet, which is suspended hard.  The activation that calls
   this is abandoned. */
extern void _PyStackless_ResumeHard(PyThreadState *tstate,
                                    _PyStackless_Scheduler *sched);
/* Gives up what a tasklet suspended hard holds: its frames, which may be looked at still,
   and whatever its C functions own are lost. */
extern void _PyStackless_AbandonHard(PyTaskletObject *t);

/* stackless_kill.c */

/* Raises TaskletExit in t as long as it is suspended hard in the calling thread, ten
   times at most.  Errors are reported as unraisable. */
extern void _PyTasklet_KillHard(PyTaskletObject *t);
/* Kills the calling thread's tasklets that have C functions between their frames. */
extern void _PyStackless_KillHard(_PyStackless_Scheduler *sched);
/* The program ends: kills what other threads run. */
extern void _PyStackless_KillOtherThreads(PyThreadState *tstate);

/* stackless_dump.c */

/* Sets RuntimeError: `message`, followed by who is blocked, where and on what.  `channel`
   (may be NULL): what the current tasklet wants to wait for. */
extern void _PyStackless_SetDeadlock(_PyStackless_Scheduler *sched, const char *message,
                                     tasklet_state fate, PyChannelObject *channel);
/* _stackless._dump() */
extern PyObject *_PyStackless_Dump(PyObject *module, PyObject *args);

/* stackless_inline.c */

/* A frame called by the continuation `c` is gone, or has yielded: goes on.  Returns the
   frame to go on with; it is tstate->current_frame. */
extern _PyInterpreterFrame *_PyStackless_Continue(PyThreadState *tstate,
                                                  _PyInterpreterFrame *c);
/* A frame has ended without a value and without an exception: upstream's take_ownership()
   clears the one under way if it has no memory for a frame object.  Sets SystemError, as the
   eval loop does. */
extern void _PyStackless_ExceptionIsLost(PyThreadState *tstate);
extern int _PyStackless_InitInlining(void);
/* A suspended frame of a tasklet will never go on: undoes what others would not get over.
   Runs Python code; no exception is set. */
extern void _PyStackless_AbandonFrame(_PyStackless_Scheduler *sched,
                                      _PyInterpreterFrame *frame);

/* stackless_tstate.c */

extern int _PyStackless_EnsureExtra(PyTaskletObject *t);
/* The innermost generator (or coroutine) in which a tasklet at nesting level 0 is, whose
   topmost frame is `frame`, if it is among the first few ones.  There, exc_info is that
   generator's: nobody has to keep it.  NULL: none, or not near. */
extern PyGenObject *_PyStackless_NearGenerator(_PyInterpreterFrame *frame);
/* What _PyStackless_SwapThreadFields() has to do if one of the two is in a generator. */
extern void _PyStackless_SwapExcInfo(PyThreadState *tstate, PyTaskletObject *t,
                                     PyTaskletObject *next);
extern void _PyStackless_FreeExtraIfUnused(PyTaskletObject *t);
/* If there is a trace or a profile function, in the thread state or in the side block: a
   switch that carries tracing leaves the thread state's there. */
extern void _PyStackless_SaveTracing(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                                     tasklet_extra *extra);
extern void _PyStackless_LoadTracing(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                                     tasklet_extra *extra);
extern void _PyStackless_ClearExtra(PyThreadState *tstate, PyTaskletObject *t);
/* Moves the fields to `save`; what is left is as it is when no C function is under way.
   (Their data stack has to be set apart: it is not the same for main.) */
extern void _PyStackless_SaveCFields(PyThreadState *tstate, stackless_c_fields *save);
extern void _PyStackless_LoadCFields(PyThreadState *tstate,
                                     const stackless_c_fields *load);
/* The thread's trace and profile functions go to `save`, those of `load` come. */
extern void _PyStackless_SwapTracing(PyThreadState *tstate, tasklet_extra *save,
                                     tasklet_extra *load);
/* Exchanges the trace functions of both, or their profile functions. */
extern void _PyStackless_ExchangeHook(tasklet_extra *a, tasklet_extra *b, int trace);
/* Takes away the trace and profile functions in `extra`.  Runs Python code; keeps an
   exception that is set. */
extern void _PyStackless_DropHooks(PyThreadState *tstate, tasklet_extra *extra);
/* Takes away what a handler or a finalizer has set in a tasklet that ended. */
extern void _PyStackless_DropTracing(PyThreadState *tstate, _PyStackless_Scheduler *sched);
/* Brings the code of all frames of a chain up to date with what is monitored. */
extern int _PyStackless_Instrument(PyThreadState *tstate, _PyInterpreterFrame *frame);
extern void _PyStackless_NoteVersion(PyThreadState *tstate, _PyStackless_Scheduler *sched);

/* stackless_debug.c */

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

/* taskletobject.c */

extern PyType_Spec _PyTasklet_Spec;
extern int _PyTasklet_InitType(PyTypeObject *type);
extern PyObject *_PyTasklet_GetTempval(PyTaskletObject *t);      // new reference
/* Its context (borrowed), made if it has none; NULL with an exception. */
extern PyObject *_PyTasklet_GetContext(PyTaskletObject *t);
/* Sets or clears a TASKLET_... flag: an int is wanted, `message` is the TypeError's.
   Returns the old value, a bool. */
extern PyObject *_PyTasklet_SetFlag(PyTaskletObject *t, int flag, PyObject *value,
                                    const char *message);
/* Makes a suspended or unstarted tasklet, which is on no list, idle. */
extern void _PyTasklet_MakeIdle(PyTaskletObject *t);

/* tasklet_attributes.c */

extern PyGetSetDef _PyTasklet_GetSet[];
/* How many times C code called Python code between its frames. */
extern int _PyTasklet_NestingLevel(PyTaskletObject *t);

/* channelobject.c */

extern PyType_Spec _PyChannel_Spec;
extern int _PyChannel_InitType(PyTypeObject *type);
/* bombobject.c */

extern PyType_Spec _PyBomb_Spec;
/* A bomb from what throw(exc, val, tb) takes (val, tb may be NULL); NULL: TypeError. */
extern PyObject *_PyBomb_FromThrow(stackless_modstate *mod, PyObject *exc,
                                   PyObject *val, PyObject *tb);
extern PyObject *_PyBomb_FromException(stackless_modstate *mod, PyObject *exc);
/* Raises what `value` (a bomb) stands for, in the current tasklet: what that handles
   becomes the exception's __context__. */
extern void _PyBomb_Explode(PyObject *value);
extern int _PyBomb_Matches(PyObject *bomb, PyObject *exc_type);

/* _stackless_private.c */
extern int _PyStackless_InitPrivate(PyObject *module);
static inline void
_PyStackless_NoteUnusual(stackless_modstate *mod)
{
    mod->unusual = mod->hard_only || mod->schedule_callback != NULL || mod->debug_slow;
}

#ifdef __cplusplus
}
#endif

#include "pycore_stackless_state.h"

#endif /* !Py_INTERNAL_STACKLESS_H */
