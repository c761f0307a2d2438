/* Hard switching: a tasklet is left with C functions between its frames.

   What such a tasklet keeps, besides what every suspended one keeps: the slice of C
   stack from its dispatcher on (cstack/cstack.c) and the live part of the data
   stack, both to be put back at the same addresses, for C code has pointers into them.

   The next tasklet, if it needs no slice, may begin at another dispatcher below the slice,
   which thus stays in place until somebody needs its memory: two that take turns within
   C functions end up at different places, and only one of them is copied.  Not if libraries
   might mind (libraries.c): then they begin at the same place, and both are copied.

   Tasklets have a data stack of their own, of which the first chunk stays for ever, so
   that its addresses can be restored whatever main has done in between.  Of this chunk
   the part in use is copied.  Later chunks are not shared: the tasklet takes them along.

   The frames of a tasklet that is suspended hard can be looked at, in their copies:
   frame objects refer to these, and `previous` leads from copy to copy, leaving out the
   entry frames, which are in the slice of C stack.  All that is undone on resumption.
   (An entry frame may be the topmost one, or follow another one: when a finalizer runs
   while the bottom frame of an eval loop, already unlinked, is being cleared.)

   The garbage collector keeps the heads of its lists on the C stack: see collecting.c. */

#include "Python.h"
#include "pycore_interp.h"        // PyInterpreterState.gc
#include "pycore_obmalloc.h"      // _PyObject_VirtualFree()
#include "pycore_pyerrors.h"      // _PyErr_GetRaisedException()
#include "pycore_pystate.h"       // _PyThreadState_PushFrame()
#include "Stackless/switch/switch.h"
#include "Stackless/switch/fast.h"

/* Above what Enter() and its callers take of the stack between the place where main
   asks for memory and the place where its slice ends. */
enum { ENTER_STACK = 8192 + STACKLESS_PLACE_DISTANCE + STACKLESS_PLACE_REACH };

/* No dispatcher begins so much lower in the stack than main's: the limit of the C
   recursion, which each of them has for itself, leaves that much room. */
enum { LOWER_BEGIN = 16 * 1024 };

/* --- the data stack of the tasklets -------------------------------------------- */

int
_PyStackless_DataStackInit(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    if (sched->datastack_root != NULL) {
        return 0;
    }
    stackless_datastack main;
    _PyStackless_DataStackGet(tstate, &main);
    _PyStackless_DataStackSet(tstate, &(stackless_datastack){0});
    _PyInterpreterFrame *frame = _PyThreadState_PushFrame(tstate, 1);
    if (frame != NULL) {
        _PyThreadState_PopFrame(tstate, frame);
        sched->datastack_root = tstate->datastack_chunk;
        sched->datastack_base = tstate->datastack_top;
    }
    _PyStackless_DataStackSet(tstate, &main);
    if (frame == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static stackless_datastack
datastack_of_root(_PyStackless_Scheduler *sched, size_t used)
{
    _PyStackChunk *root = sched->datastack_root;
    return (stackless_datastack){
        .chunk = root,
        .top = sched->datastack_base + used,
        .limit = (PyObject **)((char *)root + root->size),
    };
}

void
_PyStackless_DataStackEmpty(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    stackless_datastack empty = datastack_of_root(sched, 0);
    _PyStackless_DataStackSet(tstate, &empty);
}

/* How much of the first chunk is in use. */
static size_t
root_in_use(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    _PyStackChunk *root = sched->datastack_root;
    PyObject **top = tstate->datastack_chunk == root ? tstate->datastack_top
                                                     : &root->data[root->top];
    return (size_t)(top - sched->datastack_base);
}

/* --- leaving ------------------------------------------------------------------- */

static int
is_entry(_PyStackless_Scheduler *sched, _PyInterpreterFrame *frame)
{
    return frame->owner == FRAME_OWNED_BY_CSTACK && frame != &sched->base;
}

static int
reserve(void **mem, uint32_t *capacity, size_t wanted, size_t itemsize)
{
    if (wanted > *capacity) {
        void *new = PyMem_Realloc(*mem, wanted * itemsize);
        if (new == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        *mem = new;
        *capacity = (uint32_t)wanted;
    }
    return 0;
}

static int
prepare_hard(PyTaskletObject *t)
{
    if (_PyStackless_EnsureExtra(t) < 0) {
        return -1;
    }
    extra_of(t)->hard = PyMem_Calloc(1, sizeof(stackless_hard));
    if (extra_of(t)->hard == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* Is anything to be kept that takes a hard_rest? */
static inline int
needs_rest(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    return tstate->current_exception != NULL
           || tstate->tracing != 0 || tstate->what_event != -1
           || tstate->datastack_chunk != sched->datastack_root
           || _PyStackless_HasRareFields(tstate, sched);
}

static int
prepare_rest(stackless_hard *h)
{
    h->rest = PyMem_Malloc(sizeof(hard_rest));
    if (h->rest == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* Memory for all that a tasklet keeps but the slice. */
static inline int
prepare_state(PyThreadState *tstate, _PyStackless_Scheduler *sched, stackless_hard *h)
{
    h->slice.far = sched->far;
    if (h->rest == NULL && needs_rest(tstate, sched) && prepare_rest(h) < 0) {
        return -1;
    }
    /* There are no more entry frames than eval loops above the dispatcher's. */
    size_t nentries = (size_t)(sched->c_recursion_base - tstate->c_recursion_remaining)
                      / STACKLESS_EVAL_C_UNITS;
    size_t used = root_in_use(tstate, sched);
    if (nentries <= h->entries_size && used <= h->data_size) {
        return 0;
    }
    return reserve((void **)&h->entries, &h->entries_size, nentries,
                   sizeof(hard_entry)) < 0
           || reserve((void **)&h->data, &h->data_size, used,
                      sizeof(PyObject *)) < 0 ? -1 : 0;
}

/* Main is about to be left: can those who are suspended hard be put back over its part
   of the stack? */
int
_PyStackless_PrepareOverlay(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    char here;
    uintptr_t near = (uintptr_t)&here - ENTER_STACK;
    if (sched->nhard == 0 || near >= (uintptr_t)sched->hard_far) {
        return 0;
    }
    size_t nentries = 0;
    for (_PyInterpreterFrame *f = tstate->current_frame; f != NULL; f = f->previous) {
        nentries += f->owner == FRAME_OWNED_BY_CSTACK;
    }
    if (reserve((void **)&sched->main_entries, &sched->main_entries_size, nentries,
                sizeof(hard_entry)) < 0) {
        return -1;
    }
    if (_PyStackless_SliceReserve(&sched->cstack.slice,
                                  (uintptr_t)sched->hard_far - near) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int
is_overlaid(_PyStackless_Scheduler *sched, _PyInterpreterFrame *frame)
{
    return frame->owner == FRAME_OWNED_BY_CSTACK && (char *)frame < sched->hard_far;
}

/* Leaves out of the chain of main's frames the entry frames that may be overlaid. */
void
_PyStackless_UnlinkMainEntries(_PyStackless_Scheduler *sched)
{
    assert(sched->nmain_entries == 0);
    _PyInterpreterFrame **link = &sched->main_frame, *above = NULL, *f;
    while ((f = *link) != NULL) {
        if (is_overlaid(sched, f)) {
            sched->main_entries[sched->nmain_entries++] = (hard_entry){ above, f };
            do {
                f = f->previous;
            } while (f != NULL && is_overlaid(sched, f));
            *link = f;
        }
        else {
            above = f;
            link = &f->previous;
        }
    }
}

void
_PyStackless_LinkMainEntries(_PyStackless_Scheduler *sched)
{
    while (sched->nmain_entries > 0) {
        hard_entry *e = &sched->main_entries[--sched->nmain_entries];
        *(e->frame != NULL ? &e->frame->previous : &sched->main_frame) = e->entry;
    }
}

/* From here to its copy, or the other way, if it is in the first chunk. */
static _PyInterpreterFrame *
translate(_PyInterpreterFrame *frame, PyObject **from, PyObject **to, size_t size)
{
    size_t offset = (size_t)((char *)frame - (char *)from);
    return offset < size * sizeof(PyObject *)
           ? (_PyInterpreterFrame *)((char *)to + offset) : frame;
}

static void
move_frames_to_copy(_PyStackless_Scheduler *sched, PyTaskletObject *t, stackless_hard *h)
{
    if (h->data_used != 0) {           // or there may be no copy
        memcpy(h->data, sched->datastack_base, h->data_used * sizeof(PyObject *));
    }
    h->nentries = 0;
    _PyInterpreterFrame **link = &t->frame, *above = NULL, *frame;
    while ((frame = *link) != &sched->base) {
        if (is_entry(sched, frame)) {
            if (h->nentries == h->entries_size) {
                Py_FatalError("eval loops that are not counted as C recursion");
            }
            h->entries[h->nentries++] = (hard_entry){ above, frame };
            do {
                frame = frame->previous;
            } while (is_entry(sched, frame));
            *link = frame;
        }
        else {
            above = translate(frame, sched->datastack_base, h->data, h->data_used);
            *link = above;
            if (above->frame_obj != NULL) {
                above->frame_obj->f_frame = above;
            }
            link = &above->previous;
        }
    }
#ifdef Py_DEBUG
    memset(sched->datastack_base, 0xdd, h->data_used * sizeof(PyObject *));
#endif
}

static void
move_frames_back(_PyStackless_Scheduler *sched, PyTaskletObject *t, stackless_hard *h)
{
    size_t i = 0;
    PyObject **home = sched->datastack_base;
    _PyInterpreterFrame *entry = NULL;             // topmost
    if (h->nentries > 0 && h->entries[0].frame == NULL) {
        entry = h->entries[i++].entry;
    }
    for (_PyInterpreterFrame *frame = t->frame, *next; frame != &sched->base;
         frame = next) {
        next = frame->previous;
        if (i < h->nentries && h->entries[i].frame == frame) {
            frame->previous = h->entries[i++].entry;
        }
        else {
            frame->previous = translate(next, h->data, home, h->data_used);
        }
        if (frame->frame_obj != NULL) {
            frame->frame_obj->f_frame = translate(frame, h->data, home, h->data_used);
        }
    }
    t->frame = entry != NULL ? entry : translate(t->frame, h->data, home, h->data_used);
    if (h->data_used != 0) {
        memcpy(home, h->data, h->data_used * sizeof(PyObject *));
    }
}

static void
save_c_fields(PyThreadState *tstate, _PyStackless_Scheduler *sched, stackless_hard *h)
{
    hard_rest *rest = h->rest;
    if (rest != NULL) {
        _PyStackless_SaveCFields(tstate, &rest->fields);
        rest->root_top = sched->datastack_root->top;
        return;
    }
    /* So it was when memory was prepared; what the operation has called since then left
       all as it was, but for a token at most. */
    assert(tstate->current_exception == NULL && tstate->tracing == 0
           && tstate->datastack_chunk == sched->datastack_root);
    h->delete_later = tstate->delete_later;
    tstate->delete_later = NULL;
    _PyStackless_DropPending(sched);
    assert(!_PyStackless_HasRareFields(tstate, sched));
}

static void
load_c_fields(PyThreadState *tstate, _PyStackless_Scheduler *sched, stackless_hard *h)
{
    _PyStackless_DropPending(sched);
    assert(!_PyStackless_HasRareFields(tstate, sched));
    hard_rest *rest = h->rest;
    if (rest != NULL) {
        sched->datastack_root->top = rest->root_top;
        _PyStackless_LoadCFields(tstate, &rest->fields);
        return;
    }
    /* _PyStackless_LoadCFields() of what save_c_fields() has found to be as usual. */
    stackless_datastack datastack = datastack_of_root(sched, h->data_used);
    _PyStackless_DataStackSet(tstate, &datastack);
    tstate->current_exception = NULL;
    tstate->delete_later = h->delete_later;
    if (!sched->carry_tracing) {
        tstate->tracing = 0;
        tstate->what_event = -1;
    }
    sched->tracing_elsewhere = (uint16_t)tstate->tracing;
}

static void
link_hard(_PyStackless_Scheduler *sched, PyTaskletObject *t, stackless_hard *h)
{
    h->owner = t;
    h->next = sched->hard;
    h->link = &sched->hard;
    if (h->next != NULL) {
        h->next->link = &h->next;
    }
    sched->hard = h;
    sched->nhard++;
    if (h->slice.far > sched->hard_far) {
        sched->hard_far = h->slice.far;
    }
}

static void
unlink_hard(_PyStackless_Scheduler *sched, stackless_hard *h)
{
    *h->link = h->next;
    if (h->next != NULL) {
        h->next->link = h->link;
    }
    h->next = NULL;
    h->link = NULL;
    if (--sched->nhard == 0) {
        sched->hard_far = NULL;
    }
}

/* The current tasklet's part of the thread state goes to it. */
static inline void
save_hard(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyTaskletObject *t,
          stackless_hard *h)
{
    t->frame = tstate->current_frame;
    _PyStackless_SaveThreadFields(tstate, t);
    h->c_recursion_base = sched->c_recursion_base;
    h->c_recursion = sched->c_recursion_base - tstate->c_recursion_remaining;
    h->data_used = (uint32_t)root_in_use(tstate, sched);
    save_c_fields(tstate, sched, h);
    sched->announced.frame = NULL;
    move_frames_to_copy(sched, t, h);
    link_hard(sched, t, h);
    _PyStackless_Check(sched, t);
}

/* What is left after save_hard() is that of a dispatcher without a tasklet. */
static inline void
load_dispatcher(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    tstate->c_recursion_remaining = sched->c_recursion_base;
    _PyStackless_DataStackEmpty(tstate, sched);
    tstate->current_frame = &sched->base;
}

static inline Py_ALWAYS_INLINE void
load_hard(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyTaskletObject *t,
          stackless_hard *h)
{
    _PyStackless_NoteVersion(tstate, sched);
    unlink_hard(sched, h);
    _PyStackless_LoadThreadFields(tstate, t);
    move_frames_back(sched, t, h);
    load_c_fields(tstate, sched, h);
    tstate->current_frame = t->frame;
    t->frame = NULL;
    sched->c_recursion_base = h->c_recursion_base;
    tstate->c_recursion_remaining = sched->c_recursion_base - h->c_recursion;
    sched->far = h->slice.far;
    if (sched->watch_switch & NOTICE_WATCHDOG) {
        _PyStackless_WatchSwitch(tstate, sched);
    }
}

/* The target of the switch to `next`, which has been loaded. */
static void *
switch_to(_PyStackless_Scheduler *sched, _PyStackless_Slice *from, char *near,
          _PyStackless_Slice *to)
{
    void *target = _PyStackless_Leave(from, near, &sched->cstack, to);
    if (target == NULL) {
        Py_FatalError("the memory reserved for slices of C stack is too small");
    }
    return target;
}

static void *
abandon(void *arg, char *near)
{
    _PyStackless_Scheduler *sched = arg;
    return switch_to(sched, NULL, near, &extra_of(sched->current)->hard->slice);
}

void
_PyStackless_ResumeHard(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    load_hard(tstate, sched, sched->current, extra_of(sched->current)->hard);
    _PyStackless_Suspend(abandon, sched);
}

/* Memory for all that leaving t takes.  NULL with an exception. */
static inline stackless_hard *
prepare_leave(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyTaskletObject *t,
              char *near)
{
    tasklet_extra *extra = extra_of(t);
    stackless_hard *h = extra != NULL ? extra->hard : NULL;
    if (h == NULL) {
        if (prepare_hard(t) < 0) {
            return NULL;
        }
        h = extra_of(t)->hard;
    }
    if (prepare_state(tstate, sched, h) < 0) {
        return NULL;
    }
    size_t size = (size_t)(sched->far - near);
    if (size > h->slice.capacity && _PyStackless_SliceReserve(&h->slice, size) < 0) {
        PyErr_NoMemory();
        return NULL;
    }
    return h;
}

/* Can `next`, which is not suspended hard, go on at a place below the current tasklet,
   whose stack ends at `near`?  A greenlet can that was begun there: those whom a hub calls
   from within C code share that place, and the hub need not be copied. */
static inline int
may_begin_below(_PyStackless_Scheduler *sched, PyTaskletObject *next, char *near)
{
    _PyStackless_Main *main = &sched->cstack;
    return !(next->flags & TASKLET_IS_MAIN) && main->in_place == NULL
           && main->slice.near - near <= LOWER_BEGIN
           && (!sched->same_place
               || (sched->far == main->slice.near && sched->mod->greenlets != NULL
                   && sched->mod->greenlets->begins_below(next)));
}

/* t, which was current and is prepared, is left for sched->current.  Whoever resumes it
   has called load_hard().  Returns what the caller has to return at once. */
static Py_NO_INLINE void *
leave_hard(PyThreadState *tstate, _PyStackless_Scheduler *sched, PyTaskletObject *t,
           stackless_hard *h, char *near)
{
    if (sched->collection.owner == t && tstate->interp->gc.collecting) {
        _PyStackless_HangListsAway(sched);
    }
    save_hard(tstate, sched, t, h);
    _PyStackless_Main *main = &sched->cstack;
    PyTaskletObject *next = sched->current;
    _PyStackless_Slice *to = &main->slice;
    if (_PyTasklet_IsHard(next)) {
        stackless_hard *next_hard = extra_of(next)->hard;
        load_hard(tstate, sched, next, next_hard);
        to = &next_hard->slice;
    }
    else {
        load_dispatcher(tstate, sched);
        if (may_begin_below(sched, next, near)) {
            tstate->c_recursion_remaining += STACKLESS_EVAL_C_UNITS;
            to = NULL;
        }
    }
    return switch_to(sched, &h->slice, near, to);
}

/* Carries sched->call out.  OP_SWITCHED: the current tasklet, which was prepared, is to be
   left. */
static op_outcome
execute(PyThreadState *tstate, _PyStackless_Scheduler *sched, char *near,
        PyObject **result)
{
    stackless_op op = sched->call;
    op_outcome outcome;
    if (sched->obstacle != NULL) {
        outcome = _PyStackless_Execute(tstate, sched, &op, SWITCH_NOT, result);
        if (outcome == OP_NEEDS_SWITCH) {
            PyErr_Format(PyExc_RuntimeError,
                         "cannot switch tasklets here: there are C functions between this "
                         "call and the scheduler, and %s", sched->obstacle);
            outcome = OP_ERROR;
        }
    }
    else {
        _PyStackless_NoticeLibraries(tstate, sched);
        do {
            outcome = prepare_leave(tstate, sched, sched->current, near) == NULL
                      ? OP_ERROR
                      : _PyStackless_Execute(tstate, sched, &op, SWITCH_HARD, result);
        } while (outcome == OP_ERROR && tstate->current_exception == NULL
                 && sched->mod->greenlets->look_up(sched, op.target) == 0);
    }
    if (outcome == OP_ERROR) {
        if (sched->mod->greenlets != NULL) {
            sched->mod->greenlets->note_failure(sched, &op);
        }
    }
    _PyStackless_Discard(sched, op.target);
    _PyStackless_Discard(sched, op.value);
    return outcome;
}

static void *
call_or_leave(void *arg, char *near)
{
    _PyStackless_Scheduler *sched = arg;
    PyThreadState *tstate = sched->tstate;
    PyTaskletObject *t = sched->current;
    PyObject *result = NULL;
    if (execute(tstate, sched, near, &result) != OP_SWITCHED) {
        sched->call_result = result;
        return NULL;
    }
    _PyStackless_SetLeft(sched, t);
    return leave_hard(tstate, sched, t, extra_of(t)->hard, near);
}

int
_PyStackless_CanLeaveHard(_PyStackless_Scheduler *sched)
{
    return sched->obstacle == NULL;
}

/* Is a call of schedule(), from within C functions, an ordinary one but for these?  See
   fast.h for what the conditions are there for; whoever goes on after
   a hard switch checks the rest itself. */
static inline int
is_plain_schedule(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = t->next;
    uintptr_t special =
        (uintptr_t)(t->flags & TASKLET_IS_MAIN)
        | (uintptr_t)t->tempval
        | (_Py_atomic_load_uintptr_relaxed(&tstate->eval_breaker) ^ sched->seen_version)
        | (uintptr_t)sched->mod->unusual
        | (uintptr_t)sched->unusual_switch
        | (uintptr_t)sched->divert_to;
    return special == 0 && next != t && next != sched->timers.marked && _PyStackless_CanLeaveHard(sched)
           && (sched->nwatchdogs == 0
               || (sched->nwatchdogs == 1 && sched->watchdogs[0] != next));
}

static void
commit_schedule(_PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current;
    PyTaskletObject *next = t->next;
    t->flags |= TASKLET_RETURNS_SELF;
    t->state = TASKLET_RUNNABLE;
    next->state = TASKLET_CURRENT;
    sched->current = next;
    sched->carry_tracing = 0;
}

static void *
commit_or_stay(void *arg, char *near)
{
    _PyStackless_Scheduler *sched = arg;
    PyThreadState *tstate = sched->tstate;
    PyTaskletObject *t = sched->current;
    _PyStackless_NoticeLibraries(tstate, sched);
    stackless_hard *h = prepare_leave(tstate, sched, t, near);
    if (h == NULL) {
        _PyStackless_Discard(sched, sched->call.value);
        sched->call_result = NULL;
        return NULL;
    }
    sched->commit(sched);
    return leave_hard(tstate, sched, t, h, near);
}

/* Monitoring has changed while the current tasklet was suspended.  The exception that its
   frames' instrumentation failed with, or NULL. */
static Py_NO_INLINE PyObject *
instrument_frames(PyThreadState *tstate)
{
    PyObject *exc = _PyErr_GetRaisedException(tstate);
    (void)_PyStackless_Instrument(tstate, tstate->current_frame);
    PyObject *failure = _PyErr_GetRaisedException(tstate);
    _PyErr_SetRaisedException(tstate, exc);
    return failure;
}

/* May run any Python code. */
static Py_NO_INLINE void
report_not_monitored(PyThreadState *tstate, PyObject *failure)
{
    PyObject *exc = _PyErr_GetRaisedException(tstate);
    _PyErr_SetRaisedException(tstate, failure);
    PyErr_FormatUnraisable("Exception ignored: some frames of a tasklet will not be "
                           "monitored");
    _PyErr_SetRaisedException(tstate, exc);
}

/* The call has come to an end, or its tasklet was left and has been resumed. */
static inline PyObject *
end_call(_PyStackless_Scheduler *sched, int resumed)
{
    PyTaskletObject *t = sched->current;
    PyObject *result;
    PyObject *failure = NULL;
    if (sched->collection.is_away && sched->collection.owner == t) {
        _PyStackless_HangListsBack(sched);
    }
    if (resumed && (t->epoch != sched->epoch || sched->epoch == UINT16_MAX)) {
        failure = instrument_frames(sched->tstate);
    }
    if (!resumed) {
        result = sched->call_result;
    }
    else if (t->tempval == NULL && (t->flags & TASKLET_RETURNS_SELF)) {   // schedule()
        t->flags &= ~(TASKLET_RETURNS_SELF | TASKLET_RETURNS_NONE);
        result = Py_NewRef(t);
    }
    else {
        result = _PyStackless_TakeResult(t);
    }
    if (sched->left != NULL || sched->ntrash != 0) {
        _PyStackless_Settle(sched->tstate, sched);
    }
    if (failure != NULL) {
        report_not_monitored(sched->tstate, failure);
    }
    _PyStackless_DebugSwitched(sched);
    return result;
}

static Py_NO_INLINE PyObject *
end_switch(_PyStackless_Scheduler *sched, int resumed)
{
    return end_call(sched, resumed);
}

/* The C frames of those who call Suspend() are in every slice: all else that is done is done
   elsewhere. */

PyObject *
_PyStackless_CallHard(_PyStackless_Scheduler *sched)
{
    int resumed = _PyStackless_Suspend(call_or_leave, sched);
    return end_switch(sched, resumed);
}

PyObject *
_PyStackless_LeaveHard(_PyStackless_Scheduler *sched,
                       void (*commit)(_PyStackless_Scheduler *))
{
    sched->commit = commit;
    int resumed = _PyStackless_Suspend(commit_or_stay, sched);
    return end_switch(sched, resumed);
}

/* Of an instruction that was taken over: its frame gets the result. */
static Py_NO_INLINE int
end_schedule(_PyStackless_Scheduler *sched, int resumed)
{
    PyObject *result = end_call(sched, resumed);
    if (result != NULL) {
        _PyFrame_StackPush(sched->tstate->current_frame, result);
    }
    return 1;
}

static Py_NO_INLINE int
schedule_hard(_PyStackless_Scheduler *sched)
{
    int resumed = _PyStackless_Suspend(commit_or_stay, sched);
    return end_schedule(sched, resumed);
}

int
_PyStackless_ScheduleAbove(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                           _PyInterpreterFrame *frame, PyObject **base)
{
    if (base[1] != NULL || _PyStackless_IsLastReference(base[0])
        || !is_plain_schedule(tstate, sched)) {
        return 0;
    }
    _PyStackless_DropReference(base[0]);
    fast_end_call(frame, base);
    sched->call.value = NULL;
    sched->commit = commit_schedule;
    return schedule_hard(sched);
}

void
_PyStackless_AbandonHard(PyTaskletObject *t)
{
    if (_PyTasklet_IsHard(t)) {
        _PyStackless_Main *main = &sched_of(t)->cstack;
        if (main->in_place == &extra_of(t)->hard->slice) {
            main->in_place = NULL;
        }
        unlink_hard(sched_of(t), extra_of(t)->hard);
        extra_of(t)->hard = NULL;
        if (sched_of(t)->collection.owner == t) {
            _PyStackless_AbandonCollection(sched_of(t));
        }
        t->frame = NULL;
        t->flags &= ~TASKLET_WITH_FRAMES;
    }
}

