/* Initialises the interpreter, runs a thousand tasklets from C, without a Python frame below, and
   finalises it, again and again.

       again [times] */

#include <Python.h>
#include <stackless.h>

#define CHECK(CONDITION)                                              \
    do {                                                              \
        if (!(CONDITION)) {                                           \
            fprintf(stderr, "line %d: " #CONDITION "\n", __LINE__);   \
            if (PyErr_Occurred()) {                                   \
                PyErr_Print();                                        \
            }                                                         \
            return -1;                                                \
        }                                                             \
    } while (0)

enum { TASKLETS = 1000 };

static const char functions[] =
    "import stackless\n"
    "done = []\n"
    "def task(n):\n"
    "    stackless.schedule()\n"
    "    list(map(lambda x: stackless.schedule(), [n]))\n"
    "    done.append(n)\n"
    "def fail(): raise ValueError('uncaught')\n"
    "def inside(): return stackless.current is stackless.main\n";

/* Makes a tasklet of function `name` and lets it wait in the run queue. */
static int
start(PyObject *module, const char *name, const char *format, int n)
{
    PyObject *func = PyObject_GetAttrString(module, name);
    PyTaskletObject *t = func != NULL ? PyTasklet_New(NULL, func) : NULL;
    PyObject *args = t != NULL ? Py_BuildValue(format, n) : NULL;
    int err = args != NULL ? PyTasklet_Setup(t, args, NULL) : -1;
    Py_XDECREF(func);
    Py_XDECREF((PyObject *)t);
    Py_XDECREF(args);
    return err;
}

/* At different depths of the C stack: tasklets that were left hard go on below any of them. */
static int
schedule_deep(int depth)
{
    volatile char burnt[4096];
    burnt[0] = (char)depth;
    if (depth > 0) {
        return schedule_deep(depth - 1) + burnt[0] - (char)depth;
    }
    PyObject *result = PyStackless_Schedule(Py_None, 0);
    Py_XDECREF(result);
    return result == Py_None ? 0 : -1;
}

static int
run_once(void)
{
    PyObject *module = PyImport_AddModule("__main__");         /* borrowed */
    CHECK(PyStackless_GetCurrent() == NULL && !PyErr_Occurred());
    CHECK(PyStackless_GetRunCount() == 0);
    CHECK(PyRun_SimpleString(functions) == 0);
    for (int i = 0; i < TASKLETS; i++) {
        CHECK(start(module, "task", "(i)", i) == 0);
    }
    CHECK(PyStackless_GetRunCount() == TASKLETS);
    for (int depth = 0; PyStackless_GetRunCount() > 0; depth = (depth + 5) % 9) {
        CHECK(schedule_deep(depth) == 0);
    }
    CHECK(PyRun_SimpleString("assert sorted(done) == list(range(1000)), len(done)\n") == 0);
    CHECK(PyStackless_GetCurrent() == NULL && !PyErr_Occurred());

    /* What a tasklet does not catch is the failure of who runs it. */
    CHECK(start(module, "fail", "()", 0) == 0);
    CHECK(PyStackless_RunWatchdog(0) == NULL && PyErr_ExceptionMatches(PyExc_ValueError));
    /* With an exception set nothing is done. */
    CHECK(PyStackless_Schedule(Py_None, 0) == NULL && PyErr_ExceptionMatches(PyExc_ValueError));
    PyErr_Clear();

    PyObject *result = PyStackless_CallMethod_Main(module, "inside", NULL);
    CHECK(result == Py_True);
    Py_DECREF(result);
    /* One that waits for ever is left behind. */
    CHECK(start(module, "task", "(i)", 0) == 0 && schedule_deep(3) == 0);
    return 0;
}

int
main(int argc, char **argv)
{
    int times = argc > 1 ? atoi(argv[1]) : 100;
    for (int i = 0; i < times; i++) {
        Py_Initialize();
        int err = run_once();
        if (Py_FinalizeEx() < 0 || err < 0) {
            fprintf(stderr, "the %dth time\n", i + 1);
            return 1;
        }
    }
    printf("%d times\n", times);
    return 0;
}
