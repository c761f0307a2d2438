/* Building tasklets from what take.c has made of them.

   Nothing of a state is trusted.  A chain of frames is built that belongs to nobody, each frame
   is checked (check.c) together with the one above it, and only then the tasklet gets them.
   What is dropped on the way if something is wrong may run any code, which finds the tasklet as
   it was. */

#include "Python.h"
#include "pycore_code.h"          // _PyCode_CODE()
#include "pycore_frame.h"         // _PyFrame_Initialize()
#include "pycore_genobject.h"     // PyGenObject
#include "pycore_interp.h"        // PyInterpreterState
#include "pycore_opcode_metadata.h" // _PyOpcode_Caches
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "opcode_ids.h"           // FOR_ITER
#include "Stackless/pickle/pickle.h"

static int
bad_state(const char *what)
{
    PyErr_Format(PyExc_ValueError, "cannot build a tasklet: %s", what);
    return -1;
}

/* --- records ------------------------------------------------------------------------ */

/* 0, or -1 with an exception. */
static int
read_int(PyObject *op, int low, int high, int *value)
{
    int overflow = 0;
    long number = PyLong_CheckExact(op) ? PyLong_AsLongAndOverflow(op, &overflow) : -1;
    if (!PyLong_CheckExact(op) || overflow != 0 || number < low || number > high) {
        PyErr_Format(PyExc_ValueError,
                     "cannot build a frame: an int from %d to %d is expected, not %R",
                     low, high, op);
        return -1;
    }
    *value = (int)number;
    return 0;
}

/* The numbers and values, from `first` on. */
static int
read_values(PyObject *tuple, int first, stackless_record *r)
{
    r->nulls = PyTuple_GET_ITEM(tuple, first + 2);
    r->values = &PyTuple_GET_ITEM(tuple, 0) + first + 3;
    r->nvalues = PyTuple_GET_SIZE(tuple) - first - 3;
    if (!PyLong_CheckExact(r->nulls) || _PyLong_Sign(r->nulls) < 0) {
        return bad_state("what is NULL in a frame is told by an int");
    }
    if (read_int(PyTuple_GET_ITEM(tuple, first), 0, (int)Py_SIZE(r->code) - 1, &r->instr) < 0
        || read_int(PyTuple_GET_ITEM(tuple, first + 1), 0, UINT16_MAX, &r->offset) < 0) {
        return -1;
    }
    return 0;
}

int
_PyStackless_ReadRecord(stackless_modstate *mod, PyObject *tuple, stackless_record *r)
{
    if (!PyTuple_CheckExact(tuple) || PyTuple_GET_SIZE(tuple) < RECORD_VALUES
        || !PyCode_Check(PyTuple_GET_ITEM(tuple, RECORD_CODE))) {
        return bad_state("a frame is told by a tuple that begins with its code");
    }
    r->mod = mod;
    r->code = (PyCodeObject *)PyTuple_GET_ITEM(tuple, RECORD_CODE);
    r->globals = _PyStackless_NamespaceDict(mod, PyTuple_GET_ITEM(tuple, RECORD_GLOBALS));
    r->locals = PyTuple_GET_ITEM(tuple, RECORD_LOCALS);
    if (r->globals == NULL) {
        return -1;
    }
    r->locals = _PyStackless_StoodFor(mod, r->locals);
    if (r->locals == Py_None) {
        r->locals = NULL;
    }
    else if (!PyMapping_Check(r->locals)) {
        return bad_state("the local names of a frame are no mapping");
    }
    if ((r->locals == NULL) != ((r->code->co_flags & CO_OPTIMIZED) != 0)) {
        return bad_state("a frame has a mapping of local names and needs none, or vice versa");
    }
    return read_values(tuple, RECORD_INSTR, r);
}

int
_PyStackless_HasBit(PyObject *bits, Py_ssize_t i)
{
    const PyLongObject *number = (PyLongObject *)bits;
    Py_ssize_t digit = i / PyLong_SHIFT;
    return digit < _PyLong_DigitCount(number)
           ? (int)(number->long_value.ob_digit[digit] >> (i % PyLong_SHIFT)) & 1 : 0;
}

int
_PyStackless_FillFrame(_PyInterpreterFrame *frame, PyFunctionObject *func,
                       const stackless_record *r)
{
    PyCodeObject *code = r->code;
    int most = code->co_nlocalsplus + code->co_stacksize;
    stackless_modstate *mod = r->mod;
    int size = 0;
    Py_ssize_t from = 0;
    while (size < most && (from < r->nvalues || _PyStackless_HasBit(r->nulls, size))) {
        frame->localsplus[size] = _PyStackless_HasBit(r->nulls, size)
                                  ? NULL : _PyStackless_StoodFor(mod, r->values[from++]);
        size++;
    }
    if (from < r->nvalues || size < code->co_nlocalsplus) {
        Py_DECREF(func);
        return bad_state("a frame has too few values, or too many");
    }
    _PyFrame_Initialize(frame, func, Py_XNewRef(r->locals), code, code->co_nlocalsplus);
    for (int i = 0; i < size; i++) {
        Py_XINCREF(frame->localsplus[i]);
    }
    frame->stacktop = size;
    frame->instr_ptr = _PyCode_CODE(code) + r->instr;
    frame->return_offset = (uint16_t)r->offset;
    frame->previous = NULL;
    return 0;
}

/* The cells of the closure are the frame's: those who find the function may call it. */
PyFunctionObject *
_PyStackless_MakeFunction(const stackless_record *r)
{
    PyCodeObject *code = r->code;
    PyFunctionObject *func = (PyFunctionObject *)PyFunction_New((PyObject *)code, r->globals);
    if (func == NULL || code->co_nfreevars == 0) {
        return func;
    }
    PyObject *closure = PyTuple_New(code->co_nfreevars);
    if (closure == NULL) {
        Py_DECREF(func);
        return NULL;
    }
    int first = code->co_nlocalsplus - code->co_nfreevars;
    Py_ssize_t from = 0;
    for (int i = 0; i < code->co_nlocalsplus; i++) {
        PyObject *op = _PyStackless_HasBit(r->nulls, i) || from >= r->nvalues ? NULL : r->values[from++];
        if (i >= first) {
            if (op == NULL || !PyCell_Check(op)) {
                PyErr_Format(PyExc_ValueError, "cannot build a frame of %U(): a variable of a "
                             "closure is not a cell", code->co_qualname);
                Py_DECREF(closure);
                Py_DECREF(func);
                return NULL;
            }
            PyTuple_SET_ITEM(closure, i - first, Py_NewRef(op));
        }
    }
    func->func_closure = closure;
    return func;
}

/* --- chains ------------------------------------------------------------------------- */

typedef struct {
    PyThreadState *tstate;
    _PyStackless_Scheduler *sched;
    _PyInterpreterFrame *top;     // NULL: nothing was built so far
    _PyErr_StackItem *exc_info;   // of the innermost generator, or the root
    int depth;
    int special;                  // it takes a side block
} chain;

static void
drop_chain(chain *c)
{
    PyObject *exc = PyErr_GetRaisedException();
    while (c->top != NULL) {
        _PyInterpreterFrame *frame = c->top;
        c->top = frame->previous;
        frame->previous = NULL;
        if (frame->owner == FRAME_OWNED_BY_GENERATOR) {
            _PyFrame_GetGenerator(frame)->gi_exc_state.previous_item = NULL;
        }
        else {
            _PyStackless_ClearFrame(c->tstate, frame);
        }
    }
    PyErr_SetRaisedException(exc);
}

static void
link_frame(chain *c, _PyInterpreterFrame *frame)
{
    frame->previous = c->top;
    c->top = frame;
}

static _PyInterpreterFrame *
alloc_frame(chain *c, int words)
{
    _PyInterpreterFrame *frame = _PyStackless_AllocFrame(c->sched, (size_t)words);
    if (frame == NULL) {
        PyErr_NoMemory();
    }
    return frame;
}

static int
add_python_frame(chain *c, PyFunctionObject *func, const stackless_record *r)
{
    _PyInterpreterFrame *frame = func ? alloc_frame(c, r->code->co_framesize) : NULL;
    if (frame == NULL) {
        Py_XDECREF(func);
        return -1;
    }
    if (_PyStackless_FillFrame(frame, func, r) < 0) {
        _PyStackless_FreeFrame(c->sched, frame, (size_t)r->code->co_framesize);
        return -1;
    }
    frame->owner = FRAME_OWNED_BY_TASKLET;
    link_frame(c, frame);
    c->depth++;
    return 0;
}

/* The frame that calls what is no plain Python function. */
static int
add_trampoline(chain *c, PyObject *record, PyObject *func)
{
    stackless_record r = { .mod = c->sched->mod,
                           .code = (PyCodeObject *)PyFunction_GET_CODE(func) };
    if (PyTuple_GET_SIZE(record) < 4) {
        return bad_state("a frame's record is too short");
    }
    if (read_values(record, 1, &r) < 0) {
        return -1;
    }
    return add_python_frame(c, (PyFunctionObject *)Py_NewRef(func), &r);
}

static int
add_generator(chain *c, PyObject *op)
{
    PyGenObject *gen = (PyGenObject *)op;
    if (!PyGen_CheckExact(op) && !PyCoro_CheckExact(op) && !PyAsyncGen_CheckExact(op)) {
        return bad_state("what is told to be a generator's frame is none");
    }
    _PyInterpreterFrame *frame = (_PyInterpreterFrame *)gen->gi_iframe;
    if (gen->gi_frame_state != FRAME_EXECUTING || frame->previous != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot build a tasklet in a generator that is another one's, too: "
                        "copy.copy() is not enough, copy.deepcopy() is");
        return -1;
    }
    if (c->top == NULL) {
        return bad_state("its outermost frame is a generator's");
    }
    gen->gi_exc_state.previous_item = c->exc_info;
    c->exc_info = &gen->gi_exc_state;
    link_frame(c, frame);
    c->depth++;
    c->special = 1;
    return 0;
}

static int
add_continuation(chain *c, PyObject *record)
{
    int kind = _PyStackless_CheckContinuation(c->sched->mod, record);
    if (kind < 0) {
        return -1;
    }
    PyCodeObject *code = _PyStackless_ContinuationCode;
    _PyInterpreterFrame *frame = alloc_frame(c, code->co_framesize);
    if (frame == NULL) {
        return -1;
    }
    memset(frame, 0, FRAME_SPECIALS_SIZE * sizeof(PyObject *));
    frame->f_executable = (PyObject *)code;
    frame->f_funcobj = Py_None;
    frame->instr_ptr = _PyCode_CODE(code);
    frame->stacktop = STATE_SIZE;
    frame->return_offset = 1;
    frame->owner = FRAME_OWNED_BY_TASKLET;
    frame->localsplus[STATE_KIND] = continuation_make_number(kind);
    for (int i = STATE_A; i < STATE_SIZE; i++) {
        PyObject *op = _PyStackless_StoodFor(c->sched->mod, PyTuple_GET_ITEM(record, i));
        frame->localsplus[i] = _PyStackless_HasBit(PyTuple_GET_ITEM(record, 5), i) ? NULL : Py_NewRef(op);
    }
    link_frame(c, frame);
    return 0;
}

static int
add_frame(chain *c, PyObject *record)
{
    stackless_modstate *mod = c->sched->mod;
    if (!PyTuple_CheckExact(record) || PyTuple_GET_SIZE(record) == 0) {
        return bad_state("a frame is told by a tuple");
    }
    PyObject *first = PyTuple_GET_ITEM(record, 0);
    if (PyTuple_GET_SIZE(record) == 1) {
        return add_generator(c, first);
    }
    if (!PyUnicode_CheckExact(first)) {
        stackless_record r;
        if (_PyStackless_ReadRecord(mod, record, &r) < 0) {
            return -1;
        }
        return add_python_frame(c, _PyStackless_MakeFunction(&r), &r);
    }
    if (PyUnicode_EqualToUTF8(first, "call")) {
        return add_trampoline(c, record, mod->trampoline);
    }
    if (PyUnicode_EqualToUTF8(first, "callkw")) {
        return add_trampoline(c, record, mod->keywords_trampoline);
    }
    return add_continuation(c, record);
}

/* --- checking ------------------------------------------------------------------------- */

/* Does the frame, below that of the generator, keep it alive, and can it be resumed at the place
   where a yield goes on? */
static int
calls_generator(_PyInterpreterFrame *frame, PyGenObject *gen)
{
    if (_PyStackless_IsContinuation(frame)) {
        return _PyStackless_ContinuationHolds(frame, (PyObject *)gen);
    }
    PyCodeObject *code = _PyFrame_GetCode(frame);
    int opcode = _Py_GetBaseOpcode(code, _PyInterpreterFrame_LASTI(frame));
    return (opcode == FOR_ITER || opcode == SEND)
           && frame->stacktop > code->co_nlocalsplus
           && _PyFrame_StackPeek(frame) == (PyObject *)gen;
}

static int
check_chain(chain *c, int interrupted)
{
    int what = interrupted ? GETS_NOTHING : GETS_OBJECT;
    stackless_stop stop = interrupted ? STOP_INTERRUPT : STOP_CALL;
    if (_PyStackless_IsContinuation(c->top)) {
        return bad_state("nothing waits for a value");
    }
    /* c->top is a frame of code, with what it is to get; for each below it that is found out. */
    for (_PyInterpreterFrame *f = c->top; f != NULL; f = f->previous) {
        if (_PyStackless_IsContinuation(f)) {
            if (f->previous == NULL) {
                return bad_state("its outermost frame is a continuation");
            }
            what = _PyStackless_ContinuationGives(f, f->previous);
            if (what < 0 || _PyStackless_CheckAside(c->sched->mod, f) < 0) {
                return -1;
            }
            stop = what == GETS_DELEGATED ? STOP_YIELD : STOP_CALL;
        }
        else {
            if (_PyStackless_CheckFrame(c->sched->mod, f, stop, what) < 0) {
                return -1;
            }
            if (stop == STOP_YIELD) {
                if (_PyStackless_YieldState(f) != FRAME_SUSPENDED_YIELD_FROM) {
                    return bad_state("a generator delegates to nothing");
                }
                c->depth--;            // it is no level of recursion meanwhile
            }
            what = GETS_OBJECT;
            stop = STOP_CALL;
        }
        if (f->owner == FRAME_OWNED_BY_GENERATOR
            && !calls_generator(f->previous, _PyFrame_GetGenerator(f))) {
            return bad_state("a generator is in a frame that does not call it");
        }
    }
    return 0;
}

/* --- tasklets --------------------------------------------------------------------------- */

typedef struct {
    int bits;
    PyObject *tempval;            // borrowed; NULL for None
    PyObject *frames;
    PyObject *exc;                // or NULL
    PyObject *context;            // or NULL
} parsed;

static int
parse_state(stackless_modstate *mod, PyObject *state, parsed *p)
{
    Py_ssize_t size = PyTuple_CheckExact(state) ? PyTuple_GET_SIZE(state) : 0;
    if (size < 12 || !PyLong_CheckExact(PyTuple_GET_ITEM(state, 0))) {
        return bad_state("its state is no tuple of 12 items that begins with an int");
    }
    int overflow;
    long bits = PyLong_AsLongAndOverflow(PyTuple_GET_ITEM(state, 0), &overflow);
    int format = (int)(bits >> PICKLED_FORMAT_SHIFT);
    if (overflow || bits < 0 || format != STACKLESS_PICKLE_FORMAT) {
        PyErr_Format(PyExc_RuntimeError,
                     "the tasklet was pickled by another Stackless: its format is %ld, and the "
                     "newest one that is known here is %d",
                     overflow ? -1 : bits >> PICKLED_FORMAT_SHIFT, STACKLESS_PICKLE_FORMAT);
        return -1;
    }
    p->bits = (int)bits;
    p->tempval = PyTuple_GET_ITEM(state, 1);
    if (p->tempval == Py_None) {
        p->tempval = NULL;
    }
    if (bits & PICKLED_RAISES && !(p->tempval != NULL
                                   && (PyExceptionInstance_Check(p->tempval)
                                       || Py_IS_TYPE(p->tempval, mod->bomb_type)))) {
        return bad_state("what it is to raise is no exception");
    }
    p->frames = PyTuple_GET_ITEM(state, 3);
    p->exc = _PyStackless_StoodFor(mod, PyTuple_GET_ITEM(state, 5));
    p->context = size > 12 ? PyTuple_GET_ITEM(state, 12) : Py_None;
    if (!PyList_CheckExact(p->frames)) {
        return bad_state("its frames are in no list");
    }
    if (p->exc == Py_None) {
        p->exc = NULL;
    }
    else if (!PyExceptionInstance_Check(p->exc)) {
        return bad_state("what it handles is no exception");
    }
    if (p->context == Py_None) {
        p->context = NULL;
    }
    else if (!PyContext_CheckExact(p->context)) {
        PyErr_Format(PyExc_TypeError, "the context of a tasklet must be a Context, not %s",
                     Py_TYPE(p->context)->tp_name);
        return -1;
    }
    return 0;
}

static int
check_is_idle(PyTaskletObject *t)
{
    if (t->state != TASKLET_IDLE || _PyGreenlet_IsTasklet(t)) {
        PyErr_SetString(PyExc_RuntimeError, "tasklet is alive");
        return -1;
    }
    if (sched_of(t)->tstate != _PyThreadState_GET()) {
        PyErr_SetString(PyExc_RuntimeError, "tasklet belongs to a different thread");
        return -1;
    }
    return 0;
}

static void
set_bits(PyTaskletObject *t, const parsed *p)
{
    t->flags |= p->bits & PICKLED_ATOMIC ? TASKLET_ATOMIC : 0;
    t->flags |= p->bits & PICKLED_IGNORE_NESTING ? TASKLET_IGNORE_NESTING : 0;
    t->flags |= p->bits & PICKLED_BLOCK_TRAP ? TASKLET_BLOCK_TRAP : 0;
}

/* t, which is idle, gets its tempval: a function, a result, or what it is to raise. */
static void
set_tempval(PyTaskletObject *t, const parsed *p)
{
    PyObject *old = t->tempval;
    t->tempval = Py_XNewRef(p->tempval);
    t->flags &= ~(TASKLET_RETURNS_SELF | TASKLET_RAISES);
    t->flags |= p->bits & PICKLED_RETURNS_SELF && p->tempval == NULL ? TASKLET_RETURNS_SELF : 0;
    t->flags |= p->bits & PICKLED_RAISES && p->tempval != NULL ? TASKLET_RAISES : 0;
    Py_XDECREF(old);
}

/* Gives t the frames. */
static int
commit_frames(PyTaskletObject *t, const parsed *p, chain *c)
{
    _PyStackless_Scheduler *sched = c->sched;
    int interrupted = (p->bits & PICKLED_INTERRUPTED) != 0;
    if ((c->special || p->exc != NULL || interrupted || c->depth > STACKLESS_SMALL_DEPTH)
        && _PyStackless_EnsureExtra(t) < 0) {
        return -1;
    }
    tasklet_extra *extra = extra_of(t);
    t->depth = extra == NULL ? (int16_t)c->depth : 0;
    if (extra != NULL) {
        extra->depth = c->depth;
        extra->exc_info = c->exc_info;
        extra->exc_value = Py_XNewRef(p->exc);
        extra->interrupted = (uint8_t)interrupted;
    }
    _PyInterpreterFrame *bottom = c->top;
    for (_PyInterpreterFrame *f = c->top; f != NULL; f = f->previous) {
        bottom = f;
        if (_PyStackless_IsContinuation(f)) {
            _PyStackless_ContinuationBegins(f);
        }
    }
    bottom->previous = &sched->base;
    t->frame = c->top;
    c->top = NULL;
    t->epoch = (uint16_t)(sched->epoch - 1);       // what is monitored is to be looked up
    t->channel = NULL;
    t->flags |= TASKLET_STARTED;
    if (p->bits & PICKLED_RETURNS_NONE) {
        t->flags |= TASKLET_RETURNS_NONE;
    }
    set_bits(t, p);
    _PyStackless_SetState(t, TASKLET_PAUSED);
    set_tempval(t, p);
    return 0;
}

static int
build_started(PyTaskletObject *t, const parsed *p)
{
    _PyStackless_Scheduler *sched = sched_of(t);
    chain c = { .tstate = _PyThreadState_GET(), .sched = sched, .exc_info = &sched->exc_root };
    PyObject *frames = PyList_AsTuple(p->frames);
    int err = frames == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; err == 0 && i < PyTuple_GET_SIZE(frames); i++) {
        err = add_frame(&c, PyTuple_GET_ITEM(frames, i));
    }
    if (err == 0 && c.top == NULL) {
        err = bad_state("it has begun, but has no frames");
    }
    if (err == 0 && c.depth > INT_MAX / 2) {
        err = bad_state("it has too many frames");
    }
    if (err == 0) {
        err = check_chain(&c, (p->bits & PICKLED_INTERRUPTED) != 0);
    }
    if (err == 0) {
        err = check_is_idle(t);
    }
    if (err == 0) {
        err = commit_frames(t, p, &c);
    }
    Py_XDECREF(frames);
    drop_chain(&c);
    return err;
}

/* Not begun: a function and its arguments. */
static int
build_call(PyTaskletObject *t, const parsed *p)
{
    PyObject *call = PyList_GET_ITEM(p->frames, 0);
    if (!PyTuple_CheckExact(call) || PyTuple_GET_SIZE(call) != 3
        || !PyCallable_Check(PyTuple_GET_ITEM(call, 0))
        || !PyTuple_Check(PyTuple_GET_ITEM(call, 1))
        || !(PyTuple_GET_ITEM(call, 2) == Py_None || PyDict_Check(PyTuple_GET_ITEM(call, 2)))) {
        return bad_state("what it is to call is no tuple of a callable, a tuple and a dict");
    }
    PyObject *packed = PyTuple_GET_ITEM(call, 2) == Py_None
        ? Py_NewRef(PyTuple_GET_ITEM(call, 1))
        : PyTuple_Pack(2, PyTuple_GET_ITEM(call, 1), PyTuple_GET_ITEM(call, 2));
    if (packed == NULL) {
        return -1;
    }
    t->func = Py_NewRef(PyTuple_GET_ITEM(call, 0));
    t->args = packed;
    t->depth = 0;
    t->flags |= PyTuple_GET_ITEM(call, 2) == Py_None ? 0 : TASKLET_HAS_KWARGS;
    set_bits(t, p);
    _PyStackless_SetState(t, TASKLET_PAUSED);
    set_tempval(t, p);
    return 0;
}

/* C functions were between its frames: there is something to be seen, and it raises when it
   runs. */
static int
build_hard(PyTaskletObject *t, const parsed *p, PyObject *state)
{
    PyObject *wrap = PyImport_ImportModule("stackless._wrap");
    PyObject *invalid = wrap ? PyObject_GetAttrString(wrap, "invalid") : NULL;
    PyObject *func = invalid ? PyObject_CallOneArg(invalid, state) : NULL;
    PyObject *args = PyTuple_New(0);
    Py_XDECREF(wrap);
    Py_XDECREF(invalid);
    if (func == NULL || args == NULL || check_is_idle(t) < 0) {
        Py_XDECREF(func);
        Py_XDECREF(args);
        return -1;
    }
    t->func = func;
    t->args = args;
    t->depth = 0;
    set_bits(t, p);
    _PyStackless_SetState(t, TASKLET_PAUSED);
    set_tempval(t, p);
    return 0;
}

/* Its context, unless it has one: that of who loads it. */
static int
give_context(PyTaskletObject *t, PyObject *context)
{
    PyThreadState *tstate = _PyThreadState_GET();
    if (context == NULL && tstate->context == NULL) {
        tstate->context = PyContext_New();
        if (tstate->context == NULL) {
            return -1;
        }
        tstate->context_ver++;
    }
    PyObject *old = *context_of(t);
    *context_of(t) = Py_NewRef(context ? context : tstate->context);
    Py_XDECREF(old);
    return 0;
}

int
_PyStackless_BuildTasklet(PyTaskletObject *t, PyObject *state)
{
    parsed p;
    if (parse_state(sched_of(t)->mod, state, &p) < 0 || check_is_idle(t) < 0
        || give_context(t, p.context) < 0 || check_is_idle(t) < 0) {
        return -1;
    }
    PyObject *waiting = Py_XNewRef(t->tempval);
    int err = 0;
    if (p.bits & PICKLED_HARD) {
        err = build_hard(t, &p, state);
    }
    else if (p.bits & PICKLED_STARTED) {
        err = build_started(t, &p);
    }
    else if (PyList_GET_SIZE(p.frames) > 0) {
        err = build_call(t, &p);
    }
    else {
        set_bits(t, &p);
        set_tempval(t, &p);
    }
    if (err == 0 && waiting != NULL) {
        err = _PyStackless_TakesPlace(t, waiting);
    }
    Py_XDECREF(waiting);
    return err;
}
