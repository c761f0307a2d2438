/* What _stackless.c calls of _stackless_private.c. */

#ifndef STACKLESS_PRIVATE_H
#define STACKLESS_PRIVATE_H

#include "Python.h"

/* Adds the names that begin with an underscore; -1 with an exception. */
extern int _PyStackless_InitPrivate(PyObject *module);

#endif /* !STACKLESS_PRIVATE_H */
