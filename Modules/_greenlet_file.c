/* _greenlet.so: a library with nothing in it, which the package `greenlet` loads.

   The module _greenlet is built in.  But memray follows greenlets from the moment when a
   shared library of that name is loaded, as PyPI's package has one.  (It can be imported as
   far as the import system is concerned, which is the portable way to load it.) */

#include "Python.h"

static struct PyModuleDef greenlet_file_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_greenlet",
};

PyMODINIT_FUNC
PyInit__greenlet(void)
{
    return PyModuleDef_Init(&greenlet_file_module);
}
