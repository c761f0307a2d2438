/* Tasklets, channels and the scheduler: structures.

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
   timers      own a reference to each tasklet that waits with a deadline, and one to the
               channel where it does.
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

#ifndef STACKLESS_STATE_OBJECTS_H
#define STACKLESS_STATE_OBJECTS_H
#ifdef __cplusplus
extern "C" {
#endif

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "pycore_frame.h"         // _PyInterpreterFrame
#include "pycore_object.h"        // _PyObject_GC_UNTRACK()
#include "Stackless/cstack/cstack.h" // _PyStackless_Slice
#include "pycore_stackless_hooks.h" // FRAME_OWNED_BY_TASKLET
#include "pycore_tstate.h"        // _PyThreadStateImpl

/* What an activation of the eval loop takes off c_recursion_remaining: ceval.c's
   PY_EVAL_C_STACK_UNITS, which no header has. */
#define STACKLESS_EVAL_C_UNITS 2

typedef struct _PyTaskletObject PyTaskletObject;
typedef struct _PyChannelObject PyChannelObject;
typedef struct _PyStackless_Scheduler _PyStackless_Scheduler;
typedef struct _PyStackless_Selection _PyStackless_Selection;      // sched/select.c
typedef struct _PyStackless_Scope _PyStackless_Scope;              // sched/scope.c

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
    OP_SLEEP,                     // target: the scheduler's sleep_channel
    OP_JOIN,                      // target: tasklet
    OP_RESULT,                    // same
    OP_SELECT,                    // target: biased or NULL, value: selection
    OP_SOFT_CALL,                 // target: (continuation, state), value: what to call; soft.c
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
    PyTime_t deadline;            // SEND, RECEIVE, SLEEP, JOIN, RESULT, SELECT: when to stop waiting, by the
                                  // scheduler's clock; 0: never
} stackless_op;

/* A deadline that is over already: who would have to wait does not. */
enum { STACKLESS_AT_ONCE = 1 };

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

/* What is true of the current tasklet for a moment, within a C function of ours that may run
   Python code.  It belongs to that C function, so it travels with the tasklet if that code
   switches: whoever runs meanwhile finds nothing of it. */
typedef struct {
    pending_op pending;
    _PyInterpreterFrame *handling;     // in which pending events are being handled, not by an
                                       // instruction: nobody is interrupted there
    union {
        struct {
            uint8_t between;           // and its instruction at instr_ptr is finished
            uint8_t jumped;            // that one is not begun, after a jump
            uint8_t in_channel_callback;
        };
        uint32_t flags;
    };
} stackless_moment;

/* The fields of the thread state and the scheduler that belong to the C functions under
   way: what main and those who are suspended hard keep, in addition. */
typedef struct {
    stackless_datastack datastack;
    PyObject *exception;
    PyObject *delete_later;
    int tracing;
    int what_event;
    int rare;                          // what follows is valid; otherwise 0
    int recursion_headroom;
    int makes_calls;                   // it runs the interpreter's pending calls
    stackless_moment moment;
} stackless_c_fields;

/* The frame at the bottom of an eval loop that was called from C, and the entry frame
   below it; others may follow that. */
typedef struct {
    _PyInterpreterFrame *frame;   // NULL: there is none, entry is the topmost frame
    _PyInterpreterFrame *entry;
} hard_entry;

/* Of what follows, the part that is nearly always empty: an exception is set, something is
   being traced, the data stack has several chunks, or see stackless_moment. */
typedef struct {
    stackless_c_fields fields;
    size_t root_top;
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
    int c_recursion_base;              // the scheduler's: of the place in the C stack
} stackless_hard;

/* What most tasklets never have: made when first needed, kept to the end. */
typedef struct {
    PyObject *context;            // see _PyTaskletObject
    int depth;                    // likewise
    uint32_t timer;               // blocked: 1 + its place among the timers; 0: has none
    _PyErr_StackItem *exc_info;   // NULL: see _PyStackless_FindExcInfo()
    PyObject *exc_value;          // the root's exception while suspended, unless DEPTH_HANDLES
    Py_tracefunc tracefunc;
    Py_tracefunc profilefunc;
    PyObject *traceobj;
    PyObject *profileobj;
    PyObject *c_callable;         // the C call whose C_RETURN or C_RAISE is still due
    PyObject *c_arg;
    PyObject *greenlet;           // that stands for it (greenlet_tasklets have a field)
    stackless_hard *hard;
    PyChannelObject *done;        // strong: where others wait for its end, or NULL
    _PyStackless_Selection *select;    // strong: the select() in which it waits, or has, or NULL
    _PyStackless_Scope *scope;    // strong: the innermost one in which it is, or NULL
    Py_ssize_t index;             // `spawned`: among the results of its scope
    void *told;                   // the scope that has cancelled it; to be compared only
    uint8_t interrupted;          // its pending call is run(timeout)'s interrupt
    uint8_t branches;             // its pending call is a loop's, which is monitored
    uint8_t threadblock;          // inside run(threadblock=True), if inside run()
    uint8_t nowait;               // inside run(wait=False), if inside run()
    uint8_t sleeps;               // what its timer is: TIMER_...
    uint8_t spawned;              // `scope` is told when it ends
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
        PyObject *args;                // not STARTED, alive: tuple, or (tuple, dict); IDLE: its
                                       // result, or a bomb, if it was waited for, or NULL
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
};                                     // block; ~(that + marks), if it is marked

/* Marks of `depth`, and what the recursion may be beside them. */
enum {
    STACKLESS_SMALL_DEPTH = INT16_MAX,
    STACKLESS_MARKED_DEPTH = 0x1fff,
    DEPTH_IN_GENERATOR = 0x2000,  // exc_info is _PyStackless_NearGenerator()'s
    DEPTH_HANDLES = 0x4000,       // the root's exception is the topmost value of its frame
};

static inline int
tasklet_has_mark(const PyTaskletObject *t, int mark)
{
    return t->depth < 0 && (~t->depth & mark) != 0;
}

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
    union {
        struct {
            signed char preference;    // -1 receiver, 0 none, 1 sender
            uint8_t schedule_all;
            uint8_t closing;
            uint8_t special;           // CHANNEL_...
        };
        uint32_t kind;                 // all of them: channel_is_unusual()
    };
};

enum {
    CHANNEL_TIMED = 1,            // who waits may have a timer, or select
    CHANNEL_HIDDEN = 2,           // programs do not see it: who waits sleeps, or joins
};

/* Is any of schedule_all, closing, special set?  Then nothing is done the fast way. */
static inline int
channel_is_unusual(const PyChannelObject *ch)
{
    return (ch->kind & (PY_BIG_ENDIAN ? 0xffffff : 0xffffff00)) != 0;
}

/* --- the scheduler of a thread ------------------------------------------- */

/* May an operation switch, and how? */
enum { SWITCH_NOT, SWITCH_SOFT, SWITCH_HARD };

typedef enum {
    OP_ERROR = -1,                // exception set, nothing changed
    OP_DONE,                      // no switch needed; *result is the call's value
    OP_NEEDS_SWITCH,              // only when asked not to switch; nothing changed
    OP_SWITCHED,                  // another tasklet is current now
} op_outcome;

/* What greenlets, which lie above the scheduler, do in its operations (greenlet/switch.c). */
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
    PyTypeObject *type;           // of greenlets
    /* t's greenlet is dead from now on, if t is the tasklet of one that was made.  Returns
       the reference that it had, or NULL. */
    PyObject *(*unlink)(PyTaskletObject *t);
    /* The scheduler is to run t, the tasklet of one that was made: from now on it owns its
       greenlet. */
    void (*own)(PyTaskletObject *t);
    /* Is t the tasklet of a greenlet that began below the C stack of another one, or may it
       begin there now? */
    int (*begins_below)(PyTaskletObject *t);
    /* Deletes the greenlets whose deletion other threads or a garbage collection have left
       to this thread. */
    void (*delete_postponed)(_PyStackless_Scheduler *sched);
    /* The main tasklet of a thread that has ended goes to another one: sched->main_greenlet,
       which is not NULL and dead, has no tasklet any more. */
    void (*forget_main)(_PyStackless_Scheduler *sched);
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
    PyTypeObject *proxy_type;          // of what waits for the further cases of select()
    PyTypeObject *selection_type;
    PyTypeObject *scope_type;
    PyObject *cancelled_type;          // the exception Cancelled
    const stackless_greenlet_hooks *greenlets;     // NULL, as the next one: not imported
    PyObject *str_run;            // "run"
    PyObject *trampoline;         // function: calls what is no plain Python function
    PyObject *keywords_trampoline;     // the same, with keyword arguments
    PyObject *schedule_callback;
    PyObject *channel_callback;
    PyObject *error_handler;
    PyTypeObject *continuation_type;
    PyTypeObject *namespace_type;      // these six are the room pickle's
    PyObject *namespaces;
    PyObject *blank_globals;
    PyObject *waiting_mark;
    PyObject *lately_reduced;
    Py_ssize_t code_extra;
    uint8_t pickle_flags;         // that threads begin with
    uint8_t hard_only;            // enable_softswitch(False)
    uint8_t unusual;              // no fast paths: _PyStackless_NoteUnusual()
    uint8_t debug_gc;             // see sched/debug.c
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

/* The garbage collection that the thread has made last. */
typedef struct {
    PyTaskletObject *owner;            // who made it, to be compared only; NULL: another thread
    PyGC_Head *heads[3];               // of its lists, on the C stack; NULL: not in use
    PyGC_Head away[3];                 // that they hang on while it is suspended
    uint8_t is_away;
} stackless_collection;

enum { TIMER_TIMEOUT, TIMER_SLEEP, TIMER_SCOPE };

/* Who waits with a deadline: a heap.  Equal deadlines are over in the order of starting. */
typedef struct {
    PyTime_t deadline;
    uint64_t number;                   // how many had been started before
    PyTaskletObject *tasklet;          // strong; blocked, with a strong reference to its channel
} stackless_timer;

typedef struct {
    stackless_timer *heap;             // four children each
    uint32_t n;
    uint32_t size;
    uint64_t started;
    PyTime_t last;                     // when the clock was last looked at; virtual: now
    PyObject *clock;                   // callable, or NULL: the monotonic one, or virtual
    uint8_t is_virtual;                // time moves when everybody waits
    PyTaskletObject *marked;           // runnable, not to be entered the fast way, so that the
                                       // timers are looked at; NULL: none.  Borrowed
} stackless_timers;

/* Of the call that the eval loop is about to make by itself, for _PyStackless_DirectSize().
   All of it is to be compared only. */
typedef struct {
    _PyInterpreterFrame *frame;        // NULL: no such call
    void *fn;                          // the C function
    PyObject *self;
    PyObject *const *args;
} announced_call;

enum { NOTICE_WATCHDOG = 1, NOTICE_TIMERS = 2 };

/* Whose is a field that is true for a while only?  Any Python code may switch, and while
   its tasklet is away, others find the scheduler.  So such a field either
     - is set and read without Python code in between ("at once" below),
     - or belongs to a callback within which switches are refused,
     - or is in `moment`, and travels with the tasklet,
     - or names the tasklet whose affair it is (`collection`).
   All others are the thread's, whoever runs. */
struct _PyStackless_Scheduler {
    stackless_modstate *mod;           // first
    Py_ssize_t refcount;
    uint16_t index;                    // in _PyStackless_schedulers[]
    PyThreadState *tstate;             // NULL: the thread has ended
    PyObject *module;                  // strong: keeps the types
    PyTaskletObject *main;             // strong
    PyTaskletObject *current;
    Py_ssize_t runcount;

    stackless_moment moment;
    stackless_op call;                 // at once: what a builtin's caller wants
    PyObject *call_result;             // at once: what the builtin returns
    void (*commit)(_PyStackless_Scheduler *);      // at once: _PyStackless_LeaveHard()
    announced_call announced;          // cleared when the call begins, or is left hard

    /* The dispatcher. */
    _PyInterpreterFrame base;          // below the bottom frame of each tasklet
    stackless_kept_blocks kept[32];    // blocks for frames, by size in words
    PyObject *kept_methods[4];         // bound methods that hold nothing, untracked
    int nkept_methods;
    stackless_missing missing[STACKLESS_KNOWN_MISSING];
    _PyStackChunk *datastack_root;     // the first chunk of the tasklets' data stack
    PyObject **datastack_base;         // its beginning: nothing is in use
    _PyInterpreterFrame *main_frame;   // main's current_frame while it is away
    int c_recursion_base;              // c_recursion_remaining at nesting level 0
    int starting;                      // at once: the eval loop is being entered
    _PyErr_StackItem exc_root;         // below the exceptions a tasklet handles

    /* Hard switching. */
    _PyStackless_Main cstack;
    char *far;                         // where the C stack of the current tasklet begins;
                                       // hard.slice.far while it is suspended hard
    stackless_hard *hard;              // list
    Py_ssize_t nhard;
    char *hard_far;                    // not below the `far` of any of them
    Py_ssize_t nmodules;               // when libraries were last looked for
    unsigned int library_looks;
    uint8_t same_place;                // whoever begins does so at the same address
    stackless_collection collection;   // see switch/collecting.c
    hard_entry *main_entries;          // of main's frames, while main is away
    uint32_t nmain_entries;
    uint32_t main_entries_size;

    uint8_t pickle_flags;              // the thread's: pickle/flags.c
    PyTaskletObject **watchdogs;
    Py_ssize_t nwatchdogs;
    Py_ssize_t watchdogs_size;
    PyTaskletObject *timed;            // one of them: inside run() with a time limit
    PyTaskletObject *divert_to;        // timed, whose soft time limit is over
    struct _PyStackless_Watch *watch;  // NULL: no time limit so far

    PyChannelObject *busy;             // channels that had waiters since last looked
    Py_ssize_t nblocked;
    Py_ssize_t nblocked_tracked;       // at the last look

    PyObject *last_context;            // at once, to be compared only: of the one left
    uintptr_t seen_version;            // of instrumentation
    uint8_t left_state;                // these three as in a tasklet that was left in
    uint8_t left_flags;                // schedule()
    uint16_t epoch;
    union {
        struct {
            int switch_trap;
            uint8_t in_schedule_callback;  // switches are refused
            uint8_t watch_switch;      // who wants to notice the next switch: NOTICE_...
            uint16_t tracing_elsewhere;    // see tstate.c
        };
        uint64_t unusual_switch;       // one of them: not the fast way
    };
    uint8_t finishing;                 // in a schedule callback: the current one has ended
    uint8_t in_call_main;              // main is called by PyStackless_Call_Main()

    /* Sleeping for want of work: sched/threads.c. */
    uint8_t signalled;                 // `lock` has been released for the sleeper
    uint8_t joined_at_exit;            // waits_for_thread
    PyTaskletObject *sleeper;          // NULL: the thread does not sleep (asleep, it runs no
                                       // Python code).  Borrowed
    PyTaskletObject *woken;            // while it does: head of the run queue, or NULL
    PyThread_type_lock lock;           // made when first needed; held but for a moment

    stackless_timers timers;
    uint32_t select_seed;
    PyChannelObject *sleep_channel;    // where sleep() waits.  Made when first needed; strong

    const char *obstacle;              // its thread's _PyStackless_SwitchObstacle()

    PyObject *exit_exc;                // SystemExit under way from a tasklet to main, or that
                                       // has been caught there: told by identity

    /* Greenlets. */
    PyObject *greenlet_trace;          // greenlet.settrace(), or NULL
    PyObject *main_greenlet;           // borrowed; outlives main as one, if it is referred to
    PyObject *postponed;               // list of greenlets to delete, or NULL
    uint8_t carry_tracing;             // at once, of a switch: greenlets share sys.settrace()

    /* What a switch leaves over.  Decref'ing may run any code, so it has to wait
       until the thread state is whole again.  Whoever runs first lets go of it. */
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

/* t has been left.  If code ran (to make the exception that a bomb stands for) between
   the last switch and what settles it, there is another one still. */
static inline void
_PyStackless_SetLeft(_PyStackless_Scheduler *sched, PyTaskletObject *t)
{
    PyObject *old = (PyObject *)sched->left;
    sched->left = (PyTaskletObject *)Py_NewRef(t);
    _PyStackless_Discard(sched, old);
}

#ifdef __cplusplus
}
#endif
#endif /* !STACKLESS_STATE_OBJECTS_H */
