/* Continuations in pickles: one rule for each kind (Stackless/inline/inline.h).

   A rule says what the words of its state have to be, so that its step finds what it expects,
   and what it gives to the frame below. */

#include "Python.h"
#include "opcode.h"               // NB_INPLACE_XOR
#include "opcode_ids.h"           // FOR_ITER
#include "pycore_code.h"          // _Py_GetBaseOpcode()
#include "pycore_frame.h"         // _PyInterpreterFrame
#include "pycore_genobject.h"     // PyAsyncGenASend_CheckExact()
#include "Stackless/pickle/pickle.h"

/* What a word of the state is. */
typedef enum {
    W_ANY,                        // NULL or any object
    W_OBJECT,
    W_STR,
    W_TYPE_OR_NULL,
    W_TUPLE,
    W_DICT_OR_NULL,
    W_LIST,
    W_GENERATOR,                  // a generator or coroutine
    W_GENERATOR_OR_NULL,
    W_OPARG,                      // an int
    W_CONTINUATION,               // of a soft call
    W_ASEND,                      // the awaitable of an async generator's asend()
} word_rule;

typedef struct {
    const char *name;
    const char *refused;          // where a tasklet is that is not pickled, or NULL
    uint8_t gives;                // GETS_...: what the frame below gets
    uint8_t words[3];             // of a, b, c
    int high;                     // the number is from 0 to this
} kind_rule;

enum { MAX_OPARG = INT_MAX / 4 };

static const kind_rule rules[CONTINUE_COUNT] = {
    [CONTINUE_DROP] = { "drop", NULL, GETS_NOTHING, {W_ANY, W_ANY, W_ANY}, INT_MAX },
    [CONTINUE_BINARY] = { "binary", NULL, GETS_OBJECT, {W_OBJECT, W_OBJECT, W_OPARG}, 7*7*7*7 },
    [CONTINUE_COMPARE] = { "compare", NULL, GETS_OBJECT, {W_OBJECT, W_OBJECT, W_OPARG}, 31 },
    [CONTINUE_TRUTH] = { "truth", NULL, GETS_BOOL, {W_ANY, W_ANY, W_ANY}, 6 },
    [CONTINUE_ATTRIBUTE] = { "attribute", NULL, GETS_OBJECT, {W_OBJECT, W_STR, W_ANY}, 7 },
    [CONTINUE_ITER] = { "iter", NULL, GETS_ITERATOR, {W_ANY, W_ANY, W_ANY}, 0 },
    [CONTINUE_FOR] = { "for", NULL, GETS_OBJECT, {W_GENERATOR_OR_NULL, W_ANY, W_ANY},
                       MAX_OPARG },
    [CONTINUE_ITEM] = { "item", NULL, GETS_OBJECT, {W_GENERATOR_OR_NULL, W_ANY, W_ANY},
                        MAX_OPARG },
    [CONTINUE_SEND] = { "send", NULL, GETS_OBJECT, {W_ANY, W_ANY, W_ANY}, MAX_OPARG },
    [CONTINUE_ASYNC] = { "async", NULL, GETS_OBJECT, {W_ASEND, W_ANY, W_ANY}, MAX_OPARG },
    [CONTINUE_AWAIT] = { "await", NULL, GETS_OBJECT, {W_ANY, W_ANY, W_ANY}, 0 },
    [CONTINUE_AITER] = { "aiter", NULL, GETS_OBJECT, {W_ANY, W_ANY, W_ANY}, 0 },
    [CONTINUE_NEXT] = { "next", NULL, GETS_OBJECT, {W_ANY, W_OBJECT, W_ANY}, 1 },
    [CONTINUE_GENERATOR] = { "generator", NULL, GETS_OBJECT, {W_GENERATOR, W_ANY, W_ANY}, 0 },
    [CONTINUE_DELEGATE] = { "delegate", NULL, GETS_DELEGATED, {W_ANY, W_ANY, W_ANY}, 0 },
    [CONTINUE_THROW] = { "throw", NULL, GETS_OBJECT, {W_GENERATOR, W_ANY, W_ANY}, 1 },
    [CONTINUE_CONTEXT] = { "context", "in Context.run(): contexts are not pickled", 0, {0}, 0 },
    [CONTINUE_C_RETURN] = { "c_return", NULL, GETS_OBJECT, {W_ANY, W_ANY, W_ANY}, 0 },
    [CONTINUE_TASK] = { "task", "in a step of an asyncio task: its loop is this process's", 0,
                        {0}, 0 },
    [CONTINUE_NEW] = { "new", NULL, GETS_OBJECT, {W_TYPE_OR_NULL, W_TUPLE, W_DICT_OR_NULL}, 0 },
    [CONTINUE_INIT] = { "init", NULL, GETS_OBJECT, {W_OBJECT, W_ANY, W_ANY}, 0 },
    [CONTINUE_CLASS] = { "class", NULL, GETS_OBJECT, {W_TUPLE, W_TUPLE, W_ANY}, 2 },
    [CONTINUE_SORT] = { "sort", NULL, GETS_OBJECT, {W_TUPLE, W_LIST, W_LIST}, 3 },
    [CONTINUE_SOFT] = { "soft", NULL, GETS_OBJECT, {W_CONTINUATION, W_OBJECT, W_ANY}, 0 },
};

const char *
_PyStackless_KindName(int kind)
{
    return rules[kind].name;
}

const char *
_PyStackless_KindRefused(int kind)
{
    return rules[kind].refused;
}

static int
bad_continuation(PyObject *name, const char *what)
{
    PyErr_Format(PyExc_ValueError, "cannot build a tasklet: the continuation %R %s", name, what);
    return -1;
}

static int
find_kind(PyObject *name)
{
    for (int kind = CONTINUE_NONE + 1; kind < CONTINUE_COUNT; kind++) {
        if (rules[kind].name != NULL && rules[kind].refused == NULL && kind != CONTINUE_C_RETURN
            && PyUnicode_EqualToUTF8(name, rules[kind].name)) {
            return kind;
        }
    }
    return -1;
}

static int
fits(PyObject *op, int rule)
{
    switch ((word_rule)rule) {
        case W_ANY:
            return 1;
        case W_TYPE_OR_NULL:
            return op == NULL || PyType_Check(op);
        case W_DICT_OR_NULL:
            return op == NULL || PyDict_CheckExact(op);
        case W_GENERATOR_OR_NULL:
            return op == NULL || PyGen_CheckExact(op);
        default:
            break;
    }
    if (op == NULL) {
        return 0;
    }
    switch ((word_rule)rule) {
        case W_STR:
            return PyUnicode_Check(op);
        case W_TUPLE:
            return PyTuple_CheckExact(op);
        case W_CONTINUATION:
            return _PyStackless_IsSoftContinuation(op);
        case W_LIST:
            return PyList_CheckExact(op);
        case W_GENERATOR:
            return PyGen_CheckExact(op) || PyCoro_CheckExact(op);
        case W_OPARG: {
            int overflow;
            return PyLong_CheckExact(op) && PyLong_AsLongAndOverflow(op, &overflow) >= 0
                   && overflow == 0;
        }
        case W_ASEND:
            return PyAsyncGenASend_CheckExact(op);
        default:
            return 1;
    }
}

/* Digits base 7, none of them 0. */
static int
is_binary_plan(long plan)
{
    while (plan > 0 && plan % 7 != 0) {
        plan /= 7;
    }
    return plan == 0;
}

static int
is_tuple_of(PyObject *op, Py_ssize_t size)
{
    return PyTuple_CheckExact(op) && PyTuple_GET_SIZE(op) == size;
}

static int
is_class_state(PyObject *parts, PyObject *args, PyObject *cell, long number)
{
    if (!is_tuple_of(parts, 3) || !is_tuple_of(args, number == 0 ? 2 : 3)
        || (number == 2) != (cell != NULL)) {
        return 0;
    }
    PyObject *func = PyTuple_GET_ITEM(parts, 0), *kwargs = PyTuple_GET_ITEM(parts, 2);
    return PyFunction_Check(func)
           && !(((PyCodeObject *)PyFunction_GET_CODE(func))->co_flags
                & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR | CO_OPTIMIZED))
           && PyCallable_Check(PyTuple_GET_ITEM(parts, 1))
           && (kwargs == Py_None || PyDict_CheckExact(kwargs))
           && PyTuple_Check(PyTuple_GET_ITEM(args, 1));
}

/* What the words have to be together. */
static int
is_state(int kind, PyObject *a, PyObject *b, PyObject *c, long number)
{
    int overflow;
    switch (kind) {
        case CONTINUE_BINARY:
            return PyLong_AsLongAndOverflow(c, &overflow) <= NB_INPLACE_XOR
                   && is_binary_plan(number);
        case CONTINUE_COMPARE:
            return PyLong_AsLongAndOverflow(c, &overflow) >> 5 <= Py_GE;
        case CONTINUE_TRUTH:
            return number != 3;
        case CONTINUE_NEXT:
            return number == 0 || PyGen_CheckExact(b);
        case CONTINUE_CLASS:
            return is_class_state(a, b, c, number);
        case CONTINUE_SORT:
            return is_tuple_of(a, 2) && PyList_CheckExact(PyTuple_GET_ITEM(a, 0)) && b != c
                   && PyTuple_GET_ITEM(a, 0) != b && PyTuple_GET_ITEM(a, 0) != c
                   && PyList_GET_SIZE(c) <= PyList_GET_SIZE(b);
        default:
            return 1;
    }
}

/* The kind of a continuation's record, whose state is as the step expects it; or -1. */
int
_PyStackless_CheckContinuation(stackless_modstate *mod, PyObject *record)
{
    PyObject *name = PyTuple_GET_ITEM(record, 0);
    int kind = find_kind(name);
    if (kind < 0) {
        return bad_continuation(name, "is not known");
    }
    if (PyTuple_GET_SIZE(record) != 6 || !PyLong_CheckExact(PyTuple_GET_ITEM(record, 5))
        || !PyLong_CheckExact(PyTuple_GET_ITEM(record, STATE_NUMBER))) {
        return bad_continuation(name, "has a state of another shape");
    }
    int overflow;
    long nulls = PyLong_AsLongAndOverflow(PyTuple_GET_ITEM(record, 5), &overflow);
    long number = overflow ? -1 : PyLong_AsLongAndOverflow(
        PyTuple_GET_ITEM(record, STATE_NUMBER), &overflow);
    const kind_rule *rule = &rules[kind];
    if (overflow || nulls < 0 || (nulls & ~(1 << STATE_A | 1 << STATE_B | 1 << STATE_C))
        || number < 0 || number > rule->high) {
        return bad_continuation(name, "has a number that is out of range");
    }
    PyObject *words[3];
    for (int i = STATE_A; i <= STATE_C; i++) {
        words[i - STATE_A] = nulls >> i & 1 ? NULL
                             : _PyStackless_StoodFor(mod, PyTuple_GET_ITEM(record, i));
        if (!fits(words[i - STATE_A], rule->words[i - STATE_A])) {
            return bad_continuation(name, "has a state of the wrong kind");
        }
    }
    if (!is_state(kind, words[0], words[1], words[2], number)) {
        return bad_continuation(name, "has a state that cannot be");
    }
    return kind;
}

static int
wrong_caller(int kind)
{
    PyErr_Format(PyExc_ValueError, "cannot build a tasklet: the continuation '%s' is above a "
                 "frame that waits for something else", rules[kind].name);
    return -1;
}

/* Is the frame in the instruction with this argument? */
static int
is_in(_PyInterpreterFrame *frame, int opcode, long oparg)
{
    if (_PyStackless_IsContinuation(frame)) {
        return 0;
    }
    PyCodeObject *code = _PyFrame_GetCode(frame);
    int i = _PyInterpreterFrame_LASTI(frame);
    return _Py_GetBaseOpcode(code, i) == opcode
           && (oparg < 0 || _PyStackless_OpargAt(code, i) == oparg)
           && frame->stacktop > code->co_nlocalsplus;
}

int
_PyStackless_ContinuationGives(_PyInterpreterFrame *c, _PyInterpreterFrame *below)
{
    int kind = (int)continuation_get(c, STATE_KIND);
    long number = continuation_number(c);
    PyObject *a = c->localsplus[STATE_A];
    switch (kind) {
        case CONTINUE_ATTRIBUTE:
            if (number & 1) {          // pushes itself
                return is_in(below, LOAD_ATTR, -1) || !_PyStackless_IsContinuation(below)
                       ? GETS_PAIR : wrong_caller(kind);
            }
            return GETS_OBJECT;
        case CONTINUE_COMPARE:
            return continuation_get(c, STATE_C) & 16 ? GETS_BOOL : GETS_OBJECT;
        case CONTINUE_FOR:
        case CONTINUE_ITEM:
            if (!is_in(below, FOR_ITER, number / 2)
                || (a != NULL && _PyFrame_StackPeek(below) != a)) {
                return wrong_caller(kind);
            }
            return GETS_OBJECT;
        case CONTINUE_SEND:
        case CONTINUE_ASYNC:
            return is_in(below, SEND, number) ? GETS_OBJECT : wrong_caller(kind);
        case CONTINUE_DELEGATE:
            return below->owner == FRAME_OWNED_BY_GENERATOR ? GETS_DELEGATED
                                                            : wrong_caller(kind);
        default:
            return rules[kind].gives;
    }
}

int
_PyStackless_ContinuationHolds(_PyInterpreterFrame *c, PyObject *gen)
{
    PyObject *a = c->localsplus[STATE_A];
    switch (continuation_get(c, STATE_KIND)) {
        case CONTINUE_FOR:
        case CONTINUE_GENERATOR:
        case CONTINUE_THROW:
            return a == gen;
        case CONTINUE_NEXT:
            return c->localsplus[STATE_B] == gen;
        case CONTINUE_ASYNC:
            return _PyStackless_AsendGenerator(a) == gen;
        case CONTINUE_DELEGATE: {
            _PyInterpreterFrame *below = c->previous;
            return below != NULL && !_PyStackless_IsContinuation(below)
                   && below->stacktop > _PyFrame_GetCode(below)->co_nlocalsplus
                   && _PyFrame_StackPeek(below) == gen;
        }
        default:
            return 0;
    }
}

/* The tasklet gets its frames: what the C function that the continuation stands for would have
   done with other objects. */
void
_PyStackless_ContinuationBegins(_PyInterpreterFrame *c)
{
    if (continuation_get(c, STATE_KIND) == CONTINUE_SORT) {
        PyListObject *list = (PyListObject *)PyTuple_GET_ITEM(c->localsplus[STATE_A], 0);
        if (Py_SIZE(list) == 0) {
            list->allocated = -1;      // as list.sort() marks it
        }
    }
}

/* Is what the continuation has beside the frames of the chain as it has to be?  0, or -1. */
int
_PyStackless_CheckAside(stackless_modstate *mod, _PyInterpreterFrame *c)
{
    if (continuation_get(c, STATE_KIND) != CONTINUE_THROW || continuation_number(c) == 0) {
        return 0;
    }
    PyGenObject *gen = (PyGenObject *)c->localsplus[STATE_A];
    _PyInterpreterFrame *frame = (_PyInterpreterFrame *)gen->gi_iframe;
    if (gen->gi_frame_state != FRAME_EXECUTING || frame->previous != NULL
        || frame->stacktop < _PyFrame_GetCode(frame)->co_nlocalsplus) {
        return wrong_caller(CONTINUE_THROW);
    }
    if (_PyStackless_CheckFrame(mod, frame, STOP_YIELD, GETS_OBJECT) < 0) {
        return -1;
    }
    return _PyStackless_YieldState(frame) == FRAME_SUSPENDED_YIELD_FROM
           ? 0 : wrong_caller(CONTINUE_THROW);
}
