/* Classes: what type.__call__() and __build_class__() do, with the Python functions
   __new__, __init__, __prepare__, the class body and the metaclass's methods in the eval
   loop. */

#include "Python.h"
#include "pycore_ceval.h"         // _PyEvalFramePushAndInit()
#include "pycore_code.h"          // INLINE_CACHE_ENTRIES_CALL
#include "pycore_global_strings.h" // _Py_ID()
#include "pycore_object.h"        // _PyType_CalculateMetaclass()
#include "pycore_runtime.h"       // _Py_SINGLETON()
#include "Stackless/inline/inline.h"
#include "pycore_tuple.h"         // _PyTuple_FromArray()

/* --- instances ---------------------------------------------------------------- */

/* The `__new__` of a class, if it is a Python function. */
static PyObject *
python_new(PyTypeObject *type)
{
    if (type->tp_new != _PyStackless_PythonSlots.type.tp_new) {
        return NULL;
    }
    PyObject *new = _PyType_Lookup(type, &_Py_ID(__new__));
    if (new != NULL && Py_IS_TYPE(new, &PyStaticMethod_Type)) {
        new = PyStaticMethod_Type.tp_descr_get(new, NULL, (PyObject *)type);
        Py_DECREF(new);                // the staticmethod has one
    }
    return new != NULL && _PyStackless_IsPythonFunction(new) ? new : NULL;
}

static PyObject *
python_init(PyTypeObject *type)
{
    return type->tp_init == _PyStackless_PythonSlots.type.tp_init
           ? _PyStackless_PythonMethod(type, &_Py_ID(__init__)) : NULL;
}

int
_PyStackless_IsSoftClass(PyTypeObject *type)
{
    return type != &PyType_Type && type->tp_new != NULL && type->tp_vectorcall == NULL
           && (python_new(type) != NULL || python_init(type) != NULL);
}

/* What type_call() does with the new object. */
static step_outcome
initialize(PyThreadState *tstate, PyObject *object, PyObject *args, PyObject *kwargs,
           PyObject **value)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject *init = python_init(type);
    if (init == NULL) {
        if (type->tp_init != NULL && type->tp_init(object, args, kwargs) < 0) {
            return STEP_FAILED;
        }
        *value = Py_NewRef(object);
        return STEP_DONE;
    }
    if (!_PyStackless_PushContinuation(tstate, CONTINUE_INIT, object, NULL, NULL, 0)) {
        return STEP_FAILED;
    }
    return _PyStackless_CallWithTuple(tstate, init, object, args, kwargs, value);
}

/* State: the object. */
step_outcome
_PyStackless_InitStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                      PyObject **value)
{
    if (event == AT_RAISE) {
        return STEP_FAILED;
    }
    if (*value != Py_None) {
        PyErr_Format(PyExc_TypeError, "__init__() should return None, not '%.200s'",
                     Py_TYPE(*value)->tp_name);
        Py_CLEAR(*value);
        return STEP_FAILED;
    }
    *value = Py_NewRef(c->localsplus[STATE_A]);
    return STEP_DONE;
}

/* State: the class, the arguments; NULL when __init__ is under way. */
step_outcome
_PyStackless_NewStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                     PyObject **value)
{
    if (event == AT_RAISE) {
        return STEP_FAILED;
    }
    PyObject *type = c->localsplus[STATE_A];
    if (type == NULL || !PyObject_TypeCheck(*value, (PyTypeObject *)type)) {
        return STEP_DONE;
    }
    PyObject *object = *value;
    *value = NULL;
    c->localsplus[STATE_A] = NULL;
    Py_DECREF(type);
    step_outcome outcome = initialize(tstate, object, c->localsplus[STATE_B],
                                      c->localsplus[STATE_C], value);
    Py_DECREF(object);
    return outcome;
}

/* Is __new__ that of `object`, which does not care for arguments? */
static inline int
has_plain_new(PyTypeObject *type)
{
    return type->tp_new == PyBaseObject_Type.tp_new && type->tp_vectorcall == NULL;
}

/* A call of a class without keywords, if the commonest one: with a Python __init__ or, without
   arguments, none, and no __new__.  1: begun.  0: nothing was done. */
int
_PyStackless_CallPlainClass(PyTypeObject *type, PyThreadState *tstate,
                            _PyInterpreterFrame *frame, PyObject **stack_pointer, int oparg)
{
    if (!has_plain_new(type)) {
        return 0;
    }
    PyObject *init = python_init(type);
    if (init == NULL && (oparg != 0 || type->tp_init != PyBaseObject_Type.tp_init)) {
        return 0;
    }
    int pops = oparg + 2;
    _PyStackless_Begin(frame, stack_pointer, pops, 1 + INLINE_CACHE_ENTRIES_CALL);
    PyObject *object = type->tp_new(type, (PyObject *)&_Py_SINGLETON(tuple_empty), NULL);
    step_outcome outcome = object != NULL ? STEP_DONE : STEP_FAILED;
    PyObject *value = object;
    if (init != NULL && object != NULL) {
        value = NULL;
        outcome = _PyStackless_PushState(tstate, CONTINUE_INIT, object, NULL, NULL,
                                         continuation_make_number(0)) != NULL
                  ? _PyStackless_PushFunction(tstate, init, object, stack_pointer - oparg,
                                              oparg, NULL)
                  : STEP_FAILED;
    }
    return _PyStackless_Deliver(tstate, outcome, value, stack_pointer, pops);
}

/* `type` is as _PyStackless_IsSoftClass() wants it. */
step_outcome
_PyStackless_CallClass(PyThreadState *tstate, PyTypeObject *type, const stackless_call *call,
           PyObject **value)
{
    step_outcome outcome = STEP_FAILED;
    PyObject *new = Py_XNewRef(python_new(type));  // strange keywords may delete it
    if (new == NULL && type->tp_new == PyBaseObject_Type.tp_new) {
        /* object.__new__() ignores the arguments. */
        PyObject *object = type->tp_new(type, (PyObject *)&_Py_SINGLETON(tuple_empty), NULL);
        if (object == NULL) {
            return STEP_FAILED;
        }
        if (_PyStackless_PushContinuation(tstate, CONTINUE_INIT, object, NULL, NULL, 0)) {
            outcome = _PyStackless_PushFunction(tstate, python_init(type), object,
                                                call->args, call->nargs, call->kwnames);
        }
        Py_DECREF(object);
        return outcome;
    }
    PyObject *args = _PyTuple_FromArray(call->args, call->nargs);
    PyObject *kwargs = stackless_call_kwargs(call);
    if (args == NULL || (kwargs == NULL && call->kwnames != NULL)) {
        /* outcome is STEP_FAILED */
    }
    else if (new != NULL) {
        if (_PyStackless_PushContinuation(tstate, CONTINUE_NEW, (PyObject *)type, args,
                                          kwargs, 0)) {
            outcome = _PyStackless_PushFunction(tstate, new, (PyObject *)type, call->args,
                                                call->nargs, call->kwnames);
        }
    }
    else {
        PyObject *object = type->tp_new(type, args, kwargs);
        if (object != NULL && !PyObject_TypeCheck(object, type)) {
            *value = object;
            outcome = STEP_DONE;
        }
        else if (object != NULL) {
            outcome = initialize(tstate, object, args, kwargs, value);
            Py_DECREF(object);
        }
    }
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(new);
    return outcome;
}

/* --- class statements --------------------------------------------------------- */

enum { CLASS_PREPARE, CLASS_BODY, CLASS_MADE };

/* Calls the metaclass: state B is (name, bases, namespace). */
static step_outcome
call_metaclass(PyThreadState *tstate, _PyInterpreterFrame *c, PyObject **value)
{
    PyObject *parts = c->localsplus[STATE_A];
    PyObject *meta = PyTuple_GET_ITEM(parts, 1);
    PyObject *kwargs = PyTuple_GET_ITEM(parts, 2);
    return _PyStackless_CallWithTuple(tstate, meta, NULL, c->localsplus[STATE_B],
                           kwargs == Py_None ? NULL : kwargs, value);
}

static step_outcome
begin_body(PyThreadState *tstate, _PyInterpreterFrame *c, PyObject *namespace)
{
    PyObject *parts = c->localsplus[STATE_A];
    PyObject *func = PyTuple_GET_ITEM(parts, 0);
    PyObject *meta = PyTuple_GET_ITEM(parts, 1);
    if (!PyMapping_Check(namespace)) {
        PyErr_Format(PyExc_TypeError,
                     "%.200s.__prepare__() must return a mapping, not %.200s",
                     PyType_Check(meta) ? ((PyTypeObject *)meta)->tp_name : "<metaclass>",
                     Py_TYPE(namespace)->tp_name);
        return STEP_FAILED;
    }
    PyObject *args = c->localsplus[STATE_B];
    PyObject *all = PyTuple_Pack(3, PyTuple_GET_ITEM(args, 0), PyTuple_GET_ITEM(args, 1),
                                 namespace);
    if (all == NULL) {
        return STEP_FAILED;
    }
    Py_SETREF(c->localsplus[STATE_B], all);
    (void)continuation_set_number(c, CLASS_BODY);         // small
    _PyInterpreterFrame *frame = _PyEvalFramePushAndInit(
        tstate, (PyFunctionObject *)Py_NewRef(func), Py_NewRef(namespace), NULL, 0, NULL);
    return frame ? _PyStackless_EnterFrame(tstate, frame) : STEP_FAILED;
}

/* Did the metaclass set __class__ of the methods?  `cell`: what the body returned. */
static int
check_class_cell(PyObject *cls, PyObject *cell, PyObject *name)
{
    if (!PyType_Check(cls) || !PyCell_Check(cell) || PyCell_GET(cell) == cls) {
        return 0;
    }
    PyObject *found = PyCell_GET(cell);
    if (found == NULL) {
        PyErr_Format(PyExc_RuntimeError,
                     "__class__ not set defining %.200R as %.200R. "
                     "Was __classcell__ propagated to type.__new__?", name, cls);
    }
    else {
        PyErr_Format(PyExc_TypeError, "__class__ set to %.200R defining %.200R as %.200R",
                     found, name, cls);
    }
    return -1;
}

/* State: (function, metaclass, keywords or None), the metaclass's arguments, the cell. */
step_outcome
_PyStackless_ClassStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                       PyObject **value)
{
    if (event == AT_RAISE) {
        return STEP_FAILED;
    }
    PyObject *arrived = *value;
    step_outcome outcome;
    switch (continuation_number(c)) {
        case CLASS_PREPARE:
            *value = NULL;
            outcome = begin_body(tstate, c, arrived);
            Py_DECREF(arrived);
            return outcome;
        case CLASS_BODY:
            *value = NULL;
            c->localsplus[STATE_C] = arrived;
            (void)continuation_set_number(c, CLASS_MADE);     // small
            outcome = call_metaclass(tstate, c, value);
            if (outcome != STEP_DONE || tstate->current_frame != c) {
                return outcome;
            }
    }
    if (check_class_cell(*value, c->localsplus[STATE_C],
                         PyTuple_GET_ITEM(c->localsplus[STATE_B], 0)) < 0) {
        Py_CLEAR(*value);
        return STEP_FAILED;
    }
    return STEP_DONE;
}

/* Takes the metaclass out of `kwargs`, or finds it.  New reference. */
static PyObject *
find_metaclass(PyObject *bases, PyObject *kwargs)
{
    PyObject *meta = NULL;
    if (kwargs != NULL && PyDict_Pop(kwargs, &_Py_ID(metaclass), &meta) < 0) {
        return NULL;
    }
    if (meta == NULL) {
        PyTypeObject *type = PyTuple_GET_SIZE(bases) == 0
                             ? &PyType_Type : Py_TYPE(PyTuple_GET_ITEM(bases, 0));
        meta = Py_NewRef(type);
    }
    if (PyType_Check(meta)) {
        PyTypeObject *winner = _PyType_CalculateMetaclass((PyTypeObject *)meta, bases);
        Py_SETREF(meta, Py_XNewRef(winner));
    }
    return meta;
}

/* The namespace in which the body runs: from __prepare__, if there is one. */
static step_outcome
call_prepare(PyThreadState *tstate, PyObject *meta, PyObject *args, PyObject *kwargs,
             PyObject **value)
{
    PyObject *prepare = NULL;
    if (meta != (PyObject *)&PyType_Type
        && PyObject_GetOptionalAttr(meta, &_Py_ID(__prepare__), &prepare) < 0) {
        return STEP_FAILED;
    }
    if (prepare == NULL) {
        *value = PyDict_New();
        return *value ? STEP_DONE : STEP_FAILED;
    }
    step_outcome outcome = _PyStackless_CallWithTuple(tstate, prepare, NULL, args, kwargs, value);
    Py_DECREF(prepare);
    return outcome;
}

/* __build_class__(func, name, *bases, **kwargs) */
step_outcome
_PyStackless_CallBuildClass(PyThreadState *tstate, const stackless_call *call, PyObject **value)
{
    step_outcome outcome = STEP_FAILED;
    PyObject *kwargs = stackless_call_kwargs(call);
    PyObject *bases = _PyTuple_FromArray(call->args + 2, call->nargs - 2);
    PyObject *meta = NULL, *args = NULL, *parts = NULL;
    if (bases != NULL && (kwargs != NULL || call->kwnames == NULL)
        && (meta = find_metaclass(bases, kwargs)) != NULL
        && (args = PyTuple_Pack(2, call->args[1], bases)) != NULL
        && (parts = PyTuple_Pack(3, call->args[0], meta, kwargs ? kwargs : Py_None)) != NULL
        && _PyStackless_PushContinuation(tstate, CONTINUE_CLASS, parts, args, NULL,
                                         CLASS_PREPARE) != NULL) {
        outcome = call_prepare(tstate, meta, args, kwargs, value);
    }
    Py_XDECREF(kwargs);
    Py_XDECREF(bases);
    Py_XDECREF(meta);
    Py_XDECREF(args);
    Py_XDECREF(parts);
    return outcome;
}
