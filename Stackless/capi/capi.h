/* The public C interface (Include/stackless.h): what its files share. */

#ifndef STACKLESS_CAPI_CAPI_H
#define STACKLESS_CAPI_CAPI_H

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "pycore_pystate.h"       // _Py_EnsureTstateNotNULL()
#include "Stackless/types/types.h"

#ifndef STACKLESS_LINKED
#  define STACKLESS_LINKED
#endif
#include "stackless.h"

/* Adds the capsule _C_API to the module _stackless; -1 with an exception. */
extern int _PyStackless_AddCAPI(PyObject *module);

/* table.c */

/* The state of the calling interpreter's module _stackless; NULL with ImportError. */
extern stackless_modstate *_PyStackless_ApiState(PyThreadState *tstate);
/* The calling thread's scheduler, made when needed; NULL with an exception. */
extern _PyStackless_Scheduler *_PyStackless_ApiScheduler(PyThreadState *tstate);
/* Is Python code under way below the caller? */
extern int _PyStackless_IsInside(PyThreadState *tstate);

/* The calling thread, for a public function of ours: a fatal error, which names the function,
   if it does not hold the GIL.  NULL: an exception is set already, so nothing may be done. */
#define STACKLESS_ENTER() _PyStackless_ApiEnter(__func__)

static inline PyThreadState *
_PyStackless_ApiEnter(const char *function)
{
    PyThreadState *tstate = _PyThreadState_GET();
    _Py_EnsureFuncTstateNotNULL(function, tstate);
    return tstate->current_exception == NULL ? tstate : NULL;
}

/* The same, and `op` is a tasklet, or a channel, of the calling interpreter.  NULL: an exception
   is set. */
extern PyThreadState *_PyStackless_ApiTasklet(const char *function, void *op);
extern PyThreadState *_PyStackless_ApiChannel(const char *function, void *op);
#define STACKLESS_ENTER_TASKLET(OP) _PyStackless_ApiTasklet(__func__, (OP))
#define STACKLESS_ENTER_CHANNEL(OP) _PyStackless_ApiChannel(__func__, (OP))

/* Carries out an operation of the current tasklet: what its method returns.  `target` is
   borrowed, `value` stolen.  Both may be NULL. */
extern PyObject *_PyStackless_ApiCall(PyThreadState *tstate, stackless_opcode code,
                                      void *target, PyObject *value);

/* 0 for a result, which is dropped, or -1 for NULL. */
static inline int
_PyStackless_ApiStatus(PyObject *result)
{
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* The bomb for klass(*args): `args` is a tuple, another value, or NULL.  NULL: TypeError. */
extern PyObject *_PyStackless_ApiBomb(PyThreadState *tstate, const char *function,
                                      PyObject *klass, PyObject *args);

#endif /* !STACKLESS_CAPI_CAPI_H */
