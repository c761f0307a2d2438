/* The watchdog: time limits of stackless.run(), in executed instructions or seconds.

   While a limit in ticks is in force, a bit of the thread's eval_breaker stays set, so
   that each place where the interpreter looks for events (RESUME, backward jumps, after
   calls of C functions) comes to _PyStackless_WatchTick().  It counts the instructions
   that lie between this place and the one before, and when there are too many, returns
   with the unwind token: the eval loop's hook then leaves the tasklet there.  Without a
   limit the bit is clear, and nothing is counted or compared that upstream would not.

   What was executed is found by walking the bytecode from one place to the next: in
   between there is no backward jump, and of each conditional jump the instruction's own
   cache remembers which way it went last time.  So straight-line code and branches are
   counted exactly.  Where the path is lost (an exception was handled, the frame was not
   seen before) few ticks are counted rather than many, since a tasklet that runs only a
   few instructions between switches must never be interrupted.  The frames seen lately
   are remembered in a trail with the position up to which they have been counted.

   (Rejected: counting code units instead of instructions, since inline caches make that
   wrong by a factor of two to six; the length of a jump or call alone, since what lies
   between a call's return and the next place would be missed or counted twice;
   sys.monitoring's INSTRUCTION events, which change the code and cost 50 times more.)

   A limit in seconds costs nothing per instruction.  A thread without the GIL sets the
   bit about every millisecond.  Who runs then starts a new time slice if there was a
   switch since the last time, which the scheduler notes in `watch_switch`: it makes one
   switch per period go the general way, the others do not look at it.

   A tasklet that is inside a C function (unless nesting is to be ignored), atomic, or
   cannot be left for another reason, stays due and is interrupted at the first place
   where nothing is in the way. */

#include "Python.h"
#include "pycore_condvar.h"       // PyMUTEX_T, PyCOND_T
#include "Python/condvar.h"       // PyMUTEX_LOCK()
#include "opcode_ids.h"           // RESUME
#include "pycore_ceval.h"         // _Py_set_eval_breaker_bit()
#include "pycore_code.h"          // _Py_GetBaseOpcode()
#include "pycore_instruments.h"   // _Py_call_instrumentation_jump()
#include "pycore_object.h"        // _PyObject_GC_UNTRACK()
#include "pycore_opcode_metadata.h" // _PyOpcode_Caches, OPCODE_HAS_JUMP()
#include "pycore_opcode_utils.h"  // RESUME_AT_FUNC_START
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/sched/sched.h"
#include "Stackless/switch/switch.h" // _PyStackless_Unwind()

static_assert(STACKLESS_WATCH_BIT > _PY_EVAL_EXPLICIT_MERGE_BIT
              && (STACKLESS_WATCH_BIT & _PY_EVAL_EVENTS_MASK),
              "the bit is upstream's, or no event");

enum {
    TRAIL = 32,                   // frames that are remembered
    SEED = 4,                     // frames that a new slice starts with
    LOST = 4,                     // ticks at most where the path is not known
};

typedef struct {
    PyMUTEX_T mutex;
    PyCOND_T cond;
    int refs;                     // of the scheduler and the thread
    int running;
    int fired;                    // atomic: the bit was set
    long process;                 // a fork leaves the thread behind
    PyThreadState *tstate;        // whose bit to set, or NULL: wait
    long period;                  // microseconds
} watch_timer;

struct _PyStackless_Watch {
    long limit;                   // ticks; 0: none
    long ticks;                   // counted in this slice
    PyTime_t slice;               // nanoseconds; 0: none
    PyTime_t started;
    uint8_t soft;
    uint8_t total;                // a slice does not end at a switch
    uint8_t ignore_nesting;
    uint8_t fresh;                // the trail is that of another tasklet
    uint8_t due;
    unsigned int stops;           // how many limits have ended
    watch_timer *timer;
    PyObject *codes;              // tuple: those of the trail's frames
    int n;
    struct {
        _PyInterpreterFrame *frame;    // to be compared only
        int pos;                  // code unit that has not been counted yet
    } trail[TRAIL];
};

typedef struct _PyStackless_Watch Watch;

/* --- what has been executed ------------------------------------------------------ */

static int
opcode_at(PyCodeObject *code, int i)
{
    int opcode = _PyCode_CODE(code)[i].op.code;
    return opcode < MIN_INSTRUMENTED_OPCODE ? _PyOpcode_Deopt[opcode]
                                            : _Py_GetBaseOpcode(code, i);
}

static int
size_at(PyCodeObject *code, int i)
{
    return 1 + _PyOpcode_Caches[opcode_at(code, i)];
}

int
_PyStackless_OpargAt(PyCodeObject *code, int i)
{
    const _Py_CODEUNIT *units = _PyCode_CODE(code);
    int before = i > 0 ? units[i - 1].op.code : 0;
    if (before != EXTENDED_ARG && before < MIN_INSTRUMENTED_OPCODE) {
        return units[i].op.arg;
    }
    int oparg = 0;                     // or it is a cache that looks like one
    for (int k = 0; k < i; k += size_at(code, k)) {
        oparg = opcode_at(code, k) == EXTENDED_ARG ? (oparg << 8) | units[k].op.arg : 0;
    }
    return (oparg << 8) | units[i].op.arg;
}

/* The next instruction, if the one at i is no conditional jump. */
static int
position_after(PyCodeObject *code, int i)
{
    int next = i + size_at(code, i);
    return opcode_at(code, i) == JUMP_BACKWARD ? next - _PyStackless_OpargAt(code, i) : next;
}

/* How many instructions were executed from code unit i until code unit `to` was
   reached, or (-1) the frame was left.  Walks no further than `most`. */
static long
count_path(PyCodeObject *code, int i, int to, long most)
{
    const _Py_CODEUNIT *units = _PyCode_CODE(code);
    long n = 0;
    int oparg = 0;
    while (i != to && n <= most) {
        if (i < 0 || i >= Py_SIZE(code)) {
            return LOST;
        }
        int opcode = opcode_at(code, i);
        int next = i + 1 + _PyOpcode_Caches[opcode];
        oparg = (oparg << 8) | units[i].op.arg;
        if (n++ == 0 && OPCODE_HAS_JUMP(opcode)) {
            oparg = _PyStackless_OpargAt(code, i);     // begun after its EXTENDED_ARGs
        }
        switch (opcode) {
            case EXTENDED_ARG:
                i = next;
                continue;
            case JUMP_FORWARD:
                next += oparg;
                break;
            case JUMP_BACKWARD_NO_INTERRUPT:
                next -= oparg;
                break;
            case POP_JUMP_IF_FALSE:
            case POP_JUMP_IF_TRUE:
            case POP_JUMP_IF_NONE:
            case POP_JUMP_IF_NOT_NONE:
                if (units[i + 1].cache & 1) {
                    next += oparg;
                }
                break;
            case FOR_ITER:             // nothing in the loop reached a place to count
                if (to < next || to >= next + oparg) {
                    next += oparg;
                }
                break;
            case SEND:
                if (to >= next + oparg) {
                    next += oparg;
                }
                break;
            case YIELD_VALUE:
            case RETURN_GENERATOR:
                if (to < 0) {
                    return n;
                }
                break;
            case RETURN_VALUE:
            case RETURN_CONST:
            case RAISE_VARARGS:
            case RERAISE:
                return to < 0 ? n : Py_MIN(n, LOST);
            case JUMP_BACKWARD:        // it would have been counted there
                return Py_MIN(n, LOST);
            default:
                break;
        }
        oparg = 0;
        i = next;
    }
    return n;
}

static PyCodeObject *
trail_code(Watch *w, int k)
{
    return (PyCodeObject *)PyTuple_GET_ITEM(w->codes, k);
}

static long
trail_path(Watch *w, int k, int to)
{
    return count_path(trail_code(w, k), w->trail[k].pos, to, w->limit);
}

/* The newest place in the trail of this frame, or -1.  Another call may have used the
   same memory. */
static int
trail_find(Watch *w, _PyInterpreterFrame *frame)
{
    int k = w->n - 1;
    while (k >= 0 && (w->trail[k].frame != frame
                      || (PyObject *)trail_code(w, k) != frame->f_executable)) {
        k--;
    }
    return k;
}

static void
trail_push(_PyStackless_Scheduler *sched, Watch *w, _PyInterpreterFrame *frame, int pos)
{
    PyObject **codes = &PyTuple_GET_ITEM(w->codes, 0);
    if (w->n == TRAIL) {               // forget the oldest
        PyObject *oldest = codes[0];
        w->n--;
        memmove(w->trail, w->trail + 1, w->n * sizeof(w->trail[0]));
        memmove(codes, codes + 1, w->n * sizeof(codes[0]));
        codes[w->n] = oldest;
    }
    PyObject *before = codes[w->n];
    codes[w->n] = Py_NewRef(frame->f_executable);
    _PyStackless_Discard(sched, before);
    w->trail[w->n].frame = frame;
    w->trail[w->n].pos = pos;
    w->n++;
}

/* The frames above k have returned. */
static void
trail_return_to(Watch *w, int k)
{
    while (w->n - 1 > k) {
        w->n--;
        w->ticks += trail_path(w, w->n, -1);
    }
}

static _PyInterpreterFrame *
caller_of(_PyInterpreterFrame *frame)
{
    do {
        frame = frame->previous;
    } while (frame != NULL && (frame->owner == FRAME_OWNED_BY_CSTACK
                               || _PyStackless_IsContinuation(frame)));
    return frame;
}

/* A slice begins: `frame` goes on at pos. */
static void
trail_begin(_PyStackless_Scheduler *sched, Watch *w, _PyInterpreterFrame *frame, int pos)
{
    _PyInterpreterFrame *callers[SEED];
    int n = 0;
    for (_PyInterpreterFrame *f = caller_of(frame); f != NULL && n < SEED;
         f = caller_of(f)) {
        callers[n++] = f;
    }
    w->n = 0;
    w->fresh = 0;
    while (--n >= 0) {
        trail_push(sched, w, callers[n], _PyInterpreterFrame_LASTI(callers[n]));
    }
    trail_push(sched, w, frame, pos);
}

/* `frame` was called, or is met for the first time. */
static void
trail_enter(_PyStackless_Scheduler *sched, Watch *w, _PyInterpreterFrame *frame, int pos)
{
    _PyInterpreterFrame *caller = caller_of(frame);
    if (caller == NULL) {
        trail_return_to(w, -1);
    }
    else {
        int here = _PyInterpreterFrame_LASTI(caller);
        int k = trail_find(w, caller);
        if (k >= 0) {
            trail_return_to(w, k);
            w->ticks += trail_path(w, k, here);
            w->trail[k].pos = here;
        }
        else {
            w->n = 0;
            trail_push(sched, w, caller, here);
        }
    }
    trail_push(sched, w, frame, pos);
}

/* Counts what was executed until now.  `between`: a slice begins, otherwise the
   instruction at frame->instr_ptr is the one that looks for events. */
static void
count_ticks(_PyStackless_Scheduler *sched, Watch *w, _PyInterpreterFrame *frame,
            int between)
{
    if (_PyStackless_IsContinuation(frame)) {
        return;
    }
    PyCodeObject *code = _PyFrame_GetCode(frame);
    int i = _PyInterpreterFrame_LASTI(frame);
    int opcode = opcode_at(code, i);
    int pos = between ? i + frame->return_offset : position_after(code, i);
    int entered = 0;
    if (!between) {
        entered = opcode == RESUME
                  && (frame->instr_ptr->op.arg & RESUME_OPARG_LOCATION_MASK)
                     == RESUME_AT_FUNC_START;
    }
    if (w->fresh) {
        trail_begin(sched, w, frame, pos);
        w->ticks += !between;
        return;
    }
    int k = entered ? -1 : trail_find(w, frame);
    if (k < 0) {
        trail_enter(sched, w, frame, pos);
        w->ticks += !between + (entered ? count_path(code, 0, i, w->limit) : 0);
        return;
    }
    trail_return_to(w, k);
    w->ticks += trail_path(w, k, i) + !between;
    w->trail[k].pos = pos;
}

/* --- seconds ------------------------------------------------------------------------- */

enum { SHORTEST_PERIOD = 500, LONGEST_PERIOD = 2000 };  // microseconds

static void
timer_release(watch_timer *timer)      // with the mutex held
{
    int refs = --timer->refs;
    PyMUTEX_UNLOCK(&timer->mutex);
    if (refs == 0) {
        PyCOND_FINI(&timer->cond);
        PyMUTEX_FINI(&timer->mutex);
        PyMem_RawFree(timer);
    }
}

static void
timer_run(void *arg)
{
    enum { IDLE_PERIOD = 100000 };     // microseconds; nobody needs the thread then
    watch_timer *timer = arg;
    PyMUTEX_LOCK(&timer->mutex);
    for (;;) {
        PyThreadState *tstate = timer->tstate;
        int timed_out = PyCOND_TIMEDWAIT(&timer->cond, &timer->mutex,
                                         tstate ? timer->period : IDLE_PERIOD);
        if (timer->refs == 1 || (timed_out && tstate == NULL && timer->tstate == NULL)) {
            break;
        }
        if (timed_out && timer->tstate != NULL) {
            _Py_atomic_store_int_relaxed(&timer->fired, 1);
            timer->period = Py_MIN(timer->period, LONGEST_PERIOD);
            _Py_set_eval_breaker_bit(timer->tstate, STACKLESS_WATCH_BIT);
        }
    }
    timer->running = 0;
    timer_release(timer);
}

/* A timer whose thread runs; 0, or -1 with an exception. */
static int
timer_prepare(Watch *w)
{
    watch_timer *timer = w->timer;
    if (timer != NULL && timer->process != (long)getpid()) {
        timer = w->timer = NULL;       // the parent's: its mutex may be held for ever
    }
    if (timer == NULL) {
        timer = PyMem_RawCalloc(1, sizeof(*timer));
        if (timer == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        PyMUTEX_INIT(&timer->mutex);
        PyCOND_INIT(&timer->cond);
        timer->refs = 1;
        timer->process = (long)getpid();
        w->timer = timer;
    }
    int err = 0;
    PyMUTEX_LOCK(&timer->mutex);
    if (!timer->running) {
        timer->running = 1;
        timer->refs++;
        if (PyThread_start_new_thread(timer_run, timer) == PYTHREAD_INVALID_THREAD_ID) {
            timer->running = 0;
            timer->refs--;
            err = -1;
        }
    }
    PyMUTEX_UNLOCK(&timer->mutex);
    if (err < 0) {
        PyErr_SetString(PyExc_RuntimeError, "can't start the timer thread of run()");
    }
    return err;
}

/* Has the thread's bit set from now on; NULL: no longer.  `total`: the first time when the
   slice is over, since no other one begins at a switch. */
static void
timer_set(watch_timer *timer, PyThreadState *tstate, PyTime_t slice, int total)
{
    if (timer == NULL || timer->process != (long)getpid()) {
        return;
    }
    PyTime_t period = slice / 1000 / 4;
    PyMUTEX_LOCK(&timer->mutex);
    timer->tstate = tstate;
    timer->fired = 0;
    timer->period = total ? (long)(slice / 1000 + 1)
                          : (long)Py_MAX(SHORTEST_PERIOD, Py_MIN(period, LONGEST_PERIOD));
    PyCOND_SIGNAL(&timer->cond);
    PyMUTEX_UNLOCK(&timer->mutex);
}

static void
timer_close(watch_timer *timer)
{
    if (timer != NULL && timer->process == (long)getpid()) {
        PyMUTEX_LOCK(&timer->mutex);
        timer->tstate = NULL;
        PyCOND_SIGNAL(&timer->cond);
        timer_release(timer);
    }
}

static PyTime_t
now(void)
{
    PyTime_t t;
    return PyTime_MonotonicRaw(&t) < 0 ? 0 : t;
}

/* The timer has fired: is the current tasklet's time over? */
static void
look_at_clock(_PyStackless_Scheduler *sched, Watch *w)
{
    if (!_Py_atomic_load_int_relaxed(&w->timer->fired)) {
        return;
    }
    _Py_atomic_store_int_relaxed(&w->timer->fired, 0);
    PyTime_t t = now();
    if (!w->total && !(sched->watch_switch & NOTICE_WATCHDOG)) {
        w->started = t;                // somebody else's slice, since less than a period
        sched->watch_switch |= NOTICE_WATCHDOG;
    }
    else if (t - w->started >= w->slice) {
        w->due = 1;
    }
}

/* --- start and end of a limit --------------------------------------------------------- */

static int
is_limited(_PyStackless_Scheduler *sched, const _PyStackless_RunArgs *args)
{
    return (args->timeout > 0 || args->seconds > 0) && sched->timed == NULL;
}

/* All that can fail. */
static int
watch_prepare(_PyStackless_Scheduler *sched, const _PyStackless_RunArgs *args)
{
    Watch *w = sched->watch;
    if (w == NULL) {
        w = PyMem_Calloc(1, sizeof(*w));
        if (w == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        sched->watch = w;
    }
    if (w->codes == NULL) {
        w->codes = PyTuple_New(TRAIL);
        if (w->codes == NULL) {
            return -1;
        }
        _PyObject_GC_UNTRACK(w->codes);
    }
    return args->seconds > 0 ? timer_prepare(w) : 0;
}

int
_PyStackless_WatchStart(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                        const _PyStackless_RunArgs *args)
{
    if (!is_limited(sched, args)) {
        return 0;
    }
    if (watch_prepare(sched, args) < 0) {
        return -1;
    }
    Watch *w = sched->watch;
    assert(!(sched->watch_switch & NOTICE_WATCHDOG));
    w->limit = Py_MAX(args->timeout, 0);
    w->slice = (PyTime_t)(args->seconds * 1e9);
    if (args->seconds > 0 && w->slice == 0) {
        w->slice = 1;
    }
    w->soft = args->soft != 0;
    w->total = args->totaltimeout != 0;
    w->ignore_nesting = args->ignore_nesting != 0;
    w->ticks = 0;
    w->due = 0;
    w->n = 0;
    w->fresh = 1;
    sched->timed = sched->current;
    sched->watch_switch |= NOTICE_WATCHDOG;
    if (w->limit) {
        _Py_set_eval_breaker_bit(tstate, STACKLESS_WATCH_BIT);
    }
    if (w->slice) {
        w->started = now();
        timer_set(w->timer, tstate, w->slice, w->total);
    }
    return 0;
}

void
_PyStackless_WatchStop(_PyStackless_Scheduler *sched)
{
    Watch *w = sched->watch;
    if (w->slice) {
        timer_set(w->timer, NULL, 0, 0);
    }
    if (sched->tstate != NULL) {
        _Py_unset_eval_breaker_bit(sched->tstate, STACKLESS_WATCH_BIT);
    }
    w->stops++;
    sched->timed = NULL;
    sched->divert_to = NULL;
    sched->watch_switch &= ~NOTICE_WATCHDOG;
    w->n = 0;
    PyObject *codes = w->codes;
    w->codes = NULL;
    _PyStackless_Discard(sched, codes);
}

void
_PyStackless_WatchFini(_PyStackless_Scheduler *sched)
{
    Watch *w = sched->watch;
    if (w == NULL) {
        return;
    }
    if (sched->timed != NULL) {
        _PyStackless_WatchStop(sched);
    }
    sched->watch = NULL;
    timer_close(w->timer);
    PyObject *codes = w->codes;
    PyMem_Free(w);
    Py_XDECREF(codes);
    _PyStackless_EmptyTrash(sched);
}

static void
slice_begin(Watch *w)
{
    w->fresh = 1;
    if (!w->total) {
        w->ticks = 0;
        w->due = 0;
        if (w->slice) {
            w->started = now();
        }
    }
}

void
_PyStackless_WatchWake(_PyStackless_Scheduler *sched)
{
    if (sched->timed != NULL) {
        slice_begin(sched->watch);
    }
}

void
_PyStackless_WatchSwitch(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    Watch *w = sched->watch;
    if (!w->total) {
        if (w->slice) {
            sched->watch_switch &= ~NOTICE_WATCHDOG;
            if (w->limit || sched->divert_to != NULL) {
                sched->watch_switch |= NOTICE_WATCHDOG;
            }
        }
    }
    else if (w->limit && !w->fresh && w->n > 0) {
        PyTaskletObject *left = sched->left;
        if (left != NULL && left->state != TASKLET_IDLE && left->frame != NULL
            && left->frame->f_executable == (PyObject *)trail_code(w, w->n - 1)) {
            w->ticks += trail_path(w, w->n - 1, _PyInterpreterFrame_LASTI(left->frame));
        }
        else {
            trail_return_to(w, -1);
        }
        w->ticks++;
    }
    slice_begin(w);
    if (!w->limit) {
        _Py_unset_eval_breaker_bit(tstate, STACKLESS_WATCH_BIT);
    }
}

/* --- interrupting ------------------------------------------------------------------------ */

uintptr_t
_PyStackless_MaskEventsSlow(PyThreadState *tstate, uintptr_t breaker)
{
    PyTaskletObject *t = _PyStackless_PeekScheduler(tstate)->current;
    if (t->flags & TASKLET_ATOMIC) {
        breaker &= ~(uintptr_t)(_PY_GIL_DROP_REQUEST_BIT | _PY_SIGNALS_PENDING_BIT
                                | _PY_CALLS_TO_DO_BIT);
    }
    return breaker;
}

/* The current tasklet has C functions between its frames: it is left, and resumed, within
   this call. */
static int
interrupt_hard(PyThreadState *tstate, _PyStackless_Scheduler *sched, stackless_op op)
{
    Watch *w = sched->watch;
    unsigned int stops = w->stops;
    PyTaskletObject *t = sched->current;
    PyObject *tempval = t->tempval;    // nobody's result: it is to stay
    t->tempval = NULL;
    sched->call = op;
    PyObject *result = _PyStackless_CallFromC(sched);
    if (t->tempval == NULL) {
        t->tempval = tempval;
    }
    else {
        _PyStackless_Discard(sched, tempval);
    }
    if (result == NULL && sched->watch == w && w->stops == stops) {
        PyErr_Clear();                 // it could not be left: not now, then
        return 0;
    }
    w = sched->watch;
    _PyInterpreterFrame *frame = tstate->current_frame;
    if (w != NULL && w->fresh && sched->timed != NULL && w->limit) {
        trail_begin(sched, w, frame, position_after(_PyFrame_GetCode(frame),
                                                    _PyInterpreterFrame_LASTI(frame)));
    }
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* The current tasklet's time is over: 0 if something is in the way, or what
   _Py_HandlePending() returns. */
static int
interrupt(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current;
    if ((t->flags & TASKLET_ATOMIC) || sched->switch_trap || sched->in_schedule_callback
        || sched->moment.in_channel_callback) {
        return 0;
    }
    int nested = _PyStackless_NestingLevel(tstate, sched) != 0;
    if (nested && !(t->flags & TASKLET_IGNORE_NESTING) && !sched->watch->ignore_nesting) {
        return 0;
    }
    if (_PyStackless_CheckThrown(sched) < 0) {
        return -1;
    }
    stackless_op op = { .code = OP_INTERRUPT, .target = (PyObject *)sched->timed };
    if (nested || sched->mod->hard_only) {
        Py_INCREF(op.target);
        return interrupt_hard(tstate, sched, op);
    }
    _PyInterpreterFrame *frame = tstate->current_frame;
    int i = _PyInterpreterFrame_LASTI(frame);
    int opcode = opcode_at(_PyFrame_GetCode(frame), i);
    if (opcode != CALL && opcode != CALL_KW && opcode != CALL_FUNCTION_EX
        && opcode != RESUME && opcode != JUMP_BACKWARD) {
        return 0;
    }
    if (_PyStackless_EnsureExtra(t) < 0) {
        PyErr_Clear();
        return 0;
    }
    extra_of(t)->interrupted = 1;
    Py_INCREF(op.target);
    (void)_PyStackless_Unwind(tstate, sched, op, 1 + _PyOpcode_Caches[opcode]);
    return -1;
}

int
_PyStackless_WatchTick(PyThreadState *tstate)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched != NULL && sched->postponed != NULL) {
        sched->mod->greenlets->delete_postponed(sched);
        if (sched->postponed != NULL) {
            return 0;                  // a garbage collection is going on: later
        }
    }
    if (sched == NULL || sched->timed == NULL
        || (sched->current->flags & TASKLET_IS_MAIN)) {
        _Py_unset_eval_breaker_bit(tstate, STACKLESS_WATCH_BIT);
        return 0;
    }
    Watch *w = sched->watch;
    int handling = sched->moment.handling == tstate->current_frame;
    int between = handling && sched->moment.between;
    if (w->slice) {
        look_at_clock(sched, w);
    }
    if (w->limit && !w->due && handling == between) {
        count_ticks(sched, w, tstate->current_frame, between);
        if (sched->ntrash && !between) {
            unsigned int stops = w->stops;
            _PyStackless_EmptyTrash(sched);
            if (sched->watch != w || w->stops != stops) {
                return 0;              // what was dropped has ended the time limit
            }
        }
        w->due = w->ticks > w->limit;
    }
    if (!w->due) {
        if (!w->limit) {
            _Py_unset_eval_breaker_bit(tstate, STACKLESS_WATCH_BIT);
        }
        return 0;
    }
    if (w->soft) {
        if (sched->in_schedule_callback) {
            return 0;                  // which has been told who is next
        }
        sched->divert_to = sched->timed;
        sched->watch_switch |= NOTICE_WATCHDOG;
        _Py_unset_eval_breaker_bit(tstate, STACKLESS_WATCH_BIT);
        return 0;
    }
    return handling ? 0 : interrupt(tstate, sched);
}

/* --- going on -------------------------------------------------------------------------------- */

int
_PyStackless_EventOpcodeAt(PyCodeObject *code, int i)
{
    _PyCoMonitoringData *data = code->_co_monitoring;
    int opcode = _PyCode_CODE(code)[i].op.code;
    if (opcode == INSTRUMENTED_LINE) {
        opcode = data->lines->data[i * data->lines->bytes_per_entry];
    }
    if (opcode == INSTRUMENTED_INSTRUCTION) {
        opcode = data->per_instruction_opcodes[i];
    }
    return opcode;
}

/* Does the jump or RESUME at i have monitoring events of its own? */
static int
is_instrumented(PyCodeObject *code, int i)
{
    int opcode = _PyStackless_EventOpcodeAt(code, i);
    return opcode == INSTRUMENTED_RESUME || opcode == INSTRUMENTED_JUMP_BACKWARD;
}

/* Jumps.  The LINE event of the instruction there is told from here, since the one before
   it, which decides whether it begins a line, would be itself otherwise. */
static void
finish_jump(PyThreadState *tstate, _PyStackless_Scheduler *sched,
            _PyInterpreterFrame *frame, int tell)
{
    PyCodeObject *code = _PyFrame_GetCode(frame);
    _Py_CODEUNIT *jump = frame->instr_ptr;
    _Py_CODEUNIT *target = _PyCode_CODE(code)
                           + position_after(code, _PyInterpreterFrame_LASTI(frame));
    if (tell) {
        _Py_CODEUNIT *next = _Py_call_instrumentation_jump(
            tstate, PY_MONITORING_EVENT_JUMP, frame, jump, target);
        if (next == NULL) {
            return;
        }
        if (frame->instr_ptr != jump) {
            target = jump = next;      // a debugger has set frame.f_lineno
        }
    }
    sched->moment.jumped = 1;
    frame->instr_ptr = target;
    frame->return_offset = 0;
    if (target != jump && target->op.code == INSTRUMENTED_LINE && !tstate->tracing) {
        (void)_Py_call_instrumentation_line(tstate, frame, target, jump);
    }
}

/* A jump or RESUME is not executed again but finished: that way no event that comes
   before it (LINE, INSTRUCTION) happens twice, and its EXTENDED_ARGs need not either. */
void
_PyStackless_FinishInterrupted(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                               _PyInterpreterFrame *frame)
{
    PyCodeObject *code = _PyFrame_GetCode(frame);
    int i = _PyInterpreterFrame_LASTI(frame);
    int opcode = opcode_at(code, i);
    int tell = is_instrumented(code, i) && !tstate->tracing;
    if (opcode == JUMP_BACKWARD) {
        finish_jump(tstate, sched, frame, tell);
    }
    else if (opcode == RESUME && tell) {
        _Py_CODEUNIT *instr = frame->instr_ptr;
        int event = instr->op.arg > 0 ? PY_MONITORING_EVENT_PY_RESUME
                                      : PY_MONITORING_EVENT_PY_START;
        if (_Py_call_instrumentation(tstate, event, frame, instr) == 0
            && frame->instr_ptr != instr) {
            sched->moment.jumped = 1;  // a debugger has set frame.f_lineno
            frame->return_offset = 0;
        }
    }
}
