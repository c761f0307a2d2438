/* The builtin module _stackless: functions of the scheduler, types, callbacks.
   The package Lib/stackless is what programs import. */

#include "Python.h"
#include "pycore_code.h"          // PyCodeObject
#include "pycore_modsupport.h"    // _PyArg_ParseStackAndKeywords()
#include "pycore_object.h"
#include "opcode_ids.h"           // RESUME
#include "pycore_opcode_metadata.h" // _PyOpcode_Caches
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/inline/inline.h" // _PyStackless_InitInlining()
#include "Stackless/capi/capi.h"  // _PyStackless_AddCAPI()
#include "Stackless/pickle/pickle.h" // _PyStackless_InitPickling()
#include "Stackless/types/types.h"
#include "_stackless_private.h"
#include "pycore_stackless_hooks.h" // _PyStackless_ModuleGetSets

static stackless_modstate *
get_state(PyObject *module)
{
    return (stackless_modstate *)PyModule_GetState(module);
}

/* --- scheduling ------------------------------------------------------------------ */

static _PyStackless_Scheduler *
get_scheduler(PyObject *module)
{
    return _PyStackless_GetScheduler(_PyThreadState_GET(), module);
}

static PyObject *
switching_call(PyObject *module, stackless_opcode code, PyObject *value, void *fn,
               PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyThreadState *tstate = _PyThreadState_GET();
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched == NULL && (sched = get_scheduler(module)) == NULL) {
        return NULL;
    }
    sched->call = (stackless_op){ .code = code, .value = Py_XNewRef(value) };
    return _PyStackless_SwitchingCall(sched, fn, module, args, nargs, kwnames);
}

/* In seconds; what is longer is no limit. */
#define LONGEST_SLICE 1e9

/* The one optional argument `retval`.  0, or -1 with TypeError. */
static int
parse_retval(const char *name, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames, PyObject **retval)
{
    Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs + nkw > 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most 1 argument (%zd given)", name,
                     nargs + nkw);
        return -1;
    }
    if (nkw && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "retval")) {
        PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
                     name, PyTuple_GET_ITEM(kwnames, 0));
        return -1;
    }
    *retval = nargs + nkw ? args[0] : NULL;
    return 0;
}

PyDoc_STRVAR(schedule_doc,
"schedule($module, /, retval=<current>)\n--\n\n"
"Let the next tasklet of the run queue run.  Returns retval, by default the calling\n"
"tasklet, when the caller's turn comes again.");

PyObject *
_PyStackless_ScheduleFunction(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    PyObject *retval;
    if (parse_retval("schedule", args, nargs, kwnames, &retval) < 0) {
        return NULL;
    }
    return switching_call(module, OP_SCHEDULE, retval, _PyStackless_ScheduleFunction, args, nargs,
                          kwnames);
}

PyDoc_STRVAR(schedule_remove_doc,
"schedule_remove($module, /, retval=<current>)\n--\n\n"
"Like schedule(), and take the caller out of the run queue: it is paused until somebody\n"
"inserts it or runs it.");

static PyObject *
stackless_schedule_remove(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames)
{
    PyObject *retval;
    if (parse_retval("schedule_remove", args, nargs, kwnames, &retval) < 0) {
        return NULL;
    }
    return switching_call(module, OP_SCHEDULE_REMOVE, retval, stackless_schedule_remove,
                          args, nargs, kwnames);
}

PyDoc_STRVAR(run_doc,
"run($module, /, timeout=0, threadblock=False, soft=False, ignore_nesting=False, "
"totaltimeout=False, *, seconds=0.0, wait=True)\n--\n\n"
"Run the other tasklets until none of them can go on or waits for a time, and return None.\n\n"
"An exception that a tasklet does not catch is raised here.\n\n"
"timeout > 0: a tasklet that executes more than so many bytecode instructions without\n"
"a switch is interrupted.  It is paused then, and returned: insert() it to let it go on.\n"
"seconds > 0: likewise, for one that runs longer.\n"
"soft: nobody is interrupted; when the time is over, the next switch returns None here.\n"
"totaltimeout: the time of all tasklets since the call counts.\n"
"ignore_nesting: interrupt tasklets within C functions, too.\n"
"threadblock: when nothing can go on, sleep until another thread makes a tasklet of\n"
"this one runnable, as long as any could.\n"
"wait=False: return when none can go on, though some may wait for a time.\n\n"
"    while (t := stackless.run(1000)) is not None:\n"
"        t.insert()");

static PyObject *
stackless_run(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    static const char *const names[] = {"timeout", "threadblock", "soft",
                                        "ignore_nesting", "totaltimeout", "seconds", "wait",
                                        NULL};
    static _PyArg_Parser parser = {.keywords = names,
                                   .format = "|liiii$dp:run"};
    _PyStackless_RunArgs run = {0};
    int wait = 1;
    PyObject *packed = NULL;
    if (nargs || kwnames) {
        if (!_PyArg_ParseStackAndKeywords(args, nargs, kwnames, &parser, &run.timeout,
                                          &run.threadblock, &run.soft, &run.ignore_nesting,
                                          &run.totaltimeout, &run.seconds, &wait)) {
            return NULL;
        }
        if (isnan(run.seconds)) {
            PyErr_SetString(PyExc_ValueError, "seconds must be a number, not nan");
            return NULL;
        }
        if (run.seconds > LONGEST_SLICE) {
            run.seconds = 0;
        }
        run.nowait = !wait;
        if (run.timeout > 0 || run.seconds > 0 || run.threadblock || run.nowait) {
            packed = PyBytes_FromStringAndSize((const char *)&run, sizeof(run));
            if (packed == NULL) {
                return NULL;
            }
        }
    }
    PyObject *result = switching_call(module, OP_RUN_ALL, packed, stackless_run, args, nargs,
                                      kwnames);
    Py_XDECREF(packed);
    return result;
}

/* --- time ---------------------------------------------------------------------------- */

PyDoc_STRVAR(sleep_doc,
"sleep($module, seconds, /)\n--\n\n"
"Let other tasklets run for so many seconds, at least, and return None.\n\n"
"0: until the caller's turn comes again.  None or inf: for ever.  ValueError if it is\n"
"negative or nan.  As an operation that blocks it is refused by block_trap.");

static PyObject *
stackless_sleep(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs != 1 || kwnames != NULL) {
        PyErr_Format(PyExc_TypeError, "sleep() takes exactly one argument (%zd given)",
                     nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0));
        return NULL;
    }
    _PyStackless_Scheduler *sched = get_scheduler(module);
    PyTime_t deadline;
    if (sched == NULL
        || _PyStackless_ParseTimeout(sched, "seconds", args[0], &deadline) < 0) {
        return NULL;
    }
    if (deadline == STACKLESS_AT_ONCE) {
        return switching_call(module, OP_SCHEDULE, Py_None, stackless_sleep, args, nargs,
                              kwnames);
    }
    PyObject *channel = _PyStackless_SleepChannel(sched);
    if (channel == NULL) {
        return NULL;
    }
    sched->call = (stackless_op){ .code = OP_SLEEP, .target = channel, .deadline = deadline };
    return _PyStackless_SwitchingCall(sched, stackless_sleep, module, args, nargs, kwnames);
}

PyDoc_STRVAR(select_doc,
"select($module, /, *cases, timeout=None, default=<none>, biased=False)\n--\n\n"
"Do exactly one of several operations, the first one that can be done; return a pair: the\n"
"index of its case, and what it returned.\n\n"
"A case is a channel to receive from, a pair of a channel and a value to send, or a tasklet\n"
"whose end to wait for.  If several can be done at once, any of them is (biased: the first).\n"
"An exception that was sent is raised.\n\n"
"timeout: how many seconds to wait at most (None: no limit); then TimeoutError.\n"
"default: what to return, as (None, default), rather than to wait.\n\n"
"ValueError if there is no case, for a closed channel at which a case would wait, and if the\n"
"cases receive from and send to the same channel; other errors as those of receive().\n\n"
"    which, value = stackless.select(requests, (answers, 7), timeout=1)");

static PyObject *
stackless_select(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *timeout = Py_None, *fallback = NULL;
    int biased = 0;
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i), *value = args[nargs + i];
        if (PyUnicode_EqualToUTF8(name, "timeout")) {
            timeout = value;
        }
        else if (PyUnicode_EqualToUTF8(name, "default")) {
            fallback = value;
        }
        else if (!PyUnicode_EqualToUTF8(name, "biased")) {
            PyErr_Format(PyExc_TypeError, "select() got an unexpected keyword argument '%U'",
                         name);
            return NULL;
        }
        else if ((biased = PyObject_IsTrue(value)) < 0) {
            return NULL;
        }
    }
    _PyStackless_Scheduler *sched = get_scheduler(module);
    PyTime_t deadline;
    if (sched == NULL
        || _PyStackless_ParseTimeout(sched, "timeout", timeout, &deadline) < 0) {
        return NULL;
    }
    PyObject *selection = _PyStackless_NewSelection(sched->mod, args, nargs, fallback);
    if (selection == NULL) {
        return NULL;
    }
    sched->call = (stackless_op){ .code = OP_SELECT, .value = selection, .deadline = deadline,
                                  .target = biased ? Py_None : NULL };
    return _PyStackless_SwitchingCall(sched, stackless_select, module, args, nargs, kwnames);
}

PyDoc_STRVAR(now_doc,
"now($module, /)\n--\n\n"
"What time it is, in seconds, by the clock that sleep() and timeouts go by: the monotonic\n"
"one, or that which set_clock() or virtual time has put in its place.");

static PyObject *
stackless_now(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    _PyStackless_Scheduler *sched = get_scheduler(module);
    PyTime_t now;
    if (sched == NULL || _PyStackless_AskClock(sched, &now) < 0) {
        return NULL;
    }
    return PyFloat_FromDouble(PyTime_AsSecondsDouble(now));
}

PyDoc_STRVAR(set_clock_doc,
"set_clock($module, clock, /)\n--\n\n"
"Let the calling thread's sleep() and timeouts go by `clock`, a callable that returns a\n"
"number of seconds; None: the monotonic clock.  Returns the previous one.\n\n"
"Who waits already goes on to wait for as long as before.  While nobody can run, the clock is\n"
"asked again at least every 10 ms.  It cannot switch tasklets.");

static PyObject *
set_clock(PyObject *module, PyObject *clock, int is_virtual)
{
    _PyStackless_Scheduler *sched = get_scheduler(module);
    if (sched == NULL) {
        return NULL;
    }
    PyTime_t now;
    if (is_virtual && sched->timers.is_virtual) {
        PyErr_SetString(PyExc_RuntimeError, "time is virtual already");
        return NULL;
    }
    if (is_virtual) {
        now = 0;
    }
    else if (clock != NULL) {
        PyObject *res = PyObject_CallNoArgs(clock);
        if (res == NULL || _PyStackless_ClockTime(res, &now) < 0) {
            Py_XDECREF(res);
            return NULL;
        }
        Py_DECREF(res);
    }
    else if (PyTime_Monotonic(&now) < 0) {
        return NULL;
    }
    PyObject *old = _PyStackless_SetClock(sched, clock, now, is_virtual);
    return old ? old : Py_None;
}

static PyObject *
stackless_set_clock(PyObject *module, PyObject *clock)
{
    if (clock != Py_None && !PyCallable_Check(clock)) {
        PyErr_Format(PyExc_TypeError, "the clock must be callable or None, not %s",
                     Py_TYPE(clock)->tp_name);
        return NULL;
    }
    return set_clock(module, clock == Py_None ? NULL : clock, 0);
}

static PyObject *
stackless_virtual_clock(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return set_clock(module, NULL, 1);
}

/* --- what there is ------------------------------------------------------------------- */

static PyObject *
stackless_getcurrent(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    _PyStackless_Scheduler *sched = get_scheduler(module);
    return sched ? Py_NewRef(sched->current) : NULL;
}

static PyObject *
stackless_getmain(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    _PyStackless_Scheduler *sched = get_scheduler(module);
    return sched ? Py_NewRef(sched->main) : NULL;
}

static PyObject *
stackless_getruncount(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    _PyStackless_Scheduler *sched = get_scheduler(module);
    return sched ? PyLong_FromSsize_t(sched->runcount) : NULL;
}

PyDoc_STRVAR(getcurrentid_doc,
"getcurrentid($module, /)\n--\n\n"
"An int that no other living tasklet has: the thread id for main, else from the address.");

static PyObject *
stackless_getcurrentid(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    PyThreadState *tstate = _PyThreadState_GET();
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched == NULL || sched->current == sched->main) {
        return PyLong_FromUnsignedLong(tstate->thread_id);
    }
    return PyLong_FromVoidPtr(sched->current);
}

PyDoc_STRVAR(getthreads_doc,
"getthreads($module, /)\n--\n\n"
"The ids of this interpreter's threads, the main thread's first.");

static PyObject *
stackless_getthreads(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);
    if (list == NULL) {
        return NULL;
    }
    PyInterpreterState *interp = PyInterpreterState_Get();
    for (PyThreadState *ts = PyInterpreterState_ThreadHead(interp); ts != NULL;
         ts = PyThreadState_Next(ts)) {
        PyObject *id = PyLong_FromUnsignedLong(ts->thread_id);
        /* The list of thread states begins with the newest. */
        int err = id == NULL ? -1 : PyList_Insert(list, 0, id);
        Py_XDECREF(id);
        if (err < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static PyObject *
stackless_getuncollectables(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *ts = PyInterpreterState_ThreadHead(interp);
    for (; list != NULL && ts != NULL; ts = PyThreadState_Next(ts)) {
        _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(ts);
        stackless_hard *h = sched ? sched->hard : NULL;
        for (; h != NULL; h = h->next) {
            if (!_PyStackless_IsBeingFreed(h->owner)
                && PyList_Append(list, (PyObject *)h->owner) < 0) {
                Py_CLEAR(list);
                break;
            }
        }
    }
    return list;
}

static PyObject *
stackless_getdebug(PyObject *module, PyObject *Py_UNUSED(ignored))
{
#ifdef Py_DEBUG
    Py_RETURN_TRUE;
#else
    Py_RETURN_FALSE;
#endif
}

static PyThreadState *
thread_by_id(unsigned long id)
{
    PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    while (ts != NULL && ts->thread_id != id) {
        ts = PyThreadState_Next(ts);
    }
    return ts;
}

static PyObject *
watchdog_list(_PyStackless_Scheduler *sched)
{
    if (sched == NULL || sched->watchdogs == NULL) {
        Py_RETURN_NONE;
    }
    /* Entry 0 is the caller of run(timeout). */
    PyObject *timed = sched->timed ? (PyObject *)sched->timed : Py_None;
    PyObject *list = Py_BuildValue("[O]", timed);
    for (Py_ssize_t i = 0; list != NULL && i < sched->nwatchdogs; i++) {
        if (sched->watchdogs[i] != sched->timed
            && PyList_Append(list, (PyObject *)sched->watchdogs[i]) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

PyDoc_STRVAR(get_thread_info_doc,
"get_thread_info($module, thread_id=-1, /)\n--\n\n"
"(main, current, runcount) of a thread, by default the calling one.");

static PyObject *
stackless_get_thread_info(PyObject *module, PyObject *args)
{
    PyObject *id_obj = NULL;
    unsigned long id, flags = 0;
    if (!PyArg_ParseTuple(args, "|O!k:get_thread_info", &PyLong_Type, &id_obj, &flags)
        || _PyStackless_ThreadId(id_obj, &id) < 0) {
        return NULL;
    }
    _PyStackless_Scheduler *sched;
    if (id == PyThread_get_thread_ident()) {
        sched = get_scheduler(module);
        if (sched == NULL) {
            return NULL;
        }
    }
    else {
        PyThreadState *ts = thread_by_id(id);
        if (ts == NULL) {
            PyErr_SetString(PyExc_RuntimeError, "Thread id not found");
            return NULL;
        }
        sched = _PyStackless_PeekScheduler(ts);
    }
    PyObject *main = sched ? (PyObject *)sched->main : Py_None;
    PyObject *current = Py_None;
    if (sched != NULL) {
        PyTaskletObject *t = sched->sleeper == NULL ? sched->current : sched->woken;
        current = t != NULL ? (PyObject *)t : Py_None;
    }
    Py_ssize_t runcount = sched ? sched->runcount : 0;
    if (flags & (1UL << 31)) {
        return Py_BuildValue("(OOnN)", main, current, runcount, watchdog_list(sched));
    }
    return Py_BuildValue("(OOn)", main, current, runcount);
}

/* --- traps and flags ------------------------------------------------------------------ */

PyDoc_STRVAR(switch_trap_doc,
"switch_trap($module, change=0, /)\n--\n\n"
"Add to the thread's trap level and return the old one.  While it is not 0, whatever\n"
"would switch tasklets raises RuntimeError instead.");

static PyObject *
stackless_switch_trap(PyObject *module, PyObject *args)
{
    int change = 0;
    if (!PyArg_ParseTuple(args, "|i:switch_trap", &change)) {
        return NULL;
    }
    _PyStackless_Scheduler *sched = get_scheduler(module);
    if (sched == NULL) {
        return NULL;
    }
    int old = sched->switch_trap;
    if (change > 0 ? old > INT_MAX - change : old < INT_MIN - change) {
        PyErr_Format(PyExc_OverflowError, "cannot change the trap level %d by %d", old, change);
        return NULL;
    }
    sched->switch_trap += change;
    return PyLong_FromLong(old);
}

PyDoc_STRVAR(enable_softswitch_doc,
"enable_softswitch($module, flag, /)\n--\n\n"
"Whether tasklets are switched softly where that is possible; None only asks.\n"
"Returns the old state, a bool.");

static PyObject *
stackless_enable_softswitch(PyObject *module, PyObject *flag)
{
    stackless_modstate *state = get_state(module);
    int old = !state->hard_only;
    if (flag != Py_None) {
        int on = PyObject_IsTrue(flag);
        if (on < 0) {
            return NULL;
        }
        if (!on && _PyStackless_SwitchObstacle() != NULL) {
            PyErr_Format(PyExc_NotImplementedError,
                         "cannot switch tasklets hard: %s", _PyStackless_SwitchObstacle());
            return NULL;
        }
        state->hard_only = !on;
        _PyStackless_NoteUnusual(state);
    }
    return PyBool_FromLong(old);
}

/* --- callbacks -------------------------------------------------------------------------- */

static PyObject *
exchange(PyObject **slot, PyObject *value)
{
    PyObject *old = *slot;
    *slot = value == Py_None ? NULL : Py_NewRef(value);
    return old ? old : Py_None;
}

static PyObject *
set_callback(PyObject **slot, PyObject *callback, const char *message)
{
    if (callback != Py_None && !PyCallable_Check(callback)) {
        PyErr_SetString(PyExc_TypeError, message);
        return NULL;
    }
    return exchange(slot, callback);
}

static PyObject *
stackless_set_schedule_callback(PyObject *module, PyObject *callback)
{
    stackless_modstate *state = get_state(module);
    /* The callback is told of each thread's main tasklet, but not of the caller's: it has
       been there all the time, though nobody may have asked for it. */
    if (callback != Py_None && get_scheduler(module) == NULL) {
        return NULL;
    }
    PyObject *old = set_callback(&state->schedule_callback, callback,
                                 "schedule callback must be callable");
    _PyStackless_NoteUnusual(state);
    return old;
}

static PyObject *
stackless_get_schedule_callback(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    PyObject *callback = get_state(module)->schedule_callback;
    return Py_NewRef(callback ? callback : Py_None);
}

static PyObject *
stackless_set_channel_callback(PyObject *module, PyObject *callback)
{
    return set_callback(&get_state(module)->channel_callback, callback,
                        "channel callback must be callable");
}

static PyObject *
stackless_get_channel_callback(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    PyObject *callback = get_state(module)->channel_callback;
    return Py_NewRef(callback ? callback : Py_None);
}

static PyObject *
stackless_set_error_handler(PyObject *module, PyObject *args)
{
    PyObject *handler = Py_None;
    if (!PyArg_ParseTuple(args, "|O:set_error_handler", &handler)) {
        return NULL;
    }
    return exchange(&get_state(module)->error_handler, handler);
}

PyDoc_STRVAR(tasklet_get_unpicklable_state_doc,
"_tasklet_get_unpicklable_state($module, tasklet, /)\n--\n\n"
"{'context': the tasklet's contextvars.Context}");

static PyObject *
stackless_tasklet_get_unpicklable_state(PyObject *module, PyObject *op)
{
    if (!PyObject_TypeCheck(op, get_state(module)->tasklet_type)) {
        PyErr_SetString(PyExc_TypeError, "Argument must be a tasklet");
        return NULL;
    }
    PyTaskletObject *t = (PyTaskletObject *)op;
    PyObject *context = *context_of(t);
    if (tasklet_is_executing(t) && sched_of(t)->tstate != NULL) {
        context = sched_of(t)->tstate->context;
    }
    context = context ? Py_NewRef(context) : PyContext_New();
    return context ? Py_BuildValue("{s:N}", "context", context) : NULL;
}

/* Registered with module atexit: other threads can still run then. */
static PyObject *
stackless_kill_all(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    PyThreadState *tstate = _PyThreadState_GET();
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    if (sched != NULL) {
        _PyStackless_KillHard(sched);
    }
    _PyStackless_KillOtherThreads(tstate);
    Py_RETURN_NONE;
}

static PyMethodDef kill_all_def = {"kill_all", stackless_kill_all, METH_NOARGS, NULL};

/* The function `name` of a builtin module (new reference), whatever has been put in its
   place; NULL with an exception. */
static PyObject *
builtin_function(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModuleLevel(module_name, NULL, NULL, NULL, 0);
    PyModuleDef *def = module && PyModule_Check(module) ? PyModule_GetDef(module) : NULL;
    PyMethodDef *method = def != NULL ? def->m_methods : NULL;
    PyObject *func = NULL;
    while (method != NULL && method->ml_name != NULL && strcmp(method->ml_name, name) != 0) {
        method++;
    }
    if (method != NULL && method->ml_name != NULL) {
        func = PyCFunction_New(method, module);
    }
    else if (module != NULL) {
        func = PyObject_GetAttrString(module, name);
    }
    Py_XDECREF(module);
    return func;
}

static int
register_at_exit(PyObject *module)
{
    PyObject *func = PyCFunction_New(&kill_all_def, module);
    PyObject *reg = func ? builtin_function("atexit", "register") : NULL;
    PyObject *res = reg ? PyObject_CallOneArg(reg, func) : NULL;
    Py_XDECREF(func);
    Py_XDECREF(reg);
    Py_XDECREF(res);
    return res == NULL ? -1 : 0;
}

#define SWITCHING(NAME) _PyCFunction_CAST(NAME), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef stackless_methods[] = {
    {"schedule", SWITCHING(_PyStackless_ScheduleFunction), schedule_doc},
    {"schedule_remove", SWITCHING(stackless_schedule_remove), schedule_remove_doc},
    {"run", SWITCHING(stackless_run), run_doc},
    {"sleep", SWITCHING(stackless_sleep), sleep_doc},
    {"select", SWITCHING(stackless_select), select_doc},
    {"now", stackless_now, METH_NOARGS, now_doc},
    {"set_clock", stackless_set_clock, METH_O, set_clock_doc},
    {"_virtual_clock", stackless_virtual_clock, METH_NOARGS,
     PyDoc_STR("_virtual_clock($module, /)\n--\n\n"
               "Let the calling thread's time stand still, and jump when everybody waits.")},
    {"getcurrent", stackless_getcurrent, METH_NOARGS,
     PyDoc_STR("getcurrent($module, /)\n--\n\nThe calling tasklet.")},
    {"getmain", stackless_getmain, METH_NOARGS,
     PyDoc_STR("getmain($module, /)\n--\n\nThe calling thread's main tasklet.")},
    {"getruncount", stackless_getruncount, METH_NOARGS,
     PyDoc_STR("getruncount($module, /)\n--\n\n"
               "The length of the calling thread's run queue, the caller included.")},
    {"getcurrentid", stackless_getcurrentid, METH_NOARGS, getcurrentid_doc},
    {"getthreads", stackless_getthreads, METH_NOARGS, getthreads_doc},
    {"getuncollectables", stackless_getuncollectables, METH_NOARGS,
     PyDoc_STR("getuncollectables($module, /)\n--\n\n"
               "The tasklets that own a slice of C stack.")},
    {"getdebug", stackless_getdebug, METH_NOARGS,
     PyDoc_STR("getdebug($module, /)\n--\n\nWhether this is a debug build.")},
    {"get_thread_info", stackless_get_thread_info, METH_VARARGS, get_thread_info_doc},
    {"switch_trap", stackless_switch_trap, METH_VARARGS, switch_trap_doc},
    {"enable_softswitch", stackless_enable_softswitch, METH_O, enable_softswitch_doc},
    {"set_schedule_callback", stackless_set_schedule_callback, METH_O,
     PyDoc_STR("set_schedule_callback($module, callback, /)\n--\n\n"
               "callback(prev, next) is called before each switch; None removes it.\n"
               "Returns the previous one.")},
    {"get_schedule_callback", stackless_get_schedule_callback, METH_NOARGS, NULL},
    {"set_channel_callback", stackless_set_channel_callback, METH_O,
     PyDoc_STR("set_channel_callback($module, callback, /)\n--\n\n"
               "callback(channel, tasklet, sending, willblock) is called before each send\n"
               "and receive; None removes it.  Returns the previous one.")},
    {"get_channel_callback", stackless_get_channel_callback, METH_NOARGS, NULL},
    {"set_error_handler", stackless_set_error_handler, METH_VARARGS,
     PyDoc_STR("set_error_handler($module, handler=None, /)\n--\n\n"
               "handler(type, value, traceback) is called, in the dying tasklet, for each\n"
               "exception that a tasklet does not catch.  Returns the previous one.")},
    {"_dump", _PyStackless_Dump, METH_VARARGS,
     PyDoc_STR("_dump($module, limit, depth, /)\n--\n\n"
               "What stackless.dump() shows: a list with a dict for each thread.")},
    {"_tasklet_get_unpicklable_state", stackless_tasklet_get_unpicklable_state, METH_O,
     tasklet_get_unpicklable_state_doc},
    {NULL}
};

/* --- atomic ----------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    int old;
} AtomicObject;

static PyObject *
atomic_set(PyObject *self, int on, int *old)
{
    _PyStackless_Scheduler *sched = get_scheduler(_PyStackless_ModuleOfType(Py_TYPE(self)));
    if (sched == NULL) {
        return NULL;
    }
    uint8_t *flags = &sched->current->flags;
    *old = (*flags & TASKLET_ATOMIC) != 0;
    *flags = on ? *flags | TASKLET_ATOMIC : *flags & ~TASKLET_ATOMIC;
    Py_RETURN_NONE;
}

static PyObject *
atomic_enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return atomic_set(self, 1, &((AtomicObject *)self)->old);
}

static PyObject *
atomic_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    int unused;
    return atomic_set(self, ((AtomicObject *)self)->old, &unused);
}

static void
atomic_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef atomic_methods[] = {
    {"__enter__", atomic_enter, METH_NOARGS, NULL},
    {"__exit__", _PyCFunction_CAST(atomic_exit), METH_FASTCALL, NULL},
    {NULL}
};

PyDoc_STRVAR(atomic_doc,
"atomic()\n--\n\n"
"Context manager: the calling tasklet is atomic within the block.  One object remembers\n"
"one old value: do not nest the same one.");

static PyType_Slot atomic_slots[] = {
    {Py_tp_doc, (void *)atomic_doc},
    {Py_tp_dealloc, atomic_dealloc},
    {Py_tp_methods, atomic_methods},
    {0, NULL}
};

static PyType_Spec atomic_spec = {
    .name = "_stackless.atomic",
    .basicsize = sizeof(AtomicObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = atomic_slots,
};

/* --- the type of the module `stackless` ----------------------------------------------------- */

static PyObject *
module_get(PyObject *self, void *function)
{
    PyObject *module = PyType_GetModule(Py_TYPE(self));
    return module == NULL ? NULL : ((PyCFunction)function)(module, NULL);
}

PyGetSetDef _PyStackless_ModuleGetSets[] = {
    {"current", module_get, NULL, PyDoc_STR("getcurrent()"), stackless_getcurrent},
    {"main", module_get, NULL, PyDoc_STR("getmain()"), stackless_getmain},
    {"runcount", module_get, NULL, PyDoc_STR("getruncount()"), stackless_getruncount},
    {"threads", module_get, NULL, PyDoc_STR("getthreads()"), stackless_getthreads},
    {"uncollectables", module_get, NULL, PyDoc_STR("getuncollectables()"),
     stackless_getuncollectables},
    {"pickle_with_tracing_state", _PyStackless_GetWithTracing, _PyStackless_SetWithTracing,
     PyDoc_STR("Deprecated: the first bit of pickle_flags() and pickle_flags_default().")},
    {"debug", module_get, NULL, PyDoc_STR("getdebug()"), stackless_getdebug},
    {NULL}
};

static int
module_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return PyModule_Type.tp_traverse(self, visit, arg);
}

static int
module_clear(PyObject *self)
{
    return PyModule_Type.tp_clear(self);
}

PyDoc_STRVAR(module_doc,
"The type of the module `stackless`, whose computed attributes are read-only.");

PyDoc_STRVAR(module_reduce_doc,
"The module's name: it is pickled as the global of that name, which it has itself.");

static PyObject *
module_reduce(PyObject *self, PyObject *Py_UNUSED(args))
{
    return PyModule_GetNameObject(self);
}

static PyMethodDef module_methods[] = {
    {"__reduce__", module_reduce, METH_NOARGS, module_reduce_doc},
    {"__reduce_ex__", module_reduce, METH_VARARGS, module_reduce_doc},
    {NULL}
};

static PyType_Slot module_slots[] = {
    {Py_tp_doc, (void *)module_doc},
    {Py_tp_base, &PyModule_Type},
    {Py_tp_traverse, module_traverse},
    {Py_tp_clear, module_clear},
    {Py_tp_getset, _PyStackless_ModuleGetSets},
    {Py_tp_methods, module_methods},
    {0, NULL}
};

static PyType_Spec module_spec = {
    .name = "_stackless.module",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = module_slots,
};

/* --- the module --------------------------------------------------------------------------- */

static const char trampoline_source[] =
    "def call(func, args):\n"
    "    return func(*args)\n";

static const char keywords_trampoline_source[] =
    "def call(func, args, kwargs):\n"
    "    return func(*args, **kwargs)\n";

static int
make_type(PyObject *module, PyTypeObject **slot, PyType_Spec *spec)
{
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *slot == NULL ? -1 : 0;
}

static int
add_type(PyObject *module, PyTypeObject **slot, PyType_Spec *spec)
{
    return make_type(module, slot, spec) < 0 ? -1 : PyModule_AddType(module, *slot);
}

PyDoc_STRVAR(cancelled_doc,
"Raised where a tasklet waits, or is about to, within a scope that has been cancelled: `scope`.\n"
"The argument is the reason.  Let it pass: the scope catches it.");

static int
add_cancelled(PyObject *module, stackless_modstate *state)
{
    PyObject *dict = Py_BuildValue("{sO}", "scope", Py_None);
    if (dict == NULL) {
        return -1;
    }
    state->cancelled_type = PyErr_NewExceptionWithDoc("stackless.Cancelled", cancelled_doc,
                                                      PyExc_BaseException, dict);
    Py_DECREF(dict);
    return PyModule_AddObjectRef(module, "Cancelled", state->cancelled_type);
}

static int
get_channel_methods(stackless_modstate *state)
{
    PyObject *type = (PyObject *)state->channel_type;
    state->channel_methods.send = PyObject_GetAttrString(type, "send");
    state->channel_methods.receive = PyObject_GetAttrString(type, "receive");
    return state->channel_methods.send && state->channel_methods.receive ? 0 : -1;
}

static int
stackless_exec(PyObject *module)
{
    stackless_modstate *state = get_state(module);
    if (add_type(module, &state->tasklet_type, &_PyTasklet_Spec) < 0
        || add_type(module, &state->channel_type, &_PyChannel_Spec) < 0
        || add_type(module, &state->bomb_type, &_PyBomb_Spec) < 0
        || add_type(module, &state->atomic_type, &atomic_spec) < 0
        || add_type(module, &state->continuation_type, &_PyStackless_ContinuationSpec) < 0
        || add_type(module, &state->module_type, &module_spec) < 0
        || make_type(module, &state->proxy_type, &_PyStackless_ProxySpec) < 0
        || make_type(module, &state->selection_type, &_PyStackless_SelectionSpec) < 0
        || add_type(module, &state->scope_type, &_PyStackless_ScopeSpec) < 0
        || add_cancelled(module, state) < 0
        || _PyTasklet_InitType(state->tasklet_type) < 0
        || _PyChannel_InitType(state->channel_type) < 0
        || get_channel_methods(state) < 0
        || _PyStackless_InitInlining() < 0) {
        return -1;
    }
    _PyStackless_InitGenerators();
    state->trampoline = _PyStackless_HiddenFunction(trampoline_source, "call", NULL, NULL);
    state->keywords_trampoline = _PyStackless_HiddenFunction(keywords_trampoline_source,
                                                             "call", NULL, NULL);
    if (state->trampoline == NULL || state->keywords_trampoline == NULL
        || _PyStackless_InitPrivate(module) < 0
        || _PyStackless_AddCAPI(module) < 0
        || _PyStackless_InitPickling(module) < 0
        || register_at_exit(module) < 0) {
        return -1;
    }
    _PyStackless_DebugInit(state);
    _PyStackless_NoteUnusual(state);
    return 0;
}

static int
stackless_traverse(PyObject *module, visitproc visit, void *arg)
{
    stackless_modstate *state = get_state(module);
    Py_VISIT(state->channel_methods.send);
    Py_VISIT(state->channel_methods.receive);
    Py_VISIT(state->tasklet_type);
    Py_VISIT(state->channel_type);
    Py_VISIT(state->bomb_type);
    Py_VISIT(state->atomic_type);
    Py_VISIT(state->continuation_type);
    Py_VISIT(state->module_type);
    Py_VISIT(state->greenlet_tasklet_type);
    Py_VISIT(state->proxy_type);
    Py_VISIT(state->selection_type);
    Py_VISIT(state->scope_type);
    Py_VISIT(state->cancelled_type);
    Py_VISIT(state->str_run);
    Py_VISIT(state->trampoline);
    Py_VISIT(state->keywords_trampoline);
    Py_VISIT(state->schedule_callback);
    Py_VISIT(state->channel_callback);
    Py_VISIT(state->error_handler);
    Py_VISIT(state->namespace_type);
    Py_VISIT(state->namespaces);
    Py_VISIT(state->blank_globals);
    Py_VISIT(state->waiting_mark);
    Py_VISIT(state->lately_reduced);
    return 0;
}

static int
stackless_clear(PyObject *module)
{
    stackless_modstate *state = get_state(module);
    Py_CLEAR(state->schedule_callback);
    Py_CLEAR(state->channel_callback);
    Py_CLEAR(state->error_handler);
    Py_CLEAR(state->namespace_type);
    Py_CLEAR(state->namespaces);
    Py_CLEAR(state->blank_globals);
    Py_CLEAR(state->waiting_mark);
    Py_CLEAR(state->lately_reduced);
    return 0;
}

static void
stackless_free(void *module)
{
    stackless_modstate *state = get_state(module);
    (void)stackless_clear(module);
    Py_CLEAR(state->channel_methods.send);
    Py_CLEAR(state->channel_methods.receive);
    Py_CLEAR(state->tasklet_type);
    Py_CLEAR(state->channel_type);
    Py_CLEAR(state->bomb_type);
    Py_CLEAR(state->atomic_type);
    Py_CLEAR(state->continuation_type);
    Py_CLEAR(state->module_type);
    Py_CLEAR(state->greenlet_tasklet_type);
    Py_CLEAR(state->proxy_type);
    Py_CLEAR(state->selection_type);
    Py_CLEAR(state->scope_type);
    Py_CLEAR(state->cancelled_type);
    Py_CLEAR(state->str_run);
    Py_CLEAR(state->trampoline);
    Py_CLEAR(state->keywords_trampoline);
}

static PyModuleDef_Slot stackless_slots[] = {
    {Py_mod_exec, stackless_exec},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
    {Py_mod_gil, Py_MOD_GIL_USED},
    {0, NULL}
};

PyDoc_STRVAR(stackless_doc,
"Tasklets, channels and their scheduler.  Programs import the package `stackless`.");

struct PyModuleDef _PyStackless_Module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_stackless",
    .m_doc = stackless_doc,
    .m_size = sizeof(stackless_modstate),
    .m_methods = stackless_methods,
    .m_slots = stackless_slots,
    .m_traverse = stackless_traverse,
    .m_clear = stackless_clear,
    .m_free = stackless_free,
};

PyMODINIT_FUNC
PyInit__stackless(void)
{
    return PyModuleDef_Init(&_PyStackless_Module);
}
