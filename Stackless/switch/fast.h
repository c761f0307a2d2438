/* schedule(), send() and receive() when nothing special is going on, which is nearly
   always: both tasklets are suspended softly, nothing is traced, no callback is set.

   The specialised CALL instruction knows the builtin and carries the operation out
   itself, without calling it.  No code runs on the way: the operands are references
   that are not the last ones, or are handed on.

   Whatever is not obviously plain goes the general way (dispatch.c,
   sched/sched.c), which does the same in any situation.

   This is a header because what counts here is instructions: a switch costs about as
   many as the loop around it.  Each function returns true if the operation is done and
   tstate->current_frame is the frame to go on with, as _PyStackless_InlineInstruction()
   does.  Otherwise nothing has been changed. */

#ifndef STACKLESS_SWITCH_FAST_H
#define STACKLESS_SWITCH_FAST_H

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "pycore_code.h"          // INLINE_CACHE_ENTRIES_CALL
#include "Stackless/switch/switch.h"

/* Is this the eval loop of the current tasklet, at nesting level 0? */
static inline int
fast_is_level_0(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    return tstate->c_recursion_remaining == sched->c_recursion_base;
}

/* The instruction of `frame` is over: its operands from `base` on are no longer on the
   stack. */
static inline void
fast_end_call(_PyInterpreterFrame *frame, PyObject **base)
{
    frame->return_offset = 1 + INLINE_CACHE_ENTRIES_CALL;
    _PyFrame_SetStackPointer(frame, base);
}

/* The same, and the tasklet is about to be left: its frames move off the data stack.
   Returns `frame`, which may have moved.  NULL, with an exception: no memory; go on with
   tstate->current_frame. */
static inline _PyInterpreterFrame *
fast_leave(PyThreadState *tstate, _PyStackless_Scheduler *sched,
           _PyInterpreterFrame *frame, PyObject **base)
{
    fast_end_call(frame, base);
    if (tstate->datastack_top == sched->datastack_base) {
        return frame;
    }
    if ((PyObject **)frame == sched->datastack_base) {       // it is the only one
        if (_PyStackless_MoveFrame(sched, &tstate->current_frame) < 0) {
            return NULL;
        }
        tstate->datastack_top = sched->datastack_base;
        return tstate->current_frame;
    }
    return _PyStackless_PromoteFrames(tstate, sched) < 0 ? NULL : tstate->current_frame;
}

/* Whose method is called at `base`: by the method and self, or a bound method.  NULL if
   dropping them is not safe. */
static inline PyObject *
fast_self(PyObject **base)
{
    PyObject *callable = base[0], *self = base[1];
    if (_PyStackless_IsLastReference(callable)) {
        return NULL;
    }
    if (PyCFunction_CheckExact(callable)) {
        return self == NULL ? PyCFunction_GET_SELF(callable) : NULL;
    }
    return self != NULL && !_PyStackless_IsLastReference(self) ? self : NULL;
}

static inline void
fast_drop_method(PyObject *callable, PyObject *self)
{
    _PyStackless_DropReference(callable);
    if (self != NULL) {
        _PyStackless_DropReference(self);
    }
}

/* fast_leave(), and drops the method. */
static inline _PyInterpreterFrame *
fast_leave_method(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                  _PyInterpreterFrame *frame, PyObject **base, int again)
{
    PyObject *callable = base[0], *self = base[1];
    if (again) {
        fast_end_call(frame, base);
    }
    else {
        frame = fast_leave(tstate, sched, frame, base);
    }
    fast_drop_method(callable, self);
    return frame;
}

/* Zero if the current tasklet can be left by saving nothing but its frames and the exception
   that it handles, provided that its exc_info is near and its depth small. */
static inline uintptr_t
fast_special(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current;
    return (uintptr_t)tstate->c_tracefunc
        | (uintptr_t)tstate->c_profilefunc
        | (_Py_atomic_load_uintptr_relaxed(&tstate->eval_breaker) ^ sched->seen_version)
        | (uintptr_t)sched->mod->unusual
        | (uintptr_t)sched->unusual_switch
        | t->tagged_extra              // its context, if any, is in the thread state
        | (uintptr_t)t->tempval;
}

/* The commonest case, which the functions with a parameter `again` are compiled for a second
   time, without calls: outside of generators, with all frames in blocks of their own, no
   exception being handled, and not deep. */
static inline int
fast_is_again(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    return tstate->datastack_top == sched->datastack_base
           && tstate->exc_info == &sched->exc_root
           && _PyStackless_UsedDepth(tstate) <= STACKLESS_SMALL_DEPTH;
}

static inline int
fast_can_leave(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    return fast_special(tstate, sched) == 0
           && _PyStackless_DepthIsSmall(tstate, sched)
           && _PyStackless_ExcInfoIsNear(tstate, sched);
}

/* Can the current tasklet be left, and `next` be entered, by swapping nothing but
   frames?  One that has not been started only if can_start; if `again`, only one that is
   outside of generators, too, and in the same context. */
static inline int
fast_is_plain_switch(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                     PyTaskletObject *next, int can_start, int again)
{
    if (again) {
        assert(fast_is_again(tstate, sched));
        uintptr_t special = fast_special(tstate, sched)
                            | (uintptr_t)sched->exc_root.exc_value
                            | ((uintptr_t)tstate->context ^ next->tagged_extra);
        if (special != 0 || next->depth < 0) {
            return 0;
        }
    }
    else if (extra_of(next) != NULL || !fast_can_leave(tstate, sched)) {
        return 0;
    }
    int flags = next->flags & (TASKLET_STARTED | TASKLET_IS_MAIN | TASKLET_RAISES);
    if (flags != TASKLET_STARTED) {
        return flags == 0 && can_start && next->tempval == NULL;
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
    if (value == NULL) {
        value = next->flags & TASKLET_RETURNS_SELF
                ? _PyStackless_NewShortReference((PyObject *)next) : Py_None;
    }
    else {
        next->tempval = NULL;
    }
    next->flags &= ~(TASKLET_RETURNS_SELF | TASKLET_RETURNS_NONE);
    _PyFrame_StackPush(frame, value);
    return frame;
}

/* The queues and the state of the tasklet that is left are as they shall be. */
static inline void
fast_make_current(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                  PyTaskletObject *t, PyTaskletObject *next, int again)
{
    if (again) {
        _PyStackless_SwapDepth(tstate, t, next);
    }
    else {
        _PyStackless_SwapThreadFields(tstate, sched, t, next);
    }
    assert(_PyStackless_IsLegal(next, TASKLET_CURRENT));
    next->state = TASKLET_CURRENT;
    sched->current = next;
    _PyStackless_Check(sched, NULL);
}

/* Swaps `t`, which is current and executes `frame`, for `next`. */
static inline void
fast_switch(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyTaskletObject *t,
            _PyInterpreterFrame *frame, PyTaskletObject *next, int again)
{
    t->frame = frame;
    fast_make_current(tstate, sched, t, next, again);
    fast_resume(tstate, next);
}

/* --- schedule() --------------------------------------------------------------------- */

/* Parts of fast_schedule(), out of line for the sake of the registers that they take. */
extern int _PyStackless_ScheduleAgain(
    PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
    _PyStackless_Scheduler *sched);
extern int _PyStackless_ScheduleMoving(
    PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
    _PyStackless_Scheduler *sched);
extern int _PyStackless_ScheduleElsewhere(
    PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
    _PyStackless_Scheduler *sched);
extern int _PyStackless_ScheduleAny(PyThreadState *tstate, _PyInterpreterFrame *frame,
                                    PyObject **stack_pointer);
/* The operands are dropped; frames have yet to move.  Returns 1. */
extern int _PyStackless_ScheduleFrames(PyThreadState *tstate, _PyStackless_Scheduler *sched);

/* `state` and `flags` at once. */
static inline uint16_t
fast_state_of(uint8_t state, uint8_t flags)
{
    static_assert(offsetof(PyTaskletObject, flags) == offsetof(PyTaskletObject, state) + 1,
                  "state and flags are compared at once");
    return (uint16_t)(PY_BIG_ENDIAN ? state << 8 | flags : flags << 8 | state);
}

static inline uint16_t
fast_state(const PyTaskletObject *t)
{
    uint16_t both;
    memcpy(&both, (const char *)t + offsetof(PyTaskletObject, state), sizeof(both));
    return both;
}

static inline void
fast_set_state(PyTaskletObject *t, uint8_t state, uint8_t flags)
{
    uint16_t both = fast_state_of(state, flags);
    memcpy((char *)t + offsetof(PyTaskletObject, state), &both, sizeof(both));
}

/* Was `next` left in schedule(), and is not to be instrumented?  (Three fields at once.) */
static inline int
fast_was_scheduled(const _PyStackless_Scheduler *sched, const PyTaskletObject *next)
{
    static_assert(offsetof(PyTaskletObject, epoch) == offsetof(PyTaskletObject, state) + 2
                  && offsetof(_PyStackless_Scheduler, left_flags)
                     == offsetof(_PyStackless_Scheduler, left_state) + 1
                  && offsetof(_PyStackless_Scheduler, epoch)
                     == offsetof(_PyStackless_Scheduler, left_state) + 2,
                  "they are compared at once");
    return memcmp((const char *)next + offsetof(PyTaskletObject, state),
                  (const char *)sched + offsetof(_PyStackless_Scheduler, left_state),
                  sizeof(uint32_t)) == 0;
}

/* The end of fast_schedule(): the current tasklet is left in `frame`.  (The same fields at
   once, as they will be loaded: parts would have to be stored first.) */
static inline void
fast_schedule_leave(const _PyStackless_Scheduler *sched, PyTaskletObject *t,
                    _PyInterpreterFrame *frame)
{
    memcpy((char *)t + offsetof(PyTaskletObject, state),
           (const char *)sched + offsetof(_PyStackless_Scheduler, left_state),
           sizeof(uint32_t));
    t->frame = frame;
}

/* And `next`, which was left there, is current. */
static inline void
fast_schedule_enter(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                    PyTaskletObject *next)
{
    fast_set_state(next, TASKLET_CURRENT, TASKLET_STARTED);
    sched->current = next;
    _PyStackless_Check(sched, NULL);
    _PyInterpreterFrame *frame = next->frame;
    next->frame = NULL;
    tstate->current_frame = frame;
    _PyFrame_StackPush(frame, _PyStackless_NewShortReference((PyObject *)next));
}

/* The commonest switch: from one schedule() to another one.  _PyStackless_ScheduleAgain()
   does it, _PyStackless_ScheduleMoving() if the rest is as usual, but frames have to move,
   _PyStackless_ScheduleElsewhere() if one of the two is in a generator, handles an exception
   or is in a context of its own; otherwise, _PyStackless_ScheduleAny(). */
static inline int
fast_schedule(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (!fast_is_level_0(tstate, sched)) {
        return _PyStackless_ScheduleAbove(tstate, sched, frame, stack_pointer - 2);
    }
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = t->next;
    uintptr_t special = fast_special(tstate, sched)
        | (uintptr_t)stack_pointer[-1]
        | (uintptr_t)next->tempval;
    if (special != 0
        || fast_state(t) != fast_state_of(TASKLET_CURRENT, TASKLET_STARTED)
        || !fast_was_scheduled(sched, next)
        || _PyStackless_UsedDepth(tstate) > STACKLESS_SMALL_DEPTH
        || _PyStackless_IsLastReference(stack_pointer[-2])) {
        return _PyStackless_ScheduleAny(tstate, frame, stack_pointer);
    }
    uintptr_t elsewhere = ((uintptr_t)tstate->exc_info ^ (uintptr_t)&sched->exc_root)
        | (uintptr_t)sched->exc_root.exc_value
        | (next->tagged_extra ^ (uintptr_t)tstate->context);
    if (elsewhere != 0 || next->depth < 0) {
        return _PyStackless_ScheduleElsewhere(tstate, frame, stack_pointer, sched);
    }
    if (tstate->datastack_top != sched->datastack_base) {
        return _PyStackless_ScheduleMoving(tstate, frame, stack_pointer, sched);
    }
    return _PyStackless_ScheduleAgain(tstate, frame, stack_pointer, sched);
}

/* From `frame` to the next tasklet of the run queue, in the same context, both outside of
   generators. */
static inline int
fast_schedule_swap(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                   _PyInterpreterFrame *frame)
{
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = t->next;
    _PyStackless_SwapDepth(tstate, t, next);
    fast_schedule_leave(sched, t, frame);
    fast_schedule_enter(tstate, sched, next);
    return 1;
}

static inline int
fast_schedule_again(PyThreadState *tstate, _PyInterpreterFrame *frame,
                    PyObject **stack_pointer, _PyStackless_Scheduler *sched)
{
    _PyStackless_DropReference(stack_pointer[-2]);
    fast_end_call(frame, stack_pointer - 2);
    return fast_schedule_swap(tstate, sched, frame);
}

static inline int
fast_schedule_moving(PyThreadState *tstate, _PyInterpreterFrame *frame,
                     PyObject **stack_pointer, _PyStackless_Scheduler *sched)
{
    _PyStackless_DropReference(stack_pointer[-2]);
    fast_end_call(frame, stack_pointer - 2);
    _PyStackless_MoveTopFrames(tstate, sched);
    return tstate->datastack_top == sched->datastack_base
           ? fast_schedule_swap(tstate, sched, tstate->current_frame)
           : _PyStackless_ScheduleFrames(tstate, sched);
}

/* Is exc_info the scheduler's, or at once that of the generator whose frame it is? */
static inline int
fast_is_exc_info_at_hand(_PyInterpreterFrame *frame, int is_root)
{
    return is_root || frame->owner == FRAME_OWNED_BY_GENERATOR;
}

/* _PyStackless_MarkDepth() of t, which is left in `frame`, and what _PyStackless_SwapExcInfo()
   does with `next`, if exc_info is at hand. */
static inline void
fast_swap_exc_info(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyTaskletObject *t,
                   _PyInterpreterFrame *frame, PyTaskletObject *next)
{
    _PyErr_StackItem *root = &sched->exc_root;
    int marks = tstate->exc_info != root ? DEPTH_IN_GENERATOR : 0;
    if (root->exc_value != NULL) {
        _PyFrame_StackPush(frame, root->exc_value);
        root->exc_value = NULL;
        marks |= DEPTH_HANDLES;
    }
    if (marks != 0) {
        t->depth = (int16_t)~(t->depth | marks);
    }
    tstate->exc_info = root;
    if (next->depth < 0) {
        marks = ~next->depth;
        if (marks & DEPTH_IN_GENERATOR) {
            tstate->exc_info = &_PyFrame_GetGenerator(next->frame)->gi_exc_state;
        }
        if (marks & DEPTH_HANDLES) {
            root->exc_value = _PyFrame_StackPop(next->frame);
        }
        next->depth = 0;
        tstate->py_recursion_remaining = tstate->py_recursion_limit
                                         - (marks & STACKLESS_MARKED_DEPTH);
    }
}

static inline int
fast_schedule_elsewhere(PyThreadState *tstate, _PyInterpreterFrame *frame,
                        PyObject **stack_pointer, _PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = t->next;
    if ((next->tagged_extra & 1) || tstate->datastack_top != sched->datastack_base
        || _PyStackless_UsedDepth(tstate) > STACKLESS_MARKED_DEPTH
        || !fast_is_exc_info_at_hand(frame, tstate->exc_info == &sched->exc_root)
        || !fast_is_exc_info_at_hand(next->frame,
                                     !tasklet_has_mark(next, DEPTH_IN_GENERATOR))) {
        return _PyStackless_ScheduleAny(tstate, frame, stack_pointer);
    }
    _PyStackless_DropReference(stack_pointer[-2]);
    fast_end_call(frame, stack_pointer - 2);
    _PyStackless_SwapDepth(tstate, t, next);
    fast_schedule_leave(sched, t, frame);
    _PyStackless_SwapContext(tstate, t);
    fast_swap_exc_info(tstate, sched, t, frame, next);
    fast_schedule_enter(tstate, sched, next);
    return 1;
}

static inline int
fast_schedule_any(PyThreadState *tstate, _PyInterpreterFrame *frame,
                  PyObject **stack_pointer)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = t->next;
    assert(fast_is_level_0(tstate, sched));
    if (stack_pointer[-1] != NULL || next == t
        || _PyStackless_IsLastReference(stack_pointer[-2])
        || !fast_is_plain_switch(tstate, sched, next, 0, 0)) {
        return 0;
    }
    _PyStackless_DropReference(stack_pointer[-2]);
    frame = fast_leave(tstate, sched, frame, stack_pointer - 2);
    if (frame == NULL) {
        return 1;
    }
    t->flags |= TASKLET_RETURNS_SELF;
    t->state = TASKLET_RUNNABLE;
    fast_switch(tstate, sched, t, frame, next, 0);
    return 1;
}

/* --- channels ---------------------------------------------------------------------- */

/* `self`, whose method is called, if that can be done here, or NULL. */
static inline PyChannelObject *
fast_channel(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyObject **base,
             PyObject *self)
{
    /* What is dropped that nobody else may hold: the bound method, or self. */
    PyObject *held = base[1] == NULL ? base[0] : base[1];
    if (!Py_IS_TYPE(self, sched->mod->channel_type) || _PyStackless_IsLastReference(held)
        || !fast_is_level_0(tstate, sched) || sched->mod->channel_callback != NULL
        || channel_is_unusual((PyChannelObject *)self)) {
        return NULL;
    }
    return (PyChannelObject *)self;
}

/* The current tasklet blocks on `ch`, and the next one of the run queue goes on. */
static inline int
fast_block(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **base,
           PyChannelObject *ch, PyObject *value, tasklet_state state, int again)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = t->next;
    if ((t->flags & TASKLET_BLOCK_TRAP) || next == t
        || !fast_is_plain_switch(tstate, sched, next, 0, again)) {
        return 0;
    }
    frame = fast_leave_method(tstate, sched, frame, base, again);
    if (frame == NULL) {
        Py_XDECREF(value);
        return 1;
    }
    if (value != NULL) {
        t->tempval = value;
        t->flags |= TASKLET_RETURNS_NONE;
    }
    _PyStackless_QueueUnlink(sched, t);
    t->state = (uint8_t)state;
    _PyChannel_Append(sched, ch, t);   // with the queue's reference
    fast_switch(tstate, sched, t, frame, next, again);
    return 1;
}

/* The partner that has waited longest becomes runnable.  Its reference moves too. */
static inline void
fast_wake(_PyStackless_Scheduler *sched, PyTaskletObject *partner, PyTaskletObject *before)
{
    _PyChannel_Unlink(sched, partner);
    _PyStackless_QueueLink(sched, before, partner);
    _PyStackless_SetListedState(partner, TASKLET_RUNNABLE);
}

/* send() to the receiver that has waited longest, which goes on. */
static inline int
fast_send_to_waiting(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **base,
                     PyChannelObject *ch, int again)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    PyTaskletObject *t = sched->current;
    PyObject *value = base[2];
    PyTaskletObject *partner = ch->first;
    if (ch->preference != -1 || partner->sched != sched->index || partner->tempval != NULL
        || Py_IS_TYPE(value, sched->mod->bomb_type)
        || !fast_is_plain_switch(tstate, sched, partner, 0, again)) {
        return 0;
    }
    frame = fast_leave_method(tstate, sched, frame, base, again);
    if (frame == NULL) {
        Py_DECREF(value);
        return 1;
    }
    fast_wake(sched, partner, t->next);
    partner->tempval = value;
    t->flags |= TASKLET_RETURNS_NONE;
    t->state = TASKLET_RUNNABLE;
    fast_switch(tstate, sched, t, frame, partner, again);
    return 1;
}

/* Takes the value of a sender that waits, if that takes no switch, else NULL.  No matter
   from where it is called. */
static inline PyObject *
fast_take(_PyStackless_Scheduler *sched, PyChannelObject *ch)
{
    PyTaskletObject *partner = ch->first;
    PyObject *value = partner->tempval;
    if (ch->preference == 1 || partner->sched != sched->index || value == NULL
        || Py_IS_TYPE(value, sched->mod->bomb_type)) {
        return NULL;
    }
    partner->tempval = NULL;
    fast_wake(sched, partner, sched->current);
    return value;
}

/* receive() from a sender that waits. */
static inline int
fast_receive_from_waiting(_PyStackless_Scheduler *sched, _PyInterpreterFrame *frame,
                          PyObject **base, PyChannelObject *ch)
{
    PyObject *value = fast_take(sched, ch);
    if (value == NULL) {
        return 0;
    }
    fast_end_call(frame, base);
    fast_drop_method(base[0], base[1]);
    _PyFrame_StackPush(frame, value);
    return 1;
}

#endif /* !STACKLESS_SWITCH_FAST_H */
