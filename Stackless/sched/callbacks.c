/* The program's callbacks: what they are told of, and what they may do.

   Nobody is switched within the schedule callback: the switch that it is told of is about to
   take place.  The queues may be changed, by it and by other threads; what was decided before
   is decided again afterwards (sched.c).

   The channel callback may switch.  That it is under way is the affair of the tasklet in
   which it runs (stackless_moment); only there no channel can be used. */

#include "Python.h"
#include "Stackless/sched/sched.h"

/* --- schedule callback ------------------------------------------------------------------- */

static void
report_callback_error(void)
{
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *where = PyUnicode_FromString("Error in scheduling callback");
    PyErr_SetRaisedException(exc);
    PyErr_WriteUnraisable(where);
    Py_XDECREF(where);
}

/* `finishing`: prev, the current tasklet, has ended. */
static void
call_schedule_callback(_PyStackless_Scheduler *sched, PyTaskletObject *prev,
                       PyTaskletObject *next, int finishing)
{
    PyObject *callback = Py_NewRef(sched->mod->schedule_callback);
    Py_INCREF(next);
    PyObject *exc = PyErr_GetRaisedException();
    sched->in_schedule_callback = 1;
    sched->finishing = (uint8_t)finishing;
    PyObject *res = PyObject_CallFunctionObjArgs(
        callback, prev != NULL ? (PyObject *)prev : Py_None, next, NULL);
    if (res == NULL) {
        report_callback_error();
    }
    sched->finishing = 0;
    sched->in_schedule_callback = 0;
    Py_XDECREF(res);
    Py_DECREF(callback);
    _PyStackless_EmptyTrash(sched);
    _PyStackless_Discard(sched, (PyObject *)next); // whoever has told of it may compare
    PyErr_SetRaisedException(exc);
}

void
_PyStackless_TellMain(_PyStackless_Scheduler *sched)
{
    if (sched->mod->schedule_callback != NULL && !_PyStackless_IsInitialThread(sched)) {
        call_schedule_callback(sched, NULL, sched->main, 0);
    }
}

int
_PyStackless_TellSwitch(_PyStackless_Scheduler *sched, const decision *d,
                        schedule_told *told)
{
    enum { MOST = 100 };               // a callback may take away each one it is told of
    PyTaskletObject *instead = _PyStackless_Diverted(sched, d);
    PyTaskletObject *next = instead != NULL ? instead : d->next;
    if (sched->mod->schedule_callback == NULL || next == NULL || next == told->next
        || told->times == MOST) {
        return 0;
    }
    *told = (schedule_told){ next, told->times + 1 };
    call_schedule_callback(sched, sched->current, next, d->fate == TASKLET_IDLE);
    return 1;
}

/* --- channel callback -------------------------------------------------------------------- */

int
_PyStackless_CheckNoChannelCallback(_PyStackless_Scheduler *sched)
{
    if (sched->moment.in_channel_callback) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Recursive channel call due to callbacks!");
        return -1;
    }
    return 0;
}

int
_PyStackless_CallChannelCallback(_PyStackless_Scheduler *sched, PyChannelObject *ch,
                                 PyObject *value, int sending, int willblock)
{
    PyTaskletObject *cur = sched->current;
    PyObject *callback = Py_NewRef(sched->mod->channel_callback);
    PyObject *saved = cur->tempval;
    cur->tempval = Py_XNewRef(value);
    sched->moment.in_channel_callback = 1;
    PyObject *res = PyObject_CallFunction(callback, "OOii", ch, cur, sending, willblock);
    sched->moment.in_channel_callback = 0;
    if (cur->flags & TASKLET_RAISES) {
        Py_XDECREF(saved);             // another thread threw into it
    }
    else {
        Py_XSETREF(cur->tempval, saved);
    }
    Py_DECREF(callback);
    Py_XDECREF(res);
    return res == NULL ? -1 : 0;
}
