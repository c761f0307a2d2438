/* Time: the clock of a scheduler, and the timers of those who wait with a deadline. */

#ifndef STACKLESS_WAIT_WAIT_H
#define STACKLESS_WAIT_WAIT_H

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "Stackless/state/state.h"

/* clock.c */

/* Later than this, in nanoseconds, is never. */
#define STACKLESS_LONGEST_WAIT (PyTime_MAX / 4)

/* What a clock of the program's has returned.  0, or -1 with an exception. */
extern int _PyStackless_ClockTime(PyObject *said, PyTime_t *t);
/* The time by the scheduler's clock, which never goes back, in nanoseconds.  A clock of the
   program's runs Python code, in which no tasklet can be switched.  0, or -1 with an
   exception. */
extern int _PyStackless_AskClock(_PyStackless_Scheduler *sched, PyTime_t *now);
/* The same without Python code: a clock of the program's may have moved on since. */
extern PyTime_t _PyStackless_Now(_PyStackless_Scheduler *sched);
/* `seconds`, a number: how long to wait from now on, or None: for ever.  *deadline: for a
   stackless_op; STACKLESS_AT_ONCE if that is zero.  `name`: of the argument, for messages.
   0, or -1 with an exception. */
extern int _PyStackless_ParseTimeout(_PyStackless_Scheduler *sched, const char *name,
                                     PyObject *seconds, PyTime_t *deadline);
/* `clock`: a callable that returns seconds, or NULL: the monotonic one, or a virtual one.  Who
   waits goes on to wait for as long as before.  Returns the clock that was there (the
   reference is the caller's). */
extern PyObject *_PyStackless_SetClock(_PyStackless_Scheduler *sched, PyObject *clock,
                                       PyTime_t now, int is_virtual);

/* timers.c */

/* Room for one more: 0, or -1 with an exception. */
extern int _PyStackless_TimersReserve(_PyStackless_Scheduler *sched);
/* Starts the timer of t, which has a side block and no timer.  There is room. */
extern void _PyStackless_TimerStart(_PyStackless_Scheduler *sched, PyTaskletObject *t,
                                    PyTime_t deadline);
/* Takes it away.  Both move no references. */
extern void _PyStackless_TimerStop(_PyStackless_Scheduler *sched, PyTaskletObject *t);

static inline int
tasklet_has_timer(const PyTaskletObject *t)
{
    const tasklet_extra *extra = extra_of(t);
    return extra != NULL && extra->timer != 0;
}

#endif /* !STACKLESS_WAIT_WAIT_H */
