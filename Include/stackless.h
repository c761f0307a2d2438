/* The C interface of tasklets, channels and their scheduler, for extension modules and for
   programs that embed the interpreter, in C and C++.

       #include <Python.h>
       #include <stackless.h>

       static PyObject *
       example(PyObject *self, PyObject *func)
       {
           PyTaskletObject *t = PyTasklet_New(NULL, func);
           if (t == NULL || PyTasklet_Setup(t, PyTuple_New(0), NULL) < 0) { ...

   The functions are listed, each with its contract, in stackless/functions.h.

   They are reached through a table of pointers in the capsule _stackless._C_API, which the
   first call imports, so a module needs nothing but the header files: it is loaded by any
   CPython 3.13.  PyStackless_Import() finds out whether tasklets can be had; where they
   cannot, each function fails with the ImportError that this one sets.  A program, or a module
   within it, that is linked with this interpreter's own library may define STACKLESS_LINKED
   before it includes this header: then the functions are called directly.

   Conventions:

   - A thread state with the GIL held is needed, except by PyStackless_GetCurrentId().  A call
     without is a fatal error that names the function.
   - Arguments are borrowed; what is returned is a new reference, or NULL with an exception.
     An `int` is 0, or -1 with an exception, or, where "value" is said, what is asked for.
   - An argument that is NULL, no tasklet (channel), or one of another interpreter is a
     TypeError; nothing has changed then.  Neither has it when anything else fails, if not said
     otherwise.
   - With an exception set nothing is done: the function fails with that one.
   - "May switch": other tasklets, that is any Python code, may run before the function
     returns.  Its caller's C stack is as it was then.  Pointers to it must not be used by
     others meanwhile, and exceptions of C++ must not be thrown across these functions.
   - A thread is *inside* while Python code is being executed below the caller, or it is called
     by PyStackless_Call_Main(); otherwise, in a program that embeds the interpreter, *outside*.
     There, what may switch runs the thread's tasklets as its main tasklet would.
   - They do what the methods of the base types do; methods that a subclass overrides are not
     called, if not said otherwise. */

#ifndef STACKLESS_H
#define STACKLESS_H

#include <Python.h>
#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The table's version: another one has another layout. */
#define STACKLESS_API_VERSION 1
#define STACKLESS_CAPSULE "_stackless._C_API"

/* Opaque. */
typedef struct _PyTaskletObject PyTaskletObject;
typedef struct _PyChannelObject PyChannelObject;

/* Flags of PyStackless_RunWatchdogEx(). */
#define Py_WATCHDOG_THREADBLOCK 1      /* sleep while another thread could make work */
#define PY_WATCHDOG_SOFT 2             /* interrupt nobody: the next switch returns */
#define PY_WATCHDOG_IGNORE_NESTING 4   /* interrupt within C functions, too */
#define PY_WATCHDOG_TOTALTIMEOUT 8     /* the limit is for all tasklets together */

/* --- soft calls: see stackless/functions.h ------------------------------------------------ */

/* Who asks for a soft call.  A C function of METH_FASTCALL | METH_KEYWORDS describes how it was
   called:  PyStackless_Caller caller = {(void *)f, self, args, nargs, kwnames, NULL};
   A continuation passes on the one that it got. */
typedef struct {
    void *function;                    /* the C function itself */
    PyObject *self;
    PyObject *const *args;
    Py_ssize_t nargs;
    PyObject *kwnames;                 /* NULL: METH_FASTCALL */
    void *request;                     /* NULL */
} PyStackless_Caller;

/* Goes on when the call is over.  `state` and `result` are borrowed.  Returns a new reference, or
   NULL with an exception, or at once what PyStackless_SoftCall() has returned.  Only one that
   catches is called with NULL for `result`, and an exception set.  Where tasklets are pickled
   the state may come from a file: it is to be looked at before it is relied on. */
typedef PyObject *(PyStackless_ContinuationFunction)(PyStackless_Caller *caller, PyObject *state,
                                                     PyObject *result);

/* A flag of PyStackless_NewContinuation(). */
#define PyStackless_CATCHES 1

/* Called before each switch from `prev` to `next` (borrowed; prev is NULL for the first of a
   thread), with no exception set.  It must not switch: that is refused with RuntimeError.
   Non-zero: it has set an exception, which is reported as unraisable. */
typedef int (slp_schedule_hook_func)(PyTaskletObject *prev, PyTaskletObject *next);

/* What PyStackless_RunFor() did. */
typedef struct {
    long long elapsed;                 /* nanoseconds */
    long long overshoot;               /* of these, more than asked for; 0 if it ended early */
    long runnable;                     /* tasklets left in the run queue, the caller aside */
    PyObject *interrupted;             /* new reference to the tasklet that was interrupted,
                                          or NULL */
} PyStackless_RunResult;

#ifdef STACKLESS_LINKED

#  define STACKLESS_FUNCTION(RESULT, NAME, PARAMETERS, ARGUMENTS, FAILURE) \
       PyAPI_FUNC(RESULT) NAME PARAMETERS;
#  include "stackless/functions.h"
#  undef STACKLESS_FUNCTION

static inline int
PyStackless_Import(void)
{
    return 0;
}

#else

typedef struct {
    int version;                       /* STACKLESS_API_VERSION */
    int size;                          /* bytes: grows with new functions at the end */
    PyObject **exc_tasklet_exit;
#  define STACKLESS_FUNCTION(RESULT, NAME, PARAMETERS, ARGUMENTS, FAILURE) \
       RESULT (*NAME) PARAMETERS;
#  include "stackless/functions.h"
#  undef STACKLESS_FUNCTION
} PyStackless_Table;

/* The table; NULL as long as nobody in this source file has asked for it. */
static const PyStackless_Table *_PyStackless_API = NULL;

/* Makes the functions available.  0; or -1 with ImportError: the interpreter is no Stackless
   Python, or one that is older than this header.  May be called again, from any interpreter. */
static inline int
PyStackless_Import(void)
{
    const PyStackless_Table *table;
    if (_PyStackless_API != NULL) {
        return 0;
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    table = (const PyStackless_Table *)PyCapsule_Import(STACKLESS_CAPSULE, 0);
    if (table == NULL) {
        PyErr_Clear();
        PyErr_SetString(PyExc_ImportError,
                        "tasklets need Stackless Python: this interpreter has no "
                        STACKLESS_CAPSULE);
        return -1;
    }
    if (table->version != STACKLESS_API_VERSION
        || table->size < (int)sizeof(PyStackless_Table)) {
        PyErr_Format(PyExc_ImportError,
                     "the interpreter's C interface of tasklets is version %d with %d bytes, "
                     "where version %d with %d bytes or more is needed",
                     table->version, table->size, STACKLESS_API_VERSION,
                     (int)sizeof(PyStackless_Table));
        return -1;
    }
    _PyStackless_API = table;
    return 0;
}

#  define STACKLESS_FUNCTION(RESULT, NAME, PARAMETERS, ARGUMENTS, FAILURE) \
       static inline RESULT NAME PARAMETERS                                \
       {                                                                   \
           if (_PyStackless_API == NULL && PyStackless_Import() < 0) {     \
               return FAILURE;                                             \
           }                                                               \
           return _PyStackless_API->NAME ARGUMENTS;                        \
       }
#  define STACKLESS_FUNCTION_ANYWHERE(RESULT, NAME, PARAMETERS, ARGUMENTS, FAILURE)        \
       static inline RESULT NAME PARAMETERS                                                \
       {                                                                                   \
           if (_PyStackless_API == NULL && PyGILState_Check() && !PyErr_Occurred()         \
               && PyStackless_Import() < 0) {                                              \
               PyErr_Clear();                                                              \
           }                                                                               \
           return _PyStackless_API != NULL ? _PyStackless_API->NAME ARGUMENTS : (FAILURE); \
       }
#  include "stackless/functions.h"
#  undef STACKLESS_FUNCTION

/* The exception that ends a tasklet quietly (borrowed); its base class where there are no
   tasklets. */
#  ifndef PyExc_TaskletExit
static inline PyObject *
_PyStackless_TaskletExit(void)
{
    if (_PyStackless_API == NULL && PyStackless_Import() < 0) {
        PyErr_Clear();
        return PyExc_SystemExit;
    }
    return *_PyStackless_API->exc_tasklet_exit;
}
#    define PyExc_TaskletExit (_PyStackless_TaskletExit())
#  endif

#endif /* STACKLESS_LINKED */

/* PyObject_CallMethod(o, name, format, ...) as PyStackless_Call_Main() calls.  `name` NULL:
   calls o itself.  AttributeError, TypeError, or SystemError if o is NULL. */
static inline PyObject *
PyStackless_CallMethod_Main(PyObject *o, const char *name, const char *format, ...)
{
    va_list arguments;
    PyObject *result;
    va_start(arguments, format);
    result = PyStackless_VaCallMethod_Main(o, name, format, arguments);
    va_end(arguments);
    return result;
}

/* The same for a C function that a method definition describes. */
static inline PyObject *
PyStackless_CallCMethod_Main(PyMethodDef *method, PyObject *self, const char *format, ...)
{
    va_list arguments;
    PyObject *result;
    va_start(arguments, format);
    result = PyStackless_VaCallCMethod_Main(method, self, format, arguments);
    va_end(arguments);
    return result;
}

/* The types of the calling interpreter: &PyTasklet_Type, &PyChannel_Type.  Each interpreter
   has its own, so that they are no constants.  NULL, with an exception, where there are none. */
#define PyTasklet_Type (*PyStackless_TaskletType())
#define PyChannel_Type (*PyStackless_ChannelType())

/* 1 or 0.  Never fail. */
#define PyTasklet_Check(op) (PyStackless_IsTasklet((PyObject *)(op), 0))
#define PyTasklet_CheckExact(op) (PyStackless_IsTasklet((PyObject *)(op), 1))
#define PyChannel_Check(op) (PyStackless_IsChannel((PyObject *)(op), 0))
#define PyChannel_CheckExact(op) (PyStackless_IsChannel((PyObject *)(op), 1))

/* --- for sources written for old Stackless ------------------------------------------------

   A function ending in _nr might return before the switch had taken place, if its caller had
   been called in a certain way.  Nobody is here, so these return when all is done.  The macros
   of that protocol are there to be compiled: no function sees the flag nor returns the token.
   What took its place is described in stackless/functions.h under "Soft calls".

   Not provided: the types and functions of cframes, cstacks and bombs, which nobody outside of
   the interpreter could make use of, and the slpflags of type slots. */

#define PyTasklet_Bind(task, func) PyTasklet_BindEx((task), (func), NULL, NULL)
#define PyTasklet_Run_nr PyTasklet_Run
#define PyTasklet_Switch_nr PyTasklet_Switch
#define PyChannel_Send_nr PyChannel_Send
#define PyChannel_Receive_nr PyChannel_Receive
#define PyStackless_Schedule_nr PyStackless_Schedule

#ifndef STACKLESS_GETARG
typedef PyObject PyUnwindObject;
#  define Py_UnwindToken ((PyUnwindObject *)NULL)
#  define STACKLESS_UNWINDING(obj) ((void)(obj), 0)
#  define STACKLESS_GETARG() int stackless = 0
#  define STACKLESS_PROMOTE_ALL() ((void)stackless)
#  define STACKLESS_PROMOTE_FLAG(flag) ((void)stackless, 0)
#  define STACKLESS_PROMOTE(obj) ((void)stackless)
#  define STACKLESS_PROMOTE_METHOD(obj, slot) ((void)stackless)
#  define STACKLESS_ASSERT() ((void)0)
#  define STACKLESS_RETRACT() ((void)0)
#endif

#ifdef __cplusplus
}
#endif
#endif /* !STACKLESS_H */
