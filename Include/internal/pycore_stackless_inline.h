/* Continuations: how an instruction that calls Python code through C does without the
   C code.  For the files stackless_inline.c, stackless_calls.c, stackless_operators.c
   and stackless_attributes.c only.

   A continuation is a frame without Python code of its own, between the frame whose
   instruction began the operation and the Python function that does a part of it.
   When that function returns, yields or raises, the continuation's *step* function
   goes on: it calls the next one, or ends the operation.  It is what the C function
   it stands for keeps in local variables.

   A step never waits for Python code: it pushes a frame and returns STEP_PUSHED.  What
   is no Python function it calls as the C function would have.

   A step may do anything with its `state`; references left there are dropped with the
   frame.  When it ends, `frame->previous` is the frame that gets the value. */

#ifndef Py_INTERNAL_STACKLESS_INLINE_H
#define Py_INTERNAL_STACKLESS_INLINE_H
#ifdef __cplusplus
extern "C" {
#endif

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "pycore_frame.h"         // _PyInterpreterFrame
#include "pycore_stackless.h"

typedef enum {
    STEP_FAILED = -1,             // an exception is set
    STEP_DONE,                    // *value is pushed where the operation began; NULL: nothing
    STEP_PUSHED,                  // a frame was pushed: the step is called again
    STEP_MISSING,                 // of calls only: there is no such method
} step_outcome;

/* Where a step is: just begun, or what became of the frame it pushed. */
typedef enum { AT_START, AT_RETURN, AT_YIELD, AT_RAISE } step_event;

/* `*value`: AT_RETURN, AT_YIELD the value, owned by the step; NULL on entry otherwise.
   AT_RAISE: the exception is set. */
typedef step_outcome step_function(PyThreadState *tstate, _PyInterpreterFrame *c,
                                   step_event event, PyObject **value);

typedef enum {
    CONTINUE_BINARY,
    CONTINUE_COUNT
} continuation_kind;

/* The words of a continuation's localsplus, before its evaluation stack. */
enum { STATE_KIND, STATE_A, STATE_B, STATE_C, STATE_D, STATE_SIZE };

/* --- stackless_inline.c -------------------------------------------------------- */

/* Begins an operation with a continuation: `a` ... `d` (stolen, may be NULL) are its
   state, `stack_pointer` is the frame's without the operands, `size` that of the
   instruction in code units.  Returns 1, see _PyStackless_InlineInstruction(). */
extern int _PyStackless_Begin(PyThreadState *tstate, _PyInterpreterFrame *frame,
                              PyObject **stack_pointer, int size, continuation_kind kind,
                              PyObject *a, PyObject *b, PyObject *c, PyObject *d);

/* Pushes the frame of a call of a Python function on tstate->current_frame.  `self` may
   be NULL.  Borrows all. */
extern step_outcome _PyStackless_PushFunction(
    PyThreadState *tstate, PyObject *func, PyObject *self, PyObject *const *args,
    Py_ssize_t nargs, PyObject *kwnames);

/* Links a frame that was made by _PyEvalFramePushAndInit(), or a generator's. */
extern step_outcome _PyStackless_EnterFrame(PyThreadState *tstate,
                                            _PyInterpreterFrame *frame);

/* Calls type(self).name(self, *args): STEP_PUSHED, STEP_DONE with *value, STEP_FAILED
   or STEP_MISSING. */
extern step_outcome _PyStackless_CallSpecial(
    PyThreadState *tstate, PyObject *self, PyObject *name, PyObject *const *args,
    Py_ssize_t nargs, PyObject **value);

/* The method `name` if it is a Python function (borrowed), else NULL. */
static inline PyObject *
_PyStackless_PythonMethod(PyTypeObject *type, PyObject *name)
{
    PyObject *method = _PyType_Lookup(type, name);
    return method != NULL && PyFunction_Check(method) ? method : NULL;
}

/* A type whose slots are all the functions that call Python methods: what an equal
   slot of another type does is to look up the method and call it. */
extern struct _PyStackless_PythonSlots {
    PyNumberMethods number;
    PySequenceMethods sequence;
    PyMappingMethods mapping;
    PyAsyncMethods async;
    PyTypeObject type;            // the slots only
    getattrofunc getattro;        // without __getattr__
} _PyStackless_PythonSlots;

/* --- the steps, and what begins them -------------------------------------------- */

extern step_function _PyStackless_BinaryStep;

extern int _PyStackless_BinaryOp(PyThreadState *tstate, _PyInterpreterFrame *frame,
                                 PyObject **stack_pointer, int oparg);

#ifdef __cplusplus
}
#endif
#endif /* !Py_INTERNAL_STACKLESS_INLINE_H */
