/* What all tasklets are doing, for people: stackless.dump() and the errors that tell of a
   deadlock.  (faulthandler has faulthandler.c.)

   Who is found where: the current and the runnable ones in their thread's queue (without
   a current one if the thread sleeps), those inside run() among its watchdogs, the blocked ones in the channels on its `busy` list.
   Paused ones are on no list, so they are looked for among all objects that the garbage
   collector tracks.  Whose thread has ended is found in these last two places only.

   All output is bounded: a million tasklets are counted, and a few are shown.  Frames are
   read where they are; no frame object is made, and no Python code runs in between, so
   that nobody moves. */

#include "Python.h"
#include "pycore_code.h"          // PyCodeObject
#include "pycore_frame.h"         // _PyFrame_GetFirstComplete()
#include "pycore_gc.h"            // _PyGCHead_NEXT()
#include "pycore_interp.h"        // PyInterpreterState.gc
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/sched/sched.h"

enum { DEADLOCK_SHOWN = 10 };     // blocked tasklets in a message

/* --- looking for tasklets ---------------------------------------------------------- */

/* Calls `visit` for each tasklet that is blocked and belongs to `sched`, until that does
   not return 0.  A channel is on the list of one of the threads that use it. */
typedef int (*visit_function)(PyTaskletObject *t, void *arg);

static int
visit_blocked(PyInterpreterState *interp, _PyStackless_Scheduler *sched,
              visit_function visit, void *arg)
{
    PyThreadState *ts = PyInterpreterState_ThreadHead(interp);
    for (; ts != NULL; ts = PyThreadState_Next(ts)) {
        _PyStackless_Scheduler *holder = _PyStackless_PeekScheduler(ts);
        PyChannelObject *ch = holder ? holder->busy : NULL;
        for (; ch != NULL; ch = ch->busy_next) {
            for (PyTaskletObject *t = ch->first; t != NULL; t = t->next) {
                int res = sched_of(t) == sched && _PyStackless_WaiterOf(t) == t ? visit(t, arg) : 0;
                if (res != 0) {
                    return res;
                }
            }
        }
    }
    return 0;
}

/* The first one in a thread's queue; NULL if it sleeps. */
static PyTaskletObject *
queue_head(_PyStackless_Scheduler *sched)
{
    return sched->sleeper != NULL ? sched->woken : sched->current;
}

/* --- one tasklet --------------------------------------------------------------------- */

static const char *
state_name(PyTaskletObject *t)
{
    switch ((tasklet_state)t->state) {
        case TASKLET_IDLE:
            return "idle";
        case TASKLET_RUNNABLE:
            return "runnable";
        case TASKLET_CURRENT:
            return "current";
        case TASKLET_RECEIVING:
            return !(t->channel->special & CHANNEL_HIDDEN) ? "receiving"
                   : t->channel == sched_of(t)->sleep_channel ? "sleeping" : "joining";
        case TASKLET_SENDING:
            return "sending";
        case TASKLET_PAUSED:
            break;
    }
    return tasklet_is_watchdog(t) ? "in run()" : "paused";
}

static _PyInterpreterFrame *
first_frame(PyTaskletObject *t)
{
    return _PyFrame_GetFirstComplete(_PyTasklet_TopFrame(t));
}

static _PyInterpreterFrame *
next_frame(_PyInterpreterFrame *frame)
{
    return _PyFrame_GetFirstComplete(frame->previous);
}

/* At most `depth` frames, the most recent first: [(file, line, function), ...] */
static PyObject *
frame_list(PyTaskletObject *t, Py_ssize_t depth, Py_ssize_t *total)
{
    PyObject *list = PyList_New(0);
    *total = 0;
    for (_PyInterpreterFrame *f = first_frame(t); list != NULL && f != NULL;
         f = next_frame(f)) {
        if ((*total)++ >= depth) {
            continue;
        }
        PyCodeObject *code = _PyFrame_GetCode(f);
        PyObject *item = Py_BuildValue("(OiO)", code->co_filename,
                                       PyUnstable_InterpreterFrame_GetLine(f),
                                       code->co_qualname);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

/* The name of what an unstarted tasklet will call, or None. */
static PyObject *
function_name(PyTaskletObject *t)
{
    if ((t->flags & TASKLET_STARTED) || t->state == TASKLET_IDLE || t->func == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *func = t->func;
    if (PyMethod_Check(func)) {
        func = PyMethod_GET_FUNCTION(func);
    }
    if (PyFunction_Check(func)) {
        return Py_NewRef(((PyFunctionObject *)func)->func_qualname);
    }
    if (PyCFunction_Check(func)) {
        return PyUnicode_FromString(((PyCFunctionObject *)func)->m_ml->ml_name);
    }
    return PyUnicode_FromString(Py_TYPE(func)->tp_name);
}

static PyObject *
tasklet_info(PyTaskletObject *t, Py_ssize_t depth)
{
    Py_ssize_t total;
    PyObject *frames = frame_list(t, depth, &total);
    if (frames == NULL) {
        return NULL;
    }
    PyObject *channel = Py_None;
    if (tasklet_is_blocked(t) && t->channel != NULL
        && !(t->channel->special & CHANNEL_HIDDEN)) {
        channel = Py_BuildValue("{s:N,s:s,s:i}",
                                "id", PyLong_FromVoidPtr(t->channel),
                                "type", Py_TYPE(t->channel)->tp_name,
                                "balance", t->channel->balance);
        if (channel == NULL) {
            Py_DECREF(frames);
            return NULL;
        }
    }
    return Py_BuildValue(
        "{s:N,s:s,s:s,s:O,s:O,s:O,s:O,s:O,s:N,s:N,s:N,s:n}",
        "id", PyLong_FromVoidPtr(t),
        "type", Py_TYPE(t)->tp_name,
        "state", state_name(t),
        "main", tasklet_is_main(t) ? Py_True : Py_False,
        "atomic", t->flags & TASKLET_ATOMIC ? Py_True : Py_False,
        "interrupted", extra_of(t) != NULL && extra_of(t)->interrupted ? Py_True : Py_False,
        "thread_sleeps", t == sched_of(t)->sleeper ? Py_True : Py_False,
        "c_frames", _PyTasklet_IsHard(t) ? Py_True : Py_False,
        "channel", channel,
        "function", function_name(t),
        "frames", frames,
        "depth", total);
}

/* --- stackless.dump() ------------------------------------------------------------------ */

/* The tasklets of a thread, or (sched == NULL) of all that have ended. */
typedef struct {
    _PyStackless_Scheduler *sched;
    PyObject *list;               // of dicts
    Py_ssize_t runnable, blocked, paused;
    Py_ssize_t limit, depth;
} thread_dump;

static int
add_tasklet(thread_dump *d, PyTaskletObject *t)
{
    if (PyList_GET_SIZE(d->list) >= d->limit) {
        return 0;
    }
    PyObject *info = tasklet_info(t, d->depth);
    int err = info == NULL ? -1 : PyList_Append(d->list, info);
    Py_XDECREF(info);
    return err;
}

static int
visit_add(PyTaskletObject *t, void *arg)
{
    thread_dump *d = arg;
    d->blocked++;
    return add_tasklet(d, t);
}

/* Those that are on lists. */
static int
add_listed(PyInterpreterState *interp, thread_dump *d)
{
    _PyStackless_Scheduler *sched = d->sched;
    PyTaskletObject *t = queue_head(sched);
    d->runnable = sched->runcount;
    for (Py_ssize_t i = 0; i < Py_MIN(d->runnable, d->limit); i++) {
        if (add_tasklet(d, t) < 0) {
            return -1;
        }
        t = t->next;
    }
    for (Py_ssize_t i = sched->nwatchdogs; i > 0; i--) {
        PyTaskletObject *w = sched->watchdogs[i - 1];
        if (w->state == TASKLET_PAUSED) {
            d->paused++;
            if (add_tasklet(d, w) < 0) {
                return -1;
            }
        }
    }
    return visit_blocked(interp, sched, visit_add, d);
}

/* The paused ones, and those whose thread has ended: the last of `dumps`. */
static int
add_collectable(PyInterpreterState *interp, thread_dump *dumps, Py_ssize_t n)
{
    stackless_modstate *mod = NULL;
    for (Py_ssize_t i = 0; i < n - 1; i++) {
        mod = dumps[i].sched->mod;
    }
    if (mod == NULL) {
        return 0;
    }
    struct _gc_runtime_state *gc = &interp->gc;
    PyGC_Head *heads[NUM_GENERATIONS + 1];
    for (int i = 0; i < NUM_GENERATIONS; i++) {
        heads[i] = &gc->generations[i].head;
    }
    heads[NUM_GENERATIONS] = &gc->permanent_generation.head;
    /* What is made on the way would come into the youngest generation. */
    for (int i = NUM_GENERATIONS; i >= 0; i--) {
        PyGC_Head *next;
        for (PyGC_Head *g = _PyGCHead_NEXT(heads[i]); g != heads[i]; g = next) {
            next = _PyGCHead_NEXT(g);
            PyTaskletObject *t = (PyTaskletObject *)_Py_FROM_GC(g);
            if (Py_TYPE(t) != mod->tasklet_type
                && !PyType_IsSubtype(Py_TYPE(t), mod->tasklet_type)) {
                continue;
            }
            thread_dump *d = &dumps[n - 1];
            if (sched_of(t)->tstate != NULL) {
                for (d = dumps; d->sched != NULL && d->sched != sched_of(t); d++) {
                }
            }
            if (t->state == TASKLET_PAUSED && !(d->sched && tasklet_is_watchdog(t))) {
                d->paused++;
            }
            else if (d->sched == NULL && tasklet_is_blocked(t)) {
                d->blocked++;
            }
            else {
                continue;
            }
            if (add_tasklet(d, t) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

static PyObject *
thread_info(thread_dump *d)
{
    PyThreadState *ts = d->sched ? d->sched->tstate : NULL;
    PyObject *id = ts ? PyLong_FromUnsignedLong(ts->thread_id) : Py_None;
    return Py_BuildValue("{s:N,s:O,s:n,s:n,s:n,s:O}",
                         "thread_id", id,
                         "calling", ts == _PyThreadState_GET() ? Py_True : Py_False,
                         "runnable", d->runnable,
                         "blocked", d->blocked,
                         "paused", d->paused,
                         "tasklets", d->list);
}

PyObject *
_PyStackless_Dump(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_ssize_t limit, depth;
    if (!PyArg_ParseTuple(args, "nn:_dump", &limit, &depth)) {
        return NULL;
    }
    PyInterpreterState *interp = PyInterpreterState_Get();
    Py_ssize_t n = 1;
    PyThreadState *ts;
    for (ts = PyInterpreterState_ThreadHead(interp); ts != NULL; ts = PyThreadState_Next(ts)) {
        n += _PyStackless_PeekScheduler(ts) != NULL;
    }
    thread_dump *dumps = PyMem_Calloc(n, sizeof(thread_dump));
    if (dumps == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *result = PyList_New(0);
    Py_ssize_t i = n - 1;
    for (ts = PyInterpreterState_ThreadHead(interp); ts != NULL; ts = PyThreadState_Next(ts)) {
        if (_PyStackless_PeekScheduler(ts) != NULL) {
            dumps[--i].sched = _PyStackless_PeekScheduler(ts);   // the newest is first
        }
    }
    int err = result == NULL ? -1 : 0;
    for (i = 0; i < n && err == 0; i++) {
        dumps[i].limit = limit;
        dumps[i].depth = depth;
        dumps[i].list = PyList_New(0);
        if (dumps[i].list == NULL
            || (dumps[i].sched != NULL && add_listed(interp, &dumps[i]) < 0)) {
            err = -1;
        }
    }
    if (err == 0) {
        err = add_collectable(interp, dumps, n);
    }
    for (i = 0; i < n && err == 0; i++) {
        thread_dump *d = &dumps[i];
        if (d->sched != NULL || d->paused + d->blocked > 0) {
            PyObject *info = thread_info(d);
            err = info == NULL ? -1 : PyList_Append(result, info);
            Py_XDECREF(info);
        }
    }
    for (i = 0; i < n; i++) {
        Py_XDECREF(dumps[i].list);
    }
    PyMem_Free(dumps);
    if (err < 0) {
        Py_CLEAR(result);
    }
    return result;
}

/* --- deadlocks ---------------------------------------------------------------------------- */

/* A message that grows; NULL: there was no memory. */
typedef struct {
    PyObject *text;
    Py_ssize_t shown;
    Py_ssize_t total;
} deadlock_text;

static void
append_text(deadlock_text *d, PyObject *more)
{
    if (d->text != NULL) {
        PyUnicode_AppendAndDel(&d->text, more);
    }
    else {
        Py_XDECREF(more);
    }
}

static void
append_waiting(deadlock_text *d, PyTaskletObject *t, tasklet_state state,
               PyChannelObject *ch)
{
    const char *main = tasklet_is_main(t) ? "main " : "";
    append_text(d, PyUnicode_FromFormat("\n  %s<%s at %p> ", main, Py_TYPE(t)->tp_name, t));
    if (ch != NULL) {
        append_text(d, PyUnicode_FromFormat(
            "%s <%s at %p>", state == TASKLET_SENDING ? "sending to" : "receiving from",
            Py_TYPE(ch)->tp_name, ch));
    }
    else {
        append_text(d, PyUnicode_FromString("leaving the run queue"));
    }
    _PyInterpreterFrame *f = first_frame(t);
    if (f != NULL) {
        PyCodeObject *code = _PyFrame_GetCode(f);
        append_text(d, PyUnicode_FromFormat(
            ", file \"%U\", line %d, in %U", code->co_filename,
            PyUnstable_InterpreterFrame_GetLine(f), code->co_qualname));
    }
}

static int
visit_waiting(PyTaskletObject *t, void *arg)
{
    deadlock_text *d = arg;
    if (d->shown == DEADLOCK_SHOWN) {
        return 1;
    }
    d->shown++;
    append_waiting(d, t, t->state, t->channel);
    return 0;
}

void
_PyStackless_SetDeadlock(_PyStackless_Scheduler *sched, const char *message,
                         tasklet_state fate, PyChannelObject *channel)
{
    PyThreadState *tstate = sched->tstate;
    deadlock_text d = { .text = PyUnicode_FromString(message) };
    if (fate != TASKLET_IDLE) {
        append_waiting(&d, sched->current, fate, channel);
    }
    PyThreadState *ts = tstate;
    Py_ssize_t total = 0;
    int first = 1;
    do {                               // this thread, then the others
        _PyStackless_Scheduler *s = _PyStackless_PeekScheduler(ts);
        if (s != NULL && (first || s != sched)) {
            total += s->nblocked;
            (void)visit_blocked(tstate->interp, s, visit_waiting, &d);
        }
        ts = first ? PyInterpreterState_ThreadHead(tstate->interp) : PyThreadState_Next(ts);
        first = 0;
    } while (ts != NULL);
    if (total > d.shown) {
        append_text(&d, PyUnicode_FromFormat("\n  and %zd more", total - d.shown));
    }
    if (d.text == NULL) {
        PyErr_Clear();
        PyErr_SetString(PyExc_RuntimeError, message);
        return;
    }
    PyErr_SetObject(PyExc_RuntimeError, d.text);
    Py_DECREF(d.text);
}
