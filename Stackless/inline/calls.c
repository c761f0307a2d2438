/* Calls of what is no Python function but ends in one: instances with __call__, slot
   wrappers, functools.partial, next(), send() and throw() of generators, Context.run(),
   classes and class statements (classes.c), steps of asyncio's tasks
   (tasks.c), sort() with a key (sort.c).

   _PyStackless_CallSoft() and the functions below it take arguments as vectorcall does,
   borrowed.  Whether they will do is decided by find_soft(), without side effects. */

#include "Python.h"
#include "opcode_ids.h"           // CALL
#include "pycore_call.h"          // _PyStack_UnpackDict()
#include "pycore_ceval.h"         // _PyEvalFramePushAndInit()
#include "pycore_code.h"          // INLINE_CACHE_ENTRIES_CALL
#include "pycore_descrobject.h"   // PyMethodDescrObject
#include "pycore_global_strings.h" // _Py_ID()
#include "pycore_import.h"        // _PyImport_GetModuleAttrString()
#include "pycore_instruments.h"   // _Py_call_instrumentation_exc2()
#include "pycore_interp.h"
#include "pycore_object.h"        // _PyType_CalculateMetaclass()
#include "pycore_runtime.h"
#include "Stackless/inline/asyncio.h"
#include "Stackless/inline/inline.h"
#include "pycore_tuple.h"         // _PyTuple_FromArray()

/* The beginning of functools.partial's structure. */
typedef struct {
    PyObject_HEAD
    PyObject *fn;
    PyObject *args;
    PyObject *kw;
} partial_object;

/* The type of bound slot wrappers, as in type(x).__call__ of super(). */
typedef struct {
    PyObject_HEAD
    PyWrapperDescrObject *descr;
    PyObject *self;
} method_wrapper;

/* The C functions that are known here, as they stand in their method tables. */
static struct {
    void *next;
    void *build_class;
    void *gen_send;
    void *gen_throw;
    void *context_run;
    void *list_sort;
    void *sorted;
    ternaryfunc partial_call;
} known;

/* --- calls with rearranged arguments ------------------------------------------ */

/* callable(self, *args, **kw), softly if possible.  self may be NULL. */
static step_outcome
call_with_self(PyThreadState *tstate, PyObject *callable, PyObject *self,
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
               PyObject **value)
{
    if (_PyStackless_IsPythonFunction(callable)) {
        return _PyStackless_PushFunction(tstate, callable, self, args, nargs, kwnames);
    }
    Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject **all = PyMem_New(PyObject *, total + 1);
    if (all == NULL) {
        PyErr_NoMemory();
        return STEP_FAILED;
    }
    Py_ssize_t n = self != NULL;
    all[0] = self;
    for (Py_ssize_t i = 0; i < total; i++) {
        all[n + i] = args[i];
    }
    stackless_call call = { callable, all, n + nargs, kwnames };
    step_outcome outcome = _PyStackless_CallSoft(tstate, &call, value);
    PyMem_Free(all);
    return outcome;
}

/* callable(self, *args, **kwargs); kwargs may be NULL. */
step_outcome
_PyStackless_CallWithTuple(PyThreadState *tstate, PyObject *callable, PyObject *self,
                PyObject *args, PyObject *kwargs, PyObject **value)
{
    PyObject *const *items = &PyTuple_GET_ITEM(args, 0);
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);
    if (kwargs == NULL || PyDict_GET_SIZE(kwargs) == 0) {
        return call_with_self(tstate, callable, self, items, nargs, NULL, value);
    }
    PyObject *kwnames;
    PyObject *const *all = _PyStack_UnpackDict(tstate, items, nargs, kwargs, &kwnames);
    if (all == NULL) {
        return STEP_FAILED;
    }
    step_outcome outcome = call_with_self(tstate, callable, self, all, nargs, kwnames,
                                          value);
    _PyStack_UnpackDict_Free(all, nargs, kwnames);
    return outcome;
}

/* --- what is called ----------------------------------------------------------- */

/* What a call is that can be done without C code in between. */
typedef enum {
    SOFT_NOT,
    SOFT_FUNCTION,                // rest.callable, a Python function, with self or NULL
    SOFT_METHOD,                  // rest.callable, something else, with self
    SOFT_CLASS,                   // self
    SOFT_PARTIAL,                 // rest.callable
    SOFT_NEXT,                    // self: the iterator; rest: next()'s default, if any
    SOFT_SEND,                    // self: the generator
    SOFT_THROW,                   // same
    SOFT_CONTEXT_RUN,             // self: the context; rest: the call to be made in it
    SOFT_TASK,                    // self: the task
    SOFT_EAGER_TASK,              // self: its class
    SOFT_BUILD_CLASS,
    SOFT_SORT,                    // self: the list; rest: the keywords
    SOFT_SORTED,                  // self: the iterable; same
} soft_kind;

static soft_kind find_soft(stackless_call *call, PyObject **self);

static int
is_soft(const stackless_call *call)
{
    PyObject *self;
    stackless_call rest = *call;
    return find_soft(&rest, &self) != SOFT_NOT;
}

/* The same if the arguments do not matter. */
static int
is_soft_callable(PyObject *callable)
{
    stackless_call call = { callable, NULL, 0, NULL };
    return _PyStackless_IsPythonFunction(callable) || is_soft(&call);
}

static int
is_python_next(PyObject *op)
{
    return Py_TYPE(op)->tp_iternext == _PyStackless_PythonSlots.type.tp_iternext
           && _PyStackless_PythonMethod(Py_TYPE(op), &_Py_ID(__next__)) != NULL;
}

static int
is_ready_generator(PyObject *op)
{
    return (PyGen_CheckExact(op) || PyCoro_CheckExact(op))
           && ((PyGenObject *)op)->gi_frame_state < FRAME_EXECUTING;
}

/* The first argument, which is not among the others any more. */
static PyObject *
take_argument(stackless_call *call)
{
    call->nargs--;
    return *call->args++;
}

/* A step or wakeup of a task of asyncio, if all that it does is to resume the coroutine of
   *self, the task. */
static soft_kind
find_task(PyObject **self, const stackless_call *rest)
{
    const _PyStackless_TaskHooks *hooks = _PyStackless_GetTaskHooks();
    PyObject *task = rest->kwnames != NULL
                     ? NULL : hooks->resumes(rest->callable, rest->args, rest->nargs);
    *self = task;
    return task != NULL ? SOFT_TASK : SOFT_NOT;
}

static inline int
is_task_step(PyTypeObject *type)
{
    const _PyStackless_TaskHooks *hooks = _PyStackless_GetTaskHooks();
    return hooks != NULL && type->tp_call == hooks->step;
}

static inline int
is_task_wakeup(PyObject *callable, void *func)
{
    const _PyStackless_TaskHooks *hooks = _PyStackless_GetTaskHooks();
    return hooks != NULL && func == (void *)hooks->wakeup && PyCFunction_Check(callable);
}

/* Does a call of the class make a task of asyncio that begins at once? */
static int
is_eager_task(PyTypeObject *type, const stackless_call *call)
{
    const _PyStackless_TaskHooks *hooks = _PyStackless_GetTaskHooks();
    return hooks != NULL && type->tp_init == hooks->init
           && type->tp_new == PyType_GenericNew
           && hooks->is_eager(call->args, call->nargs, call->kwnames);
}

static int
is_plain_class_statement(const stackless_call *call)
{
    if (call->nargs < 2 || !_PyStackless_IsPythonFunction(call->args[0])
        || !PyUnicode_Check(call->args[1])) {
        return 0;
    }
    for (Py_ssize_t i = 2; i < call->nargs; i++) {
        if (!PyType_Check(call->args[i])) {
            return 0;                  // __mro_entries__
        }
    }
    return 1;
}

/* list.sort() or sorted() with these keywords. */
static soft_kind
find_sort(const stackless_call *rest, soft_kind kind)
{
    int reverse;
    PyObject *key = _PyStackless_SortKey(rest, &reverse);
    return key != NULL && is_soft_callable(key) ? kind : SOFT_NOT;
}

/* The C function `func`, of *self (may be NULL). */
static soft_kind
find_c_function(void *func, PyObject **self, stackless_call *rest)
{
    if (func == known.next) {
        if (rest->kwnames != NULL || (rest->nargs != 1 && rest->nargs != 2)) {
            return SOFT_NOT;
        }
        *self = take_argument(rest);
        return (PyGen_CheckExact(*self) ? is_ready_generator(*self) : is_python_next(*self))
               ? SOFT_NEXT : SOFT_NOT;
    }
    if (func == known.context_run) {
        if (rest->nargs == 0) {
            return SOFT_NOT;
        }
        /* That may be another run(), and so on, as many as there are arguments: upstream
           looks at how deep it is in C. */
        enum { MANY = 100 };
        rest->callable = take_argument(rest);
        return _PyStackless_IsPythonFunction(rest->callable)
               || (rest->nargs < MANY && is_soft(rest)) ? SOFT_CONTEXT_RUN : SOFT_NOT;
    }
    if (func == known.build_class) {
        return is_plain_class_statement(rest) ? SOFT_BUILD_CLASS : SOFT_NOT;
    }
    if (func == known.list_sort) {
        return find_sort(rest, SOFT_SORT);
    }
    if (func == known.sorted) {
        if (rest->nargs != 1) {
            return SOFT_NOT;
        }
        *self = take_argument(rest);
        return find_sort(rest, SOFT_SORTED);
    }
    if (is_task_wakeup(rest->callable, func)) {
        return find_task(self, rest);
    }
    if (rest->kwnames != NULL) {
        return SOFT_NOT;
    }
    if (rest->nargs != 1 || *self == NULL || !is_ready_generator(*self)) {
        return SOFT_NOT;
    }
    if (func == known.gen_send) {
        return ((PyGenObject *)*self)->gi_frame_state != FRAME_CREATED || Py_IsNone(rest->args[0]) ? SOFT_SEND : SOFT_NOT;
    }
    return func == known.gen_throw
           && (PyExceptionInstance_Check(rest->args[0])
               || PyExceptionClass_Check(rest->args[0]))
           && _PyStackless_CanThrow(*self, rest->args[0]) ? SOFT_THROW : SOFT_NOT;
}

/* A slot wrapper, bound or with self as its first argument. */
static soft_kind
find_wrapped_slot(PyObject **self, stackless_call *rest)
{
    PyWrapperDescrObject *wrapper;
    if (Py_IS_TYPE(rest->callable, &_PyMethodWrapper_Type)) {
        wrapper = ((method_wrapper *)rest->callable)->descr;
        *self = ((method_wrapper *)rest->callable)->self;
    }
    else if (Py_IS_TYPE(rest->callable, &PyWrapperDescr_Type) && rest->nargs > 0) {
        wrapper = (PyWrapperDescrObject *)rest->callable;
        *self = take_argument(rest);
    }
    else {
        return SOFT_NOT;
    }
    if (!PyObject_TypeCheck(*self, wrapper->d_common.d_type)) {
        return SOFT_NOT;
    }
    if (wrapper->d_wrapped == (void *)PyType_Type.tp_call) {
        return _PyStackless_IsSoftClass((PyTypeObject *)*self) ? SOFT_CLASS : SOFT_NOT;
    }
    return wrapper->d_wrapped == (void *)PyGen_Type.tp_iternext && rest->nargs == 0
           && rest->kwnames == NULL && is_ready_generator(*self) ? SOFT_NEXT : SOFT_NOT;
}

/* What `rest`, a call, comes down to; that becomes what is left of it.  All is borrowed. */
static soft_kind
find_soft(stackless_call *rest, PyObject **self)
{
    PyObject *callable = rest->callable;
    PyTypeObject *type = Py_TYPE(callable);
    *self = NULL;
    if (type == &PyFunction_Type) {
        return _PyStackless_IsPythonFunction(callable) ? SOFT_FUNCTION : SOFT_NOT;
    }
    if (type == &PyCFunction_Type || type == &PyCMethod_Type) {
        *self = PyCFunction_GET_SELF(callable);
        return find_c_function((void *)PyCFunction_GET_FUNCTION(callable), self, rest);
    }
    if (type == &PyMethodDescr_Type) {
        PyMethodDescrObject *method = (PyMethodDescrObject *)callable;
        if (rest->nargs == 0
            || !PyObject_TypeCheck(rest->args[0], method->d_common.d_type)) {
            return SOFT_NOT;
        }
        *self = take_argument(rest);
        return find_c_function((void *)method->d_method->ml_meth, self, rest);
    }
    if (type == &PyMethod_Type) {
        *self = PyMethod_GET_SELF(callable);
        rest->callable = PyMethod_GET_FUNCTION(callable);
        if (_PyStackless_IsPythonFunction(rest->callable)) {
            return SOFT_FUNCTION;
        }
        return !PyCFunction_Check(rest->callable) && is_soft_callable(rest->callable)
               ? SOFT_METHOD : SOFT_NOT;
    }
    if (type->tp_call == _PyStackless_PythonSlots.type.tp_call) {
        *self = callable;
        rest->callable = _PyStackless_PythonMethod(type, &_Py_ID(__call__));
        return rest->callable != NULL ? SOFT_FUNCTION : SOFT_NOT;
    }
    if (type->tp_call == PyType_Type.tp_call) {
        *self = callable;
        return _PyStackless_IsSoftClass((PyTypeObject *)callable) ? SOFT_CLASS
               : is_eager_task((PyTypeObject *)callable, rest) ? SOFT_EAGER_TASK : SOFT_NOT;
    }
    if (type->tp_call == known.partial_call) {
        return is_soft_callable(((partial_object *)callable)->fn) ? SOFT_PARTIAL : SOFT_NOT;
    }
    if (is_task_step(type)) {
        return find_task(self, rest);
    }
    return find_wrapped_slot(self, rest);
}

/* --- Context.run() ------------------------------------------------------------ */

/* State: the context. */
step_outcome
_PyStackless_ContextStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                         PyObject **value)
{
    PyObject *exc = event == AT_RAISE ? PyErr_GetRaisedException() : NULL;
    if (PyContext_Exit(c->localsplus[STATE_A]) < 0) {
        Py_XDECREF(exc);
        Py_CLEAR(*value);
        return STEP_FAILED;
    }
    if (exc == NULL) {
        return STEP_DONE;
    }
    PyErr_SetRaisedException(exc);
    return STEP_FAILED;
}

static step_outcome
call_in_context(PyThreadState *tstate, PyObject *context, const stackless_call *call,
                PyObject **value)
{
    if (PyContext_Enter(context) < 0) {
        return STEP_FAILED;
    }
    if (!_PyStackless_PushContinuation(tstate, CONTINUE_CONTEXT, context, NULL, NULL, 0)) {
        PyObject *exc = PyErr_GetRaisedException();
        (void)PyContext_Exit(context);
        PyErr_SetRaisedException(exc);
        return STEP_FAILED;
    }
    return _PyStackless_CallAny(tstate, call, value);
}

/* --- functools.partial -------------------------------------------------------- */

static step_outcome
call_partial(PyThreadState *tstate, partial_object *partial, const stackless_call *call,
             PyObject **value)
{
    PyObject *args = partial->args;
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    Py_ssize_t nkw = call->kwnames ? PyTuple_GET_SIZE(call->kwnames) : 0;
    PyObject *small[8];
    PyObject **all = small;
    if (n + call->nargs + nkw > (Py_ssize_t)Py_ARRAY_LENGTH(small)) {
        all = PyMem_New(PyObject *, n + call->nargs + nkw);
        if (all == NULL) {
            PyErr_NoMemory();
            return STEP_FAILED;
        }
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        all[i] = PyTuple_GET_ITEM(args, i);
    }
    for (Py_ssize_t i = 0; i < call->nargs + nkw; i++) {
        all[n + i] = call->args[i];
    }
    stackless_call inner = { partial->fn, all, n + call->nargs, call->kwnames };
    step_outcome outcome = STEP_FAILED;
    Py_INCREF(inner.callable);
    Py_INCREF(args);
    if (PyDict_GET_SIZE(partial->kw) == 0) {
        outcome = _PyStackless_CallAny(tstate, &inner, value);
    }
    else {
        PyObject *kwargs = PyDict_Copy(partial->kw);
        PyObject *more = kwargs ? stackless_call_kwargs(call) : NULL;
        PyObject *merged = NULL;
        if (kwargs != NULL && !PyErr_Occurred()
            && (more == NULL || PyDict_Merge(kwargs, more, 1) == 0)) {
            merged = _PyTuple_FromArray(all, inner.nargs);
        }
        if (merged != NULL) {
            outcome = _PyStackless_CallWithTuple(tstate, inner.callable, NULL, merged, kwargs, value);
        }
        Py_XDECREF(kwargs);
        Py_XDECREF(more);
        Py_XDECREF(merged);
    }
    Py_DECREF(inner.callable);
    Py_DECREF(args);
    if (all != small) {
        PyMem_Free(all);
    }
    return outcome;
}

/* --- any call ----------------------------------------------------------------- */

/* Carries out what find_soft() has found. */
static Py_ALWAYS_INLINE inline step_outcome
do_soft(PyThreadState *tstate, soft_kind kind, PyObject *self, const stackless_call *rest,
        PyObject **value)
{
    if (kind == SOFT_FUNCTION) {
        return _PyStackless_PushFunction(tstate, rest->callable, self, rest->args,
                                         rest->nargs, rest->kwnames);
    }
    switch (kind) {
        case SOFT_METHOD:
            return call_with_self(tstate, rest->callable, self, rest->args, rest->nargs,
                                  rest->kwnames, value);
        case SOFT_CLASS:
            return _PyStackless_CallClass(tstate, (PyTypeObject *)self, rest, value);
        case SOFT_PARTIAL:
            return call_partial(tstate, (partial_object *)rest->callable, rest, value);
        case SOFT_NEXT:
            return _PyStackless_CallNext(tstate, self, rest->nargs > 0 ? rest->args[0] : NULL);
        case SOFT_SEND:
            return _PyStackless_CallSend(tstate, self, rest->args[0]);
        case SOFT_THROW:
            return _PyStackless_CallThrow(tstate, self, rest->args[0], value);
        case SOFT_CONTEXT_RUN:
            return call_in_context(tstate, self, rest, value);
        case SOFT_TASK:
            return _PyStackless_CallTask(tstate, self, rest, value);
        case SOFT_EAGER_TASK:
            return _PyStackless_MakeEagerTask(tstate, (PyTypeObject *)self, rest, value);
        case SOFT_BUILD_CLASS:
            return _PyStackless_CallBuildClass(tstate, rest, value);
        case SOFT_SORT:
            return _PyStackless_CallSort(tstate, self, rest);
        case SOFT_SORTED:
            return _PyStackless_CallSorted(tstate, self, rest);
        default:
            Py_UNREACHABLE();
    }
}

step_outcome
_PyStackless_CallSoft(PyThreadState *tstate, const stackless_call *call, PyObject **value)
{
    PyObject *self;
    stackless_call rest = *call;
    soft_kind kind = find_soft(&rest, &self);
    if (kind == SOFT_NOT) {
        *value = PyObject_Vectorcall(call->callable, call->args, call->nargs, call->kwnames);
        return *value ? STEP_DONE : STEP_FAILED;
    }
    return do_soft(tstate, kind, self, &rest, value);
}

/* --- the instructions --------------------------------------------------------- */

/* The call was instrumented: its end is an event.  State: the callable, its first
   argument. */
step_outcome
_PyStackless_CReturnStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                         PyObject **value)
{
    _PyInterpreterFrame *frame = c->previous;
    PyObject *callable = c->localsplus[STATE_A];
    PyObject *arg = c->localsplus[STATE_B];
    if (!_PyStackless_IsMonitored(frame)) {
        return event == AT_RAISE ? STEP_FAILED : STEP_DONE;
    }
    if (event == AT_RAISE) {
        _Py_call_instrumentation_exc2(tstate, PY_MONITORING_EVENT_C_RAISE, frame,
                                      frame->instr_ptr, callable, arg);
        return STEP_FAILED;
    }
    if (_Py_call_instrumentation_2args(tstate, PY_MONITORING_EVENT_C_RETURN, frame,
                                       frame->instr_ptr, callable, arg) < 0) {
        Py_CLEAR(*value);
        return STEP_FAILED;
    }
    return STEP_DONE;
}

static step_outcome
call_instrumented(PyThreadState *tstate, const stackless_call *call, PyObject **value)
{
    PyObject *arg = call->nargs > 0 || call->kwnames ? call->args[0]
                                                     : &_PyInstrumentation_MISSING;
    if (!_PyStackless_PushContinuation(tstate, CONTINUE_C_RETURN, call->callable, arg, NULL,
                                       0)) {
        return STEP_FAILED;
    }
    return _PyStackless_CallSoft(tstate, call, value);
}

static int
call_ex(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
        int oparg, int instrumented)
{
    int pops = 3 + (oparg & 1);
    PyObject *callable = stack_pointer[-pops];
    if (!instrumented && _PyStackless_IsPythonFunction(callable)) {
        return 0;                      // the instruction pushes its frame
    }
    PyObject *args = stack_pointer[2 - pops];
    PyObject *kwargs = oparg & 1 ? stack_pointer[-1] : NULL;
    PyObject *const *items = &PyTuple_GET_ITEM(args, 0);
    stackless_call call = { callable, items, PyTuple_GET_SIZE(args), NULL };
    int has_keywords = kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0;
    if (has_keywords) {
        items = _PyStack_UnpackDict(tstate, items, call.nargs, kwargs, &call.kwnames);
        if (items == NULL) {
            PyErr_Clear();
            return 0;                  // and fails again
        }
        call.args = items;
    }
    PyObject *self;
    stackless_call rest = call;
    soft_kind kind = find_soft(&rest, &self);
    if (kind != SOFT_NOT) {
        PyObject *value = NULL;
        step_outcome outcome = STEP_DONE;
        _PyStackless_Begin(frame, stack_pointer, pops, 1);
        if (instrumented) {
            PyObject *arg = PyTuple_GET_SIZE(args) > 0 ? PyTuple_GET_ITEM(args, 0)
                                                       : &_PyInstrumentation_MISSING;
            if (_Py_call_instrumentation_2args(tstate, PY_MONITORING_EVENT_CALL, frame,
                                               frame->instr_ptr, callable, arg) != 0) {
                outcome = STEP_FAILED;
            }
            else if (!PyFunction_Check(callable) && !PyMethod_Check(callable)
                     && !_PyStackless_PushContinuation(tstate, CONTINUE_C_RETURN, callable,
                                                       arg, NULL, 0)) {
                outcome = STEP_FAILED;
            }
        }
        if (outcome == STEP_DONE) {
            outcome = instrumented ? _PyStackless_CallSoft(tstate, &call, &value)
                                   : do_soft(tstate, kind, self, &rest, &value);
        }
        (void)_PyStackless_Deliver(tstate, outcome, value, stack_pointer, pops);
    }
    if (has_keywords) {
        _PyStack_UnpackDict_Free(items, call.nargs, call.kwnames);   // args is gone
    }
    return kind != SOFT_NOT;
}

/* The Python function, if it is easily found, which a call of base[0] with base[1] (may
   be NULL) and more arguments calls with *owner before them. */
static inline PyObject *
python_method(PyObject **base, PyObject **owner)
{
    PyObject *callable = base[0];
    PyTypeObject *type = Py_TYPE(callable);
    if (type->tp_call == _PyStackless_PythonSlots.type.tp_call) {
        *owner = callable;
        return _PyStackless_PythonMethod(type, &_Py_ID(__call__));
    }
    if (type == &PyMethod_Type && base[1] != NULL
        && _PyStackless_IsPythonFunction(PyMethod_GET_FUNCTION(callable))) {
        *owner = PyMethod_GET_SELF(callable);
        return PyMethod_GET_FUNCTION(callable);
    }
    return NULL;
}

/* The call of a C function, or of partial(), that ends in a Python function (or generator)
   at hand: the commonest ones, without call_vector(). */
static inline soft_kind
find_quick(PyObject **base, int oparg)
{
    PyObject *callable = base[0];
    if (base[1] == NULL && Py_TYPE(callable)->tp_call == known.partial_call) {
        return _PyStackless_IsPythonFunction(((partial_object *)callable)->fn)
               ? SOFT_PARTIAL : SOFT_NOT;
    }
    if (base[1] == NULL && oparg == 1 && PyCFunction_CheckExact(callable)) {
        return (void *)PyCFunction_GET_FUNCTION(callable) == known.next
               && (PyGen_CheckExact(base[2]) ? is_ready_generator(base[2])
                                             : is_python_next(base[2]))
               ? SOFT_NEXT : SOFT_NOT;
    }
    if (base[1] != NULL && oparg > 0 && Py_IS_TYPE(callable, &PyMethodDescr_Type)) {
        return (void *)((PyMethodDescrObject *)callable)->d_method->ml_meth
                   == known.context_run
               && PyContext_CheckExact(base[1]) && _PyStackless_IsPythonFunction(base[2])
               ? SOFT_CONTEXT_RUN : SOFT_NOT;
    }
    return SOFT_NOT;
}

/* Carries it out. */
static inline step_outcome
do_quick(PyThreadState *tstate, soft_kind kind, PyObject **base, int oparg, PyObject **value)
{
    if (kind == SOFT_NEXT) {
        return _PyStackless_CallNext(tstate, base[2], NULL);
    }
    if (kind == SOFT_PARTIAL) {
        stackless_call call = { base[0], base + 2, oparg, NULL };
        return call_partial(tstate, (partial_object *)base[0], &call, value);
    }
    stackless_call call = { base[2], base + 3, oparg - 1, NULL };
    return call_in_context(tstate, base[1], &call, value);
}

static Py_NO_INLINE int
call_vector(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
            int oparg, int has_kwnames, int instrumented)
{
    PyObject **base = stack_pointer - has_kwnames - oparg - 2;
    PyObject *callable = base[0];
    PyObject *self = base[1];
    if (self == NULL && PyMethod_Check(callable)) {
        /* Taken apart, as the instruction does; for the call only. */
        callable = PyMethod_GET_FUNCTION(base[0]);
        self = PyMethod_GET_SELF(base[0]);
    }
    if (PyFunction_Check(callable)) {
        return 0;                      // the instruction pushes its frame
    }
    PyObject *kwnames = has_kwnames ? stack_pointer[-1] : NULL;
    Py_ssize_t nkw = has_kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    int has_self = self != NULL;
    stackless_call rest = { callable, base + 2 - has_self, oparg + has_self - nkw,
                            nkw ? kwnames : NULL };
    stackless_call call;
    if (instrumented) {
        call = rest;
    }
    PyObject *slot = base[1];
    base[1] = self;
    soft_kind kind = find_soft(&rest, &self);
    if (kind == SOFT_NOT) {
        base[1] = slot;
        return 0;
    }
    PyObject *value = NULL;
    int pops = oparg + 2 + has_kwnames;
    _PyStackless_Begin(frame, stack_pointer, pops,
                       has_kwnames ? 1 : 1 + INLINE_CACHE_ENTRIES_CALL);
    step_outcome outcome = instrumented ? call_instrumented(tstate, &call, &value)
                                        : do_soft(tstate, kind, self, &rest, &value);
    base[1] = slot;
    return _PyStackless_Deliver(tstate, outcome, value, stack_pointer, pops);
}

int
_PyStackless_Call(PyThreadState *tstate, _PyInterpreterFrame *frame,
                  PyObject **stack_pointer, int oparg)
{
    int pops = oparg + 2;
    PyObject **base = stack_pointer - pops;
    PyObject *owner;
    PyObject *method = python_method(base, &owner);
    if (method != NULL) {
        int has_self = base[1] != NULL;
        _PyStackless_Begin(frame, stack_pointer, pops, 1 + INLINE_CACHE_ENTRIES_CALL);
        step_outcome outcome = _PyStackless_PushFunction(
            tstate, method, owner, base + 2 - has_self, oparg + has_self, NULL);
        if (has_self && Py_IS_TYPE(base[0], &PyMethod_Type)) {
            /* So the end of a `with` calls __exit__. */
            _PyStackless_RecycleMethod(_PyStackless_PeekScheduler(tstate), base);
        }
        return _PyStackless_Deliver(tstate, outcome, NULL, stack_pointer, pops);
    }
    PyTypeObject *type = Py_TYPE(base[0]);
    if (type->tp_call == PyType_Type.tp_call && base[1] == NULL
        && _PyStackless_CallPlainClass((PyTypeObject *)base[0], tstate, frame,
                                       stack_pointer, oparg)) {
        return 1;
    }
    soft_kind kind = find_quick(base, oparg);
    if (kind == SOFT_NOT) {
        return call_vector(tstate, frame, stack_pointer, oparg, 0, 0);
    }
    PyObject *value = NULL;
    _PyStackless_Begin(frame, stack_pointer, pops, 1 + INLINE_CACHE_ENTRIES_CALL);
    step_outcome outcome = do_quick(tstate, kind, base, oparg, &value);
    return _PyStackless_Deliver(tstate, outcome, value, stack_pointer, pops);
}

int
_PyStackless_InstrumentedCall(PyThreadState *tstate, _PyInterpreterFrame *frame,
                              PyObject **stack_pointer, int oparg)
{
    return call_vector(tstate, frame, stack_pointer, oparg, 0, 1);
}

int
_PyStackless_CallKw(PyThreadState *tstate, _PyInterpreterFrame *frame,
                    PyObject **stack_pointer, int oparg)
{
    return call_vector(tstate, frame, stack_pointer, oparg, 1, 0);
}

int
_PyStackless_InstrumentedCallKw(PyThreadState *tstate, _PyInterpreterFrame *frame,
                                PyObject **stack_pointer, int oparg)
{
    return call_vector(tstate, frame, stack_pointer, oparg, 1, 1);
}

int
_PyStackless_CallEx(PyThreadState *tstate, _PyInterpreterFrame *frame,
                    PyObject **stack_pointer, int oparg)
{
    int pops = 3 + (oparg & 1);
    PyObject **base = stack_pointer - pops;
    if (Py_IS_TYPE(base[0], &PyMethod_Type)
        && _PyStackless_IsPythonFunction(PyMethod_GET_FUNCTION(base[0]))) {
        PyObject *func = PyMethod_GET_FUNCTION(base[0]), *self = PyMethod_GET_SELF(base[0]);
        _PyStackless_Begin(frame, stack_pointer, pops, 1);
        step_outcome outcome =
            (oparg & 1) && PyDict_GET_SIZE(base[3]) > 0
            ? _PyStackless_PushStarred(tstate, func, self, base[2], base[3])
            : _PyStackless_PushFunction(tstate, func, self, &PyTuple_GET_ITEM(base[2], 0),
                                        PyTuple_GET_SIZE(base[2]), NULL);
        return _PyStackless_Deliver(tstate, outcome, NULL, stack_pointer, pops);
    }
    return call_ex(tstate, frame, stack_pointer, oparg, 0);
}

int
_PyStackless_InstrumentedCallEx(PyThreadState *tstate, _PyInterpreterFrame *frame,
                                PyObject **stack_pointer, int oparg)
{
    return call_ex(tstate, frame, stack_pointer, oparg, 1);
}

/* --- initialization ----------------------------------------------------------- */

static void *
method_of(PyTypeObject *type, const char *name)
{
    PyObject *name_obj = PyUnicode_InternFromString(name);
    PyObject *method = name_obj ? _PyType_Lookup(type, name_obj) : NULL;
    Py_XDECREF(name_obj);
    return method ? (void *)((PyMethodDescrObject *)method)->d_method->ml_meth : NULL;
}

static void *
builtin_function(const char *name)
{
    PyObject *func = PyDict_GetItemString(PyInterpreterState_Get()->builtins_copy, name);
    return func && PyCFunction_Check(func) ? (void *)PyCFunction_GET_FUNCTION(func) : NULL;
}

static PyObject *
never_called(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    Py_UNREACHABLE();
}

/* functools.partial(...)(), if the program has not put something else in its place. */
static int
find_partial(void)
{
    PyObject *partial = _PyImport_GetModuleAttrString("_functools", "partial");
    if (partial == NULL) {
        return -1;
    }
    PyTypeObject *type = (PyTypeObject *)partial;
    int is_known = PyType_Check(partial) && PyType_HasFeature(type, Py_TPFLAGS_IMMUTABLETYPE)
                   && strcmp(type->tp_name, "functools.partial") == 0;
    known.partial_call = is_known ? type->tp_call : never_called;
    Py_DECREF(partial);
    return 0;
}

int
_PyStackless_InitCalls(void)
{
    if (find_partial() < 0) {
        return -1;
    }
    known.next = builtin_function("next");
    known.build_class = builtin_function("__build_class__");
    known.gen_send = method_of(&PyGen_Type, "send");
    known.gen_throw = method_of(&PyGen_Type, "throw");
    known.context_run = method_of(&PyContext_Type, "run");
    known.list_sort = method_of(&PyList_Type, "sort");
    known.sorted = builtin_function("sorted");
    if (!known.next || !known.build_class || !known.gen_send || !known.gen_throw
        || !known.context_run || !known.list_sort || !known.sorted) {
        PyErr_SetString(PyExc_SystemError, "a builtin function is not what it was");
        return -1;
    }
    return 0;
}
