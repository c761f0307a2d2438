/* PyChannel_...() */

#include "Python.h"
#include "Stackless/capi/capi.h"

PyChannelObject *
PyChannel_New(PyTypeObject *type)
{
    PyThreadState *tstate = STACKLESS_ENTER();
    stackless_modstate *mod = tstate != NULL ? _PyStackless_ApiState(tstate) : NULL;
    if (mod == NULL) {
        return NULL;
    }
    if (type == NULL) {
        type = mod->channel_type;
    }
    else if (!PyType_Check(type) || !PyType_IsSubtype(type, mod->channel_type)) {
        PyErr_SetString(PyExc_TypeError, "channel_new: type must be subtype of channel");
        return NULL;
    }
    return (PyChannelObject *)mod->channel_type->tp_new(type, NULL, NULL);
}

/* --- sending and receiving ------------------------------------------------------------- */

int
PyChannel_Send(PyChannelObject *ch, PyObject *value)
{
    PyThreadState *tstate = STACKLESS_ENTER_CHANNEL(ch);
    if (tstate == NULL) {
        return -1;
    }
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "PyChannel_Send() value must be an object, not NULL");
        return -1;
    }
    return _PyStackless_ApiStatus(_PyStackless_ApiCall(tstate, OP_SEND, ch, Py_NewRef(value)));
}

PyObject *
PyChannel_Receive(PyChannelObject *ch)
{
    PyThreadState *tstate = STACKLESS_ENTER_CHANNEL(ch);
    return tstate == NULL ? NULL : _PyStackless_ApiCall(tstate, OP_RECEIVE, ch, NULL);
}

int
PyChannel_SendException(PyChannelObject *ch, PyObject *klass, PyObject *value)
{
    PyThreadState *tstate = STACKLESS_ENTER_CHANNEL(ch);
    PyObject *bomb = tstate == NULL ? NULL : _PyStackless_ApiBomb(tstate, __func__, klass, value);
    return bomb == NULL ? -1 : _PyStackless_ApiStatus(
        _PyStackless_ApiCall(tstate, OP_SEND, ch, bomb));
}

int
PyChannel_SendThrow(PyChannelObject *ch, PyObject *exc, PyObject *val, PyObject *tb)
{
    PyThreadState *tstate = STACKLESS_ENTER_CHANNEL(ch);
    if (tstate == NULL) {
        return -1;
    }
    if (exc == NULL) {
        PyErr_SetString(PyExc_TypeError, "PyChannel_SendThrow() needs an exception, not NULL");
        return -1;
    }
    PyObject *bomb = _PyBomb_FromThrow(_PyStackless_StateOfType(Py_TYPE(ch)), exc, val, tb);
    return bomb == NULL ? -1 : _PyStackless_ApiStatus(
        _PyStackless_ApiCall(tstate, OP_SEND, ch, bomb));
}

/* --- attributes ------------------------------------------------------------------------ */

PyObject *
PyChannel_GetQueue(PyChannelObject *ch)
{
    if (STACKLESS_ENTER_CHANNEL(ch) == NULL) {
        return NULL;
    }
    return Py_NewRef(ch->first != NULL ? (PyObject *)ch->first : Py_None);
}

static int
set_closing(const char *function, PyChannelObject *ch, int closing)
{
    if (_PyStackless_ApiChannel(function, ch) == NULL) {
        return -1;
    }
    ch->closing = (uint8_t)closing;
    return 0;
}

int
PyChannel_Close(PyChannelObject *ch)
{
    return set_closing(__func__, ch, 1);
}

int
PyChannel_Open(PyChannelObject *ch)
{
    return set_closing(__func__, ch, 0);
}

int
PyChannel_GetClosing(PyChannelObject *ch)
{
    return STACKLESS_ENTER_CHANNEL(ch) == NULL ? -1 : ch->closing;
}

int
PyChannel_GetClosed(PyChannelObject *ch)
{
    return STACKLESS_ENTER_CHANNEL(ch) == NULL ? -1 : ch->closing && ch->balance == 0;
}

int
PyChannel_GetPreference(PyChannelObject *ch)
{
    return STACKLESS_ENTER_CHANNEL(ch) == NULL ? -1 : ch->preference;
}

int
PyChannel_GetScheduleAll(PyChannelObject *ch)
{
    return STACKLESS_ENTER_CHANNEL(ch) == NULL ? -1 : ch->schedule_all;
}

int
PyChannel_GetBalance(PyChannelObject *ch)
{
    return STACKLESS_ENTER_CHANNEL(ch) == NULL ? -1 : ch->balance;
}

int
PyChannel_SetPreference(PyChannelObject *ch, int preference)
{
    if (STACKLESS_ENTER_CHANNEL(ch) == NULL) {
        return -1;
    }
    ch->preference = (signed char)((preference > 0) - (preference < 0));
    return 0;
}

int
PyChannel_SetScheduleAll(PyChannelObject *ch, int flag)
{
    if (STACKLESS_ENTER_CHANNEL(ch) == NULL) {
        return -1;
    }
    ch->schedule_all = flag != 0;
    return 0;
}
