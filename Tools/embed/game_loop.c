/* The main loop of a game: each frame gives the tasklets two milliseconds.

   Characters sleep and walk; a path finder computes without ever letting others run, and is
   interrupted at the end of each tick; a hook in C counts the switches of each character.

       game_loop [frames] */

#include <Python.h>
#include <stackless.h>

static const char characters[] =
    "import stackless\n"
    "steps = {}\n"
    "def character(name):\n"
    "    steps[name] = 0\n"
    "    while True:\n"
    "        steps[name] += 1\n"
    "        stackless.sleep(0.001)\n"
    "def find_path():\n"
    "    n = 0\n"
    "    while True:\n"
    "        n += 1\n"
    "for name in 'abc':\n"
    "    stackless.tasklet(character)(name)\n"
    "stackless.tasklet(find_path)()\n";

static long switches = 0;

static int
count_switch(PyTaskletObject *Py_UNUSED(prev), PyTaskletObject *Py_UNUSED(next))
{
    switches++;
    return 0;
}

static int
tick(int frame)
{
    PyStackless_RunResult did;
    if (PyStackless_RunFor(2000000, &did) < 0) {
        PyErr_Print();                 /* a tasklet has failed; the others go on next time */
        Py_XDECREF(did.interrupted);
        return -1;
    }
    printf("frame %d: %ld runnable, interrupted: %s\n", frame, did.runnable,
           did.interrupted != NULL ? "yes" : "no");
    Py_XDECREF(did.interrupted);
    return 0;
}

int
main(int argc, char **argv)
{
    int frames = argc > 1 ? atoi(argv[1]) : 10;
    int err = 0;
    Py_Initialize();
    if (PyStackless_SetScheduleFastcallback(count_switch) < 0
        || PyRun_SimpleString(characters) < 0) {
        return 1;
    }
    for (int frame = 0; frame < frames && err == 0; frame++) {
        err = tick(frame);
        /* ... physics, graphics, network ... */
    }
    if (PyStackless_SetScheduleFastcallback(NULL) < 0
        || PyRun_SimpleString("assert min(steps.values()) > 0, steps") < 0) {
        err = -1;
    }
    printf("switches: %s\n", switches > frames ? "counted" : "missed");
    return Py_FinalizeEx() < 0 || err < 0;
}
