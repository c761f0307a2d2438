/* What the other rooms call of this one; and the short functions that every switch goes
   through: what a tasklet's state says, the thread-state fields that it takes along (see
   tstate.c), blocks for its frames. */

#ifndef STACKLESS_STATE_STATE_H
#define STACKLESS_STATE_STATE_H
#ifdef __cplusplus
extern "C" {
#endif

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "pycore_interp.h"        // PyInterpreterState.ceval, gc
#include "Stackless/state/objects.h"

/* modstate.c */

extern struct PyModuleDef _PyStackless_Module;         // _stackless.c
extern stackless_modstate *_PyStackless_StateOfType(PyTypeObject *type);
/* NULL without an exception: the object is something else. */
extern stackless_modstate *_PyStackless_StateOfModule(PyObject *module);
extern PyObject *_PyStackless_ModuleOfType(PyTypeObject *type);
/* The function `name` that `source` defines, with one global.  Its frames are left out
   of tracebacks, of f_back and of tracing. */
extern PyObject *_PyStackless_HiddenFunction(const char *source, const char *name,
                                             const char *global, PyObject *value);

static inline void
_PyStackless_NoteUnusual(stackless_modstate *mod)
{
    mod->unusual = mod->hard_only || mod->schedule_callback != NULL || mod->debug_slow;
}

/* schedulers.c */

/* A zeroed one with an index and one reference.  NULL with an exception: out of memory, or
   all are in use. */
extern _PyStackless_Scheduler *_PyStackless_AllocScheduler(void);
extern void _PyStackless_ReleaseScheduler(_PyStackless_Scheduler *sched);
/* Empties the list of channels that the collector must see. */
extern void _PyStackless_ForgetBusy(_PyStackless_Scheduler *sched);

/* bomb.c */

extern PyType_Spec _PyBomb_Spec;
/* A bomb from what throw(exc, val, tb) takes (val, tb may be NULL); NULL: TypeError. */
extern PyObject *_PyBomb_FromThrow(stackless_modstate *mod, PyObject *exc,
                                   PyObject *val, PyObject *tb);
extern PyObject *_PyBomb_FromException(stackless_modstate *mod, PyObject *exc);
/* Raises what `value` (a bomb) stands for, in the current tasklet: what that handles
   becomes the exception's __context__. */
extern void _PyBomb_Explode(PyObject *value);
extern int _PyBomb_Matches(PyObject *bomb, PyObject *exc_type);

/* tstate.c */

extern int _PyStackless_EnsureExtra(PyTaskletObject *t);
/* The innermost generator (or coroutine) in which a tasklet at nesting level 0 is, whose
   topmost frame is `frame`, if it is among the first few ones.  There, exc_info is that
   generator's: nobody has to keep it.  NULL: none, or not near. */
extern PyGenObject *_PyStackless_NearGenerator(_PyInterpreterFrame *frame);
/* t->depth is that of t, which is left in a generator or handles an exception; that becomes
   the topmost value of t->frame, which has room for it. */
extern void _PyStackless_MarkDepth(PyThreadState *tstate, PyTaskletObject *t);
/* What _PyStackless_SwapThreadFields() has to do if this is so with one of the two. */
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
extern void _PyStackless_StopTracingSlow(PyThreadState *tstate);
/* The current tasklet ends: its trace and profile functions go.  Runs Python code. */
static inline void
_PyStackless_StopTracing(PyThreadState *tstate)
{
    if (((uintptr_t)tstate->c_tracefunc | (uintptr_t)tstate->c_profilefunc) != 0) {
        _PyStackless_StopTracingSlow(tstate);
    }
}
/* Takes away what a handler or a finalizer has set in a tasklet that ended. */
extern void _PyStackless_DropTracing(PyThreadState *tstate, _PyStackless_Scheduler *sched);
/* Brings the code of all frames of a chain up to date with what is monitored. */
extern int _PyStackless_Instrument(PyThreadState *tstate, _PyInterpreterFrame *frame);
extern void _PyStackless_NoteVersion(PyThreadState *tstate, _PyStackless_Scheduler *sched);

/* --- short functions ------------------------------------------------------------ */

static inline _PyStackless_Scheduler *
_PyStackless_PeekScheduler(PyThreadState *tstate)
{
    return ((_PyThreadStateImpl *)tstate)->stackless;
}

static inline PyTaskletObject *
tasklet_cast(PyObject *op)
{
    return (PyTaskletObject *)op;
}

static inline int
_PyTasklet_IsHard(const PyTaskletObject *t)
{
    const tasklet_extra *extra = extra_of(t);
    return extra != NULL && extra->hard != NULL && extra->hard->link != NULL;
}

/* Is it a greenlet's own tasklet? */
static inline int
_PyGreenlet_IsTasklet(const PyTaskletObject *t)
{
    return Py_IS_TYPE(t, sched_of(t)->mod->greenlet_tasklet_type);
}

static inline void
_PyStackless_DataStackGet(PyThreadState *tstate, stackless_datastack *stack)
{
    stack->chunk = tstate->datastack_chunk;
    stack->top = tstate->datastack_top;
    stack->limit = tstate->datastack_limit;
}

static inline void
_PyStackless_DataStackSet(PyThreadState *tstate, const stackless_datastack *stack)
{
    tstate->datastack_chunk = stack->chunk;
    tstate->datastack_top = stack->top;
    tstate->datastack_limit = stack->limit;
}

static inline int
tasklet_is_blocked(const PyTaskletObject *t)
{
    return t->state >= TASKLET_RECEIVING;
}

/* Is it its thread's main tasklet?  (The flag stays with that of a thread that has ended,
   until it is bound to another one.) */
static inline int
tasklet_is_main(const PyTaskletObject *t)
{
    return (t->flags & TASKLET_IS_MAIN) && sched_of(t)->tstate != NULL;
}

/* Are its frames and fields those of its thread's state?  It is CURRENT, or its thread
   sleeps in it (or did when it ended, and will never return from there). */
static inline int
tasklet_is_executing(const PyTaskletObject *t)
{
    return t->state == TASKLET_CURRENT
           || (sched_of(t)->sleeper == t && t->state != TASKLET_IDLE);
}

static inline int
tasklet_is_suspended(const PyTaskletObject *t)
{
    return (t->flags & TASKLET_STARTED) && !tasklet_is_executing(t);
}

static inline int
_PyTasklet_IsAlive(const PyTaskletObject *t)
{
    return t->state != TASKLET_IDLE && sched_of(t)->tstate != NULL;
}

/* Its topmost frame, or NULL. */
static inline _PyInterpreterFrame *
_PyTasklet_TopFrame(const PyTaskletObject *t)
{
    if (sched_of(t)->tstate == NULL) {
        return NULL;
    }
    if (tasklet_is_executing(t)) {
        return sched_of(t)->tstate->current_frame;
    }
    if (t->flags & TASKLET_IS_MAIN) {
        return sched_of(t)->main_frame;
    }
    return tasklet_is_suspended(t) ? t->frame : NULL;
}

/* The Python recursion that the current tasklet uses. */
static inline int
_PyStackless_UsedDepth(PyThreadState *tstate)
{
    return tstate->py_recursion_limit - tstate->py_recursion_remaining;
}

/* The same of a suspended tasklet. */
static inline int
tasklet_depth(const PyTaskletObject *t)
{
    const tasklet_extra *extra = extra_of(t);
    return extra != NULL ? extra->depth
           : t->depth < 0 ? ~t->depth & STACKLESS_MARKED_DEPTH : t->depth;
}

/* How many eval loops and other counted C calls lie above the dispatcher. */
static inline int
_PyStackless_NestingLevel(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    return sched->c_recursion_base - tstate->c_recursion_remaining;
}

/* Can exc_info be found again when the current tasklet goes on? */
static inline int
_PyStackless_ExcInfoIsNear(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    return tstate->exc_info == &sched->exc_root
           || _PyStackless_NearGenerator(tstate->current_frame) != NULL;
}

/* The exc_info of a suspended tasklet that does not keep it. */
static inline _PyErr_StackItem *
_PyStackless_FindExcInfo(const PyTaskletObject *t)
{
    return tasklet_has_mark(t, DEPTH_IN_GENERATOR)
           ? &_PyStackless_NearGenerator(t->frame)->gi_exc_state : &sched_of(t)->exc_root;
}

/* Does the depth of the current tasklet, with its marks, fit where it is kept? */
static inline int
_PyStackless_DepthIsSmall(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    int depth = _PyStackless_UsedDepth(tstate);
    return depth <= STACKLESS_MARKED_DEPTH
           || (depth <= STACKLESS_SMALL_DEPTH && tstate->exc_info == &sched->exc_root
               && sched->exc_root.exc_value == NULL);
}

/* Can another value be pushed?  Always, where an instruction waits for its result. */
static inline int
_PyStackless_HasRoom(const _PyInterpreterFrame *frame)
{
    PyCodeObject *code = _PyFrame_GetCode((_PyInterpreterFrame *)frame);
    return frame->stacktop < code->co_nlocalsplus + code->co_stacksize;
}

/* Does leaving the current tasklet softly take a side block? */
static inline int
_PyStackless_SaveNeedsExtra(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    return tstate->c_tracefunc != NULL || tstate->c_profilefunc != NULL
           || (sched->current->flags & TASKLET_IS_MAIN)
           || (sched->exc_root.exc_value != NULL
               && !_PyStackless_HasRoom(tstate->current_frame))
           || !_PyStackless_DepthIsSmall(tstate, sched)
           || !_PyStackless_ExcInfoIsNear(tstate, sched);
}

static inline int
_PyStackless_HasTracing(Py_tracefunc tracefunc, PyObject *traceobj, Py_tracefunc profilefunc,
                        PyObject *profileobj)
{
    return ((uintptr_t)tracefunc | (uintptr_t)traceobj
            | (uintptr_t)profilefunc | (uintptr_t)profileobj) != 0;
}

/* Is the current tasklet in a generator, or handles an exception? */
static inline int
_PyStackless_NeedsMarks(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    return tstate->exc_info != &sched->exc_root || sched->exc_root.exc_value != NULL;
}

static inline void
_PyStackless_SaveThreadFields(PyThreadState *tstate, PyTaskletObject *t)
{
    _PyStackless_Scheduler *sched = sched_of(t);
    tasklet_extra *extra = extra_of(t);
    int depth = _PyStackless_UsedDepth(tstate);
    PyObject **context = context_of(t);
    assert(*context == NULL);
    *context = sched->last_context = tstate->context;
    tstate->context = NULL;
    t->epoch = sched->epoch;
    if (tstate->tracing) {
        t->epoch--;                    // what was called meanwhile is not instrumented
    }
    if (extra == NULL) {
        assert(_PyStackless_DepthIsSmall(tstate, sched));
        t->depth = (int16_t)depth;
        if (_PyStackless_NeedsMarks(tstate, sched)) {
            _PyStackless_MarkDepth(tstate, t);
        }
        return;
    }
    extra->depth = depth;
    t->depth = 0;
    extra->exc_info = tstate->exc_info;
    if (!(t->flags & TASKLET_IS_MAIN)) {
        extra->exc_value = sched->exc_root.exc_value;
        sched->exc_root.exc_value = NULL;
    }
    if (_PyStackless_HasTracing(tstate->c_tracefunc, tstate->c_traceobj,
                                tstate->c_profilefunc, tstate->c_profileobj)) {
        _PyStackless_SaveTracing(tstate, sched, extra);
    }
}

static inline void
_PyStackless_LoadThreadFields(PyThreadState *tstate, PyTaskletObject *t)
{
    _PyStackless_Scheduler *sched = sched_of(t);
    tasklet_extra *extra = extra_of(t);
    PyObject **context = context_of(t);
    tstate->py_recursion_remaining = tstate->py_recursion_limit - tasklet_depth(t);
    assert(tstate->context == NULL);
    tstate->context = *context;
    *context = NULL;
    if (tstate->context != sched->last_context) {
        tstate->context_ver++;
    }
    if (extra == NULL || extra->exc_info == NULL) {  // it was made while t was suspended
        tstate->exc_info = _PyStackless_FindExcInfo(t);
        if (tasklet_has_mark(t, DEPTH_HANDLES)) {
            sched->exc_root.exc_value = _PyFrame_StackPop(t->frame);
            t->depth = 0;
        }
    }
    else {
        tstate->exc_info = extra->exc_info;
        extra->exc_info = NULL;
        if (!(t->flags & TASKLET_IS_MAIN)) {
            assert(sched->exc_root.exc_value == NULL);
            sched->exc_root.exc_value = extra->exc_value;
            extra->exc_value = NULL;
        }
    }
    if (extra != NULL
        && _PyStackless_HasTracing(extra->tracefunc, extra->traceobj, extra->profilefunc,
                                   extra->profileobj)) {
        _PyStackless_LoadTracing(tstate, sched, extra);
    }
}

/* Both at once, for two tasklets without a side block, outside of generators and in the
   same context. */
static inline void
_PyStackless_SwapDepth(PyThreadState *tstate, PyTaskletObject *t, PyTaskletObject *next)
{
    assert(extra_of(t) == NULL && extra_of(next) == NULL && t->context == NULL);
    assert(_PyStackless_UsedDepth(tstate) <= STACKLESS_SMALL_DEPTH);
    int limit = tstate->py_recursion_limit;
    t->depth = (int16_t)(limit - tstate->py_recursion_remaining);
    tstate->py_recursion_remaining = limit - next->depth;
    t->epoch = next->epoch;            // the scheduler's
    t->context = next->context;        // the thread state's, too
    next->context = NULL;
}

/* `t` has the context of the tasklet that is entered. */
static inline void
_PyStackless_SwapContext(PyThreadState *tstate, PyTaskletObject *t)
{
    if (t->context != tstate->context) {
        PyObject *context = t->context;
        t->context = tstate->context;
        tstate->context = context;
        tstate->context_ver++;
    }
}

/* _PyStackless_SwapDepth(), perhaps in generators, handling exceptions (then t->frame has room
   for a value) or in different contexts. */
static inline void
_PyStackless_SwapThreadFields(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                              PyTaskletObject *t, PyTaskletObject *next)
{
    _PyStackless_SwapDepth(tstate, t, next);
    _PyStackless_SwapContext(tstate, t);
    if (_PyStackless_NeedsMarks(tstate, sched) || next->depth < 0) {
        _PyStackless_SwapExcInfo(tstate, t, next);
    }
}

/* Is the current tasklet within a garbage collection that it has started? */
static inline int
_PyStackless_IsCollecting(const _PyStackless_Scheduler *sched)
{
    return sched->collection.owner == sched->current && sched->tstate->interp->gc.collecting;
}

/* Is a garbage collection in progress, and nobody knows that another tasklet of the calling
   thread has started it? */
static inline int
_PyStackless_MayBeCollecting(PyThreadState *tstate)
{
    const _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    return tstate->interp->gc.collecting
           && (sched == NULL || sched->collection.owner == NULL
               || sched->collection.owner == sched->current);
}

/* Is it inside run()? */
static inline int
tasklet_is_watchdog(const PyTaskletObject *t)
{
    for (Py_ssize_t i = sched_of(t)->nwatchdogs; i > 0; i--) {
        if (sched_of(t)->watchdogs[i - 1] == t) {
            return 1;
        }
    }
    return 0;
}

static inline int
tasklet_is_queued(const PyTaskletObject *t)
{
    return t->state == TASKLET_RUNNABLE || t->state == TASKLET_CURRENT;
}

/* --- references ------------------------------------------------------------------ */

/* What has just got a reference got it by a store of 32 bits (Py_INCREF()).  A load of 64
   bits would have to wait for it, so the reference count is read and written as it was. */
static inline int
_PyStackless_IsLastReference(PyObject *op)
{
    return op->ob_refcnt_split[PY_BIG_ENDIAN] == 1;
}

/* Drops a reference that is not the last one. */
static inline void
_PyStackless_DropReference(PyObject *op)
{
#ifdef Py_REF_DEBUG
    _Py_DECREF_NO_DEALLOC(op);
#else
    uint32_t count = op->ob_refcnt_split[PY_BIG_ENDIAN];
    if ((int32_t)count >= 0) {         // not immortal
        op->ob_refcnt_split[PY_BIG_ENDIAN] = count - 1;
    }
#endif
}

/* Pointers that own nothing are weak references: `channel` of who is blocked, the lists `busy`
   and `hard`, a greenlet_tasklet's `link`.  Whoever follows one may come upon an object that
   is being freed, since a subclass's deallocator runs code (drops its slots and its __dict__,
   or puts the object aside, in the trashcan) before ours is called.  Or the collector takes
   it for garbage, does not know of the pointer, and may have cleared what it needs.  Such a
   one can be compared and unlinked, but not brought back. */
static inline int
_PyStackless_IsBeingFreed(const void *op)
{
    return Py_REFCNT((PyObject *)op) == 0
           || (_Py_AS_GC((PyObject *)op)->_gc_prev & _PyGC_PREV_MASK_COLLECTING) != 0;
}

/* A new reference from such a pointer; NULL if it is NULL or the object is being freed. */
static inline PyObject *
_PyStackless_NewRefFromWeak(void *op)
{
    return op != NULL && !_PyStackless_IsBeingFreed(op) ? Py_NewRef((PyObject *)op) : NULL;
}

/* A reference for who drops it very soon, which Py_DECREF() does with a load of 64 bits: it
   would have to wait for Py_NewRef()'s store.  Not for what can be immortal. */
static inline PyObject *
_PyStackless_NewShortReference(PyObject *op)
{
#ifdef Py_REF_DEBUG
    return Py_NewRef(op);
#else
    assert(!_Py_IsImmortal(op));
    op->ob_refcnt++;
    return op;
#endif
}

/* --- what is true for a moment ------------------------------------------------------ */

static inline int
_PyStackless_MomentMatters(const stackless_moment *moment)
{
    return ((uintptr_t)moment->pending.owner | (uintptr_t)moment->handling
            | moment->flags) != 0;
}

/* Is anything of that true, or in the same way of the thread state? */
static inline int
_PyStackless_HasRareFields(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    return _PyStackless_MomentMatters(&sched->moment) || tstate->recursion_headroom != 0
           || tstate->interp->ceval.pending.handling_thread == tstate;
}

/* The operation of a token that was lost on its way is forgotten. */
static inline void
_PyStackless_DropPending(_PyStackless_Scheduler *sched)
{
    pending_op *pending = &sched->moment.pending;
    if (pending->owner != NULL) {
        _PyStackless_Discard(sched, pending->op.target);
        _PyStackless_Discard(sched, pending->op.value);
        *pending = (pending_op){0};
    }
}

/* --- frames in blocks of their own ---------------------------------------------- */

/* Blocks of frames that are gone are kept for the next ones, a few of each size: who calls
   a function that switches once needs one for each turn. */
#ifdef Py_DEBUG
enum { STACKLESS_KEPT_FRAMES = 1 };
#else
enum { STACKLESS_KEPT_FRAMES = 16 };
#endif

/* Is there one? */
static inline int
_PyStackless_KeepsFrame(_PyStackless_Scheduler *sched, size_t words)
{
    return words < Py_ARRAY_LENGTH(sched->kept) && sched->kept[words].first != NULL;
}

static inline _PyInterpreterFrame *
_PyStackless_TakeFrame(_PyStackless_Scheduler *sched, size_t words)
{
    stackless_kept_blocks *kept = &sched->kept[words];
    void **block = kept->first;
    kept->first = *block;
    kept->count--;
    return (_PyInterpreterFrame *)block;
}

/* NULL without an exception: no memory. */
static inline _PyInterpreterFrame *
_PyStackless_AllocFrame(_PyStackless_Scheduler *sched, size_t words)
{
    return _PyStackless_KeepsFrame(sched, words)
           ? _PyStackless_TakeFrame(sched, words)
           : PyMem_Malloc(words * sizeof(PyObject *));
}

/* sched may be NULL. */
static inline void
_PyStackless_FreeFrame(_PyStackless_Scheduler *sched, _PyInterpreterFrame *frame,
                       size_t words)
{
    if (sched != NULL && words < Py_ARRAY_LENGTH(sched->kept)
        && sched->kept[words].count < STACKLESS_KEPT_FRAMES) {
        stackless_kept_blocks *kept = &sched->kept[words];
        *(void **)frame = kept->first;
        kept->first = (void **)frame;
        kept->count++;
    }
    else {
        PyMem_Free(frame);
    }
}

/* Moves `old`, which is *link, off the data stack, of which it stays a part, to a block. */
static inline void
_PyStackless_MoveFrameTo(_PyInterpreterFrame *new, _PyInterpreterFrame *old,
                         _PyInterpreterFrame **link)
{
    _PyFrame_Copy(old, new);
    new->previous = old->previous;
    new->owner = FRAME_OWNED_BY_TASKLET;
    if (new->frame_obj != NULL) {
        new->frame_obj->f_frame = new;
    }
    *link = new;
}

/* The same for *link.  0, or -1 with an exception. */
static inline int
_PyStackless_MoveFrame(_PyStackless_Scheduler *sched, _PyInterpreterFrame **link)
{
    _PyInterpreterFrame *new = _PyStackless_AllocFrame(
        sched, (size_t)_PyFrame_GetCode(*link)->co_framesize);
    if (new == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    _PyStackless_MoveFrameTo(new, *link, link);
    return 0;
}

/* Moves the topmost frames, as long as that takes no call, off the data stack.  The first one
   below them that is left there, if any, is for _PyStackless_PromoteFrames(). */
static inline void
_PyStackless_MoveTopFrames(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    _PyInterpreterFrame **link = &tstate->current_frame;
    do {
        _PyInterpreterFrame *frame = *link;
        size_t words = (size_t)_PyFrame_GetCode(frame)->co_framesize;
        if (frame->owner != FRAME_OWNED_BY_THREAD || !_PyStackless_KeepsFrame(sched, words)
            || (PyObject **)frame == &tstate->datastack_chunk->data[0]) {
            return;
        }
        _PyStackless_MoveFrameTo(_PyStackless_TakeFrame(sched, words), frame, link);
        tstate->datastack_top = (PyObject **)frame;
        link = &(*link)->previous;
    } while (tstate->datastack_top != sched->datastack_base);
}

#ifdef __cplusplus
}
#endif
#endif /* !STACKLESS_STATE_STATE_H */
