/* Scopes: what is cancelled together.

   The side block of a tasklet refers to its innermost scope: the one that it has entered last,
   or for which it was spawned.  A scope knows its parent, the tasklets that have entered it or
   were spawned for it, and the scopes within it that are open.

   Cancelling is a level, not an event.  It sets a flag, and wakes who is blocked below, unless
   there is a shield in between.  Whoever is about to block looks at the flags of its
   scopes first, and is refused.  So nothing is queued or repeated: a tasklet that ignores it
   costs nothing, and a result that has been claimed for a tasklet arrives, the cancelling
   with its next wait.  A scope's own deadline is one of each wait below: no timer belongs to
   the scope.

   With a grace period, a tasklet that has been told once may wait until that is over. */

#include "Python.h"
#include "pycore_object.h"        // _PyObject_GC_UNTRACK()
#include "Stackless/sched/sched.h"

typedef struct _PyStackless_Scope {
    PyObject_HEAD
    struct _PyStackless_Scope *parent;     // strong, or NULL
    PyObject *members;            // dict of tasklets, by address: they may have a __hash__
    PyObject *open;               // the same of the scopes within it
    PyObject *results;            // list of what the spawned ones return, or NULL
    Py_ssize_t running;           // how many of the spawned ones have not ended
    PyTaskletObject *host;        // strong: who has entered it, or NULL
    PyObject *reason;             // strong, or NULL
    PyTime_t deadline;            // 0: none
    PyTime_t grace;               // nanoseconds
    PyTime_t end;                 // cancelled: when the grace period is over
    uint8_t cancelled;
    uint8_t expired;              // by its deadline
    uint8_t shield;
    uint8_t tells_all;            // _ended() is called for each of the spawned ones
    uint8_t entered;              // once only
} Scope;

static Scope *
scope_of(const PyTaskletObject *t)
{
    return extra_of(t) != NULL ? extra_of(t)->scope : NULL;
}

static int
add_to(PyObject *dict, void *op)
{
    PyObject *key = PyLong_FromVoidPtr(op);
    int err = key == NULL ? -1 : PyDict_SetItem(dict, key, (PyObject *)op);
    Py_XDECREF(key);
    return err;
}

/* Keeps an exception that is set. */
static void
remove_from(PyObject *dict, void *op)
{
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *key = PyLong_FromVoidPtr(op);
    if (key == NULL || PyDict_DelItem(dict, key) < 0) {
        PyErr_Clear();                 // it is not there, or (no memory) stays there
    }
    Py_XDECREF(key);
    PyErr_SetRaisedException(exc);
}

/* --- is it cancelled? --------------------------------------------------------------- */

static void
set_cancelled(Scope *s, PyTime_t now)
{
    s->cancelled = 1;
    s->end = now + s->grace;
}

/* May t, which knows that s is cancelled, still wait? */
static int
has_grace(const PyTaskletObject *t, const Scope *s, PyTime_t now)
{
    return s->grace > 0 && extra_of(t)->told == (void *)s && now < s->end;
}

/* The innermost scope that forbids t to wait; NULL: none. */
static Scope *
forbidding_scope(PyTaskletObject *t, PyTime_t now)
{
    for (Scope *s = scope_of(t); s != NULL; s = s->parent) {
        if (!s->cancelled && s->deadline != 0 && s->deadline <= now) {
            s->expired = 1;
            set_cancelled(s, now);
        }
        if (s->cancelled && !has_grace(t, s, now)) {
            return s;
        }
        if (s->shield) {
            break;
        }
    }
    return NULL;
}

static void
raise_cancelled(_PyStackless_Scheduler *sched, PyTaskletObject *t, Scope *s)
{
    PyObject *exc = PyObject_CallOneArg(sched->mod->cancelled_type,
                                        s->reason != NULL ? s->reason : Py_None);
    if (exc != NULL && PyObject_SetAttrString(exc, "scope", (PyObject *)s) < 0) {
        Py_CLEAR(exc);
    }
    if (exc != NULL) {
        extra_of(t)->told = s;
        PyErr_SetRaisedException(exc);
    }
}

int
_PyStackless_CheckCancelled(_PyStackless_Scheduler *sched, PyTime_t *limit)
{
    PyTaskletObject *t = sched->current;
    PyTime_t now = _PyStackless_Now(sched);
    Scope *forbids = forbidding_scope(t, now);
    if (forbids != NULL) {
        raise_cancelled(sched, t, forbids);
        return -1;
    }
    *limit = 0;
    for (Scope *s = scope_of(t); s != NULL; s = s->parent) {
        PyTime_t end = s->cancelled ? s->end : s->deadline;
        if (end != 0 && (*limit == 0 || end < *limit)) {
            *limit = end;
        }
        if (s->shield) {
            break;
        }
    }
    return 0;
}

PyObject *
_PyStackless_ScopeExpired(_PyStackless_Scheduler *sched, PyTaskletObject *t, PyTime_t now)
{
    Scope *s = forbidding_scope(t, now);
    if (s == NULL) {
        return NULL;
    }
    PyObject *saved = PyErr_GetRaisedException();
    raise_cancelled(sched, t, s);
    PyObject *exc = PyErr_GetRaisedException();
    PyErr_SetRaisedException(saved);
    return exc;
}

/* --- entering and leaving ----------------------------------------------------------- */

/* The current tasklet of the calling thread (borrowed); NULL with an exception. */
static PyTaskletObject *
caller(void)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(_PyThreadState_GET());
    if (sched == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the thread has no tasklets");
        return NULL;
    }
    return sched->current;
}

/* s is the innermost scope of t.  It stays a member of the others, so that leaving s takes no
   memory. */
static int
set_innermost(PyTaskletObject *t, Scope *s)
{
    if (_PyStackless_EnsureExtra(t) < 0 || add_to(s->members, t) < 0) {
        return -1;
    }
    Scope *old = extra_of(t)->scope;
    extra_of(t)->scope = (Scope *)Py_NewRef(s);
    Py_XDECREF(old);
    return 0;
}

static PyObject *
scope_enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Scope *s = (Scope *)self;
    PyTaskletObject *t = caller();
    if (t == NULL) {
        return NULL;
    }
    if (s->entered) {
        PyErr_SetString(PyExc_RuntimeError, "a scope can be entered once only");
        return NULL;
    }
    Scope *parent = scope_of(t);
    if (parent != NULL && add_to(parent->open, self) < 0) {
        return NULL;
    }
    Py_XINCREF(parent);                // set_innermost() drops the tasklet's
    if (set_innermost(t, s) < 0) {
        if (parent != NULL) {
            remove_from(parent->open, self);
            Py_DECREF(parent);
        }
        return NULL;
    }
    s->entered = 1;
    s->parent = parent;
    s->host = (PyTaskletObject *)Py_NewRef(t);
    Py_RETURN_NONE;
}

static PyObject *
scope_exit(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    Scope *s = (Scope *)self;
    PyTaskletObject *t = caller();
    if (t == NULL) {
        return NULL;
    }
    if (s->host != t) {
        PyErr_Format(PyExc_RuntimeError, "%R is left by %R, but has been entered by %R", self, t,
                     s->host != NULL ? (PyObject *)s->host : Py_None);
        return NULL;
    }
    if (scope_of(t) != s) {
        PyErr_Format(PyExc_RuntimeError, "%R is left while %R, which has been entered later, "
                     "is still open", self, scope_of(t) ? (PyObject *)scope_of(t) : Py_None);
        return NULL;
    }
    if (extra_of(t)->told == s) {
        extra_of(t)->told = NULL;
    }
    extra_of(t)->scope = (Scope *)Py_XNewRef(s->parent);
    remove_from(s->members, t);
    if (s->parent != NULL) {
        remove_from(s->parent->open, self);
    }
    Py_CLEAR(s->host);
    Py_DECREF(s);                      // the tasklet's: the caller has one
    Py_RETURN_NONE;
}

/* _begin(results, tells_all): the scope is a group. */
static PyObject *
scope_begin(PyObject *self, PyObject *args)
{
    Scope *s = (Scope *)self;
    PyObject *results;
    int tells_all;
    if (!PyArg_ParseTuple(args, "O!p:_begin", &PyList_Type, &results, &tells_all)) {
        return NULL;
    }
    s->tells_all = (uint8_t)tells_all;
    Py_XSETREF(s->results, Py_NewRef(results));
    Py_RETURN_NONE;
}

/* _spawn(function, args, kwargs): a new tasklet runs that in the scope, in a copy of the
   caller's context. */
static PyObject *
scope_spawn(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    Scope *s = (Scope *)self;
    PyTaskletObject *caller_t = caller();
    if (caller_t == NULL || s->results == NULL || nargs != 3) {
        if (caller_t != NULL) {
            PyErr_SetString(PyExc_RuntimeError, "nothing can be spawned in that scope");
        }
        return NULL;
    }
    PyObject *type = (PyObject *)sched_of(caller_t)->mod->tasklet_type;
    PyObject *results = Py_NewRef(s->results);
    PyObject *context = PyContext_CopyCurrent();
    PyObject *op = context != NULL ? PyObject_Vectorcall(type, args, 3, NULL) : NULL;
    Py_ssize_t index = PyList_GET_SIZE(results);
    if (op == NULL || PyList_Append(results, Py_None) < 0) {
        goto error;
    }
    PyTaskletObject *t = (PyTaskletObject *)op;
    if (set_innermost(t, s) < 0) {
        PyObject *exc = PyErr_GetRaisedException();
        if (PyList_SetSlice(results, index, index + 1, NULL) < 0) {
            PyErr_Clear();
        }
        PyErr_SetRaisedException(exc);
        goto error;
    }
    Py_DECREF(results);
    s->running++;
    extra_of(t)->spawned = 1;
    extra_of(t)->index = index;
    PyObject *old = *context_of(t);
    *context_of(t) = context;
    _PyStackless_QueueAppend(sched_of(t), t);
    Py_XDECREF(old);
    return op;
error:
    Py_DECREF(results);
    Py_XDECREF(context);
    Py_XDECREF(op);
    return NULL;
}

/* Is `exc` that with which s was cancelled? */
static int
is_own_cancelled(_PyStackless_Scheduler *sched, Scope *s, PyObject *exc)
{
    if ((PyObject *)Py_TYPE(exc) != sched->mod->cancelled_type) {
        return 0;
    }
    PyObject *scope = PyObject_GetAttrString(exc, "scope");
    if (scope == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(scope);
    return scope == (PyObject *)s;
}

/* A spawned one has ended: must the group know?  (It looks when the last one ends.) */
static int
concerns_group(_PyStackless_Scheduler *sched, Scope *s, PyObject *exc)
{
    return s->tells_all || s->running == 0
           || (exc != NULL && !is_own_cancelled(sched, s, exc));
}

/* The group could not be told.  Its host, if it waits, gets the exception that is set, and looks
   again. */
static void
raise_in_host(_PyStackless_Scheduler *sched, Scope *s)
{
    if (s->host == NULL || !tasklet_is_blocked(s->host)) {
        PyErr_FormatUnraisable("Exception ignored when a member of a group ended");
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *bomb = _PyBomb_FromException(sched->mod, exc);
    Py_DECREF(exc);
    if (bomb == NULL) {
        PyErr_FormatUnraisable("Exception ignored when a member of a group ended");
        return;
    }
    _PyStackless_ThrowPending(s->host, bomb);
}

PyObject *
_PyStackless_MemberEnded(_PyStackless_Scheduler *sched, PyTaskletObject *t, PyObject *value,
                         PyObject *exc)
{
    Scope *s = scope_of(t);
    int spawned = extra_of(t)->spawned;
    Py_ssize_t index = extra_of(t)->index;
    extra_of(t)->spawned = 0;
    extra_of(t)->scope = NULL;
    remove_from(s->members, t);
    if (!spawned) {
        Py_DECREF(s);
        return exc;
    }
    s->running--;
    if (exc == NULL && value != NULL && s->results != NULL
        && index < PyList_GET_SIZE(s->results)) {
        PyObject *old = PyList_GET_ITEM(s->results, index);
        PyList_SET_ITEM(s->results, index, Py_NewRef(value));
        Py_DECREF(old);                // None, if the program has not put something there
    }
    if (concerns_group(sched, s, exc)) {
        PyObject *res = PyObject_CallMethod((PyObject *)s, "_ended", "O",
                                            exc != NULL ? exc : Py_None);
        if (res == NULL) {
            raise_in_host(sched, s);
            Py_DECREF(s);
            return exc;
        }
        Py_DECREF(res);
    }
    Py_CLEAR(exc);                     // it is the group's affair
    Py_DECREF(s);
    return NULL;
}

/* --- cancelling --------------------------------------------------------------------- */

/* t waits, and may not: it is woken.  0, or -1 with an exception. */
static int
wake_member(PyTaskletObject *t)
{
    if (!tasklet_is_blocked(t) || sched_of(t)->tstate == NULL) {
        return 0;
    }
    PyObject *exc = _PyStackless_ScopeExpired(sched_of(t), t, _PyStackless_Now(sched_of(t)));
    if (exc == NULL) {
        return 0;                      // a shield
    }
    PyObject *bomb = _PyBomb_FromException(sched_of(t)->mod, exc);
    Py_DECREF(exc);
    if (bomb == NULL) {
        return -1;
    }
    _PyStackless_ThrowPending(t, bomb);
    return 0;
}

static int
wake_members(Scope *s)
{
    PyObject *members = PyDict_Values(s->members);
    PyObject *open = members != NULL ? PyDict_Values(s->open) : NULL;
    int err = open == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; err == 0 && i < PyList_GET_SIZE(members); i++) {
        err = wake_member((PyTaskletObject *)PyList_GET_ITEM(members, i));
    }
    for (Py_ssize_t i = 0; err == 0 && i < PyList_GET_SIZE(open); i++) {
        Scope *within = (Scope *)PyList_GET_ITEM(open, i);
        if (!within->shield) {
            err = Py_EnterRecursiveCall(" in nested scopes") ? -1 : 0;
            if (err == 0) {
                err = wake_members(within);
                Py_LeaveRecursiveCall();
            }
        }
    }
    Py_XDECREF(members);
    Py_XDECREF(open);
    return err;
}

PyDoc_STRVAR(scope_cancel_doc,
"cancel($self, /, reason=None)\n--\n\n"
"Whoever waits within the scope, or is about to, gets Cancelled(reason).\n\n"
"It can be called by anybody, more than once (which changes nothing), and before the scope\n"
"is entered.");

static PyObject *
scope_cancel(PyObject *self, PyObject *args, PyObject *kwds)
{
    static char *names[] = {"reason", NULL};
    Scope *s = (Scope *)self;
    PyObject *reason = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwds, "|O:cancel", names, &reason)) {
        return NULL;
    }
    if (!s->cancelled) {
        _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(_PyThreadState_GET());
        s->reason = Py_XNewRef(reason);
        set_cancelled(s, sched != NULL ? _PyStackless_Now(sched) : 0);
    }
    if (wake_members(s) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* --- the type ----------------------------------------------------------------------- */

static int
scope_init(PyObject *self, PyObject *args, PyObject *kwds)
{
    static char *names[] = {"seconds", "shield", "grace", NULL};
    Scope *s = (Scope *)self;
    PyObject *seconds = Py_None, *grace = Py_None;
    int shield = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwds, "|O$pO:scope", names, &seconds, &shield,
                                     &grace)) {
        return -1;
    }
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(_PyThreadState_GET());
    if (sched == NULL) {               // its making is the affair of a room above
        PyObject *module = _PyStackless_ModuleOfType(Py_TYPE(self));
        PyObject *t = PyObject_CallMethod(module, "getcurrent", NULL);
        if (t == NULL) {
            return -1;
        }
        Py_DECREF(t);
        sched = _PyStackless_PeekScheduler(_PyThreadState_GET());
    }
    if (s->entered) {
        PyErr_SetString(PyExc_RuntimeError, "a scope that has been entered cannot be made again");
        return -1;
    }
    PyTime_t deadline, end = 0, now = 0;
    if (_PyStackless_ParseTimeout(sched, "seconds", seconds, &deadline) < 0
        || (grace != Py_None && _PyStackless_AskClock(sched, &now) < 0)
        || _PyStackless_ParseTimeout(sched, "grace", grace, &end) < 0) {
        return -1;
    }
    s->deadline = deadline;
    int for_ever = grace != Py_None && end == 0;
    s->grace = for_ever ? STACKLESS_LONGEST_WAIT : end > now ? end - now : 0;
    s->shield = (uint8_t)shield;
    return 0;
}

static PyObject *
scope_new(PyTypeObject *type, PyObject *args, PyObject *kwds)
{
    Scope *s = (Scope *)type->tp_alloc(type, 0);
    if (s != NULL) {
        s->members = PyDict_New();
        s->open = s->members != NULL ? PyDict_New() : NULL;
        if (s->open == NULL) {
            Py_CLEAR(s);
        }
    }
    return (PyObject *)s;
}

static int
scope_traverse(PyObject *self, visitproc visit, void *arg)
{
    Scope *s = (Scope *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(s->parent);
    Py_VISIT(s->members);
    Py_VISIT(s->open);
    Py_VISIT(s->results);
    Py_VISIT(s->host);
    Py_VISIT(s->reason);
    return 0;
}

static int
scope_clear(PyObject *self)
{
    Scope *s = (Scope *)self;
    if (s->members != NULL) {
        PyDict_Clear(s->members);     // who is in it refers to it
    }
    if (s->open != NULL) {
        PyDict_Clear(s->open);
    }
    Py_CLEAR(s->host);
    Py_CLEAR(s->reason);
    Py_CLEAR(s->results);
    return 0;
}

static void
scope_dealloc(PyObject *self)
{
    Scope *s = (Scope *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(s->parent);
    Py_XDECREF(s->members);
    Py_XDECREF(s->open);
    Py_XDECREF(s->results);
    Py_XDECREF(s->host);
    Py_XDECREF(s->reason);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
scope_get_cancelled(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Scope *)self)->cancelled);
}

static PyObject *
scope_get_expired(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Scope *)self)->expired);
}

static PyObject *
scope_get_shield(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Scope *)self)->shield);
}

static PyObject *
scope_get_reason(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *reason = ((Scope *)self)->reason;
    return Py_NewRef(reason != NULL ? reason : Py_None);
}

static PyObject *
scope_get_tasklets(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject *members = PyDict_Values(((Scope *)self)->members);
    for (Py_ssize_t i = members != NULL ? PyList_GET_SIZE(members) : 0; --i >= 0; ) {
        if (scope_of((PyTaskletObject *)PyList_GET_ITEM(members, i)) != (Scope *)self
            && PyList_SetSlice(members, i, i + 1, NULL) < 0) {
            Py_CLEAR(members);
            break;
        }
    }
    return members;
}

static PyObject *
scope_get_count(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(((Scope *)self)->running);
}

static PyGetSetDef scope_getset[] = {
    {"cancelled", scope_get_cancelled, NULL,
     PyDoc_STR("It has been cancelled, or its time was over.")},
    {"expired", scope_get_expired, NULL, PyDoc_STR("Its time was over when somebody waited.")},
    {"shield", scope_get_shield, NULL,
     PyDoc_STR("What is around it does not cancel who is within.")},
    {"reason", scope_get_reason, NULL, PyDoc_STR("The argument of cancel(), or None.")},
    {"_running", scope_get_count, NULL, NULL},
    {"tasklets", scope_get_tasklets, NULL,
     PyDoc_STR("A list of the tasklets for which it is the innermost scope.")},
    {NULL}
};

static PyMethodDef scope_methods[] = {
    {"cancel", _PyCFunction_CAST(scope_cancel), METH_VARARGS | METH_KEYWORDS,
     scope_cancel_doc},
    {"_enter", scope_enter, METH_NOARGS, NULL},
    {"_exit", scope_exit, METH_NOARGS, NULL},
    {"_begin", scope_begin, METH_VARARGS, NULL},
    {"_spawn", _PyCFunction_CAST(scope_spawn), METH_FASTCALL, NULL},
    {NULL}
};

PyDoc_STRVAR(scope_doc,
"scope(seconds=None, *, shield=False, grace=None)\n--\n\n"
"What is cancelled together: the base of timeout, move_on_after and group.");

static PyType_Slot scope_slots[] = {
    {Py_tp_doc, (void *)scope_doc},
    {Py_tp_new, scope_new},
    {Py_tp_init, scope_init},
    {Py_tp_dealloc, scope_dealloc},
    {Py_tp_traverse, scope_traverse},
    {Py_tp_clear, scope_clear},
    {Py_tp_methods, scope_methods},
    {Py_tp_getset, scope_getset},
    {0, NULL}
};

PyType_Spec _PyStackless_ScopeSpec = {
    .name = "_stackless.scope",
    .basicsize = sizeof(Scope),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = scope_slots,
};
