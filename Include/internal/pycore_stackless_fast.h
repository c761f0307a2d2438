/* schedule(), send() and receive() when nothing special is going on, which is nearly
   always: both tasklets are suspended softly, nothing is traced, no callback is set.

   The builtin switches at once, instead of recording its wish for the hook.  That is
   safe where the eval loop drops only references that are not the last ones on its way
   from the builtin to the hook: no code can run in that window then.  All that is left
   to the hook is to take the token away and to go on with tstate->current_frame.

   Whatever is not obviously plain goes the general way (stackless_dispatch.c,
   stackless_sched.c), which does the same in any situation.

   This is a header because what counts here is instructions: a switch costs about as
   many as the loop around it.  Each function returns true if the operation is done:
   the builtin returns NULL, for the token is set, or what is said there.  Otherwise
   nothing has been changed. */

#ifndef Py_INTERNAL_STACKLESS_FAST_H
#define Py_INTERNAL_STACKLESS_FAST_H

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "opcode_ids.h"           // CALL_BUILTIN_FAST_WITH_KEYWORDS
#include "pycore_code.h"          // INLINE_CACHE_ENTRIES_CALL
#include "pycore_stackless.h"

/* Is it the eval loop of the current tasklet, at nesting level 0, that calls by the
   instruction `opcode` (a specialised one), and will it drop no last reference
   afterwards?  (The argument of send() has a new owner by then.)  `callable` belongs to
   the module, which owns a reference too. */
static inline int
fast_is_plain_call(PyThreadState *tstate, _PyStackless_Scheduler *sched, int opcode,
                   PyObject *callable, PyObject *first, PyObject *const *args, int nargs)
{
    _PyInterpreterFrame *frame = tstate->current_frame;
    _Py_CODEUNIT instr = *frame->instr_ptr;
    size_t offset = (size_t)((char *)args - (char *)frame);
    return instr.op.code == opcode && instr.op.arg == nargs
           && tstate->c_recursion_remaining == sched->c_recursion_base
           && offset <= _PyFrame_GetCode(frame)->co_framesize * sizeof(PyObject *)
           && args[-2] == callable && args[-1] == first;
}

static inline int
fast_is_plain_method_call(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                          PyObject *descr, PyObject *self, PyObject *const *args,
                          int nargs)
{
    return Py_REFCNT(self) > 1
           && fast_is_plain_call(tstate, sched, CALL_METHOD_DESCRIPTOR_FAST_WITH_KEYWORDS,
                                 descr, self, args, nargs);
}

/* Can the current tasklet be left, and `next` be entered, by swapping nothing but
   frames?  One that has not been started only if can_start. */
static inline int
fast_is_plain_switch(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                     PyTaskletObject *next, int can_start)
{
    PyTaskletObject *t = sched->current;
    uintptr_t special =
        (uintptr_t)tstate->c_tracefunc
        | (uintptr_t)tstate->c_profilefunc
        | ((uintptr_t)tstate->exc_info ^ (uintptr_t)&sched->exc_root)
        | (uintptr_t)sched->exc_root.exc_value
        | ((uintptr_t)tstate->datastack_top ^ (uintptr_t)sched->datastack_base)
        | (_Py_atomic_load_uintptr_relaxed(&tstate->eval_breaker) ^ sched->seen_version)
        | (uintptr_t)sched->mod->unusual
        | (uintptr_t)sched->switch_trap
        | (uintptr_t)sched->unusual_switch
        | (uintptr_t)t->extra
        | (uintptr_t)t->tempval
        | (uintptr_t)next->extra
        | (uintptr_t)(next->flags & (TASKLET_IS_MAIN | TASKLET_RAISES));
    if (special != 0) {
        return 0;
    }
    if (!(next->flags & TASKLET_STARTED)) {
        return can_start && next->tempval == NULL;
    }
    if (next->epoch != sched->epoch) {
        return 0;
    }
    if (next->flags & TASKLET_RETURNS_NONE) {      // a sender; or inside run()
        return next->tempval == NULL
               && (sched->nwatchdogs == 0
                   || (sched->nwatchdogs == 1 && sched->watchdogs[0] != next));
    }
    return next->tempval == NULL || !Py_IS_TYPE(next->tempval, sched->mod->bomb_type);
}

/* The new current tasklet's frame, with the result of its pending call pushed. */
static inline _PyInterpreterFrame *
fast_resume(PyThreadState *tstate, PyTaskletObject *next)
{
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
    return frame;
}

/* The queues and the state of the tasklet that is left are as they shall be. */
static inline void
fast_make_current(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                  PyTaskletObject *next)
{
    _PyStackless_SwapThreadFields(tstate, sched->current, next);
    assert(_PyStackless_IsLegal(next, TASKLET_CURRENT));
    next->state = TASKLET_CURRENT;
    sched->current = next;
    _PyStackless_Check(sched, NULL);
}

/* Swaps, with the token under way. */
static inline void
fast_switch(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyTaskletObject *next)
{
    PyTaskletObject *t = sched->current;
    t->frame = tstate->current_frame;
    t->frame->return_offset = 1 + INLINE_CACHE_ENTRIES_CALL;
    fast_make_current(tstate, sched, next);
    fast_resume(tstate, next);
    sched->switched = 1;
    tstate->current_exception = (PyObject *)&_PyStackless_UnwindToken.exc;
}

static inline int
_PyStackless_FastSchedule(PyThreadState *tstate, PyObject *const *args)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched == NULL) {
        return 0;
    }
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = t->next;
    if ((t->flags & TASKLET_IS_MAIN) || next == t
        || !fast_is_plain_call(tstate, sched, CALL_BUILTIN_FAST_WITH_KEYWORDS,
                               sched->mod->schedule, NULL, args, 0)
        || !fast_is_plain_switch(tstate, sched, next, 0)) {
        return 0;
    }
    t->flags |= TASKLET_RETURNS_SELF;
    t->state = TASKLET_RUNNABLE;
    fast_switch(tstate, sched, next);
    return 1;
}

/* The current tasklet blocks on `ch`, and the next one of the run queue goes on. */
static inline int
fast_block(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyChannelObject *ch,
           PyObject *value, tasklet_state state)
{
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = t->next;
    if ((t->flags & TASKLET_BLOCK_TRAP) || ch->closing || next == t
        || !fast_is_plain_switch(tstate, sched, next, 0)) {
        return 0;
    }
    if (value != NULL) {
        t->tempval = Py_NewRef(value);
        t->flags |= TASKLET_RETURNS_NONE;
    }
    _PyStackless_QueueUnlink(sched, t);
    t->state = (uint8_t)state;
    _PyChannel_Append(ch, t);          // with the queue's reference
    fast_switch(tstate, sched, next);
    return 1;
}

/* The partner that has waited longest becomes runnable.  Its reference moves too. */
static inline void
fast_wake(_PyStackless_Scheduler *sched, PyTaskletObject *partner, PyTaskletObject *before)
{
    _PyChannel_Unlink(partner);
    _PyStackless_QueueLink(sched, before, partner);
    _PyStackless_SetListedState(partner, TASKLET_RUNNABLE);
}

static inline int
_PyStackless_FastSend(PyThreadState *tstate, PyChannelObject *ch, PyObject *const *args)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched == NULL) {
        return 0;
    }
    PyTaskletObject *t = sched->current;
    if ((t->flags & TASKLET_IS_MAIN) || sched->mod->channel_callback != NULL
        || ch->schedule_all
        || !fast_is_plain_method_call(tstate, sched, sched->mod->send, (PyObject *)ch,
                                      args, 1)) {
        return 0;
    }
    if (ch->balance >= 0) {
        return fast_block(tstate, sched, ch, args[0], TASKLET_SENDING);
    }
    PyTaskletObject *partner = ch->first;
    if (ch->preference != -1 || partner->sched != sched || partner->tempval != NULL
        || Py_IS_TYPE(args[0], sched->mod->bomb_type)
        || !fast_is_plain_switch(tstate, sched, partner, 0)) {
        return 0;
    }
    fast_wake(sched, partner, t->next);
    partner->tempval = Py_NewRef(args[0]);
    t->flags |= TASKLET_RETURNS_NONE;
    t->state = TASKLET_RUNNABLE;
    fast_switch(tstate, sched, partner);
    return 1;
}

/* *result: NULL, or the value if there was no need to switch. */
static inline int
_PyStackless_FastReceive(PyThreadState *tstate, PyChannelObject *ch,
                         PyObject *const *args, PyObject **result)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched == NULL) {
        return 0;
    }
    PyTaskletObject *t = sched->current;
    if (sched->mod->channel_callback != NULL || ch->schedule_all) {
        return 0;
    }
    PyTaskletObject *partner = ch->first;
    if (ch->balance <= 0) {
        return !(t->flags & TASKLET_IS_MAIN)
               && fast_is_plain_method_call(tstate, sched, sched->mod->receive,
                                            (PyObject *)ch, args, 0)
               && fast_block(tstate, sched, ch, NULL, TASKLET_RECEIVING);
    }
    PyObject *value = partner->tempval;
    if (ch->preference == 1 || partner->sched != sched || value == NULL
        || Py_IS_TYPE(value, sched->mod->bomb_type)) {
        return 0;
    }
    /* No switch, so it does not matter from where this is called. */
    partner->tempval = NULL;
    fast_wake(sched, partner, t);
    *result = value;
    return 1;
}

#endif /* !Py_INTERNAL_STACKLESS_FAST_H */
