/* The type `greenlet`, its attributes and its life.

   The object is small and its layout is a binary contract; what matters is in its tasklet
   (greenlet.h).  How greenlets switch is in switch.c.

   An active greenlet that nobody refers to is *deleted*: GreenletExit is raised in it, in
   its own thread, with the deleting greenlet as parent for the time being.  Where that
   cannot be done at once (in another thread, within a garbage collection), the greenlet is
   kept in the list `postponed` of its thread's scheduler. */

#include "Python.h"
#include "pycore_call.h"          // _PyObject_MakeTpCall()
#include "pycore_context.h"       // PyContext_CheckExact()
#include "pycore_ceval.h"         // _Py_set_eval_breaker_bit()
#include "pycore_interp.h"        // PyInterpreterState.gc
#include "pycore_object.h"        // _PyObject_GC_TRACK()
#include "pycore_pyerrors.h"
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/greenlet/greenlet.h"
#include "pycore_stackless_hooks.h" // STACKLESS_WATCH_BIT

_Static_assert(sizeof(PyGreenlet) == 40 || sizeof(void *) != 8,
               "extension modules know the size of a greenlet");

PyObject *_PyGreenlet_Error;
PyObject *_PyGreenlet_Exit;

static Py_ssize_t main_greenlets;

Py_ssize_t
_PyGreenlet_CountMain(void)
{
    return main_greenlets;
}

static PyGreenlet *
greenlet_cast(PyObject *op)
{
    return (PyGreenlet *)op;
}

/* --- the tasklet of a greenlet ---------------------------------------------------- */

PyObject *
_PyGreenlet_Unlink(PyTaskletObject *t)
{
    if (!_PyGreenlet_IsTasklet(t)) {
        return NULL;
    }
    greenlet_tasklet *gt = greenlet_tasklet_cast(t);
    PyObject *owned = gt->link & GREENLET_IS_OWNED ? (PyObject *)greenlet_linked(gt) : NULL;
    gt->link = 0;
    return owned;
}

/* Its frames will be needed: they are not to be cleared. */
static int
is_alive(greenlet_tasklet *gt)
{
    return gt->link != 0 && gt->tasklet.state != TASKLET_IDLE
           && sched_of(&gt->tasklet)->tstate != NULL;
}

static inline PyTypeObject *
tasklet_type(PyObject *self)
{
    return sched_of((PyTaskletObject *)self)->mod->tasklet_type;
}

static int
greenlet_tasklet_traverse(PyObject *self, visitproc visit, void *arg)
{
    greenlet_tasklet *gt = (greenlet_tasklet *)self;
    if (gt->link == 0 && _PyTasklet_IsHard(&gt->tasklet)) {
        Py_VISIT(Py_TYPE(self));       // nobody deletes it, but the scheduler could run it
        return 0;
    }
    Py_VISIT(gt->parent);
    if (gt->link & GREENLET_IS_OWNED) {
        Py_VISIT(greenlet_linked(gt));
    }
    return tasklet_type(self)->tp_traverse(self, visit, arg);
}

/* What a switch to it that failed had looked up. */
static void
drop_callable(greenlet_tasklet *gt)
{
    if (gt->tasklet.state == TASKLET_IDLE) {
        Py_CLEAR(gt->tasklet.func);
    }
}

static int
greenlet_tasklet_clear(PyObject *self)
{
    greenlet_tasklet *gt = (greenlet_tasklet *)self;
    if (is_alive(gt)) {
        return 0;
    }
    Py_CLEAR(gt->parent);
    drop_callable(gt);
    return tasklet_type(self)->tp_clear(self);
}

static int is_deletable(PyGreenlet *g);
static void postpone(_PyStackless_Scheduler *sched, PyGreenlet *g);

/* By the garbage collector only.  Its greenlet is going to be deleted, so nothing that the
   frames refer to may be cleared.  The greenlet's own finalizer sees to that, too, but may be
   a subclass's. */
static void
greenlet_tasklet_finalize(PyObject *self)
{
    greenlet_tasklet *gt = (greenlet_tasklet *)self;
    PyGreenlet *g = greenlet_linked(gt);
    _PyGC_CLEAR_FINALIZED(self);       // it may survive
    if (g != NULL && Py_REFCNT(g) > 0 && is_deletable(g)) {
        PyObject *exc = PyErr_GetRaisedException();
        postpone(sched_of(&gt->tasklet), g);
        PyErr_SetRaisedException(exc);
    }
}

static void
greenlet_tasklet_dealloc(PyObject *self)
{
    greenlet_tasklet *gt = (greenlet_tasklet *)self;
    PyGreenlet *parent = gt->parent;
    PyObject_GC_UnTrack(self);
    gt->parent = NULL;
    _PyStackless_AbandonHard(&gt->tasklet);
    drop_callable(gt);
    tasklet_type(self)->tp_dealloc(self);
    Py_XDECREF(parent);
}

PyDoc_STRVAR(greenlet_tasklet_doc,
"The tasklet in which a greenlet runs.");

static PyType_Slot greenlet_tasklet_slots[] = {
    {Py_tp_doc, (void *)greenlet_tasklet_doc},
    {Py_tp_traverse, greenlet_tasklet_traverse},
    {Py_tp_clear, greenlet_tasklet_clear},
    {Py_tp_finalize, greenlet_tasklet_finalize},
    {Py_tp_dealloc, greenlet_tasklet_dealloc},
    {0, NULL}
};

PyType_Spec _PyGreenlet_TaskletSpec = {
    .name = "_greenlet.tasklet",
    .basicsize = sizeof(greenlet_tasklet),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = greenlet_tasklet_slots,
};

/* --- which greenlet, which thread --------------------------------------------------- */

_PyStackless_Scheduler *
_PyGreenlet_GetScheduler(PyThreadState *tstate)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched == NULL) {
        PyObject *module = _PyGreenlet_GetStackless();
        if (module == NULL) {
            return NULL;
        }
        sched = _PyStackless_GetScheduler(tstate, module);
    }
    else if (sched->postponed != NULL) {
        _PyGreenlet_DeletePostponed(sched);
    }
    return sched;
}

static PyGreenlet *
of_plain_tasklet(PyTaskletObject *t)
{
    if (_PyStackless_EnsureExtra(t) < 0) {
        return NULL;
    }
    PyObject **slot = &extra_of(t)->greenlet;
    if (*slot == NULL) {
        PyGreenlet *g = (PyGreenlet *)PyGreenlet_Type.tp_alloc(&PyGreenlet_Type, 0);
        if (g == NULL) {
            return NULL;
        }
        g->tasklet = (PyTaskletObject *)Py_NewRef(t);
        *slot = (PyObject *)g;
        if (t->flags & TASKLET_IS_MAIN) {
            main_greenlets++;
            sched_of(t)->main_greenlet = (PyObject *)g;
        }
    }
    return (PyGreenlet *)*slot;
}

void
_PyGreenlet_ForgetMain(_PyStackless_Scheduler *sched)
{
    PyGreenlet *g = greenlet_cast(sched->main_greenlet);
    PyTaskletObject *t = g->tasklet;
    sched->main_greenlet = NULL;
    main_greenlets--;
    g->tasklet = NULL;
    Py_DECREF(t);                      // the caller has one
}

PyGreenlet *
_PyGreenlet_Main(_PyStackless_Scheduler *sched)
{
    return of_plain_tasklet(sched->main);
}

PyGreenlet *
_PyGreenlet_Current(_PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current;
    if (_PyGreenlet_IsTasklet(t)) {
        PyGreenlet *g = _PyGreenlet_OfTasklet(t);
        if (g != NULL) {
            return g;
        }
        t = sched->main;               // its greenlet has been given up
    }
    if (!(t->flags & TASKLET_IS_MAIN) && _PyGreenlet_Main(sched) == NULL) {
        return NULL;                   // it will be the parent
    }
    return (PyGreenlet *)Py_XNewRef(of_plain_tasklet(t));
}

PyGreenlet *
_PyGreenlet_GetCurrent(void)
{
    if (Py_IsFinalizing()) {
        PyErr_SetString(PyExc_RuntimeError, "greenlet is being finalized");
        return NULL;
    }
    _PyStackless_Scheduler *sched = _PyGreenlet_GetScheduler(_PyThreadState_GET());
    return sched ? _PyGreenlet_Current(sched) : NULL;
}

PyGreenlet *
_PyGreenlet_GetParent(PyGreenlet *g)
{
    PyTaskletObject *t = g->tasklet;
    if (t == NULL || (t->flags & TASKLET_IS_MAIN)) {
        return NULL;
    }
    if (_PyGreenlet_IsTasklet(t)) {
        return greenlet_tasklet_cast(t)->parent;
    }
    PyTaskletObject *main = sched_of(t)->main;
    return main != NULL ? greenlet_of(main) : NULL;
}

_PyStackless_Scheduler *
_PyGreenlet_FindScheduler(PyGreenlet *g)
{
    while (g != NULL && greenlet_is_pending(g)) {
        g = _PyGreenlet_GetParent(g);
    }
    if (g == NULL || g->tasklet == NULL) {
        PyErr_SetString(_PyGreenlet_Error, "cannot switch to a garbage collected greenlet");
        return NULL;
    }
    return sched_of(g->tasklet);
}

/* --- deletion --------------------------------------------------------------------------- */

/* The greenlet is kept for its thread to delete. */
static void
postpone(_PyStackless_Scheduler *sched, PyGreenlet *g)
{
    greenlet_tasklet *gt = greenlet_tasklet_cast(g->tasklet);
    if (gt->link & GREENLET_IS_POSTPONED) {
        return;
    }
    gt->link |= GREENLET_IS_POSTPONED;
    if (sched->postponed == NULL) {
        sched->postponed = PyList_New(0);
    }
    if (sched->postponed == NULL || PyList_Append(sched->postponed, (PyObject *)g) < 0) {
        PyErr_FormatUnraisable("Exception ignored: a greenlet is lost");
        Py_INCREF(g);
    }
    if (sched->tstate == _PyThreadState_GET()) {
        _Py_set_eval_breaker_bit(sched->tstate, STACKLESS_WATCH_BIT);
    }
}

/* Raises GreenletExit in g, which is active in the calling thread. */
static void
raise_exit(_PyStackless_Scheduler *sched, PyGreenlet *g)
{
    PyGreenlet *here = _PyGreenlet_Current(sched);
    PyObject *exc = here ? PyObject_CallFunction(
        _PyGreenlet_Exit, "s",
        "Killing the greenlet because all references have vanished.") : NULL;
    PyObject *result = NULL;
    if (exc != NULL) {
        greenlet_tasklet *gt = greenlet_tasklet_cast(g->tasklet);
        PyGreenlet *parent = gt->parent;           // its reference is kept here
        Py_INCREF(gt);
        gt->parent = (PyGreenlet *)Py_NewRef(here);
        result = _PyGreenlet_ThrowInstance(g, exc);
        PyGreenlet *temporary = gt->parent;
        gt->parent = parent;
        Py_XDECREF(temporary);
        Py_DECREF(gt);
        Py_DECREF(exc);
    }
    Py_XDECREF(here);
    if (result == NULL) {
        PyErr_WriteUnraisable((PyObject *)g);
    }
    Py_XDECREF(result);
}

static void
complain(PyGreenlet *g)
{
    PyObject *file = PySys_GetObject("stderr");    // borrowed
    if (file != NULL && file != Py_None) {
        Py_INCREF(file);
        if (PyFile_WriteString("GreenletExit did not kill ", file) < 0
            || PyFile_WriteObject((PyObject *)g, file, 0) < 0
            || PyFile_WriteString("\n", file) < 0) {
            PyErr_WriteUnraisable((PyObject *)g);
        }
        Py_DECREF(file);
    }
}

/* Can it still run to its end? */
static int
is_deletable(PyGreenlet *g)
{
    return greenlet_is_active(g) && _PyGreenlet_IsTasklet(g->tasklet)
           && !Py_IsFinalizing();
}

/* Deletes g.  The caller has the only reference to it: if there are more afterwards, it
   lives on. */
static void
greenlet_delete(PyGreenlet *g)
{
    _PyStackless_Scheduler *sched = sched_of(g->tasklet);
    PyThreadState *tstate = _PyThreadState_GET();
    PyObject *exc = PyErr_GetRaisedException();
    Py_ssize_t refs = Py_REFCNT(g);
    if (sched->tstate != tstate || _PyStackless_MayBeCollecting(tstate)) {
        postpone(sched, g);
    }
    else {
        raise_exit(sched, g);
        if (is_deletable(g) && Py_REFCNT(g) <= refs) {
            complain(g);
            Py_INCREF(g);
        }
    }
    PyErr_SetRaisedException(exc);
}

void
_PyGreenlet_DeletePostponed(_PyStackless_Scheduler *sched)
{
    if (_PyStackless_MayBeCollecting(sched->tstate)) {
        return;
    }
    PyObject *list = sched->postponed;
    sched->postponed = NULL;
    PyObject *exc = PyErr_GetRaisedException();
    for (Py_ssize_t n; list != NULL && (n = PyList_GET_SIZE(list)) > 0; ) {
        PyGreenlet *g = greenlet_cast(Py_NewRef(PyList_GET_ITEM(list, n - 1)));
        if (PyList_SetSlice(list, n - 1, n, NULL) < 0) {
            PyErr_WriteUnraisable(list);
            break;
        }
        if (is_deletable(g)) {
            greenlet_tasklet_cast(g->tasklet)->link &= ~(uintptr_t)GREENLET_IS_POSTPONED;
            greenlet_delete(g);
        }
        Py_DECREF(g);
    }
    Py_XDECREF(list);
    PyErr_SetRaisedException(exc);
}

/* By the garbage collector, or by the deallocator of a Python subclass. */
static void
greenlet_finalize(PyObject *self)
{
    PyGreenlet *g = greenlet_cast(self);
    if (is_deletable(g)) {
        greenlet_delete(g);
    }
}

/* --- life -------------------------------------------------------------------------------- */

static int
greenlet_traverse(PyObject *self, visitproc visit, void *arg)
{
    PyGreenlet *g = greenlet_cast(self);
    Py_VISIT(g->dict);
    Py_VISIT(g->tasklet);
    return 0;
}

static int
greenlet_clear(PyObject *self)
{
    PyGreenlet *g = greenlet_cast(self);
    if (is_deletable(g)) {
        return 0;                      // a subclass has a finalizer of its own
    }
    Py_CLEAR(g->dict);
    return 0;
}

/* Before its memory is freed: 1 if g lives on. */
static int
survives(PyGreenlet *g)
{
    PyObject *self = (PyObject *)g;
    PyTypeObject *type = Py_TYPE(self);
    int is_subclass = (type->tp_flags & Py_TPFLAGS_HEAPTYPE) != 0;
    int lives;
    if (!_PyObject_GC_IS_TRACKED(self)) {
        _PyObject_GC_TRACK(self);
    }
    /* It may have survived once before. */
    _Py_AS_GC(self)->_gc_prev &= ~_PyGC_PREV_MASK_FINALIZED;
    if (is_subclass) {
        Py_INCREF(type);               // its deallocator drops one
    }
    if (type->tp_finalize != greenlet_finalize) {
        Py_SET_REFCNT(self, 1);        // the subclass's has been called
        greenlet_delete(g);
        Py_SET_REFCNT(self, Py_REFCNT(self) - 1);
        lives = Py_REFCNT(self) > 0;
    }
    else {
        lives = PyObject_CallFinalizerFromDealloc(self) < 0;
    }
    if (is_subclass && !lives) {
        PyTypeObject *now = Py_TYPE(self);
        PyObject_GC_UnTrack(self);
        Py_SET_TYPE(self, type);       // whatever __class__ has become
        Py_DECREF(now);
    }
    return lives;
}

static void
greenlet_dealloc(PyObject *self)
{
    PyGreenlet *g = greenlet_cast(self);
    if (is_deletable(g) && survives(g)) {
        return;
    }
    PyObject_GC_UnTrack(self);
    if (greenlet_is_linked(g)) {
        (void)_PyGreenlet_Unlink(g->tasklet);
    }
    Py_TRASHCAN_BEGIN(self, greenlet_dealloc)      // chains of parents can be long
    if (g->weakreflist != NULL) {
        PyObject_ClearWeakRefs(self);
    }
    PyTaskletObject *t = g->tasklet;
    g->tasklet = NULL;
    if (t != NULL) {
        if (t->flags & TASKLET_IS_MAIN) {
            main_greenlets--;
            sched_of(t)->main_greenlet = NULL;
        }
        Py_DECREF(t);
    }
    Py_CLEAR(g->dict);
    Py_TYPE(self)->tp_free(self);
    Py_TRASHCAN_END
}

/* A tasklet for it; its parent is the current greenlet. */
static int
init_tasklet(_PyStackless_Scheduler *sched, PyGreenlet *g, PyGreenlet *parent)
{
    PyTypeObject *type = sched->mod->greenlet_tasklet_type;
    greenlet_tasklet *gt = PyObject_GC_New(greenlet_tasklet, type);
    if (gt == NULL) {
        return -1;
    }
    memset((char *)gt + sizeof(PyObject), 0, sizeof(*gt) - sizeof(PyObject));
    _PyStackless_Adopt(sched, &gt->tasklet);
    gt->link = (uintptr_t)g;
    gt->parent = (PyGreenlet *)Py_NewRef(parent);
    g->tasklet = &gt->tasklet;
    _PyObject_GC_TRACK(gt);
    return 0;
}

static PyObject *
greenlet_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwds))
{
    PyGreenlet *parent = _PyGreenlet_GetCurrent();
    if (parent == NULL) {
        return NULL;
    }
    _PyStackless_Scheduler *sched = sched_of(parent->tasklet);
    PyObject *self;
    if (type->tp_flags & Py_TPFLAGS_IS_ABSTRACT) {
        self = PyBaseObject_Type.tp_new(type, (PyObject *)&_Py_SINGLETON(tuple_empty), NULL);
    }
    else {
        self = type->tp_alloc(type, 0);
    }
    if (self != NULL && init_tasklet(sched, greenlet_cast(self), parent) < 0) {
        Py_CLEAR(self);
    }
    Py_DECREF(parent);
    return self;
}

static int greenlet_set_run(PyObject *self, PyObject *run, void *closure);

static int
greenlet_init(PyObject *self, PyObject *args, PyObject *kwds)
{
    static char *names[] = {"run", "parent", NULL};
    PyObject *run = NULL, *parent = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwds, "|OO:green", names, &run, &parent)) {
        return -1;
    }
    if (run != NULL && greenlet_set_run(self, run, NULL) < 0) {
        return -1;
    }
    if (parent != NULL && parent != Py_None) {
        return _PyGreenlet_SetParent(greenlet_cast(self), parent);
    }
    return 0;
}

/* greenlet(run, parent) of the very type: what greenlet_new() and greenlet_init() do. */
static PyObject *
greenlet_vectorcall(PyObject *type, PyObject *const *args, size_t nargsf,
                    PyObject *kwnames)
{
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (kwnames != NULL || nargs > 2) {
        return _PyObject_MakeTpCall(_PyThreadState_GET(), type, args, nargs, kwnames);
    }
    PyGreenlet *parent = _PyGreenlet_GetCurrent();
    PyGreenlet *g = parent ? PyObject_GC_New(PyGreenlet, &PyGreenlet_Type) : NULL;
    if (g == NULL) {
        Py_XDECREF(parent);
        return NULL;
    }
    g->weakreflist = g->dict = NULL;
    g->tasklet = NULL;
    _PyObject_GC_TRACK(g);
    int err = init_tasklet(sched_of(parent->tasklet), g, parent);
    Py_DECREF(parent);
    if (err == 0 && nargs > 0) {
        g->tasklet->tempval = Py_NewRef(args[0]);
    }
    if (err == 0 && nargs > 1 && args[1] != Py_None) {
        err = _PyGreenlet_SetParent(g, args[1]);
    }
    if (err < 0) {
        Py_CLEAR(g);
    }
    return (PyObject *)g;
}

/* --- run, parent ----------------------------------------------------------------------------- */

/* The greenlet's tasklet; NULL with an exception if it has none any more. */
static PyTaskletObject *
get_tasklet(PyGreenlet *g)
{
    if (g->tasklet == NULL) {
        PyErr_SetString(_PyGreenlet_Error, "the greenlet has been garbage collected");
    }
    return g->tasklet;
}

static int
check_not_main(PyGreenlet *g)
{
    if (greenlet_is_main(g)) {
        PyErr_SetString(PyExc_AttributeError, "Main greenlets do not have a run attribute.");
        return -1;
    }
    return 0;
}

static PyObject *
greenlet_get_run(PyObject *self, void *Py_UNUSED(closure))
{
    PyGreenlet *g = greenlet_cast(self);
    if (check_not_main(g) < 0) {
        return NULL;
    }
    if (!greenlet_is_pending(g) || g->tasklet->tempval == NULL) {
        PyErr_SetString(PyExc_AttributeError, "run");
        return NULL;
    }
    return Py_NewRef(g->tasklet->tempval);
}

static int
greenlet_set_run(PyObject *self, PyObject *run, void *Py_UNUSED(closure))
{
    PyGreenlet *g = greenlet_cast(self);
    if (check_not_main(g) < 0) {
        return -1;
    }
    if (!greenlet_is_pending(g)) {
        PyErr_SetString(PyExc_AttributeError,
                        "run cannot be set after the start of the greenlet");
        return -1;
    }
    Py_XSETREF(g->tasklet->tempval, Py_XNewRef(run));
    return 0;
}

static PyObject *
greenlet_get_parent(PyObject *self, void *Py_UNUSED(closure))
{
    PyGreenlet *parent = _PyGreenlet_GetParent(greenlet_cast(self));
    return Py_NewRef(parent ? (PyObject *)parent : Py_None);
}

int
_PyGreenlet_SetParent(PyGreenlet *g, PyObject *value)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "can't delete attribute");
        return -1;
    }
    PyTaskletObject *t = get_tasklet(g);
    if (t == NULL) {
        return -1;
    }
    if (!_PyGreenlet_IsTasklet(t)) {
        PyErr_SetString(PyExc_AttributeError,
                        greenlet_is_main(g) ? "cannot set the parent of a main greenlet"
                        : "cannot set the parent of a tasklet's greenlet");
        return -1;
    }
    if (!_PyGreenlet_Check(value)) {
        PyErr_Format(PyExc_TypeError, "GreenletChecker: Expected any type of greenlet, not %s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    PyGreenlet *last = NULL;
    for (PyGreenlet *p = greenlet_cast(value); p != NULL; p = _PyGreenlet_GetParent(p)) {
        if (p == g) {
            PyErr_SetString(PyExc_ValueError, "cyclic parent chain");
            return -1;
        }
        last = p;
    }
    if (!greenlet_is_main(last)) {
        PyErr_SetString(PyExc_ValueError, "parent must not be garbage collected");
        return -1;
    }
    if (!greenlet_is_pending(g) && sched_of(last->tasklet) != sched_of(t)) {
        PyErr_SetString(PyExc_ValueError, "parent cannot be on a different thread");
        return -1;
    }
    Py_XSETREF(greenlet_tasklet_cast(t)->parent, (PyGreenlet *)Py_NewRef(value));
    return 0;
}

static int
greenlet_set_parent(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    return _PyGreenlet_SetParent(greenlet_cast(self), value);
}

/* --- other attributes --------------------------------------------------------------------------- */

/* Its thread has ended: what it holds is of no use any more. */
static void
release_state(PyGreenlet *g)
{
    PyTaskletObject *t = g->tasklet;
    if (greenlet_thread_exited(g) && _PyGreenlet_IsTasklet(t)
        && t->state == TASKLET_PAUSED) {
        Py_INCREF(g);
        _PyTasklet_MakeIdle(t);
        Py_CLEAR(*context_of(t));
        Py_DECREF(g);
    }
}

static PyObject *
greenlet_get_dead(PyObject *self, void *Py_UNUSED(closure))
{
    PyGreenlet *g = greenlet_cast(self);
    int dead = !greenlet_is_active(g) && !greenlet_is_pending(g);
    release_state(g);
    return PyBool_FromLong(dead);
}

static PyObject *
greenlet_get_frame(PyObject *self, void *Py_UNUSED(closure))
{
    PyGreenlet *g = greenlet_cast(self);
    if (!greenlet_is_active(g) || tasklet_is_executing(g->tasklet)) {
        Py_RETURN_NONE;
    }
    _PyInterpreterFrame *frame = _PyFrame_GetFirstComplete(_PyTasklet_TopFrame(g->tasklet));
    if (frame == NULL) {
        Py_RETURN_NONE;
    }
    return Py_XNewRef(_PyFrame_GetFrameObject(frame));
}

/* Where its context is: in the thread state while it runs. */
static PyObject **
context_slot(PyGreenlet *g, PyThreadState *tstate, const char *what)
{
    PyTaskletObject *t = get_tasklet(g);
    if (t == NULL || !greenlet_is_active(g) || !tasklet_is_executing(t)) {
        return t ? context_of(t) : NULL;
    }
    if (sched_of(t)->tstate != tstate) {
        PyErr_Format(PyExc_ValueError, "cannot %s context of a greenlet that is running in a "
                     "different thread", what);
        return NULL;
    }
    return &tstate->context;
}

static PyObject *
greenlet_get_context(PyObject *self, void *Py_UNUSED(closure))
{
    PyObject **slot = context_slot(greenlet_cast(self), _PyThreadState_GET(), "get");
    if (slot == NULL) {
        return NULL;
    }
    return Py_NewRef(*slot ? *slot : Py_None);
}

static int
greenlet_set_context(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "can't delete context attribute");
        return -1;
    }
    if (value != Py_None && !PyContext_CheckExact(value)) {
        PyErr_SetString(PyExc_TypeError,
                        "greenlet context must be a contextvars.Context or None");
        return -1;
    }
    PyThreadState *tstate = _PyThreadState_GET();
    PyObject **slot = context_slot(greenlet_cast(self), tstate, "set");
    if (slot == NULL) {
        return -1;
    }
    PyObject *old = *slot;
    *slot = value == Py_None ? NULL : Py_NewRef(value);
    if (slot == &tstate->context) {
        tstate->context_ver++;
    }
    Py_XDECREF(old);
    return 0;
}

/* What it takes in bytes, C stack and frames. */
static Py_ssize_t
saved_bytes(PyGreenlet *g)
{
    if (!greenlet_is_active(g) || tasklet_is_executing(g->tasklet)) {
        return 0;
    }
    PyTaskletObject *t = g->tasklet;
    Py_ssize_t n = 0;
    if (_PyTasklet_IsHard(t)) {
        _PyStackless_Slice *slice = &extra_of(t)->hard->slice;
        n += slice->saved_to > slice->near ? slice->saved_to - slice->near : 0;
    }
    for (_PyInterpreterFrame *f = _PyTasklet_TopFrame(t);
         f != NULL && f->owner != FRAME_OWNED_BY_CSTACK; f = f->previous) {
        n += _PyFrame_GetCode(f)->co_framesize * (Py_ssize_t)sizeof(PyObject *);
    }
    return n;
}

static PyObject *
greenlet_get_stack_saved(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(saved_bytes(greenlet_cast(self)));
}

static PyObject *
greenlet_get_dict(PyObject *self, void *Py_UNUSED(closure))
{
    PyGreenlet *g = greenlet_cast(self);
    if (g->dict == NULL) {
        g->dict = PyDict_New();
    }
    return Py_XNewRef(g->dict);
}

static int
greenlet_set_dict(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "__dict__ may not be deleted");
        return -1;
    }
    if (!PyDict_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "__dict__ must be a dictionary");
        return -1;
    }
    Py_XSETREF(greenlet_cast(self)->dict, Py_NewRef(value));
    return 0;
}

static int
greenlet_bool(PyObject *self)
{
    return greenlet_is_active(greenlet_cast(self));
}

static PyObject *
greenlet_getstate(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyErr_Format(PyExc_TypeError, "cannot serialize '%s' object", Py_TYPE(self)->tp_name);
    return NULL;
}

static PyObject *
greenlet_repr(PyObject *self)
{
    PyGreenlet *g = greenlet_cast(self);
    int exited = greenlet_thread_exited(g);
    int active = greenlet_is_active(g), pending = greenlet_is_pending(g);
    release_state(g);
    _PyStackless_Scheduler *sched = g->tasklet && !pending && !exited
                                    ? sched_of(g->tasklet) : NULL;
    const char *name = Py_TYPE(self)->tp_name;
    if (!active && !pending) {
        return PyUnicode_FromFormat("<%s object at %p (otid=%p)%s dead>", name, self, sched,
                                    exited ? " (thread exited)" : "");
    }
    const char *where = "";
    if (active) {
        where = sched->tstate == _PyThreadState_GET() && sched->current == g->tasklet
                ? " current" : " suspended";
    }
    return PyUnicode_FromFormat("<%s object at %p (otid=%p)%s%s%s%s>", name, self, sched,
                                where, active ? " active" : "",
                                pending ? " pending" : " started",
                                greenlet_is_main(g) ? " main" : "");
}

/* --- the type --------------------------------------------------------------------------------------- */

PyDoc_STRVAR(switch_doc,
"switch($self, /, *args, **kwargs)\n--\n\n"
"Leave the calling greenlet and go on in this one.\n\n"
"A greenlet that has not run yet is started: run(*args, **kwargs).  Otherwise its own\n"
"pending switch() returns the one argument, or the tuple args, the dict kwargs, or the\n"
"pair of both.  A dead greenlet's parent gets it instead.  Returns what is handed over\n"
"when somebody switches back.  Raises greenlet.error if the greenlet belongs to another\n"
"thread, or if its tasklet waits for something else than a switch.");

PyDoc_STRVAR(throw_doc,
"throw(typ=GreenletExit, val=None, tb=None)\n\n"
"Switch to the greenlet, where the exception is raised.  GreenletExit thrown into a dead\n"
"greenlet is returned.");

PyDoc_STRVAR(getstate_doc,
"__getstate__($self, /)\n--\n\nRaises TypeError: greenlets cannot be serialized.");

static PyMethodDef greenlet_methods[] = {
    {"switch", _PyCFunction_CAST(_PyGreenlet_SwitchMethod), METH_FASTCALL | METH_KEYWORDS,
     switch_doc},
    {"throw", _PyCFunction_CAST(_PyGreenlet_ThrowMethod), METH_FASTCALL, throw_doc},
    {"__getstate__", greenlet_getstate, METH_NOARGS, getstate_doc},
    {NULL}
};

static PyGetSetDef greenlet_getset[] = {
    {"__dict__", greenlet_get_dict, greenlet_set_dict, NULL},
    {"run", greenlet_get_run, greenlet_set_run,
     PyDoc_STR("What it will call; only before it is started.")},
    {"parent", greenlet_get_parent, greenlet_set_parent,
     PyDoc_STR("The greenlet that gets its result; None for the main greenlet.")},
    {"gr_frame", greenlet_get_frame, NULL,
     PyDoc_STR("The topmost frame of a suspended greenlet, else None.")},
    {"gr_context", greenlet_get_context, greenlet_set_context,
     PyDoc_STR("Its contextvars.Context, or None: not made yet.")},
    {"dead", greenlet_get_dead, NULL, PyDoc_STR("It has ended, or its thread has.")},
    {"_stack_saved", greenlet_get_stack_saved, NULL,
     PyDoc_STR("How many bytes of frames and C stack it has set aside.")},
    {NULL}
};

static PyNumberMethods greenlet_as_number = {
    .nb_bool = greenlet_bool,
};

PyDoc_STRVAR(greenlet_doc,
"greenlet(run=None, parent=None) -> greenlet\n\n"
"A coroutine that is switched by hand: g.switch().\n\n"
"run: what it calls; may be set as an attribute or defined by a subclass.  parent: the\n"
"greenlet that gets its result or its exception (default: the calling one).");

PyTypeObject PyGreenlet_Type = {
    PyVarObject_HEAD_INIT(&PyType_Type, 0)
    .tp_name = "greenlet.greenlet",
    .tp_basicsize = sizeof(PyGreenlet),
    .tp_dealloc = greenlet_dealloc,
    .tp_repr = greenlet_repr,
    .tp_as_number = &greenlet_as_number,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_doc = greenlet_doc,
    .tp_traverse = greenlet_traverse,
    .tp_clear = greenlet_clear,
    .tp_finalize = greenlet_finalize,
    .tp_weaklistoffset = offsetof(PyGreenlet, weakreflist),
    .tp_dictoffset = offsetof(PyGreenlet, dict),
    .tp_methods = greenlet_methods,
    .tp_getset = greenlet_getset,
    .tp_init = greenlet_init,
    .tp_alloc = PyType_GenericAlloc,
    .tp_new = greenlet_new,
    .tp_free = PyObject_GC_Del,
    .tp_vectorcall = greenlet_vectorcall,
};
