/* Runs Python code, and its tasklets to the end. */
#include <Python.h>

static int
run_tasklets(void)
{
    PyObject *stackless = PyImport_ImportModule("stackless");
    PyObject *task = NULL;
    if (stackless != NULL) {
        task = PyObject_CallMethod(stackless, "run", NULL);
        Py_DECREF(stackless);
    }
    if (task == NULL) {
        PyErr_Print();
        return -1;
    }
    Py_DECREF(task);
    return 0;
}

int
main(void)
{
    Py_Initialize();
    int status = PyRun_SimpleString("import stackless\n"
                                    "for name in 'ab':\n"
                                    "    stackless.tasklet(print)(name)\n");
    if (status == 0) {
        status = run_tasklets();
    }
    return Py_FinalizeEx() < 0 || status < 0;
}
