/* Taking tasklets, generators and frames apart.

   What is returned is a snapshot: tuples with references to what the frames refer to.  Neither
   does it change anything, nor does it run any Python code, so that nothing can change
   meanwhile; what comes of pickling those objects, which may run any code, is the pickler's
   affair. */

#include "Python.h"
#include "pycore_code.h"          // _PyCode_CODE()
#include "pycore_frame.h"         // _PyInterpreterFrame
#include "pycore_genobject.h"     // _PyFrame_GetGenerator()
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/pickle/pickle.h"

/* --- frames --------------------------------------------------------------------- */

/* An int whose bit i is set if words[i] is NULL; *count: how many are not. */
static PyObject *
null_bits(PyObject *const *words, int size, Py_ssize_t *count)
{
    uint64_t bits = 0;
    *count = size;
    for (int i = 0; i < size; i++) {
        if (words[i] == NULL) {
            --*count;
            if (i < 63) {
                bits |= (uint64_t)1 << i;
            }
        }
    }
    if (size <= 63) {
        return PyLong_FromUnsignedLongLong(bits);
    }
    size_t nbytes = (size_t)size / 8 + 1;
    unsigned char *bytes = PyMem_Calloc(nbytes, 1);
    if (bytes == NULL) {
        return PyErr_NoMemory();
    }
    for (int i = 0; i < size; i++) {
        bytes[i / 8] |= (unsigned char)((words[i] == NULL) << (i % 8));
    }
    PyObject *number = _PyLong_FromByteArray(bytes, nbytes, 1, 0);
    PyMem_Free(bytes);
    return number;
}

/* A tuple of `first` items, which are to be set, the numbers, and the values. */
static PyObject *
take_values(stackless_modstate *mod, _PyInterpreterFrame *frame, int size, int first)
{
    PyCodeObject *code = _PyFrame_GetCode(frame);
    Py_ssize_t count;
    PyObject *nulls = null_bits(frame->localsplus, size, &count);
    PyObject *tuple = nulls ? PyTuple_New(first + 3 + count) : NULL;
    PyObject *instr = PyLong_FromSsize_t(frame->instr_ptr - _PyCode_CODE(code));
    PyObject *offset = PyLong_FromLong(frame->return_offset);
    if (tuple == NULL || instr == NULL || offset == NULL) {
        Py_XDECREF(nulls);
        Py_XDECREF(tuple);
        Py_XDECREF(instr);
        Py_XDECREF(offset);
        return NULL;
    }
    PyTuple_SET_ITEM(tuple, first, instr);
    PyTuple_SET_ITEM(tuple, first + 1, offset);
    PyTuple_SET_ITEM(tuple, first + 2, nulls);
    Py_ssize_t to = first + 3;
    for (int i = 0; i < size; i++) {
        if (frame->localsplus[i] != NULL) {
            PyObject *op = _PyStackless_StandIn(mod, frame->localsplus[i]);
            if (op == NULL) {
                Py_DECREF(tuple);
                return NULL;
            }
            PyTuple_SET_ITEM(tuple, to++, op);
        }
    }
    return tuple;
}

PyObject *
_PyStackless_TakeRecord(stackless_modstate *mod, _PyInterpreterFrame *frame, int size)
{
    PyObject *globals = _PyStackless_StandIn(mod, frame->f_globals);
    PyObject *locals = globals == NULL || frame->f_locals == NULL ? Py_None
                       : frame->f_locals == frame->f_globals ? Py_NewRef(globals)
                       : PyDict_CheckExact(frame->f_locals)
                       ? _PyStackless_StandIn(mod, frame->f_locals)
                       : Py_NewRef(frame->f_locals);
    PyObject *tuple = globals && locals ? take_values(mod, frame, size, RECORD_INSTR) : NULL;
    if (tuple == NULL) {
        Py_XDECREF(globals);
        Py_XDECREF(locals);
        return NULL;
    }
    PyTuple_SET_ITEM(tuple, RECORD_CODE, Py_NewRef(frame->f_executable));
    PyTuple_SET_ITEM(tuple, RECORD_GLOBALS, globals);
    PyTuple_SET_ITEM(tuple, RECORD_LOCALS, locals);
    return tuple;
}

static PyObject *
take_named(stackless_modstate *mod, _PyInterpreterFrame *frame, int size, const char *name)
{
    PyObject *str = PyUnicode_InternFromString(name);
    PyObject *tuple = str ? take_values(mod, frame, size, 1) : NULL;
    if (tuple == NULL) {
        Py_XDECREF(str);
        return NULL;
    }
    PyTuple_SET_ITEM(tuple, 0, str);
    return tuple;
}

static PyObject *
take_continuation(stackless_modstate *mod, _PyInterpreterFrame *c)
{
    int kind = (int)continuation_get(c, STATE_KIND);
    const char *name = _PyStackless_KindName(kind);
    if (name == NULL || _PyStackless_KindRefused(kind) != NULL) {
        PyErr_Format(PyExc_TypeError, "cannot pickle a tasklet that is %s",
                     name ? _PyStackless_KindRefused(kind) : "there: it is not known how");
        return NULL;
    }
    PyObject *str = PyUnicode_InternFromString(name);
    Py_ssize_t count;
    PyObject *nulls = null_bits(c->localsplus, STATE_SIZE, &count);
    PyObject *tuple = str && nulls ? PyTuple_New(6) : NULL;
    if (tuple == NULL) {
        Py_XDECREF(str);
        Py_XDECREF(nulls);
        return NULL;
    }
    PyTuple_SET_ITEM(tuple, 0, str);
    for (int i = STATE_A; i < STATE_SIZE; i++) {
        PyObject *op = c->localsplus[i];
        op = _PyStackless_StandIn(mod, op ? op : Py_None);
        PyTuple_SET_ITEM(tuple, i, op);
        if (op == NULL) {
            Py_DECREF(nulls);
            Py_DECREF(tuple);
            return NULL;
        }
    }
    if (kind == CONTINUE_FOR || kind == CONTINUE_ITEM) {     // not who monitors this process
        long number = continuation_number(c) & ~1;
        Py_SETREF(PyTuple_GET_ITEM(tuple, STATE_NUMBER), PyLong_FromLong(number));
        if (PyTuple_GET_ITEM(tuple, STATE_NUMBER) == NULL) {
            Py_DECREF(nulls);
            Py_DECREF(tuple);
            return NULL;
        }
    }
    PyTuple_SET_ITEM(tuple, 5, nulls);
    return tuple;
}

/* What calls __init__() for a specialised call of a class: as a continuation does it. */
static PyObject *
take_init(_PyInterpreterFrame *frame)
{
    return Py_BuildValue("(sOOOii)", _PyStackless_KindName(CONTINUE_INIT), frame->localsplus[0], Py_None,
                         Py_None, 0, (1 << STATE_B) | (1 << STATE_C));
}

static PyObject *
take_frame(stackless_modstate *mod, _PyInterpreterFrame *frame, int size)
{
    extern const struct _PyCode_DEF(8) _Py_InitCleanup;
    if (frame->owner == FRAME_OWNED_BY_GENERATOR) {
        return PyTuple_Pack(1, _PyFrame_GetGenerator(frame));
    }
    if (_PyStackless_IsContinuation(frame)) {
        return take_continuation(mod, frame);
    }
    PyObject *code = frame->f_executable;
    if (code == (PyObject *)&_Py_InitCleanup) {
        return take_init(frame);
    }
    if (code == PyFunction_GET_CODE(mod->trampoline)) {
        return take_named(mod, frame, size, "call");
    }
    if (code == PyFunction_GET_CODE(mod->keywords_trampoline)) {
        return take_named(mod, frame, size, "callkw");
    }
    return _PyStackless_TakeRecord(mod, frame, size);
}

/* A list of the records of t's frames, the outermost one first. */
static PyObject *
take_frames(PyTaskletObject *t)
{
    stackless_modstate *mod = sched_of(t)->mod;
    PyObject *frames = PyList_New(0);
    for (_PyInterpreterFrame *f = t->frame;
         frames != NULL && f != NULL && f->owner != FRAME_OWNED_BY_CSTACK; f = f->previous) {
        int size = f->stacktop;
        if (_PyStackless_IsContinuation(f)
            && continuation_get(f, STATE_KIND) == CONTINUE_C_RETURN) {
            continue;                  // monitoring stays here
        }
        if (f == t->frame && tasklet_has_mark(t, DEPTH_HANDLES)) {
            size--;                    // the exception that t handles
        }
        PyObject *record = take_frame(mod, f, size);
        if (record == NULL || PyList_Append(frames, record) < 0) {
            Py_CLEAR(frames);
        }
        Py_XDECREF(record);
    }
    if (frames != NULL && PyList_Reverse(frames) < 0) {
        Py_CLEAR(frames);
    }
    return frames;
}

/* Of those that are never to be run: what there is to be seen. */
static PyObject *
take_frames_to_look_at(PyTaskletObject *t)
{
    stackless_modstate *mod = sched_of(t)->mod;
    PyObject *frames = PyList_New(0);
    _PyInterpreterFrame *f = _PyFrame_GetFirstComplete(_PyTasklet_TopFrame(t));
    while (frames != NULL && f != NULL) {
        PyObject *record = _PyStackless_TakeRecord(mod, f, _PyFrame_GetCode(f)->co_nlocalsplus);
        if (record == NULL || PyList_Append(frames, record) < 0) {
            Py_CLEAR(frames);
        }
        Py_XDECREF(record);
        f = _PyFrame_GetFirstComplete(f->previous);
    }
    if (frames != NULL && PyList_Reverse(frames) < 0) {
        Py_CLEAR(frames);
    }
    return frames;
}

/* --- tasklets ----------------------------------------------------------------------- */

static int
state_bits(PyTaskletObject *t)
{
    int bits = STACKLESS_PICKLE_FORMAT << PICKLED_FORMAT_SHIFT;
    bits |= t->state == TASKLET_SENDING ? 1 : t->state == TASKLET_RECEIVING ? 3 : 0;
    bits |= t->flags & TASKLET_ATOMIC ? PICKLED_ATOMIC : 0;
    bits |= t->flags & TASKLET_IGNORE_NESTING ? PICKLED_IGNORE_NESTING : 0;
    bits |= t->flags & TASKLET_BLOCK_TRAP ? PICKLED_BLOCK_TRAP : 0;
    bits |= t->flags & TASKLET_RAISES ? PICKLED_RAISES : 0;
    bits |= t->flags & TASKLET_RETURNS_SELF ? PICKLED_RETURNS_SELF : 0;
    if (t->flags & TASKLET_STARTED) {
        bits |= PICKLED_STARTED;
        bits |= t->flags & TASKLET_RETURNS_NONE ? PICKLED_RETURNS_NONE : 0;
        bits |= extra_of(t) != NULL && extra_of(t)->interrupted ? PICKLED_INTERRUPTED : 0;
    }
    return bits;
}

/* The exception that it handles outside of generators, borrowed, or NULL. */
static PyObject *
root_exception(PyTaskletObject *t)
{
    if (tasklet_has_mark(t, DEPTH_HANDLES)) {
        return _PyFrame_StackPeek(t->frame);
    }
    return extra_of(t) != NULL ? extra_of(t)->exc_value : NULL;
}

PyObject *
_PyStackless_TakeTasklet(PyTaskletObject *t)
{
    const tasklet_extra *extra = extra_of(t);
    if (tasklet_is_executing(t)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "You cannot __reduce__ the tasklet which is current.");
        return NULL;
    }
    if (_PyGreenlet_IsTasklet(t) || (extra != NULL && extra->greenlet != NULL)) {
        PyErr_SetString(PyExc_TypeError,
                        "cannot pickle the tasklet of a greenlet: greenlets stay in their "
                        "thread");
        return NULL;
    }
    const char *wait = _PyStackless_IsSelecting(t) ? "waits in select()"
                       : tasklet_has_timer(t) ? "waits for a time"
                       : tasklet_is_blocked(t) && (t->channel->special & CHANNEL_HIDDEN)
                       ? "waits for the end of another one, or sleeps" : NULL;
    if (wait != NULL) {
        PyErr_Format(PyExc_TypeError, "cannot pickle a tasklet that %s: what it waits for would "
                     "be lost", wait);
        return NULL;
    }
    int bits = state_bits(t);
    int hard = _PyTasklet_IsHard(t) || (t->flags & TASKLET_IS_MAIN);
    PyObject *exc = NULL, *frames;
    if (hard) {
        bits = (bits | PICKLED_HARD) & ~PICKLED_RETURNS_SELF;
        frames = take_frames_to_look_at(t);
    }
    else if (t->flags & TASKLET_STARTED) {
        exc = t->frame != NULL ? root_exception(t) : NULL;
        frames = take_frames(t);
    }
    else if (t->state == TASKLET_IDLE) {
        frames = PyList_New(0);
    }
    else {
        PyObject *args = t->flags & TASKLET_HAS_KWARGS ? PyTuple_GET_ITEM(t->args, 0) : t->args;
        PyObject *kwargs = t->flags & TASKLET_HAS_KWARGS ? PyTuple_GET_ITEM(t->args, 1)
                                                         : Py_None;
        frames = Py_BuildValue("[(OOO)]", t->func, args, kwargs);
    }
    if (frames == NULL) {
        return NULL;
    }
    PyObject *value = _PyStackless_StandIn(sched_of(t)->mod, exc ? exc : Py_None);
    if (value == NULL) {
        Py_DECREF(frames);
        return NULL;
    }
    /* (The exception has its traceback.) */
    PyObject *tempval = t->tempval != NULL && !hard ? t->tempval : Py_None;
    const _PyStackless_Scheduler *caller = _PyStackless_PeekScheduler(_PyThreadState_GET());
    if (caller != NULL && caller->pickle_flags & PICKLEFLAGS_PICKLE_CONTEXT) {
        PyObject *context = *context_of(t);
        return Py_BuildValue("(iOiNONOOiiOOO)", bits, tempval, _PyTasklet_NestingLevel(t),
                             frames, exc ? (PyObject *)Py_TYPE(exc) : Py_None, value, Py_None,
                             Py_None, 0, 0, Py_None, Py_None, context ? context : Py_None);
    }
    return Py_BuildValue("(iOiNONOOiiOO)", bits, tempval, _PyTasklet_NestingLevel(t), frames,
                         exc ? (PyObject *)Py_TYPE(exc) : Py_None, value, Py_None, Py_None,
                         0, 0, Py_None, Py_None);
}
