/* What CPython's own files call: the whole surface between upstream and Stackless.

   Contract of the unwind token: a switching builtin that was called straight from
   the eval loop of a tasklet at nesting level 0 records what it wants to do and
   returns NULL with tstate->current_exception set to the token.  CPython's code
   sees an ordinary error return and, after dropping the call's operands, arrives
   at the `error:` label, where the eval loop compares with the token and calls
   _PyStackless_EvalSwitch().  The token never reaches Python code, is never
   allocated and never freed. */

#ifndef Py_INTERNAL_STACKLESS_HOOKS_H
#define Py_INTERNAL_STACKLESS_HOOKS_H
#ifdef __cplusplus
extern "C" {
#endif

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "opcode_ids.h"           // CALL
#include "pycore_descrobject.h"   // PyMethodDescrObject
#include "pycore_dict.h"          // DK_UNICODE_ENTRIES()
#include "pycore_frame.h"         // _PyInterpreterFrame
#include "pycore_gc.h"            // PyGC_Head
#include "pycore_moduleobject.h"  // PyModuleObject
#include "pycore_tstate.h"        // _PyThreadStateImpl

/* A value of _PyInterpreterFrame.owner beside enum _frameowner: the frame lies
   in a heap block of its own (PyMem_Malloc, co_framesize words), because its
   tasklet was switched away from while it was running.  4 is FRAME_CLEARED. */
#define FRAME_OWNED_BY_TASKLET 5

typedef struct {
    PyGC_Head gc;                 // the type says that instances have one
    PyBaseExceptionObject exc;
} _PyStackless_Token;

extern _PyStackless_Token _PyStackless_UnwindToken;

/* Is the error that is on its way up a switch of tasklets? */
static inline int
_PyStackless_IsUnwinding(PyThreadState *tstate)
{
    return tstate->current_exception == (PyObject *)&_PyStackless_UnwindToken.exc;
}

/* Called by the eval loop, at three places: with the token set (frame: where the
   builtin was called, or the tasklet interrupted), when a tasklet's bottom frame
   returned (frame: the dispatcher's, the return value on its stack), and when it was
   unwound by an exception (frame: the dispatcher's, exception set).  The stack pointer has been
   saved in the frame.

   Returns the frame to go on with; it is tstate->current_frame.  The instruction at
   its instr_ptr is over, the next one is return_offset further; an exception that is
   set is to be raised there.  Returns NULL when main is to go on: the eval loop
   returns to the dispatcher.  May run any Python code. */
extern _PyInterpreterFrame *
_PyStackless_EvalSwitch(PyThreadState *tstate, _PyInterpreterFrame *frame);

/* A bit of tstate->eval_breaker that upstream leaves free: a tasklet may have run for
   long enough. */
#define STACKLESS_WATCH_BIT (1U << 7)

/* _Py_HandlePending(): which of the pending events are to be handled now.  While the
   current tasklet is atomic, some have to wait. */
static inline uintptr_t
_PyStackless_MaskEvents(PyThreadState *tstate, uintptr_t breaker)
{
    extern uintptr_t _PyStackless_MaskEventsSlow(PyThreadState *, uintptr_t);
    if (((_PyThreadStateImpl *)tstate)->stackless == NULL) {
        return breaker;
    }
    return _PyStackless_MaskEventsSlow(tstate, breaker);
}

/* _Py_HandlePending(), when nothing else is left to do: 0, or -1 with the token, which
   interrupts the current tasklet after the call, or at the jump or RESUME, that is being
   executed. */
static inline int
_PyStackless_HandleWatch(PyThreadState *tstate, uintptr_t breaker)
{
    extern int _PyStackless_WatchTick(PyThreadState *);
    return breaker & STACKLESS_WATCH_BIT ? _PyStackless_WatchTick(tstate) : 0;
}

/* The C call `callable`, which the monitoring tools saw, ends in the token: whether it
   returns or raises turns out on resumption, and they are told then. */
extern void _PyStackless_DeferCReturn(PyThreadState *tstate, PyObject *callable,
                                      PyObject *arg);

/* PyEval_GetGlobals() without a Python frame: those of main, or NULL.  Borrowed. */
extern PyObject *_PyStackless_GetGlobals(PyThreadState *tstate);

/* Clears and frees a frame that is FRAME_OWNED_BY_TASKLET.  Runs Python code. */
extern void
_PyStackless_ClearFrame(PyThreadState *tstate, _PyInterpreterFrame *frame);

/* tp_iternext of exact channels; the marker by which FOR_ITER knows them. */
extern PyObject *_PyChannel_IterNext(PyObject *self);

extern void _PyStackless_AnnounceNext(PyThreadState *tstate, _PyInterpreterFrame *frame,
                                      PyObject *iter);
extern void _PyStackless_AnnounceCall(PyThreadState *tstate, _PyInterpreterFrame *frame,
                                      PyObject *callable, PyObject *args);

/* FOR_ITER is about to call the iterator's tp_iternext itself. */
static inline void
_PyStackless_AnnounceIter(PyThreadState *tstate, _PyInterpreterFrame *frame,
                          PyObject *iter)
{
    if (Py_TYPE(iter)->tp_iternext == _PyChannel_IterNext) {
        _PyStackless_AnnounceNext(tstate, frame, iter);
    }
}

/* CALL_FUNCTION_EX is about to call `callable` with the tuple `args` through
   PyObject_Call(). */
static inline void
_PyStackless_AnnounceCallEx(PyThreadState *tstate, _PyInterpreterFrame *frame,
                            PyObject *callable, PyObject *args)
{
    if (((_PyThreadStateImpl *)tstate)->stackless != NULL && !PyFunction_Check(callable)) {
        _PyStackless_AnnounceCall(tstate, frame, callable, args);
    }
}

/* dump_traceback(): writes the frames that a thread runs, for any signal handler and any
   other thread; 0: no thread uses tasklets, so upstream's walk will do. */
extern int _PyStackless_DumpRunning(int fd, PyThreadState *tstate);

/* _Py_DumpTracebackThreads(): writes who is suspended, likewise. */
extern void _PyStackless_DumpSuspended(int fd, PyInterpreterState *interp);

/* --- instructions that call Python code through C -----------------------------

   While a tasklet is current, an instruction that is not specialised asks here first.
   1: what it does is begun and will be ended without C code in between; its operands
   are off the stack and tstate->current_frame is the frame to go on with, as from
   _PyStackless_EvalSwitch() (`goto go_on`).  0: nothing was done; the instruction does
   it in its own way.  `stack_pointer`: with the operands still on the stack.
   May run any Python code. */
extern int _PyStackless_InlineInstruction(
    PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
    int opcode, int oparg);

/* False if the operands tell, without a call, that the answer would be 0. */
static inline int
_PyStackless_MayInline(PyObject **stack_pointer, int opcode, int oparg)
{
    if (opcode == FOR_ITER) {
        PyTypeObject *type = Py_TYPE(stack_pointer[-1]);
        return type == &PyGen_Type || (type->tp_flags & Py_TPFLAGS_HEAPTYPE);
    }
    if (opcode == GET_AWAITABLE) {
        return !PyCoro_CheckExact(stack_pointer[-1]);
    }
    if (opcode == CALL_FUNCTION_EX) {
        return !PyFunction_Check(stack_pointer[-3 - (oparg & 1)]);
    }
    return 1;
}

static inline int
_PyStackless_Inline(PyThreadState *tstate, _PyInterpreterFrame *frame,
                    PyObject **stack_pointer, int opcode, int oparg)
{
    return ((_PyThreadStateImpl *)tstate)->stackless_inlines
           && _PyStackless_MayInline(stack_pointer, opcode, oparg)
           && _PyStackless_InlineInstruction(tstate, frame, stack_pointer, opcode, oparg);
}

/* The same for a specialised call of a C function or method: next(), send(), throw(),
   Context.run() and class statements end in Python code.  `op`, self or the first
   argument, tells them from nearly all others. */
static inline int
_PyStackless_InlineMethod(PyThreadState *tstate, _PyInterpreterFrame *frame,
                          PyObject **stack_pointer, int oparg)
{
    if (!((_PyThreadStateImpl *)tstate)->stackless_inlines) {
        return 0;
    }
    PyObject **args = stack_pointer - oparg;
    PyObject *op = args[-1] != NULL ? args[-1] : oparg > 0 ? args[0] : Py_None;
    iternextfunc next = Py_TYPE(op)->tp_iternext;
    return ((next != NULL && next != _PyChannel_IterNext) || PyCoro_CheckExact(op)
            || PyContext_CheckExact(op) || PyFunction_Check(op))
           && _PyStackless_InlineInstruction(tstate, frame, stack_pointer, CALL, oparg);
}

/* The builtins that a specialised call carries out itself (Stackless/switch/fast.h). */
extern PyObject *_PyStackless_ScheduleFunction(PyObject *module, PyObject *const *args,
                                               Py_ssize_t nargs, PyObject *kwnames);
extern PyObject *_PyChannel_SendMethod(PyObject *self, PyObject *const *args,
                                       Py_ssize_t nargs, PyObject *kwnames);
extern PyObject *_PyChannel_ReceiveMethod(PyObject *self, PyObject *const *args,
                                          Py_ssize_t nargs, PyObject *kwnames);
extern PyObject *_PyGreenlet_SwitchMethod(PyObject *self, PyObject *const *args,
                                          Py_ssize_t nargs, PyObject *kwnames);

extern int _PyStackless_InlineSchedule(PyThreadState *tstate, _PyInterpreterFrame *frame,
                                       PyObject **stack_pointer);
extern int _PyStackless_InlineSend(PyThreadState *tstate, _PyInterpreterFrame *frame,
                                   PyObject **stack_pointer, PyObject *channel);
extern int _PyStackless_InlineReceive(PyThreadState *tstate, _PyInterpreterFrame *frame,
                                      PyObject **stack_pointer, PyObject *channel);
extern int _PyStackless_InlineGreenletSwitch(
    PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer, int oparg);

/* The method descriptors of channels.  A scheduler begins with the address of what begins with
   them (Stackless/state/objects.h). */
typedef struct {
    PyObject *send;
    PyObject *receive;
} _PyStackless_ChannelMethods;

/* What is called is implemented by `function`.  `bound`: the bound method, if it is one. */
static inline int
_PyStackless_InlineSwitching(PyThreadState *tstate, _PyInterpreterFrame *frame,
                             PyObject **stack_pointer, int oparg, PyCFunction function,
                             PyObject *bound)
{
    if (oparg == 0) {
        if (function == _PyCFunction_CAST(_PyStackless_ScheduleFunction)) {
            return _PyStackless_InlineSchedule(tstate, frame, stack_pointer);
        }
        if (bound != NULL && function == _PyCFunction_CAST(_PyChannel_ReceiveMethod)
            && stack_pointer[-1] == NULL) {        // @receive has an argument here
            return _PyStackless_InlineReceive(tstate, frame, stack_pointer,
                                              PyCFunction_GET_SELF(bound));
        }
    }
    else if (oparg == 1 && bound != NULL
             && function == _PyCFunction_CAST(_PyChannel_SendMethod)
             && stack_pointer[-2] == NULL) {
        return _PyStackless_InlineSend(tstate, frame, stack_pointer,
                                       PyCFunction_GET_SELF(bound));
    }
    if (function == _PyCFunction_CAST(_PyGreenlet_SwitchMethod)) {
        return _PyStackless_InlineGreenletSwitch(tstate, frame, stack_pointer, oparg);
    }
    return _PyStackless_InlineMethod(tstate, frame, stack_pointer, oparg);
}

/* _PyStackless_InlineMethod() for a function, or a bound method, with keywords. */
static inline int
_PyStackless_InlineFunction(PyThreadState *tstate, _PyInterpreterFrame *frame,
                            PyObject **stack_pointer, int oparg)
{
    if (!((_PyThreadStateImpl *)tstate)->stackless_inlines) {
        return 0;
    }
    PyObject *callable = stack_pointer[-2 - oparg];
    return PyCFunction_CheckExact(callable)
           && _PyStackless_InlineSwitching(tstate, frame, stack_pointer, oparg,
                                           PyCFunction_GET_FUNCTION(callable), callable);
}

/* The same for a method with keywords. */
static inline int
_PyStackless_InlineDescriptor(PyThreadState *tstate, _PyInterpreterFrame *frame,
                              PyObject **stack_pointer, int oparg)
{
    if (!((_PyThreadStateImpl *)tstate)->stackless_inlines) {
        return 0;
    }
    PyObject *callable = stack_pointer[-2 - oparg];
    PyObject *self = stack_pointer[-1 - oparg];
    if (self != NULL) {
        const _PyStackless_ChannelMethods *known =
            *(_PyStackless_ChannelMethods **)((_PyThreadStateImpl *)tstate)->stackless;
        if (callable == known->receive && oparg == 0) {
            return _PyStackless_InlineReceive(tstate, frame, stack_pointer, self);
        }
        if (callable == known->send && oparg == 1) {
            return _PyStackless_InlineSend(tstate, frame, stack_pointer, self);
        }
    }
    return Py_IS_TYPE(callable, &PyMethodDescr_Type)
           && _PyStackless_InlineSwitching(
                  tstate, frame, stack_pointer, oparg,
                  ((PyMethodDescrObject *)callable)->d_method->ml_meth, NULL);
}

/* The code of all continuation frames (Stackless/inline/inline.c).  What calls them always
   goes on in C, also with an exception. */
extern PyCodeObject *const _PyStackless_ContinuationCode;

static inline int
_PyStackless_IsContinuation(_PyInterpreterFrame *frame)
{
    return frame->f_executable == (PyObject *)_PyStackless_ContinuationCode;
}

/* Is an exception that reaches this frame from above for _PyStackless_EvalSwitch()? */
static inline int
_PyStackless_CatchesErrors(_PyInterpreterFrame *frame)
{
    return frame->owner == FRAME_OWNED_BY_CSTACK || _PyStackless_IsContinuation(frame);
}

/* PyThreadState_Clear(): the thread ends; its tasklets become orphans. */
extern void _PyStackless_ThreadEnd(PyThreadState *tstate);

/* A garbage collection of `generation` starts.  `asked_for` tells that the program
   asked for it (gc.collect(), interpreter shutdown).  The lists are still empty. */
extern void _PyStackless_CollectionStart(PyThreadState *tstate, int generation, int asked_for,
                                         PyGC_Head *unreachable, PyGC_Head *finalizers);
/* It calls Python code as long as there is something in the list. */
extern void _PyStackless_CollectionCalls(PyGC_Head *list);
/* It will delete what is in the list, which is still empty.  The other one is gone. */
extern void _PyStackless_CollectionDeletes(PyGC_Head *list);

/* _Py_HandleSystemExit(): 1 if the TaskletExit that is set has to be printed
   instead of ending the process. */
extern int _PyStackless_KeepAlive(PyThreadState *tstate);

/* The attributes that the module `stackless` computes on access (Modules/_stackless.c). */
extern PyGetSetDef _PyStackless_ModuleGetSets[];

/* Has the object the type of the module `stackless`, which leaves this name to the module's
   dict?  Only then the dict alone, all that LOAD_ATTR_MODULE looks at, tells the attribute.
   (Each interpreter has such a type; none has subclasses, nor do they change.  Who assigns it
   to the __class__ of a module with a `current` of its own may go on seeing that, where
   instructions are specialised already.) */
static inline int
_PyStackless_IsInModuleDict(PyObject *op, PyObject *name)
{
    return Py_TYPE(op)->tp_getset == _PyStackless_ModuleGetSets
           && _PyType_Lookup(Py_TYPE(op), name) == NULL;
}

/* LOAD_ATTR_MODULE of an object that is no exact module, by an instruction that has been
   specialised.  1: the attribute (and a NULL above it, if the oparg wants one) has taken the
   object's place on the stack.  0: nothing was done, it is for LOAD_ATTR.

   All of it is done here, and the type is read again by an atomic load, so that the compiler
   shares nothing with the path of exact modules, which then is upstream's to the instruction. */
static inline int
_PyStackless_LoadFromModule(_Py_CODEUNIT *instr, PyObject **stack_pointer, int oparg)
{
    _PyAttrCache *cache = (_PyAttrCache *)(instr + 1);
    PyObject *owner = stack_pointer[-1];
    PyTypeObject *type = _Py_atomic_load_ptr_relaxed(&owner->ob_type);
    if (type->tp_getset != _PyStackless_ModuleGetSets) {
        return 0;
    }
    PyDictKeysObject *keys = ((PyDictObject *)((PyModuleObject *)owner)->md_dict)->ma_keys;
    if (keys->dk_version != read_u32(cache->version)) {
        return 0;
    }
    PyObject *attr = DK_UNICODE_ENTRIES(keys)[cache->index].me_value;
    if (attr == NULL) {
        return 0;
    }
    stack_pointer[-1] = Py_NewRef(attr);
    if (oparg & 1) {
        stack_pointer[0] = NULL;
    }
    Py_DECREF(owner);
    return 1;
}

#ifdef __cplusplus
}
#endif
#endif /* !Py_INTERNAL_STACKLESS_HOOKS_H */
