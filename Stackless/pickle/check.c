/* Can a frame be where a record says?

   A pickle can be damaged or made up.  The eval loop trusts the compiler: that there are as many
   values on the stack as the instruction expects, that none of them is NULL where an object is
   needed, that FOR_ITER finds an iterator, LIST_APPEND a list, LOAD_FAST a local that is set.  So
   before a frame is built, its code is analysed as the compiler would know it:

   - forwards, what kinds of values are on the stack before each instruction;
   - backwards, which locals will be used, from there on, without a test.

   The record has to agree with both, and with what the instruction under way is: the eval loop
   goes on at the next one.  The code itself is trusted: it is what _wrap.code() has made of bytes
   with a checksum, and any code object can be called anyway.

   The analysis is made once per code object, and kept with it. */

#include "Python.h"
#include "opcode_ids.h"
#include "pycore_code.h"          // _Py_GetBaseOpcode()
#include "pycore_interp.h"        // PyInterpreterState
#include "pycore_intrinsics.h"    // INTRINSIC_LIST_TO_TUPLE
#include "pycore_opcode_metadata.h" // _PyOpcode_num_popped()
#include "Stackless/pickle/pickle.h"

/* --- the analysis --------------------------------------------------------------- */

typedef enum {
    K_UNKNOWN,                    // not reached yet
    K_OBJECT,
    K_NULL,
    K_ANY,                        // an object or NULL
    K_ITER,                       // has tp_iternext
    K_EXC,                        // an exception
    K_EXC_OR_NONE,
    K_LASTI,                      // an int: the position of an instruction
    K_LIST, K_SET, K_DICT, K_TUPLE, K_CODE, K_FUNCTION, K_CELL,
    K_CELL_OR_NULL,
    K_BOOL,
} value_kind;

typedef uint64_t word_t;

typedef struct {
    int n;                        // code units
    int stack;                    // co_stacksize
    int nwords;                   // of a set of locals
    int *depth;                   // of the stack before each, or -1: never reached
    uint8_t *kinds;               // n * stack
    word_t *set;                  // n * nwords: locals that must be set
    word_t *cell;                 // likewise, that must be cells
} analysis;

static void
analysis_free(void *op)
{
    analysis *a = op;
    if (a != NULL) {
        PyMem_RawFree(a->depth);
        PyMem_RawFree(a->kinds);
        PyMem_RawFree(a->set);
        PyMem_RawFree(a->cell);
        PyMem_RawFree(a);
    }
}

typedef struct {
    int start, end, target, depth, lasti;
} handler;

typedef struct {
    PyCodeObject *code;
    analysis *a;
    handler *handlers;
    int nhandlers;
    int *todo;
    int ntodo;
    uint8_t *waits;               // is it in `todo`?
    uint8_t *now;                 // the stack while an instruction is looked at
    int top;
    int bad;
} analyser;

/* A number of an exception table: six bits a byte, the highest ones first. */
static int
table_number(const uint8_t **p, const uint8_t *end)
{
    int value = 0;
    while (*p < end) {
        int byte = *(*p)++;
        value = (value << 6 | (byte & 63)) & 0xffffff;
        if (!(byte & 64)) {
            break;
        }
    }
    return value;
}

static int
read_handlers(analyser *s)
{
    PyObject *table = s->code->co_exceptiontable;
    const uint8_t *p = (const uint8_t *)PyBytes_AS_STRING(table);
    const uint8_t *end = p + PyBytes_GET_SIZE(table);
    s->handlers = PyMem_RawMalloc(sizeof(handler) * (PyBytes_GET_SIZE(table) / 4 + 1));
    if (s->handlers == NULL) {
        return -1;
    }
    while (end - p >= 4) {
        handler *h = &s->handlers[s->nhandlers++];
        h->start = table_number(&p, end);
        h->end = h->start + table_number(&p, end);
        h->target = table_number(&p, end);
        int last = table_number(&p, end);
        h->depth = last >> 1;
        h->lasti = last & 1;
    }
    return 0;
}

static uint8_t
merge_kinds(uint8_t a, uint8_t b)
{
    if (a == b || b == K_UNKNOWN) {
        return a;
    }
    if (a == K_UNKNOWN) {
        return b;
    }
    int null = a == K_NULL || a == K_ANY || a == K_CELL_OR_NULL
               || b == K_NULL || b == K_ANY || b == K_CELL_OR_NULL;
    int exceptions = (a == K_EXC || a == K_EXC_OR_NONE) && (b == K_EXC || b == K_EXC_OR_NONE);
    return null ? K_ANY : exceptions ? K_EXC_OR_NONE : K_OBJECT;
}

/* The instruction at `to` can be reached with `depth` values of these kinds. */
static void
reach(analyser *s, int to, const uint8_t *kinds, int depth)
{
    analysis *a = s->a;
    if (to < 0 || to >= a->n || depth < 0 || depth > a->stack
        || (a->depth[to] >= 0 && a->depth[to] != depth)) {
        s->bad = 1;
        return;
    }
    uint8_t *there = a->kinds + (size_t)to * a->stack;
    int changed = a->depth[to] < 0;
    a->depth[to] = depth;
    for (int i = 0; i < depth; i++) {
        uint8_t kind = merge_kinds(kinds[i], changed ? K_UNKNOWN : there[i]);
        if (kind != there[i]) {
            there[i] = kind;
            changed = 1;
        }
    }
    if (changed && !s->waits[to]) {
        s->waits[to] = 1;
        s->todo[s->ntodo++] = to;
    }
}

static void
push(analyser *s, int kind)
{
    if (s->top >= s->a->stack) {
        s->bad = 1;
        return;
    }
    s->now[s->top++] = (uint8_t)kind;
}

static void
pop(analyser *s, int count)
{
    s->top -= count;
    if (s->top < 0) {
        s->bad = 1;
        s->top = 0;
    }
}

static int
constant_kind(PyCodeObject *code, int oparg)
{
    if (oparg >= PyTuple_GET_SIZE(code->co_consts)) {
        return K_OBJECT;
    }
    PyObject *op = PyTuple_GET_ITEM(code->co_consts, oparg);
    return PyTuple_CheckExact(op) ? K_TUPLE : PyCode_Check(op) ? K_CODE
           : PyBool_Check(op) ? K_BOOL : K_OBJECT;
}

static int
slot_flags(PyCodeObject *code, int i)
{
    return i < code->co_nlocalsplus ? (uint8_t)PyBytes_AS_STRING(code->co_localspluskinds)[i] : 0;
}

static int
local_kind(PyCodeObject *code, int i)
{
    return slot_flags(code, i) & (CO_FAST_CELL | CO_FAST_FREE) ? K_CELL : K_OBJECT;
}

/* What the instruction leaves on the stack, if it goes on to the next one. */
static void
step(analyser *s, int opcode, int oparg)
{
    switch (opcode) {
        case PUSH_NULL:
            push(s, K_NULL);
            break;
        case LOAD_GLOBAL:
            push(s, K_OBJECT);
            if (oparg & 1) {
                push(s, K_NULL);
            }
            break;
        case LOAD_ATTR:
            pop(s, 1);
            push(s, K_OBJECT);
            if (oparg & 1) {
                push(s, K_ANY);
            }
            break;
        case LOAD_SUPER_ATTR:
            pop(s, 3);
            push(s, K_OBJECT);
            if (oparg & 1) {
                push(s, K_ANY);
            }
            break;
        case LOAD_FAST:
            push(s, local_kind(s->code, oparg));
            break;
        case LOAD_FAST_LOAD_FAST:
            push(s, local_kind(s->code, oparg >> 4));
            push(s, local_kind(s->code, oparg & 15));
            break;
        case STORE_FAST_LOAD_FAST:
            pop(s, 1);
            push(s, local_kind(s->code, oparg & 15));
            break;
        case LOAD_FAST_AND_CLEAR: {
            int flags = slot_flags(s->code, oparg);
            push(s, flags & CO_FAST_FREE
                    || (flags & CO_FAST_CELL && !(flags & CO_FAST_LOCAL)) ? K_CELL_OR_NULL
                                                                          : K_ANY);
            break;
        }
        case LOAD_CONST:
            push(s, constant_kind(s->code, oparg));
            break;
        case BUILD_LIST:
            pop(s, oparg);
            push(s, K_LIST);
            break;
        case BUILD_TUPLE:
            pop(s, oparg);
            push(s, K_TUPLE);
            break;
        case BUILD_SET:
            pop(s, oparg);
            push(s, K_SET);
            break;
        case BUILD_MAP:
            pop(s, 2 * oparg);
            push(s, K_DICT);
            break;
        case BUILD_CONST_KEY_MAP:
            pop(s, oparg + 1);
            push(s, K_DICT);
            break;
        case MAP_ADD:
            pop(s, 2);
            break;
        case LIST_APPEND:
        case LIST_EXTEND:
        case SET_ADD:
        case SET_UPDATE:
        case DICT_UPDATE:
        case DICT_MERGE:
            pop(s, 1);
            break;
        case COPY:
            push(s, s->top >= oparg && oparg > 0 ? s->now[s->top - oparg] : K_OBJECT);
            break;
        case SWAP:
            if (oparg < 1 || oparg > s->top) {
                s->bad = 1;
            }
            else {
                uint8_t kind = s->now[s->top - oparg];
                s->now[s->top - oparg] = s->now[s->top - 1];
                s->now[s->top - 1] = kind;
            }
            break;
        case TO_BOOL:
        case UNARY_NOT:
            pop(s, 1);
            push(s, K_BOOL);
            break;
        case CONTAINS_OP:
        case IS_OP:
            pop(s, 2);
            push(s, K_BOOL);
            break;
        case COMPARE_OP:
            pop(s, 2);
            push(s, oparg & 16 ? K_BOOL : K_OBJECT);
            break;
        case MATCH_MAPPING:
        case MATCH_SEQUENCE:
            push(s, K_BOOL);
            break;
        case GET_LEN:
        case MATCH_KEYS:
        case FOR_ITER:
        case GET_ANEXT:
        case WITH_EXCEPT_START:
        case IMPORT_FROM:
            push(s, K_OBJECT);
            break;
        case GET_ITER:
            pop(s, 1);
            push(s, K_ITER);
            break;
        case BEFORE_WITH:
        case BEFORE_ASYNC_WITH:
            pop(s, 1);
            push(s, K_OBJECT);
            push(s, K_OBJECT);
            break;
        case CHECK_EXC_MATCH:
            pop(s, 1);
            push(s, K_BOOL);
            break;
        case SEND:
        case YIELD_VALUE:
            pop(s, 1);
            push(s, K_OBJECT);
            break;
        case CHECK_EG_MATCH:
            pop(s, 2);
            push(s, K_EXC_OR_NONE);
            push(s, K_EXC_OR_NONE);
            break;
        case PUSH_EXC_INFO:
            pop(s, 1);
            push(s, K_EXC_OR_NONE);
            push(s, K_EXC);
            break;
        case MAKE_FUNCTION:
            pop(s, 1);
            push(s, K_FUNCTION);
            break;
        case SET_FUNCTION_ATTRIBUTE:
            pop(s, 2);
            push(s, K_FUNCTION);
            break;
        case CALL_INTRINSIC_1:
            pop(s, 1);
            push(s, oparg == INTRINSIC_LIST_TO_TUPLE ? K_TUPLE
                    : oparg == INTRINSIC_STOPITERATION_ERROR ? K_EXC : K_OBJECT);
            break;
        case CALL_INTRINSIC_2:
            pop(s, 2);
            push(s, oparg == INTRINSIC_PREP_RERAISE_STAR ? K_EXC_OR_NONE : K_OBJECT);
            break;
        default: {
            int pushed = _PyOpcode_num_pushed(opcode, oparg);
            int popped = _PyOpcode_num_popped(opcode, oparg);
            if (pushed < 0 || popped < 0) {
                s->bad = 1;
                return;
            }
            pop(s, popped);
            for (int i = 0; i < pushed; i++) {
                push(s, K_OBJECT);
            }
        }
    }
}

static int
is_terminal(int opcode)
{
    return opcode == RETURN_VALUE || opcode == RETURN_CONST || opcode == RERAISE
           || opcode == RAISE_VARARGS || opcode == INTERPRETER_EXIT
           || opcode == JUMP_BACKWARD || opcode == JUMP_FORWARD
           || opcode == JUMP_BACKWARD_NO_INTERRUPT;
}

/* Where the instruction at i, whose next one is at `next`, may jump to, or -1. */
static int
jump_target(int opcode, int oparg, int next)
{
    switch (opcode) {
        case JUMP_BACKWARD:
        case JUMP_BACKWARD_NO_INTERRUPT:
            return next - oparg;
        case JUMP_FORWARD:
        case POP_JUMP_IF_TRUE:
        case POP_JUMP_IF_FALSE:
        case POP_JUMP_IF_NONE:
        case POP_JUMP_IF_NOT_NONE:
        case FOR_ITER:                 // to END_FOR, as when a generator returns
        case SEND:
            return next + oparg;
        default:
            return -1;
    }
}

typedef struct {
    int opcode, oparg, next;
} instruction;

/* The instruction that begins at i, without the EXTENDED_ARGs before it. */
static instruction
instruction_at(PyCodeObject *code, int i)
{
    instruction in;
    in.opcode = _Py_GetBaseOpcode(code, i);
    in.oparg = _PyStackless_OpargAt(code, i);
    in.next = i + 1 + _PyOpcode_Caches[in.opcode];
    return in;
}

static void
look_at(analyser *s, int i)
{
    analysis *a = s->a;
    const uint8_t *before = a->kinds + (size_t)i * a->stack;
    instruction in = instruction_at(s->code, i);
    int depth = a->depth[i];
    for (int k = 0; k < s->nhandlers; k++) {
        const handler *h = &s->handlers[k];
        if (h->start <= i && i < h->end) {
            if (h->depth > depth || h->depth + h->lasti + 1 > a->stack) {
                s->bad = 1;
                return;
            }
            memcpy(s->now, before, (size_t)h->depth);
            s->top = h->depth;
            if (h->lasti) {
                push(s, K_LASTI);
            }
            push(s, K_EXC);
            reach(s, h->target, s->now, s->top);
            break;
        }
    }
    if (depth > 0) {
        memcpy(s->now, before, (size_t)depth);
    }
    s->top = depth;
    step(s, in.opcode, in.oparg);
    int target = jump_target(in.opcode, in.oparg, in.next);
    if (target >= 0) {
        reach(s, target, s->now, s->top);
    }
    if (!is_terminal(in.opcode)) {
        reach(s, in.next, s->now, s->top);
    }
}

/* --- backwards --- */

static void
add(word_t *set, int i)
{
    set[i / 64] |= (word_t)1 << (i % 64);
}

static void
discard(word_t *set, int i)
{
    set[i / 64] &= ~((word_t)1 << (i % 64));
}

static int
contains(const word_t *set, int i)
{
    return (set[i / 64] >> (i % 64)) & 1;
}

static void
use_local(analyser *s, word_t *set, word_t *cell, int i)
{
    if (i < s->code->co_nlocalsplus) {
        add(set, i);
        if (slot_flags(s->code, i) & (CO_FAST_CELL | CO_FAST_FREE)
            && !(slot_flags(s->code, i) & CO_FAST_LOCAL)) {
            add(cell, i);
        }
    }
}

static void
set_local(analyser *s, word_t *set, word_t *cell, int i)
{
    if (i < s->code->co_nlocalsplus) {
        discard(set, i);
        discard(cell, i);
    }
}

static void
use_cell(analyser *s, word_t *set, word_t *cell, int i)
{
    if (i < s->code->co_nlocalsplus) {
        add(set, i);
        add(cell, i);
    }
}

/* What is used from the instruction on, given what is used after it. */
static void
locals_before(analyser *s, const instruction *in, word_t *set, word_t *cell)
{
    int oparg = in->oparg;
    switch (in->opcode) {
        case LOAD_FAST:
            use_local(s, set, cell, oparg);
            break;
        case LOAD_FAST_LOAD_FAST:
            use_local(s, set, cell, oparg >> 4);
            use_local(s, set, cell, oparg & 15);
            break;
        case STORE_FAST_LOAD_FAST:
            use_local(s, set, cell, oparg & 15);
            set_local(s, set, cell, oparg >> 4);
            break;
        case STORE_FAST_STORE_FAST:
            set_local(s, set, cell, oparg >> 4);
            set_local(s, set, cell, oparg & 15);
            break;
        case STORE_FAST:
        case LOAD_FAST_AND_CLEAR:
        case MAKE_CELL:
            set_local(s, set, cell, oparg);
            break;
        case COPY_FREE_VARS:
            for (int i = 0; i < oparg; i++) {
                set_local(s, set, cell, s->code->co_nlocalsplus - oparg + i);
            }
            break;
        case LOAD_DEREF:
        case STORE_DEREF:
        case DELETE_DEREF:
        case LOAD_FROM_DICT_OR_DEREF:
            use_cell(s, set, cell, oparg);
            break;
    }
}

/* Adds what is used from `from` on to the set at `to`.  Returns whether that changed it. */
static int
join(word_t *to, const word_t *from, int nwords)
{
    int changed = 0;
    for (int w = 0; w < nwords; w++) {
        changed |= (from[w] & ~to[w]) != 0;
        to[w] |= from[w];
    }
    return changed;
}

static int
look_back_at(analyser *s, int i, word_t *set, word_t *cell)
{
    analysis *a = s->a;
    size_t nwords = (size_t)a->nwords;
    instruction in = instruction_at(s->code, i);
    memset(set, 0, nwords * sizeof(word_t));
    memset(cell, 0, nwords * sizeof(word_t));
    int target = jump_target(in.opcode, in.oparg, in.next);
    if (target >= 0) {
        join(set, a->set + target * nwords, a->nwords);
        join(cell, a->cell + target * nwords, a->nwords);
    }
    if (!is_terminal(in.opcode)) {
        join(set, a->set + in.next * nwords, a->nwords);
        join(cell, a->cell + in.next * nwords, a->nwords);
    }
    locals_before(s, &in, set, cell);
    for (int k = 0; k < s->nhandlers; k++) {
        const handler *h = &s->handlers[k];
        if (h->start <= i && i < h->end) {
            join(set, a->set + h->target * nwords, a->nwords);
            join(cell, a->cell + h->target * nwords, a->nwords);
            break;
        }
    }
    return join(a->set + i * nwords, set, a->nwords)
           | join(a->cell + i * nwords, cell, a->nwords);
}

static int
analyse_locals(analyser *s)
{
    analysis *a = s->a;
    word_t *set = PyMem_RawCalloc(2 * (size_t)a->nwords, sizeof(word_t));
    if (set == NULL) {
        return -1;
    }
    int changed;
    do {
        changed = 0;
        for (int i = a->n - 1; i >= 0; i--) {
            if (a->depth[i] >= 0) {
                changed |= look_back_at(s, i, set, set + a->nwords);
            }
        }
    } while (changed);
    PyMem_RawFree(set);
    return 0;
}

/* 0; -1 without an exception: no memory; or s->bad is set. */
static int
analyse(analyser *s)
{
    analysis *a = s->a;
    size_t n = (size_t)a->n;
    a->depth = PyMem_RawMalloc(n * sizeof(int));
    a->kinds = PyMem_RawCalloc(n * (size_t)a->stack + 1, 1);
    a->set = PyMem_RawCalloc(n * (size_t)a->nwords, sizeof(word_t));
    a->cell = PyMem_RawCalloc(n * (size_t)a->nwords, sizeof(word_t));
    s->todo = PyMem_RawMalloc(n * sizeof(int));
    s->waits = PyMem_RawCalloc(n, 1);
    s->now = PyMem_RawCalloc((size_t)a->stack + 1, 1);
    if (!a->depth || !a->kinds || !a->set || !a->cell || !s->todo || !s->waits || !s->now
        || read_handlers(s) < 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        a->depth[i] = -1;
    }
    reach(s, 0, s->now, 0);
    while (s->ntodo > 0 && !s->bad) {
        int i = s->todo[--s->ntodo];
        s->waits[i] = 0;
        look_at(s, i);
    }
    return s->bad ? 0 : analyse_locals(s);
}

static analysis *
make_analysis(PyCodeObject *code)
{
    analysis *a = PyMem_RawCalloc(1, sizeof(analysis));
    if (a == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    a->n = (int)Py_SIZE(code);
    a->stack = code->co_stacksize;
    a->nwords = code->co_nlocalsplus / 64 + 1;
    analyser s = { .code = code, .a = a };
    int err = analyse(&s);
    PyMem_RawFree(s.handlers);
    PyMem_RawFree(s.todo);
    PyMem_RawFree(s.waits);
    PyMem_RawFree(s.now);
    if (err < 0) {
        PyErr_NoMemory();
    }
    else if (s.bad) {
        PyErr_Format(PyExc_ValueError, "the code of %U() is not as a compiler makes it",
                     code->co_qualname);
    }
    if (err < 0 || s.bad) {
        analysis_free(a);
        return NULL;
    }
    return a;
}

/* Where it is kept: an index of the interpreter for PyUnstable_Code_SetExtra(). */
static Py_ssize_t
extra_index(stackless_modstate *mod)
{
    if (mod->code_extra == 0) {
        mod->code_extra = 1 + PyUnstable_Eval_RequestCodeExtraIndex(analysis_free);
    }
    return mod->code_extra - 1;
}

static analysis *
get_analysis(stackless_modstate *mod, PyCodeObject *code)
{
    Py_ssize_t index = extra_index(mod);
    void *kept = NULL;
    if (index >= 0 && PyUnstable_Code_GetExtra((PyObject *)code, index, &kept) < 0) {
        return NULL;
    }
    if (kept != NULL) {
        return kept;
    }
    if (index < 0) {
        PyErr_SetString(PyExc_MemoryError, "no room for what is kept with a code object");
        return NULL;
    }
    analysis *a = make_analysis(code);
    if (a != NULL && PyUnstable_Code_SetExtra((PyObject *)code, index, a) < 0) {
        analysis_free(a);
        return NULL;
    }
    return a;
}

/* --- a frame ----------------------------------------------------------------------------- */

static int
refuse(_PyInterpreterFrame *frame, const char *what)
{
    PyCodeObject *code = _PyFrame_GetCode(frame);
    PyErr_Format(PyExc_ValueError, "cannot build a frame of %U(), at instruction %d: %s",
                 code->co_qualname, _PyInterpreterFrame_LASTI(frame), what);
    return -1;
}

/* Where the eval loop goes on, or -1. */
static int
next_position(PyCodeObject *code, int instr, int offset, stackless_stop stop)
{
    if (stop == STOP_YIELD) {
        return instr;                  // (the offset is what it was when it was called last)
    }
    instruction in = instruction_at(code, instr);
    if (stop == STOP_INTERRUPT) {
        int known = in.opcode == CALL || in.opcode == CALL_KW || in.opcode == CALL_FUNCTION_EX
                    || in.opcode == RESUME || in.opcode == JUMP_BACKWARD;
        if (!known || instr + offset != in.next) {
            return -1;
        }
        return in.opcode == JUMP_BACKWARD ? in.next - in.oparg : in.next;
    }
    if (is_terminal(in.opcode) || in.opcode == RETURN_GENERATOR || in.opcode == YIELD_VALUE) {
        return -1;
    }
    int next = instr + offset;
    int jump = in.opcode == FOR_ITER || in.opcode == SEND ? in.next + in.oparg : -1;
    return next == in.next || next == jump ? next : -1;
}

static int
has_kind(PyObject *op, int kind, int n)
{
    if (kind == K_ANY) {
        return 1;
    }
    if (kind == K_NULL || op == NULL) {
        return op == NULL && (kind == K_NULL || kind == K_CELL_OR_NULL);
    }
    switch (kind) {
        case K_ITER:
            return PyIter_Check(op) || PyGen_CheckExact(op) || PyCoro_CheckExact(op);
        case K_EXC:
            return PyExceptionInstance_Check(op);
        case K_EXC_OR_NONE:
            return op == Py_None || PyExceptionInstance_Check(op);
        case K_LASTI: {
            int overflow;
            long lasti = PyLong_CheckExact(op) ? PyLong_AsLongAndOverflow(op, &overflow) : -1;
            return lasti >= 0 && lasti < n;
        }
        case K_BOOL:
            return PyBool_Check(op);
        case K_LIST:
            return PyList_CheckExact(op);
        case K_SET:
            return PySet_CheckExact(op);
        case K_DICT:
            return PyDict_CheckExact(op);
        case K_TUPLE:
            return PyTuple_CheckExact(op);
        case K_CODE:
            return PyCode_Check(op);
        case K_FUNCTION:
            return PyFunction_Check(op);
        case K_CELL:
        case K_CELL_OR_NULL:
            return PyCell_Check(op);
        default:
            return 1;
    }
}

static int
check_locals(_PyInterpreterFrame *frame, const analysis *a, int next)
{
    PyCodeObject *code = _PyFrame_GetCode(frame);
    const word_t *set = a->set + (size_t)next * a->nwords;
    const word_t *cell = a->cell + (size_t)next * a->nwords;
    for (int i = 0; i < code->co_nlocalsplus; i++) {
        PyObject *op = frame->localsplus[i];
        if (contains(set, i) && op == NULL) {
            return refuse(frame, "a local variable that will be used is not set");
        }
        if ((contains(cell, i) || slot_flags(code, i) & CO_FAST_FREE)
            && (op == NULL || !PyCell_Check(op))) {
            return refuse(frame, "a variable of a closure is not a cell");
        }
    }
    return 0;
}

static int
gets_kind(int kind, int what)
{
    return kind == K_OBJECT || kind == K_ANY || (kind == K_ITER && what == GETS_ITERATOR)
           || (kind == K_BOOL && what == GETS_BOOL);
}

int
_PyStackless_CheckFrame(stackless_modstate *mod, _PyInterpreterFrame *frame,
                        stackless_stop stop, int what)
{
    PyCodeObject *code = _PyFrame_GetCode(frame);
    analysis *a = get_analysis(mod, code);
    if (a == NULL) {
        return -1;
    }
    int instr = _PyInterpreterFrame_LASTI(frame);
    if (instr < 0 || instr >= a->n || (a->depth[instr] < 0 && stop != STOP_YIELD)) {
        return refuse(frame, "there is no such instruction");
    }
    int next = next_position(code, instr, frame->return_offset, stop);
    if (next < 0 || next >= a->n || a->depth[next] < 0) {
        return refuse(frame, "nothing can be waited for there");
    }
    int depth = frame->stacktop - code->co_nlocalsplus;
    int pushes = what == GETS_NOTHING ? 0 : what == GETS_PAIR ? 2 : 1;
    if (depth < 0 || depth + pushes != a->depth[next]) {
        return refuse(frame, "there are too many values on its stack, or too few");
    }
    const uint8_t *kinds = a->kinds + (size_t)next * a->stack;
    for (int i = 0; i < depth; i++) {
        if (!has_kind(frame->localsplus[code->co_nlocalsplus + i], kinds[i], a->n)) {
            return refuse(frame, "a value on its stack is of the wrong kind");
        }
    }
    if ((pushes > 0 && stop != STOP_YIELD && !gets_kind(kinds[depth], what))
        || (pushes > 1 && kinds[depth + 1] != K_ANY)) {
        return refuse(frame, "it waits for a value of another kind");
    }
    return check_locals(frame, a, next);
}

/* The state of a suspended generator whose frame _PyStackless_CheckFrame() has found right: after
   a yield, or fresh; FRAME_CLEARED: it is at another place. */
int
_PyStackless_YieldState(_PyInterpreterFrame *frame)
{
    PyCodeObject *code = _PyFrame_GetCode(frame);
    int i = _PyInterpreterFrame_LASTI(frame);
    if (i < 1) {
        return FRAME_CLEARED;
    }
    int before = _Py_GetBaseOpcode(code, i - 1);
    if (before == RETURN_GENERATOR) {
        return FRAME_CREATED;
    }
    if (before != YIELD_VALUE || _Py_GetBaseOpcode(code, i) != RESUME) {
        return FRAME_CLEARED;
    }
    return _PyStackless_OpargAt(code, i - 1) ? FRAME_SUSPENDED_YIELD_FROM : FRAME_SUSPENDED;
}
