/* The thread-state fields that travel with a tasklet.

   This file, with the short functions of objects.h that every switch goes
   through, is the one place that knows them.  A tasklet is left with
   SaveThreadFields and entered with LoadThreadFields; neither can fail, so whoever
   leaves a tasklet first makes sure of the side block (EnsureExtra) if
   SaveNeedsExtra says that it takes one.

   field                     where it is while the tasklet is suspended
   current_frame             tasklet.frame (NULL for main: the dispatcher keeps it)
   py_recursion_remaining    tasklet_depth(), as used depth: setrecursionlimit() works
   context                   *context_of() (the reference moves)
   exc_info, exc_state       tasklets share the root `sched->exc_root`, since only one
                             of them runs; on top of the frame's evaluation stack (a
                             mark of tasklet.depth), or in extra->exc_value.  exc_info
                             is found again (another mark), or in extra->exc_info
   c_tracefunc, c_traceobj,  extra; the interpreter's counts of tracing threads thus
   c_profilefunc, ...obj     count holders of a function, running or not.  A switch
                             between greenlets leaves them with the thread
   current_exception,        nothing in a tasklet that is suspended softly, which has
   delete_later, tracing,    no C function under way.  Otherwise a stackless_c_fields:
   what_event, datastack_*,  of main in the dispatcher, of a tasklet that is suspended
   recursion_headroom        hard in extra->hard
                             The thread stays untraced after a switch of greenlets in
                             a trace function: `tracing` counts those, too, then, and
                             sched->tracing_elsewhere tells how many of them do not
                             belong to the current tasklet
   c_recursion_remaining     the same; extra->hard has what was used of it

   Monitoring: frames that are suspended while tools come and go are not reached by
   the walk over the running frames.  The tasklet remembers the epoch, a number that
   the scheduler raises whenever it sees that the version changed, and the frames
   are brought up to date on resumption if that differs. */

#include "Python.h"
#include "pycore_ceval.h"         // _PY_EVAL_EVENTS_MASK
#include "pycore_code.h"          // _Py_Instrument()
#include "pycore_instruments.h"   // _PyMonitoring_SetEvents()
#include "pycore_interp.h"        // PyInterpreterState
#include "Stackless/state/state.h"

#define EPOCH_ALWAYS UINT16_MAX   // the counter is used up: look every time

int
_PyStackless_EnsureExtra(PyTaskletObject *t)
{
    if (extra_of(t) == NULL) {
        tasklet_extra *extra = PyMem_Calloc(1, sizeof(tasklet_extra));
        if (extra == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        extra->context = t->context;
        extra->depth = tasklet_depth(t);
        t->tagged_extra = (uintptr_t)extra + 1;
    }
    return 0;
}

static void
free_hard(stackless_hard *h)
{
    if (h != NULL) {
        assert(h->link == NULL);
        _PyStackless_SliceRelease(&h->slice);
        PyMem_Free(h->data);
        PyMem_Free(h->entries);
        PyMem_Free(h->rest);
        PyMem_Free(h);
    }
}

/* The side block is given back when the tasklet is left with nothing for it. */
void
_PyStackless_FreeExtraIfUnused(PyTaskletObject *t)
{
    tasklet_extra *extra = extra_of(t);
    if (extra != NULL && extra->c_callable == NULL && !extra->interrupted && !extra->branches
        && !extra->threadblock && !extra->nowait && extra->greenlet == NULL
        && extra->done == NULL && extra->select == NULL && extra->scope == NULL) {
        assert(extra->timer == 0);
        t->context = extra->context;
        free_hard(extra->hard);
        PyMem_Free(extra);
    }
}

PyGenObject *
_PyStackless_NearGenerator(_PyInterpreterFrame *frame)
{
    for (int i = 0; i < 8 && frame->owner != FRAME_OWNED_BY_CSTACK; i++) {
        if (frame->owner == FRAME_OWNED_BY_GENERATOR) {
            return _PyFrame_GetGenerator(frame);
        }
        frame = frame->previous;
    }
    return NULL;
}

void
_PyStackless_MarkDepth(PyThreadState *tstate, PyTaskletObject *t)
{
    _PyErr_StackItem *root = &sched_of(t)->exc_root;
    int depth = t->depth;
    if (tstate->exc_info != root) {
        depth |= DEPTH_IN_GENERATOR;
    }
    if (root->exc_value != NULL) {
        assert(_PyStackless_HasRoom(t->frame));
        _PyFrame_StackPush(t->frame, root->exc_value);
        root->exc_value = NULL;
        depth |= DEPTH_HANDLES;
    }
    t->depth = (int16_t)~depth;
}

void
_PyStackless_SwapExcInfo(PyThreadState *tstate, PyTaskletObject *t, PyTaskletObject *next)
{
    _PyStackless_Scheduler *sched = sched_of(t);
    if (_PyStackless_NeedsMarks(tstate, sched)) {
        _PyStackless_MarkDepth(tstate, t);
    }
    tstate->exc_info = _PyStackless_FindExcInfo(next);
    tstate->py_recursion_remaining = tstate->py_recursion_limit - tasklet_depth(next);
    if (tasklet_has_mark(next, DEPTH_HANDLES)) {
        sched->exc_root.exc_value = _PyFrame_StackPop(next->frame);
        next->depth = 0;
    }
}

static void
save_tracing(PyThreadState *tstate, tasklet_extra *extra)
{
    extra->tracefunc = tstate->c_tracefunc;
    extra->traceobj = tstate->c_traceobj;
    extra->profilefunc = tstate->c_profilefunc;
    extra->profileobj = tstate->c_profileobj;
    tstate->c_tracefunc = tstate->c_profilefunc = NULL;
    tstate->c_traceobj = tstate->c_profileobj = NULL;
}

static void
load_tracing(PyThreadState *tstate, tasklet_extra *extra)
{
    assert(tstate->c_tracefunc == NULL && tstate->c_profilefunc == NULL);
    tstate->c_tracefunc = extra->tracefunc;
    tstate->c_traceobj = extra->traceobj;
    tstate->c_profilefunc = extra->profilefunc;
    tstate->c_profileobj = extra->profileobj;
    extra->tracefunc = extra->profilefunc = NULL;
    extra->traceobj = extra->profileobj = NULL;
}

void
_PyStackless_SwapTracing(PyThreadState *tstate, tasklet_extra *save, tasklet_extra *load)
{
    save_tracing(tstate, save);
    load_tracing(tstate, load);
}

void
_PyStackless_SaveTracing(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                         tasklet_extra *extra)
{
    if (!sched->carry_tracing) {
        save_tracing(tstate, extra);
    }
}

void
_PyStackless_LoadTracing(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                         tasklet_extra *extra)
{
    if (!sched->carry_tracing) {
        load_tracing(tstate, extra);
    }
    else {
        /* What it had is forgotten. */
        tasklet_extra keep = {0};
        _PyStackless_SwapTracing(tstate, &keep, extra);
        _PyStackless_DropTracing(tstate, sched);
        load_tracing(tstate, &keep);
    }
}

/* A thread that makes the interpreter's pending calls is the only one, and makes none while
   it does.  If such a call is left, others are to be made all the same. */
static void
stop_pending_calls(PyThreadState *tstate)
{
    struct _pending_calls *pending = &tstate->interp->ceval.pending;
    PyMutex_Lock(&pending->mutex);
    pending->handling_thread = NULL;
    PyMutex_Unlock(&pending->mutex);
    _Py_set_eval_breaker_bit(tstate, _PY_CALLS_TO_DO_BIT);
}

static void
resume_pending_calls(PyThreadState *tstate)
{
    struct _pending_calls *pending = &tstate->interp->ceval.pending;
    PyMutex_Lock(&pending->mutex);
    if (pending->handling_thread == NULL) {
        pending->handling_thread = tstate;
    }
    PyMutex_Unlock(&pending->mutex);
}

static Py_NO_INLINE void
save_rare(PyThreadState *tstate, _PyStackless_Scheduler *sched, stackless_c_fields *save)
{
    save->rare = 1;
    save->recursion_headroom = tstate->recursion_headroom;
    tstate->recursion_headroom = 0;
    save->makes_calls = tstate->interp->ceval.pending.handling_thread == tstate;
    if (save->makes_calls) {
        stop_pending_calls(tstate);
    }
    save->moment = sched->moment;
    sched->moment = (stackless_moment){0};
}

static Py_NO_INLINE void
load_rare(PyThreadState *tstate, _PyStackless_Scheduler *sched, const stackless_c_fields *load)
{
    _PyStackless_DropPending(sched);
    assert(!_PyStackless_HasRareFields(tstate, sched));
    if (load->rare) {
        tstate->recursion_headroom = load->recursion_headroom;
        if (load->makes_calls) {
            resume_pending_calls(tstate);
        }
        sched->moment = load->moment;
    }
}

/* (The calls of both, as the last thing, take no stack frame.) */

void
_PyStackless_SaveCFields(PyThreadState *tstate, stackless_c_fields *save)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    _PyStackless_DataStackGet(tstate, &save->datastack);
    save->exception = tstate->current_exception;
    save->delete_later = tstate->delete_later;
    save->tracing = tstate->tracing - sched->tracing_elsewhere;
    save->what_event = tstate->what_event;
    tstate->current_exception = NULL;
    tstate->delete_later = NULL;
    if (!sched->carry_tracing) {
        tstate->tracing = 0;
        tstate->what_event = -1;
    }
    sched->tracing_elsewhere = (uint16_t)tstate->tracing;
    save->rare = 0;
    if (_PyStackless_HasRareFields(tstate, sched)) {
        save_rare(tstate, sched, save);
    }
}

void
_PyStackless_LoadCFields(PyThreadState *tstate, const stackless_c_fields *load)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    _PyStackless_DataStackSet(tstate, &load->datastack);
    tstate->current_exception = load->exception;
    tstate->delete_later = load->delete_later;
    if (!sched->carry_tracing) {
        tstate->tracing = load->tracing;
        tstate->what_event = load->what_event;
    }
    else if (tstate->tracing < load->tracing) {
        tstate->tracing = load->tracing;           // what it will take off again
    }
    sched->tracing_elsewhere = (uint16_t)(tstate->tracing - load->tracing);
    if (load->rare || sched->moment.pending.owner != NULL) {
        load_rare(tstate, sched, load);
    }
}

static void
stop_events(int tool_id)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (_PyMonitoring_SetEvents(tool_id, 0) < 0) {
        PyErr_FormatUnraisable("Exception ignored when a traced tasklet went away");
    }
    PyErr_SetRaisedException(exc);
}

/* Exchanges the trace functions of both, or their profile functions. */
void
_PyStackless_ExchangeHook(tasklet_extra *a, tasklet_extra *b, int trace)
{
    Py_tracefunc *func_a = trace ? &a->tracefunc : &a->profilefunc;
    Py_tracefunc *func_b = trace ? &b->tracefunc : &b->profilefunc;
    PyObject **obj_a = trace ? &a->traceobj : &a->profileobj;
    PyObject **obj_b = trace ? &b->traceobj : &b->profileobj;
    Py_tracefunc func = *func_a;
    PyObject *obj = *obj_a;
    *func_a = *func_b;
    *obj_a = *obj_b;
    *func_b = func;
    *obj_b = obj;
}

/* Nobody is to be traced any more by what is in `extra`.  Runs Python code. */
void
_PyStackless_DropHooks(PyThreadState *tstate, tasklet_extra *extra)
{
    PyInterpreterState *interp = tstate->interp;
    PyObject *traceobj = extra->traceobj;
    PyObject *profileobj = extra->profileobj;
    extra->traceobj = extra->profileobj = NULL;
    if (extra->tracefunc != NULL) {
        extra->tracefunc = NULL;
        if (--interp->sys_tracing_threads == 0) {
            stop_events(PY_MONITORING_SYS_TRACE_ID);
        }
    }
    if (extra->profilefunc != NULL) {
        extra->profilefunc = NULL;
        if (--interp->sys_profiling_threads == 0) {
            stop_events(PY_MONITORING_SYS_PROFILE_ID);
        }
    }
    Py_XDECREF(traceobj);
    Py_XDECREF(profileobj);
}

/* A tasklet ended, or is dropped while suspended. */
void
_PyStackless_ClearExtra(PyThreadState *tstate, PyTaskletObject *t)
{
    tasklet_extra *extra = extra_of(t);
    if (extra == NULL) {
        return;
    }
    assert(extra->timer == 0);
    t->context = extra->context;
    t->depth = 0;
    free_hard(extra->hard);
    PyObject *exc = extra->exc_value;
    PyObject *c_callable = extra->c_callable;
    PyObject *c_arg = extra->c_arg;
    PyObject *greenlet = extra->greenlet;
    PyObject *done = (PyObject *)extra->done;
    PyObject *selection = (PyObject *)extra->select;
    PyObject *scope = (PyObject *)extra->scope;
    _PyStackless_DropHooks(tstate, extra);
    PyMem_Free(extra);
    Py_XDECREF(c_callable);
    Py_XDECREF(c_arg);
    Py_XDECREF(greenlet);
    Py_XDECREF(done);
    Py_XDECREF(selection);
    Py_XDECREF(scope);
    Py_XDECREF(exc);
}

void
_PyStackless_StopTracingSlow(PyThreadState *tstate)
{
    if (tstate->c_tracefunc != NULL && _PyEval_SetTrace(tstate, NULL, NULL) < 0) {
        PyErr_FormatUnraisable("Exception ignored when a tasklet stopped being traced");
    }
    if (tstate->c_profilefunc != NULL && _PyEval_SetProfile(tstate, NULL, NULL) < 0) {
        PyErr_FormatUnraisable("Exception ignored when a tasklet stopped being profiled");
    }
}

void
_PyStackless_DropTracing(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    if (tstate->c_tracefunc != NULL) {
        tstate->interp->sys_tracing_threads--;
        tstate->c_tracefunc = NULL;
        _PyStackless_Discard(sched, tstate->c_traceobj);
        tstate->c_traceobj = NULL;
    }
    if (tstate->c_profilefunc != NULL) {
        tstate->interp->sys_profiling_threads--;
        tstate->c_profilefunc = NULL;
        _PyStackless_Discard(sched, tstate->c_profileobj);
        tstate->c_profileobj = NULL;
    }
}

void
_PyStackless_NoteVersion(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    uintptr_t version = _Py_atomic_load_uintptr_relaxed(&tstate->eval_breaker)
                        & ~(uintptr_t)_PY_EVAL_EVENTS_MASK;
    if (version != sched->seen_version) {
        sched->seen_version = version;
        if (sched->epoch != EPOCH_ALWAYS) {
            sched->epoch++;
        }
        if (sched->epoch == EPOCH_ALWAYS) {
            sched->seen_version = UINTPTR_MAX;     // never equal: look again
        }
    }
}

int
_PyStackless_Instrument(PyThreadState *tstate, _PyInterpreterFrame *frame)
{
    for (; frame != NULL; frame = frame->previous) {
        if (frame->owner == FRAME_OWNED_BY_CSTACK) {
            continue;
        }
        if (_Py_Instrument(_PyFrame_GetCode(frame), tstate->interp) < 0) {
            return -1;
        }
    }
    return 0;
}
