/* Operators whose methods are Python functions, step by step.

   Each step function says what binary_op1(), do_richcompare() and the slot functions of
   Python classes do, in the same order; make check-overlay watches those. */

#include "Python.h"
#include "opcode.h"               // NB_ADD
#include "pycore_code.h"          // INLINE_CACHE_ENTRIES_BINARY_OP
#include "pycore_global_strings.h" // _Py_ID()
#include "pycore_intrinsics.h"    // INTRINSIC_UNARY_POSITIVE
#include "pycore_long.h"          // _PyLong_IsNegative()
#include "pycore_object.h"
#include "pycore_runtime.h"
#include "Stackless/inline/inline.h"

/* --- binary operators --------------------------------------------------------- */

typedef struct {
    size_t slot, inplace_slot;
    PyObject *name, *reflected, *inplace;
    const char *sign, *inplace_sign;
} binary_operator;

#define OPERATOR(SLOT, NAME, REFLECTED, INPLACE, SIGN, INPLACE_SIGN) \
    { offsetof(PyNumberMethods, nb_##SLOT), offsetof(PyNumberMethods, nb_inplace_##SLOT), \
      &_Py_ID(NAME), &_Py_ID(REFLECTED), &_Py_ID(INPLACE), SIGN, INPLACE_SIGN }

static const binary_operator operators[] = {
    [NB_ADD] = OPERATOR(add, __add__, __radd__, __iadd__, "+", "+="),
    [NB_AND] = OPERATOR(and, __and__, __rand__, __iand__, "&", "&="),
    [NB_FLOOR_DIVIDE] = OPERATOR(floor_divide, __floordiv__, __rfloordiv__,
                                 __ifloordiv__, "//", "//="),
    [NB_LSHIFT] = OPERATOR(lshift, __lshift__, __rlshift__, __ilshift__, "<<", "<<="),
    [NB_MATRIX_MULTIPLY] = OPERATOR(matrix_multiply, __matmul__, __rmatmul__,
                                    __imatmul__, "@", "@="),
    [NB_MULTIPLY] = OPERATOR(multiply, __mul__, __rmul__, __imul__, "*", "*="),
    [NB_REMAINDER] = OPERATOR(remainder, __mod__, __rmod__, __imod__, "%", "%="),
    [NB_OR] = OPERATOR(or, __or__, __ror__, __ior__, "|", "|="),
    [NB_POWER] = OPERATOR(power, __pow__, __rpow__, __ipow__, "** or pow()", "**="),
    [NB_RSHIFT] = OPERATOR(rshift, __rshift__, __rrshift__, __irshift__, ">>", ">>="),
    [NB_SUBTRACT] = OPERATOR(subtract, __sub__, __rsub__, __isub__, "-", "-="),
    [NB_TRUE_DIVIDE] = OPERATOR(true_divide, __truediv__, __rtruediv__, __itruediv__,
                                "/", "/="),
    [NB_XOR] = OPERATOR(xor, __xor__, __rxor__, __ixor__, "^", "^="),
};

/* Who is asked, in order.  A plan is a number with these as digits, the first one last. */
enum { ASK_NOBODY, ASK_METHOD, ASK_REFLECTED, ASK_LEFT_SLOT, ASK_RIGHT_SLOT,
       ASK_INPLACE, ASK_INPLACE_SLOT, ASK_BASE };

static void *
number_slot(PyTypeObject *type, size_t offset)
{
    PyNumberMethods *methods = type->tp_as_number;
    return methods ? *(void **)((char *)methods + offset) : NULL;
}

static void *
python_number_slot(size_t offset)
{
    return *(void **)((char *)&_PyStackless_PythonSlots.number + offset);
}

static int
is_overloaded(PyTypeObject *left, PyTypeObject *right, PyObject *name)
{
    PyObject *theirs = _PyType_Lookup(right, name);
    return theirs != NULL && theirs != _PyType_Lookup(left, name);
}

/* A static type has no base that is a heap type. */
static inline int
may_be_subtype(PyTypeObject *type, PyTypeObject *base)
{
    return (type->tp_flags & Py_TPFLAGS_HEAPTYPE) || !(base->tp_flags & Py_TPFLAGS_HEAPTYPE);
}

/* What binary_op1() and the slots of Python classes together do. */
static int
binary_plan(PyTypeObject *v, PyTypeObject *w, const binary_operator *op)
{
    void *python = python_number_slot(op->slot);
    void *left = number_slot(v, op->slot);
    void *right = v == w ? NULL : number_slot(w, op->slot);
    int subtype = right != NULL && may_be_subtype(w, v) && PyType_IsSubtype(w, v);
    if (left == python) {
        if (right == python) {
            return subtype && is_overloaded(v, w, op->reflected)
                   ? ASK_REFLECTED + ASK_BASE * ASK_METHOD
                   : ASK_METHOD + ASK_BASE * ASK_REFLECTED;
        }
        int slot = right ? ASK_RIGHT_SLOT : ASK_NOBODY;
        return subtype ? slot + ASK_BASE * ASK_METHOD : ASK_METHOD + ASK_BASE * slot;
    }
    if (left == NULL) {
        return ASK_REFLECTED;
    }
    return subtype ? ASK_REFLECTED + ASK_BASE * ASK_LEFT_SLOT
                   : ASK_LEFT_SLOT + ASK_BASE * ASK_REFLECTED;
}

/* The Python function that is the method `name` of the slot at `offset`, or NULL. */
static PyObject *
python_operator(PyTypeObject *type, size_t offset, PyObject *name)
{
    return number_slot(type, offset) == python_number_slot(offset)
           ? _PyStackless_PythonMethod(type, name) : NULL;
}

static PyObject *
call_number_slot(PyTypeObject *type, size_t offset, PyObject *v, PyObject *w)
{
    void *slot = number_slot(type, offset);
    if (slot == NULL) {
        return Py_NewRef(Py_NotImplemented);
    }
    if (offset == offsetof(PyNumberMethods, nb_power)
        || offset == offsetof(PyNumberMethods, nb_inplace_power)) {
        return ((ternaryfunc)slot)(v, w, Py_None);
    }
    return ((binaryfunc)slot)(v, w);
}

static PyObject *
repeat(ssizeargfunc slot, PyObject *sequence, PyObject *n)
{
    if (!PyIndex_Check(n)) {
        return PyErr_Format(PyExc_TypeError,
                            "can't multiply sequence by non-int of type '%.200s'",
                            Py_TYPE(n)->tp_name);
    }
    Py_ssize_t count = PyNumber_AsSsize_t(n, PyExc_OverflowError);
    return count == -1 && PyErr_Occurred() ? NULL : slot(sequence, count);
}

/* No number wants to: sequences, or the error. */
static PyObject *
not_numbers(PyObject *v, PyObject *w, const binary_operator *op, int inplace)
{
    PySequenceMethods *left = Py_TYPE(v)->tp_as_sequence;
    PySequenceMethods *right = Py_TYPE(w)->tp_as_sequence;
    if (op == &operators[NB_ADD] && left != NULL) {
        binaryfunc concat = inplace && left->sq_inplace_concat ? left->sq_inplace_concat
                                                               : left->sq_concat;
        if (concat != NULL) {
            return concat(v, w);
        }
    }
    if (op == &operators[NB_MULTIPLY]) {
        ssizeargfunc slot = left == NULL ? NULL
                            : inplace && left->sq_inplace_repeat ? left->sq_inplace_repeat
                            : left->sq_repeat;
        if (slot != NULL) {
            return repeat(slot, v, w);
        }
        if ((!inplace || left == NULL) && right != NULL && right->sq_repeat != NULL) {
            return repeat(right->sq_repeat, w, v);
        }
    }
    const char *hint = "";
    if (op == &operators[NB_RSHIFT] && !inplace && PyCFunction_CheckExact(v)
        && strcmp(((PyCFunctionObject *)v)->m_ml->ml_name, "print") == 0) {
        hint = ". Did you mean \"print(<message>, file=<output_stream>)\"?";
    }
    return PyErr_Format(PyExc_TypeError,
                        "unsupported operand type(s) for %.100s: '%.100s' and '%.100s'%s",
                        inplace ? op->inplace_sign : op->sign, Py_TYPE(v)->tp_name,
                        Py_TYPE(w)->tp_name, hint);
}

static step_outcome
ask(PyThreadState *tstate, int whom, const binary_operator *op, PyObject *v, PyObject *w,
    PyObject **value)
{
    switch (whom) {
        case ASK_METHOD:
            return _PyStackless_CallSpecial(tstate, v, op->name, &w, 1, value);
        case ASK_REFLECTED:
            return _PyStackless_CallSpecial(tstate, w, op->reflected, &v, 1, value);
        case ASK_INPLACE:
            return _PyStackless_CallSpecial(tstate, v, op->inplace, &w, 1, value);
        case ASK_LEFT_SLOT:
            *value = call_number_slot(Py_TYPE(v), op->slot, v, w);
            break;
        case ASK_RIGHT_SLOT:
            *value = call_number_slot(Py_TYPE(w), op->slot, v, w);
            break;
        case ASK_INPLACE_SLOT:
            *value = call_number_slot(Py_TYPE(v), op->inplace_slot, v, w);
            break;
    }
    return *value ? STEP_DONE : STEP_FAILED;
}

/* Takes over an instruction with two operands, whose continuation asks one Python method
   after the other.  The first one may be known: func(self, other). */
static inline int
begin_plan(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
           int size, continuation_kind kind, int oparg, long plan, PyObject *func,
           PyObject *self, PyObject *other)
{
    _PyStackless_Begin(frame, stack_pointer, 2, size);
    PyObject *argument = continuation_make_number(oparg);      // small
    step_outcome outcome = STEP_FAILED;
    /* The operands become state. */
    if (_PyStackless_PushState(tstate, kind, stack_pointer[-2], stack_pointer[-1], argument,
                               continuation_make_number(plan))) {
        outcome = func == NULL
                  ? STEP_BEGIN
                  : _PyStackless_PushFunction(tstate, func, self, &other, 1, NULL);
    }
    return _PyStackless_Deliver(tstate, outcome, NULL, stack_pointer, 0);
}

/* *value, if any, is NotImplemented. */
static Py_NO_INLINE step_outcome
ask_next(PyThreadState *tstate, _PyInterpreterFrame *c, PyObject **value)
{
    PyObject *v = c->localsplus[STATE_A];
    PyObject *w = c->localsplus[STATE_B];
    long oparg = continuation_get(c, STATE_C);
    long plan = continuation_number(c);
    int inplace = oparg >= NB_INPLACE_ADD;
    const binary_operator *op = &operators[inplace ? oparg - NB_INPLACE_ADD : oparg];
    for (;;) {
        if (*value != NULL) {
            if (*value != Py_NotImplemented) {
                return STEP_DONE;
            }
            Py_CLEAR(*value);
        }
        if (plan == 0) {
            *value = not_numbers(v, w, op, inplace);
            return *value ? STEP_DONE : STEP_FAILED;
        }
        int whom = plan % ASK_BASE;
        plan /= ASK_BASE;
        if (continuation_set_number(c, plan) < 0) {
            return STEP_FAILED;
        }
        step_outcome outcome = ask(tstate, whom, op, v, w, value);
        if (outcome == STEP_PUSHED || outcome == STEP_FAILED) {
            return outcome;
        }
    }
}

/* State: the operands; the instruction's argument; the rest of the plan. */
step_outcome
_PyStackless_BinaryStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                        PyObject **value)
{
    if (event == AT_RAISE) {
        return STEP_FAILED;
    }
    return *value != NULL && *value != Py_NotImplemented ? STEP_DONE
                                                         : ask_next(tstate, c, value);
}

int
_PyStackless_BinaryOp(PyThreadState *tstate, _PyInterpreterFrame *frame,
                      PyObject **stack_pointer, int oparg)
{
    PyObject *v = stack_pointer[-2];
    PyObject *w = stack_pointer[-1];
    int inplace = oparg >= NB_INPLACE_ADD;
    const binary_operator *op = &operators[inplace ? oparg - NB_INPLACE_ADD : oparg];
    PyTypeObject *left = Py_TYPE(v);
    PyTypeObject *right = Py_TYPE(w);
    PyObject *func = python_operator(left, op->slot, op->name);
    if (func == NULL
        && (left == right || !python_operator(right, op->slot, op->reflected))
        && (!inplace || !python_operator(left, op->inplace_slot, op->inplace))) {
        return 0;
    }
    long plan = binary_plan(left, right, op);
    if (inplace && number_slot(left, op->inplace_slot) != NULL) {
        int python = number_slot(left, op->inplace_slot)
                     == python_number_slot(op->inplace_slot);
        plan = plan * ASK_BASE + (python ? ASK_INPLACE : ASK_INPLACE_SLOT);
    }
    if (func != NULL && plan % ASK_BASE == ASK_METHOD) {
        plan /= ASK_BASE;
    }
    else {
        func = NULL;
    }
    return begin_plan(tstate, frame, stack_pointer, 1 + INLINE_CACHE_ENTRIES_BINARY_OP,
                      CONTINUE_BINARY, oparg, plan, func, v, w);
}

/* --- comparisons -------------------------------------------------------------- */

enum { COMPARE_LEFT = 1, COMPARE_RIGHT = 2, COMPARE_BASE = 4, COMPARE_INVERTS = 16 };

static PyObject *
comparison_name(int op)
{
    PyObject *const names[] = {
        [Py_LT] = &_Py_ID(__lt__), [Py_LE] = &_Py_ID(__le__), [Py_EQ] = &_Py_ID(__eq__),
        [Py_NE] = &_Py_ID(__ne__), [Py_GT] = &_Py_ID(__gt__), [Py_GE] = &_Py_ID(__ge__),
    };
    return names[op];
}

/* object.__ne__ is the opposite of __eq__. */
static int
inherits_ne(PyTypeObject *type, int op)
{
    return op == Py_NE && _PyType_Lookup(type, &_Py_ID(__ne__))
                          == _PyType_Lookup(&PyBaseObject_Type, &_Py_ID(__ne__));
}

static int
compares_in_python(PyTypeObject *type, int op)
{
    if (type->tp_richcompare != _PyStackless_PythonSlots.type.tp_richcompare) {
        return 0;
    }
    int actual = inherits_ne(type, op) ? Py_EQ : op;
    return _PyStackless_PythonMethod(type, comparison_name(actual)) != NULL;
}

static step_outcome
compare_with(PyThreadState *tstate, _PyInterpreterFrame *c, PyObject *v, PyObject *w,
             int op, long plan, PyObject **value)
{
    PyTypeObject *type = Py_TYPE(v);
    if (compares_in_python(type, op)) {
        int inverts = inherits_ne(type, op);
        if (inverts && continuation_set_number(c, plan | COMPARE_INVERTS) < 0) {
            return STEP_FAILED;
        }
        return _PyStackless_CallSpecial(tstate, v, comparison_name(inverts ? Py_EQ : op),
                                        &w, 1, value);
    }
    if (type->tp_richcompare == NULL) {
        return STEP_MISSING;
    }
    *value = type->tp_richcompare(v, w, op);
    return *value ? STEP_DONE : STEP_FAILED;
}

static step_outcome test_truth(PyThreadState *tstate, _PyInterpreterFrame *c,
                               int inverts, PyObject **value);

/* The comparison's value is known; the instruction may want a bool. */
static step_outcome
comparison_done(PyThreadState *tstate, _PyInterpreterFrame *c, long oparg, PyObject **value)
{
    if (!(oparg & 16) || PyBool_Check(*value)) {
        return STEP_DONE;
    }
    c->localsplus[STATE_KIND] = continuation_make_number(CONTINUE_TRUTH);
    return test_truth(tstate, c, 0, value);
}

static PyObject *
not_comparable(PyObject *v, PyObject *w, int op)
{
    static const char *const signs[] = {"<", "<=", "==", "!=", ">", ">="};
    if (op == Py_EQ || op == Py_NE) {
        return PyBool_FromLong((v == w) == (op == Py_EQ));
    }
    return PyErr_Format(PyExc_TypeError,
                        "'%s' not supported between instances of '%.100s' and '%.100s'",
                        signs[op], Py_TYPE(v)->tp_name, Py_TYPE(w)->tp_name);
}

/* State: the operands; the instruction's argument; the rest of the plan. */
step_outcome
_PyStackless_CompareStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                         PyObject **value)
{
    if (event == AT_RAISE) {
        return STEP_FAILED;
    }
    PyObject *v = c->localsplus[STATE_A];
    PyObject *w = c->localsplus[STATE_B];
    long oparg = continuation_get(c, STATE_C);
    int op = oparg >> 5;
    for (;;) {
        long plan = continuation_number(c);
        if (*value != NULL && *value != Py_NotImplemented) {
            if (plan & COMPARE_INVERTS) {
                int truth = PyObject_IsTrue(*value);
                Py_SETREF(*value, truth < 0 ? NULL : PyBool_FromLong(!truth));
                if (*value == NULL) {
                    return STEP_FAILED;
                }
            }
            return comparison_done(tstate, c, oparg, value);
        }
        Py_CLEAR(*value);
        plan &= ~COMPARE_INVERTS;
        if (plan == 0) {
            *value = not_comparable(v, w, op);
            return *value ? STEP_DONE : STEP_FAILED;
        }
        (void)continuation_set_number(c, plan / COMPARE_BASE);      // small
        step_outcome outcome;
        if (plan % COMPARE_BASE == COMPARE_LEFT) {
            outcome = compare_with(tstate, c, v, w, op, plan / COMPARE_BASE, value);
        }
        else {
            outcome = compare_with(tstate, c, w, v, _Py_SwappedOp[op],
                                   plan / COMPARE_BASE, value);
        }
        if (outcome == STEP_PUSHED || outcome == STEP_FAILED) {
            return outcome;
        }
    }
}

int
_PyStackless_CompareOp(PyThreadState *tstate, _PyInterpreterFrame *frame,
                       PyObject **stack_pointer, int oparg)
{
    PyObject *v = stack_pointer[-2];
    PyObject *w = stack_pointer[-1];
    int op = oparg >> 5;
    if (!compares_in_python(Py_TYPE(v), op)
        && !compares_in_python(Py_TYPE(w), _Py_SwappedOp[op])) {
        return 0;
    }
    int subtype = !Py_IS_TYPE(v, Py_TYPE(w)) && PyType_IsSubtype(Py_TYPE(w), Py_TYPE(v));
    long plan = subtype ? COMPARE_RIGHT + COMPARE_BASE * COMPARE_LEFT
                        : COMPARE_LEFT + COMPARE_BASE * COMPARE_RIGHT;
    return begin_plan(tstate, frame, stack_pointer, 1 + INLINE_CACHE_ENTRIES_COMPARE_OP,
                      CONTINUE_COMPARE, oparg, plan, NULL, NULL, NULL);
}

/* --- truth -------------------------------------------------------------------- */

/* What a value that arrives is: to be tested, or what __bool__ or __len__ returned. */
enum { TRUTH_TEST, TRUTH_BOOL, TRUTH_LEN, TRUTH_BASE = 4 };

/* The Python method that tells the truth of `op`, or NULL. */
static PyObject *
truth_method(PyObject *op, int *phase)
{
    PyTypeObject *type = Py_TYPE(op);
    PyNumberMethods *number = type->tp_as_number;
    if (number != NULL && number->nb_bool != NULL) {
        *phase = TRUTH_BOOL;
        return number->nb_bool == _PyStackless_PythonSlots.number.nb_bool
               ? _PyStackless_PythonMethod(type, &_Py_ID(__bool__)) : NULL;
    }
    *phase = TRUTH_LEN;
    PyMappingMethods *mapping = type->tp_as_mapping;
    return mapping != NULL
           && mapping->mp_length == _PyStackless_PythonSlots.mapping.mp_length
           ? _PyStackless_PythonMethod(type, &_Py_ID(__len__)) : NULL;
}

static step_outcome
test_truth(PyThreadState *tstate, _PyInterpreterFrame *c, int inverts, PyObject **value)
{
    int phase;
    PyObject *method = truth_method(*value, &phase);
    if (method != NULL) {
        Py_XSETREF(c->localsplus[STATE_A], *value);
        *value = NULL;
        (void)continuation_set_number(c, phase + (inverts ? TRUTH_BASE : 0));  // small
        return _PyStackless_PushFunction(tstate, method, c->localsplus[STATE_A], NULL, 0,
                                         NULL);
    }
    int truth = PyObject_IsTrue(*value);
    Py_SETREF(*value, truth < 0 ? NULL : PyBool_FromLong(truth != inverts));
    return truth < 0 ? STEP_FAILED : STEP_DONE;
}

/* What slot_sq_length() makes of the value. */
static int
length_is_true(PyObject *value)
{
    PyObject *index = PyNumber_Index(value);
    if (index == NULL) {
        return -1;
    }
    Py_ssize_t length = -1;
    if (_PyLong_IsNegative((PyLongObject *)index)) {
        PyErr_SetString(PyExc_ValueError, "__len__() should return >= 0");
    }
    else {
        length = PyNumber_AsSsize_t(index, PyExc_OverflowError);
    }
    Py_DECREF(index);
    return length < 0 ? -1 : length > 0;
}

/* State: what is tested; what arrives next. */
step_outcome
_PyStackless_TruthStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                       PyObject **value)
{
    if (event == AT_RAISE) {
        return STEP_FAILED;
    }
    long number = continuation_number(c);
    int inverts = number >= TRUTH_BASE;
    int truth = -1;
    switch (number % TRUTH_BASE) {
        case TRUTH_TEST:
            return test_truth(tstate, c, inverts, value);
        case TRUTH_LEN:
            truth = length_is_true(*value);
            break;
        case TRUTH_BOOL:
            if (PyBool_Check(*value)) {
                truth = *value == Py_True;
            }
            else {
                PyErr_Format(PyExc_TypeError, "__bool__ should return bool, returned %s",
                             Py_TYPE(*value)->tp_name);
            }
            break;
    }
    Py_SETREF(*value, truth < 0 ? NULL : PyBool_FromLong(truth != inverts));
    return truth < 0 ? STEP_FAILED : STEP_DONE;
}

int
_PyStackless_ToBool(PyThreadState *tstate, _PyInterpreterFrame *frame,
                    PyObject **stack_pointer, int oparg)
{
    int phase;
    PyObject *op = stack_pointer[-1];
    PyObject *method = truth_method(op, &phase);
    if (method == NULL) {
        return 0;
    }
    return _PyStackless_BeginCall(tstate, frame, stack_pointer, 1,
                                  1 + INLINE_CACHE_ENTRIES_TO_BOOL, CONTINUE_TRUTH,
                                  op, NULL, phase, method, op, NULL, 0);
}

int
_PyStackless_ContainsOp(PyThreadState *tstate, _PyInterpreterFrame *frame,
                        PyObject **stack_pointer, int oparg)
{
    PyObject *container = stack_pointer[-1];
    PySequenceMethods *sequence = Py_TYPE(container)->tp_as_sequence;
    PyObject *method;
    if (sequence == NULL
        || sequence->sq_contains != _PyStackless_PythonSlots.sequence.sq_contains
        || !(method = _PyStackless_PythonMethod(Py_TYPE(container),
                                                &_Py_ID(__contains__)))) {
        return 0;
    }
    return _PyStackless_BeginCall(tstate, frame, stack_pointer, 2,
                                  1 + INLINE_CACHE_ENTRIES_CONTAINS_OP, CONTINUE_TRUTH,
                                  NULL, NULL, TRUTH_TEST + (oparg ? TRUTH_BASE : 0),
                                  method, container, &stack_pointer[-2], 1);
}

/* --- unary operators ---------------------------------------------------------- */

static int
unary_operator(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
               PyObject *name)
{
    PyObject *op = stack_pointer[-1];
    PyNumberMethods *number = Py_TYPE(op)->tp_as_number;
    PyNumberMethods *python = &_PyStackless_PythonSlots.number;
    PyObject *method;
    if (number == NULL
        || !(name == &_Py_ID(__neg__) ? number->nb_negative == python->nb_negative
             : name == &_Py_ID(__pos__) ? number->nb_positive == python->nb_positive
             : number->nb_invert == python->nb_invert)
        || !(method = _PyStackless_PythonMethod(Py_TYPE(op), name))) {
        return 0;
    }
    return _PyStackless_BeginCall(tstate, frame, stack_pointer, 1, 1, CONTINUE_NONE,
                                  NULL, NULL, 0, method, op, NULL, 0);
}

int
_PyStackless_Negative(PyThreadState *tstate, _PyInterpreterFrame *frame,
                      PyObject **stack_pointer, int oparg)
{
    return unary_operator(tstate, frame, stack_pointer, &_Py_ID(__neg__));
}

int
_PyStackless_Invert(PyThreadState *tstate, _PyInterpreterFrame *frame,
                    PyObject **stack_pointer, int oparg)
{
    return unary_operator(tstate, frame, stack_pointer, &_Py_ID(__invert__));
}

int
_PyStackless_Intrinsic(PyThreadState *tstate, _PyInterpreterFrame *frame,
                       PyObject **stack_pointer, int oparg)
{
    return oparg == INTRINSIC_UNARY_POSITIVE
           && unary_operator(tstate, frame, stack_pointer, &_Py_ID(__pos__));
}

/* --- items -------------------------------------------------------------------- */

static PyObject *
item_method(PyObject *container, PyObject *name)
{
    PyMappingMethods *mapping = Py_TYPE(container)->tp_as_mapping;
    PyMappingMethods *python = &_PyStackless_PythonSlots.mapping;
    if (mapping == NULL
        || !(name == &_Py_ID(__getitem__)
             ? mapping->mp_subscript == python->mp_subscript
             : mapping->mp_ass_subscript == python->mp_ass_subscript)) {
        return NULL;
    }
    return _PyStackless_PythonMethod(Py_TYPE(container), name);
}

int
_PyStackless_BinarySubscr(PyThreadState *tstate, _PyInterpreterFrame *frame,
                          PyObject **stack_pointer, int oparg)
{
    PyObject *container = stack_pointer[-2];
    PyObject *method = item_method(container, &_Py_ID(__getitem__));
    if (method == NULL) {
        return 0;
    }
    return _PyStackless_BeginCall(tstate, frame, stack_pointer, 2,
                                  1 + INLINE_CACHE_ENTRIES_BINARY_SUBSCR, CONTINUE_NONE,
                                  NULL, NULL, 0, method, container, &stack_pointer[-1], 1);
}

int
_PyStackless_StoreSubscr(PyThreadState *tstate, _PyInterpreterFrame *frame,
                         PyObject **stack_pointer, int oparg)
{
    PyObject *container = stack_pointer[-2];
    PyObject *args[] = { stack_pointer[-1], stack_pointer[-3] };
    PyObject *method = item_method(container, &_Py_ID(__setitem__));
    if (method == NULL) {
        return 0;
    }
    return _PyStackless_BeginCall(tstate, frame, stack_pointer, 3,
                                  1 + INLINE_CACHE_ENTRIES_STORE_SUBSCR, CONTINUE_DROP,
                                  NULL, NULL, 0, method, container, args, 2);
}

int
_PyStackless_DeleteSubscr(PyThreadState *tstate, _PyInterpreterFrame *frame,
                          PyObject **stack_pointer, int oparg)
{
    PyObject *container = stack_pointer[-2];
    PyObject *method = item_method(container, &_Py_ID(__delitem__));
    if (method == NULL) {
        return 0;
    }
    return _PyStackless_BeginCall(tstate, frame, stack_pointer, 2, 1, CONTINUE_DROP,
                                  NULL, NULL, 0, method, container, &stack_pointer[-1], 1);
}

int
_PyStackless_BinarySlice(PyThreadState *tstate, _PyInterpreterFrame *frame,
                         PyObject **stack_pointer, int oparg)
{
    PyObject *container = stack_pointer[-3];
    PyObject *method = item_method(container, &_Py_ID(__getitem__));
    PyObject *slice = method ? PySlice_New(stack_pointer[-2], stack_pointer[-1], NULL)
                             : NULL;
    if (slice == NULL) {
        PyErr_Clear();
        return 0;
    }
    int begun = _PyStackless_BeginCall(tstate, frame, stack_pointer, 3, 1, CONTINUE_NONE,
                                       NULL, NULL, 0, method, container, &slice, 1);
    Py_DECREF(slice);
    return begun;
}

int
_PyStackless_StoreSlice(PyThreadState *tstate, _PyInterpreterFrame *frame,
                        PyObject **stack_pointer, int oparg)
{
    PyObject *container = stack_pointer[-3];
    PyObject *method = item_method(container, &_Py_ID(__setitem__));
    PyObject *slice = method ? PySlice_New(stack_pointer[-2], stack_pointer[-1], NULL)
                             : NULL;
    if (slice == NULL) {
        PyErr_Clear();
        return 0;
    }
    PyObject *args[] = { slice, stack_pointer[-4] };
    int begun = _PyStackless_BeginCall(tstate, frame, stack_pointer, 4, 1, CONTINUE_DROP,
                                       NULL, NULL, 0, method, container, args, 2);
    Py_DECREF(slice);
    return begun;
}
