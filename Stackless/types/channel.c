/* The type `channel`.

   - A channel has waiting senders or waiting receivers, never both; `balance` is the
     number of senders, or minus the number of receivers.
   - First come, first served.
   - The channel owns the tasklets blocked on it.  They do not own it: a channel that
     nobody else refers to is freed, which releases them (they are then paused).
   - An exact channel that nobody waits on refers to nothing, so the garbage collector
     does not see it.  A channel with waiters is shown to the collector by
     _PyStackless_CollectionStart(), which finds it in its scheduler's list `busy`.

   What a send or a receive does is in sched/sched.c. */

#include "Python.h"
#include "pycore_ceval.h"
#include "pycore_object.h"        // _PyObject_GC_TRACK()
#include "pycore_tuple.h"         // _PyTuple_FromArray()
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/switch/fast.h"

static PyChannelObject *
channel_cast(PyObject *op)
{
    return (PyChannelObject *)op;
}

/* Lets go of all waiting tasklets.  Runs Python code if that was the last reference. */
static void
channel_release_all(PyChannelObject *ch)
{
    while (ch->first != NULL) {
        PyTaskletObject *t = ch->first;
        _PyStackless_Unblock(t);
        Py_DECREF(t);
    }
}

/* --- life ---------------------------------------------------------------------- */

static PyObject *
channel_new(PyTypeObject *type, PyObject *args, PyObject *kwds)
{
    PyChannelObject *ch = (PyChannelObject *)type->tp_alloc(type, 0);
    if (ch == NULL) {
        return NULL;
    }
    ch->preference = -1;
    if (type == _PyStackless_StateOfType(type)->channel_type) {
        _PyObject_GC_UNTRACK(ch);
    }
    return (PyObject *)ch;
}

static PyObject *
channel_vectorcall(PyObject *type, PyObject *const *args, size_t nargsf,
                   PyObject *kwnames)
{
    return channel_new((PyTypeObject *)type, NULL, NULL);
}

static int
channel_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (PyTaskletObject *t = channel_cast(self)->first; t != NULL; t = t->next) {
        Py_VISIT(t);
    }
    return 0;
}

static int
channel_clear(PyObject *self)
{
    PyChannelObject *ch = channel_cast(self);
    ch->closing = 1;
    channel_release_all(ch);
    return 0;
}

/* The collector is not shown it any more. */
static void
leave_busy(PyChannelObject *ch)
{
    if (ch->busy_link != NULL) {
        *ch->busy_link = ch->busy_next;
        if (ch->busy_next != NULL) {
            ch->busy_next->busy_link = ch->busy_link;
        }
        ch->busy_next = NULL;
        ch->busy_link = NULL;
    }
}

/* Those who wait leave one after the other, and what the first ones own may look at the next
   ones, which are still blocked, but on nothing that can be seen. */
static void
channel_dealloc(PyObject *self)
{
    PyChannelObject *ch = channel_cast(self);
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    leave_busy(ch);
    Py_TRASHCAN_BEGIN(self, channel_dealloc)
    if (ch->weakreflist != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    if (ch->first != NULL) {
        PyObject *exc = PyErr_GetRaisedException();
        channel_clear(self);
        PyErr_SetRaisedException(exc);
    }
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

/* --- sending and receiving ----------------------------------------------------------- */

static Py_NO_INLINE PyObject *
channel_switching_call(PyChannelObject *ch, stackless_opcode code, PyObject *value,
                       void *fn, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    PyThreadState *tstate = _PyThreadState_GET();
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched == NULL) {
        sched = _PyStackless_GetScheduler(tstate, _PyStackless_ModuleOfType(Py_TYPE(ch)));
        if (sched == NULL) {
            Py_XDECREF(value);
            return NULL;
        }
    }
    PyTime_t deadline = 0;
    if (kwnames != NULL                // timeout=, the last argument
        && _PyStackless_ParseTimeout(sched, "timeout", args[nargs], &deadline) < 0) {
        Py_XDECREF(value);
        return NULL;
    }
    sched->call = (stackless_op){ .code = code, .target = Py_NewRef(ch), .value = value,
                                  .deadline = deadline };
    return _PyStackless_SwitchingCall(sched, fn, (PyObject *)ch, args, nargs, kwnames);
}

/* Is there another keyword argument than `timeout`? */
static int
has_other_keywords(PyObject *kwnames)
{
    return kwnames != NULL
           && (PyTuple_GET_SIZE(kwnames) != 1
               || !PyUnicode_EqualToUTF8(PyTuple_GET_ITEM(kwnames, 0), "timeout"));
}

PyDoc_STRVAR(channel_send_doc,
"send($self, value, /, *, timeout=None)\n--\n\n"
"Hand a value to the tasklet that has waited longest to receive, or wait for one.\n\n"
"A bomb is raised at the receiver instead.  Returns None.  RuntimeError if the tasklet\n"
"must not block (block_trap) or nobody could ever receive (deadlock), ValueError if it\n"
"would block on a closing channel.\n\n"
"timeout: how many seconds to wait at most (None or inf: no limit); then TimeoutError, and\n"
"nobody has got the value.  Whoever need not wait gets none, even with 0.  ValueError if it\n"
"is negative or nan.");

PyObject *
_PyChannel_SendMethod(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    if (nargs != 1 || has_other_keywords(kwnames)) {
        PyErr_Format(PyExc_TypeError, "send() takes exactly one argument (%zd given)",
                     nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0));
        return NULL;
    }
    PyChannelObject *ch = channel_cast(self);
    return channel_switching_call(ch, OP_SEND, Py_NewRef(args[0]), _PyChannel_SendMethod,
                                  args, nargs, kwnames);
}

PyDoc_STRVAR(channel_receive_doc,
"receive($self, /, *, timeout=None)\n--\n\n"
"Return the value of the tasklet that has waited longest to send, or wait for one.\n\n"
"An exception that was sent is raised here.  timeout and errors as those of send().");

PyObject *
_PyChannel_ReceiveMethod(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    if (nargs != 0 || has_other_keywords(kwnames)) {
        PyErr_Format(PyExc_TypeError, "receive() takes no arguments (%zd given)",
                     nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0));
        return NULL;
    }
    PyChannelObject *ch = channel_cast(self);
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(_PyThreadState_GET());
    if (ch->balance > 0 && kwnames == NULL && !ch->schedule_all && !ch->special && sched != NULL
        && sched->mod->channel_callback == NULL) {
        PyObject *value = fast_take(sched, ch);
        if (value != NULL) {
            return value;
        }
    }
    return channel_switching_call(ch, OP_RECEIVE, NULL, _PyChannel_ReceiveMethod, args,
                                  nargs, kwnames);
}

PyDoc_STRVAR(channel_send_exception_doc,
"send_exception($self, exc_class, /, *args)\n--\n\n"
"Raise exc_class(*args) at the receiver.  Otherwise like send().");

static PyObject *
channel_send_exception(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    stackless_modstate *mod = _PyStackless_StateOfType(Py_TYPE(self));
    if (kwnames != NULL) {
        PyErr_SetString(PyExc_TypeError, "send_exception() takes no keyword arguments");
        return NULL;
    }
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError,
                        "send_exception() takes at least 1 argument");
        return NULL;
    }
    if (!PyExceptionClass_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "channel.send_exception needs Exception or "
                        "string subclass as first parameter");
        return NULL;
    }
    PyObject *exc_args = _PyTuple_FromArray(args + 1, nargs - 1);
    if (exc_args == NULL) {
        return NULL;
    }
    PyObject *bomb = _PyBomb_FromThrow(mod, args[0], exc_args, NULL);
    Py_DECREF(exc_args);
    if (bomb == NULL) {
        return NULL;
    }
    return channel_switching_call(channel_cast(self), OP_SEND, bomb,
                                  channel_send_exception, args, nargs, kwnames);
}

PyDoc_STRVAR(channel_send_throw_doc,
"send_throw($self, exc, val=None, tb=None, /)\n--\n\n"
"Raise an exception at the receiver.  The arguments are those of tasklet.throw().");

static PyObject *
channel_send_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    if (kwnames != NULL) {
        PyErr_SetString(PyExc_TypeError, "send_throw() takes no keyword arguments");
        return NULL;
    }
    if (nargs < 1 || nargs > 3) {
        PyErr_Format(PyExc_TypeError,
                     "send_throw() takes from 1 to 3 arguments (%zd given)", nargs);
        return NULL;
    }
    PyObject *bomb = _PyBomb_FromThrow(_PyStackless_StateOfType(Py_TYPE(self)), args[0],
                                       nargs > 1 ? args[1] : NULL,
                                       nargs > 2 ? args[2] : NULL);
    if (bomb == NULL) {
        return NULL;
    }
    return channel_switching_call(channel_cast(self), OP_SEND, bomb,
                                  channel_send_throw, args, nargs, kwnames);
}

PyObject *
_PyChannel_IterNext(PyObject *self)
{
    PyChannelObject *ch = channel_cast(self);
    if (ch->closing && ch->balance <= 0) {
        _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(_PyThreadState_GET());
        if (sched != NULL) {
            sched->announced.frame = NULL;         // see _PyStackless_SwitchingCall()
        }
        return NULL;
    }
    return channel_switching_call(ch, OP_RECEIVE, NULL, _PyChannel_IterNext, NULL, 0,
                                  NULL);
}

PyDoc_STRVAR(channel_close_doc,
"close($self, /)\n--\n\n"
"Refuse operations that would block.  Those that wait already go on waiting.");

static PyObject *
channel_close(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    channel_cast(self)->closing = 1;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(channel_open_doc,
"open($self, /)\n--\n\n"
"Undo close().");

static PyObject *
channel_open(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    channel_cast(self)->closing = 0;
    Py_RETURN_NONE;
}

/* In Python, so that a generator that feeds it may switch softly. */
static const char send_sequence_source[] =
    "def send_sequence(self, iterable, /, *, timeout=None):\n"
    "    'Send each item of an iterable, waiting `timeout` seconds at most for each of them; '\\\n"
    "    'return how many there were.'\n"
    "    count = 0\n"
    "    if timeout is not None:\n"
    "        for item in iterable:\n"
    "            send(self, item, timeout=timeout)\n"
    "            count += 1\n"
    "        return count\n"
    "    for item in iterable:\n"
    "        send(self, item)\n"
    "        count += 1\n"
    "    return count\n"
    "send_sequence.__qualname__ = 'channel.send_sequence'\n";

/* --- attributes -------------------------------------------------------------------------- */

static PyObject *
channel_get_balance(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(channel_cast(self)->balance);
}

static PyObject *
channel_get_queue(PyObject *self, void *Py_UNUSED(closure))
{
    PyTaskletObject *t = _PyStackless_WaiterOf(channel_cast(self)->first);
    return Py_NewRef(t ? (PyObject *)t : Py_None);
}

static PyObject *
channel_get_closing(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(channel_cast(self)->closing);
}

static PyObject *
channel_get_closed(PyObject *self, void *Py_UNUSED(closure))
{
    PyChannelObject *ch = channel_cast(self);
    return PyBool_FromLong(ch->closing && ch->balance == 0);
}

static PyObject *
channel_get_preference(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(channel_cast(self)->preference);
}

/* The sign of an int of any size.  -2: not an int, TypeError with `message`. */
static int
sign_of_int(PyObject *value, const char *message)
{
    if (value == NULL || !PyLong_Check(value)) {
        PyErr_SetString(PyExc_TypeError, message);
        return -2;
    }
    int overflow;
    long n = PyLong_AsLongAndOverflow(value, &overflow);
    return overflow ? overflow : (n > 0) - (n < 0);
}

static int
channel_set_preference(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    int sign = sign_of_int(value, "preference must be set to an integer");
    if (sign == -2) {
        return -1;
    }
    channel_cast(self)->preference = (signed char)sign;
    return 0;
}

static PyObject *
channel_get_schedule_all(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(channel_cast(self)->schedule_all);
}

static int
channel_set_schedule_all(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    int sign = sign_of_int(value, "preference must be set to a bool or integer");
    if (sign == -2) {
        return -1;
    }
    channel_cast(self)->schedule_all = sign != 0;
    return 0;
}

static PyGetSetDef channel_getset[] = {
    {"balance", channel_get_balance, NULL,
     PyDoc_STR("Number of waiting senders, or minus the number of waiting receivers.")},
    {"queue", channel_get_queue, NULL,
     PyDoc_STR("The tasklet that has waited longest, or None; go on with its next.")},
    {"closing", channel_get_closing, NULL, PyDoc_STR("close() has been called.")},
    {"closed", channel_get_closed, NULL, PyDoc_STR("Closing, and nobody waits.")},
    {"preference", channel_get_preference, channel_set_preference,
     PyDoc_STR("Who runs after a transfer: -1 the receiver, 1 the sender, 0 the caller.")},
    {"schedule_all", channel_get_schedule_all, channel_set_schedule_all,
     PyDoc_STR("1: after each transfer the next tasklet of the queue runs.")},
    {NULL}
};

#define SWITCHING(NAME) _PyCFunction_CAST(NAME), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef channel_methods[] = {
    {"send", SWITCHING(_PyChannel_SendMethod), channel_send_doc},
    {"receive", SWITCHING(_PyChannel_ReceiveMethod), channel_receive_doc},
    {"send_exception", SWITCHING(channel_send_exception), channel_send_exception_doc},
    {"send_throw", SWITCHING(channel_send_throw), channel_send_throw_doc},
    {"close", channel_close, METH_NOARGS, channel_close_doc},
    {"open", channel_open, METH_NOARGS, channel_open_doc},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     PyDoc_STR("channel[int] says to type checkers what is sent through it.")},
    {NULL}
};

PyDoc_STRVAR(channel_doc,
"channel(*args, **kwargs)\n--\n\n"
"A meeting point of tasklets: a value goes from one that sends to one that receives,\n"
"and whoever comes first waits.  `for x in channel` receives until it is closed.");

static PyMemberDef channel_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(PyChannelObject, weakreflist),
     Py_READONLY},
    {NULL}
};

static PyType_Slot channel_slots[] = {
    {Py_tp_doc, (void *)channel_doc},
    {Py_tp_new, channel_new},
    {Py_tp_dealloc, channel_dealloc},
    {Py_tp_traverse, channel_traverse},
    {Py_tp_clear, channel_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, _PyChannel_IterNext},
    {Py_tp_methods, channel_methods},
    {Py_tp_getset, channel_getset},
    {Py_tp_members, channel_members},
    {0, NULL}
};

PyType_Spec _PyChannel_Spec = {
    .name = "_stackless.channel",
    .basicsize = sizeof(PyChannelObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC
             | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = channel_slots,
};

int
_PyChannel_InitType(PyTypeObject *type)
{
    type->tp_vectorcall = channel_vectorcall;
    PyObject *send = PyDict_GetItemString(type->tp_dict, "send");
    PyObject *func = _PyStackless_HiddenFunction(send_sequence_source, "send_sequence",
                                                 "send", send);
    if (func == NULL) {
        return -1;
    }
    int err = PyDict_SetItemString(type->tp_dict, "send_sequence", func);
    Py_DECREF(func);
    PyType_Modified(type);
    return err;
}
