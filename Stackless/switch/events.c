/* Events of the monitoring tools, and of trace and profile functions, that are still due when a
   tasklet goes on: how the C call ended in which it was left, and whether the loop over a
   channel that waited for an item goes on.

   What has events due has a side block, so that nobody resumes it without asking here. */

#include "Python.h"
#include "opcode_ids.h"           // INSTRUMENTED_FOR_ITER
#include "pycore_ceval.h"         // _PyEval_MonitorRaise()
#include "pycore_code.h"          // _Py_GetBaseOpcode()
#include "pycore_instruments.h"   // _Py_call_instrumentation_exc2()
#include "pycore_opcode_metadata.h" // _PyOpcode_Caches
#include "Stackless/inline/inline.h" // _PyStackless_Branch()
#include "Stackless/switch/switch.h"

/* --- C calls ------------------------------------------------------------------ */

void
_PyStackless_DeferCReturn(PyThreadState *tstate, PyObject *callable, PyObject *arg)
{
    PyTaskletObject *t = _PyStackless_PeekScheduler(tstate)->current;
    PyObject *token = tstate->current_exception;
    tstate->current_exception = NULL;
    if (_PyStackless_EnsureExtra(t) < 0) {
        PyErr_Clear();                 // this event is lost
    }
    else {
        Py_XSETREF(extra_of(t)->c_callable, Py_NewRef(callable));
        Py_XSETREF(extra_of(t)->c_arg, Py_NewRef(arg));
    }
    tstate->current_exception = token;
}

PyObject *
_PyStackless_TellCReturn(PyThreadState *tstate, PyTaskletObject *t,
                         _PyInterpreterFrame *frame, PyObject *value)
{
    if (extra_of(t)->c_callable == NULL) {
        return value;
    }
    PyObject *callable = extra_of(t)->c_callable;
    PyObject *arg = extra_of(t)->c_arg;
    extra_of(t)->c_callable = extra_of(t)->c_arg = NULL;
    /* greenlet's trace function may have changed what is monitored. */
    PyObject *exc = PyErr_GetRaisedException();
    int err = _Py_Instrument(_PyFrame_GetCode(frame), tstate->interp);
    if (err < 0) {
        PyErr_FormatUnraisable("Exception ignored: the end of a C call is not monitored");
    }
    PyErr_SetRaisedException(exc);
    if (err < 0) {
        ;
    }
    else if (value == NULL) {
        _Py_call_instrumentation_exc2(tstate, PY_MONITORING_EVENT_C_RAISE, frame,
                                      frame->instr_ptr, callable, arg);
    }
    else if (_Py_call_instrumentation_2args(tstate, PY_MONITORING_EVENT_C_RETURN, frame,
                                            frame->instr_ptr, callable, arg) < 0) {
        Py_CLEAR(value);
    }
    Py_DECREF(callable);
    Py_DECREF(arg);
    return value;
}

/* --- loops over channels ------------------------------------------------------ */

static int
is_monitored_loop(_PyInterpreterFrame *frame)
{
    PyCodeObject *code = _PyFrame_GetCode(frame);
    return _PyStackless_EventOpcodeAt(code, _PyInterpreterFrame_LASTI(frame))
           == INSTRUMENTED_FOR_ITER;
}

void
_PyStackless_DeferBranch(PyTaskletObject *t, _PyInterpreterFrame *frame)
{
    if (!is_monitored_loop(frame)) {
        return;
    }
    if (_PyStackless_EnsureExtra(t) < 0) {
        PyErr_Clear();                 // this event is lost
    }
    else {
        extra_of(t)->branches = 1;
    }
}

/* The loop gets StopIteration: that ends it, as END_FOR would have been reached.  Returns how
   many code units further it goes on, or 0: it is no loop, or gets another exception. */
static int
stop_loop(PyThreadState *tstate, _PyInterpreterFrame *frame)
{
    PyCodeObject *code = _PyFrame_GetCode(frame);
    int here = _PyInterpreterFrame_LASTI(frame);
    if (_Py_GetBaseOpcode(code, here) != FOR_ITER
        || !PyErr_GivenExceptionMatches(tstate->current_exception, PyExc_StopIteration)) {
        return 0;
    }
    _PyEval_MonitorRaise(tstate, frame, frame->instr_ptr);
    PyErr_Clear();
    _PyStackless_Discard(_PyStackless_PeekScheduler(tstate), _PyFrame_StackPop(frame));
    return 1 + _PyOpcode_Caches[FOR_ITER] + _PyStackless_OpargAt(code, here) + 2;
}

void
_PyStackless_EndForIter(PyThreadState *tstate, PyTaskletObject *t, _PyInterpreterFrame *frame,
                        PyObject *value)
{
    int offset = frame->return_offset;
    if (extra_of(t) != NULL) {
        extra_of(t)->branches = 0;
    }
    if (value != NULL) {
        _PyFrame_StackPush(frame, value);
    }
    else {
        offset = stop_loop(tstate, frame);
        if (offset == 0) {
            return;
        }
    }
    if (is_monitored_loop(frame)) {
        (void)_PyStackless_Branch(tstate, frame, offset);
    }
    else {
        _PyStackless_GoOnAt(frame, offset);
    }
}
