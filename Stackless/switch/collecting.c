/* A garbage collection in which Python code waits: a finalizer, a weakref's callback, what
   gc.callbacks has.

   The collector keeps the heads of its lists on the C stack.  The objects in a list lead to
   its head, and may be taken off by anybody: when the last reference goes to what a finalizer
   has given away.  While the C stack of the tasklet that collects is not its own, that would
   write into somebody else's.  So the lists hang on heads in the scheduler then, and are hung
   back when it goes on.  (PyPI's greenlet leaves them where they are.)

   There is no second collection meanwhile, in no thread: the interpreter does not allow any
   while one is in progress. */

#include "Python.h"
#include "pycore_gc.h"            // PyGC_Head
#include "pycore_interp.h"        // PyInterpreterState.gc
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/switch/switch.h"

static void
init_list(PyGC_Head *head)
{
    head->_gc_next = head->_gc_prev = (uintptr_t)head;
}

/* What is in the list `from` is in the list `to` instead. */
static void
hang_list(PyGC_Head *from, PyGC_Head *to)
{
    init_list(to);
    if (_PyGCHead_NEXT(from) != from) {
        *to = *from;
        _PyGCHead_SET_PREV(_PyGCHead_NEXT(to), to);
        _PyGCHead_SET_NEXT(_PyGCHead_PREV(to), to);
        init_list(from);
    }
}

/* --- what the collector tells ------------------------------------------------------ */

void
_PyStackless_NoteCollection(PyThreadState *tstate, PyGC_Head *unreachable,
                            PyGC_Head *finalizers)
{
    PyThreadState *ts = PyInterpreterState_ThreadHead(tstate->interp);
    for (; ts != NULL; ts = PyThreadState_Next(ts)) {
        _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(ts);
        if (sched != NULL) {
            assert(!sched->collection.is_away);
            sched->collection = (stackless_collection){0};
        }
    }
    init_list(unreachable);
    init_list(finalizers);
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched != NULL) {
        sched->collection.owner = sched->current;
        sched->collection.heads[0] = unreachable;
        sched->collection.heads[1] = finalizers;
    }
}

/* NULL if nothing has been noted: the scheduler has been made by what the collector calls.
   Then whatever is put back over main's part of the stack has begun below that. */
static stackless_collection *
collection_of_thread(void)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(_PyThreadState_GET());
    return sched != NULL && _PyStackless_IsCollecting(sched) ? &sched->collection : NULL;
}

void
_PyStackless_CollectionCalls(PyGC_Head *list)
{
    stackless_collection *c = collection_of_thread();
    if (c != NULL) {
        c->heads[2] = list;
    }
}

void
_PyStackless_CollectionDeletes(PyGC_Head *list)
{
    init_list(list);
    _PyStackless_CollectionCalls(list);
}

/* --- the tasklet that collects ------------------------------------------------------ */

void
_PyStackless_HangListsAway(_PyStackless_Scheduler *sched)
{
    stackless_collection *c = &sched->collection;
    assert(!c->is_away);
    c->is_away = 1;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(c->heads); i++) {
        if (c->heads[i] != NULL) {
            hang_list(c->heads[i], &c->away[i]);
        }
    }
}

void
_PyStackless_HangListsBack(_PyStackless_Scheduler *sched)
{
    stackless_collection *c = &sched->collection;
    assert(c->is_away);
    c->is_away = 0;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(c->heads); i++) {
        if (c->heads[i] != NULL) {
            hang_list(&c->away[i], c->heads[i]);
        }
    }
}

void
_PyStackless_AbandonCollection(_PyStackless_Scheduler *sched)
{
    stackless_collection *c = &sched->collection;
    if (!c->is_away) {
        return;
    }
    struct _gc_runtime_state *gc = &_PyInterpreterState_GET()->gc;
    PyGC_Head *old = &gc->generations[NUM_GENERATIONS - 1].head;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(c->heads); i++) {
        PyGC_Head *list = &c->away[i], *op;
        while (c->heads[i] != NULL && (op = _PyGCHead_NEXT(list)) != list) {
            PyGC_Head *next = _PyGCHead_NEXT(op), *last = _PyGCHead_PREV(old);
            _PyGCHead_SET_NEXT(list, next);
            _PyGCHead_SET_PREV(next, list);
            op->_gc_prev &= ~_PyGC_PREV_MASK_COLLECTING;
            _PyGCHead_SET_NEXT(last, op);
            _PyGCHead_SET_PREV(op, last);
            _PyGCHead_SET_NEXT(op, old);
            _PyGCHead_SET_PREV(old, op);
        }
    }
    *c = (stackless_collection){0};
    _Py_atomic_store_int(&gc->collecting, 0);
}
