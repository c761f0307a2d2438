/* Python code called by instructions without C code in between: continuation frames.

   Upstream's eval loop runs a Python function in place only where an instruction was
   specialised for it; everything else goes through a type slot and a new eval loop in
   C, which cannot be left softly.  While a tasklet is current, the instructions ask
   here first.  If the operation ends in a Python function, its frame is pushed and the
   eval loop goes on with it; where something is left to be done with its value (to try
   the reflected method, to make it a bool, to see that __init__ returned None ...), a
   continuation frame is put in between.

   A continuation's code is a few INTERPRETER_EXITs, which call _PyStackless_EvalSwitch()
   and so come here.  The position tells what happened: at the first one it waits, a
   value that is returned arrives at the second (return_offset is 1), one that is
   yielded at the third (YIELD_VALUE skips the caches that SEND and FOR_ITER have).  An
   exception comes from exit_unwind.  The code is never complete, as that of upstream's
   own shim frames: not in tracebacks, f_back, monitoring.

   Invariants
   - A continuation's caller is an ordinary frame with return_offset set, or another
     continuation; what it called is the frame above it, until that is gone.
   - It is in a block of its own from the beginning, as a frame that a switch has moved.
   - It is no level of Python recursion: the same depth is left as outside of a tasklet.  As
     between two functions, which are, there are only as many as the arguments of one call
     ask for, that limits the memory, too.
   - A hook decides without side effects; from Begin() on the operation is its own.

   What the operations are is in operators.c, attributes.c,
   iteration.c, calls.c, classes.c, tasks.c and
   sort.c.

   Rejected: continuations written in Python as hidden functions.  Each operation takes
   two Python calls then, needs C helpers for what Python cannot say (no result, end of
   a loop, the events of a C call), and shows when a tool looks at handled exceptions. */

#include "Python.h"
#include "opcode_ids.h"           // INTERPRETER_EXIT
#include "pycore_call.h"
#include "pycore_ceval.h"         // _PyEvalFramePushAndInit()
#include "pycore_code.h"
#include "pycore_context.h"       // PyContext
#include "pycore_function.h"
#include "pycore_global_strings.h" // _Py_ID()
#include "pycore_interp.h"        // PyInterpreterState.builtins_copy
#include "pycore_object.h"
#include "pycore_opcode_utils.h"
#include "pycore_runtime.h"       // _Py_SINGLETON()
#include "Stackless/inline/inline.h"
#include "opcode.h"

enum { WAITS, RETURNED, YIELDED };

enum { CONTINUATION_WORDS = STATE_SIZE + 1 + FRAME_SPECIALS_SIZE };

static const PyBytesObject no_location = {
    PyVarObject_HEAD_INIT(&PyBytes_Type, 1)
    .ob_sval = { (char)(128 | (PY_CODE_LOCATION_INFO_NONE << 3) | 2) }
};

static struct _PyCode_DEF(6) continuation_code = {
    _PyVarObject_HEAD_INIT(&PyCode_Type, 3),
    .co_consts = (PyObject *)&_Py_SINGLETON(tuple_empty),
    .co_names = (PyObject *)&_Py_SINGLETON(tuple_empty),
    .co_exceptiontable = (PyObject *)&_Py_SINGLETON(bytes_empty),
    .co_flags = CO_OPTIMIZED | CO_NO_MONITORING_EVENTS,
    .co_localsplusnames = (PyObject *)&_Py_SINGLETON(tuple_empty),
    .co_localspluskinds = (PyObject *)&_Py_SINGLETON(bytes_empty),
    .co_filename = &_Py_ID(__call__),
    .co_name = &_Py_ID(__call__),
    .co_qualname = &_Py_ID(__call__),
    .co_linetable = (PyObject *)&no_location,
    .co_nlocalsplus = STATE_SIZE,
    ._co_firsttraceable = 3,
    .co_stacksize = 1,
    .co_framesize = CONTINUATION_WORDS,
    .co_code_adaptive = {
        (char)INTERPRETER_EXIT, 0, (char)INTERPRETER_EXIT, 0, (char)INTERPRETER_EXIT, 0,
    },
};

PyCodeObject *const _PyStackless_ContinuationCode = (PyCodeObject *)&continuation_code;

/* The value is not wanted. */
static step_outcome
drop_step(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
          PyObject **value)
{
    Py_CLEAR(*value);
    return event == AT_RAISE ? STEP_FAILED : STEP_DONE;
}

static step_function *const steps[CONTINUE_COUNT] = {
    [CONTINUE_DROP] = drop_step,
    [CONTINUE_BINARY] = _PyStackless_BinaryStep,
    [CONTINUE_COMPARE] = _PyStackless_CompareStep,
    [CONTINUE_TRUTH] = _PyStackless_TruthStep,
    [CONTINUE_ATTRIBUTE] = _PyStackless_AttributeStep,
    [CONTINUE_ITER] = _PyStackless_IterStep,
    [CONTINUE_FOR] = _PyStackless_ForStep,
    [CONTINUE_ITEM] = _PyStackless_ItemStep,
    [CONTINUE_SEND] = _PyStackless_SendStep,
    [CONTINUE_ASYNC] = _PyStackless_AsyncStep,
    [CONTINUE_AWAIT] = _PyStackless_AwaitStep,
    [CONTINUE_AITER] = _PyStackless_AIterStep,
    [CONTINUE_NEXT] = _PyStackless_NextStep,
    [CONTINUE_GENERATOR] = _PyStackless_GeneratorStep,
    [CONTINUE_DELEGATE] = _PyStackless_DelegateStep,
    [CONTINUE_THROW] = _PyStackless_ThrowStep,
    [CONTINUE_NEW] = _PyStackless_NewStep,
    [CONTINUE_INIT] = _PyStackless_InitStep,
    [CONTINUE_CLASS] = _PyStackless_ClassStep,
    [CONTINUE_SORT] = _PyStackless_SortStep,
    [CONTINUE_SOFT] = _PyStackless_SoftStep,
    [CONTINUE_CONTEXT] = _PyStackless_ContextStep,
    [CONTINUE_TASK] = _PyStackless_TaskStep,
    [CONTINUE_C_RETURN] = _PyStackless_CReturnStep,
};

/* --- pushing frames ----------------------------------------------------------- */

/* What the eval loop does at start_frame. */
static int
enter_recursion(PyThreadState *tstate)
{
    if (tstate->py_recursion_remaining-- > 0) {
        return 0;
    }
    if (tstate->recursion_headroom) {
        if (tstate->py_recursion_remaining < -50) {
            Py_FatalError("Cannot recover from Python stack overflow.");
        }
        return 0;
    }
    tstate->recursion_headroom++;
    PyErr_SetString(PyExc_RecursionError, "maximum recursion depth exceeded");
    tstate->recursion_headroom--;
    return -1;
}

/* _PyStackless_EnterFrame(), perhaps too deep. */
step_outcome
_PyStackless_EnterDeep(PyThreadState *tstate, _PyInterpreterFrame *frame)
{
    _PyInterpreterFrame *caller = tstate->current_frame;
    frame->previous = caller;
    frame->return_offset = 0;
    tstate->current_frame = frame;
    if (enter_recursion(tstate) < 0) {
        tstate->py_recursion_remaining++;
        tstate->current_frame = caller;
        _PyEval_FrameClearAndPop(tstate, frame);
        return STEP_FAILED;
    }
    return STEP_PUSHED;
}

/* May the frame be anywhere?  (RETURN_GENERATOR takes it off the data stack.) */
static inline int
is_plain(PyCodeObject *code)
{
    return (code->co_flags & (CO_OPTIMIZED | CO_GENERATOR | CO_COROUTINE
                              | CO_ASYNC_GENERATOR)) == CO_OPTIMIZED;
}

/* Is it so, and the arguments can be copied into the frame as they are? */
static inline int
is_simple(PyCodeObject *code, int nargs)
{
    enum {
        WANTED = CO_OPTIMIZED,
        UNWANTED = CO_VARARGS | CO_VARKEYWORDS
                   | CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR,
    };
    return ((code->co_argcount ^ nargs) | code->co_kwonlyargcount
            | ((code->co_flags & (WANTED | UNWANTED)) ^ WANTED)) == 0;
}

static inline void
copy_arguments(PyObject **to, PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (self != NULL) {
        *to++ = Py_NewRef(self);
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        to[i] = Py_NewRef(args[i]);
    }
}

static Py_NO_INLINE _PyInterpreterFrame *
make_frame_slow(PyThreadState *tstate, PyObject *func, PyObject *self,
                PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *small[8];
    PyObject **stack = small;
    Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (total >= (Py_ssize_t)Py_ARRAY_LENGTH(small)) {
        stack = PyMem_New(PyObject *, total + 1);
        if (stack == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
    }
    copy_arguments(stack, self, args, total);
    int flags = ((PyCodeObject *)PyFunction_GET_CODE(func))->co_flags;
    PyObject *locals = flags & CO_OPTIMIZED ? NULL
                                            : Py_NewRef(PyFunction_GET_GLOBALS(func));
    _PyInterpreterFrame *frame = _PyEvalFramePushAndInit(
        tstate, (PyFunctionObject *)Py_NewRef(func), locals, stack, nargs + (self != NULL),
        kwnames);
    if (stack != small) {
        PyMem_Free(stack);
    }
    return frame;
}

/* A simple frame is in a block of its own from the beginning: a switch does not have to
   move it.  The locals beyond the arguments are not set. */
static inline void
init_frame(_PyInterpreterFrame *frame, PyObject *func, PyCodeObject *code, PyObject *self,
           PyObject *const *args, Py_ssize_t nargs)
{
    _PyFrame_Initialize(frame, (PyFunctionObject *)Py_NewRef(func), NULL, code,
                        code->co_nlocalsplus);
    frame->owner = FRAME_OWNED_BY_TASKLET;
    copy_arguments(frame->localsplus, self, args, nargs);
}

/* Sets them.  (Out of line, and called last: its callers have nothing to save for it.) */
static Py_NO_INLINE step_outcome
init_other_locals(_PyInterpreterFrame *frame, PyCodeObject *code)
{
    for (int i = code->co_argcount; i < code->co_nlocalsplus; i++) {
        frame->localsplus[i] = NULL;
    }
    return STEP_PUSHED;
}

/* A frame in a block of its own, for arguments that are not simply the parameters.  NULL
   without an exception: to be made in another way. */
static Py_NO_INLINE _PyInterpreterFrame *
make_bound_frame(PyThreadState *tstate, PyObject *func, const stackless_arguments *all)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    PyCodeObject *code = (PyCodeObject *)PyFunction_GET_CODE(func);
    size_t words = (size_t)code->co_framesize;
    if (words >= Py_ARRAY_LENGTH(sched->kept) || !is_plain(code)) {
        return NULL;
    }
    _PyInterpreterFrame *frame = _PyStackless_AllocFrame(sched, words);
    if (frame == NULL) {
        return NULL;
    }
    if (!_PyStackless_BindArguments((PyFunctionObject *)func, frame->localsplus, all)) {
        _PyStackless_FreeFrame(sched, frame, words);
        return NULL;
    }
    _PyFrame_Initialize(frame, (PyFunctionObject *)Py_NewRef(func), NULL, code,
                        code->co_nlocalsplus);
    frame->owner = FRAME_OWNED_BY_TASKLET;
    return frame;
}

_PyInterpreterFrame *
_PyStackless_MakeFrame(PyThreadState *tstate, PyObject *func, PyObject *self,
                       PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    PyCodeObject *code = (PyCodeObject *)PyFunction_GET_CODE(func);
    size_t words = (size_t)code->co_framesize;
    if (kwnames != NULL || words >= Py_ARRAY_LENGTH(sched->kept) || nargs >= INT_MAX
        || !is_simple(code, (int)nargs + (self != NULL))) {
        stackless_arguments all = { .self = self, .args = args, .nargs = nargs,
                                    .kwnames = kwnames };
        _PyInterpreterFrame *frame = make_bound_frame(tstate, func, &all);
        return frame != NULL ? frame
                             : make_frame_slow(tstate, func, self, args, nargs, kwnames);
    }
    _PyInterpreterFrame *frame = _PyStackless_AllocFrame(sched, words);
    if (frame == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    init_frame(frame, func, code, self, args, nargs);
    (void)init_other_locals(frame, code);
    return frame;
}

step_outcome
_PyStackless_PushStarred(PyThreadState *tstate, PyObject *func, PyObject *self,
                         PyObject *args, PyObject *kwargs)
{
    PyObject *const *items = &PyTuple_GET_ITEM(args, 0);
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);
    stackless_arguments all = { .self = self, .args = items, .nargs = nargs, .tuple = args,
                                .kwargs = kwargs };
    _PyInterpreterFrame *frame = make_bound_frame(tstate, func, &all);
    if (frame == NULL) {
        PyObject *kwnames;
        PyObject *const *unpacked = _PyStack_UnpackDict(tstate, items, nargs, kwargs,
                                                        &kwnames);
        if (unpacked == NULL) {
            return STEP_FAILED;
        }
        frame = make_frame_slow(tstate, func, self, unpacked, nargs, kwnames);
        _PyStack_UnpackDict_Free(unpacked, nargs, kwnames);
    }
    return frame ? _PyStackless_EnterFrame(tstate, frame) : STEP_FAILED;
}

Py_NO_INLINE step_outcome
_PyStackless_PushFunctionKw(PyThreadState *tstate, PyObject *func, PyObject *self,
                            PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    _PyInterpreterFrame *frame = _PyStackless_MakeFrame(tstate, func, self, args, nargs,
                                                        kwnames);
    return frame ? _PyStackless_EnterFrame(tstate, frame) : STEP_FAILED;
}

/* Nothing has to be saved for a call if there is a block for a simple frame. */
step_outcome
_PyStackless_PushPositional(PyThreadState *tstate, PyObject *func, PyObject *self,
                            PyObject *const *args, Py_ssize_t nargs)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    PyCodeObject *code = (PyCodeObject *)PyFunction_GET_CODE(func);
    size_t words = (size_t)code->co_framesize;
    if (!_PyStackless_KeepsFrame(sched, words) || nargs >= INT_MAX
        || !is_simple(code, (int)nargs + (self != NULL))
        || tstate->py_recursion_remaining <= 0) {
        return _PyStackless_PushFunctionKw(tstate, func, self, args, nargs, NULL);
    }
    _PyInterpreterFrame *frame = _PyStackless_TakeFrame(sched, words);
    init_frame(frame, func, code, self, args, nargs);
    frame->previous = tstate->current_frame;
    tstate->current_frame = frame;
    tstate->py_recursion_remaining--;
    return code->co_nlocalsplus == code->co_argcount ? STEP_PUSHED
                                                     : init_other_locals(frame, code);
}

step_outcome
_PyStackless_CallSpecial(PyThreadState *tstate, PyObject *self, PyObject *name,
                         PyObject *const *args, Py_ssize_t nargs, PyObject **value)
{
    PyObject *method = Py_XNewRef(_PyType_Lookup(Py_TYPE(self), name));
    if (method == NULL) {
        return STEP_MISSING;
    }
    step_outcome outcome;
    if (_PyStackless_IsPythonFunction(method)) {
        outcome = _PyStackless_PushFunction(tstate, method, self, args, nargs, NULL);
    }
    else {
        descrgetfunc get = Py_TYPE(method)->tp_descr_get;
        if (get != NULL) {
            Py_SETREF(method, get(method, self, (PyObject *)Py_TYPE(self)));
        }
        *value = method ? PyObject_Vectorcall(method, args, nargs, NULL) : NULL;
        outcome = *value ? STEP_DONE : STEP_FAILED;
    }
    Py_XDECREF(method);
    return outcome;
}

/* --- continuations ------------------------------------------------------------ */

static inline _PyInterpreterFrame *
init_continuation(PyThreadState *tstate, _PyInterpreterFrame *frame, continuation_kind kind,
                  PyObject *a, PyObject *b, PyObject *c, PyObject *number)
{
    PyCodeObject *code = _PyStackless_ContinuationCode;
    frame->f_executable = (PyObject *)code;
    frame->previous = tstate->current_frame;
    frame->f_funcobj = Py_None;
    frame->f_globals = NULL;
    frame->f_builtins = NULL;
    frame->f_locals = NULL;
    frame->frame_obj = NULL;
    frame->instr_ptr = _PyCode_CODE(code);
    frame->stacktop = STATE_SIZE;
    frame->return_offset = RETURNED;
    frame->owner = FRAME_OWNED_BY_TASKLET;
    frame->localsplus[STATE_KIND] = continuation_make_number(kind);   // small
    frame->localsplus[STATE_A] = a;
    frame->localsplus[STATE_B] = b;
    frame->localsplus[STATE_C] = c;
    frame->localsplus[STATE_NUMBER] = number;
    tstate->current_frame = frame;
    return frame;
}

static Py_NO_INLINE _PyInterpreterFrame *
push_state_slow(PyThreadState *tstate, continuation_kind kind, PyObject *a, PyObject *b,
                PyObject *c, PyObject *number)
{
    _PyInterpreterFrame *frame = NULL;
    if (number != NULL) {
        frame = _PyStackless_AllocFrame(_PyStackless_PeekScheduler(tstate),
                                        CONTINUATION_WORDS);
        if (frame == NULL) {
            PyErr_NoMemory();
        }
    }
    if (frame == NULL) {
        PyObject *exc = PyErr_GetRaisedException();
        Py_XDECREF(a);
        Py_XDECREF(b);
        Py_XDECREF(c);
        Py_XDECREF(number);
        PyErr_SetRaisedException(exc);
        return NULL;
    }
    return init_continuation(tstate, frame, kind, a, b, c, number);
}

/* Nothing has to be saved for a call if there is a block. */
_PyInterpreterFrame *
_PyStackless_PushState(PyThreadState *tstate, continuation_kind kind, PyObject *a,
                       PyObject *b, PyObject *c, PyObject *number)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (number == NULL || !_PyStackless_KeepsFrame(sched, CONTINUATION_WORDS)) {
        return push_state_slow(tstate, kind, a, b, c, number);
    }
    return init_continuation(tstate, _PyStackless_TakeFrame(sched, CONTINUATION_WORDS),
                             kind, a, b, c, number);
}

static inline void
pop_continuation(PyThreadState *tstate, _PyInterpreterFrame *c)
{
    assert(c->stacktop == STATE_SIZE && c->frame_obj == NULL);
    tstate->current_frame = c->previous;
    for (int i = STATE_A; i < STATE_SIZE; i++) {
        Py_XDECREF(c->localsplus[i]);
    }
    _PyStackless_FreeFrame(_PyStackless_PeekScheduler(tstate), c, CONTINUATION_WORDS);
}

static inline step_event
event_of(step_outcome outcome)
{
    return outcome == STEP_FAILED ? AT_RAISE
           : outcome == STEP_BEGIN ? AT_START
           : outcome == STEP_YIELDED ? AT_YIELD : AT_RETURN;
}

/* Runs a step of `c`, which is tstate->current_frame, and pops it, unless a frame was
   pushed. */
static inline step_outcome
run_step(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event, PyObject **value)
{
    c->instr_ptr = _PyCode_CODE(_PyStackless_ContinuationCode);        // waits
    /* (A small number.) */
    PyLongObject *kind = (PyLongObject *)c->localsplus[STATE_KIND];
    step_outcome outcome = steps[kind->long_value.ob_digit[0]](tstate, c, event, value);
    if (outcome == STEP_PUSHED) {
        return outcome;
    }
    assert((outcome == STEP_FAILED) == (tstate->current_exception != NULL));
    if (tstate->current_frame == c) {
        pop_continuation(tstate, c);
    }
    assert(outcome != STEP_FAILED || *value == NULL);
    return outcome;
}

/* The instruction has ended.  Returns its frame, to go on with. */
static inline _PyInterpreterFrame *
end_steps(_PyInterpreterFrame *frame, PyObject *value)
{
    if (value != NULL) {
        _PyFrame_StackPush(frame, value);
    }
    return frame;
}

/* Runs the steps of tstate->current_frame and of its callers, until a frame was pushed
   or an instruction has ended.  Returns the frame to go on with. */
static Py_NO_INLINE _PyInterpreterFrame *
run_steps(PyThreadState *tstate, step_event event, PyObject *value)
{
    while (_PyStackless_IsContinuation(tstate->current_frame)) {
        step_outcome outcome = run_step(tstate, tstate->current_frame, event, &value);
        if (outcome == STEP_PUSHED) {
            return tstate->current_frame;
        }
        event = event_of(outcome);
    }
    return end_steps(tstate->current_frame, value);
}

void
_PyStackless_ExceptionIsLost(PyThreadState *tstate)
{
    _PyErr_SetString(tstate, PyExc_SystemError, "error return without exception set");
}

static inline PyObject *
continuation_kind_object(continuation_kind kind)
{
    return (PyObject *)&_PyLong_SMALL_INTS[_PY_NSMALLNEGINTS + kind];
}

/* The commonest ends: __next__() or __init__() has returned to an instruction. */
static inline int
end_quickly(PyThreadState *tstate, _PyInterpreterFrame *c)
{
    PyObject *kind = c->localsplus[STATE_KIND];
    _PyInterpreterFrame *frame = c->previous;
    if (tstate->current_exception != NULL || c->stacktop != STATE_SIZE + 1
        || c->instr_ptr != _PyCode_CODE(_PyStackless_ContinuationCode) + RETURNED
        || _PyStackless_IsContinuation(frame)) {
        return 0;
    }
    PyObject *value = c->localsplus[STATE_SIZE];
    if (kind == continuation_kind_object(CONTINUE_ITEM)) {
        if (!_Py_IsImmortal(c->localsplus[STATE_NUMBER])) {
            return 0;
        }
    }
    else if (kind == continuation_kind_object(CONTINUE_INIT) && value == Py_None) {
        value = c->localsplus[STATE_A];
    }
    else {
        return 0;
    }
    tstate->current_frame = frame;
    _PyFrame_StackPush(frame, value);
    _PyStackless_FreeFrame(_PyStackless_PeekScheduler(tstate), c, CONTINUATION_WORDS);
    return 1;
}

_PyInterpreterFrame *
_PyStackless_Continue(PyThreadState *tstate, _PyInterpreterFrame *c)
{
    if (end_quickly(tstate, c)) {
        return tstate->current_frame;
    }
    step_event event = AT_RAISE;
    PyObject *value = NULL;
    if (tstate->current_exception == NULL) {
        if (c->stacktop == STATE_SIZE) {
            _PyStackless_ExceptionIsLost(tstate);
        }
        else {
            static_assert((int)AT_RETURN == RETURNED && (int)AT_YIELD == YIELDED,
                          "the position is the event");
            event = (step_event)(c->instr_ptr - _PyCode_CODE(_PyStackless_ContinuationCode));
            value = c->localsplus[STATE_SIZE];
            c->stacktop = STATE_SIZE;
        }
    }
    /* Mostly there is one continuation with one step. */
    step_outcome outcome = run_step(tstate, c, event, &value);
    c = tstate->current_frame;
    if (outcome == STEP_PUSHED) {
        return c;
    }
    if (_PyStackless_IsContinuation(c)) {
        return run_steps(tstate, event_of(outcome), value);
    }
    return end_steps(c, value);
}

/* The context that the continuation has entered, or NULL. */
static PyContext *
entered_context(_PyInterpreterFrame *c)
{
    switch (continuation_get(c, STATE_KIND)) {
        case CONTINUE_CONTEXT:
            return (PyContext *)c->localsplus[STATE_A];
        case CONTINUE_TASK:
            return (PyContext *)_PyStackless_TaskContext(c);
        default:
            return NULL;
    }
}

/* As PyContext_Exit() does it.  What the tasklet then has no longer is dropped with the
   frame. */
static void
leave_context(PyObject **current, _PyInterpreterFrame *c, PyContext *context)
{
    assert(c->stacktop == STATE_SIZE);
    PyObject *previous = (PyObject *)context->ctx_prev;
    context->ctx_prev = NULL;
    context->ctx_entered = 0;
    if (*current == (PyObject *)context) {
        *current = previous;
        previous = (PyObject *)context;
    }
    if (previous != NULL) {
        _PyFrame_StackPush(c, previous);
    }
}

void
_PyStackless_LeaveContexts(PyTaskletObject *t, _PyInterpreterFrame *frame)
{
    for (; frame != NULL && frame->owner != FRAME_OWNED_BY_CSTACK; frame = frame->previous) {
        PyContext *context = _PyStackless_IsContinuation(frame) ? entered_context(frame) : NULL;
        if (context != NULL && context->ctx_entered) {
            leave_context(context_of(t), frame, context);
        }
    }
}

void
_PyStackless_AbandonFrame(_PyStackless_Scheduler *sched, _PyInterpreterFrame *frame)
{
    if (!_PyStackless_IsContinuation(frame)) {
        return;
    }
    switch (continuation_get(frame, STATE_KIND)) {
        case CONTINUE_TASK:
            _PyStackless_AbandonTask(sched, frame);
            break;
        case CONTINUE_SORT:
            _PyStackless_AbandonSort(frame);
            break;
        case CONTINUE_ASYNC:
            _PyStackless_AbandonAsync(frame);
            break;
        case CONTINUE_THROW:
            if (continuation_number(frame) != 0) {
                ((PyGenObject *)frame->localsplus[STATE_A])->gi_frame_state
                    = FRAME_SUSPENDED_YIELD_FROM;
            }
    }
}

/* The outcome is not that a frame was pushed. */
int
_PyStackless_DeliverEnd(PyThreadState *tstate, step_outcome outcome, PyObject *value,
                        PyObject **stack_pointer, int pops)
{
    /* The instruction's values take the place of its first operands. */
    PyObject **operands = stack_pointer - pops;
    PyObject *first = pops > 0 ? operands[0] : NULL;
    PyObject *second = pops > 1 ? operands[1] : NULL;
    (void)run_steps(tstate, event_of(outcome), value);
    Py_XDECREF(first);
    Py_XDECREF(second);
    for (int i = 2; i < pops; i++) {
        Py_XDECREF(operands[i]);
    }
    return 1;
}

/* --- the slots of Python classes ---------------------------------------------- */

struct _PyStackless_PythonSlots _PyStackless_PythonSlots;

static const char probe_source[] =
    "names = '''add sub mul matmul truediv floordiv mod pow lshift rshift and or xor\n"
    "'''.split()\n"
    "def method(self, *args): return method\n"
    "every = ['__' + p + n + '__' for n in names for p in ('', 'r', 'i')]\n"
    "every += ['__' + n + '__' for n in '''neg pos invert bool len contains getitem\n"
    "    setitem delitem iter next call init new get set delete getattr setattr\n"
    "    delattr lt le gt ge eq ne hash await aiter anext'''.split()]\n"
    "probe = type('probe', (), dict.fromkeys(every, method))\n";

int
_PyStackless_InitInlining(void)
{
    PyObject *globals = Py_BuildValue("{s:O}", "__builtins__",
                                      PyInterpreterState_Get()->builtins_copy);
    PyObject *code = Py_CompileString(probe_source, "<stackless>", Py_file_input);
    PyObject *res = globals && code ? PyEval_EvalCode(code, globals, globals) : NULL;
    if (res != NULL) {
        PyTypeObject *probe = (PyTypeObject *)PyDict_GetItemString(globals, "probe");
        struct _PyStackless_PythonSlots *slots = &_PyStackless_PythonSlots;
        slots->number = *probe->tp_as_number;
        slots->sequence = *probe->tp_as_sequence;
        slots->mapping = *probe->tp_as_mapping;
        slots->async = *probe->tp_as_async;
        slots->type = *probe;
    }
    int err = res == NULL;
    Py_XDECREF(code);
    Py_XDECREF(globals);
    Py_XDECREF(res);
    return err ? -1 : _PyStackless_InitCalls();
}

/* --- the hook of the instructions --------------------------------------------- */

/* The others are calls, perhaps specialised ones that turned out not to be. */
static instruction_hook *const hooks[256] = {
    [BINARY_OP] = _PyStackless_BinaryOp,
    [COMPARE_OP] = _PyStackless_CompareOp,
    [CONTAINS_OP] = _PyStackless_ContainsOp,
    [TO_BOOL] = _PyStackless_ToBool,
    [UNARY_NEGATIVE] = _PyStackless_Negative,
    [UNARY_INVERT] = _PyStackless_Invert,
    [CALL_INTRINSIC_1] = _PyStackless_Intrinsic,
    [BINARY_SUBSCR] = _PyStackless_BinarySubscr,
    [BINARY_SLICE] = _PyStackless_BinarySlice,
    [STORE_SUBSCR] = _PyStackless_StoreSubscr,
    [STORE_SLICE] = _PyStackless_StoreSlice,
    [DELETE_SUBSCR] = _PyStackless_DeleteSubscr,
    [LOAD_ATTR] = _PyStackless_LoadAttr,
    [STORE_ATTR] = _PyStackless_StoreAttr,
    [DELETE_ATTR] = _PyStackless_DeleteAttr,
    [GET_ITER] = _PyStackless_GetIter,
    [FOR_ITER] = _PyStackless_ForIter,
    [INSTRUMENTED_FOR_ITER] = _PyStackless_InstrumentedForIter,
    [SEND] = _PyStackless_Send,
    [GET_AWAITABLE] = _PyStackless_GetAwaitable,
    [GET_AITER] = _PyStackless_GetAIter,
    [BEFORE_WITH] = _PyStackless_BeforeWith,
    [BEFORE_ASYNC_WITH] = _PyStackless_BeforeAsyncWith,
    [WITH_EXCEPT_START] = _PyStackless_WithExceptStart,
    [CALL_KW] = _PyStackless_CallKw,
    [CALL_FUNCTION_EX] = _PyStackless_CallEx,
    [INSTRUMENTED_CALL] = _PyStackless_InstrumentedCall,
    [INSTRUMENTED_CALL_KW] = _PyStackless_InstrumentedCallKw,
    [INSTRUMENTED_CALL_FUNCTION_EX] = _PyStackless_InstrumentedCallEx,
};

int
_PyStackless_InlineInstruction(PyThreadState *tstate, _PyInterpreterFrame *frame,
                               PyObject **stack_pointer, int opcode, int oparg)
{
    if (tstate->interp->eval_frame != NULL) {
        return 0;
    }
    instruction_hook *hook = hooks[opcode];
    return (hook != NULL ? hook : _PyStackless_Call)(tstate, frame, stack_pointer, oparg);
}
