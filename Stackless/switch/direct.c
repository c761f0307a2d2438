/* The direct call: was a switching builtin called by the eval loop of the current tasklet, with
   no C function in between?  Then it can be left softly, by the unwind token (dispatch.c).

   The arguments tell: they lie on the evaluation stack of the frame that executes `CALL` or
   `CALL_KW`.  Two instructions call without that.  They announce whom they call, and with
   what; an announcement is for that call only.

   (A file of its own, since nothing of this may be inlined: a hard switch copies the stack
   that the callers use.) */

#include "Python.h"
#include "opcode_ids.h"           // CALL
#include "pycore_code.h"          // _Py_GetBaseOpcode()
#include "pycore_descrobject.h"   // PyMethodDescrObject
#include "pycore_opcode_metadata.h" // _PyOpcode_Caches
#include "Stackless/switch/switch.h"

void
_PyStackless_AnnounceNext(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject *iter)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched != NULL) {
        sched->announced.frame = frame;
        sched->announced.fn = (void *)Py_TYPE(iter)->tp_iternext;
        sched->announced.self = iter;  // and no arguments
    }
}

void
_PyStackless_AnnounceCall(PyThreadState *tstate, _PyInterpreterFrame *frame,
                          PyObject *callable, PyObject *args)
{
    announced_call call = { .frame = frame, .args = &PyTuple_GET_ITEM(args, 0) };
    if (PyCFunction_CheckExact(callable)) {
        call.fn = (void *)PyCFunction_GET_FUNCTION(callable);
        call.self = PyCFunction_GET_SELF(callable);
    }
    else if (Py_IS_TYPE(callable, &PyMethodDescr_Type) && PyTuple_GET_SIZE(args) > 0) {
        call.fn = (void *)((PyMethodDescrObject *)callable)->d_method->ml_meth;
        call.self = *call.args++;
    }
    _PyStackless_PeekScheduler(tstate)->announced = call;
}

/* Does the eval loop call `fn` by itself, as announced? */
static int
is_announced(_PyStackless_Scheduler *sched, _PyInterpreterFrame *frame, void *fn,
             PyObject *self)
{
    const announced_call *call = &sched->announced;
    return call->frame == frame && call->fn == fn && call->self == self;
}

/* Does calling `callable` run `fn` with `self`?  `first` is what the evaluation stack
   has between the callable and the arguments: NULL, or self. */
static int
callable_is(PyObject *callable, PyObject *first, void *fn, PyObject *self)
{
    if (callable == NULL) {
        return 0;
    }
    if (PyCFunction_CheckExact(callable)) {
        return first == NULL && PyCFunction_GET_SELF(callable) == self
               && (void *)PyCFunction_GET_FUNCTION(callable) == fn;
    }
    return first == self && Py_IS_TYPE(callable, &PyMethodDescr_Type)
           && (void *)((PyMethodDescrObject *)callable)->d_method->ml_meth == fn;
}

/* The size in code units of the instruction that called, if it is `CALL` or `CALL_KW`
   with these very arguments, else 0. */
static int
direct_call_size(_PyInterpreterFrame *frame, int opcode, void *fn, PyObject *self,
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (args < _PyFrame_Stackbase(frame) + 2
        || args > (PyObject **)frame + _PyFrame_GetCode(frame)->co_framesize) {
        return 0;
    }
    if (kwnames != NULL) {
        nargs += PyTuple_GET_SIZE(kwnames);
    }
    PyObject *callable = args[-2];
    if (callable == NULL && args[-1] == self) {
        /* channel.send(ch, value): self is an argument of the call */
        callable = args[-3];
        nargs++;
    }
    if (opcode != (kwnames == NULL ? CALL : CALL_KW)
        || frame->instr_ptr->op.arg != (nargs & 0xff)
        || !callable_is(callable, args[-1], fn, self)) {
        return 0;
    }
    return 1 + _PyOpcode_Caches[opcode];
}

int
_PyStackless_DirectSize(PyThreadState *tstate, _PyStackless_Scheduler *sched, void *fn,
                        PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    _PyInterpreterFrame *frame = tstate->current_frame;
    int level = _PyStackless_NestingLevel(tstate, sched);
    if (level > 1 || frame->owner == FRAME_OWNED_BY_CSTACK) {
        return 0;
    }
    int opcode = frame->instr_ptr->op.code;
    int deopt = _PyOpcode_Deopt[opcode];
    if (deopt != CALL) {
        opcode = _Py_GetBaseOpcode(_PyFrame_GetCode(frame),
                                   _PyInterpreterFrame_LASTI(frame));
    }
    else {
        opcode = CALL;
    }
    switch (opcode) {
        case CALL:
        case CALL_KW:
            if (args == NULL) {
                return 0;
            }
            return direct_call_size(frame, opcode, fn, self, args, nargs, kwnames);
        case CALL_FUNCTION_EX:
            /* Keyword arguments come with a copy of the others. */
            return is_announced(sched, frame, fn, self)
                   && (args == sched->announced.args || kwnames != NULL);
        case FOR_ITER:
            return is_announced(sched, frame, fn, self) && args == NULL
                   ? 1 + _PyOpcode_Caches[FOR_ITER] : 0;
        default:
            return 0;
    }
}
