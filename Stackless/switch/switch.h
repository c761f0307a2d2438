/* Leaving and entering tasklets: softly by exchanging frames, hard by copying slices of C
   stack; and when a scheduler begins and ends. */

#ifndef STACKLESS_SWITCH_SWITCH_H
#define STACKLESS_SWITCH_SWITCH_H

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "pycore_interp.h"        // PyInterpreterState.imports
#include "Stackless/sched/sched.h"

/* dispatch.c */

/* Runs tasklets until main is current again.  The caller made another one current, and
   settles what is left over when it has taken main's pending result. */
extern int _PyStackless_Dispatch(PyThreadState *tstate, _PyStackless_Scheduler *sched);
/* On a dispatcher's C stack: runs tasklets until main is current, or one is suspended
   hard and another one can begin there. */
extern void _PyStackless_RunTasklets(void *sched);
/* t, which has executed `frame`, is left softly for main, which has been made current: the
   next thing that the eval loop does is to return to the dispatcher. */
extern void _PyStackless_LeaveForMain(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                                      PyTaskletObject *t, _PyInterpreterFrame *frame);
/* Lets go of what the switch left over, now that the thread state is whole again. */
extern void _PyStackless_Settle(PyThreadState *tstate, _PyStackless_Scheduler *sched);
/* Carries out a switching builtin's operation, sched->call, whose references are stolen.
   `fn`: the C function as it stands in the method table; args, nargs, kwnames: as it
   got them; args == NULL: tp_iternext.  The result is what the builtin returns.
   All arguments fit in registers: a builtin that ends by calling this leaves no frame of
   its own, which a hard switch would have to copy. */
extern PyObject *_PyStackless_SwitchingCall(
    _PyStackless_Scheduler *sched, void *fn, PyObject *self, PyObject *const *args,
    Py_ssize_t nargs, PyObject *kwnames);
/* Carries out sched->call, whose references are stolen, for C code.  Result or NULL as a
   builtin's. */
extern PyObject *_PyStackless_CallFromC(_PyStackless_Scheduler *sched);
/* Of the calling instruction, in code units, if there is no C code between it and the
   builtin, described as above, that could not be unwound; else 0. */
extern int _PyStackless_DirectSize(
    PyThreadState *tstate, _PyStackless_Scheduler *sched, void *fn, PyObject *self,
    PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
extern void _PyStackless_CancelOp(_PyStackless_Scheduler *sched);
/* Sets the token, for `op` (stolen) to be carried out by the hook.  `size`: in code
   units, of the instruction that is being executed.  Returns NULL. */
extern PyObject *_PyStackless_Unwind(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                                     stackless_op op, int size);

/* events.c */

/* If `frame` is in a loop's FOR_ITER that has a branch event: t, which waits there for the
   next item, is not resumed by those who would not tell. */
extern void _PyStackless_DeferBranch(PyTaskletObject *t, _PyInterpreterFrame *frame);
/* A call is over: `value` (stolen), or NULL and an exception is set.  Tells the tools that saw
   it begin, if it is monitored.  Returns the value, or NULL if there was none or a tool
   raised. */
extern PyObject *_PyStackless_TellCReturn(PyThreadState *tstate, PyTaskletObject *t,
                                          _PyInterpreterFrame *frame, PyObject *value);
/* Gives `value` (stolen) to the instruction that waited for it, perhaps the FOR_ITER of a
   loop over a channel.  NULL: an exception is set, which may end that loop. */
extern void _PyStackless_EndForIter(PyThreadState *tstate, PyTaskletObject *t,
                                    _PyInterpreterFrame *frame, PyObject *value);

/* frames.c */

/* Moves the frames of the current tasklet, whose stack pointers are saved, from the data
   stack to blocks of their own.  0, or -1 with an exception: some have moved. */
extern int _PyStackless_PromoteFrames(PyThreadState *tstate, _PyStackless_Scheduler *sched);
/* Lets the types of generators know of those in which a tasklet is suspended. */
extern void _PyStackless_InitGenerators(void);
/* Drops function, arguments or frames without running them.  Runs Python code. */
extern void _PyTasklet_DropFrames(PyTaskletObject *t);

/* hard.c */

extern int _PyStackless_DataStackInit(PyThreadState *tstate,
                                      _PyStackless_Scheduler *sched);
extern void _PyStackless_DataStackEmpty(PyThreadState *tstate,
                                        _PyStackless_Scheduler *sched);
/* Main is about to be left: makes sure that those who are suspended hard can be put
   back over its part of the C stack.  0 or -1 with an exception. */
extern int _PyStackless_PrepareOverlay(PyThreadState *tstate,
                                       _PyStackless_Scheduler *sched);
/* While main is away, the entry frames on its C stack may be overlaid. */
extern void _PyStackless_UnlinkMainEntries(_PyStackless_Scheduler *sched);
extern void _PyStackless_LinkMainEntries(_PyStackless_Scheduler *sched);
/* _PyStackless_CallFromC() for a tasklet that has C functions between its frames. */
extern PyObject *_PyStackless_CallHard(_PyStackless_Scheduler *sched);
/* The tasklet that calls schedule() in `frame`, in an eval loop above C functions, is left
   if nothing else is special about that.  `base`: what it calls, not with the last reference.
   Whether it was left, or MemoryError is set; then the call is over. */
extern int _PyStackless_ScheduleAbove(PyThreadState *tstate, _PyStackless_Scheduler *sched,
                                      _PyInterpreterFrame *frame, PyObject **base);
extern int _PyStackless_CanLeaveHard(_PyStackless_Scheduler *sched);
/* Leaves the current tasklet, from within C functions, if it can be left so, for the one
   that commit(sched) makes current, which cannot fail.  The result is what the pending
   call returns; out of memory, sched->call.value (strong) is dropped. */
extern PyObject *_PyStackless_LeaveHard(_PyStackless_Scheduler *sched,
                                        void (*commit)(_PyStackless_Scheduler *));
/* Goes on in the current tasklet, which is suspended hard.  The activation that calls
   this is abandoned. */
extern void _PyStackless_ResumeHard(PyThreadState *tstate,
                                    _PyStackless_Scheduler *sched);
/* Gives up what a tasklet suspended hard holds: its frames, which may be looked at still,
   and whatever its C functions own are lost. */
extern void _PyStackless_AbandonHard(PyTaskletObject *t);

/* collecting.c */

/* A collection starts, in the calling thread.  The two lists are empty from now on. */
extern void _PyStackless_NoteCollection(PyThreadState *tstate, PyGC_Head *unreachable,
                                        PyGC_Head *finalizers);
/* The current tasklet, which is collecting, is left, or goes on. */
extern void _PyStackless_HangListsAway(_PyStackless_Scheduler *sched);
extern void _PyStackless_HangListsBack(_PyStackless_Scheduler *sched);
/* If a tasklet was left while it was collecting: it will never go on.  What it has found is
   left to the next collection. */
extern void _PyStackless_AbandonCollection(_PyStackless_Scheduler *sched);

/* libraries.c */

extern void _PyStackless_LookForLibraries(_PyStackless_Scheduler *sched, PyObject *modules);

/* Before a part of the C stack is left: has the program loaded anything that matters?
   (ctypes can load a C++ runtime without a module.) */
static inline void
_PyStackless_NoticeLibraries(PyThreadState *tstate, _PyStackless_Scheduler *sched)
{
    enum { LOOK_EVERY = 64 };
    PyObject *modules = tstate->interp->imports.modules;       // NULL at shutdown
    if (modules == NULL || PyDict_GET_SIZE(modules) != sched->nmodules
        || sched->library_looks++ % LOOK_EVERY == 0) {
        _PyStackless_LookForLibraries(sched, modules);
    }
}

/* life.c */

/* The calling thread's scheduler, with its main tasklet; made when needed.
   Borrowed.  NULL with an exception if out of memory. */
extern _PyStackless_Scheduler *_PyStackless_GetScheduler(PyThreadState *tstate,
                                                         PyObject *module);

/* kill.c */

/* Raises TaskletExit in t as long as it is suspended hard in the calling thread, ten
   times at most.  Errors are reported as unraisable. */
extern void _PyTasklet_KillHard(PyTaskletObject *t);
/* Kills the calling thread's tasklets that have C functions between their frames. */
extern void _PyStackless_KillHard(_PyStackless_Scheduler *sched);
/* The program ends: kills what other threads run. */
extern void _PyStackless_KillOtherThreads(PyThreadState *tstate);

#endif /* !STACKLESS_SWITCH_SWITCH_H */
