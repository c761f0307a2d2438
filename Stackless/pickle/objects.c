/* What the room has for the module: methods of tasklets and channels, and for functions,
   generators, frames, tracebacks the two halves of making one, so that an object can refer to
   itself: first it is blank, then it gets its state.  The rest is Lib/stackless/_wrap.py. */

#include "Python.h"
#include "pycore_code.h"          // _PyCode_CODE()
#include "pycore_descrobject.h"
#include "pycore_dict.h"          // DICT_KEYS_GENERAL
#include "pycore_frame.h"         // _PyFrame_Initialize()
#include "pycore_function.h"
#include "pycore_ceval.h"         // _Py_MakeCoro()
#include "pycore_genobject.h"     // _PyGen_...
#include "pycore_interp.h"        // PyInterpreterState.imports
#include "pycore_object.h"        // _PyType_GetDict()
#include "pycore_opcode_utils.h"
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "pycore_typeobject.h"    // _PyType_GetDict()
#include "opcode_ids.h"
#include "Stackless/pickle/pickle.h"

static stackless_modstate *
calling_state(PyObject *module)
{
    return PyModule_GetState(module);
}

/* --- stand-ins -------------------------------------------------------------------- */

/* Stands for an object that is pickled in another way than picklers do it by themselves: the dict
   of a module, by the module's name; an exception, with its context, cause and traceback; an
   object() that is a global name of a module, by that.  There
   is one for each object as long as somebody refers to it, so that a pickle has it once.  What
   comes of loading it is the object itself. */
typedef struct {
    PyObject_HEAD
    PyObject *op;
    PyObject *key;                // its address, an int: there may be no memory at its end
    stackless_modstate *mod;
} stand_in_object;

static void
stand_in_dealloc(PyObject *self)
{
    stand_in_object *ns = (stand_in_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject *exc = PyErr_GetRaisedException();
    if (ns->mod->namespaces != NULL && PyDict_DelItem(ns->mod->namespaces, ns->key) < 0) {
        PyErr_Clear();                 // it never came into being
    }
    PyErr_SetRaisedException(exc);
    PyObject_GC_UnTrack(self);
    Py_DECREF(ns->key);
    Py_DECREF(ns->op);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
stand_in_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((stand_in_object *)self)->op);
    return 0;
}

static PyObject *
stand_in_get_op(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(((stand_in_object *)self)->op);
}

static PyGetSetDef stand_in_getset[] = {
    {"op", stand_in_get_op, NULL, PyDoc_STR("What it stands for.")},
    {NULL}
};

static PyType_Slot stand_in_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Stands for an object, to be pickled in a way of its own.")},
    {Py_tp_dealloc, stand_in_dealloc},
    {Py_tp_traverse, stand_in_traverse},
    {Py_tp_getset, stand_in_getset},
    {0, NULL}
};

static PyType_Spec stand_in_spec = {
    .name = "_stackless._stand_in",
    .basicsize = sizeof(stand_in_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = stand_in_slots,
};

/* Is it the dict of the module of that name? */
static int
is_dict_of(PyObject *modules, PyObject *name, PyObject *dict)
{
    PyObject *module = NULL;
    if (name != NULL && PyUnicode_CheckExact(name) && PyDict_CheckExact(modules)
        && PyDict_GetItemRef(modules, name, &module) < 0) {
        PyErr_Clear();
    }
    int is = module != NULL && PyModule_Check(module) && PyModule_GetDict(module) == dict;
    Py_XDECREF(module);
    return is;
}

/* The name (borrowed) of the module whose dict it is, or NULL. */
static PyObject *
module_name(PyObject *dict)
{
    PyObject *modules = _PyThreadState_GET()->interp->imports.modules;
    PyObject *name = PyDict_GetItem(dict, &_Py_ID(__name__));
    if (name == NULL || modules == NULL || !PyDict_CheckExact(modules)) {
        return NULL;
    }
    if (is_dict_of(modules, name, dict)) {
        return name;
    }
    Py_ssize_t pos = 0;
    PyObject *key, *module;
    while (PyDict_Next(modules, &pos, &key, &module)) {
        if (PyModule_Check(module) && PyModule_GetDict(module) == dict
            && PyUnicode_CheckExact(key)) {
            return key;
        }
    }
    return NULL;
}

static PyObject *
new_stand_in(stackless_modstate *mod, PyObject *op, PyObject *key)
{
    stand_in_object *ns = PyObject_GC_New(stand_in_object, mod->namespace_type);
    PyObject *address = ns ? PyLong_FromVoidPtr(ns) : NULL;
    if (ns == NULL) {
        return NULL;
    }
    ns->op = Py_NewRef(op);
    ns->key = Py_NewRef(key);
    ns->mod = mod;
    PyObject_GC_Track(ns);
    if (address == NULL || PyDict_SetItem(mod->namespaces, key, address) < 0) {
        Py_CLEAR(ns);
    }
    Py_XDECREF(address);
    return (PyObject *)ns;
}

/* Strange keys would have to be compared, which may run any code. */
static int
may_be_module_dict(PyObject *op)
{
    return PyDict_CheckExact(op)
           && ((PyDictObject *)op)->ma_keys->dk_kind != DICT_KEYS_GENERAL
           && module_name(op) != NULL;
}

/* Such an object is used to be compared only: if it is a module's, by its name. */
static int
is_marker(PyObject *op)
{
    return Py_IS_TYPE(op, &PyBaseObject_Type);
}

static int
has_more_than_args(PyObject *op)
{
    PyBaseExceptionObject *exc = (PyBaseExceptionObject *)op;
    return PyExceptionInstance_Check(op)
           && (exc->context != NULL || exc->cause != NULL || exc->traceback != NULL
               || exc->suppress_context);
}

PyObject *
_PyStackless_StandIn(stackless_modstate *mod, PyObject *op)
{
    if (!has_more_than_args(op) && !is_marker(op) && !may_be_module_dict(op)) {
        return Py_NewRef(op);
    }
    PyObject *key = PyLong_FromVoidPtr(op);
    PyObject *result = NULL, *known;
    if (key == NULL) {
        return NULL;
    }
    int found = PyDict_GetItemRef(mod->namespaces, key, &known);
    if (found > 0) {
        result = Py_NewRef((PyObject *)PyLong_AsVoidPtr(known));
        Py_DECREF(known);
    }
    else if (found == 0) {
        result = new_stand_in(mod, op, key);
    }
    Py_DECREF(key);
    return result;
}

PyObject *
_PyStackless_StoodFor(stackless_modstate *mod, PyObject *op)
{
    return op != NULL && Py_IS_TYPE(op, mod->namespace_type) ? ((stand_in_object *)op)->op : op;
}

PyObject *
_PyStackless_NamespaceDict(stackless_modstate *mod, PyObject *op)
{
    op = _PyStackless_StoodFor(mod, op);
    if (!PyDict_Check(op)) {
        PyErr_Format(PyExc_TypeError, "globals must be a dict, not %s", Py_TYPE(op)->tp_name);
        return NULL;
    }
    return op;
}

static PyObject *
pickling_stand_in(PyObject *module, PyObject *op)
{
    return _PyStackless_StandIn(calling_state(module), op);
}

static PyObject *
pickling_module_name(PyObject *module, PyObject *dict)
{
    PyObject *name = PyDict_CheckExact(dict) ? module_name(dict) : NULL;
    return Py_NewRef(name ? name : Py_None);
}

/* --- tasklets -------------------------------------------------------------------------- */

enum { LATELY = 8 };

/* Notes that it is being pickled: where to look for what cannot be. */
static int
note_reduced(stackless_modstate *mod, PyObject *op)
{
    PyObject *list = mod->lately_reduced;
    PyObject *ref = PyWeakref_NewRef(op, NULL);
    if (ref == NULL) {
        return -1;
    }
    if (PyList_GET_SIZE(list) > 0 && PyList_GET_ITEM(list, PyList_GET_SIZE(list) - 1) == ref) {
        Py_DECREF(ref);
        return 0;
    }
    /* The last one may be gone. */
    Py_ssize_t last = PyList_GET_SIZE(list) - 1;
    PyObject *alive = NULL;
    if (last >= 0 && PyWeakref_GetRef(PyList_GET_ITEM(list, last), &alive) == 0) {
        return PyList_SetItem(list, last, ref);
    }
    Py_XDECREF(alive);
    int err = PyList_Append(list, ref);
    Py_DECREF(ref);
    if (err == 0 && PyList_GET_SIZE(list) > 2 * LATELY) {
        err = PyList_SetSlice(list, 0, LATELY, NULL);
    }
    return err;
}

static PyObject *
lately_reduced(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(calling_state(module)->lately_reduced);
}

static PyObject *
tasklet_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    if (note_reduced(sched_of(tasklet_cast(self))->mod, self) < 0) {
        return NULL;
    }
    PyObject *state = _PyStackless_TakeTasklet(tasklet_cast(self));
    return state ? Py_BuildValue("(O()N)", Py_TYPE(self), state) : NULL;
}

static PyObject *
tasklet_setstate(PyObject *self, PyObject *state)
{
    if (_PyStackless_BuildTasklet(tasklet_cast(self), state) < 0) {
        return NULL;
    }
    return Py_NewRef(self);
}

static PyMethodDef tasklet_defs[] = {
    {"__reduce__", tasklet_reduce, METH_NOARGS,
     PyDoc_STR("__reduce__($self, /)\n--\n\nHelper for pickle.")},
    {"__setstate__", tasklet_setstate, METH_O,
     PyDoc_STR("__setstate__($self, state, /)\n--\n\nHelper for pickle.")},
    {NULL}
};

/* --- channels ------------------------------------------------------------------------------ */

/* Who waits on the channel and comes after the list's item i, the first of them, or NULL.  Mostly
   the one before it was the last to come, or the one after it. */
static PyTaskletObject *
first_after(PyChannelObject *ch, PyTypeObject *tasklet_type, PyObject *list, Py_ssize_t i)
{
    Py_ssize_t n = PyList_GET_SIZE(list);
    if (ch->last == NULL || (i > 0 && PyList_GET_ITEM(list, i - 1) == (PyObject *)ch->last)) {
        return NULL;
    }
    while (++i < n) {
        PyTaskletObject *later = (PyTaskletObject *)PyList_GET_ITEM(list, i);
        if (PyObject_TypeCheck((PyObject *)later, tasklet_type) && tasklet_is_blocked(later) && later->channel == ch) {
            return later;
        }
    }
    return NULL;
}

/* t, alone, the list's item i, waits on the channel: where it did.  The program has perhaps
   changed the list. */
static void
wait_in_order(PyChannelObject *ch, PyTaskletObject *t, PyObject *list, Py_ssize_t i,
              int sending)
{
    _PyStackless_Scheduler *sched = sched_of(t);
    PyTaskletObject *before = first_after(ch, sched->mod->tasklet_type, list, i);
    _PyStackless_SetState(t, sending ? TASKLET_SENDING : TASKLET_RECEIVING);
    Py_INCREF(t);
    _PyChannel_Append(sched, ch, t);
    if (before != NULL) {              // t is the last one
        ch->last = t->prev;
        ch->last->next = NULL;
        t->prev = before->prev;
        t->next = before;
        before->prev = t;
        if (t->prev != NULL) {
            t->prev->next = t;
        }
        else {
            ch->first = t;
        }
    }
}

/* Can t, in the calling thread, be put on the channel? */
static int
can_wait(PyChannelObject *ch, PyTaskletObject *t, int sending)
{
    return t->state == TASKLET_PAUSED && (t->flags & TASKLET_STARTED)
           && !(t->flags & TASKLET_IS_MAIN) && !_PyTasklet_IsHard(t) && t->frame != NULL
           && !(extra_of(t) != NULL && extra_of(t)->interrupted)
           && sched_of(t)->tstate == _PyThreadState_GET()
           && (ch->balance == 0 || (ch->balance > 0) == sending)
           && (ch->first == NULL || sched_of(ch->first) == sched_of(t));
}

/* The tempval of a tasklet that a channel has got before its state: (mark, channel, list, its
   index there, sending). */
int
_PyStackless_TakesPlace(PyTaskletObject *t, PyObject *waiting)
{
    stackless_modstate *mod = sched_of(t)->mod;
    if (!PyTuple_CheckExact(waiting) || PyTuple_GET_SIZE(waiting) != 5
        || PyTuple_GET_ITEM(waiting, 0) != mod->waiting_mark) {
        return 0;
    }
    PyChannelObject *ch = (PyChannelObject *)PyTuple_GET_ITEM(waiting, 1);
    PyObject *list = PyTuple_GET_ITEM(waiting, 2);
    Py_ssize_t i = PyNumber_AsSsize_t(PyTuple_GET_ITEM(waiting, 3), NULL);
    if (!PyObject_TypeCheck((PyObject *)ch, mod->channel_type) || !PyList_CheckExact(list)
        || i < 0 || i >= PyList_GET_SIZE(list)) {
        PyErr_Clear();
        return 0;                      // a program has made it
    }
    int sending = PyTuple_GET_ITEM(waiting, 4) == Py_True;
    if (can_wait(ch, t, sending)) {
        wait_in_order(ch, t, list, i, sending);
    }
    return 0;
}

static PyObject *
channel_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyChannelObject *ch = (PyChannelObject *)self;
    PyObject *list = PyList_New(0);
    for (PyTaskletObject *t = ch->first; list != NULL && t != NULL; t = t->next) {
        if (!_PyStackless_IsBeingFreed(t) && PyList_Append(list, (PyObject *)_PyStackless_WaiterOf(t)) < 0) {
            Py_CLEAR(list);
        }
    }
    int flags = ch->closing | (ch->preference & 3) << 1 | ch->schedule_all << 3;
    return list ? Py_BuildValue("(O()(iiN))", Py_TYPE(self), ch->balance, flags, list) : NULL;
}

static int
add_waiting(stackless_modstate *mod, PyChannelObject *ch, PyObject *list, Py_ssize_t i,
            int sending)
{
    PyTaskletObject *t = (PyTaskletObject *)PyList_GET_ITEM(list, i);
    if (can_wait(ch, t, sending)) {
        wait_in_order(ch, t, list, i, sending);
        return 0;
    }
    if (t->state != TASKLET_IDLE || t->tempval != NULL) {
        PyErr_SetString(PyExc_ValueError,
                        "cannot build a channel: one of its tasklets cannot wait on it");
        return -1;
    }
    PyObject *waiting = Py_BuildValue("(OOOnO)", mod->waiting_mark, ch, list, i,
                                      sending ? Py_True : Py_False);
    if (waiting == NULL) {
        return -1;
    }
    _PyTasklet_SetTempval(t, waiting);
    return 0;
}

static PyObject *
channel_setstate(PyObject *self, PyObject *state)
{
    PyChannelObject *ch = (PyChannelObject *)self;
    stackless_modstate *mod = _PyStackless_StateOfType(Py_TYPE(self));
    int balance, flags;
    PyObject *list;
    if (!PyTuple_CheckExact(state)
        || !PyArg_ParseTuple(state, "iiO!:__setstate__", &balance, &flags, &PyList_Type, &list)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "__setstate__() argument must be a tuple");
        }
        return NULL;
    }
    int preference = (flags >> 1 & 3) == 3 ? -1 : flags >> 1 & 3;
    if (flags & ~15 || preference == 2 || ch->first != NULL) {
        PyErr_Format(PyExc_ValueError, ch->first ? "the channel is in use"
                     : "a channel's flags are from 0 to 15, not %d", flags);
        return NULL;
    }
    PyObject *copy = PyList_GetSlice(list, 0, PyList_GET_SIZE(list));
    if (copy == NULL) {
        return NULL;
    }
    Py_ssize_t n = PyList_GET_SIZE(copy);
    int bad = balance != 0 && (n != (balance > 0 ? balance : -(Py_ssize_t)balance));
    for (Py_ssize_t i = 0; i < n; i++) {
        bad |= !PyObject_TypeCheck(PyList_GET_ITEM(copy, i), mod->tasklet_type);
    }
    if (bad || (balance == 0 && n > 0)) {
        PyErr_SetString(PyExc_ValueError,
                        "a channel's balance does not fit the tasklets that wait on it");
        Py_DECREF(copy);
        return NULL;
    }
    ch->preference = (signed char)preference;
    ch->schedule_all = flags >> 3 & 1;
    ch->closing = flags & 1;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (add_waiting(mod, ch, copy, i, balance > 0) < 0) {
            Py_DECREF(copy);
            return NULL;
        }
    }
    Py_DECREF(copy);
    Py_RETURN_NONE;
}

static PyMethodDef channel_defs[] = {
    {"__reduce__", channel_reduce, METH_NOARGS,
     PyDoc_STR("__reduce__($self, /)\n--\n\nHelper for pickle.")},
    {"__setstate__", channel_setstate, METH_O,
     PyDoc_STR("__setstate__($self, state, /)\n--\n\nHelper for pickle.")},
    {NULL}
};

/* --- functions -------------------------------------------------------------------------- */

/* A function of the code that knows nothing: its globals are the interpreter's blank ones. */
static PyObject *
pickling_function(PyObject *module, PyObject *code)
{
    if (!PyCode_Check(code)) {
        PyErr_Format(PyExc_TypeError, "a code object is expected, not %s",
                     Py_TYPE(code)->tp_name);
        return NULL;
    }
    PyFunctionObject *func = (PyFunctionObject *)PyFunction_New(
        code, calling_state(module)->blank_globals);
    int nfree = ((PyCodeObject *)code)->co_nfreevars;
    if (func != NULL && nfree > 0) {
        func->func_closure = PyTuple_New(nfree);
        for (int i = 0; func->func_closure != NULL && i < nfree; i++) {
            PyObject *cell = PyCell_New(NULL);
            if (cell == NULL) {
                Py_CLEAR(func);
                return NULL;
            }
            PyTuple_SET_ITEM(func->func_closure, i, cell);
        }
        if (func->func_closure == NULL) {
            Py_CLEAR(func);
        }
    }
    return (PyObject *)func;
}

static int
is_closure(PyObject *closure, PyFunctionObject *func)
{
    int nfree = ((PyCodeObject *)func->func_code)->co_nfreevars;
    if (closure == Py_None) {
        return nfree == 0;
    }
    if (!PyTuple_CheckExact(closure) || PyTuple_GET_SIZE(closure) != nfree) {
        return 0;
    }
    for (int i = 0; i < nfree; i++) {
        if (!PyCell_Check(PyTuple_GET_ITEM(closure, i))) {
            return 0;
        }
    }
    return 1;
}

/* (globals, closure, defaults, kwdefaults, name, qualname, module, doc, annotations, dict) */
static PyObject *
function_setstate(PyObject *self, PyObject *state)
{
    PyFunctionObject *func = (PyFunctionObject *)self;
    PyObject *module = PyImport_ImportModule("_stackless");
    stackless_modstate *mod = module ? _PyStackless_StateOfModule(module) : NULL;
    Py_XDECREF(module);
    PyObject *globals, *closure, *defaults, *kwdefaults, *name, *qualname, *modname, *doc,
             *annotations, *dict;
    if (mod == NULL || func->func_globals != mod->blank_globals
        || !PyTuple_CheckExact(state)) {
        PyErr_SetString(PyExc_TypeError, "only a function that is being unpickled gets a state");
        return NULL;
    }
    if (!PyArg_ParseTuple(state, "OOOOUUOOOO", &globals, &closure, &defaults, &kwdefaults,
                          &name, &qualname, &modname, &doc, &annotations, &dict)) {
        return NULL;
    }
    globals = _PyStackless_NamespaceDict(mod, globals);
    if (globals == NULL) {
        return NULL;
    }
    if (!is_closure(closure, func) || !(defaults == Py_None || PyTuple_Check(defaults))
        || !(kwdefaults == Py_None || PyDict_Check(kwdefaults))
        || !(annotations == Py_None || PyDict_Check(annotations))
        || !(dict == Py_None || PyDict_Check(dict))) {
        PyErr_SetString(PyExc_ValueError, "the state of a function is of another shape");
        return NULL;
    }
    PyFunctionObject *model = (PyFunctionObject *)PyFunction_New(func->func_code, globals);
    if (model == NULL) {
        return NULL;
    }
    Py_SETREF(func->func_globals, Py_NewRef(globals));
    Py_SETREF(func->func_builtins, Py_NewRef(model->func_builtins));
    Py_DECREF(model);
    Py_XSETREF(func->func_closure, closure == Py_None ? NULL : Py_NewRef(closure));
    Py_SETREF(func->func_name, Py_NewRef(name));
    Py_SETREF(func->func_qualname, Py_NewRef(qualname));
    Py_XSETREF(func->func_module, Py_NewRef(modname));
    Py_XSETREF(func->func_doc, Py_NewRef(doc));
    Py_XSETREF(func->func_annotations, annotations == Py_None ? NULL : Py_NewRef(annotations));
    Py_XSETREF(func->func_dict, dict == Py_None ? NULL : Py_NewRef(dict));
    if (PyFunction_SetDefaults(self, defaults) < 0
        || PyFunction_SetKwDefaults(self, kwdefaults) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* --- cells ----------------------------------------------------------------------------------- */

static PyObject *
cell_setstate(PyObject *self, PyObject *state)
{
    if (!PyTuple_CheckExact(state) || PyTuple_GET_SIZE(state) != 1) {
        PyErr_SetString(PyExc_TypeError, "the state of a cell is a tuple of its contents");
        return NULL;
    }
    PyCell_Set(self, PyTuple_GET_ITEM(state, 0));
    Py_RETURN_NONE;
}

/* --- generators -------------------------------------------------------------------------------- */

static int
is_generator(PyObject *op)
{
    return PyGen_CheckExact(op) || PyCoro_CheckExact(op) || PyAsyncGen_CheckExact(op);
}

static _PyInterpreterFrame *
frame_of(PyObject *gen)
{
    return (_PyInterpreterFrame *)((PyGenObject *)gen)->gi_iframe;
}

/* A finished generator (coroutine, async generator) of the code, to get a state: its frame has no
   function. */
static PyObject *
pickling_generator(PyObject *module, PyObject *code)
{
    int flags = PyCode_Check(code) ? ((PyCodeObject *)code)->co_flags : 0;
    if (!(flags & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR))) {
        PyErr_Format(PyExc_TypeError, "the code of a generator is expected, not %R", code);
        return NULL;
    }
    PyObject *func = pickling_function(module, code);
    PyObject *gen = func ? _Py_MakeCoro((PyFunctionObject *)func) : NULL;
    if (gen != NULL) {
        _PyInterpreterFrame *frame = frame_of(gen);
        memset(frame, 0, FRAME_SPECIALS_SIZE * sizeof(PyObject *));
        frame->f_executable = Py_NewRef(code);
        frame->f_funcobj = Py_None;
        frame->instr_ptr = _PyCode_CODE((PyCodeObject *)code);
        frame->owner = FRAME_OWNED_BY_GENERATOR;
    }
    Py_XDECREF(func);
    return gen;
}

enum { GEN_CREATED = 0, GEN_SUSPENDED = 1, GEN_EXECUTING = 2, GEN_FINISHED = 3 };

/* (name, qualname, what it does, record or None, exception or None, extra) */
static PyObject *
generator_state(PyObject *module, PyObject *op)
{
    if (!is_generator(op)) {
        PyErr_Format(PyExc_TypeError, "a generator is expected, not %s", Py_TYPE(op)->tp_name);
        return NULL;
    }
    PyGenObject *gen = (PyGenObject *)op;
    stackless_modstate *mod = calling_state(module);
    if (note_reduced(mod, op) < 0) {
        return NULL;
    }
    int state = gen->gi_frame_state;
    int what = state == FRAME_CREATED ? GEN_CREATED : state == FRAME_EXECUTING ? GEN_EXECUTING
               : FRAME_STATE_SUSPENDED(state) ? GEN_SUSPENDED : GEN_FINISHED;
    _PyInterpreterFrame *frame = frame_of(op);
    PyObject *record = Py_NewRef(Py_None);
    if (what != GEN_FINISHED) {
        if (frame->stacktop < _PyFrame_GetCode(frame)->co_nlocalsplus) {
            Py_DECREF(record);
            PyErr_Format(PyExc_RuntimeError, "cannot pickle %U(), a generator that is running",
                         gen->gi_qualname);
            return NULL;
        }
        Py_SETREF(record, _PyStackless_TakeRecord(mod, frame, frame->stacktop));
    }
    int bits = 0;
    if (PyAsyncGen_CheckExact(op)) {
        PyAsyncGenObject *ag = (PyAsyncGenObject *)op;
        bits = (ag->ag_hooks_inited != 0) | (ag->ag_closed != 0) << 1
               | (ag->ag_running_async != 0) << 2;
    }
    PyObject *exc = gen->gi_exc_state.exc_value;
    exc = record ? _PyStackless_StandIn(mod, exc ? exc : Py_None) : NULL;
    if (exc == NULL) {
        Py_XDECREF(record);
        return NULL;
    }
    return Py_BuildValue("(OOiNNi)", gen->gi_name, gen->gi_qualname, what, record, exc, bits);
}

static int
fill_generator(stackless_modstate *mod, PyGenObject *gen, PyObject *record, int what)
{
    _PyInterpreterFrame *frame = frame_of((PyObject *)gen);
    PyCodeObject *code = _PyFrame_GetCode(frame);
    stackless_record r;
    if (_PyStackless_ReadRecord(mod, record, &r) < 0) {
        return -1;
    }
    if (r.code != code) {
        PyErr_SetString(PyExc_ValueError, "cannot build a generator: its code is another one");
        return -1;
    }
    PyFunctionObject *func = _PyStackless_MakeFunction(&r);
    if (func == NULL) {
        return -1;
    }
    if (gen->gi_frame_state != FRAME_CLEARED || frame->f_funcobj != Py_None) {
        Py_DECREF(func);               // somebody was quicker
        PyErr_SetString(PyExc_TypeError, "the generator has a state");
        return -1;
    }
    if (_PyStackless_FillFrame(frame, func, &r) < 0) {
        return -1;
    }
    Py_DECREF(code);                   // the blank frame's; there is another one now
    frame->owner = FRAME_OWNED_BY_GENERATOR;
    int state = FRAME_EXECUTING;
    if (what != GEN_EXECUTING) {
        state = _PyStackless_CheckFrame(mod, frame, STOP_YIELD, GETS_OBJECT) < 0
                ? FRAME_CLEARED : _PyStackless_YieldState(frame);
        if (state == FRAME_CLEARED || (state == FRAME_CREATED) != (what == GEN_CREATED)) {
            if (!PyErr_Occurred()) {
                PyErr_SetString(PyExc_ValueError,
                                "cannot build a generator: it is not where it can be resumed");
            }
            PyObject *exc = PyErr_GetRaisedException();
            _PyFrame_ClearExceptCode(frame);
            frame->f_funcobj = Py_None;
            PyErr_SetRaisedException(exc);
            return -1;
        }
    }
    gen->gi_frame_state = (int8_t)state;
    return 0;
}

static PyObject *
generator_setstate(PyObject *self, PyObject *state)
{
    PyGenObject *gen = (PyGenObject *)self;
    PyObject *name, *qualname, *record, *exc;
    int what, bits;
    if (gen->gi_frame_state != FRAME_CLEARED || frame_of(self)->f_funcobj != Py_None
        || !PyTuple_CheckExact(state)) {
        PyErr_SetString(PyExc_TypeError, "only a generator that is being unpickled gets a state");
        return NULL;
    }
    if (!PyArg_ParseTuple(state, "UUiOOi", &name, &qualname, &what, &record, &exc, &bits)) {
        return NULL;
    }
    PyObject *module = PyImport_ImportModule("_stackless");
    stackless_modstate *mod = module ? _PyStackless_StateOfModule(module) : NULL;
    Py_XDECREF(module);
    exc = mod ? _PyStackless_StoodFor(mod, exc) : exc;
    if (what < 0 || what > GEN_FINISHED || bits < 0 || bits > 7
        || !(exc == Py_None || PyExceptionInstance_Check(exc))) {
        PyErr_SetString(PyExc_ValueError, "the state of a generator is of another shape");
        return NULL;
    }
    if (mod == NULL || (what != GEN_FINISHED && fill_generator(mod, gen, record, what) < 0)) {
        return NULL;
    }
    if (what != GEN_FINISHED) {
        gen->gi_exc_state.exc_value = exc == Py_None ? NULL : Py_NewRef(exc);
    }
    if (PyAsyncGen_CheckExact(self)) {
        PyAsyncGenObject *ag = (PyAsyncGenObject *)self;
        ag->ag_closed = bits >> 1 & 1;
        ag->ag_running_async = bits >> 2 & 1;
    }
    Py_SETREF(gen->gi_name, Py_NewRef(name));
    Py_SETREF(gen->gi_qualname, Py_NewRef(qualname));
    Py_RETURN_NONE;
}

/* _asend_state(awaitable): (generator, argument or None, state) */
static PyObject *
asend_state(PyObject *module, PyObject *op)
{
    PyObject *arg = NULL;
    int state = _PyStackless_AsendState(op, &arg);
    if (state < 0) {
        PyErr_Format(PyExc_TypeError, "what asend() returns is expected, not %s",
                     Py_TYPE(op)->tp_name);
        return NULL;
    }
    return Py_BuildValue("(OOi)", _PyStackless_AsendGenerator(op), arg ? arg : Py_None, state);
}

static PyObject *
set_asend_state(PyObject *module, PyObject *args)
{
    PyObject *op;
    int state;
    if (!PyArg_ParseTuple(args, "Oi", &op, &state)) {
        return NULL;
    }
    if (_PyStackless_SetAsendState(op, state) < 0) {
        PyErr_SetString(PyExc_ValueError, "there is no such state of what asend() returns");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* --- frames and tracebacks ----------------------------------------------------------------------- */

enum { BLANK = UINT16_MAX };      // return_offset of a frame that is to get a state

/* A frame that never runs: _new_frame(code, globals) */
static PyObject *
pickling_frame(PyObject *module, PyObject *args)
{
    PyObject *code, *globals;
    if (!PyArg_ParseTuple(args, "O!O", &PyCode_Type, &code, &globals)) {
        return NULL;
    }
    stackless_modstate *mod = calling_state(module);
    globals = _PyStackless_NamespaceDict(mod, globals);
    PyFunctionObject *func = globals ? (PyFunctionObject *)PyFunction_New(code, globals) : NULL;
    PyFrameObject *f = func ? _PyFrame_New_NoTrack((PyCodeObject *)code) : NULL;
    if (f == NULL) {
        Py_XDECREF(func);
        return NULL;
    }
    _PyInterpreterFrame *frame = (_PyInterpreterFrame *)f->_f_frame_data;
    PyObject *locals = ((PyCodeObject *)code)->co_flags & CO_OPTIMIZED ? NULL
                                                                       : Py_NewRef(globals);
    _PyFrame_Initialize(frame, func, locals, (PyCodeObject *)code, 0);
    frame->previous = NULL;
    frame->owner = FRAME_OWNED_BY_FRAME_OBJECT;
    frame->return_offset = BLANK;
    f->f_frame = frame;
    _PyObject_GC_TRACK(f);
    return (PyObject *)f;
}

/* The record of a frame's locals. */
static PyObject *
pickling_frame_state(PyObject *module, PyObject *op)
{
    if (!PyFrame_Check(op)) {
        PyErr_Format(PyExc_TypeError, "a frame is expected, not %s", Py_TYPE(op)->tp_name);
        return NULL;
    }
    _PyInterpreterFrame *frame = ((PyFrameObject *)op)->f_frame;
    int size = frame->stacktop == 0 ? 0 : _PyFrame_GetCode(frame)->co_nlocalsplus;
    return _PyStackless_TakeRecord(calling_state(module), frame, size);
}

static PyObject *
frame_setstate(PyObject *self, PyObject *state)
{
    _PyInterpreterFrame *frame = ((PyFrameObject *)self)->f_frame;
    PyObject *module = PyImport_ImportModule("_stackless");
    stackless_modstate *mod = module ? _PyStackless_StateOfModule(module) : NULL;
    Py_XDECREF(module);
    if (mod == NULL || frame->owner != FRAME_OWNED_BY_FRAME_OBJECT
        || frame->return_offset != BLANK) {
        PyErr_SetString(PyExc_TypeError, "only a frame that is being unpickled gets a state");
        return NULL;
    }
    stackless_record r;
    if (_PyStackless_ReadRecord(mod, state, &r) < 0) {
        return NULL;
    }
    PyCodeObject *code = _PyFrame_GetCode(frame);
    if (r.code != code || r.nvalues > code->co_nlocalsplus) {
        PyErr_SetString(PyExc_ValueError, "cannot build a frame: its code is another one");
        return NULL;
    }
    Py_ssize_t from = 0;
    for (int i = 0; i < code->co_nlocalsplus && from < r.nvalues; i++) {
        PyObject *op = _PyStackless_HasBit(r.nulls, i)
                       ? NULL : _PyStackless_StoodFor(mod, r.values[from++]);
        int flags = (uint8_t)PyBytes_AS_STRING(code->co_localspluskinds)[i];
        if (op != NULL && flags & CO_FAST_FREE && !PyCell_Check(op)) {
            op = NULL;
        }
        frame->localsplus[i] = Py_XNewRef(op);
    }
    if (r.locals != NULL) {
        Py_XSETREF(frame->f_locals, Py_NewRef(r.locals));
    }
    frame->instr_ptr = _PyCode_CODE(code) + r.instr;
    frame->return_offset = 0;
    Py_RETURN_NONE;
}

/* (next, frame, lasti, lineno) for one that was made with lasti == -2. */
static PyObject *
traceback_setstate(PyObject *self, PyObject *state)
{
    PyTracebackObject *tb = (PyTracebackObject *)self;
    PyObject *next, *frame;
    int lasti, lineno;
    if (tb->tb_lasti != -2 || !PyTuple_CheckExact(state)) {
        PyErr_SetString(PyExc_TypeError, "only a traceback that is being unpickled gets a state");
        return NULL;
    }
    if (!PyArg_ParseTuple(state, "OO!ii", &next, &PyFrame_Type, &frame, &lasti, &lineno)) {
        return NULL;
    }
    if (lasti < -1 || !(next == Py_None || PyTraceBack_Check(next))) {
        PyErr_SetString(PyExc_ValueError, "the state of a traceback is of another shape");
        return NULL;
    }
    if (PyObject_SetAttrString(self, "tb_next", next) < 0) {
        return NULL;
    }
    tb->tb_lasti = lasti;
    tb->tb_lineno = lineno;
    Py_SETREF(tb->tb_frame, (PyFrameObject *)Py_NewRef(frame));
    Py_RETURN_NONE;
}

/* --- picklers ------------------------------------------------------------------------------------ */

/* reducer_override(pickler, object) of the C pickler.  `self`: (the pickler's type, a function for
   functions, one for classes, one for what is of a type written in C that was not seen before,
   a set of those that were). */
static PyObject *
pickling_override(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "reducer_override() takes exactly one argument (%zd given)",
                     nargs - 1);
        return NULL;
    }
    PyObject *pickler = args[0], *op = args[1];
    PyTypeObject *type = Py_TYPE(op);
    if (type == &PyFunction_Type) {
        return PyObject_CallFunctionObjArgs(PyTuple_GET_ITEM(self, 1), op, pickler, NULL);
    }
    if (PyType_Check(op)) {
        return PyObject_CallFunctionObjArgs(PyTuple_GET_ITEM(self, 2), op, pickler, NULL);
    }
    if (type->tp_dealloc == _PyStackless_PythonSlots.type.tp_dealloc
        && _PyType_Lookup(type, &_Py_ID(__getstate__))
           == _PyType_Lookup(&PyBaseObject_Type, &_Py_ID(__getstate__))) {
        return Py_NewRef(Py_NotImplemented);       // a class statement's, and nothing special
    }
    PyObject *known = PyTuple_GET_ITEM(self, 4);
    int is_known = PySet_Contains(known, (PyObject *)type);
    if (is_known != 0) {
        return is_known < 0 ? NULL : Py_NewRef(Py_NotImplemented);
    }
    return PyObject_CallFunctionObjArgs(PyTuple_GET_ITEM(self, 3), op, known, pickler, NULL);
}

static PyMethodDef override_def = {"reducer_override", _PyCFunction_CAST(pickling_override),
                                   METH_FASTCALL, NULL};

/* --- setting up ---------------------------------------------------------------------------------- */

static PyMethodDef setstate_defs[] = {
    {"__setstate__", function_setstate, METH_O, NULL},
    {"__setstate__", cell_setstate, METH_O, NULL},
    {"__setstate__", generator_setstate, METH_O, NULL},
    {"__setstate__", frame_setstate, METH_O, NULL},
    {"__setstate__", traceback_setstate, METH_O, NULL},
};

static int
add_method(PyTypeObject *type, PyMethodDef *def)
{
    PyObject *descr = PyDescr_NewMethod(type, def);
    PyObject *dict = _PyType_GetDict(type);
    int err = descr == NULL ? -1 : PyDict_SetItemString(dict, def->ml_name, descr);
    Py_XDECREF(descr);
    if (type->tp_flags & _Py_TPFLAGS_STATIC_BUILTIN) {
        (void)PyType_ClearCache();     // that there was none; such a type has one version for ever
    }
    else {
        PyType_Modified(type);
    }
    return err;
}

/* Called when `stackless` is imported, not before: the types of the interpreter get methods. */
static PyObject *
pickling_install(PyObject *module, PyObject *pickler)
{
    static PyTypeObject *const types[] = {
        &PyFunction_Type, &PyCell_Type, &PyGen_Type, &PyFrame_Type, &PyTraceBack_Type,
    };
    if (!PyTuple_Check(pickler)) {
        PyErr_SetString(PyExc_TypeError, "a tuple is expected");
        return NULL;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(types); i++) {
        if (add_method(types[i], &setstate_defs[i]) < 0) {
            return NULL;
        }
    }
    if (add_method(&PyCoro_Type, &setstate_defs[2]) < 0
        || add_method(&PyAsyncGen_Type, &setstate_defs[2]) < 0) {
        return NULL;
    }
    PyObject *type, *function, *known;
    if (!PyArg_ParseTuple(pickler, "OOOOO!", &type, &function, &function, &function,
                          &PySet_Type, &known)) {
        return NULL;
    }
    if (!PyType_Check(type)) {
        Py_RETURN_NONE;                // there is no C pickler
    }
    PyObject *unbound = PyCFunction_New(&override_def, pickler);
    PyObject *override = unbound != NULL ? PyInstanceMethod_New(unbound) : NULL;
    Py_XDECREF(unbound);
    int err = override == NULL ? -1 : PyDict_SetItemString(
        _PyType_GetDict((PyTypeObject *)type), "reducer_override", override);
    Py_XDECREF(override);
    PyType_Modified((PyTypeObject *)type);
    return err < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(pickle_flags_doc,
"pickle_flags($module, /, new_flags=-1, mask=-1)\n--\n\n"
"Set those of the calling thread's pickle flags (PICKLEFLAGS_...) that are in mask, unless\n"
"new_flags is -1.  Returns the old ones, an int.");

PyDoc_STRVAR(pickle_flags_default_doc,
"pickle_flags_default($module, /, new_default=-1, mask=-1)\n--\n\n"
"The same for the flags that threads begin with.");

static PyMethodDef functions[] = {
    {"pickle_flags", _PyCFunction_CAST(_PyStackless_PickleFlags), METH_VARARGS | METH_KEYWORDS,
     pickle_flags_doc},
    {"pickle_flags_default", _PyCFunction_CAST(_PyStackless_PickleFlagsDefault),
     METH_VARARGS | METH_KEYWORDS, pickle_flags_default_doc},
    {"_stand_in_for", pickling_stand_in, METH_O, NULL},
    {"_lately_reduced", lately_reduced, METH_NOARGS, NULL},
    {"_module_name", pickling_module_name, METH_O, NULL},
    {"_new_function", pickling_function, METH_O, NULL},
    {"_new_generator", pickling_generator, METH_O, NULL},
    {"_generator_state", generator_state, METH_O, NULL},
    {"_new_frame", pickling_frame, METH_VARARGS, NULL},
    {"_asend_state", asend_state, METH_O, NULL},
    {"_set_asend_state", set_asend_state, METH_VARARGS, NULL},
    {"_frame_state", pickling_frame_state, METH_O, NULL},
    {"_install_pickling", pickling_install, METH_O, NULL},
    {NULL}
};

int
_PyStackless_InitPickling(PyObject *module)
{
    stackless_modstate *mod = PyModule_GetState(module);
    mod->namespaces = PyDict_New();
    mod->blank_globals = PyDict_New();
    mod->waiting_mark = PyDict_New();
    mod->lately_reduced = PyList_New(0);
    mod->namespace_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &stand_in_spec, NULL);
    if (mod->namespaces == NULL || mod->blank_globals == NULL || mod->waiting_mark == NULL
        || mod->lately_reduced == NULL
        || mod->namespace_type == NULL || PyModule_AddType(module, mod->namespace_type) < 0) {
        return -1;
    }
    for (PyMethodDef *def = tasklet_defs; def->ml_name != NULL; def++) {
        if (add_method(mod->tasklet_type, def) < 0) {
            return -1;
        }
    }
    for (PyMethodDef *def = channel_defs; def->ml_name != NULL; def++) {
        if (add_method(mod->channel_type, def) < 0) {
            return -1;
        }
    }
    if (PyModule_AddObjectRef(module, "_asend_type", (PyObject *)&_PyAsyncGenASend_Type) < 0
        || PyModule_AddObjectRef(module, "_awaiter_type", (PyObject *)&_PyCoroWrapper_Type) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
