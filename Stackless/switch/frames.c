/* The frames of tasklets that have been left.

   They are promoted once: when a tasklet is left, its frames on the data stack move to
   heap blocks and run there from then on; _PyStackless_ClearFrame() frees them.  The data
   stack is then as the dispatcher found it, which also tells, without a walk, that there
   is nothing to promote. */

#include "Python.h"
#include "pycore_frame.h"         // _PyFrame_ClearExceptCode()
#include "pycore_gc.h"            // _PyGC_CLEAR_FINALIZED()
#include "pycore_genobject.h"     // _PyFrame_GetGenerator()
#include "pycore_pyerrors.h"      // _PyErr_ClearExcState()
#include "pycore_pystate.h"       // _PyThreadState_PopFrame()
#include "Stackless/inline/inline.h" // _PyStackless_AbandonFrame()
#include "Stackless/switch/switch.h"

int
_PyStackless_PromoteFrames(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    _PyInterpreterFrame **link = &tstate->current_frame;
    while (tstate->datastack_top != sched->datastack_base) {
        _PyInterpreterFrame *old = *link;
        assert(old->owner != FRAME_OWNED_BY_CSTACK);
        if (old->owner == FRAME_OWNED_BY_THREAD) {
            if (_PyStackless_MoveFrame(sched, link) < 0) {
                return -1;
            }
            if ((PyObject **)old > &tstate->datastack_chunk->data[0]) {
                tstate->datastack_top = (PyObject **)old;
            }
            else {
                _PyThreadState_PopFrame(tstate, old);         // and its chunk
            }
        }
        link = &(*link)->previous;
    }
    return 0;
}

/* The values before `first` have been dropped. */
static Py_NO_INLINE void
clear_frame_from(PyThreadState *tstate, _PyInterpreterFrame *frame, int first)
{
    tstate->c_recursion_remaining--;
    if (frame->frame_obj != NULL || frame->f_locals != NULL) {
        assert(first == 0);
        _PyFrame_ClearExceptCode(frame);
    }
    else {
        int stacktop = frame->stacktop;
        frame->stacktop = 0;
        for (int i = first; i < stacktop; i++) {
            Py_XDECREF(frame->localsplus[i]);
        }
        Py_DECREF(frame->f_funcobj);
    }
    tstate->c_recursion_remaining++;
    PyObject *code = frame->f_executable;
    _PyStackless_FreeFrame(_PyStackless_PeekScheduler(tstate), frame,
                           ((PyCodeObject *)code)->co_framesize);
    Py_DECREF(code);
}

/* As long as no reference is the last one, nothing is called, and nothing has to be saved
   for a call. */
void
_PyStackless_ClearFrame(PyThreadState *tstate, _PyInterpreterFrame *frame)
{
    assert(frame->owner == FRAME_OWNED_BY_TASKLET);
    if (((uintptr_t)frame->frame_obj | (uintptr_t)frame->f_locals) != 0) {
        clear_frame_from(tstate, frame, 0);
        return;
    }
    int stacktop = frame->stacktop;
    for (int i = 0; i < stacktop; i++) {
        PyObject *op = frame->localsplus[i];
        if (op != NULL) {
            if (_PyStackless_IsLastReference(op)) {
                clear_frame_from(tstate, frame, i);
                return;
            }
            _PyStackless_DropReference(op);
        }
    }
    PyObject *func = frame->f_funcobj, *code = frame->f_executable;
    if (_PyStackless_IsLastReference(func) || _PyStackless_IsLastReference(code)) {
        clear_frame_from(tstate, frame, stacktop);
        return;
    }
    _PyStackless_DropReference(func);
    _PyStackless_DropReference(code);
    _PyStackless_FreeFrame(_PyStackless_PeekScheduler(tstate), frame,
                           ((PyCodeObject *)code)->co_framesize);
}

/* --- letting go of frames --------------------------------------------------------- */

/* A generator that was running in a dropped tasklet: its frame will never go on. */
static void
drop_generator_frame(_PyInterpreterFrame *frame)
{
    PyGenObject *gen = _PyFrame_GetGenerator(frame);
    gen->gi_frame_state = FRAME_CLEARED;
    gen->gi_exc_state.previous_item = NULL;
    frame->previous = NULL;
    _PyFrame_ClearExceptCode(frame);
    _PyErr_ClearExcState(&gen->gi_exc_state);
}

/* Does it wait for a generator (or coroutine) that executes? */
static int
delegates_to_running(PyGenObject *gen)
{
    while (gen->gi_frame_state == FRAME_SUSPENDED_YIELD_FROM) {
        PyObject *to = _PyFrame_StackPeek((_PyInterpreterFrame *)gen->gi_iframe);
        if (!PyGen_CheckExact(to) && !PyCoro_CheckExact(to)) {
            return 0;
        }
        gen = (PyGenObject *)to;
    }
    return gen->gi_frame_state == FRAME_EXECUTING;
}

/* tp_finalize of generators and coroutines.  One that executes is never without an owner,
   unless the collector has found it together with the tasklet that is suspended in it: the
   finalizers of all are called before anything is cleared.  Upstream's would complain, or hand
   an async generator to its event loop; this one leaves it to the tasklet, which will drop it,
   or go on with it if another finalizer sees to that: then its own is still due. */
static void
finalize_generator(PyObject *self)
{
    PyGenObject *gen = (PyGenObject *)self;
    if (gen->gi_frame_state == FRAME_EXECUTING) {
        _PyGC_CLEAR_FINALIZED(self);
        return;
    }
    if (gen->gi_frame_state == FRAME_SUSPENDED_YIELD_FROM
        && _PyStackless_MayBeCollecting(_PyThreadState_GET()) && delegates_to_running(gen)) {
        gen->gi_frame_state = FRAME_SUSPENDED;     // closes this one alone
    }
    _PyGen_Finalize(self);
}

void
_PyStackless_InitGenerators(void)
{
    PyGen_Type.tp_finalize = finalize_generator;
    PyCoro_Type.tp_finalize = finalize_generator;
    PyAsyncGen_Type.tp_finalize = finalize_generator;
}

void
_PyTasklet_DropFrames(PyTaskletObject *t)
{
    PyThreadState *tstate = _PyThreadState_GET();
    if (!(t->flags & TASKLET_STARTED)) {
        PyObject *func = t->func;
        PyObject *args = t->args;
        t->func = NULL;
        t->args = NULL;
        t->flags &= ~TASKLET_HAS_KWARGS;
        Py_XDECREF(func);
        Py_XDECREF(args);
        return;
    }
    _PyInterpreterFrame *frame = t->frame;
    t->frame = NULL;
    t->flags &= ~TASKLET_WITH_FRAMES;
    t->depth = 0;
    _PyStackless_LeaveContexts(t, frame);          // as long as it has no other one
    _PyStackless_ClearExtra(tstate, t);
    while (frame != NULL && frame->owner != FRAME_OWNED_BY_CSTACK) {
        _PyInterpreterFrame *previous = frame->previous;
        if (frame->owner == FRAME_OWNED_BY_GENERATOR) {
            drop_generator_frame(frame);
        }
        else {
            _PyStackless_AbandonFrame(sched_of(t), frame);
            _PyStackless_ClearFrame(tstate, frame);
        }
        frame = previous;
    }
}
