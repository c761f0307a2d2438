/* Plain switches of greenlets: nothing is to be decided, looked up, traced or called back,
   and whoever goes on waits in a switch, or is to be started.

   They do what switch.c does in any situation, in a fraction of the time.  If only
   frames are to be exchanged, the CALL instruction does it, without calling switch(), as
   switch/fast.h explains. */

#include "Python.h"
#include "pycore_object.h"        // _PyObject_GC_TRACK()
#include "Stackless/greenlet/greenlet.h"
#include "Stackless/switch/fast.h"
#include "pycore_tuple.h"         // _PyTuple_FromArray()

/* Does g wait in a pending switch? */
static inline int
is_plain_target(_PyStackless_Scheduler *sched, PyGreenlet *g)
{
    PyTaskletObject *t = g->tasklet;
    return t != NULL && t->state == TASKLET_PAUSED && (t->flags & TASKLET_STARTED)
           && sched_of(t) == sched && greenlet_of(t) == g
           && (t->tempval == NULL
               || ((t->flags & TASKLET_RETURNS_NONE) && Py_REFCNT(t->tempval) > 1));
}

/* Can g be started, with a callable that need not be looked up? */
static inline int
is_plain_start(_PyStackless_Scheduler *sched, PyGreenlet *g)
{
    PyTaskletObject *t = g->tasklet;
    if (t == NULL || t->state != TASKLET_IDLE || !Py_IS_TYPE(g, &PyGreenlet_Type)
        || !greenlet_is_linked(g) || t->tempval == NULL || t->func != NULL
        || sched_of(t) != sched) {
        return 0;
    }
    PyGreenlet *parent = greenlet_tasklet_cast(t)->parent;
    return parent != NULL && greenlet_is_active(parent) && sched_of(parent->tasklet) == sched;
}

/* Is there nothing special about leaving the current tasklet for `next`? */
static inline int
is_plain_switch(_PyStackless_Scheduler *sched, PyTaskletObject *next)
{
    PyTaskletObject *t = sched->current;
    uintptr_t special =
        (uintptr_t)sched->nwatchdogs
        | (uintptr_t)sched->greenlet_trace
        | (uintptr_t)sched->postponed
        | (uintptr_t)sched->mod->unusual
        | (uintptr_t)sched->unusual_switch
        | (uintptr_t)t->tempval
        | (uintptr_t)((t->flags | next->flags) & TASKLET_RAISES);
    return special == 0;
}

/* Makes g's tasklet current.  `value`, which it gets, is stolen; it is a tuple of arguments
   if g is to be started.  The queue's reference to the tasklet that was current is the
   caller's. */
static inline void
commit_plain(_PyStackless_Scheduler *sched, PyGreenlet *g, PyObject *value)
{
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = g->tasklet;
    _PyGreenlet_Own(next);
    if (next->state == TASKLET_IDLE) {
        next->func = next->tempval;
        next->tempval = NULL;
        next->args = value;
    }
    else {
        Py_XDECREF(next->tempval);     // not the last one
        next->tempval = value;
        next->flags &= ~(TASKLET_RETURNS_NONE | TASKLET_RETURNS_SELF);
    }
    _PyGreenlet_LetGo(sched, t);
    _PyStackless_QueueLink(sched, t, (PyTaskletObject *)Py_NewRef(next));
    _PyStackless_QueueUnlink(sched, t);
    t->state = TASKLET_PAUSED;
    if (!_PyObject_GC_IS_TRACKED(t)) {
        _PyObject_GC_TRACK(t);
    }
    next->state = TASKLET_CURRENT;     // tracked, still
    sched->current = next;
    sched->carry_tracing = 1;
}

/* As an instruction, between two that are suspended softly, or such a one and main:
   switch/fast.h. */
int
_PyStackless_InlineGreenletSwitch(PyThreadState *tstate, _PyInterpreterFrame *frame,
                                  PyObject **stack_pointer, int oparg)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    PyObject **base = stack_pointer - oparg - 2;
    PyObject *self = oparg <= 1 ? fast_self(base) : NULL;
    if (self == NULL || !PyObject_TypeCheck(self, &PyGreenlet_Type)
        || !fast_is_level_0(tstate, sched)) {
        return 0;
    }
    PyGreenlet *g = (PyGreenlet *)self;
    PyObject *value = oparg ? base[2] : (PyObject *)&_Py_SINGLETON(tuple_empty);
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = g->tasklet;
    if (!_PyGreenlet_IsTasklet(t) || !is_plain_target(sched, g)
        || !is_plain_switch(sched, next) || Py_IS_TYPE(value, sched->mod->bomb_type)) {
        return 0;
    }
    PyGreenlet *mine = greenlet_linked(greenlet_tasklet_cast(t));
    if (!fast_can_leave(tstate, sched)
        || mine == NULL || Py_REFCNT(mine) == 1
        || (next != sched->main
            && (extra_of(next) != NULL || next->epoch != sched->epoch))) {
        return 0;
    }
    Py_INCREF(self);
    frame = fast_leave_method(tstate, sched, frame, base, 0);
    if (frame == NULL) {
        Py_DECREF(value);
        Py_DECREF(self);
        return 1;
    }
    commit_plain(sched, g, value);
    _PyGreenlet_KeepTarget(t, self);
    if (next == sched->main) {
        _PyStackless_LeaveForMain(tstate, sched, t, frame);
    }
    else {
        t->frame = frame;
        _PyStackless_SwapThreadFields(tstate, sched, t, next);
        _PyStackless_Check(sched, NULL);
        fast_resume(tstate, next);
    }
    Py_DECREF(t);                      // the queue's; its greenlet has another one
    return 1;
}

/* What switch(*args) hands over (new reference), or NULL with an exception. */
static inline PyObject *
plain_value(PyTaskletObject *next, PyObject *const *args, Py_ssize_t nargs)
{
    if (next->state == TASKLET_IDLE || nargs > 1) {
        return _PyTuple_FromArray(args, nargs);
    }
    return nargs == 1 ? Py_NewRef(args[0]) : (PyObject *)&_Py_SINGLETON(tuple_empty);
}

int
_PyGreenlet_PreparePlain(PyGreenlet *g, PyObject *const *args, Py_ssize_t nargs,
                         int is_method)
{
    PyThreadState *tstate = _PyThreadState_GET();
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched == NULL || !(is_plain_target(sched, g) || is_plain_start(sched, g))
        || !is_plain_switch(sched, g->tasklet)
        || (nargs == 1 && Py_IS_TYPE(args[0], sched->mod->bomb_type))) {
        return 0;
    }
    if (!(sched->current->flags & TASKLET_IS_MAIN)
        && (!_PyStackless_CanLeaveHard(sched)
            || (is_method
                && _PyStackless_DirectSize(tstate, sched, _PyGreenlet_SwitchMethod,
                                           (PyObject *)g, args, nargs, NULL) != 0))) {
        return 0;
    }
    PyObject *value = plain_value(g->tasklet, args, nargs);
    sched->call = (stackless_op){ .target = (PyObject *)g, .value = value };
    return value == NULL ? -1 : 1;
}

static PyTaskletObject *
commit_call(_PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current;
    commit_plain(sched, (PyGreenlet *)sched->call.target, sched->call.value);
    return t;
}

static void
commit_hard(_PyStackless_Scheduler *sched)
{
    _PyStackless_Discard(sched, (PyObject *)commit_call(sched));
}

static Py_NO_INLINE PyObject *
switch_from_main(_PyStackless_Scheduler *sched)
{
    PyThreadState *tstate = sched->tstate;
    if (_PyStackless_PrepareLeaveSlow(tstate, sched) < 0) {
        Py_DECREF(sched->call.value);
        return NULL;
    }
    PyTaskletObject *main = commit_call(sched);
    Py_DECREF(main);
    PyObject *result = _PyStackless_Dispatch(tstate, sched) < 0
                       ? NULL : _PyStackless_TakeResult(main);
    _PyStackless_Settle(tstate, sched);
    _PyStackless_DebugSwitched(sched);
    return result;
}

PyObject *
_PyGreenlet_SwitchPlainly(void)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(_PyThreadState_GET());
    return sched->current->flags & TASKLET_IS_MAIN
           ? switch_from_main(sched) : _PyStackless_LeaveHard(sched, commit_hard);
}

int
_PyGreenlet_FinishPlainly(_PyStackless_Scheduler *sched, greenlet_tasklet *gt, PyObject *value)
{
    PyTaskletObject *t = &gt->tasklet;
    PyGreenlet *parent = gt->parent;
    if (parent == NULL || !is_plain_target(sched, parent)
        || !is_plain_switch(sched, parent->tasklet)
        || Py_IS_TYPE(value, sched->mod->bomb_type)) {
        return 0;
    }
    commit_plain(sched, parent, value);
    gt->link = 0;
    t->flags &= ~TASKLET_WITH_FRAMES;
    t->frame = NULL;
    t->args = NULL;
    t->state = TASKLET_IDLE;
    _PyStackless_Discard(sched, (PyObject *)t);
    return 1;
}
