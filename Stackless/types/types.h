/* The types `tasklet` and `channel`. */

#ifndef STACKLESS_TYPES_TYPES_H
#define STACKLESS_TYPES_TYPES_H

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "Stackless/switch/switch.h"

/* tasklet.c */

extern PyType_Spec _PyTasklet_Spec;
extern int _PyTasklet_InitType(PyTypeObject *type);
extern PyObject *_PyTasklet_GetTempval(PyTaskletObject *t);      // new reference
/* Its context (borrowed), made if it has none; NULL with an exception. */
extern PyObject *_PyTasklet_GetContext(PyTaskletObject *t);
/* Sets or clears a TASKLET_... flag: an int is wanted, `message` is the TypeError's.
   Returns the old value, a bool. */
extern PyObject *_PyTasklet_SetFlag(PyTaskletObject *t, int flag, PyObject *value,
                                    const char *message);
/* Makes a suspended or unstarted tasklet, which is on no list, idle. */
extern void _PyTasklet_MakeIdle(PyTaskletObject *t);

/* The methods, for C code: `fn` and what follows it as in _PyStackless_SwitchingCall(), NULL and
   0 where nobody has called a method. */
extern int _PyTasklet_Bind(PyTaskletObject *t, PyObject *func, PyObject *args, PyObject *kwargs);
extern PyObject *_PyTasklet_Insert(PyObject *self, PyObject *ignored);
extern PyObject *_PyTasklet_Remove(PyObject *self, PyObject *ignored);
extern PyObject *_PyTasklet_BindThread(PyObject *self, PyObject *args);
extern PyObject *_PyTasklet_SwitchingCall(          // steals `value`
    PyTaskletObject *t, stackless_opcode code, PyObject *value, void *fn,
    PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
extern PyObject *_PyTasklet_ThrowBomb(              // steals `bomb`
    PyTaskletObject *t, PyObject *bomb, int pending, void *fn, PyObject *const *args,
    Py_ssize_t nargs, PyObject *kwnames);
extern PyObject *_PyTasklet_Kill(PyTaskletObject *t, int pending, void *fn,
                                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* The identifier that a program gave: `id`, an int, or that of the calling thread if it is
   -1 or NULL.  -1 with OverflowError. */
extern int _PyStackless_ThreadId(PyObject *id, unsigned long *target);

/* tasklet_attributes.c */

extern PyGetSetDef _PyTasklet_GetSet[];
/* How many times C code called Python code between its frames. */
extern int _PyTasklet_NestingLevel(PyTaskletObject *t);

/* channel.c */

extern PyType_Spec _PyChannel_Spec;
extern int _PyChannel_InitType(PyTypeObject *type);

#endif /* !STACKLESS_TYPES_TYPES_H */
