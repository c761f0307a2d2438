/* The type `bomb`, an exception under way: as a tasklet's tempval or as a value sent
   through a channel it is raised where it arrives.  Also what throw() takes. */

#include "Python.h"
#include "pycore_object.h"
#include "Stackless/state/state.h"

typedef struct {
    PyObject_HEAD
    PyObject *type;               // exception class or instance's class, or NULL
    PyObject *value;              // instance, or what the class is to be called with
    PyObject *traceback;
} PyBombObject;

static PyBombObject *
bomb_cast(PyObject *op)
{
    return (PyBombObject *)op;
}

static PyObject *
bomb_make(PyTypeObject *bomb_type, PyObject *type, PyObject *value, PyObject *tb)
{
    PyBombObject *bomb = (PyBombObject *)bomb_type->tp_alloc(bomb_type, 0);
    if (bomb != NULL) {
        bomb->type = Py_XNewRef(type);
        bomb->value = Py_XNewRef(value);
        bomb->traceback = Py_XNewRef(tb);
    }
    return (PyObject *)bomb;
}

PyObject *
_PyBomb_FromException(stackless_modstate *mod, PyObject *exc)
{
    PyObject *tb = PyException_GetTraceback(exc);
    PyObject *bomb = bomb_make(mod->bomb_type, (PyObject *)Py_TYPE(exc), exc, tb);
    Py_XDECREF(tb);
    return bomb;
}

PyObject *
_PyBomb_FromThrow(stackless_modstate *mod, PyObject *exc, PyObject *val, PyObject *tb)
{
    if (tb == Py_None) {
        tb = NULL;
    }
    if (tb != NULL && !PyTraceBack_Check(tb)) {
        PyErr_SetString(PyExc_TypeError,
                        "third argument must be a traceback object");
        return NULL;
    }
    if (val == Py_None) {
        val = NULL;
    }
    if (PyExceptionClass_Check(exc)) {
        int is_instance = val == NULL ? 0 : PyObject_IsInstance(val, exc);
        if (is_instance < 0) {
            return NULL;
        }
        if (is_instance && PyExceptionInstance_Check(val)) {
            exc = (PyObject *)Py_TYPE(val);
        }
        return bomb_make(mod->bomb_type, exc, val, tb);
    }
    if (!PyExceptionInstance_Check(exc)) {
        PyErr_Format(PyExc_TypeError,
                     "exceptions must be classes, or instances, not %s",
                     Py_TYPE(exc)->tp_name);
        return NULL;
    }
    if (val != NULL) {
        PyErr_SetString(PyExc_TypeError,
                        "instance exception may not have a separate value");
        return NULL;
    }
    return bomb_make(mod->bomb_type, (PyObject *)Py_TYPE(exc), exc, tb);
}

void
_PyBomb_Explode(PyObject *op)
{
    PyBombObject *bomb = bomb_cast(op);
    if (bomb->type == NULL || !PyExceptionClass_Check(bomb->type)) {
        PyErr_Format(PyExc_TypeError,
                     "a bomb must hold an exception to be raised, not %s",
                     bomb->type ? Py_TYPE(bomb->type)->tp_name : "nothing");
        return;
    }
    PyErr_Restore(Py_NewRef(bomb->type), Py_XNewRef(bomb->value),
                  Py_XNewRef(bomb->traceback));
    /* What is being handled there becomes its __context__, as in a generator's throw(). */
    PyObject *exc = PyErr_GetRaisedException();
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    Py_DECREF(exc);
}

int
_PyBomb_Matches(PyObject *op, PyObject *exc_type)
{
    PyObject *type = bomb_cast(op)->type;
    return type != NULL && PyErr_GivenExceptionMatches(type, exc_type);
}

/* --- the type --------------------------------------------------------------- */

/* bomb(type=None, value=None, traceback=None), or the three as one tuple */
static PyObject *
bomb_new(PyTypeObject *type, PyObject *args, PyObject *kwds)
{
    static char *names[] = {"type", "value", "traceback", NULL};
    PyObject *exc = Py_None, *value = Py_None, *tb = Py_None;
    if (PyTuple_GET_SIZE(args) == 1 && PyTuple_Check(PyTuple_GET_ITEM(args, 0))) {
        args = PyTuple_GET_ITEM(args, 0);
    }
    if (!PyArg_ParseTupleAndKeywords(args, kwds, "|OOO:bomb", names, &exc, &value, &tb)) {
        return NULL;
    }
    if (tb != Py_None && !PyTraceBack_Check(tb)) {
        PyErr_Format(PyExc_TypeError,
                     "bomb() argument 'traceback' must be a traceback or None, not %s",
                     Py_TYPE(tb)->tp_name);
        return NULL;
    }
    if (PyExceptionInstance_Check(exc) && value == Py_None) {
        value = exc;
        exc = (PyObject *)Py_TYPE(exc);
    }
    return bomb_make(type, exc == Py_None ? NULL : exc, value == Py_None ? NULL : value,
                     tb == Py_None ? NULL : tb);
}

static int
bomb_traverse(PyObject *self, visitproc visit, void *arg)
{
    PyBombObject *bomb = bomb_cast(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(bomb->type);
    Py_VISIT(bomb->value);
    Py_VISIT(bomb->traceback);
    return 0;
}

static int
bomb_clear(PyObject *self)
{
    PyBombObject *bomb = bomb_cast(self);
    Py_CLEAR(bomb->type);
    Py_CLEAR(bomb->value);
    Py_CLEAR(bomb->traceback);
    return 0;
}

static void
bomb_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, bomb_dealloc)          // chains of bombs can be long
    bomb_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static PyObject *
bomb_state(PyBombObject *bomb)
{
    return PyTuple_Pack(3, bomb->type ? bomb->type : Py_None,
                        bomb->value ? bomb->value : Py_None,
                        bomb->traceback ? bomb->traceback : Py_None);
}

static PyObject *
bomb_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *state = bomb_state(bomb_cast(self));
    return state ? Py_BuildValue("O()N", Py_TYPE(self), state) : NULL;
}

static PyObject *
bomb_setstate(PyObject *self, PyObject *state)
{
    PyObject *exc, *value, *tb;
    if (!PyTuple_Check(state)) {
        PyErr_Format(PyExc_TypeError, "bomb state must be a tuple of 3, not %s",
                     Py_TYPE(state)->tp_name);
        return NULL;
    }
    if (!PyArg_ParseTuple(state, "OOO:bomb", &exc, &value, &tb)) {
        return NULL;
    }
    PyBombObject *bomb = bomb_cast(self);
    Py_XSETREF(bomb->type, exc == Py_None ? NULL : Py_NewRef(exc));
    Py_XSETREF(bomb->value, value == Py_None ? NULL : Py_NewRef(value));
    Py_XSETREF(bomb->traceback, tb == Py_None ? NULL : Py_NewRef(tb));
    Py_RETURN_NONE;
}

static PyMethodDef bomb_methods[] = {
    {"__reduce__", bomb_reduce, METH_NOARGS, NULL},
    {"__setstate__", bomb_setstate, METH_O, NULL},
    {NULL}
};

static PyMemberDef bomb_members[] = {
    {"type", _Py_T_OBJECT, offsetof(PyBombObject, type), Py_READONLY},
    {"value", _Py_T_OBJECT, offsetof(PyBombObject, value), Py_READONLY},
    {"traceback", _Py_T_OBJECT, offsetof(PyBombObject, traceback), Py_READONLY},
    {NULL}
};

PyDoc_STRVAR(bomb_doc,
"bomb(type=None, value=None, traceback=None)\n--\n\n"
"An exception under way.  As the tempval of a tasklet, or sent through a channel, it is\n"
"raised where it arrives.  The three may also be given as one tuple.");

static PyType_Slot bomb_slots[] = {
    {Py_tp_doc, (void *)bomb_doc},
    {Py_tp_new, bomb_new},
    {Py_tp_dealloc, bomb_dealloc},
    {Py_tp_traverse, bomb_traverse},
    {Py_tp_clear, bomb_clear},
    {Py_tp_methods, bomb_methods},
    {Py_tp_members, bomb_members},
    {0, NULL}
};

PyType_Spec _PyBomb_Spec = {
    .name = "_stackless.bomb",
    .basicsize = sizeof(PyBombObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = bomb_slots,
};
