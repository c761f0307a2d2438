/* The main loop of an engine: tasklets get 2 ms of each frame. */
#include <Python.h>
#include <stackless.h>

static int
tick(void)
{
    PyStackless_RunResult did;
    int status = PyStackless_RunFor(2 * 1000 * 1000, &did);
    Py_XDECREF(did.interrupted);       /* it is still in the run queue */
    return status;
}

int
main(void)
{
    Py_Initialize();
    int status = PyRun_SimpleString("import stackless\n"
                                    "def count(name):\n"
                                    "    for number in range(3):\n"
                                    "        print(name, number)\n"
                                    "        stackless.schedule()\n"
                                    "for name in 'ab':\n"
                                    "    stackless.tasklet(count)(name)\n");
    while (status == 0 && PyStackless_GetRunCount() > 0) {
        status = tick();
    }
    if (PyErr_Occurred()) {
        PyErr_Print();
    }
    return Py_FinalizeEx() < 0 || status < 0;
}
