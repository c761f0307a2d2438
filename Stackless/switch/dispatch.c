/* Soft switching: the unwind token's way from a builtin to the eval loop, and the
   dispatcher below the tasklets.

   Tasklets run in one activation of the eval loop, called by a dispatcher that runs
   on top of main's C stack: main calls something that switches, and as long as main
   is away, its C stack just stays where it is.  So main can be left anywhere, in a
   script, below `python -m`, in an import, in a callback from C code or in an
   embedding program, and costs nothing but one more call of the eval loop each time.
   (Rejected: the outermost eval loop of a thread as dispatcher, so that main's frames
   are swapped like any other's.  It makes switches from and to main alone cheaper,
   but needs a second mechanism wherever main is below C frames, which is where pytest,
   unittest and every embedding program live.)

   Within the activation all switches swap frames only.  A tasklet's bottom frame
   returns to `sched->base`, a frame without code of its own, whose INTERPRETER_EXIT
   brings the eval loop here.  `base` belongs to the scheduler and not to the
   dispatcher's C frame, so that the link to it can stay in place while the tasklet is
   suspended: no walk to the bottom on a switch.  `base.previous` is NULL, therefore
   the bottom frame's f_back is None and main's frames are not reachable from it.

   A tasklet that is left takes its frames along (frames.c).

   The window between the builtin's return and the hook, in which the eval loop drops
   the callable and the arguments, may run any code.  That is why the builtin only
   records the operation (with strong references) and the hook carries it out, from
   the beginning, with what it then finds: the partner may be gone, the channel closed.
   The record carries its owner. */

#include "Python.h"
#include "opcode_ids.h"           // CALL
#include "pycore_call.h"
#include "pycore_ceval.h"         // _Py_HandlePending()
#include "pycore_code.h"          // _Py_GetBaseOpcode()
#include "pycore_modsupport.h"
#include "pycore_object.h"        // _PyObject_HEAD_INIT()
#include "pycore_opcode_metadata.h" // _PyOpcode_Caches
#include "pycore_opcode_utils.h"
#include "pycore_pyerrors.h"      // _PyErr_SetRaisedException()
#include "Stackless/switch/fast.h"
#include "Stackless/inline/inline.h" // _PyStackless_MakeFrame()

_PyStackless_Token _PyStackless_UnwindToken = {
    .exc = {
        .ob_base = {
            .ob_refcnt = _Py_IMMORTAL_REFCNT,
            .ob_type = NULL,          // set by token_init()
        },
    },
};

/* --- leaving softly ------------------------------------------------------- */

int
_PyStackless_PrepareLeaveSlow(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current;
    if (!_PyStackless_SaveNeedsExtra(tstate, sched)) {
        _PyStackless_FreeExtraIfUnused(t);
    }
    else if (_PyStackless_EnsureExtra(t) < 0) {
        return -1;
    }
    if (t->flags & TASKLET_IS_MAIN) {
        /* The dispatcher's eval loop must be able to enter. */
        if (tstate->c_recursion_remaining <= 2 * STACKLESS_EVAL_C_UNITS) {
            PyErr_SetString(PyExc_RecursionError,
                "maximum recursion depth exceeded: no C stack left to run tasklets");
            return -1;
        }
        if (_PyStackless_DataStackInit(tstate, sched) < 0) {
            return -1;
        }
        return _PyStackless_PrepareOverlay(tstate, sched);
    }
    if (tstate->datastack_top != sched->datastack_base) {
        return _PyStackless_PromoteFrames(tstate, sched);
    }
    return 0;
}

/* --- the token ----------------------------------------------------------------- */

void
_PyStackless_CancelOp(_PyStackless_Scheduler *sched)
{
    stackless_op op = sched->moment.pending.op;
    sched->moment.pending = (pending_op){0};
    Py_XDECREF(op.target);
    Py_XDECREF(op.value);
}

PyObject *
_PyStackless_Unwind(PyThreadState *tstate, _PyStackless_Scheduler *sched, stackless_op op,
                    int size)
{
    if (sched->moment.pending.owner != NULL) {
        /* A token that was lost on its way, because a finalizer or a profiler
           raised an exception of its own. */
        _PyStackless_CancelOp(sched);
    }
    sched->moment.pending = (pending_op){ .owner = sched->current, .op = op, .size = size };
    assert(tstate->current_exception == NULL);
    tstate->current_exception = (PyObject *)&_PyStackless_UnwindToken.exc;
    return NULL;
}

static PyObject *
call_from_main(_PyStackless_Scheduler *sched)
{
    PyThreadState *tstate = sched->tstate;
    stackless_op op = sched->call;
    PyObject *result = NULL;
    if (sched->exit_exc != NULL && Py_REFCNT(sched->exit_exc) == 1) {
        Py_CLEAR(sched->exit_exc);     // main has caught it, and goes on
    }
    if (_PyStackless_Execute(tstate, sched, &op, SWITCH_SOFT, &result) == OP_SWITCHED
        && _PyStackless_Dispatch(tstate, sched) == 0) {
        result = _PyStackless_TakeResult(sched->main);
    }
    _PyStackless_Discard(sched, op.target);
    _PyStackless_Discard(sched, op.value);
    _PyStackless_Settle(tstate, sched);
    _PyStackless_DebugSwitched(sched);
    return result;
}

PyObject *
_PyStackless_CallFromC(_PyStackless_Scheduler *sched)
{
    return sched->current->flags & TASKLET_IS_MAIN ? call_from_main(sched)
                                                   : _PyStackless_CallHard(sched);
}

PyObject *
_PyStackless_SwitchingCall(_PyStackless_Scheduler *sched, void *fn, PyObject *self,
                           PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    int size = 0;
    if (!(sched->current->flags & TASKLET_IS_MAIN)) {
        size = _PyStackless_DirectSize(sched->tstate, sched, fn, self, args, nargs, kwnames);
    }
    sched->announced.frame = NULL;
    if (size != 0 && !sched->mod->hard_only) {
        /* Straight from the eval loop: the hook does it, whether or not it turns out
           to need a switch.  That is cheaper than to find out here. */
        return _PyStackless_Unwind(sched->tstate, sched, sched->call, size);
    }
    return _PyStackless_CallFromC(sched);
}

/* --- the dispatcher -------------------------------------------------------- */

static void
token_init(void)
{
    if (_PyStackless_UnwindToken.exc.ob_base.ob_type == NULL) {
        _PyStackless_UnwindToken.exc.ob_base.ob_type =
            (PyTypeObject *)PyExc_BaseException;
    }
}

/* base stands at INTERPRETER_EXIT with None to return, so that the first thing the
   eval loop does is to call the hook. */
static void
base_frame_init(_PyInterpreterFrame *base)
{
    static const _Py_CODEUNIT code[] = {
        { .op.code = NOP },
        { .op.code = INTERPRETER_EXIT },
        { .op.code = RESUME, .op.arg = RESUME_AT_FUNC_START },
    };
    memset(base, 0, sizeof(*base));
    base->f_executable = Py_None;
    base->instr_ptr = (_Py_CODEUNIT *)code + 1;
    base->owner = FRAME_OWNED_BY_CSTACK;
    base->localsplus[0] = Py_None;
    base->stacktop = 1;
}

void
_PyStackless_RunTasklets(void *arg)
{
    _PyStackless_Scheduler *sched = arg;
    PyThreadState *tstate = sched->tstate;
    sched->far = _PyStackless_Far(&sched->cstack);
    if (_PyTasklet_IsHard(sched->current)) {
        _PyStackless_ResumeHard(tstate, sched);
    }
    base_frame_init(&sched->base);
    sched->starting = 1;
    tstate->current_frame = NULL;
    /* Who was left hard may have been at the limit; the base frame is no level of anybody's. */
    tstate->py_recursion_remaining = tstate->py_recursion_limit;
    PyObject *res = _PyEval_EvalFrameDefault(tstate, &sched->base, 0);
    assert(res == NULL);
    (void)res;
}

int
_PyStackless_Dispatch(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    assert(sched->current != sched->main);
    PyTaskletObject *main = sched->main;
    token_init();
    _PyStackless_NoticeLibraries(tstate, sched);

    int collects = sched->collection.owner == main && tstate->interp->gc.collecting;
    if (collects) {
        _PyStackless_HangListsAway(sched);
    }
    sched->main_frame = tstate->current_frame;
    int c_recursion = tstate->c_recursion_remaining;
    stackless_c_fields fields;
    _PyStackless_NoteVersion(tstate, sched);
    _PyStackless_SaveThreadFields(tstate, main);
    _PyStackless_SaveCFields(tstate, &fields);
    sched->announced.frame = NULL;
    tstate->exc_info = &sched->exc_root;
    _PyStackless_DataStackEmpty(tstate, sched);
    if (sched->nhard != 0) {
        _PyStackless_UnlinkMainEntries(sched);
    }
    ((_PyThreadStateImpl *)tstate)->stackless_inlines = 1;
    do {
        tstate->c_recursion_remaining = c_recursion;
        sched->c_recursion_base = c_recursion - STACKLESS_EVAL_C_UNITS;
        _PyStackless_Enter(&sched->cstack, _PyStackless_RunTasklets, sched);
    } while (sched->current != main);
    ((_PyThreadStateImpl *)tstate)->stackless_inlines = 0;
    assert(tstate->datastack_top == sched->datastack_base);

    if (collects) {
        _PyStackless_HangListsBack(sched);
    }
    _PyStackless_LinkMainEntries(sched);
    sched->base.previous = NULL;
    tstate->current_frame = sched->main_frame;
    sched->main_frame = NULL;
    tstate->c_recursion_remaining = c_recursion;
    _PyStackless_LoadCFields(tstate, &fields);
    _PyStackless_NoteVersion(tstate, sched);
    _PyStackless_LoadThreadFields(tstate, main);
    if (main->epoch != sched->epoch || sched->epoch == UINT16_MAX) {
        return _PyStackless_Instrument(tstate, tstate->current_frame);
    }
    return 0;
}

/* --- the hook in the eval loop ---------------------------------------------- */

static int
is_plain_function(PyThreadState *tstate, PyObject *func)
{
    enum { POPS_ITS_OWN_FRAME = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR };
    if (!_PyStackless_IsPythonFunction(func) || tstate->interp->eval_frame != NULL) {
        return 0;
    }
    int flags = ((PyCodeObject *)PyFunction_GET_CODE(func))->co_flags;
    return (flags & CO_OPTIMIZED) && !(flags & POPS_ITS_OWN_FRAME);
}

/* The frame of func(*args, **kwargs), or with `self` (may be NULL) before args.  func is a
   plain function.  Borrows all. */
static _PyInterpreterFrame *
make_function_frame(PyThreadState *tstate, PyObject *func, PyObject *self,
                    PyObject *args, PyObject *kwargs)
{
    PyObject *const *items = &PyTuple_GET_ITEM(args, 0);
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);
    if (kwargs == NULL) {
        return _PyStackless_MakeFrame(tstate, func, self, items, nargs, NULL);
    }
    PyObject *kwnames;
    PyObject *const *unpacked = _PyStack_UnpackDict(tstate, items, nargs, kwargs, &kwnames);
    if (unpacked == NULL) {
        return NULL;
    }
    _PyInterpreterFrame *frame = _PyStackless_MakeFrame(tstate, func, self, unpacked, nargs,
                                                        kwnames);
    _PyStack_UnpackDict_Free(unpacked, nargs, kwnames);
    return frame;
}

/* A trampoline calls what is no plain Python function (generator functions included: they
   pop their own frame). */
static _PyInterpreterFrame *
make_trampoline_frame(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyObject *func,
                      PyObject *args, PyObject *kwargs)
{
    PyObject *stack[] = { Py_NewRef(func), Py_NewRef(args), Py_XNewRef(kwargs) };
    PyObject *trampoline = kwargs != NULL ? sched->mod->keywords_trampoline
                                          : sched->mod->trampoline;
    return _PyEvalFramePushAndInit(tstate, (PyFunctionObject *)Py_NewRef(trampoline), NULL,
                                   stack, kwargs != NULL ? 3 : 2, NULL);
}

/* Starts the current tasklet.  NULL: an exception is set. */
static _PyInterpreterFrame *
push_first_frame(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current;
    PyObject *func = t->func;
    PyObject *packed = t->args;
    PyObject *args = packed;
    PyObject *kwargs = NULL;
    int has_kwargs = t->flags & TASKLET_HAS_KWARGS;
    t->frame = NULL;
    t->channel = NULL;
    t->flags = (t->flags & ~TASKLET_HAS_KWARGS) | TASKLET_STARTED;
    if (t->tempval != NULL) {
        PyObject *value = _PyStackless_TakeResult(t);      // may run any code
        _PyStackless_Discard(sched, value);
        if (value == NULL) {
            _PyStackless_Discard(sched, func);
            _PyStackless_Discard(sched, packed);
            return NULL;
        }
    }
    if (has_kwargs) {
        kwargs = PyTuple_GET_ITEM(args, 1);
        args = PyTuple_GET_ITEM(args, 0);
    }
    _PyInterpreterFrame *frame;
    if (is_plain_function(tstate, func)) {
        frame = make_function_frame(tstate, func, NULL, args, kwargs);
    }
    else if (Py_IS_TYPE(func, &PyMethod_Type)
             && is_plain_function(tstate, PyMethod_GET_FUNCTION(func))) {
        frame = make_function_frame(tstate, PyMethod_GET_FUNCTION(func),
                                    PyMethod_GET_SELF(func), args, kwargs);
    }
    else {
        frame = make_trampoline_frame(tstate, sched, func, args, kwargs);
    }
    /* Not before: comparing names of arguments may run any code, and switch. */
    _PyStackless_Discard(sched, func);
    _PyStackless_Discard(sched, packed);
    if (frame != NULL) {
        frame->previous = &sched->base;
        tstate->current_frame = frame;
        tstate->py_recursion_remaining--;
    }
    return frame;
}

PyObject *
_PyStackless_GetGlobals(PyThreadState *tstate)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched == NULL) {
        return NULL;
    }
    _PyInterpreterFrame *frame = _PyFrame_GetFirstComplete(sched->main_frame);
    return frame ? frame->f_globals : NULL;
}

/* False: `frame` is not in a loop's FOR_ITER that has a branch event. */
static inline int
may_be_monitored_loop(_PyInterpreterFrame *frame)
{
    return frame->instr_ptr->op.code >= MIN_INSTRUMENTED_OPCODE;
}

/* The result of the pending call of `t`, or NULL with an exception.  One that was interrupted
   is in no call that takes its tempval: only what has been thrown into it is taken. */
static PyObject *
take_result(PyTaskletObject *t)
{
    if (extra_of(t) != NULL && extra_of(t)->interrupted && !(t->flags & TASKLET_RAISES)
        && (t->tempval == NULL || !Py_IS_TYPE(t->tempval, sched_of(t)->mod->bomb_type))) {
        return Py_None;
    }
    return _PyStackless_TakeResult(t);
}

/* The current tasklet goes on in `frame` with `value` (NULL: an exception is set). */
static void
resume(PyThreadState *tstate, PyTaskletObject *t, _PyInterpreterFrame *frame,
       PyObject *value)
{
    tasklet_extra *extra = extra_of(t);
    if (extra != NULL && extra->interrupted) {
        extra->interrupted = 0;
        _PyStackless_Discard(sched_of(t), value);
        if (value != NULL) {
            _PyStackless_FinishInterrupted(tstate, sched_of(t), frame);
        }
        return;
    }
    if (extra != NULL) {
        value = _PyStackless_TellCReturn(tstate, t, frame, value);
    }
    if (value == NULL || may_be_monitored_loop(frame)) {
        _PyStackless_EndForIter(tstate, t, frame, value);
    }
    else {
        _PyFrame_StackPush(frame, value);
    }
}

/* Makes the thread state that of the current tasklet.  Returns its frame, with its
   pending call's value pushed or an exception set.  NULL: main is current, or (with an
   exception) the tasklet's function could not be called. */
static _PyInterpreterFrame *
enter_current(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current;
    tstate->current_frame = &sched->base;
    _PyStackless_Check(sched, sched->left);
    _PyStackless_NoteVersion(tstate, sched);
    if (t->flags & TASKLET_IS_MAIN) {
        return NULL;
    }
    if (_PyTasklet_IsHard(t)) {
        _PyStackless_ResumeHard(tstate, sched);
    }
    _PyStackless_LoadThreadFields(tstate, t);
    if (!(t->flags & TASKLET_STARTED)) {
        return push_first_frame(tstate, sched);
    }
    _PyInterpreterFrame *frame = t->frame;
    t->frame = NULL;
    tstate->current_frame = frame;
    PyObject *value = NULL;
    if ((t->epoch == sched->epoch && sched->epoch != UINT16_MAX)
        || _PyStackless_Instrument(tstate, frame) == 0) {
        value = take_result(t);
    }
    resume(tstate, t, frame, value);
    return frame;
}

/* Empties the stack of the dispatcher's frame, which is shared: whoever finds something on it
   takes it for the result of a bottom frame of its own.  NULL: there is nothing. */
static inline PyObject *
take_base_value(_PyStackless_Scheduler *sched)
{
    int size = sched->base.stacktop;
    assert(size == 0 || size == 1);
    sched->base.stacktop = 0;
    return size == 0 ? NULL : sched->base.localsplus[0];
}

/* The current tasklet has ended with `value` or *exc, which is NULL afterwards if somebody gets
   it: its group, and whoever waits for it.  Returns what is to be kept, or NULL. */
static PyObject *
tell_end(_PyStackless_Scheduler *sched, PyTaskletObject *t, PyObject *value, PyObject **exc)
{
    PyObject *seen = Py_XNewRef(*exc);
    PyObject *kept = NULL;
    if (extra_of(t)->scope != NULL) {
        *exc = _PyStackless_MemberEnded(sched, t, value, *exc);
    }
    if (extra_of(t) != NULL && extra_of(t)->done != NULL) {
        int raises = seen != NULL;
        kept = _PyStackless_TellJoiners(sched, t, value, &seen);
        if (raises && seen == NULL) {
            Py_CLEAR(*exc);
        }
    }
    _PyStackless_Discard(sched, seen);
    return kept;
}

/* The bottom frame of the current tasklet is gone: it returned or was unwound.  Or it
   was never pushed.  The tasklet ends, and another one becomes current. */
static void
finish_current(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current;
    PyObject *exc = _PyErr_GetRaisedException(tstate);
    PyObject *value = take_base_value(sched);
    if (_PyGreenlet_IsTasklet(t)) {
        sched->mod->greenlets->finish(tstate, sched, value, exc);
    }
    else {
        PyObject *kept = NULL;
        if (extra_of(t) != NULL) {
            kept = tell_end(sched, t, value, &exc);
        }
        Py_XDECREF(value);
        _PyStackless_Finish(tstate, sched, exc);
        t->args = kept;
    }
    _PyStackless_SetLeft(sched, t);
    if (!sched->carry_tracing) {
        _PyStackless_DropTracing(tstate, sched);
    }
    if (sched->exc_root.exc_value != NULL) {       // a frame was lost in a handler
        _PyStackless_Discard(sched, sched->exc_root.exc_value);
        sched->exc_root.exc_value = NULL;
    }
    _PyStackless_SaveThreadFields(tstate, t);
}

/* The same for a tasklet that returned, if nothing is special about it and about the
   next one, which is made current.  Returns false if nothing has been done.  *frame: as
   enter_current() returns it. */
static int
finish_fast(PyThreadState *tstate, _PyStackless_Scheduler *sched,
            _PyInterpreterFrame **frame)
{
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = t->next;
    uintptr_t exceptions = (uintptr_t)tstate->current_exception
                           | (uintptr_t)sched->exc_root.exc_value;
    if (exceptions != 0 || next == t || _PyGreenlet_IsTasklet(t)
        || !fast_is_plain_switch(tstate, sched, next, 1, 0)) {
        return 0;
    }
    PyObject *value = take_base_value(sched);
    assert(value != NULL);
    t->flags &= ~TASKLET_WITH_FRAMES;
    t->args = NULL;
    _PyStackless_QueueUnlink(sched, t);
    if (Py_REFCNT(t) > 1) {
        _PyStackless_SetState(t, TASKLET_IDLE);
    }
    else {
        t->state = TASKLET_IDLE;       // about to be freed
    }
    fast_make_current(tstate, sched, t, next, 0);
    PyObject *context = t->context;    // t may be bound again by what is dropped below
    t->context = NULL;
    if (next->flags & TASKLET_STARTED) {
        *frame = fast_resume(tstate, next);
    }
    else {
        *frame = push_first_frame(tstate, sched);
    }
    PyObject *exc = *frame == NULL ? _PyErr_GetRaisedException(tstate) : NULL;
    Py_DECREF(value);
    Py_XDECREF(context);
    Py_DECREF(t);
    if (exc != NULL) {
        _PyErr_SetRaisedException(tstate, exc);
    }
    return 1;
}

/* The token arrived: do what the builtin wanted.  Returns true if another tasklet is
   current now. */
static int
commit_op(PyThreadState *tstate, _PyStackless_Scheduler *sched,
          _PyInterpreterFrame *frame)
{
    PyTaskletObject *t = sched->current;
    pending_op pending = sched->moment.pending;
    assert(pending.owner == t);
    tstate->current_exception = NULL;
    stackless_op op = pending.op;
    frame->return_offset = pending.size;
    sched->moment.pending = (pending_op){0};
    if (may_be_monitored_loop(frame)) {
        _PyStackless_DeferBranch(t, frame);
    }
    PyObject *result = NULL;
    op_outcome outcome = _PyStackless_Execute(tstate, sched, &op, SWITCH_SOFT, &result);
    _PyStackless_Discard(sched, op.target);
    _PyStackless_Discard(sched, op.value);
    if (outcome != OP_SWITCHED) {
        if (op.code == OP_INTERRUPT) {
            PyErr_Clear();             // no memory: not now, then
            result = Py_None;
        }
        resume(tstate, t, tstate->current_frame, result);
        return 0;
    }
    _PyStackless_SetLeft(sched, t);
    t->frame = tstate->current_frame;
    _PyStackless_SaveThreadFields(tstate, t);
    return 1;
}

void
_PyStackless_Settle(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    PyTaskletObject *left = sched->left;
    if (left != NULL && left->state != TASKLET_IDLE && Py_REFCNT(left) > 1) {
        Py_DECREF(left);
        left = NULL;
    }
    sched->left = NULL;
    if (left == NULL && sched->ntrash == 0) {
        return;
    }
    PyObject *exc = _PyErr_GetRaisedException(tstate);
    if (left != NULL) {
        if (left->state == TASKLET_IDLE) {
            PyObject *context = NULL;  // dropping the rest may bind the tasklet again
            if (!_PyGreenlet_IsTasklet(left)) {
                context = *context_of(left);
                *context_of(left) = NULL;
            }
            _PyStackless_ClearExtra(tstate, left);
            Py_XDECREF(context);
        }
        Py_DECREF(left);
    }
    _PyStackless_EmptyTrash(sched);
    _PyErr_SetRaisedException(tstate, exc);
}

/* The token arrived, and a C function wants nothing but a call. */
static _PyInterpreterFrame *
begin_soft_call(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                _PyInterpreterFrame *frame)
{
    tasklet_extra *extra = extra_of(sched->current);
    PyObject *callable = extra != NULL ? extra->c_callable : NULL;
    PyObject *arg = NULL;
    if (callable != NULL) {
        arg = extra->c_arg;
        extra->c_callable = extra->c_arg = NULL;
    }
    pending_op pending = sched->moment.pending;
    sched->moment.pending = (pending_op){0};
    tstate->current_exception = NULL;
    frame->return_offset = pending.size;
    _PyStackless_BeginSoftCall(tstate, pending.op.target, pending.op.value, callable, arg);
    return tstate->current_frame;
}

static Py_NO_INLINE _PyInterpreterFrame *
eval_switch(PyThreadState *tstate, _PyStackless_Scheduler *sched,
            _PyInterpreterFrame *frame)
{
    int switched = 1;
    if (frame != &sched->base) {
        if (sched->moment.pending.op.code == OP_SOFT_CALL) {
            return begin_soft_call(tstate, sched, frame);
        }
        switched = commit_op(tstate, sched, frame);
        frame = tstate->current_frame;
    }
    else if (sched->starting) {
        sched->starting = 0;
        sched->base.previous = NULL;
        (void)take_base_value(sched);  // base_frame_init()'s None
    }
    else if (sched->current->flags & TASKLET_IS_MAIN) {
        (void)take_base_value(sched);  // _PyStackless_LeaveForMain()'s None
        return NULL;
    }
    else if (tstate->current_exception == NULL && sched->base.stacktop == 0) {
        _PyStackless_ExceptionIsLost(tstate);
        finish_current(tstate, sched);
    }
    else if (finish_fast(tstate, sched, &frame)) {
        switched = frame == NULL;
        if (switched) {
            finish_current(tstate, sched);
        }
    }
    else {
        finish_current(tstate, sched);
    }
    if (switched) {
        frame = enter_current(tstate, sched);
        while (frame == NULL) {
            if (sched->current->flags & TASKLET_IS_MAIN) {
                return NULL;
            }
            _PyStackless_Settle(tstate, sched);
            finish_current(tstate, sched);
            frame = enter_current(tstate, sched);
        }
    }
    if (switched && (sched->watch_switch & NOTICE_WATCHDOG)) {
        _PyStackless_WatchSwitch(tstate, sched);
    }
    _PyStackless_Settle(tstate, sched);
    _PyStackless_DebugSwitched(sched);
    if ((_Py_atomic_load_uintptr_relaxed(&tstate->eval_breaker) & _PY_EVAL_EVENTS_MASK)
        && tstate->current_exception == NULL) {
        sched->moment.handling = frame;
        sched->moment.between = 1;
        (void)_Py_HandlePending(tstate);
        sched->moment.between = 0;
        sched->moment.handling = NULL;
        if (sched->ntrash != 0) {
            _PyStackless_Settle(tstate, sched);
        }
    }
    assert(frame == tstate->current_frame);
    if (sched->moment.jumped) {
        sched->moment.jumped = 0;
        if (tstate->current_exception != NULL) {
            frame->return_offset = 1;  // the one at instr_ptr raises it
        }
    }
    return frame;
}

_PyInterpreterFrame *
_PyStackless_EvalSwitch(PyThreadState *tstate, _PyInterpreterFrame *frame)
{
    return _PyStackless_IsContinuation(frame)
           ? _PyStackless_Continue(tstate, frame)
           : eval_switch(tstate, _PyStackless_PeekScheduler(tstate), frame);
}

void
_PyStackless_LeaveForMain(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                          PyTaskletObject *t, _PyInterpreterFrame *frame)
{
    assert(sched->current == sched->main);
    t->frame = frame;
    _PyStackless_SaveThreadFields(tstate, t);
    tstate->current_frame = &sched->base;
    sched->base.localsplus[0] = Py_None;
    sched->base.stacktop = 1;
}

Py_NO_INLINE int
_PyStackless_ScheduleElsewhere(PyThreadState *tstate, _PyInterpreterFrame *frame,
                               PyObject **stack_pointer, _PyStackless_Scheduler *sched)
{
    return fast_schedule_elsewhere(tstate, frame, stack_pointer, sched);
}

Py_NO_INLINE int
_PyStackless_ScheduleAgain(PyThreadState *tstate, _PyInterpreterFrame *frame,
                           PyObject **stack_pointer, _PyStackless_Scheduler *sched)
{
    return fast_schedule_again(tstate, frame, stack_pointer, sched);
}

Py_NO_INLINE int
_PyStackless_ScheduleMoving(PyThreadState *tstate, _PyInterpreterFrame *frame,
                            PyObject **stack_pointer, _PyStackless_Scheduler *sched)
{
    return fast_schedule_moving(tstate, frame, stack_pointer, sched);
}

Py_NO_INLINE int
_PyStackless_ScheduleFrames(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    return _PyStackless_PromoteFrames(tstate, sched) < 0
           || fast_schedule_swap(tstate, sched, tstate->current_frame);
}

Py_NO_INLINE int
_PyStackless_ScheduleAny(PyThreadState *tstate, _PyInterpreterFrame *frame,
                         PyObject **stack_pointer)
{
    return fast_schedule_any(tstate, frame, stack_pointer);
}

int
_PyStackless_InlineSchedule(PyThreadState *tstate, _PyInterpreterFrame *frame,
                            PyObject **stack_pointer)
{
    return fast_schedule(tstate, frame, stack_pointer);
}

static_assert(offsetof(_PyStackless_Scheduler, mod) == 0
              && offsetof(stackless_modstate, channel_methods) == 0,
              "_PyStackless_InlineDescriptor() reads them");

/* A channel's methods: each way in a function of its own, which ends by calling the next one
   to try, so that the commonest ones save few registers. */

static Py_NO_INLINE int
inline_send(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **base,
            PyChannelObject *ch)
{
    return ch->balance < 0
           ? fast_send_to_waiting(tstate, frame, base, ch, 0)
           : fast_block(tstate, frame, base, ch, base[2], TASKLET_SENDING, 0);
}

static Py_NO_INLINE int
send_again(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **base,
           PyChannelObject *ch)
{
    return fast_send_to_waiting(tstate, frame, base, ch, 1)
           || inline_send(tstate, frame, base, ch);
}

static Py_NO_INLINE int
send_again_blocking(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **base,
                    PyChannelObject *ch)
{
    return fast_block(tstate, frame, base, ch, base[2], TASKLET_SENDING, 1)
           || inline_send(tstate, frame, base, ch);
}

int
_PyStackless_InlineSend(PyThreadState *tstate, _PyInterpreterFrame *frame,
                        PyObject **stack_pointer, PyObject *channel)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    PyObject **base = stack_pointer - 3;
    PyChannelObject *ch = fast_channel(tstate, sched, base, channel);
    if (ch == NULL) {
        return 0;
    }
    if (!fast_is_again(tstate, sched)) {
        return inline_send(tstate, frame, base, ch);
    }
    return ch->balance < 0 ? send_again(tstate, frame, base, ch)
                           : send_again_blocking(tstate, frame, base, ch);
}

static Py_NO_INLINE int
inline_receive(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **base,
               PyChannelObject *ch)
{
    return fast_block(tstate, frame, base, ch, NULL, TASKLET_RECEIVING, 0);
}

static Py_NO_INLINE int
receive_again(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **base,
              PyChannelObject *ch)
{
    return fast_block(tstate, frame, base, ch, NULL, TASKLET_RECEIVING, 1)
           || inline_receive(tstate, frame, base, ch);
}

int
_PyStackless_InlineReceive(PyThreadState *tstate, _PyInterpreterFrame *frame,
                           PyObject **stack_pointer, PyObject *channel)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    PyObject **base = stack_pointer - 2;
    PyChannelObject *ch = fast_channel(tstate, sched, base, channel);
    if (ch == NULL) {
        return 0;
    }
    if (ch->balance > 0) {
        return fast_receive_from_waiting(sched, frame, base, ch);
    }
    return fast_is_again(tstate, sched) ? receive_again(tstate, frame, base, ch)
                                        : inline_receive(tstate, frame, base, ch);
}
