/* Switching greenlets: who gets what is handed over, and who runs when one ends.

   A switch is an operation like those of the scheduler (sched/sched.c): decided,
   prepared, committed; softly where the eval loop itself called switch() or throw(), hard
   otherwise.  Most of them go the shorter way of plain.c.

   The callable of a greenlet that is switched to for the first time is whatever attribute
   lookup of `run` gives, which may be any Python code, even a switch.  It is looked up
   before the operation begins and stays in the tasklet as `func`.  If something else has
   become the target by the time of the commit, the operation looks again; within a hard
   switch, whose memory is reserved by then, it fails without an exception and is begun
   anew (switch/hard.c). */

#include "Python.h"
#include "pycore_pyerrors.h"
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/greenlet/greenlet.h"
#include "Stackless/sched/sched.h"
#include "pycore_tuple.h"         // _PyTuple_FromArray()

/* --- the program's trace function --------------------------------------------- */

/* The pending result of a tasklet that was switched to while there is a trace function. */
typedef struct {
    PyObject_HEAD
    PyObject *origin;
    PyObject *target;
    PyObject *result;
    int raises;                   // result is an exception
} TracedObject;

static void
traced_dealloc(PyObject *self)
{
    TracedObject *traced = (TracedObject *)self;
    Py_DECREF(traced->origin);
    Py_DECREF(traced->target);
    Py_DECREF(traced->result);
    PyObject_Free(self);
}

static PyTypeObject traced_type = {
    PyVarObject_HEAD_INIT(&PyType_Type, 0)
    .tp_name = "greenlet.traced",
    .tp_basicsize = sizeof(TracedObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = traced_dealloc,
};

/* result: stolen, also in case of failure. */
static PyObject *
traced_new(PyGreenlet *origin, PyGreenlet *target, PyObject *result, int raises)
{
    TracedObject *traced = PyObject_New(TracedObject, &traced_type);
    if (traced == NULL) {
        Py_DECREF(result);
        return NULL;
    }
    traced->origin = Py_NewRef(origin);
    traced->target = Py_NewRef(target);
    traced->result = result;
    traced->raises = raises;
    return (PyObject *)traced;
}

/* Tells the trace function.  If it raises, it is removed. */
static int
call_trace(_PyStackless_Scheduler *sched, int raises, PyObject *origin, PyObject *target)
{
    if (sched->greenlet_trace == NULL) {
        return 0;
    }
    PyThreadState *tstate = sched->tstate;
    PyObject *callback = Py_NewRef(sched->greenlet_trace);
    PyThreadState_EnterTracing(tstate);
    PyObject *res = PyObject_CallFunction(callback, "s(OO)", raises ? "throw" : "switch",
                                          origin, target);
    PyThreadState_LeaveTracing(tstate);
    Py_DECREF(callback);
    if (res == NULL) {
        PyObject *exc = PyErr_GetRaisedException();
        Py_CLEAR(sched->greenlet_trace);
        PyErr_SetRaisedException(exc);
        return -1;
    }
    Py_DECREF(res);
    return 0;
}

static PyObject *
take_traced(_PyStackless_Scheduler *sched, PyObject *value)
{
    TracedObject *traced = (TracedObject *)value;
    PyObject *result = NULL;
    if (call_trace(sched, traced->raises, traced->origin, traced->target) == 0) {
        result = Py_NewRef(traced->result);
        if (traced->raises) {
            PyErr_SetRaisedException(result);
            result = NULL;
        }
    }
    _PyStackless_Discard(sched, value);
    return result;
}

PyObject *
_PyGreenlet_SetTrace(_PyStackless_Scheduler *sched, PyObject *callback)
{
    PyObject *old = sched->greenlet_trace;
    sched->greenlet_trace = Py_XNewRef(callback);
    return old;
}

/* --- the target ------------------------------------------------------------------ */

static int
check_thread(_PyStackless_Scheduler *sched, PyGreenlet *g)
{
    _PyStackless_Scheduler *its = _PyGreenlet_FindScheduler(g);
    if (its == NULL) {
        return -1;
    }
    if (its == sched) {
        return 0;
    }
    if (its->tstate == NULL) {
        PyErr_SetString(_PyGreenlet_Error, "cannot switch to a different thread "
                        "(which happens to have exited)");
        return -1;
    }
    PyObject *current = (PyObject *)_PyGreenlet_Main(sched);
    PyObject *expected = (PyObject *)_PyGreenlet_OfTasklet(its->main);
    if (current != NULL) {
        PyErr_Format(_PyGreenlet_Error, "Cannot switch to a different thread\n"
                     "\tCurrent:  %R\n\tExpected: %R",
                     current, expected ? expected : Py_None);
    }
    Py_XDECREF(expected);
    return -1;
}

static int
look_up_run(PyGreenlet *g)
{
    PyObject *run;
    if (Py_IS_TYPE(g, &PyGreenlet_Type) && g->tasklet->tempval != NULL) {
        run = Py_NewRef(g->tasklet->tempval);
    }
    else {
        run = PyObject_GetAttr((PyObject *)g, sched_of(g->tasklet)->mod->str_run);
    }
    if (run == NULL) {
        return -1;
    }
    if (greenlet_is_pending(g)) {
        Py_XSETREF(g->tasklet->func, run);
    }
    else {
        Py_DECREF(run);                // the lookup has started it
    }
    return 0;
}

/* Can g itself be switched to, with nothing to be looked up?  (Nearly always; 0: look
   closer.) */
static int
needs_no_lookup(_PyStackless_Scheduler *sched, PyGreenlet *g)
{
    if (!greenlet_is_linked(g)) {
        return 0;
    }
    PyTaskletObject *t = g->tasklet;
    if (t->state != TASKLET_IDLE) {
        return sched_of(t) == sched;
    }
    PyGreenlet *parent = _PyGreenlet_GetParent(g);
    return t->func != NULL && parent != NULL && greenlet_is_linked(parent)
           && parent->tasklet->state != TASKLET_IDLE && sched_of(parent->tasklet) == sched;
}

/* The greenlet that gets what is handed over to g (new reference): itself, or its nearest
   living ancestor; one that is pending has its callable looked up.  NULL with an
   exception; or without one: that would have to be done, but not now (!may_look_up). */
static PyGreenlet *
find_target(_PyStackless_Scheduler *sched, PyGreenlet *g, int may_look_up)
{
    for (;;) {
        PyGreenlet *target = g;
        if (needs_no_lookup(sched, g)) {
            return (PyGreenlet *)Py_NewRef(g);
        }
        while (target != NULL && !greenlet_is_active(target)
               && !greenlet_is_pending(target)) {
            if (check_thread(sched, target) < 0) {
                return NULL;
            }
            target = _PyGreenlet_GetParent(target);
        }
        if (target == NULL) {
            PyErr_SetString(_PyGreenlet_Error,
                            "cannot switch to a garbage collected greenlet");
            return NULL;
        }
        if (check_thread(sched, target) < 0) {
            return NULL;
        }
        Py_INCREF(target);
        if (!greenlet_is_pending(target) || target->tasklet->func != NULL) {
            return target;
        }
        int err = may_look_up ? look_up_run(target) : -1;
        Py_DECREF(target);
        if (err < 0) {
            return NULL;
        }
    }
}

/* Is t waiting for somebody to switch to its greenlet? */
static int
is_switchable(PyTaskletObject *t)
{
    if (t->state != TASKLET_PAUSED) {
        return t->state == TASKLET_IDLE;           // pending
    }
    return !tasklet_is_watchdog(t);
}

static int
check_switchable(PyTaskletObject *t)
{
    if (is_switchable(t)) {
        return 0;
    }
    PyErr_Format(_PyGreenlet_Error, "cannot switch to a greenlet whose tasklet is %s",
                 tasklet_is_blocked(t) ? "blocked on a channel"
                 : t->state == TASKLET_RUNNABLE ? "in the run queue of the scheduler"
                 : "inside stackless.run()");
    return -1;
}

/* --- handing over ------------------------------------------------------------------ */

/* What is to be handed over, and to whom. */
typedef struct {
    PyGreenlet *target;           // strong
    PyObject *args;               // strong: what to start it with, if it is pending
    int has_kwargs;               // args is a pair of tuple and dict
    PyObject *result;             // strong: what its pending call gets, if not None
    int raises;                   // result is an exception, for a pending one too
} handover;

/* The value that switch(*args, **kwargs) delivers, from an operation's value. */
static PyObject *
delivered_value(const stackless_op *op)
{
    PyObject *value = op->value;
    if (op->code == OP_GREENLET_SWITCH_KW) {
        if (PyTuple_GET_SIZE(PyTuple_GET_ITEM(value, 0)) == 0) {
            value = PyTuple_GET_ITEM(value, 1);
        }
    }
    else if (op->code == OP_GREENLET_SWITCH) {
        if (PyTuple_GET_SIZE(value) == 1) {
            value = PyTuple_GET_ITEM(value, 0);
        }
    }
    else {
        value = PyCell_GET(value);
    }
    return Py_NewRef(value);
}

/* An exception is not kept alive by whoever has thrown it, and may be suspended in C code
   for a long time. */
static void
forget_exception(_PyStackless_Scheduler *sched, const stackless_op *op)
{
    if (op->code == OP_GREENLET_THROW || op->code == OP_GREENLET_EXIT) {
        PyObject *exc = PyCell_GET(op->value);
        PyCell_SET(op->value, NULL);
        _PyStackless_Discard(sched, exc);
    }
}

/* Wraps the result for the trace function, if there is one.  origin may be NULL. */
static int
handover_trace(_PyStackless_Scheduler *sched, handover *h, PyGreenlet *origin)
{
    if (sched->greenlet_trace == NULL || origin == NULL || h->target == NULL) {
        return 0;
    }
    PyObject *result = h->result ? h->result : Py_None;
    h->result = traced_new(origin, h->target, result, h->raises);
    h->raises = 1;                     // TakeResult() looks closer then
    return h->result == NULL ? -1 : 0;
}

static void
handover_discard(_PyStackless_Scheduler *sched, handover *h)
{
    _PyStackless_Discard(sched, (PyObject *)h->target);
    _PyStackless_Discard(sched, h->args);
    _PyStackless_Discard(sched, h->result);
}

/* t, the target's tasklet, gets what is in `h`, and its references.  Nothing can fail. */
static void
handover_commit(_PyStackless_Scheduler *sched, PyTaskletObject *t, handover *h)
{
    if (t->state == TASKLET_IDLE) {
        assert(t->func != NULL);
        if (sched_of(t) != sched) {
            _PyStackless_Scheduler *old = sched_of(t);
            _PyStackless_Adopt(sched, t);
            _PyStackless_ReleaseScheduler(old);
        }
        t->args = h->args;
        if (h->has_kwargs) {
            t->flags |= TASKLET_HAS_KWARGS;
        }
        h->args = NULL;
        _PyStackless_SetState(t, TASKLET_PAUSED);
    }
    if (h->target != NULL) {
        _PyGreenlet_Own(t);
    }
    if (t->flags & TASKLET_STARTED) {
        t->flags &= ~TASKLET_RETURNS_NONE;
    }
    _PyStackless_SetPending(sched, t, h->result);
    h->result = NULL;
    if (h->raises) {
        t->flags |= TASKLET_RAISES;
    }
}

/* --- the operation ------------------------------------------------------------------- */

/* The target is the calling greenlet itself. */
static op_outcome
hand_over_here(_PyStackless_Scheduler *sched, const stackless_op *op, PyGreenlet *here,
               PyObject **result)
{
    int raises = op->code == OP_GREENLET_THROW;
    PyObject *value = delivered_value(op);
    if (call_trace(sched, raises, (PyObject *)here, (PyObject *)here) < 0) {
        _PyStackless_Discard(sched, value);
        return OP_ERROR;
    }
    if (raises) {
        PyErr_SetRaisedException(value);
        return OP_ERROR;
    }
    *result = value;
    return OP_DONE;
}

/* Decides and prepares.  OP_SWITCHED: *d and *h are to be committed. */
static op_outcome
begin(PyThreadState *tstate, _PyStackless_Scheduler *sched, const stackless_op *op,
      int how, decision *d, handover *h, PyObject **result)
{
    schedule_told told = {0};
    int again;
    h->raises = op->code == OP_GREENLET_THROW;
    do {
        PyGreenlet *old = h->target;
        h->target = find_target(sched, (PyGreenlet *)op->target, how != SWITCH_HARD);
        _PyStackless_Discard(sched, (PyObject *)old);
        if (h->target == NULL) {
            return OP_ERROR;
        }
        PyTaskletObject *t = h->target->tasklet;
        if (t == sched->current) {
            return hand_over_here(sched, op, h->target, result);
        }
        if (!h->raises && check_switchable(t) < 0) {
            return OP_ERROR;
        }
        if (how == SWITCH_NOT) {
            return _PyStackless_CheckMaySwitch(sched) < 0 ? OP_ERROR : OP_NEEDS_SWITCH;
        }
        *d = (decision){ .next = t, .fate = TASKLET_PAUSED, .direct = 1,
                         .insert_next = !tasklet_is_queued(t), .carry_tracing = 1 };
        again = _PyStackless_PrepareCommit(tstate, sched, d, how, &told);
    } while (again > 0);
    if (again < 0) {
        return OP_ERROR;
    }
    if (!greenlet_is_pending(h->target)) {
        h->result = delivered_value(op);
    }
    else if (h->raises || op->code == OP_GREENLET_EXIT) {
        h->args = Py_NewRef(&_Py_SINGLETON(tuple_empty));
        h->result = h->raises ? delivered_value(op) : NULL;
    }
    else {
        h->args = Py_NewRef(op->value);
        h->has_kwargs = op->code == OP_GREENLET_SWITCH_KW;
    }
    return OP_SWITCHED;
}

static void
note_failure(_PyStackless_Scheduler *sched, const stackless_op *op)
{
    if (op->code < OP_GREENLET_SWITCH || op->code > OP_GREENLET_EXIT) {
        return;
    }
    PyGreenlet *g = (PyGreenlet *)op->target;
    if (greenlet_is_pending(g)) {
        PyObject *func = g->tasklet->func;
        g->tasklet->func = NULL;
        _PyStackless_Discard(sched, func);
    }
}

static op_outcome
execute(PyThreadState *tstate, _PyStackless_Scheduler *sched,
        const stackless_op *op, int how, PyObject **result)
{
    handover h = {0};
    decision d;
    op_outcome outcome = begin(tstate, sched, op, how, &d, &h, result);
    if (outcome == OP_SWITCHED && sched->greenlet_trace != NULL) {
        PyGreenlet *origin = _PyGreenlet_Current(sched);
        if (handover_trace(sched, &h, origin) < 0) {
            outcome = OP_ERROR;
        }
        _PyStackless_Discard(sched, (PyObject *)origin);
    }
    if (outcome == OP_SWITCHED) {
        PyTaskletObject *t = sched->current;
        handover_commit(sched, d.next, &h);
        _PyGreenlet_LetGo(sched, t);
        _PyStackless_SetPending(sched, t, NULL);
        if (how == SWITCH_SOFT && !(t->flags & TASKLET_IS_MAIN)) {
            _PyGreenlet_KeepTarget(t, Py_NewRef(op->target));
        }
        _PyStackless_Commit(sched, &d);
        _PyStackless_Discard(sched, (PyObject *)t);
        forget_exception(sched, op);
    }
    else if (outcome == OP_ERROR && how == SWITCH_SOFT) {
        note_failure(sched, op);
    }
    handover_discard(sched, &h);
    return outcome;
}

/* --- the end --------------------------------------------------------------------------- */

/* Who gets the result of a greenlet whose parent is `parent`: as find_target(), but what
   goes wrong on the way replaces the result, and goes on to the next ancestor. */
static PyGreenlet *
find_heir(_PyStackless_Scheduler *sched, PyGreenlet *parent, PyObject **value,
          PyObject **exc)
{
    Py_XINCREF(parent);
    while (parent != NULL) {
        PyObject *stale = greenlet_is_pending(parent) ? parent->tasklet->func : NULL;
        if (stale != NULL) {
            parent->tasklet->func = NULL;
            Py_DECREF(stale);
        }
        PyGreenlet *heir = find_target(sched, parent, 1);
        if (heir != NULL) {
            Py_DECREF(parent);
            return heir;
        }
        /* Not to the trash: there may be many of them. */
        PyObject *failure = PyErr_GetRaisedException();
        PyGreenlet *next = (PyGreenlet *)Py_XNewRef(_PyGreenlet_GetParent(parent));
        Py_CLEAR(*value);
        Py_XSETREF(*exc, failure);
        Py_SETREF(parent, next);
    }
    return (PyGreenlet *)Py_XNewRef(_PyGreenlet_Main(sched));
}

/* Who is next, as long as the current greenlet's result is `value` or `exc`: *d and
   h->target.  True if that one gets the result. */
static int
decide_end(_PyStackless_Scheduler *sched, greenlet_tasklet *gt, PyObject **value,
           PyObject **exc, decision *d, handover *h)
{
    PyGreenlet *old = h->target;
    h->target = find_heir(sched, gt->parent, value, exc);
    _PyStackless_Discard(sched, (PyObject *)old);
    PyTaskletObject *heir = h->target ? h->target->tasklet : sched->main;
    if (*exc != NULL || is_switchable(heir)) {
        *d = (decision){ .next = heir, .insert_next = !tasklet_is_queued(heir),
                         .direct = 1, .carry_tracing = 1 };
        return 1;
    }
    _PyStackless_DecideAfterEnd(sched, exc, d);
    _PyStackless_Discard(sched, (PyObject *)h->target);
    h->target = _PyGreenlet_OfTasklet(d->next);
    return *exc != NULL;
}

static void
finish(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyObject *value, PyObject *exc)
{
    PyTaskletObject *t = sched->current;
    greenlet_tasklet *gt = greenlet_tasklet_cast(t);
    if (value != NULL && _PyGreenlet_FinishPlainly(sched, gt, value)) {
        return;
    }
    PyGreenlet *g = _PyGreenlet_OfTasklet(t);
    int exits = 0;
    if (exc != NULL && (PyErr_GivenExceptionMatches(exc, _PyGreenlet_Exit)
                        || PyErr_GivenExceptionMatches(exc, PyExc_TaskletExit))) {
        value = exc;
        exc = NULL;
        exits = 1;
    }
    handover h = {0};
    decision d;
    schedule_told told = {0};
    int reached;
    do {
        reached = decide_end(sched, gt, &value, &exc, &d, &h);
        d.fate = TASKLET_IDLE;
    } while (_PyStackless_TellSwitch(sched, &d, &told));
    h.raises = exc != NULL;
    h.result = exc;
    if (!h.raises && reached) {
        h.result = value;
        value = NULL;
    }
    _PyStackless_Discard(sched, value);            // nobody waits for it
    if (d.next->state == TASKLET_IDLE) {
        if (h.raises || exits) {
            h.args = Py_NewRef(&_Py_SINGLETON(tuple_empty));
        }
        else {
            h.args = PyTuple_Pack(1, h.result);
        }
        if (!h.raises) {
            _PyStackless_Discard(sched, h.result);
            h.result = NULL;
        }
        if (h.args == NULL) {
            h.result = PyErr_GetRaisedException();
            h.raises = 1;
            h.args = Py_NewRef(&_Py_SINGLETON(tuple_empty));
        }
    }
    if (reached && handover_trace(sched, &h, g) < 0) {
        h.result = PyErr_GetRaisedException();
        h.raises = 1;
    }
    if (reached) {
        handover_commit(sched, d.next, &h);
    }
    _PyGreenlet_LetGo(sched, t);
    gt->link = 0;
    _PyStackless_CommitEnd(sched, &d);
    _PyStackless_Discard(sched, (PyObject *)g);
    handover_discard(sched, &h);
}

/* --- switch() and throw() -------------------------------------------------------------- */

static int
look_up(_PyStackless_Scheduler *sched, PyObject *greenlet)
{
    PyGreenlet *g = (PyGreenlet *)greenlet;
    if (greenlet_is_pending(g)) {
        Py_CLEAR(g->tasklet->func);    // of an operation that failed
        if (check_thread(sched, g) < 0 || look_up_run(g) < 0) {
            return -1;
        }
    }
    if (needs_no_lookup(sched, g)) {
        return 0;
    }
    PyGreenlet *target = find_target(sched, g, 1);
    Py_XDECREF(target);
    return target == NULL ? -1 : 0;
}

/* Makes an operation the scheduler's next call.  value: stolen, may be NULL with an
   exception.  Returns the scheduler or NULL with an exception.

   The functions that go on from here end with the call itself, and have nothing to do
   afterwards: see _PyStackless_SwitchingCall(). */
static _PyStackless_Scheduler *
set_call(_PyStackless_Scheduler *sched, PyGreenlet *g, stackless_opcode code,
         PyObject *value)
{
    if (value == NULL) {
        return NULL;
    }
    if (look_up(sched, (PyObject *)g) < 0) {
        Py_DECREF(value);
        return NULL;
    }
    sched->call = (stackless_op){ .code = code, .target = Py_NewRef(g), .value = value };
    return sched;
}

/* What an operation hands over: stolen references; kwargs may be NULL. */
static PyObject *
switch_value(PyObject *args, PyObject *kwargs, stackless_opcode *code)
{
    *code = OP_GREENLET_SWITCH;
    if (args == NULL || kwargs == NULL) {
        return args;
    }
    *code = OP_GREENLET_SWITCH_KW;
    PyObject *pair = PyTuple_Pack(2, args, kwargs);
    Py_DECREF(args);
    Py_DECREF(kwargs);
    return pair;
}

static PyObject *
dict_from_kwnames(PyObject *const *values, PyObject *kwnames)
{
    PyObject *kwargs = PyDict_New();
    for (Py_ssize_t i = 0; kwargs != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, i), values[i]) < 0) {
            Py_CLEAR(kwargs);
        }
    }
    return kwargs;
}

static Py_NO_INLINE _PyStackless_Scheduler *
begin_switch_method(PyGreenlet *g, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    _PyStackless_Scheduler *sched = _PyGreenlet_GetScheduler(_PyThreadState_GET());
    if (sched == NULL) {
        return NULL;
    }
    PyObject *kwargs = NULL;
    if (kwnames != NULL && PyTuple_GET_SIZE(kwnames) > 0) {
        kwargs = dict_from_kwnames(args + nargs, kwnames);
        if (kwargs == NULL) {
            return NULL;
        }
    }
    stackless_opcode code;
    PyObject *value = switch_value(_PyTuple_FromArray(args, nargs), kwargs, &code);
    return set_call(sched, g, code, value);
}

PyObject *
_PyGreenlet_SwitchMethod(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    PyGreenlet *g = (PyGreenlet *)self;
    if (kwnames == NULL) {
        int plain = _PyGreenlet_PreparePlain(g, args, nargs, 1);
        if (plain != 0) {
            return plain < 0 ? NULL : _PyGreenlet_SwitchPlainly();
        }
    }
    _PyStackless_Scheduler *sched = begin_switch_method(g, args, nargs, kwnames);
    return sched == NULL ? NULL
                         : _PyStackless_SwitchingCall(sched, _PyGreenlet_SwitchMethod, self,
                                                      args, nargs, kwnames);
}

static Py_NO_INLINE _PyStackless_Scheduler *
begin_switch(PyGreenlet *g, PyObject *args, PyObject *kwargs)
{
    _PyStackless_Scheduler *sched = _PyGreenlet_GetScheduler(_PyThreadState_GET());
    if (sched == NULL) {
        return NULL;
    }
    stackless_opcode code;
    PyObject *value = switch_value(Py_NewRef(args), Py_XNewRef(kwargs), &code);
    return set_call(sched, g, code, value);
}

PyObject *
_PyGreenlet_Switch(PyGreenlet *g, PyObject *args, PyObject *kwargs)
{
    if (args == NULL) {
        args = (PyObject *)&_Py_SINGLETON(tuple_empty);
    }
    if (kwargs != NULL && (!PyDict_Check(kwargs) || PyDict_GET_SIZE(kwargs) == 0)) {
        kwargs = NULL;
    }
    if (kwargs == NULL) {
        int plain = _PyGreenlet_PreparePlain(g, &PyTuple_GET_ITEM(args, 0),
                                             PyTuple_GET_SIZE(args), 0);
        if (plain != 0) {
            return plain < 0 ? NULL : _PyGreenlet_SwitchPlainly();
        }
    }
    _PyStackless_Scheduler *sched = begin_switch(g, args, kwargs);
    return sched == NULL ? NULL : _PyStackless_CallFromC(sched);
}

/* The exception that throw(typ, val, tb) raises (new reference), or NULL: TypeError. */
static PyObject *
exception_to_throw(PyObject *typ, PyObject *val, PyObject *tb)
{
    val = val == Py_None ? NULL : val;
    tb = tb == Py_None ? NULL : tb;
    if (tb != NULL && !PyTraceBack_Check(tb)) {
        PyErr_SetString(PyExc_TypeError, "throw() third argument must be a traceback object");
        return NULL;
    }
    PyObject *exc;
    if (PyExceptionClass_Check(typ)) {
        if (val != NULL && PyExceptionInstance_Check(val)) {
            exc = Py_NewRef(val);
        }
        else {
            PyErr_Restore(Py_NewRef(typ), Py_XNewRef(val), NULL);
            exc = PyErr_GetRaisedException();
        }
    }
    else if (PyExceptionInstance_Check(typ)) {
        if (val != NULL) {
            PyErr_SetString(PyExc_TypeError,
                            "instance exception may not have a separate value");
            return NULL;
        }
        exc = Py_NewRef(typ);
    }
    else {
        PyErr_Format(PyExc_TypeError, "exceptions must be classes, or instances, not %s",
                     Py_TYPE(typ)->tp_name);
        return NULL;
    }
    if (tb != NULL && PyException_SetTraceback(exc, tb) < 0) {
        Py_CLEAR(exc);
    }
    return exc;
}

/* exc: stolen, may be NULL with an exception. */
static Py_NO_INLINE _PyStackless_Scheduler *
begin_throw(PyGreenlet *g, PyObject *exc)
{
    if (exc == NULL) {
        return NULL;
    }
    _PyStackless_Scheduler *sched = _PyGreenlet_GetScheduler(_PyThreadState_GET());
    if (sched == NULL) {
        Py_DECREF(exc);
        return NULL;
    }
    stackless_opcode code = OP_GREENLET_THROW;
    if (!greenlet_is_active(g) && !greenlet_is_pending(g)
        && PyErr_GivenExceptionMatches(exc, _PyGreenlet_Exit)) {
        code = OP_GREENLET_EXIT;
    }
    PyObject *cell = PyCell_New(exc);
    Py_DECREF(exc);
    return set_call(sched, g, code, cell);
}

PyObject *
_PyGreenlet_ThrowMethod(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs > 3) {
        PyErr_Format(PyExc_TypeError, "throw() takes at most 3 arguments (%zd given)", nargs);
        return NULL;
    }
    PyObject *exc = exception_to_throw(nargs > 0 ? args[0] : _PyGreenlet_Exit,
                                       nargs > 1 ? args[1] : NULL,
                                       nargs > 2 ? args[2] : NULL);
    _PyStackless_Scheduler *sched = begin_throw((PyGreenlet *)self, exc);
    return sched == NULL ? NULL
                         : _PyStackless_SwitchingCall(sched, _PyGreenlet_ThrowMethod, self,
                                                      args, nargs, NULL);
}

PyObject *
_PyGreenlet_Throw(PyGreenlet *g, PyObject *typ, PyObject *val, PyObject *tb)
{
    _PyStackless_Scheduler *sched = begin_throw(g, exception_to_throw(typ, val, tb));
    return sched == NULL ? NULL : _PyStackless_CallFromC(sched);
}

PyObject *
_PyGreenlet_ThrowInstance(PyGreenlet *g, PyObject *exc)
{
    _PyStackless_Scheduler *sched = begin_throw(g, Py_NewRef(exc));
    return sched == NULL ? NULL : _PyStackless_CallFromC(sched);
}

/* The scheduler is to run t. */
static void
own(PyTaskletObject *t)
{
    PyGreenlet *g = greenlet_of(t);
    if (g != NULL && Py_REFCNT(g) > 0) {
        _PyGreenlet_Own(t);
    }
}

/* As PyPI's greenlets, those begun by one that is within C code begin below it, and go on
   there. */
static int
begins_below(PyTaskletObject *t)
{
    if (!_PyGreenlet_IsTasklet(t)) {
        return 0;
    }
    greenlet_tasklet *gt = greenlet_tasklet_cast(t);
    if (!(t->flags & TASKLET_STARTED) && gt->link != 0) {
        gt->link |= GREENLET_BEGAN_BELOW;
    }
    return (gt->link & GREENLET_BEGAN_BELOW) != 0;
}

const stackless_greenlet_hooks _PyGreenlet_Hooks = {
    .execute = execute,
    .note_failure = note_failure,
    .look_up = look_up,
    .finish = finish,
    .traced_type = &traced_type,
    .type = &PyGreenlet_Type,
    .take_traced = take_traced,
    .unlink = _PyGreenlet_Unlink,
    .own = own,
    .begins_below = begins_below,
    .delete_postponed = _PyGreenlet_DeletePostponed,
    .forget_main = _PyGreenlet_ForgetMain,
};
