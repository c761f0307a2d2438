/* The C interface of greenlets, for extension modules in C and C++.

   Everything goes through a table of pointers in the capsule greenlet._C_API,
   so a module built with this header runs with PyPI's greenlet as well, and
   the other way round.  Its numbers are therefore fixed for ever.

       #include <Python.h>
       #include <greenlet/greenlet.h>

       PyMODINIT_FUNC PyInit_example(void)
       {
           PyGreenlet_Import();
           if (_PyGreenlet_API == NULL) {
               return NULL;
           }
           ...
       }

   All functions need a thread state with the GIL held.  Those that return an
   object return a new reference, or NULL with an exception set; those that
   return int, -1 with an exception set.  An argument that is no greenlet is a
   TypeError.  Each function that switches runs arbitrary code before it
   returns. */

#ifndef Py_GREENLETOBJECT_H
#define Py_GREENLETOBJECT_H

#include <Python.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Says nothing about the version: it has been this for ever. */
#define GREENLET_VERSION "1.0.0"

/* A greenlet as those see it who embed it at the beginning of structures of
   their own, as compiled subclasses do.  The fields are not for use. */
#ifndef implementation_ptr_t
#define implementation_ptr_t void *
#endif

typedef struct _greenlet {
    PyObject_HEAD
    PyObject *weakreflist;
    PyObject *dict;
    implementation_ptr_t pimpl;
} PyGreenlet;

/* What is where in the table. */
#define PyGreenlet_Type_NUM 0
#define PyExc_GreenletError_NUM 1
#define PyExc_GreenletExit_NUM 2
#define PyGreenlet_New_NUM 3
#define PyGreenlet_GetCurrent_NUM 4
#define PyGreenlet_Throw_NUM 5
#define PyGreenlet_Switch_NUM 6
#define PyGreenlet_SetParent_NUM 7
#define PyGreenlet_MAIN_NUM 8
#define PyGreenlet_STARTED_NUM 9
#define PyGreenlet_ACTIVE_NUM 10
#define PyGreenlet_GET_PARENT_NUM 11

#define PyGreenlet_API_pointers 12

#ifndef GREENLET_MODULE

/* The table; NULL before a successful PyGreenlet_Import().  Each source file
   that includes this header has its own. */
static void **_PyGreenlet_API = NULL;

/* The type greenlet.greenlet. */
#define PyGreenlet_Type \
    (*(PyTypeObject *)_PyGreenlet_API[PyGreenlet_Type_NUM])

/* Borrowed references to greenlet.error and greenlet.GreenletExit. */
#define PyExc_GreenletError \
    ((PyObject *)_PyGreenlet_API[PyExc_GreenletError_NUM])
#define PyExc_GreenletExit \
    ((PyObject *)_PyGreenlet_API[PyExc_GreenletExit_NUM])

/* PyGreenlet *PyGreenlet_New(PyObject *run, PyGreenlet *parent)
   A greenlet that has not begun.  Both may be NULL: it can be given a callable
   later, and the parent is the current greenlet. */
#define PyGreenlet_New \
    (*(PyGreenlet *(*)(PyObject *, PyGreenlet *)) \
     _PyGreenlet_API[PyGreenlet_New_NUM])

/* PyGreenlet *PyGreenlet_GetCurrent(void)
   The greenlet that is running.  RuntimeError once the interpreter ends. */
#define PyGreenlet_GetCurrent \
    (*(PyGreenlet *(*)(void)) \
     _PyGreenlet_API[PyGreenlet_GetCurrent_NUM])

/* PyObject *PyGreenlet_Throw(PyGreenlet *g, PyObject *type,
                              PyObject *value, PyObject *traceback)
   As g.throw(type, value, traceback); the last two may be NULL. */
#define PyGreenlet_Throw \
    (*(PyObject *(*)(PyGreenlet *, PyObject *, PyObject *, PyObject *)) \
     _PyGreenlet_API[PyGreenlet_Throw_NUM])

/* PyObject *PyGreenlet_Switch(PyGreenlet *g, PyObject *args, PyObject *kwargs)
   As g.switch(*args, **kwargs); both may be NULL. */
#define PyGreenlet_Switch \
    (*(PyObject *(*)(PyGreenlet *, PyObject *, PyObject *)) \
     _PyGreenlet_API[PyGreenlet_Switch_NUM])

/* int PyGreenlet_SetParent(PyGreenlet *g, PyGreenlet *parent)
   As g.parent = parent: 0 or -1. */
#define PyGreenlet_SetParent \
    (*(int (*)(PyGreenlet *, PyGreenlet *)) \
     _PyGreenlet_API[PyGreenlet_SetParent_NUM])

/* int PyGreenlet_...(PyGreenlet *g): 1, 0 or -1.
   MAIN     is it the main greenlet of a thread?
   STARTED  has it begun?  (It may have ended.)
   ACTIVE   has it begun, and not ended? */
#define PyGreenlet_MAIN \
    (*(int (*)(PyGreenlet *)) _PyGreenlet_API[PyGreenlet_MAIN_NUM])
#define PyGreenlet_STARTED \
    (*(int (*)(PyGreenlet *)) _PyGreenlet_API[PyGreenlet_STARTED_NUM])
#define PyGreenlet_ACTIVE \
    (*(int (*)(PyGreenlet *)) _PyGreenlet_API[PyGreenlet_ACTIVE_NUM])

/* PyGreenlet *PyGreenlet_GetParent(PyGreenlet *g)
   NULL without an exception for a main greenlet. */
#define PyGreenlet_GetParent \
    (*(PyGreenlet *(*)(PyGreenlet *)) \
     _PyGreenlet_API[PyGreenlet_GET_PARENT_NUM])
#define PyGreenlet_GET_PARENT PyGreenlet_GetParent

/* int PyGreenlet_Check(PyObject *op)
   Is it a greenlet, of whatever subclass?  NULL is none. */
#define PyGreenlet_Check(op) \
    ((op) != NULL && PyObject_TypeCheck((PyObject *)(op), &PyGreenlet_Type))

/* void PyGreenlet_Import(void)
   Fetches the table: once in each source file, before anything else here. */
#define PyGreenlet_Import() \
    ((void)(_PyGreenlet_API = \
            (void **)PyCapsule_Import("greenlet._C_API", 0)))

#endif /* GREENLET_MODULE */

#ifdef __cplusplus
}
#endif

#endif /* Py_GREENLETOBJECT_H */
