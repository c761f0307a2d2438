/* Waiting for one of several things: select(), and for the end of a tasklet: join(), result().

   The claim
   ---------
   Who selects is blocked on the channel of its first case like any other that waits there, and
   on the channel of each further case waits a *proxy* for it: an object that no program sees,
   with the fields of a tasklet, so that the queues need not know.  Whoever takes the tasklet
   off its channel (_PyStackless_Unblock(): a partner, the timer, an exception) takes all
   proxies away at once.  That is the claim: it comes before anything is transferred, and
   there can be only one.

   A channel has senders or receivers, never both, so one select() cannot wait for both at
   the same one.

   All that a select() takes is in its `selection`, which is made before anything is changed:
   no transfer needs memory.  It is let go of when the tasklet goes on.

   Who waits for the end of a tasklet receives from a channel in that one's side block.  What a
   tasklet returned, or raised, is kept if somebody ever waited for it: in the field `args` of
   the idle tasklet, an exception as a bomb. */

#include "Python.h"
#include "pycore_object.h"        // _PyObject_GC_UNTRACK()
#include "Stackless/sched/sched.h"

typedef struct {
    PyChannelObject *channel;     // strong; NULL: of `tasklet`, not made yet
    PyTaskletObject *tasklet;     // strong; NULL: not a join
    PyObject *value;              // strong: to be sent; NULL: to receive
    PyObject *index;              // strong
    PyTaskletObject *proxy;       // strong; NULL: of the first case
} selection_case;

struct _PyStackless_Selection {
    PyObject_VAR_HEAD
    PyObject *result;             // pair to be returned, to be filled; NULL: it has been
    PyObject *fallback;           // to be returned rather than to wait, or NULL
    int live;                     // its proxies wait
    selection_case cases[1];
};

typedef _PyStackless_Selection Selection;

/* --- proxies ------------------------------------------------------------------------ */

static int
is_proxy(const PyTaskletObject *t)
{
    return Py_IS_TYPE(t, sched_of(t)->mod->proxy_type);
}

PyTaskletObject *
_PyStackless_WaiterOf(PyTaskletObject *t)
{
    return t != NULL && is_proxy(t) && t->func != NULL ? (PyTaskletObject *)t->func : t;
}

static int
proxy_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((PyTaskletObject *)self)->func);
    Py_VISIT(((PyTaskletObject *)self)->tempval);
    Py_VISIT(((PyTaskletObject *)self)->context);
    return 0;
}

static void
proxy_dealloc(PyObject *self)
{
    PyTaskletObject *p = (PyTaskletObject *)self;
    PyTypeObject *type = Py_TYPE(self);
    assert(p->state == TASKLET_IDLE && p->next == NULL);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(p->func);
    Py_XDECREF(p->tempval);
    Py_XDECREF(p->context);
    _PyStackless_ReleaseScheduler(sched_of(p));
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot proxy_slots[] = {
    {Py_tp_dealloc, proxy_dealloc},
    {Py_tp_traverse, proxy_traverse},
    {0, NULL}
};

PyType_Spec _PyStackless_ProxySpec = {
    .name = "_stackless.select_case",
    .basicsize = sizeof(PyTaskletObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = proxy_slots,
};

static PyTaskletObject *
new_proxy(_PyStackless_Scheduler *sched)
{
    PyTypeObject *type = sched->mod->proxy_type;
    PyTaskletObject *p = (PyTaskletObject *)type->tp_alloc(type, 0);
    if (p != NULL) {
        _PyStackless_Adopt(sched, p);
    }
    return p;
}

static void
link_proxy(_PyStackless_Scheduler *sched, PyTaskletObject *owner, selection_case *c)
{
    PyTaskletObject *p = c->proxy;
    p->func = Py_NewRef(owner);
    p->tempval = Py_XNewRef(c->value);
    p->context = Py_NewRef(c->index);
    p->state = c->value != NULL ? TASKLET_SENDING : TASKLET_RECEIVING;
    c->channel->special |= CHANNEL_TIMED;
    _PyChannel_Append(sched, c->channel, (PyTaskletObject *)Py_NewRef(p));
}

/* The channel's reference to it goes to the caller. */
static void
unlink_proxy(PyTaskletObject *p)
{
    PyChannelObject *ch = p->channel;
    _PyChannel_Unlink(sched_of(p), p);
    p->state = TASKLET_IDLE;
    if (ch->first == NULL) {
        ch->special &= ~CHANNEL_TIMED;
    }
}

int
_PyStackless_UnblockProxy(PyTaskletObject *t)
{
    if (!is_proxy(t)) {
        return 0;
    }
    unlink_proxy(t);
    PyObject *owner = t->func;         // the channel is being freed: its waiters go
    t->func = NULL;
    Py_XDECREF(owner);
    return 1;
}

/* --- selections --------------------------------------------------------------------- */

static int
selection_traverse(PyObject *self, visitproc visit, void *arg)
{
    Selection *s = (Selection *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(s->result);
    Py_VISIT(s->fallback);
    for (Py_ssize_t i = 0; i < Py_SIZE(s); i++) {
        selection_case *c = &s->cases[i];
        Py_VISIT(c->channel);
        Py_VISIT(c->tasklet);
        Py_VISIT(c->value);
        Py_VISIT(c->proxy);
    }
    return 0;
}

static void
selection_dealloc(PyObject *self)
{
    Selection *s = (Selection *)self;
    PyTypeObject *type = Py_TYPE(self);
    assert(!s->live);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(s->result);
    Py_XDECREF(s->fallback);
    for (Py_ssize_t i = 0; i < Py_SIZE(s); i++) {
        selection_case *c = &s->cases[i];
        Py_XDECREF(c->proxy);
        Py_XDECREF(c->channel);
        Py_XDECREF(c->tasklet);
        Py_XDECREF(c->value);
        Py_XDECREF(c->index);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot selection_slots[] = {
    {Py_tp_dealloc, selection_dealloc},
    {Py_tp_traverse, selection_traverse},
    {0, NULL}
};

PyType_Spec _PyStackless_SelectionSpec = {
    .name = "_stackless.selection",
    .basicsize = offsetof(Selection, cases),
    .itemsize = sizeof(selection_case),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = selection_slots,
};

static int
parse_case(stackless_modstate *mod, PyObject *arg, Py_ssize_t i, selection_case *c)
{
    PyObject *ch = arg;
    if (PyTuple_CheckExact(arg) && PyTuple_GET_SIZE(arg) == 2) {
        ch = PyTuple_GET_ITEM(arg, 0);
        c->value = Py_NewRef(PyTuple_GET_ITEM(arg, 1));
    }
    if (PyObject_TypeCheck(ch, mod->channel_type)) {
        c->channel = (PyChannelObject *)Py_NewRef(ch);
    }
    else if (ch == arg && PyObject_TypeCheck(ch, mod->tasklet_type)) {
        c->tasklet = (PyTaskletObject *)Py_NewRef(ch);
        if (_PyStackless_CheckJoin(c->tasklet) < 0) {
            return -1;
        }
    }
    else {
        PyErr_Format(PyExc_TypeError, "case %zd of select() must be a channel, a pair of a "
                     "channel and a value to send, or a tasklet, not %R", i, arg);
        return -1;
    }
    c->index = PyLong_FromSsize_t(i);
    return c->index == NULL ? -1 : 0;
}

/* Does one case send to a channel from which another one receives? */
static int
check_directions(Selection *s)
{
    for (Py_ssize_t i = 0; i < Py_SIZE(s); i++) {
        for (Py_ssize_t k = 0; s->cases[i].value != NULL && k < Py_SIZE(s); k++) {
            if (s->cases[k].channel == s->cases[i].channel && s->cases[k].value == NULL) {
                PyErr_Format(PyExc_ValueError, "cases %zd and %zd of select() receive from and "
                             "send to the same channel: nobody could tell which one waits",
                             Py_MIN(i, k), Py_MAX(i, k));
                return -1;
            }
        }
    }
    return 0;
}

PyObject *
_PyStackless_NewSelection(stackless_modstate *mod, PyObject *const *args, Py_ssize_t n,
                          PyObject *fallback)
{
    if (n == 0) {
        PyErr_SetString(PyExc_ValueError, "select() takes at least one case");
        return NULL;
    }
    Selection *s = (Selection *)mod->selection_type->tp_alloc(mod->selection_type, n);
    if (s == NULL) {
        return NULL;
    }
    s->fallback = Py_XNewRef(fallback);
    s->result = PyTuple_Pack(2, Py_None, Py_None);
    int err = s->result == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; i < n && err == 0; i++) {
        err = parse_case(mod, args[i], i, &s->cases[i]);
    }
    if (err < 0 || check_directions(s) < 0) {
        Py_DECREF(s);
        return NULL;
    }
    return (PyObject *)s;
}

/* The pair that select() returns: `index`, and `value` (stolen).  Or a bomb: that alone. */
static PyObject *
fill_result(stackless_modstate *mod, Selection *s, PyObject *index, PyObject *value)
{
    if (Py_IS_TYPE(value, mod->bomb_type)) {
        return value;
    }
    PyObject *result = s->result;
    s->result = NULL;
    PyTuple_SET_ITEM(result, 0, Py_NewRef(index));         // instead of None, twice
    PyTuple_SET_ITEM(result, 1, value);
    return result;
}

PyObject *
_PyStackless_FillSelection(stackless_modstate *mod, PyObject *selection, Py_ssize_t i,
                           PyObject *value)
{
    Selection *s = (Selection *)selection;
    return fill_result(mod, s, s->cases[i].index, value);
}

PyObject *
_PyStackless_SelectionDefault(PyObject *selection)
{
    Selection *s = (Selection *)selection;
    if (s->fallback == NULL) {
        return NULL;
    }
    PyObject *result = s->result;
    s->result = NULL;
    PyTuple_SET_ITEM(result, 1, Py_NewRef(s->fallback));   // instead of None
    return result;
}

/* --- what is ready ------------------------------------------------------------------ */

static int
is_ready(const selection_case *c)
{
    if (c->tasklet != NULL) {
        return !_PyTasklet_IsAlive(c->tasklet);
    }
    return c->value != NULL ? c->channel->balance < 0 : c->channel->balance > 0;
}

/* xorshift: a program makes the same choices each time. */
static Py_ssize_t
first_to_look_at(_PyStackless_Scheduler *sched, Py_ssize_t n)
{
    uint32_t x = sched->select_seed != 0 ? sched->select_seed : 2463534242u;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    sched->select_seed = x;
    return (Py_ssize_t)(x % (size_t)n);
}

Py_ssize_t
_PyStackless_ReadyCase(_PyStackless_Scheduler *sched, PyObject *selection, int biased,
                       stackless_op *op)
{
    Selection *s = (Selection *)selection;
    Py_ssize_t n = Py_SIZE(s);
    for (Py_ssize_t i = 0; i < n; i++) {
        selection_case *c = &s->cases[i];
        if (c->channel != NULL && c->tasklet == NULL && c->channel->closing && !is_ready(c)) {
            PyErr_Format(PyExc_ValueError, "case %zd of select() is an operation on a closed "
                         "channel", i);
            return -2;
        }
    }
    Py_ssize_t start = biased || n == 1 ? 0 : first_to_look_at(sched, n);
    for (Py_ssize_t k = 0; k < n; k++) {
        Py_ssize_t i = start + k < n ? start + k : start + k - n;
        if (is_ready(&s->cases[i])) {
            op->code = s->cases[i].value != NULL ? OP_SEND : OP_RECEIVE;
            op->target = s->cases[i].tasklet != NULL ? NULL : (PyObject *)s->cases[i].channel;
            op->value = s->cases[i].value;
            return i;
        }
    }
    return -1;
}

int
_PyStackless_PrepareSelect(_PyStackless_Scheduler *sched, PyObject *selection, stackless_op *op)
{
    Selection *s = (Selection *)selection;
    for (Py_ssize_t i = 0; i < Py_SIZE(s); i++) {
        selection_case *c = &s->cases[i];
        if (c->tasklet != NULL && c->channel == NULL) {
            PyChannelObject *ch = _PyStackless_DoneChannel(c->tasklet);
            if (ch == NULL) {
                return -1;
            }
            c->channel = (PyChannelObject *)Py_NewRef(ch);
        }
        if (i > 0 && c->proxy == NULL && (c->proxy = new_proxy(sched)) == NULL) {
            return -1;
        }
    }
    op->target = (PyObject *)s->cases[0].channel;
    op->value = s->cases[0].value;
    return 0;
}

void
_PyStackless_StartSelect(_PyStackless_Scheduler *sched, PyTaskletObject *t, PyObject *selection)
{
    Selection *s = (Selection *)selection;
    assert(tasklet_is_blocked(t) && !s->live);
    Selection *old = extra_of(t)->select;
    extra_of(t)->select = (Selection *)Py_NewRef(s);
    _PyStackless_Discard(sched, (PyObject *)old);
    s->live = 1;
    t->channel->special |= CHANNEL_TIMED;
    for (Py_ssize_t i = 1; i < Py_SIZE(s); i++) {
        link_proxy(sched, t, &s->cases[i]);
    }
}

void
_PyStackless_StopSelect(PyTaskletObject *t)
{
    Selection *s = extra_of(t)->select;
    s->live = 0;
    for (Py_ssize_t i = 1; i < Py_SIZE(s); i++) {
        PyTaskletObject *p = s->cases[i].proxy;
        if (p->state != TASKLET_IDLE) {
            unlink_proxy(p);
            Py_DECREF(p);              // the channel's: the selection has one
        }
        PyObject *value = p->tempval;
        p->tempval = NULL;
        Py_XDECREF(value);             // the case has it, too
        Py_CLEAR(p->context);          // an int
        PyObject *owner = p->func;
        p->func = NULL;
        assert(owner == NULL || Py_REFCNT(owner) > 1);
        Py_XDECREF(owner);
    }
}

int
_PyStackless_IsSelecting(const PyTaskletObject *t)
{
    return extra_of(t) != NULL && extra_of(t)->select != NULL && extra_of(t)->select->live;
}

PyTaskletObject *
_PyStackless_Claim(_PyStackless_Scheduler *sched, PyTaskletObject *first, PyObject *value,
                   PyObject **sent)
{
    PyTaskletObject *t = _PyStackless_WaiterOf(first);
    Selection *s = _PyStackless_IsSelecting(t) ? extra_of(t)->select : NULL;
    PyObject *result = Py_XNewRef(value);
    if (value == NULL) {
        *sent = first->tempval != NULL ? first->tempval : Py_None;
        first->tempval = NULL;
    }
    if (s != NULL) {
        PyObject *index = first == t ? s->cases[0].index : first->context;
        result = fill_result(sched->mod, s, index, result != NULL ? result : Py_None);
    }
    _PyStackless_Unblock(t);
    _PyStackless_SetPending(sched, t, result);
    return t;
}

/* --- the end of a tasklet ----------------------------------------------------------- */

int
_PyStackless_CheckJoin(PyTaskletObject *t)
{
    const char *message = NULL;
    if (t->state == TASKLET_CURRENT && sched_of(t)->tstate == _PyThreadState_GET()) {
        message = "a tasklet cannot wait for its own end";
    }
    else if (tasklet_is_main(t)) {
        message = "a main tasklet does not end: nobody can wait for that";
    }
    else if (_PyGreenlet_IsTasklet(t)) {
        message = "nobody can wait for the end of a greenlet's tasklet";
    }
    if (message != NULL) {
        PyErr_SetString(PyExc_RuntimeError, message);
        return -1;
    }
    return 0;
}

PyChannelObject *
_PyStackless_DoneChannel(PyTaskletObject *t)
{
    if (_PyStackless_EnsureExtra(t) < 0) {
        return NULL;
    }
    if (extra_of(t)->done == NULL) {
        extra_of(t)->done = _PyStackless_HiddenChannel(sched_of(t)->mod);
    }
    return extra_of(t)->done;
}

/* Does anybody want the result? */
static int
has_result_waiters(PyChannelObject *ch)
{
    for (PyTaskletObject *t = ch->first; t != NULL; t = t->next) {
        if (!(t->flags & TASKLET_RETURNS_NONE) && !is_proxy(t) && !_PyStackless_IsSelecting(t)) {
            return 1;
        }
    }
    return 0;
}

/* A tasklet that was killed: whoever asks is told so, and not killed, too. */
static PyObject *
exception_for_waiters(PyObject *exc)
{
    if (!PyErr_GivenExceptionMatches(exc, PyExc_TaskletExit)) {
        return Py_NewRef(exc);
    }
    PyErr_SetString(PyExc_RuntimeError, "the tasklet was killed: it has no result");
    return PyErr_GetRaisedException();
}

/* Not one of an ended thread. */
static PyTaskletObject *
first_that_can_be_woken(PyChannelObject *ch)
{
    PyTaskletObject *first = ch->first;
    while (first != NULL) {
        PyTaskletObject *t = _PyStackless_WaiterOf(first);
        if (!_PyStackless_IsBeingFreed(t) && sched_of(t)->tstate != NULL) {
            break;
        }
        first = first->next;
    }
    return first;
}

/* `value` or `exc` is what a result() gets. */
static void
wake_waiters(_PyStackless_Scheduler *sched, PyChannelObject *ch, PyObject *value, PyObject *exc)
{
    PyTaskletObject *first;
    while ((first = first_that_can_be_woken(ch)) != NULL) {
        PyTaskletObject *t = _PyStackless_WaiterOf(first);
        int wants = !(t->flags & TASKLET_RETURNS_NONE) && !_PyStackless_IsSelecting(t);
        PyObject *none;
        t = _PyStackless_Claim(sched, first, wants && value ? value : Py_None, &none);
        if (wants && exc != NULL) {
            _PyStackless_SetPending(sched, t, Py_NewRef(exc));
            t->flags |= TASKLET_RAISES;
        }
        _PyStackless_QueueAppend(sched_of(t), t);
        Py_DECREF(t);                  // the channel's
    }
}

PyObject *
_PyStackless_TellJoiners(_PyStackless_Scheduler *sched, PyTaskletObject *t, PyObject *value,
                         PyObject **exc)
{
    PyChannelObject *ch = extra_of(t)->done;
    PyObject *raised = *exc != NULL ? exception_for_waiters(*exc) : NULL;
    PyObject *kept = Py_XNewRef(value);
    if (raised != NULL) {
        kept = _PyBomb_FromException(sched->mod, raised);
        if (kept == NULL) {
            PyErr_Clear();             // no memory: nobody can ask later
        }
        if (raised == *exc && has_result_waiters(ch)) {
            Py_CLEAR(*exc);            // `raised` is one more reference
        }
    }
    wake_waiters(sched, ch, value, raised);
    _PyStackless_Discard(sched, raised);
    return kept;
}

void
_PyStackless_TellDropped(PyTaskletObject *t)
{
    tasklet_extra *extra = extra_of(t);
    if (extra == NULL || extra->done == NULL || extra->done->first == NULL) {
        return;
    }
    PyObject *saved = PyErr_GetRaisedException();
    PyErr_SetString(PyExc_RuntimeError, "the tasklet was dropped before it had a result");
    PyObject *exc = PyErr_GetRaisedException();
    wake_waiters(sched_of(t), extra->done, NULL, exc);
    Py_DECREF(exc);
    PyErr_SetRaisedException(saved);
}
