/* PyTasklet_...() */

#include "Python.h"
#include "pycore_frame.h"         // _PyFrame_GetFrameObject()
#include "Stackless/capi/capi.h"

/* --- making and binding ---------------------------------------------------------------- */

PyTaskletObject *
PyTasklet_New(PyTypeObject *type, PyObject *func)
{
    PyThreadState *tstate = STACKLESS_ENTER();
    stackless_modstate *mod = tstate != NULL ? _PyStackless_ApiState(tstate) : NULL;
    if (mod == NULL) {
        return NULL;
    }
    if (type == NULL) {
        type = mod->tasklet_type;
    }
    else if (!PyType_Check(type) || !PyType_IsSubtype(type, mod->tasklet_type)) {
        PyErr_Format(PyExc_TypeError, "PyTasklet_New() type must be a subtype of tasklet, not %s",
                     PyType_Check(type) ? type->tp_name : Py_TYPE(type)->tp_name);
        return NULL;
    }
    PyObject *t = func == NULL || func == Py_None ? PyObject_CallNoArgs((PyObject *)type)
                                                  : PyObject_CallOneArg((PyObject *)type, func);
    if (t != NULL && !PyObject_TypeCheck(t, mod->tasklet_type)) {
        PyErr_Format(PyExc_TypeError, "%s.__new__() returned %s, which is no tasklet",
                     type->tp_name, Py_TYPE(t)->tp_name);
        Py_CLEAR(t);
    }
    return (PyTaskletObject *)t;
}

int
PyTasklet_Setup(PyTaskletObject *t, PyObject *args, PyObject *kwds)
{
    if (STACKLESS_ENTER_TASKLET(t) == NULL) {
        return -1;
    }
    if (args == NULL || !PyTuple_Check(args)) {
        PyErr_Format(PyExc_TypeError, "PyTasklet_Setup() args must be a tuple, not %s",
                     args == NULL ? "NULL" : Py_TYPE(args)->tp_name);
        return -1;
    }
    if (kwds != NULL && !PyDict_Check(kwds)) {
        PyErr_Format(PyExc_TypeError, "PyTasklet_Setup() kwds must be a dict or NULL, not %s",
                     Py_TYPE(kwds)->tp_name);
        return -1;
    }
    return _PyStackless_ApiStatus(PyObject_Call((PyObject *)t, args, kwds));
}

int
PyTasklet_BindEx(PyTaskletObject *t, PyObject *func, PyObject *args, PyObject *kwargs)
{
    return STACKLESS_ENTER_TASKLET(t) == NULL ? -1 : _PyTasklet_Bind(t, func, args, kwargs);
}

int
PyTasklet_BindThread(PyTaskletObject *t, unsigned long thread_id)
{
    if (STACKLESS_ENTER_TASKLET(t) == NULL) {
        return -1;
    }
    PyObject *id = thread_id == (unsigned long)-1 ? PyLong_FromLong(-1)
                                                  : PyLong_FromUnsignedLong(thread_id);
    PyObject *args = id != NULL ? PyTuple_Pack(1, id) : NULL;
    PyObject *result = args != NULL ? _PyTasklet_BindThread((PyObject *)t, args) : NULL;
    Py_XDECREF(id);
    Py_XDECREF(args);
    return _PyStackless_ApiStatus(result);
}

/* --- running --------------------------------------------------------------------------- */

int
PyTasklet_Run(PyTaskletObject *t)
{
    PyThreadState *tstate = STACKLESS_ENTER_TASKLET(t);
    return tstate == NULL ? -1 : _PyStackless_ApiStatus(
        _PyStackless_ApiCall(tstate, OP_RUN_TASKLET, t, NULL));
}

int
PyTasklet_Switch(PyTaskletObject *t)
{
    PyThreadState *tstate = STACKLESS_ENTER_TASKLET(t);
    return tstate == NULL ? -1 : _PyStackless_ApiStatus(
        _PyStackless_ApiCall(tstate, OP_SWITCH_TO, t, NULL));
}

int
PyTasklet_Remove(PyTaskletObject *t)
{
    return STACKLESS_ENTER_TASKLET(t) == NULL ? -1 : _PyStackless_ApiStatus(
        _PyTasklet_Remove((PyObject *)t, NULL));
}

int
PyTasklet_Insert(PyTaskletObject *t)
{
    return STACKLESS_ENTER_TASKLET(t) == NULL ? -1 : _PyStackless_ApiStatus(
        _PyTasklet_Insert((PyObject *)t, NULL));
}

/* --- exceptions ------------------------------------------------------------------------ */

int
PyTasklet_RaiseException(PyTaskletObject *t, PyObject *klass, PyObject *args)
{
    PyThreadState *tstate = STACKLESS_ENTER_TASKLET(t);
    PyObject *bomb = tstate == NULL ? NULL : _PyStackless_ApiBomb(tstate, __func__, klass, args);
    return bomb == NULL ? -1 : _PyStackless_ApiStatus(
        _PyTasklet_ThrowBomb(t, bomb, 0, NULL, NULL, 0, NULL));
}

int
PyTasklet_Throw(PyTaskletObject *t, int pending, PyObject *exc, PyObject *val, PyObject *tb)
{
    if (STACKLESS_ENTER_TASKLET(t) == NULL) {
        return -1;
    }
    if (exc == NULL) {
        PyErr_SetString(PyExc_TypeError, "PyTasklet_Throw() needs an exception, not NULL");
        return -1;
    }
    PyObject *bomb = _PyBomb_FromThrow(sched_of(t)->mod, exc, val, tb);
    return bomb == NULL ? -1 : _PyStackless_ApiStatus(
        _PyTasklet_ThrowBomb(t, bomb, pending != 0, NULL, NULL, 0, NULL));
}

int
PyTasklet_KillEx(PyTaskletObject *t, int pending)
{
    return STACKLESS_ENTER_TASKLET(t) == NULL ? -1 : _PyStackless_ApiStatus(
        _PyTasklet_Kill(t, pending != 0, NULL, NULL, 0, NULL));
}

int
PyTasklet_Kill(PyTaskletObject *t)
{
    return PyTasklet_KillEx(t, 0);
}

/* --- flags ----------------------------------------------------------------------------- */

static int
set_flag(const char *function, PyTaskletObject *t, int which, int flag)
{
    if (_PyStackless_ApiTasklet(function, t) == NULL) {
        return -1;
    }
    int old = (t->flags & which) != 0;
    t->flags = flag ? t->flags | which : t->flags & ~which;
    return old;
}

static int
get_flag(const char *function, PyTaskletObject *t, int which)
{
    return _PyStackless_ApiTasklet(function, t) == NULL ? -1 : (t->flags & which) != 0;
}

int
PyTasklet_SetAtomic(PyTaskletObject *t, int flag)
{
    return set_flag(__func__, t, TASKLET_ATOMIC, flag);
}

int
PyTasklet_SetIgnoreNesting(PyTaskletObject *t, int flag)
{
    return set_flag(__func__, t, TASKLET_IGNORE_NESTING, flag);
}

int
PyTasklet_SetBlockTrap(PyTaskletObject *t, int flag)
{
    return set_flag(__func__, t, TASKLET_BLOCK_TRAP, flag);
}

int
PyTasklet_GetAtomic(PyTaskletObject *t)
{
    return get_flag(__func__, t, TASKLET_ATOMIC);
}

int
PyTasklet_GetIgnoreNesting(PyTaskletObject *t)
{
    return get_flag(__func__, t, TASKLET_IGNORE_NESTING);
}

int
PyTasklet_GetBlockTrap(PyTaskletObject *t)
{
    return get_flag(__func__, t, TASKLET_BLOCK_TRAP);
}

/* --- attributes ------------------------------------------------------------------------ */

/* What the attribute says, which is a bool or a small int. */
static int
get_attribute(const char *function, PyTaskletObject *t, const char *name)
{
    if (_PyStackless_ApiTasklet(function, t) == NULL) {
        return -1;
    }
    PyGetSetDef *def = _PyTasklet_GetSet;
    while (strcmp(def->name, name) != 0) {
        def++;
    }
    PyObject *value = def->get((PyObject *)t, def->closure);
    int number = value != NULL ? PyLong_AsInt(value) : -1;
    Py_XDECREF(value);
    return number;
}

int
PyTasklet_IsMain(PyTaskletObject *t)
{
    return STACKLESS_ENTER_TASKLET(t) == NULL ? -1 : tasklet_is_main(t);
}

int
PyTasklet_IsCurrent(PyTaskletObject *t)
{
    return STACKLESS_ENTER_TASKLET(t) == NULL
           ? -1 : t->state == TASKLET_CURRENT && sched_of(t)->tstate != NULL;
}

int
PyTasklet_Alive(PyTaskletObject *t)
{
    return STACKLESS_ENTER_TASKLET(t) == NULL ? -1 : _PyTasklet_IsAlive(t);
}

int
PyTasklet_Paused(PyTaskletObject *t)
{
    return get_attribute(__func__, t, "paused");
}

int
PyTasklet_Scheduled(PyTaskletObject *t)
{
    return get_attribute(__func__, t, "scheduled");
}

int
PyTasklet_Restorable(PyTaskletObject *t)
{
    return get_attribute(__func__, t, "restorable");
}

int
PyTasklet_GetRecursionDepth(PyTaskletObject *t)
{
    return get_attribute(__func__, t, "recursion_depth");
}

int
PyTasklet_GetNestingLevel(PyTaskletObject *t)
{
    return get_attribute(__func__, t, "nesting_level");
}

int
PyTasklet_GetPendingIrq(PyTaskletObject *t)
{
    return STACKLESS_ENTER_TASKLET(t) == NULL
           ? -1 : t->state == TASKLET_CURRENT && sched_of(t)->divert_to != NULL;
}

int
PyTasklet_GetBlocked(PyTaskletObject *t)
{
    if (STACKLESS_ENTER_TASKLET(t) == NULL) {
        return -1;
    }
    return t->state == TASKLET_SENDING ? 1 : t->state == TASKLET_RECEIVING ? -1 : 0;
}

PyObject *
PyTasklet_GetFrame(PyTaskletObject *t)
{
    if (STACKLESS_ENTER_TASKLET(t) == NULL) {
        return NULL;
    }
    _PyInterpreterFrame *frame = _PyFrame_GetFirstComplete(_PyTasklet_TopFrame(t));
    return frame == NULL ? NULL : Py_XNewRef((PyObject *)_PyFrame_GetFrameObject(frame));
}
