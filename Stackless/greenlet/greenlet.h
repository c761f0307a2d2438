/* Greenlets: tasklets that are switched by hand.

   Every greenlet stands for a tasklet, which is its context: frames, exceptions,
   contextvars, its place on the C stack.  What is new here is who runs next and what is
   handed over, not how a switch is done.

   kind                 its tasklet                        who owns whom
   one that was made    a greenlet_tasklet of its own      see `link`
   a thread's main      the thread's main tasklet          tasklet_extra.greenlet, for
   a tasklet's          the tasklet that asked for it      as long as the tasklet lives

   A greenlet that has been made is *pending* until it is first switched to: its tasklet
   is IDLE, with `run` as tempval.  Then it is *active* until it ends, and *dead*
   afterwards: its tasklet no longer links to it.

   g.switch() pauses the calling tasklet and puts g's at its place in the run queue.  What
   a greenlet does with channels and the scheduler is done by its tasklet; as long as that
   is blocked or in the run queue, nobody can switch to the greenlet. */

#ifndef STACKLESS_GREENLET_GREENLET_H
#define STACKLESS_GREENLET_GREENLET_H
#ifdef __cplusplus
extern "C" {
#endif

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "Stackless/types/types.h"

/* The layout that extension modules know (greenlet/greenlet.h). */
typedef struct {
    PyObject_HEAD
    PyObject *weakreflist;
    PyObject *dict;
    PyTaskletObject *tasklet;     // NULL before construction and after clearing
} PyGreenlet;

/* Bits of greenlet_tasklet.link. */
enum {
    GREENLET_IS_OWNED = 1,
    GREENLET_BEGAN_BELOW = 2,     // see begins_below() in switch.c
    GREENLET_IS_POSTPONED = 4,    // it is in the scheduler's list of those to be deleted
    GREENLET_BITS = GREENLET_IS_OWNED | GREENLET_BEGAN_BELOW | GREENLET_IS_POSTPONED,
};

/* The tasklet of a greenlet that has been made. */
typedef struct {
    PyTaskletObject tasklet;
    /* The greenlet, NULL if it is dead, and bits.  It owns a reference to the greenlet from
       the moment when it becomes current or runnable, until it is left by a switch to another
       greenlet: then the program has to hold on to it.  Otherwise a weak reference: see
       _PyStackless_NewRefFromWeak(). */
    uintptr_t link;
    PyGreenlet *parent;
} greenlet_tasklet;

extern PyTypeObject PyGreenlet_Type;
extern PyType_Spec _PyGreenlet_TaskletSpec;
extern PyObject *_PyGreenlet_Error;        // greenlet.error
extern PyObject *_PyGreenlet_Exit;         // greenlet.GreenletExit

static inline greenlet_tasklet *
greenlet_tasklet_cast(PyTaskletObject *t)
{
    assert(_PyGreenlet_IsTasklet(t));
    return (greenlet_tasklet *)t;
}

static inline PyGreenlet *
greenlet_linked(const greenlet_tasklet *gt)
{
    return (PyGreenlet *)(gt->link & ~(uintptr_t)GREENLET_BITS);
}

/* The greenlet that stands for t, or NULL: a weak reference if t is a greenlet_tasklet, else
   borrowed. */
static inline PyGreenlet *
greenlet_of(const PyTaskletObject *t)
{
    if (_PyGreenlet_IsTasklet(t)) {
        return greenlet_linked((const greenlet_tasklet *)t);
    }
    return extra_of(t) != NULL ? (PyGreenlet *)extra_of(t)->greenlet : NULL;
}

/* A new reference to it, or NULL. */
static inline PyGreenlet *
_PyGreenlet_OfTasklet(const PyTaskletObject *t)
{
    return (PyGreenlet *)_PyStackless_NewRefFromWeak(greenlet_of(t));
}

static inline int
_PyGreenlet_Check(PyObject *op)
{
    return PyObject_TypeCheck(op, &PyGreenlet_Type);
}

static inline int
greenlet_is_linked(PyGreenlet *g)
{
    return g->tasklet != NULL && greenlet_of(g->tasklet) == g;
}

static inline int
greenlet_is_pending(PyGreenlet *g)
{
    return greenlet_is_linked(g) && g->tasklet->state == TASKLET_IDLE;
}

static inline int
greenlet_is_active(PyGreenlet *g)
{
    return greenlet_is_linked(g) && g->tasklet->state != TASKLET_IDLE
           && sched_of(g->tasklet)->tstate != NULL;
}

static inline int
greenlet_is_main(PyGreenlet *g)
{
    return g->tasklet != NULL && (g->tasklet->flags & TASKLET_IS_MAIN);
}

/* Has it been switched to, and has its thread ended since? */
static inline int
greenlet_thread_exited(PyGreenlet *g)
{
    return g->tasklet != NULL && !greenlet_is_pending(g)
           && sched_of(g->tasklet)->tstate == NULL;
}

/* --- being current ------------------------------------------------------------------ */

/* t becomes current: from now on it owns its greenlet, which is not being freed. */
static inline void
_PyGreenlet_Own(PyTaskletObject *t)
{
    if (_PyGreenlet_IsTasklet(t)) {
        greenlet_tasklet *gt = greenlet_tasklet_cast(t);
        if (gt->link != 0 && !(gt->link & GREENLET_IS_OWNED)) {
            gt->link |= GREENLET_IS_OWNED;
            Py_INCREF(greenlet_linked(gt));
        }
    }
}

/* The current tasklet, a greenlet's, is left by a switch or has ended: from now on it
   does not own its greenlet. */
static inline void
_PyGreenlet_LetGo(_PyStackless_Scheduler *sched, PyTaskletObject *t)
{
    if (_PyGreenlet_IsTasklet(t)) {
        greenlet_tasklet *gt = greenlet_tasklet_cast(t);
        if (gt->link & GREENLET_IS_OWNED) {
            gt->link &= ~(uintptr_t)GREENLET_IS_OWNED;
            _PyStackless_Discard(sched, (PyObject *)greenlet_linked(gt));
        }
    }
}

/* t is suspended softly in target.switch() or throw(): its evaluation stack does not hold
   the target any more, as it would during any other call, so t does.  (If nobody switches
   back to it, but the scheduler makes it go on, the call returns None.)  Steals target. */
static inline void
_PyGreenlet_KeepTarget(PyTaskletObject *t, PyObject *target)
{
    assert(t->tempval == NULL && (t->flags & TASKLET_STARTED));
    t->tempval = target;
    t->flags |= TASKLET_RETURNS_NONE;
}

/* object.c */

/* See stackless_greenlet_hooks. */
extern PyObject *_PyGreenlet_Unlink(PyTaskletObject *t);
extern void _PyGreenlet_DeletePostponed(_PyStackless_Scheduler *sched);
extern void _PyGreenlet_ForgetMain(_PyStackless_Scheduler *sched);

/* The calling thread's scheduler (borrowed), or NULL with an exception.  Deletes what was
   postponed: runs Python code. */
extern _PyStackless_Scheduler *_PyGreenlet_GetScheduler(PyThreadState *tstate);
/* The thread's main greenlet (borrowed), made when needed; NULL: out of memory. */
extern PyGreenlet *_PyGreenlet_Main(_PyStackless_Scheduler *sched);
/* The greenlet of the thread's current tasklet (new reference), likewise. */
extern PyGreenlet *_PyGreenlet_Current(_PyStackless_Scheduler *sched);
/* The calling greenlet (new reference), or NULL with an exception: RuntimeError if the
   interpreter is being finalized. */
extern PyGreenlet *_PyGreenlet_GetCurrent(void);
/* Its parent (borrowed) or NULL. */
extern PyGreenlet *_PyGreenlet_GetParent(PyGreenlet *g);
extern int _PyGreenlet_SetParent(PyGreenlet *g, PyObject *parent);
/* Where the greenlet would run: NULL with greenlet.error if it cannot be told any more. */
extern _PyStackless_Scheduler *_PyGreenlet_FindScheduler(PyGreenlet *g);
extern Py_ssize_t _PyGreenlet_CountMain(void);

/* setup.c */

/* The interpreter's module _stackless (borrowed), which knows of greenlets; NULL with an
   exception. */
extern PyObject *_PyGreenlet_GetStackless(void);

/* switch.c */

extern const stackless_greenlet_hooks _PyGreenlet_Hooks;
/* The method throw(); switch() is in pycore_stackless_hooks.h. */
extern PyObject *_PyGreenlet_ThrowMethod(PyObject *self, PyObject *const *args,
                                         Py_ssize_t nargs);
/* g.switch(*args, **kwargs) and g.throw(typ, val, tb), called from C code.  kwargs, val
   and tb may be NULL. */
extern PyObject *_PyGreenlet_Switch(PyGreenlet *g, PyObject *args, PyObject *kwargs);
extern PyObject *_PyGreenlet_Throw(PyGreenlet *g, PyObject *typ, PyObject *val,
                                   PyObject *tb);
/* Raises `exc` (borrowed) in g. */
extern PyObject *_PyGreenlet_ThrowInstance(PyGreenlet *g, PyObject *exc);
/* settrace(): the new callback or NULL; returns the old one (new reference) or NULL. */
extern PyObject *_PyGreenlet_SetTrace(_PyStackless_Scheduler *sched, PyObject *callback);

/* plain.c */

/* Is g.switch(*args) a plain switch, as a call from main or from within C functions?
   is_method: it is the method that has been called.  1: it is the scheduler's next call
   now, _PyGreenlet_SwitchPlainly() returns what it returns.  0: it has to go the general
   way.  -1: no memory. */
extern int _PyGreenlet_PreparePlain(PyGreenlet *g, PyObject *const *args,
                                    Py_ssize_t nargs, int is_method);
extern PyObject *_PyGreenlet_SwitchPlainly(void);
/* The end of a greenlet that returned `value`, which is stolen, if nothing is special about
   it; otherwise false: nothing has been done. */
extern int _PyGreenlet_FinishPlainly(_PyStackless_Scheduler *sched, greenlet_tasklet *gt,
                                     PyObject *value);

#ifdef __cplusplus
}
#endif
#endif /* !STACKLESS_GREENLET_GREENLET_H */
