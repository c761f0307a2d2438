/* The clock of a scheduler, which all that waits for a time asks: the monotonic one of the
   system, one of the program's (a callable: simulation time), or a virtual one, which stands
   still and jumps to the next deadline when everybody waits.

   Time is kept in nanoseconds, as PyTime_t.  A clock that goes back stands still instead. */

#include "Python.h"
#include "Stackless/wait/wait.h"

static PyTime_t
note_time(_PyStackless_Scheduler *sched, PyTime_t now)
{
    if (now > sched->timers.last) {
        sched->timers.last = now;
    }
    return sched->timers.last;
}

PyTime_t
_PyStackless_Now(_PyStackless_Scheduler *sched)
{
    stackless_timers *timers = &sched->timers;
    PyTime_t now;
    if (timers->clock != NULL || timers->is_virtual || PyTime_MonotonicRaw(&now) < 0) {
        return timers->last;
    }
    return note_time(sched, now);
}

int
_PyStackless_ClockTime(PyObject *said, PyTime_t *t)
{
    double seconds = PyFloat_AsDouble(said);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    double ns = seconds * 1e9;
    if (!(fabs(ns) <= (double)STACKLESS_LONGEST_WAIT)) {
        PyErr_Format(PyExc_ValueError,
                     "the clock must return a finite number of seconds, not %R", said);
        return -1;
    }
    *t = (PyTime_t)ns;
    return 0;
}

static int
call_clock(_PyStackless_Scheduler *sched, PyTime_t *now)
{
    PyObject *clock = Py_NewRef(sched->timers.clock);
    sched->switch_trap++;
    PyObject *res = PyObject_CallNoArgs(clock);
    sched->switch_trap--;
    Py_DECREF(clock);
    if (res == NULL) {
        return -1;
    }
    int err = _PyStackless_ClockTime(res, now);
    Py_DECREF(res);
    return err;
}

int
_PyStackless_AskClock(_PyStackless_Scheduler *sched, PyTime_t *now)
{
    if (sched->timers.clock == NULL) {
        *now = _PyStackless_Now(sched);
        return 0;
    }
    PyObject *asked = Py_NewRef(sched->timers.clock);
    int err = call_clock(sched, now);
    int is_same = asked == sched->timers.clock;    // or it has set another one
    Py_DECREF(asked);
    if (err < 0) {
        return -1;
    }
    *now = is_same ? note_time(sched, *now) : _PyStackless_Now(sched);
    return 0;
}

int
_PyStackless_ParseTimeout(_PyStackless_Scheduler *sched, const char *name, PyObject *seconds,
                          PyTime_t *deadline)
{
    *deadline = 0;
    if (seconds == Py_None) {
        return 0;
    }
    double value = PyFloat_AsDouble(seconds);
    if (value == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError) && !PyNumber_Check(seconds)) {
            PyErr_Format(PyExc_TypeError, "%s must be a number of seconds or None, not %s",
                         name, Py_TYPE(seconds)->tp_name);
        }
        return -1;
    }
    if (!(value >= 0)) {
        PyErr_Format(PyExc_ValueError, "%s must not be negative or nan, but is %R", name,
                     seconds);
        return -1;
    }
    double ns = value * 1e9;
    if (ns > (double)STACKLESS_LONGEST_WAIT) {
        return 0;
    }
    if (value == 0) {
        *deadline = STACKLESS_AT_ONCE;
        return 0;
    }
    PyTime_t now;
    if (_PyStackless_AskClock(sched, &now) < 0) {
        return -1;
    }
    *deadline = Py_MAX(now + (PyTime_t)ceil(ns), STACKLESS_AT_ONCE + 1);
    return 0;
}

PyObject *
_PyStackless_SetClock(_PyStackless_Scheduler *sched, PyObject *clock, PyTime_t now,
                      int is_virtual)
{
    stackless_timers *timers = &sched->timers;
    PyTime_t moved = now - _PyStackless_Now(sched);
    PyObject *old = timers->clock;
    timers->clock = Py_XNewRef(clock);
    timers->is_virtual = (uint8_t)is_virtual;
    timers->last = now;
    for (uint32_t i = 0; i < timers->n; i++) {
        timers->heap[i].deadline += moved;         // all of them: the heap is still one
    }
    return old;
}
