/* All schedulers of the process: their table, the memory of one, and its end when neither
   a thread nor a tasklet refers to it any more. */

#include "Python.h"
#include "Stackless/state/state.h"

_PyStackless_Scheduler *_PyStackless_schedulers[STACKLESS_MAX_SCHEDULERS];
static int next_index;                 // where to look for a free one

/* Gives it an index.  Interpreters with a GIL of their own may do so at the same time.  -1
   with an exception: all are in use. */
static int
register_scheduler(_PyStackless_Scheduler *sched)
{
    int start = _Py_atomic_load_int_relaxed(&next_index);
    for (int i = 0; i < STACKLESS_MAX_SCHEDULERS; i++) {
        sched->index = (uint16_t)(start + i);
        void *expected = NULL;
        if (_Py_atomic_compare_exchange_ptr(&_PyStackless_schedulers[sched->index],
                                            &expected, sched)) {
            _Py_atomic_store_int_relaxed(&next_index, sched->index + 1);
            return 0;
        }
    }
    PyErr_Format(PyExc_RuntimeError, "at most %d threads can use tasklets, those included whose "
                 "tasklets outlived them", STACKLESS_MAX_SCHEDULERS);
    return -1;
}

static void
unregister_scheduler(_PyStackless_Scheduler *sched)
{
    _Py_atomic_store_ptr(&_PyStackless_schedulers[sched->index], NULL);
    _Py_atomic_store_int_relaxed(&next_index, sched->index);
}

_PyStackless_Scheduler *
_PyStackless_AllocScheduler(void)
{
    _PyStackless_Scheduler *sched = PyMem_Calloc(1, sizeof(*sched));
    if (sched == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (register_scheduler(sched) < 0) {
        PyMem_Free(sched);
        return NULL;
    }
    sched->refcount = 1;
    return sched;
}

void
_PyStackless_ForgetBusy(_PyStackless_Scheduler *sched)
{
    PyChannelObject *ch;
    while ((ch = sched->busy) != NULL) {
        sched->busy = ch->busy_next;
        ch->busy_next = NULL;
        ch->busy_link = NULL;
    }
}

static void
free_datastack(_PyStackless_Scheduler *sched)
{
    _PyStackChunk *root = sched->datastack_root;
    if (root != NULL) {
        sched->datastack_root = NULL;
        _PyObject_VirtualFree(root, root->size);
    }
}

static void
free_frame_pool(_PyStackless_Scheduler *sched)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(sched->kept); i++) {
        while (sched->kept[i].first != NULL) {
            PyMem_Free(_PyStackless_TakeFrame(sched, i));
        }
    }
}

static void
free_kept_methods(_PyStackless_Scheduler *sched)
{
    while (sched->nkept_methods > 0) {
        PyObject *op = sched->kept_methods[--sched->nkept_methods];
        ((PyMethodObject *)op)->im_func = Py_None;     // what it holds must be something
        ((PyMethodObject *)op)->im_self = Py_None;
        _PyObject_GC_TRACK(op);
        Py_DECREF(op);
    }
}

void
_PyStackless_ReleaseScheduler(_PyStackless_Scheduler *sched)
{
    if (--sched->refcount == 0) {
        assert(sched->tstate == NULL);
        _PyStackless_ForgetBusy(sched);
        unregister_scheduler(sched);
        PyObject *module = sched->module;
        free_datastack(sched);
        free_frame_pool(sched);
        free_kept_methods(sched);
        for (int i = 0; i < STACKLESS_KNOWN_MISSING; i++) {
            Py_XDECREF(sched->missing[i].name);
        }
        _PyStackless_SliceRelease(&sched->cstack.slice);
        PyMem_Free(sched->main_entries);
        PyMem_Free(sched->watchdogs);
        /* A daemon thread that slept when the interpreter ended still holds on to it. */
        if (sched->lock != NULL && sched->sleeper == NULL) {
            PyThread_release_lock(sched->lock);
            PyThread_free_lock(sched->lock);
        }
        PyMem_Free(sched);
        Py_XDECREF(module);
    }
}
