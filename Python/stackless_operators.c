/* Operators whose methods are Python functions, step by step.

   Each step function says what binary_op1(), do_richcompare() and the slot functions of
   Python classes do, in the same order; make check-overlay watches those. */

#include "Python.h"
#include "opcode.h"               // NB_ADD
#include "pycore_code.h"          // INLINE_CACHE_ENTRIES_BINARY_OP
#include "pycore_global_strings.h" // _Py_ID()
#include "pycore_object.h"
#include "pycore_runtime.h"
#include "pycore_stackless_inline.h"

/* --- binary operators ------------------------------------------------------------------- */

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

/* What binary_op1() and the slots of Python classes together do. */
static int
binary_plan(PyTypeObject *v, PyTypeObject *w, const binary_operator *op)
{
    void *python = python_number_slot(op->slot);
    void *left = number_slot(v, op->slot);
    void *right = v == w ? NULL : number_slot(w, op->slot);
    int subtype = right != NULL && PyType_IsSubtype(w, v);
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

static int
has_python_operator(PyObject *v, PyObject *w, const binary_operator *op, int inplace)
{
    PyTypeObject *left = Py_TYPE(v);
    PyTypeObject *right = Py_TYPE(w);
    void *python = python_number_slot(op->slot);
    return (inplace && _PyStackless_PythonMethod(left, op->inplace)
            && number_slot(left, op->inplace_slot) == python_number_slot(op->inplace_slot))
           || (number_slot(left, op->slot) == python
               && _PyStackless_PythonMethod(left, op->name))
           || (left != right && number_slot(right, op->slot) == python
               && _PyStackless_PythonMethod(right, op->reflected));
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

/* State: the operands, the rest of the plan, the instruction's argument. */
step_outcome
_PyStackless_BinaryStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                        PyObject **value)
{
    if (event == AT_RAISE) {
        return STEP_FAILED;
    }
    PyObject *v = c->localsplus[STATE_A];
    PyObject *w = c->localsplus[STATE_B];
    long plan = PyLong_AsLong(c->localsplus[STATE_C]);
    long oparg = PyLong_AsLong(c->localsplus[STATE_D]);
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
        Py_SETREF(c->localsplus[STATE_C], PyLong_FromLong(plan));
        step_outcome outcome = c->localsplus[STATE_C] == NULL ? STEP_FAILED
                               : ask(tstate, whom, op, v, w, value);
        if (outcome == STEP_PUSHED || outcome == STEP_FAILED) {
            return outcome;
        }
    }
}

int
_PyStackless_BinaryOp(PyThreadState *tstate, _PyInterpreterFrame *frame,
                      PyObject **stack_pointer, int oparg)
{
    PyObject *v = stack_pointer[-2];
    PyObject *w = stack_pointer[-1];
    int inplace = oparg >= NB_INPLACE_ADD;
    const binary_operator *op = &operators[inplace ? oparg - NB_INPLACE_ADD : oparg];
    if (!has_python_operator(v, w, op, inplace)) {
        return 0;
    }
    long plan = binary_plan(Py_TYPE(v), Py_TYPE(w), op);
    if (inplace && number_slot(Py_TYPE(v), op->inplace_slot) != NULL) {
        int python = number_slot(Py_TYPE(v), op->inplace_slot)
                     == python_number_slot(op->inplace_slot);
        plan = plan * ASK_BASE + (python ? ASK_INPLACE : ASK_INPLACE_SLOT);
    }
    PyObject *plan_obj = PyLong_FromLong(plan);
    if (plan_obj == NULL) {
        PyErr_Clear();
        return 0;
    }
    return _PyStackless_Begin(tstate, frame, stack_pointer - 2,
                              1 + INLINE_CACHE_ENTRIES_BINARY_OP, CONTINUE_BINARY,
                              v, w, plan_obj, PyLong_FromLong(oparg));
}
