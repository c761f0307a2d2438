/* The functions of stackless.h, which includes this file (several times): result, name,
   parameters, the same as arguments, and what is returned where there are no tasklets.

   New ones are added at the end only: the order is that of the table in the capsule. */

#ifndef STACKLESS_FUNCTION_ANYWHERE            /* one that needs no GIL */
#  define STACKLESS_FUNCTION_ANYWHERE STACKLESS_FUNCTION
#endif

/* --- tasklets --------------------------------------------------------------------------- */

/* type(func), or type() if func is NULL or None.  `type`: NULL or a subtype of tasklet, whose
   __new__() and __init__() run; func must be callable. */
STACKLESS_FUNCTION(PyTaskletObject *, PyTasklet_New, (PyTypeObject *type, PyObject *func),
                   (type, func), NULL)
/* Gives the tasklet, which is bound to a function and not alive, the arguments for it and
   appends it to the run queue.  args: a tuple; kwds: NULL or a dict.  Calls the type's tp_call,
   so a subclass's __call__(). */
STACKLESS_FUNCTION(int, PyTasklet_Setup, (PyTaskletObject *task, PyObject *args, PyObject *kwds),
                   (task, args, kwds), -1)
/* tasklet.bind(): each may be NULL or None.  Inserts it nowhere.  May run Python code, by what
   the tasklet drops. */
STACKLESS_FUNCTION(int, PyTasklet_BindEx,
                   (PyTaskletObject *task, PyObject *func, PyObject *args, PyObject *kwargs),
                   (task, func, args, kwargs), -1)
/* tasklet.bind_thread(); (unsigned long)-1 is the calling thread. */
STACKLESS_FUNCTION(int, PyTasklet_BindThread, (PyTaskletObject *task, unsigned long thread_id),
                   (task, thread_id), -1)
/* tasklet.run(), tasklet.switch().  May switch. */
STACKLESS_FUNCTION(int, PyTasklet_Run, (PyTaskletObject *task), (task), -1)
STACKLESS_FUNCTION(int, PyTasklet_Switch, (PyTaskletObject *task), (task), -1)
/* tasklet.remove(), tasklet.insert(). */
STACKLESS_FUNCTION(int, PyTasklet_Remove, (PyTaskletObject *task), (task), -1)
STACKLESS_FUNCTION(int, PyTasklet_Insert, (PyTaskletObject *task), (task), -1)
/* tasklet.raise_exception(klass, *args); `args`: a tuple, one other value, or NULL.  May switch.
   -1 with that exception if the tasklet is the caller's own. */
STACKLESS_FUNCTION(int, PyTasklet_RaiseException,
                   (PyTaskletObject *task, PyObject *klass, PyObject *args),
                   (task, klass, args), -1)
/* tasklet.throw(exc, val, tb, pending); val and tb may be NULL or None.  May switch, unless
   pending. */
STACKLESS_FUNCTION(int, PyTasklet_Throw,
                   (PyTaskletObject *task, int pending, PyObject *exc, PyObject *val,
                    PyObject *tb),
                   (task, pending, exc, val, tb), -1)
/* tasklet.kill(), tasklet.kill(pending).  May switch, unless pending. */
STACKLESS_FUNCTION(int, PyTasklet_Kill, (PyTaskletObject *task), (task), -1)
STACKLESS_FUNCTION(int, PyTasklet_KillEx, (PyTaskletObject *task, int pending), (task, pending),
                   -1)
/* Value: the old flag. */
STACKLESS_FUNCTION(int, PyTasklet_SetAtomic, (PyTaskletObject *task, int flag), (task, flag), -1)
STACKLESS_FUNCTION(int, PyTasklet_SetIgnoreNesting, (PyTaskletObject *task, int flag),
                   (task, flag), -1)
STACKLESS_FUNCTION(int, PyTasklet_SetBlockTrap, (PyTaskletObject *task, int flag), (task, flag),
                   -1)
/* Value: 0 or 1, as the attributes of these names; -1 with TypeError. */
STACKLESS_FUNCTION(int, PyTasklet_GetAtomic, (PyTaskletObject *task), (task), -1)
STACKLESS_FUNCTION(int, PyTasklet_GetIgnoreNesting, (PyTaskletObject *task), (task), -1)
STACKLESS_FUNCTION(int, PyTasklet_GetBlockTrap, (PyTaskletObject *task), (task), -1)
STACKLESS_FUNCTION(int, PyTasklet_IsMain, (PyTaskletObject *task), (task), -1)
STACKLESS_FUNCTION(int, PyTasklet_IsCurrent, (PyTaskletObject *task), (task), -1)
STACKLESS_FUNCTION(int, PyTasklet_Alive, (PyTaskletObject *task), (task), -1)
STACKLESS_FUNCTION(int, PyTasklet_Paused, (PyTaskletObject *task), (task), -1)
STACKLESS_FUNCTION(int, PyTasklet_Scheduled, (PyTaskletObject *task), (task), -1)
STACKLESS_FUNCTION(int, PyTasklet_Restorable, (PyTaskletObject *task), (task), -1)
/* Value: 1 if a soft time limit is over and ends with the tasklet's next switch. */
STACKLESS_FUNCTION(int, PyTasklet_GetPendingIrq, (PyTaskletObject *task), (task), -1)
/* Value: -1 receiving, 0 neither, 1 sending; -1 with TypeError. */
STACKLESS_FUNCTION(int, PyTasklet_GetBlocked, (PyTaskletObject *task), (task), -1)
/* Value: Python calls in progress; C code between them. */
STACKLESS_FUNCTION(int, PyTasklet_GetRecursionDepth, (PyTaskletObject *task), (task), -1)
STACKLESS_FUNCTION(int, PyTasklet_GetNestingLevel, (PyTaskletObject *task), (task), -1)
/* The topmost frame, or NULL without an exception: it has none. */
STACKLESS_FUNCTION(PyObject *, PyTasklet_GetFrame, (PyTaskletObject *task), (task), NULL)

/* --- channels --------------------------------------------------------------------------- */

/* `type`: NULL or a subtype of channel, whose __new__() and __init__() are not called. */
STACKLESS_FUNCTION(PyChannelObject *, PyChannel_New, (PyTypeObject *type), (type), NULL)
/* channel.send(), channel.receive().  May switch. */
STACKLESS_FUNCTION(int, PyChannel_Send, (PyChannelObject *channel, PyObject *value),
                   (channel, value), -1)
STACKLESS_FUNCTION(PyObject *, PyChannel_Receive, (PyChannelObject *channel), (channel), NULL)
/* channel.send_exception(klass, *value); `value`: a tuple, one other value, or NULL.  May
   switch. */
STACKLESS_FUNCTION(int, PyChannel_SendException,
                   (PyChannelObject *channel, PyObject *klass, PyObject *value),
                   (channel, klass, value), -1)
/* channel.send_throw(); val and tb may be NULL or None.  May switch. */
STACKLESS_FUNCTION(int, PyChannel_SendThrow,
                   (PyChannelObject *channel, PyObject *exc, PyObject *val, PyObject *tb),
                   (channel, exc, val, tb), -1)
/* The tasklet that has waited longest, or None. */
STACKLESS_FUNCTION(PyObject *, PyChannel_GetQueue, (PyChannelObject *channel), (channel), NULL)
STACKLESS_FUNCTION(int, PyChannel_Close, (PyChannelObject *channel), (channel), -1)
STACKLESS_FUNCTION(int, PyChannel_Open, (PyChannelObject *channel), (channel), -1)
/* Value: as the attributes of these names; -1 with TypeError. */
STACKLESS_FUNCTION(int, PyChannel_GetClosing, (PyChannelObject *channel), (channel), -1)
STACKLESS_FUNCTION(int, PyChannel_GetClosed, (PyChannelObject *channel), (channel), -1)
STACKLESS_FUNCTION(int, PyChannel_GetPreference, (PyChannelObject *channel), (channel), -1)
STACKLESS_FUNCTION(int, PyChannel_GetScheduleAll, (PyChannelObject *channel), (channel), -1)
STACKLESS_FUNCTION(int, PyChannel_GetBalance, (PyChannelObject *channel), (channel), -1)
/* The sign of the preference counts. */
STACKLESS_FUNCTION(int, PyChannel_SetPreference, (PyChannelObject *channel, int preference),
                   (channel, preference), -1)
STACKLESS_FUNCTION(int, PyChannel_SetScheduleAll, (PyChannelObject *channel, int flag),
                   (channel, flag), -1)

/* --- the scheduler ---------------------------------------------------------------------- */

/* stackless.schedule(retval), or schedule_remove() if `remove`; retval NULL: the calling
   tasklet.  May switch.  From outside: the tasklets of the run queue run one turn each. */
STACKLESS_FUNCTION(PyObject *, PyStackless_Schedule, (PyObject *retval, int remove),
                   (retval, remove), NULL)
/* Value: the length of the run queue.  From outside only others than main count, so
       while (PyStackless_GetRunCount() > 0) { ... PyStackless_Schedule(Py_None, 0) ... }
   runs until nobody can go on. */
STACKLESS_FUNCTION(int, PyStackless_GetRunCount, (void), (), -1)
/* The current tasklet, or NULL without an exception from outside. */
STACKLESS_FUNCTION(PyObject *, PyStackless_GetCurrent, (void), (), NULL)
/* stackless.getcurrentid(); needs no GIL. */
STACKLESS_FUNCTION_ANYWHERE(unsigned long, PyStackless_GetCurrentId, (void), (),
                            PyThread_get_thread_ident())
/* stackless.run(timeout), with flags (see stackless.h): None, or the tasklet that was
   interrupted, which is paused.  ValueError: flags outside of 0 to 255.  May switch. */
STACKLESS_FUNCTION(PyObject *, PyStackless_RunWatchdog, (long timeout), (timeout), NULL)
STACKLESS_FUNCTION(PyObject *, PyStackless_RunWatchdogEx, (long timeout, int flags),
                   (timeout, flags), NULL)
/* stackless.switch_trap(change).  Value: the old level; -1 with OverflowError.  (A level can be
   -1, too.) */
STACKLESS_FUNCTION(int, PyStackless_AdjustSwitchTrap, (int change), (change), -1)
/* The interpreter's callbacks; NULL removes, and what is not callable is a TypeError. */
STACKLESS_FUNCTION(int, PyStackless_SetChannelCallback, (PyObject *callable), (callable), -1)
STACKLESS_FUNCTION(int, PyStackless_SetScheduleCallback, (PyObject *callable), (callable), -1)
/* The same in C (see stackless.h).  One takes the other's place; NULL removes.  In Python,
   stackless.get_schedule_callback() returns an object that stands for it. */
STACKLESS_FUNCTION(int, PyStackless_SetScheduleFastcallback, (slp_schedule_hook_func *func),
                   (func), -1)
/* From outside: func(*args, **kwds), with main as the current tasklet; args: a tuple or NULL,
   kwds: a dict or NULL.  RuntimeError from inside. */
STACKLESS_FUNCTION(PyObject *, PyStackless_Call_Main,
                   (PyObject *func, PyObject *args, PyObject *kwds), (func, args, kwds), NULL)
/* PyStackless_CallMethod_Main() and PyStackless_CallCMethod_Main() with a va_list. */
STACKLESS_FUNCTION(PyObject *, PyStackless_VaCallMethod_Main,
                   (PyObject *o, const char *name, const char *format, va_list arguments),
                   (o, name, format, arguments), NULL)
STACKLESS_FUNCTION(PyObject *, PyStackless_VaCallCMethod_Main,
                   (PyMethodDef *method, PyObject *self, const char *format, va_list arguments),
                   (method, self, format, arguments), NULL)

/* --- the types -------------------------------------------------------------------------- */

/* Borrowed, of the calling interpreter. */
STACKLESS_FUNCTION(PyTypeObject *, PyStackless_TaskletType, (void), (), NULL)
STACKLESS_FUNCTION(PyTypeObject *, PyStackless_ChannelType, (void), (), NULL)
/* Is it one (exact: of no subclass)?  0 for NULL. */
STACKLESS_FUNCTION(int, PyStackless_IsTasklet, (PyObject *op, int exact), (op, exact),
                   (PyErr_Clear(), 0))
STACKLESS_FUNCTION(int, PyStackless_IsChannel, (PyObject *op, int exact), (op, exact),
                   (PyErr_Clear(), 0))

/* --- embedding -------------------------------------------------------------------------- */

/* Value: 1 if an operation that blocks, or that lets others run, is not refused for sure: no
   switch trap, no block trap, no callback of the scheduler under way; else 0. */
STACKLESS_FUNCTION(int, PyStackless_CanYield, (void), (), -1)
/* Runs tasklets for `nanoseconds`, or until nobody can go on now (it does not wait for those
   that sleep, but wakes those whose time has come).  Whoever computes when the time is
   over is interrupted, and is the last one in the run queue then; within C functions, or
   atomic, it is at the first place where that is possible.  Not positive: at most until the
   next such place.  `result` (may be NULL) is always filled.  0; -1 with the exception that a
   tasklet did not catch; or RuntimeError: a time limit is in force already.  May switch. */
STACKLESS_FUNCTION(int, PyStackless_RunFor, (long long nanoseconds, PyStackless_RunResult *result),
                   (nanoseconds, result),
                   (result != NULL ? (memset(result, 0, sizeof(*result)), -1) : -1))

/* --- soft calls ------------------------------------------------------------------------- */

/* A C function that has Python code called keeps C stack while that runs, so that a switch in it
   is hard, and cannot be pickled.  One that does it by a soft call keeps none: it hands over what
   to call, a continuation and a state, and returns.

       static PyObject *twice_step(PyStackless_Caller *caller, PyObject *state, PyObject *result)
       {
           return PyNumber_Multiply(result, state);
       }

       static PyObject *
       twice(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
       {
           PyStackless_Caller caller = {(void *)twice, self, args, nargs, kwnames, NULL};
           ...
           return PyStackless_SoftCall(&caller, args[0], NULL, 0, NULL, continuation, two);
       }

   What is called may be a method that switches, as channel.receive(): that is soft, too.

   This is so if the function is called by Python code of a tasklet, as f(), o.f() or by a method
   of a type, not through other C code.  Anywhere else the same happens with C stack in use. */

/* A continuation, by its name in `module`, which gets it as an attribute.  `flags`: 0 or
   PyStackless_CATCHES. */
STACKLESS_FUNCTION(PyObject *, PyStackless_NewContinuation,
                   (PyObject *module, const char *name,
                    PyStackless_ContinuationFunction *function, int flags),
                   (module, name, function, flags), NULL)
/* Calls callable(*args), with the keyword arguments as PyObject_Vectorcall() has them, and then
   the continuation.  What this returns, NULL included, is to be returned by the caller at once,
   who may drop references before, but run no other code.  All is borrowed; `state` NULL: None.
   A continuation that asks twice, or does not return what it got, is a SystemError. */
STACKLESS_FUNCTION(PyObject *, PyStackless_SoftCall,
                   (PyStackless_Caller *caller, PyObject *callable, PyObject *const *args,
                    Py_ssize_t nargs, PyObject *kwnames, PyObject *continuation,
                    PyObject *state),
                   (caller, callable, args, nargs, kwnames, continuation, state), NULL)

#undef STACKLESS_FUNCTION_ANYWHERE
