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
   - It counts as one level of Python recursion, as upstream's shim of __init__ does.
   - A hook decides without side effects; from Begin() on the operation is its own.

   Rejected: continuations written in Python as hidden functions.  Each operation takes
   two Python calls then, needs C helpers for what Python cannot say (no result, end of
   a loop, the events of a C call), and shows when a tool looks at handled exceptions. */

#include "Python.h"
#include "opcode_ids.h"           // INTERPRETER_EXIT
#include "pycore_call.h"
#include "pycore_ceval.h"         // _PyEvalFramePushAndInit()
#include "pycore_code.h"
#include "pycore_function.h"
#include "pycore_global_strings.h" // _Py_ID()
#include "pycore_object.h"
#include "pycore_opcode_utils.h"
#include "pycore_runtime.h"       // _Py_SINGLETON()
#include "pycore_stackless_inline.h"
#include "opcode.h"

enum { WAITS, RETURNED, YIELDED };

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
    .co_framesize = STATE_SIZE + 1 + FRAME_SPECIALS_SIZE,
    .co_code_adaptive = {
        (char)INTERPRETER_EXIT, 0, (char)INTERPRETER_EXIT, 0, (char)INTERPRETER_EXIT, 0,
    },
};

PyCodeObject *const _PyStackless_ContinuationCode = (PyCodeObject *)&continuation_code;

static step_function *const steps[CONTINUE_COUNT] = {
    [CONTINUE_BINARY] = _PyStackless_BinaryStep,
};

/* --- pushing frames ---------------------------------------------------------------- */

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

step_outcome
_PyStackless_EnterFrame(PyThreadState *tstate, _PyInterpreterFrame *frame)
{
    _PyInterpreterFrame *caller = tstate->current_frame;
    frame->previous = caller;
    tstate->current_frame = frame;
    if (enter_recursion(tstate) < 0) {
        tstate->py_recursion_remaining++;
        tstate->current_frame = caller;
        _PyEval_FrameClearAndPop(tstate, frame);
        return STEP_FAILED;
    }
    return STEP_PUSHED;
}

step_outcome
_PyStackless_PushFunction(PyThreadState *tstate, PyObject *func, PyObject *self,
                          PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *small[8];
    PyObject **stack = small;
    Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (total >= (Py_ssize_t)Py_ARRAY_LENGTH(small)) {
        stack = PyMem_New(PyObject *, total + 1);
        if (stack == NULL) {
            PyErr_NoMemory();
            return STEP_FAILED;
        }
    }
    PyObject **p = stack;
    if (self != NULL) {
        *p++ = Py_NewRef(self);
        nargs++;
    }
    for (Py_ssize_t i = 0; i < total; i++) {
        *p++ = Py_NewRef(args[i]);
    }
    int flags = ((PyCodeObject *)PyFunction_GET_CODE(func))->co_flags;
    PyObject *locals = flags & CO_OPTIMIZED ? NULL
                                            : Py_NewRef(PyFunction_GET_GLOBALS(func));
    _PyInterpreterFrame *frame = _PyEvalFramePushAndInit(
        tstate, (PyFunctionObject *)Py_NewRef(func), locals, stack, nargs, kwnames);
    if (stack != small) {
        PyMem_Free(stack);
    }
    return frame ? _PyStackless_EnterFrame(tstate, frame) : STEP_FAILED;
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
    if (PyFunction_Check(method)) {
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

/* --- continuations ----------------------------------------------------------------- */

static _PyInterpreterFrame *
push_continuation(PyThreadState *tstate, _PyInterpreterFrame *caller,
                  continuation_kind kind, PyObject *const *state)
{
    PyCodeObject *code = _PyStackless_ContinuationCode;
    _PyInterpreterFrame *c = _PyThreadState_PushFrame(tstate, code->co_framesize);
    if (c == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    c->f_executable = (PyObject *)code;
    c->previous = caller;
    c->f_funcobj = Py_None;
    c->f_globals = NULL;
    c->f_builtins = NULL;
    c->f_locals = NULL;
    c->frame_obj = NULL;
    c->instr_ptr = _PyCode_CODE(code);
    c->stacktop = STATE_SIZE;
    c->return_offset = RETURNED;
    c->owner = FRAME_OWNED_BY_THREAD;
    c->localsplus[STATE_KIND] = PyLong_FromLong(kind);
    for (int i = STATE_A; i < STATE_SIZE; i++) {
        c->localsplus[i] = state[i - STATE_A];
    }
    tstate->current_frame = c;
    tstate->py_recursion_remaining--;
    return c;
}

static void
pop_continuation(PyThreadState *tstate, _PyInterpreterFrame *c)
{
    tstate->py_recursion_remaining++;
    tstate->current_frame = c->previous;
    _PyEval_FrameClearAndPop(tstate, c);
}

/* Runs steps until one has pushed a frame or a frame that is no continuation gets a
   value or an exception.  That frame is tstate->current_frame then. */
static void
run_steps(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
          PyObject *value)
{
    for (;;) {
        c->instr_ptr = _PyCode_CODE(_PyStackless_ContinuationCode);
        c->return_offset = RETURNED;
        long kind = PyLong_AsLong(c->localsplus[STATE_KIND]);
        step_outcome outcome = steps[kind](tstate, c, event, &value);
        if (outcome == STEP_PUSHED) {
            return;
        }
        assert((outcome == STEP_FAILED) == (tstate->current_exception != NULL));
        assert(tstate->current_frame == c);
        _PyInterpreterFrame *caller = c->previous;
        pop_continuation(tstate, c);
        if (_PyStackless_IsContinuation(caller)) {
            c = caller;
            event = outcome == STEP_FAILED ? AT_RAISE : AT_RETURN;
            value = outcome == STEP_FAILED ? NULL : value;
            continue;
        }
        if (outcome != STEP_FAILED) {
            if (value != NULL) {
                _PyFrame_StackPush(caller, value);
            }
            caller->instr_ptr += caller->return_offset;
        }
        caller->return_offset = 0;
        return;
    }
}

_PyInterpreterFrame *
_PyStackless_Continue(PyThreadState *tstate, _PyInterpreterFrame *c)
{
    step_event event = AT_RAISE;
    PyObject *value = NULL;
    if (tstate->current_exception == NULL) {
        long at = c->instr_ptr - _PyCode_CODE(_PyStackless_ContinuationCode);
        event = at == YIELDED ? AT_YIELD : AT_RETURN;
        value = _PyFrame_StackPop(c);
    }
    run_steps(tstate, c, event, value);
    return tstate->current_frame;
}

int
_PyStackless_Begin(PyThreadState *tstate, _PyInterpreterFrame *frame,
                   PyObject **stack_pointer, int size, continuation_kind kind,
                   PyObject *a, PyObject *b, PyObject *c, PyObject *d)
{
    PyObject *state[] = { a, b, c, d };
    frame->return_offset = size;
    _PyFrame_SetStackPointer(frame, stack_pointer);
    _PyInterpreterFrame *continuation = push_continuation(tstate, frame, kind, state);
    if (continuation == NULL) {
        frame->return_offset = 0;
        for (int i = 0; i < (int)Py_ARRAY_LENGTH(state); i++) {
            Py_XDECREF(state[i]);
        }
        return 1;
    }
    run_steps(tstate, continuation, AT_START, NULL);
    return 1;
}

/* --- the slots of Python classes ------------------------------------------------------ */

struct _PyStackless_PythonSlots _PyStackless_PythonSlots;

static const char probe_source[] =
    "names = '''add sub mul matmul truediv floordiv mod pow lshift rshift and or xor\n"
    "'''.split()\n"
    "def method(self, *args): return method\n"
    "every = ['__' + p + n + '__' for n in names for p in ('', 'r', 'i')]\n"
    "every += ['__' + n + '__' for n in '''neg pos invert bool len contains getitem\n"
    "    setitem delitem iter next call init new get set delete getattr setattr\n"
    "    delattr lt le gt ge eq ne hash await aiter anext'''.split()]\n"
    "probe = type('probe', (), dict.fromkeys(every, method))\n"
    "class getattribute:\n"
    "    def __getattribute__(self, name): pass\n"
    "getattribute().x\n";

int
_PyStackless_InitPythonSlots(void)
{
    PyObject *globals = Py_BuildValue("{s:O}", "__builtins__", PyEval_GetBuiltins());
    PyObject *code = Py_CompileString(probe_source, "<stackless>", Py_file_input);
    PyObject *res = globals && code ? PyEval_EvalCode(code, globals, globals) : NULL;
    if (res != NULL) {
        PyTypeObject *probe = (PyTypeObject *)PyDict_GetItemString(globals, "probe");
        PyTypeObject *other = (PyTypeObject *)PyDict_GetItemString(globals,
                                                                   "getattribute");
        struct _PyStackless_PythonSlots *slots = &_PyStackless_PythonSlots;
        slots->number = *probe->tp_as_number;
        slots->sequence = *probe->tp_as_sequence;
        slots->mapping = *probe->tp_as_mapping;
        slots->async = *probe->tp_as_async;
        slots->type = *probe;
        slots->getattro = other->tp_getattro;
    }
    Py_XDECREF(code);
    Py_XDECREF(globals);
    Py_XDECREF(res);
    return res ? 0 : -1;
}

/* --- the hook of the instructions ------------------------------------------------------- */

int
_PyStackless_InlineInstruction(PyThreadState *tstate, _PyInterpreterFrame *frame,
                               PyObject **stack_pointer, int opcode, int oparg)
{
    if (tstate->interp->eval_frame != NULL) {
        return 0;
    }
    switch (opcode) {
        case BINARY_OP:
            return _PyStackless_BinaryOp(tstate, frame, stack_pointer, oparg);
        default:
            Py_UNREACHABLE();
    }
}
