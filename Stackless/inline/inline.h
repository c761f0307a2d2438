/* Continuations: how an instruction that calls Python code through C does without the
   C code.  For inline.c and the files that it names only.

   A continuation is a frame without Python code of its own, between the frame whose
   instruction began the operation and the Python function that does a part of it.
   When that function returns, yields or raises, the continuation's *step* function
   goes on: it calls the next one, or ends the operation.  It is what the C function
   it stands for keeps in local variables.

   A step never waits for Python code: it pushes a frame and returns STEP_PUSHED.  What
   is no Python function it calls as the C function would have.  An outcome belongs to
   tstate->current_frame: that is the step's own continuation, or one that what it
   called has pushed on it.

   A step may do anything with its state; references left there are dropped with the
   frame.  When it is done, `c->previous` is the frame that gets the value. */

#ifndef STACKLESS_INLINE_INLINE_H
#define STACKLESS_INLINE_INLINE_H
#ifdef __cplusplus
extern "C" {
#endif

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "pycore_call.h"          // _PyFunction_Vectorcall
#include "pycore_frame.h"         // _PyInterpreterFrame
#include "pycore_long.h"          // _PyLong_SMALL_INTS
#include "Stackless/state/state.h"
#include "Stackless/inline/asyncio.h" // _PyStackless_TaskHooks
#ifndef STACKLESS_LINKED
#  define STACKLESS_LINKED
#endif
#include "stackless.h"            // PyStackless_Caller

/* --- what the rooms above call (inline.c) ---------------------------------------------- */

/* A frame called by the continuation `c` is gone, or has yielded: goes on.  Returns the
   frame to go on with; it is tstate->current_frame. */
extern _PyInterpreterFrame *_PyStackless_Continue(PyThreadState *tstate,
                                                  _PyInterpreterFrame *c);
/* A frame has ended without a value and without an exception: upstream's take_ownership()
   clears the one under way if it has no memory for a frame object.  Sets SystemError, as the
   eval loop does. */
extern void _PyStackless_ExceptionIsLost(PyThreadState *tstate);
/* Of an awaitable that an async generator's asend() has returned: the generator (borrowed), or
   NULL if it is something else; its state, a number, and its argument (borrowed, or NULL), or
   -1; a later state, 0 or -1. */
extern PyObject *_PyStackless_AsendGenerator(PyObject *op);
extern int _PyStackless_AsendState(PyObject *op, PyObject **arg);
extern int _PyStackless_SetAsendState(PyObject *op, int state);
extern int _PyStackless_InitInlining(void);
/* The frames of t, from `frame` on, will never go on: leaves the contexts that were entered
   there.  Runs no code. */
extern void _PyStackless_LeaveContexts(PyTaskletObject *t, _PyInterpreterFrame *frame);
/* A suspended frame of a tasklet will never go on: undoes what others would not get over.
   Runs Python code; no exception is set. */
extern void _PyStackless_AbandonFrame(_PyStackless_Scheduler *sched,
                                      _PyInterpreterFrame *frame);

/* --- steps --------------------------------------------------------------------------- */

typedef enum {
    STEP_FAILED = -1,             // an exception is set
    STEP_DONE,                    // *value is what the caller gets; NULL: nothing
    STEP_PUSHED,                  // a frame was pushed, and will give the value
    STEP_YIELDED,                 // the generator that was called has yielded *value
    STEP_MISSING,                 // of CallSpecial only: there is no such method
    STEP_BEGIN,                   // a continuation was pushed, its first step is due
} step_outcome;

/* What became of the frame that was called. */
typedef enum { AT_START, AT_RETURN, AT_YIELD, AT_RAISE } step_event;

/* `*value`: AT_RETURN and AT_YIELD the value, which the step owns, otherwise NULL.
   AT_RAISE: the exception is set.  AT_START: nothing was called yet. */
typedef step_outcome step_function(PyThreadState *tstate, _PyInterpreterFrame *c,
                                   step_event event, PyObject **value);

typedef enum {
    CONTINUE_NONE,                // no continuation: the value needs no work
    CONTINUE_DROP,                // inline.c
    CONTINUE_BINARY,              // operators.c
    CONTINUE_COMPARE,
    CONTINUE_TRUTH,
    CONTINUE_ATTRIBUTE,           // attributes.c
    CONTINUE_ITER,                // iteration.c
    CONTINUE_FOR,
    CONTINUE_ITEM,
    CONTINUE_SEND,
    CONTINUE_ASYNC,
    CONTINUE_AWAIT,
    CONTINUE_AITER,
    CONTINUE_NEXT,
    CONTINUE_GENERATOR,
    CONTINUE_DELEGATE,
    CONTINUE_THROW,
    CONTINUE_CONTEXT,             // calls.c
    CONTINUE_C_RETURN,
    CONTINUE_TASK,                // tasks.c
    CONTINUE_NEW,                 // classes.c
    CONTINUE_INIT,
    CONTINUE_CLASS,
    CONTINUE_SORT,                // sort.c
    CONTINUE_SOFT,                // soft.c
    CONTINUE_COUNT
} continuation_kind;

/* The words of a continuation's localsplus, before its evaluation stack. */
enum { STATE_KIND, STATE_A, STATE_B, STATE_C, STATE_NUMBER, STATE_SIZE };

/* The word `which`, which is a number. */
static inline long
continuation_get(_PyInterpreterFrame *c, int which)
{
    PyLongObject *number = (PyLongObject *)c->localsplus[which];
    return _PyLong_IsCompact(number) ? (long)_PyLong_CompactValue(number)
                                     : PyLong_AsLong((PyObject *)number);
}

static inline long
continuation_number(_PyInterpreterFrame *c)
{
    return continuation_get(c, STATE_NUMBER);
}

/* Can events of the frame's instructions be told?  Not if its code was never monitored in this
   process: a continuation that came out of a pickle may say that they are to be. */
static inline int
_PyStackless_IsMonitored(const _PyInterpreterFrame *frame)
{
    return ((PyCodeObject *)frame->f_executable)->_co_monitoring != NULL;
}

static inline PyObject *
continuation_make_number(long number)
{
    return -_PY_NSMALLNEGINTS <= number && number < _PY_NSMALLPOSINTS
           ? (PyObject *)&_PyLong_SMALL_INTS[_PY_NSMALLNEGINTS + number]
           : PyLong_FromLong(number);
}

/* 0, or -1 with an exception. */
static inline int
continuation_set_number(_PyInterpreterFrame *c, long number)
{
    PyObject *object = continuation_make_number(number);
    if (object == NULL) {
        return -1;
    }
    Py_SETREF(c->localsplus[STATE_NUMBER], object);
    return 0;
}

/* --- inline.c -------------------------------------------------------- */

/* _PyStackless_PushContinuation() that steals all, also when it fails.  A number that is
   NULL: an exception is set. */
extern _PyInterpreterFrame *_PyStackless_PushState(
    PyThreadState *tstate, continuation_kind kind, PyObject *a, PyObject *b, PyObject *c,
    PyObject *number);

/* Pushes a continuation on tstate->current_frame, which it becomes.  `a`, `b`, `c`
   (borrowed, may be NULL) and `number` are its state.  NULL: no memory. */
static inline _PyInterpreterFrame *
_PyStackless_PushContinuation(PyThreadState *tstate, continuation_kind kind,
                              PyObject *a, PyObject *b, PyObject *c, long number)
{
    return _PyStackless_PushState(tstate, kind, Py_XNewRef(a), Py_XNewRef(b), Py_XNewRef(c),
                                  continuation_make_number(number));
}

/* The instruction of `frame`, `size` code units long, is being taken over: its `pops`
   operands are no longer on the stack, but still owned by it. */
static inline void
_PyStackless_Begin(_PyInterpreterFrame *frame, PyObject **stack_pointer, int pops, int size)
{
    frame->return_offset = size;
    _PyFrame_SetStackPointer(frame, stack_pointer - pops);
}

/* The instruction of `frame` is over, and jumps: it goes on `offset` code units further.  That
   may be more than return_offset can say: then the unit before is the one that is over. */
static inline void
_PyStackless_GoOnAt(_PyInterpreterFrame *frame, int offset)
{
    if (offset > UINT16_MAX) {
        frame->instr_ptr += offset - 1;
        offset = 1;
    }
    frame->return_offset = (uint16_t)offset;
}

/* tstate->current_frame gets the outcome of what was called from it; runs steps until
   there is a frame to go on with.  Then drops the operands.  Returns 1. */
static inline int
_PyStackless_Deliver(PyThreadState *tstate, step_outcome outcome, PyObject *value,
                     PyObject **stack_pointer, int pops)
{
    extern int _PyStackless_DeliverEnd(PyThreadState *, step_outcome, PyObject *,
                                       PyObject **, int);
    if (outcome != STEP_PUSHED) {
        return _PyStackless_DeliverEnd(tstate, outcome, value, stack_pointer, pops);
    }
    for (PyObject **operand = stack_pointer - pops; operand < stack_pointer; operand++) {
        Py_XDECREF(*operand);
    }
    return 1;
}

/* What a call of a Python function hands over, borrowed. */
typedef struct {
    PyObject *self;               // before the others, or NULL
    PyObject *const *args;
    Py_ssize_t nargs;
    PyObject *kwnames;            // of the values that follow args, or NULL
    PyObject *tuple;              // whose items args are, or NULL
    PyObject *kwargs;             // instead of kwnames: an exact dict, or NULL
} stackless_arguments;

/* Fills the locals of a frame of the function: the parameters with new references, the others
   with NULL.  0: left to upstream, nothing is owned by `locals`.  Runs no code, and no
   exception is set. */
extern int _PyStackless_BindArguments(PyFunctionObject *func, PyObject **locals,
                                      const stackless_arguments *arguments);

/* Pushes the frame of func(self, *args, **kwargs); self may be NULL, kwargs is an exact dict
   that is not empty.  Borrows all. */
extern step_outcome _PyStackless_PushStarred(PyThreadState *tstate, PyObject *func,
                                             PyObject *self, PyObject *args,
                                             PyObject *kwargs);

/* The frame of a call of a Python function, linked to nothing.  `self` may be NULL.
   Borrows all. */
extern _PyInterpreterFrame *_PyStackless_MakeFrame(
    PyThreadState *tstate, PyObject *func, PyObject *self, PyObject *const *args,
    Py_ssize_t nargs, PyObject *kwnames);

/* Pushes the frame of a call of a Python function on tstate->current_frame.  `self` may
   be NULL.  Borrows all. */
static inline step_outcome
_PyStackless_PushFunction(PyThreadState *tstate, PyObject *func, PyObject *self,
                          PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    extern step_outcome _PyStackless_PushPositional(
        PyThreadState *, PyObject *, PyObject *, PyObject *const *, Py_ssize_t);
    extern step_outcome _PyStackless_PushFunctionKw(
        PyThreadState *, PyObject *, PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
    return kwnames == NULL
           ? _PyStackless_PushPositional(tstate, func, self, args, nargs)
           : _PyStackless_PushFunctionKw(tstate, func, self, args, nargs, kwnames);
}

/* What most hooks do: begin, push a continuation of `kind` (or none) with `a`, `b`,
   `number`, call the Python function `func` with `self` (may be NULL) and args. */
static inline int
_PyStackless_BeginCall(PyThreadState *tstate, _PyInterpreterFrame *frame,
                       PyObject **stack_pointer, int pops, int size,
                       continuation_kind kind, PyObject *a, PyObject *b, long number,
                       PyObject *func, PyObject *self, PyObject *const *args,
                       Py_ssize_t nargs)
{
    _PyStackless_Begin(frame, stack_pointer, pops, size);
    step_outcome outcome = STEP_FAILED;
    if (kind == CONTINUE_NONE
        || _PyStackless_PushContinuation(tstate, kind, a, b, NULL, number) != NULL) {
        outcome = _PyStackless_PushFunction(tstate, func, self, args, nargs, NULL);
    }
    return _PyStackless_Deliver(tstate, outcome, NULL, stack_pointer, pops);
}

/* Links a frame that was made by _PyEvalFramePushAndInit(), or a generator's. */
static inline step_outcome
_PyStackless_EnterFrame(PyThreadState *tstate, _PyInterpreterFrame *frame)
{
    extern step_outcome _PyStackless_EnterDeep(PyThreadState *, _PyInterpreterFrame *);
    if (tstate->py_recursion_remaining <= 0) {
        return _PyStackless_EnterDeep(tstate, frame);
    }
    tstate->py_recursion_remaining--;
    frame->previous = tstate->current_frame;
    frame->return_offset = 0;
    tstate->current_frame = frame;
    return STEP_PUSHED;
}

/* Calls type(self).name(self, *args): STEP_PUSHED, STEP_DONE with *value, STEP_FAILED
   or STEP_MISSING. */
extern step_outcome _PyStackless_CallSpecial(
    PyThreadState *tstate, PyObject *self, PyObject *name, PyObject *const *args,
    Py_ssize_t nargs, PyObject **value);

/* Nobody has changed what calling it does. */
static inline int
_PyStackless_IsPythonFunction(PyObject *op)
{
    return PyFunction_Check(op)
           && ((PyFunctionObject *)op)->vectorcall == _PyFunction_Vectorcall;
}

/* The method `name` if it is a Python function (borrowed), else NULL. */
static inline PyObject *
_PyStackless_PythonMethod(PyTypeObject *type, PyObject *name)
{
    PyObject *method = _PyType_Lookup(type, name);
    return method != NULL && _PyStackless_IsPythonFunction(method) ? method : NULL;
}

/* A type whose slots are all the functions that call Python methods: what an equal
   slot of another type does is to look up the method and call it. */
extern struct _PyStackless_PythonSlots {
    PyNumberMethods number;
    PySequenceMethods sequence;
    PyMappingMethods mapping;
    PyAsyncMethods async;
    PyTypeObject type;            // the slots only
} _PyStackless_PythonSlots;

/* --- hooks of the instructions: see _PyStackless_InlineInstruction() ------------- */

typedef int instruction_hook(PyThreadState *tstate, _PyInterpreterFrame *frame,
                             PyObject **stack_pointer, int oparg);

extern instruction_hook _PyStackless_BinaryOp, _PyStackless_CompareOp,
    _PyStackless_ContainsOp, _PyStackless_ToBool, _PyStackless_BinarySubscr,
    _PyStackless_BinarySlice, _PyStackless_StoreSubscr, _PyStackless_StoreSlice,
    _PyStackless_DeleteSubscr, _PyStackless_Negative, _PyStackless_Invert,
    _PyStackless_Intrinsic;
extern step_function _PyStackless_BinaryStep, _PyStackless_CompareStep,
    _PyStackless_TruthStep;

extern instruction_hook _PyStackless_LoadAttr, _PyStackless_StoreAttr,
    _PyStackless_DeleteAttr;
extern step_function _PyStackless_AttributeStep;
/* Is the str `name` for sure no attribute of the instance's own?  Runs no Python code. */
extern int _PyStackless_InstanceLacks(PyObject *owner, PyObject *name);

extern instruction_hook _PyStackless_GetIter, _PyStackless_Send,
    _PyStackless_GetAwaitable, _PyStackless_GetAIter, _PyStackless_WithExceptStart,
    _PyStackless_ForIter, _PyStackless_InstrumentedForIter, _PyStackless_BeforeWith,
    _PyStackless_BeforeAsyncWith;
/* Keeps the bound method *slot for the next `with`, if this is the last reference to it, but
   not to what it has bound; *slot is NULL then. */
extern void _PyStackless_RecycleMethod(_PyStackless_Scheduler *sched, PyObject **slot);
extern step_function _PyStackless_IterStep, _PyStackless_ForStep, _PyStackless_ItemStep, _PyStackless_SendStep,
    _PyStackless_AsyncStep, _PyStackless_AwaitStep, _PyStackless_AIterStep, _PyStackless_NextStep,
    _PyStackless_GeneratorStep, _PyStackless_DelegateStep, _PyStackless_ThrowStep;
/* The instruction of `frame`, INSTRUMENTED_FOR_ITER, is over, and goes on `offset` code units
   further; tells so.  STEP_DONE or STEP_FAILED. */
extern step_outcome _PyStackless_Branch(PyThreadState *tstate, _PyInterpreterFrame *frame,
                                        int offset);
/* The tasklet whose frames these are is dropped. */
extern void _PyStackless_AbandonAsync(_PyInterpreterFrame *c);
/* Pushes the frame of a suspended or fresh generator or coroutine, which gets `arg`. */
extern step_outcome _PyStackless_EnterGenerator(PyThreadState *tstate, PyGenObject *gen,
                                                PyObject *arg);
/* Throws an exception (stolen) into a generator or coroutine, if it can be thrown
   (_PyStackless_CanThrow()), for a continuation that is there already. */
extern step_outcome _PyStackless_EnterThrow(PyThreadState *tstate, PyObject *gen,
                                            PyObject *exc, PyObject **value);
/* next(iter, fallback), gen.send(arg), gen.throw(exc): of generators that may be entered,
   and iterators whose __next__ is a Python function.  fallback may be NULL; exc is an
   instance or a class. */
extern step_outcome _PyStackless_CallNext(PyThreadState *tstate, PyObject *iter,
                                          PyObject *fallback);
extern step_outcome _PyStackless_CallSend(PyThreadState *tstate, PyObject *gen,
                                          PyObject *arg);
extern step_outcome _PyStackless_CallThrow(PyThreadState *tstate, PyObject *gen,
                                           PyObject *exc, PyObject **value);

extern instruction_hook _PyStackless_Call, _PyStackless_CallKw, _PyStackless_CallEx,
    _PyStackless_InstrumentedCall, _PyStackless_InstrumentedCallKw,
    _PyStackless_InstrumentedCallEx;
extern step_function _PyStackless_ContextStep, _PyStackless_CReturnStep;
extern int _PyStackless_InitCalls(void);

/* --- calls -------------------------------------------------------------------------- */

/* The arguments of a call, borrowed, as vectorcall has them. */
typedef struct {
    PyObject *callable;
    PyObject *const *args;
    Py_ssize_t nargs;             // positional ones
    PyObject *kwnames;            // NULL, or a tuple that is not empty
} stackless_call;

/* The keywords as a new dict.  NULL without an exception: there are none. */
static inline PyObject *
stackless_call_kwargs(const stackless_call *call)
{
    return call->kwnames ? _PyStack_AsDict(call->args + call->nargs, call->kwnames) : NULL;
}

/* What is no Python function: softly if possible, else as PyObject_Vectorcall(). */
extern step_outcome _PyStackless_CallSoft(PyThreadState *tstate, const stackless_call *call,
                                          PyObject **value);

static inline step_outcome
_PyStackless_CallAny(PyThreadState *tstate, const stackless_call *call, PyObject **value)
{
    if (_PyStackless_IsPythonFunction(call->callable)) {
        return _PyStackless_PushFunction(tstate, call->callable, NULL, call->args,
                                         call->nargs, call->kwnames);
    }
    return _PyStackless_CallSoft(tstate, call, value);
}

/* callable(self, *args, **kwargs), softly if possible.  self and kwargs may be NULL. */
extern step_outcome _PyStackless_CallWithTuple(
    PyThreadState *tstate, PyObject *callable, PyObject *self, PyObject *args,
    PyObject *kwargs, PyObject **value);

/* --- soft.c ----------------------------------------------------------------------------- */

/* What a continuation has asked for: all strong references. */
typedef struct {
    PyObject *continuation;       // NULL: nothing
    PyObject *state;
    stackless_call call;
    PyObject *packed;             // has what `call` refers to, if that is not in `small`
    PyObject *small[6];           // callable, names of keyword arguments or NULL, arguments
} _PyStackless_SoftRequest;

extern PyType_Spec _PyStackless_ContinuationSpec;
extern int _PyStackless_IsSoftContinuation(PyObject *op);
/* New reference, or NULL with an exception.  The names are str. */
extern PyObject *_PyStackless_MakeContinuation(
    PyTypeObject *type, PyObject *module, PyObject *name,
    PyStackless_ContinuationFunction *function,
    int flags);
/* Makes the call, and the continuation's, at once. */
extern PyObject *_PyStackless_MakeSoftCall(PyThreadState *tstate, const stackless_call *call,
                                           PyObject *continuation, PyObject *state);
/* Of a continuation: NULL, with the token if all is well. */
extern PyObject *_PyStackless_RequestSoftCall(
    PyThreadState *tstate, _PyStackless_SoftRequest *request, const stackless_call *call,
    PyObject *continuation, PyObject *state);
/* What _PyStackless_BeginSoftCall() wants.  New reference, or NULL with an exception. */
extern PyObject *_PyStackless_PackSoftCall(const stackless_call *call);
/* The instruction of tstate->current_frame has called a C function that asked for a call:
   pushes what will make it.  `target`: the pair of continuation and state.  If its end is to be
   told, `callable` and `arg` are not NULL.  Steals all. */
extern void _PyStackless_BeginSoftCall(PyThreadState *tstate, PyObject *target,
                                       PyObject *packed, PyObject *callable, PyObject *arg);
extern step_function _PyStackless_SoftStep;

/* Has the class a Python __new__ or __init__ that a call of it would run?  Only then it
   may be given to _PyStackless_CallClass(), which is type.__call__(type, ...). */
extern int _PyStackless_IsSoftClass(PyTypeObject *type);
extern step_outcome _PyStackless_CallClass(PyThreadState *tstate, PyTypeObject *type,
                                           const stackless_call *call, PyObject **value);
extern int _PyStackless_CallPlainClass(
    PyTypeObject *type, PyThreadState *tstate, _PyInterpreterFrame *frame,
    PyObject **stack_pointer, int oparg);
/* __build_class__(func, name, *bases, **kwargs); the bases are classes. */
extern step_outcome _PyStackless_CallBuildClass(
    PyThreadState *tstate, const stackless_call *call, PyObject **value);
extern step_function _PyStackless_NewStep, _PyStackless_InitStep, _PyStackless_ClassStep;

/* The key function (borrowed), if these are the keywords of list.sort() or sorted(), without
   the list, and are valid; else NULL.  `*reverse`: not 0 if it is true. */
extern PyObject *_PyStackless_SortKey(const stackless_call *call, int *reverse);
/* list.sort(), sorted() with keywords that have a key. */
extern step_outcome _PyStackless_CallSort(PyThreadState *tstate, PyObject *list,
                                          const stackless_call *call);
extern step_outcome _PyStackless_CallSorted(PyThreadState *tstate, PyObject *iterable,
                                            const stackless_call *call);
extern step_function _PyStackless_SortStep;
/* The frame of a CONTINUE_SORT will never go on. */
extern void _PyStackless_AbandonSort(_PyInterpreterFrame *frame);

/* The hooks of the module _asyncio, when it is loaded, or NULL. */
static inline const _PyStackless_TaskHooks *
_PyStackless_GetTaskHooks(void)
{
    extern const _PyStackless_TaskHooks *_PyStackless_KnownTaskHooks;
    return _Py_atomic_load_ptr_acquire(&_PyStackless_KnownTaskHooks);
}

/* The context (borrowed) that a CONTINUE_TASK has entered, or NULL. */
extern PyObject *_PyStackless_TaskContext(_PyInterpreterFrame *frame);
/* The frame of a CONTINUE_TASK will never go on. */
extern void _PyStackless_AbandonTask(_PyStackless_Scheduler *sched,
                                     _PyInterpreterFrame *frame);
/* A call of which hooks->resumes() has said that it is a step of `task`. */
extern step_outcome _PyStackless_CallTask(PyThreadState *tstate, PyObject *task,
                                          const stackless_call *call, PyObject **value);
/* A call of a class of tasks, of which hooks->is_eager() is true. */
extern step_outcome _PyStackless_MakeEagerTask(
    PyThreadState *tstate, PyTypeObject *type, const stackless_call *call,
    PyObject **value);
extern step_function _PyStackless_TaskStep;

#ifdef __cplusplus
}
#endif
#endif /* !STACKLESS_INLINE_INLINE_H */
