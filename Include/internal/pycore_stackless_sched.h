/* How an operation makes another tasklet current: what stackless_sched.c, which has the
   operations of tasklets and channels, lends to greenlet_switch.c, and what both need of
   stackless_queue.c. */

#ifndef Py_INTERNAL_STACKLESS_SCHED_H
#define Py_INTERNAL_STACKLESS_SCHED_H

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "pycore_stackless.h"

/* What an operation has decided. */
typedef struct {
    PyTaskletObject *next;        // who becomes current; NULL: sleep until there is one
    tasklet_state fate;           // of the current tasklet
    int insert_next;              // next has to be queued first, if need be unblocked
    int direct;                   // a soft time limit does not divert this switch
    int carry_tracing;            // trace and profile function stay with the thread
} decision;

/* Whether switching is allowed here: 0, or -1 with an exception. */
extern int _PyStackless_CheckMaySwitch(_PyStackless_Scheduler *sched);

/* Everything that can fail or run code before a commit: 0, or -1 with an exception.  The
   callback may change the queues, so what was decided before must be decided again after
   it: 1 is returned.  *called: 0 at first. */
extern int _PyStackless_PrepareCommit(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                                      const decision *d, int how, int *called);

/* The commit common to all: `d->next` becomes current.  The current tasklet's state is
   changed to its fate; if it leaves the queue, the queue's reference to it is the
   caller's, for the new list (channel, watchdogs) or to be discarded. */
extern void _PyStackless_Commit(_PyStackless_Scheduler *sched, const decision *d);

/* The same when the current tasklet has ended: d->fate is TASKLET_IDLE. */
extern void _PyStackless_CommitEnd(_PyStackless_Scheduler *sched, const decision *d);

/* Gives a tasklet its pending result: value (stolen) or NULL for None. */
extern void _PyStackless_SetPending(_PyStackless_Scheduler *sched, PyTaskletObject *t,
                                    PyObject *value);

/* Who runs after the current tasklet ended, and with which exception. */
extern void _PyStackless_DecideAfterEnd(_PyStackless_Scheduler *sched, PyObject **exc,
                                        decision *d);

/* stackless_queue.c */

/* Links t into the run queue before `pos`.  The queue takes a reference. */
extern void _PyStackless_QueueInsert(_PyStackless_Scheduler *sched, PyTaskletObject *pos,
                                     PyTaskletObject *t);
/* Who goes on when nobody is runnable: the innermost run(), or main.  Borrowed. */
extern PyTaskletObject *_PyStackless_WakeupTarget(_PyStackless_Scheduler *sched);
/* Room for one more tasklet inside run(): 0, or -1 with an exception. */
extern int _PyStackless_WatchdogsReserve(_PyStackless_Scheduler *sched);

#endif /* !Py_INTERNAL_STACKLESS_SCHED_H */
