/* schedule(), send() and receive() when nothing special is going on, which is nearly
   always: both tasklets are suspended softly, nothing is traced, no callback is set.

   The builtin switches at once, instead of recording its wish for the hook.  That is
   safe where the eval loop drops only references that are not the last ones on its way
   from the builtin to the hook: no code can run in that window then.  All that is left
   to the hook is to take the token away and to go on with tstate->current_frame.

   Whatever is not obviously plain goes the general way (stackless_dispatch.c,
   stackless_sched.c), which does the same in any situation.  Both must agree: the
   tests run every scenario on both (STACKLESS_DEBUG=slow). */

#include "Python.h"
#include "opcode_ids.h"           // CALL_BUILTIN_FAST_WITH_KEYWORDS
#include "pycore_ceval.h"
#include "pycore_code.h"
#include "pycore_descrobject.h"   // PyMethodDescrObject
#include "pycore_opcode_metadata.h" // _PyOpcode_Caches
#include "pycore_stackless.h"

/* Is it the eval loop of the current tasklet, at nesting level 0, that calls `fn` by an
   instruction specialised for it, and will it drop no last reference afterwards?  (The
   argument of send() has a new owner by then.) */
static inline int
is_plain_call(PyThreadState *tstate, _PyStackless_Scheduler *sched, void *fn,
              PyObject *self, PyObject *const *args, int nargs)
{
    _PyInterpreterFrame *frame = tstate->current_frame;
    _Py_CODEUNIT instr = *frame->instr_ptr;
    size_t offset = (size_t)((char *)args - (char *)frame);
    if (tstate->c_recursion_remaining != sched->c_recursion_base || instr.op.arg != nargs
        || (instr.op.code != CALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS
            && instr.op.code != CALL_BUILTIN_FAST_WITH_KEYWORDS)
        || offset > _PyFrame_GetCode(frame)->co_framesize * sizeof(PyObject *)) {
        return 0;
    }
    PyObject *callable = args[-2];
    if (callable == NULL || Py_REFCNT(callable) == 1) {
        return 0;
    }
    if (PyCFunction_CheckExact(callable)) {
        PyCFunctionObject *func = (PyCFunctionObject *)callable;
        return (void *)func->m_ml->ml_meth == fn && func->m_self == self
               && args[-1] == NULL;
    }
    return Py_IS_TYPE(callable, &PyMethodDescr_Type)
           && (void *)((PyMethodDescrObject *)callable)->d_method->ml_meth == fn
           && args[-1] == self && Py_REFCNT(self) > 1;
}

/* Can the current tasklet be left, and `next` be entered, by swapping nothing but
   frames? */
static inline int
is_plain_switch(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                PyTaskletObject *next)
{
    PyTaskletObject *t = sched->current;
    uintptr_t special =
        (uintptr_t)tstate->c_tracefunc
        | (uintptr_t)tstate->c_profilefunc
        | ((uintptr_t)tstate->exc_info ^ (uintptr_t)&sched->exc_root)
        | (uintptr_t)sched->exc_root.exc_value
        | ((uintptr_t)tstate->datastack_top ^ (uintptr_t)sched->datastack_base)
        | (_Py_atomic_load_uintptr_relaxed(&tstate->eval_breaker) ^ sched->seen_version)
        | (uintptr_t)sched->mod->schedule_callback
        | (uintptr_t)sched->switch_trap
        | (uintptr_t)sched->in_schedule_callback
        | (uintptr_t)t->extra
        | (uintptr_t)t->tempval
        | (uintptr_t)next->extra
        | (uintptr_t)(next->epoch ^ sched->epoch)
        | (uintptr_t)((next->flags ^ TASKLET_STARTED)
                      & (TASKLET_STARTED | TASKLET_IS_MAIN | TASKLET_RAISES));
    if (special != 0) {
        return 0;
    }
    if (next->flags & TASKLET_RETURNS_NONE) {      // a sender; or inside run()
        return next->tempval == NULL
               && (sched->nwatchdogs == 0
                   || (sched->nwatchdogs == 1 && sched->watchdogs[0] != next));
    }
    return next->tempval == NULL || !Py_IS_TYPE(next->tempval, sched->mod->bomb_type);
}

/* Swaps: the queues and the state of the tasklet that is left are as they shall be. */
static inline void
plain_switch(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyTaskletObject *next)
{
    PyTaskletObject *t = sched->current;
    t->frame = tstate->current_frame;
    t->frame->return_offset = 1 + INLINE_CACHE_ENTRIES_CALL;
    _PyStackless_SwapThreadFields(tstate, t, next);
    assert(_PyStackless_IsLegal(next, TASKLET_CURRENT));
    next->state = TASKLET_CURRENT;
    sched->current = next;
    _PyStackless_Check(sched, NULL);
    _PyInterpreterFrame *frame = next->frame;
    next->frame = NULL;
    tstate->current_frame = frame;
    PyObject *value = next->tempval;
    next->tempval = NULL;
    if (value == NULL) {
        value = next->flags & TASKLET_RETURNS_SELF ? Py_NewRef(next) : Py_None;
    }
    next->flags &= ~(TASKLET_RETURNS_SELF | TASKLET_RETURNS_NONE);
    _PyFrame_StackPush(frame, value);
    frame->instr_ptr += frame->return_offset;
    frame->return_offset = 0;
    sched->switched = 1;
    tstate->current_exception = (PyObject *)&_PyStackless_UnwindToken.exc;
}

int
_PyStackless_FastSchedule(PyThreadState *tstate, _PyStackless_Scheduler *sched, void *fn,
                          PyObject *self, PyObject *const *args)
{
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = t->next;
    if ((t->flags & TASKLET_IS_MAIN) || next == t
        || !is_plain_call(tstate, sched, fn, self, args, 0)
        || !is_plain_switch(tstate, sched, next)) {
        return 0;
    }
    t->flags |= TASKLET_RETURNS_SELF;
    t->state = TASKLET_RUNNABLE;
    plain_switch(tstate, sched, next);
    return 1;
}

/* The current tasklet blocks on `ch`, and the next one of the run queue goes on. */
static inline int
block(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyChannelObject *ch,
      PyObject *value, tasklet_state state)
{
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = t->next;
    if ((t->flags & TASKLET_BLOCK_TRAP) || ch->closing || next == t
        || !is_plain_switch(tstate, sched, next)) {
        return 0;
    }
    if (value != NULL) {
        t->tempval = Py_NewRef(value);
        t->flags |= TASKLET_RETURNS_NONE;
    }
    _PyStackless_QueueUnlink(sched, t);
    t->state = (uint8_t)state;
    _PyChannel_Append(ch, t);          // with the queue's reference
    plain_switch(tstate, sched, next);
    return 1;
}

/* The partner that has waited longest becomes runnable.  Its reference moves too. */
static inline void
wake(_PyStackless_Scheduler *sched, PyTaskletObject *partner, PyTaskletObject *before)
{
    _PyChannel_Unlink(partner);
    _PyStackless_QueueLink(sched, before, partner);
    _PyStackless_SetListedState(partner, TASKLET_RUNNABLE);
}

int
_PyStackless_FastSend(PyThreadState *tstate, _PyStackless_Scheduler *sched, void *fn,
                      PyChannelObject *ch, PyObject *const *args)
{
    PyTaskletObject *t = sched->current;
    if ((t->flags & TASKLET_IS_MAIN) || sched->mod->channel_callback != NULL
        || ch->schedule_all
        || !is_plain_call(tstate, sched, fn, (PyObject *)ch, args, 1)) {
        return 0;
    }
    if (ch->balance >= 0) {
        return block(tstate, sched, ch, args[0], TASKLET_SENDING);
    }
    PyTaskletObject *partner = ch->first;
    if (ch->preference != -1 || partner->sched != sched || partner->tempval != NULL
        || Py_IS_TYPE(args[0], sched->mod->bomb_type)
        || !is_plain_switch(tstate, sched, partner)) {
        return 0;
    }
    wake(sched, partner, t->next);
    partner->tempval = Py_NewRef(args[0]);
    t->flags |= TASKLET_RETURNS_NONE;
    t->state = TASKLET_RUNNABLE;
    plain_switch(tstate, sched, partner);
    return 1;
}

int
_PyStackless_FastReceive(PyThreadState *tstate, _PyStackless_Scheduler *sched, void *fn,
                         PyChannelObject *ch, PyObject *const *args, PyObject **result)
{
    PyTaskletObject *t = sched->current;
    if (sched->mod->channel_callback != NULL || ch->schedule_all) {
        return 0;
    }
    PyTaskletObject *partner = ch->first;
    if (ch->balance <= 0) {
        return !(t->flags & TASKLET_IS_MAIN)
               && is_plain_call(tstate, sched, fn, (PyObject *)ch, args, 0)
               && block(tstate, sched, ch, NULL, TASKLET_RECEIVING);
    }
    PyObject *value = partner->tempval;
    if (ch->preference == 1 || partner->sched != sched || value == NULL
        || Py_IS_TYPE(value, sched->mod->bomb_type)) {
        return 0;
    }
    /* No switch, so it does not matter from where this is called. */
    partner->tempval = NULL;
    wake(sched, partner, t);
    *result = value;
    return 1;
}
