/* Iteration, `await` and `with` where the methods are Python functions, and the methods of
   generators. */

#include "Python.h"
#include "pycore_call.h"
#include "pycore_ceval.h"         // _PyEval_MonitorRaise()
#include "pycore_code.h"          // INLINE_CACHE_ENTRIES_FOR_ITER
#include "pycore_genobject.h"     // _PyGen_FetchStopIterationValue()
#include "pycore_global_strings.h" // _Py_ID()
#include "pycore_instruments.h"   // _Py_call_instrumentation_jump()
#include "pycore_object.h"
#include "pycore_pyerrors.h"      // _PyErr_ChainStackItem()
#include "pycore_runtime.h"
#include "Stackless/inline/asyncio.h" // _PyStackless_CanThrow()
#include "Stackless/inline/inline.h"

step_outcome
_PyStackless_EnterGenerator(PyThreadState *tstate, PyGenObject *gen, PyObject *arg)
{
    assert(gen->gi_frame_state < FRAME_EXECUTING);
    _PyInterpreterFrame *frame = (_PyInterpreterFrame *)gen->gi_iframe;
    _PyFrame_StackPush(frame, Py_NewRef(arg));
    gen->gi_frame_state = FRAME_EXECUTING;
    gen->gi_exc_state.previous_item = tstate->exc_info;
    tstate->exc_info = &gen->gi_exc_state;
    return _PyStackless_EnterFrame(tstate, frame);
}

/* --- iter() ------------------------------------------------------------------- */

step_outcome
_PyStackless_IterStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                      PyObject **value)
{
    if (event == AT_RAISE) {
        return STEP_FAILED;
    }
    if (!PyIter_Check(*value)) {
        PyErr_Format(PyExc_TypeError, "iter() returned non-iterator of type '%.100s'",
                     Py_TYPE(*value)->tp_name);
        Py_CLEAR(*value);
        return STEP_FAILED;
    }
    return STEP_DONE;
}

int
_PyStackless_GetIter(PyThreadState *tstate, _PyInterpreterFrame *frame,
                     PyObject **stack_pointer, int oparg)
{
    PyObject *iterable = stack_pointer[-1];
    PyObject *method;
    if (Py_TYPE(iterable)->tp_iter != _PyStackless_PythonSlots.type.tp_iter
        || !(method = _PyStackless_PythonMethod(Py_TYPE(iterable), &_Py_ID(__iter__)))) {
        return 0;
    }
    return _PyStackless_BeginCall(tstate, frame, stack_pointer, 1, 1, CONTINUE_ITER,
                                  NULL, NULL, 0, method, iterable, NULL, 0);
}

/* --- next(), send() ----------------------------------------------------------- */

/* What a generator returned, which *value is, becomes StopIteration. */
static step_outcome
stop_iteration(PyObject **value)
{
    if (*value == Py_None) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    else {
        (void)_PyGen_SetStopIterationValue(*value);
    }
    Py_CLEAR(*value);
    return STEP_FAILED;
}

/* State: next()'s default, or NULL; the iterator; 1 if it is a generator. */
step_outcome
_PyStackless_NextStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                      PyObject **value)
{
    if (event == AT_YIELD) {
        return STEP_DONE;
    }
    PyObject *fallback = c->localsplus[STATE_A];
    int is_generator = continuation_number(c) != 0;
    if (event == AT_RAISE) {
        if (fallback == NULL || !PyErr_ExceptionMatches(PyExc_StopIteration)) {
            return STEP_FAILED;
        }
        PyErr_Clear();
        *value = Py_NewRef(fallback);
        return STEP_DONE;
    }
    if (!is_generator) {
        return STEP_DONE;
    }
    if (fallback != NULL) {
        Py_SETREF(*value, Py_NewRef(fallback));
        return STEP_DONE;
    }
    return stop_iteration(value);
}

step_outcome
_PyStackless_CallNext(PyThreadState *tstate, PyObject *iter, PyObject *fallback)
{
    int is_generator = PyGen_CheckExact(iter);
    if (!is_generator && fallback == NULL) {
        PyObject *method = _PyStackless_PythonMethod(Py_TYPE(iter), &_Py_ID(__next__));
        return _PyStackless_PushFunction(tstate, method, iter, NULL, 0, NULL);
    }
    if (!_PyStackless_PushContinuation(tstate, CONTINUE_NEXT, fallback, iter, NULL,
                                       is_generator)) {
        return STEP_FAILED;
    }
    if (is_generator) {
        return _PyStackless_EnterGenerator(tstate, (PyGenObject *)iter, Py_None);
    }
    PyObject *method = _PyStackless_PythonMethod(Py_TYPE(iter), &_Py_ID(__next__));
    return _PyStackless_PushFunction(tstate, method, iter, NULL, 0, NULL);
}

/* A generator's send() or throw().  State: the generator, which nobody else may own. */
step_outcome
_PyStackless_GeneratorStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                           PyObject **value)
{
    if (event != AT_RETURN) {
        return event == AT_RAISE ? STEP_FAILED : STEP_DONE;
    }
    return stop_iteration(value);
}

step_outcome
_PyStackless_CallSend(PyThreadState *tstate, PyObject *gen, PyObject *arg)
{
    if (!_PyStackless_PushContinuation(tstate, CONTINUE_GENERATOR, gen, NULL, NULL, 0)) {
        return STEP_FAILED;
    }
    return _PyStackless_EnterGenerator(tstate, (PyGenObject *)gen, arg);
}

/* --- throw() ------------------------------------------------------------------ */

/* As upstream's, it goes first to what a generator delegates to, and so on.  On top of the
   frame of each that delegates there is a continuation, which stands for the C function:
   it lets the generator yield what the other one yields, or raises in it what comes of
   the exception.  While that is under way a generator is as in send(). */

static int
is_generator(PyObject *op)
{
    return PyGen_CheckExact(op) || PyCoro_CheckExact(op);
}

static _PyInterpreterFrame *
generator_frame(PyGenObject *gen)
{
    return (_PyInterpreterFrame *)gen->gi_iframe;
}

/* Has it no throw(), or one that is simply a method of its class? */
static int
has_plain_throw(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    if (type->tp_getattro != PyObject_GenericGetAttr
        || !_PyStackless_InstanceLacks(op, &_Py_ID(throw))) {
        return 0;
    }
    PyObject *method = _PyType_Lookup(type, &_Py_ID(throw));
    return method == NULL || Py_IS_TYPE(method, &PyMethodDescr_Type)
           || _PyStackless_IsPythonFunction(method);
}

int
_PyStackless_CanThrow(PyObject *op, PyObject *exc)
{
    while (is_generator(op)) {
        PyGenObject *gen = (PyGenObject *)op;
        if (gen->gi_frame_state == FRAME_SUSPENDED) {
            return 1;
        }
        if (gen->gi_frame_state != FRAME_SUSPENDED_YIELD_FROM
            || PyErr_GivenExceptionMatches(exc, PyExc_GeneratorExit)) {
            return 0;                  // the latter closes what it delegates to
        }
        op = _PyFrame_StackPeek(generator_frame(gen));
    }
    return has_plain_throw(op);
}

/* What is done around the eval loop where that is entered to raise, in `frame`, the
   exception that is set. */
static void
announce_throw(PyThreadState *tstate, _PyInterpreterFrame *frame)
{
    _PyErr_ChainStackItem();
    PyInterpreterState *interp = tstate->interp;
    PyObject *exc = PyErr_GetRaisedException();
    if (_Py_Instrument(_PyFrame_GetCode(frame), interp) < 0) {
        PyErr_Clear();
    }
    if (interp->monitors.tools[PY_MONITORING_EVENT_PY_THROW] != 0
        && _Py_call_instrumentation_arg(tstate, PY_MONITORING_EVENT_PY_THROW, frame,
                                        frame->instr_ptr, exc) != 0) {
        Py_DECREF(exc);
        return;
    }
    PyErr_SetRaisedException(exc);
}

/* The generator's frame is entered with the exception set, which the eval loop then
   raises in it. */
static step_outcome
enter_raising(PyThreadState *tstate, PyGenObject *gen)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (_PyStackless_EnterGenerator(tstate, gen, Py_None) == STEP_FAILED) {
        Py_DECREF(exc);
        return STEP_FAILED;
    }
    PyErr_SetRaisedException(exc);
    announce_throw(tstate, tstate->current_frame);
    return STEP_PUSHED;
}

/* No longer executing, after a delegation that is over. */
static void
suspend_delegating(PyThreadState *tstate, PyGenObject *gen)
{
    gen->gi_frame_state = FRAME_SUSPENDED_YIELD_FROM;
    tstate->exc_info = gen->gi_exc_state.previous_item;
    gen->gi_exc_state.previous_item = NULL;
    generator_frame(gen)->previous = NULL;
}

/* The generator, on whose frame the continuation is, delegates throw(). */
step_outcome
_PyStackless_DelegateStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                          PyObject **value)
{
    _PyInterpreterFrame *frame = c->previous;
    if (event == AT_YIELD) {
        c->previous = frame->previous;
        suspend_delegating(tstate, _PyFrame_GetGenerator(frame));
        return STEP_YIELDED;
    }
    if (event == AT_RETURN) {
        (void)stop_iteration(value);
    }
    tstate->py_recursion_remaining--;              // its level: while it delegated it had none
    _PyFrame_StackPush(frame, Py_None);            // immortal: what it was sent
    announce_throw(tstate, frame);
    return STEP_FAILED;
}

static int
begin_delegating(PyThreadState *tstate, PyGenObject *gen)
{
    if (tstate->py_recursion_remaining <= 0) {
        PyErr_SetString(PyExc_RecursionError, "maximum recursion depth exceeded");
        return -1;
    }
    _PyInterpreterFrame *frame = generator_frame(gen);
    _PyInterpreterFrame *caller = tstate->current_frame;
    frame->previous = caller;
    frame->return_offset = 0;
    tstate->current_frame = frame;
    if (!_PyStackless_PushContinuation(tstate, CONTINUE_DELEGATE, NULL, NULL, NULL, 0)) {
        tstate->current_frame = caller;
        frame->previous = NULL;
        return -1;
    }
    gen->gi_frame_state = FRAME_EXECUTING;
    gen->gi_exc_state.previous_item = tstate->exc_info;
    tstate->exc_info = &gen->gi_exc_state;
    return 0;
}

/* The generator delegates throw() to a Python function.  Upstream calls it with gen's frame
   out of the way.  State: the generator; 1 until the function has returned, what it then
   yields. */
step_outcome
_PyStackless_ThrowStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                       PyObject **value)
{
    PyGenObject *gen = (PyGenObject *)c->localsplus[STATE_A];
    if (continuation_number(c) == 0) {
        return event == AT_RAISE ? STEP_FAILED : event == AT_YIELD ? STEP_YIELDED : STEP_DONE;
    }
    (void)continuation_set_number(c, 0);              // small
    gen->gi_frame_state = FRAME_SUSPENDED_YIELD_FROM;
    return event == AT_RAISE ? enter_raising(tstate, gen) : STEP_YIELDED;
}

/* gen delegates to something else: calls its throw(), the Python function `method`. */
static step_outcome
throw_in_python(PyThreadState *tstate, PyGenObject *gen, PyObject *method, PyObject *exc)
{
    if (!_PyStackless_PushContinuation(tstate, CONTINUE_THROW, (PyObject *)gen, NULL, NULL,
                                       1)) {
        return STEP_FAILED;
    }
    PyObject *to = _PyFrame_StackPeek(generator_frame(gen));
    gen->gi_frame_state = FRAME_EXECUTING;
    return _PyStackless_PushFunction(tstate, method, to, &exc, 1, NULL);
}

/* Likewise in C.  What it yields, or NULL with an exception. */
static PyObject *
throw_in_c(PyGenObject *gen, PyObject *exc)
{
    PyObject *to = Py_NewRef(_PyFrame_StackPeek(generator_frame(gen)));
    gen->gi_frame_state = FRAME_EXECUTING;
    PyObject *result = PyObject_CallMethodOneArg(to, &_Py_ID(throw), exc);
    gen->gi_frame_state = FRAME_SUSPENDED_YIELD_FROM;
    Py_DECREF(to);
    return result;
}

/* Throws `exc` (stolen) into gen itself. */
static step_outcome
throw_here(PyThreadState *tstate, PyGenObject *gen, PyObject *exc)
{
    if (PyExceptionClass_Check(exc)) {
        PyErr_Restore(exc, NULL, NULL);
        if (gen->gi_frame_state >= FRAME_EXECUTING) {
            /* The making of it has run the generator. */
            exc = PyErr_GetRaisedException();
            PyObject *result = PyObject_CallMethodOneArg((PyObject *)gen, &_Py_ID(throw), exc);
            assert(result == NULL);
            (void)result;
            Py_DECREF(exc);
            return STEP_FAILED;
        }
    }
    else {
        PyErr_SetRaisedException(exc);
    }
    return enter_raising(tstate, gen);
}

step_outcome
_PyStackless_EnterThrow(PyThreadState *tstate, PyObject *op, PyObject *exc,
                        PyObject **value)
{
    assert(_PyStackless_CanThrow(op, exc));
    PyGenObject *gen = (PyGenObject *)op;
    while (gen->gi_frame_state == FRAME_SUSPENDED_YIELD_FROM) {
        PyObject *to = _PyFrame_StackPeek(generator_frame(gen));
        PyObject *method = _PyType_Lookup(Py_TYPE(to), &_Py_ID(throw));
        if (is_generator(to)) {
            if (begin_delegating(tstate, gen) < 0) {
                Py_DECREF(exc);
                return STEP_FAILED;
            }
            gen = (PyGenObject *)to;
        }
        else if (method == NULL) {
            break;
        }
        else if (_PyStackless_IsPythonFunction(method)) {
            step_outcome outcome = throw_in_python(tstate, gen, method, exc);
            Py_DECREF(exc);
            return outcome;
        }
        else {
            *value = throw_in_c(gen, exc);
            Py_DECREF(exc);
            return *value ? STEP_YIELDED : enter_raising(tstate, gen);
        }
    }
    return throw_here(tstate, gen, exc);
}

step_outcome
_PyStackless_CallThrow(PyThreadState *tstate, PyObject *gen, PyObject *exc,
                       PyObject **value)
{
    if (!_PyStackless_PushContinuation(tstate, CONTINUE_GENERATOR, gen, NULL, NULL, 0)) {
        return STEP_FAILED;
    }
    return _PyStackless_EnterThrow(tstate, gen, Py_NewRef(exc), value);
}

/* --- for ---------------------------------------------------------------------- */

step_outcome
_PyStackless_Branch(PyThreadState *tstate, _PyInterpreterFrame *frame, int offset)
{
    _Py_CODEUNIT *instr = frame->instr_ptr;
    if (!tstate->tracing && _PyStackless_IsMonitored(frame)) {
        _Py_CODEUNIT *target = _Py_call_instrumentation_jump(
            tstate, PY_MONITORING_EVENT_BRANCH, frame, instr, instr + offset);
        if (target == NULL) {
            _PyStackless_GoOnAt(frame, offset + 1);    // raises at the target, as upstream
            return STEP_FAILED;
        }
        if (target != instr + offset) {
            frame->instr_ptr = target;                 // a debugger jumped
            frame->return_offset = 0;
            return STEP_DONE;
        }
    }
    _PyStackless_GoOnAt(frame, offset);
    return STEP_DONE;
}

/* A generator was exhausted: what gen_iternext() makes of the value it returned, and
   FOR_ITER of that. */
static void
end_of_generator(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **value)
{
    if (*value != Py_None && _PyGen_SetStopIterationValue(*value) == 0) {
        _PyEval_MonitorRaise(tstate, frame, frame->instr_ptr);
        PyErr_Clear();
    }
    Py_CLEAR(*value);
}

static Py_NO_INLINE step_outcome
end_for_iter(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
             PyObject **value)
{
    _PyInterpreterFrame *frame = c->previous;
    long number = continuation_number(c);
    int offset = 1 + INLINE_CACHE_ENTRIES_FOR_ITER;
    int is_generator = c->localsplus[STATE_A] != NULL;
    if (event == AT_RAISE) {
        if (is_generator || !PyErr_ExceptionMatches(PyExc_StopIteration)) {
            return STEP_FAILED;
        }
        _PyEval_MonitorRaise(tstate, frame, frame->instr_ptr);
        PyErr_Clear();
    }
    else if (event == AT_RETURN && is_generator) {
        end_of_generator(tstate, frame, value);
        if (PyErr_Occurred()) {
            return STEP_FAILED;
        }
    }
    if (*value == NULL) {
        /* Past END_FOR and POP_TOP. */
        offset += number / 2 + 2;
        Py_DECREF(_PyFrame_StackPop(frame));
    }
    else {
        _PyFrame_StackPush(frame, *value);
        *value = NULL;
    }
    if (number % 2) {
        return _PyStackless_Branch(tstate, frame, offset);
    }
    _PyStackless_GoOnAt(frame, offset);
    return STEP_DONE;
}

/* State: the generator, if it is one; twice the instruction's argument, + 1 if it is
   instrumented. */
step_outcome
_PyStackless_ForStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                     PyObject **value)
{
    return end_for_iter(tstate, c, event, value);
}

/* The same of an iterator whose __next__ is a Python function, if it is not instrumented. */
step_outcome
_PyStackless_ItemStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                      PyObject **value)
{
    return event == AT_RETURN ? STEP_DONE : end_for_iter(tstate, c, event, value);
}

static inline int
for_iter(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
         int oparg, int instrumented)
{
    PyObject *iter = stack_pointer[-1];
    int size = 1 + INLINE_CACHE_ENTRIES_FOR_ITER;
    if (PyGen_CheckExact(iter)) {
        PyGenObject *gen = (PyGenObject *)iter;
        if (gen->gi_frame_state >= FRAME_EXECUTING) {
            return 0;
        }
        PyInterpreterState *interp = tstate->interp;
        /* As FOR_ITER_GEN does it: returns to END_FOR, if return_offset can say that. */
        int simple = !(instrumented || interp->sys_tracing_threads
                       || interp->sys_profiling_threads)
                     && oparg <= UINT16_MAX - size;
        _PyStackless_Begin(frame, stack_pointer, 0, size + (simple ? oparg : 0));
        step_outcome outcome = STEP_FAILED;
        if (simple
            || _PyStackless_PushContinuation(tstate, CONTINUE_FOR, iter, NULL, NULL,
                                             2L * oparg + instrumented)) {
            outcome = _PyStackless_EnterGenerator(tstate, gen, Py_None);
        }
        return _PyStackless_Deliver(tstate, outcome, NULL, stack_pointer, 0);
    }
    PyObject *method;
    if (Py_TYPE(iter)->tp_iternext != _PyStackless_PythonSlots.type.tp_iternext
        || !(method = _PyStackless_PythonMethod(Py_TYPE(iter), &_Py_ID(__next__)))) {
        return 0;
    }
    return _PyStackless_BeginCall(tstate, frame, stack_pointer, 0, size,
                                  instrumented ? CONTINUE_FOR : CONTINUE_ITEM, NULL, NULL,
                                  2L * oparg + instrumented, method, iter, NULL, 0);
}

int
_PyStackless_ForIter(PyThreadState *tstate, _PyInterpreterFrame *frame,
                     PyObject **stack_pointer, int oparg)
{
    return for_iter(tstate, frame, stack_pointer, oparg, 0);
}

int
_PyStackless_InstrumentedForIter(PyThreadState *tstate, _PyInterpreterFrame *frame,
                                 PyObject **stack_pointer, int oparg)
{
    return for_iter(tstate, frame, stack_pointer, oparg, 1);
}

/* --- yield from, await -------------------------------------------------------- */

/* State: the instruction's argument. */
step_outcome
_PyStackless_SendStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                      PyObject **value)
{
    if (event != AT_RAISE) {
        return STEP_DONE;
    }
    _PyInterpreterFrame *frame = c->previous;
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
        _PyEval_MonitorRaise(tstate, frame, frame->instr_ptr);
    }
    if (_PyGen_FetchStopIterationValue(value) < 0) {
        return STEP_FAILED;
    }
    _PyStackless_GoOnAt(frame, frame->return_offset + (int)continuation_number(c));
    return STEP_DONE;
}

/* What upstream's genobject.c keeps to itself: the awaitable of an async generator's
   __anext__() and asend(), and what its `yield` wraps a value in. */
typedef struct {
    PyObject_HEAD
    PyGenObject *gen;
    PyObject *arg;                // or NULL
    int state;
} async_send;

enum { ASYNC_SEND_INIT, ASYNC_SEND_ITER, ASYNC_SEND_CLOSED };

typedef struct {
    PyObject_HEAD
    PyObject *value;
} async_value;

/* Its generator, if that can go on with what sending None to the awaitable gives it, which
   is *arg.  Otherwise NULL: the instruction says what is wrong. */
static PyGenObject *
async_generator(async_send *sending, PyObject **arg)
{
    if (Py_TYPE(sending)->tp_basicsize != sizeof(async_send)) {
        return NULL;
    }
    PyGenObject *gen = sending->gen;
    *arg = Py_None;
    if (sending->state == ASYNC_SEND_INIT && !gen->gi_running_async) {
        *arg = sending->arg != NULL ? sending->arg : Py_None;
    }
    else if (sending->state != ASYNC_SEND_ITER) {
        return NULL;
    }
    return gen->gi_frame_state < FRAME_EXECUTING
           && (*arg == Py_None || gen->gi_frame_state != FRAME_CREATED) ? gen : NULL;
}

static void
end_async_send(async_send *sending)
{
    sending->gen->gi_running_async = 0;
    sending->state = ASYNC_SEND_CLOSED;
}

/* State: the awaitable; the instruction's argument. */
step_outcome
_PyStackless_AsyncStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                       PyObject **value)
{
    async_send *sending = (async_send *)c->localsplus[STATE_A];
    if (event == AT_YIELD && !Py_IS_TYPE(*value, &_PyAsyncGenWrappedValue_Type)) {
        return STEP_DONE;              // by what it awaits
    }
    end_async_send(sending);
    if (event == AT_YIELD) {
        (void)_PyGen_SetStopIterationValue(((async_value *)*value)->value);
    }
    else {
        if (event == AT_RETURN) {
            PyErr_SetNone(PyExc_StopAsyncIteration);
        }
        if (PyErr_ExceptionMatches(PyExc_StopAsyncIteration)
            || PyErr_ExceptionMatches(PyExc_GeneratorExit)) {
            sending->gen->gi_closed = 1;
        }
    }
    Py_CLEAR(*value);
    return _PyStackless_SendStep(tstate, c, AT_RAISE, value);
}

static int
send_to_async(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
              int oparg)
{
    async_send *sending = (async_send *)stack_pointer[-2];
    PyObject *arg;
    PyGenObject *gen = async_generator(sending, &arg);
    if (gen == NULL) {
        return 0;
    }
    _PyStackless_Begin(frame, stack_pointer, 1, 1 + INLINE_CACHE_ENTRIES_SEND);
    step_outcome outcome = STEP_FAILED;
    if (_PyStackless_PushContinuation(tstate, CONTINUE_ASYNC, (PyObject *)sending, NULL, NULL,
                                      oparg)) {
        sending->state = ASYNC_SEND_ITER;
        gen->gi_running_async = 1;
        outcome = _PyStackless_EnterGenerator(tstate, gen, arg);
    }
    return _PyStackless_Deliver(tstate, outcome, NULL, stack_pointer, 1);
}

PyObject *
_PyStackless_AsendGenerator(PyObject *op)
{
    async_send *sending = (async_send *)op;
    return PyAsyncGenASend_CheckExact(op) && Py_TYPE(op)->tp_basicsize == sizeof(async_send)
           ? (PyObject *)sending->gen : NULL;
}

int
_PyStackless_AsendState(PyObject *op, PyObject **arg)
{
    async_send *sending = (async_send *)op;
    if (_PyStackless_AsendGenerator(op) == NULL) {
        return -1;
    }
    *arg = sending->arg;
    return sending->state;
}

int
_PyStackless_SetAsendState(PyObject *op, int state)
{
    async_send *sending = (async_send *)op;
    if (_PyStackless_AsendGenerator(op) == NULL || state < sending->state
        || state > ASYNC_SEND_CLOSED) {
        return -1;
    }
    sending->state = state;
    return 0;
}

void
_PyStackless_AbandonAsync(_PyInterpreterFrame *c)
{
    end_async_send((async_send *)c->localsplus[STATE_A]);
}

int
_PyStackless_Send(PyThreadState *tstate, _PyInterpreterFrame *frame,
                  PyObject **stack_pointer, int oparg)
{
    PyObject *receiver = stack_pointer[-2];
    PyObject *method;
    if (stack_pointer[-1] != Py_None) {
        return 0;
    }
    if (PyAsyncGenASend_CheckExact(receiver)) {
        return send_to_async(tstate, frame, stack_pointer, oparg);
    }
    if (Py_TYPE(receiver)->tp_iternext != _PyStackless_PythonSlots.type.tp_iternext
        || !(method = _PyStackless_PythonMethod(Py_TYPE(receiver), &_Py_ID(__next__)))) {
        return 0;
    }
    return _PyStackless_BeginCall(tstate, frame, stack_pointer, 1,
                                  1 + INLINE_CACHE_ENTRIES_SEND, CONTINUE_SEND, NULL, NULL,
                                  oparg, method, receiver, NULL, 0);
}

static int
is_generator_based_coroutine(PyObject *op)
{
    if (!PyGen_CheckExact(op)) {
        return 0;
    }
    PyCodeObject *code = PyGen_GetCode((PyGenObject *)op);
    int result = (code->co_flags & CO_ITERABLE_COROUTINE) != 0;
    Py_DECREF(code);
    return result;
}

step_outcome
_PyStackless_AwaitStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                       PyObject **value)
{
    if (event == AT_RAISE) {
        return STEP_FAILED;
    }
    if (PyCoro_CheckExact(*value) || is_generator_based_coroutine(*value)) {
        PyErr_SetString(PyExc_TypeError, "__await__() returned a coroutine");
    }
    else if (!PyIter_Check(*value)) {
        PyErr_Format(PyExc_TypeError, "__await__() returned non-iterator of type '%.100s'",
                     Py_TYPE(*value)->tp_name);
    }
    else {
        return STEP_DONE;
    }
    Py_CLEAR(*value);
    return STEP_FAILED;
}

int
_PyStackless_GetAwaitable(PyThreadState *tstate, _PyInterpreterFrame *frame,
                          PyObject **stack_pointer, int oparg)
{
    PyObject *op = stack_pointer[-1];
    PyAsyncMethods *methods = Py_TYPE(op)->tp_as_async;
    PyObject *method;
    if (methods == NULL || methods->am_await != _PyStackless_PythonSlots.async.am_await
        || !(method = _PyStackless_PythonMethod(Py_TYPE(op), &_Py_ID(__await__)))) {
        return 0;
    }
    return _PyStackless_BeginCall(tstate, frame, stack_pointer, 1, 1, CONTINUE_AWAIT,
                                  NULL, NULL, 0, method, op, NULL, 0);
}

step_outcome
_PyStackless_AIterStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                       PyObject **value)
{
    if (event == AT_RAISE) {
        return STEP_FAILED;
    }
    PyAsyncMethods *methods = Py_TYPE(*value)->tp_as_async;
    if (methods == NULL || methods->am_anext == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "'async for' received an object from __aiter__ that does not "
                     "implement __anext__: %.100s", Py_TYPE(*value)->tp_name);
        Py_CLEAR(*value);
        return STEP_FAILED;
    }
    return STEP_DONE;
}

int
_PyStackless_GetAIter(PyThreadState *tstate, _PyInterpreterFrame *frame,
                      PyObject **stack_pointer, int oparg)
{
    PyObject *op = stack_pointer[-1];
    PyAsyncMethods *methods = Py_TYPE(op)->tp_as_async;
    PyObject *method;
    if (methods == NULL || methods->am_aiter != _PyStackless_PythonSlots.async.am_aiter
        || !(method = _PyStackless_PythonMethod(Py_TYPE(op), &_Py_ID(__aiter__)))) {
        return 0;
    }
    return _PyStackless_BeginCall(tstate, frame, stack_pointer, 1, 1, CONTINUE_AITER,
                                  NULL, NULL, 0, method, op, NULL, 0);
}

/* --- with --------------------------------------------------------------------- */

/* The bound __exit__ lives from one end of a `with` to the other, and nobody sees it: the one
   that has been called is kept for the next. */

static PyObject *
bind_exit(PyObject *function, PyObject *manager)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(_PyThreadState_GET());
    if (sched->nkept_methods == 0) {
        return PyMethod_New(function, manager);
    }
    PyMethodObject *method = (PyMethodObject *)sched->kept_methods[--sched->nkept_methods];
    method->im_func = Py_NewRef(function);
    method->im_self = Py_NewRef(manager);
    _PyObject_GC_TRACK(method);
    return (PyObject *)method;
}

/* manager.__exit__, bound (new reference).  NULL: with an exception, or there is none. */
static PyObject *
look_up_exit(PyObject *manager, PyObject *exit)
{
    PyObject *function = _PyStackless_PythonMethod(Py_TYPE(manager), exit);
    return function != NULL ? bind_exit(function, manager)
                            : _PyObject_LookupSpecial(manager, exit);
}

void
_PyStackless_RecycleMethod(_PyStackless_Scheduler *sched, PyObject **slot)
{
    PyMethodObject *method = (PyMethodObject *)*slot;
    if (!_PyStackless_IsLastReference(*slot) || method->im_weakreflist != NULL
        || _PyStackless_IsLastReference(method->im_func)
        || _PyStackless_IsLastReference(method->im_self)
        || sched->nkept_methods == Py_ARRAY_LENGTH(sched->kept_methods)) {
        return;
    }
    _PyObject_GC_UNTRACK(method);
    _PyStackless_DropReference(method->im_func);
    _PyStackless_DropReference(method->im_self);
    sched->kept_methods[sched->nkept_methods++] = *slot;
    *slot = NULL;
}

static int
before_with(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
            PyObject *enter, PyObject *exit)
{
    PyObject *manager = stack_pointer[-1];
    PyObject *method = _PyStackless_PythonMethod(Py_TYPE(manager), enter);
    if (method == NULL) {
        return 0;
    }
    Py_INCREF(method);
    PyObject *exit_method = look_up_exit(manager, exit);
    if (exit_method == NULL) {
        Py_DECREF(method);
        if (!PyErr_Occurred()) {
            return 0;                  // the instruction says what is missing
        }
        _PyStackless_Begin(frame, stack_pointer, 0, 1);
        return _PyStackless_Deliver(tstate, STEP_FAILED, NULL, stack_pointer, 0);
    }
    stack_pointer[-1] = exit_method;
    int begun = _PyStackless_BeginCall(tstate, frame, stack_pointer, 0, 1, CONTINUE_NONE,
                                       NULL, NULL, 0, method, manager, NULL, 0);
    Py_DECREF(manager);
    Py_DECREF(method);
    return begun;
}

int
_PyStackless_BeforeWith(PyThreadState *tstate, _PyInterpreterFrame *frame,
                        PyObject **stack_pointer, int oparg)
{
    return before_with(tstate, frame, stack_pointer, &_Py_ID(__enter__),
                       &_Py_ID(__exit__));
}

int
_PyStackless_BeforeAsyncWith(PyThreadState *tstate, _PyInterpreterFrame *frame,
                             PyObject **stack_pointer, int oparg)
{
    return before_with(tstate, frame, stack_pointer, &_Py_ID(__aenter__),
                       &_Py_ID(__aexit__));
}

int
_PyStackless_WithExceptStart(PyThreadState *tstate, _PyInterpreterFrame *frame,
                             PyObject **stack_pointer, int oparg)
{
    PyObject *exit = stack_pointer[-4];
    if (!PyMethod_Check(exit)
        || !_PyStackless_IsPythonFunction(PyMethod_GET_FUNCTION(exit))) {
        return 0;
    }
    PyObject *exc = stack_pointer[-1];
    PyObject *tb = PyException_GetTraceback(exc);
    PyObject *args[] = { PyExceptionInstance_Class(exc), exc, tb ? tb : Py_None };
    int begun = _PyStackless_BeginCall(tstate, frame, stack_pointer, 0, 1, CONTINUE_NONE,
                                       NULL, NULL, 0, PyMethod_GET_FUNCTION(exit),
                                       PyMethod_GET_SELF(exit), args, 3);
    Py_XDECREF(tb);
    return begun;
}
