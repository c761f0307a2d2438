/* Checks of a debug build: at each switch, that the queues and the frames of the two
   tasklets involved are what the other files say they are.  A broken invariant is a
   fatal error, with the tasklet or channel shown.

   The environment variable STACKLESS_DEBUG, a list of words separated by commas, makes
   a debug build do what is rare as often as possible:
       hard    every switch is hard, as after enable_softswitch(False)
       slow    no fast paths (switch/fast.h)
       gc      a full garbage collection after each switch (which costs far less after
               gc.freeze()); implies slow
       shuffle:SEED
               whoever leaves a tasklet without saying who is next gets any member of
               the run queue (one of the first hundred), instead of the first one; the
               order of the queue stays what it is.  SEED is a number; the same
               program makes the same choices.  Implies slow
   (random:SEED is for the test-suite: its tests run in that order.) */

#include "Python.h"

#ifdef Py_DEBUG

#include "pycore_initconfig.h"    // Py_GETENV()
#include "pycore_object.h"        // _PyObject_ASSERT_WITH_MSG()
#include "Stackless/sched/sched.h"

/* What follows the word: "", or with a colon its argument.  NULL: it is not there. */
static const char *
find_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; p != NULL; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, word, n) == 0 && (p[n] == ',' || p[n] == '\0' || p[n] == ':')) {
            return p + n;
        }
    }
    return NULL;
}

void
_PyStackless_DebugInit(stackless_modstate *mod)
{
    const char *words = Py_GETENV("STACKLESS_DEBUG");
    if (words != NULL) {
        mod->hard_only = find_word(words, "hard") && _PyStackless_SwitchObstacle() == NULL;
        mod->debug_gc = find_word(words, "gc") != NULL;
        const char *seed = find_word(words, "shuffle");
        mod->debug_shuffle = seed != NULL;
        if (seed != NULL && *seed == ':') {
            mod->debug_random = strtoull(seed + 1, NULL, 0);
        }
        mod->debug_slow = mod->debug_gc || mod->debug_shuffle
                          || find_word(words, "slow") != NULL;
    }
}

enum { LONGEST_CHECKED = 100 };   // a switch must not cost what a long queue costs

/* The number of the next switch decides, so that an operation that is decided again gets
   the same answer. */
PyTaskletObject *
_PyStackless_Successor(_PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current->next;
    Py_ssize_t others = sched->runcount - 1;
    if (sched->mod->debug_shuffle && others > 1) {
        uint64_t x = sched->mod->debug_random * 0x9e3779b97f4a7c15u;
        x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
        x ^= x >> 32;
        for (x %= (uint64_t)Py_MIN(others, LONGEST_CHECKED); x > 0; x--) {
            t = t->next;
        }
    }
    return t;
}

/* The thread state is whole, and may be that of another tasklet afterwards. */
void
_PyStackless_DebugSwitched(_PyStackless_Scheduler *sched)
{
    if (sched->mod->debug_gc) {
        PyObject *exc = PyErr_GetRaisedException();
        PyGC_Collect();
        PyErr_SetRaisedException(exc);
    }
}

#define CHECK(t, condition, message) \
    _PyObject_ASSERT_WITH_MSG((PyObject *)(t), condition, message)

static void
check_run_queue(_PyStackless_Scheduler *sched)
{
    PyTaskletObject *t = sched->current;
    Py_ssize_t n = 0;
    CHECK(t, t->state == TASKLET_CURRENT, "the current tasklet's state is another");
    CHECK(t, sched->sleeper == NULL && sched->woken == NULL && !sched->signalled,
          "running, but asleep");
    if (sched->runcount > LONGEST_CHECKED) {
        return;
    }
    do {
        CHECK(t, tasklet_is_queued(t), "in the run queue, but not runnable");
        CHECK(t, t->next->prev == t && t->prev->next == t, "broken run queue");
        CHECK(t, sched_of(t) == sched, "in the run queue of another thread");
        CHECK(t, (t->state == TASKLET_CURRENT) == (t == sched->current),
              "more than one current tasklet");
        n++;
        t = t->next;
    } while (t != sched->current && n <= sched->runcount);
    CHECK(t, n == sched->runcount, "the run queue is longer or shorter than its count");
}

static void
check_channel(PyChannelObject *ch)
{
    int n = 0;
    PyTaskletObject *prev = NULL;
    if (ch->balance > LONGEST_CHECKED || ch->balance < -LONGEST_CHECKED) {
        return;
    }
    for (PyTaskletObject *t = ch->first; t != NULL; prev = t, t = t->next) {
        CHECK(t, t->channel == ch, "in the queue of another channel");
        CHECK(t, t->prev == prev, "broken channel queue");
        CHECK(ch, t->state == (ch->balance > 0 ? TASKLET_SENDING : TASKLET_RECEIVING),
              "a waiting tasklet's state does not fit the balance");
        n++;
    }
    CHECK(ch, ch->last == prev, "broken end of a channel queue");
    CHECK(ch, n == abs(ch->balance), "balance is not the length of the queue");
}

/* The frames of a suspended tasklet: in heap blocks or generators, with their stack
   pointers saved, down to the dispatcher's frame. */
static void
check_suspended_frames(PyTaskletObject *t)
{
    CHECK(t, !tasklet_has_mark(t, DEPTH_IN_GENERATOR)
             || _PyStackless_NearGenerator(t->frame) != NULL,
          "exc_info of a suspended tasklet cannot be found again");
    CHECK(t, !tasklet_has_mark(t, DEPTH_HANDLES)
             || PyExceptionInstance_Check(_PyFrame_StackPeek(t->frame)),
          "the exception that a suspended tasklet handles is not on top of its stack");
    for (_PyInterpreterFrame *f = t->frame; f != &sched_of(t)->base; f = f->previous) {
        CHECK(t, f != NULL, "the frames do not end at the dispatcher");
        CHECK(t, f->owner == FRAME_OWNED_BY_TASKLET
                 || f->owner == FRAME_OWNED_BY_GENERATOR
                 || (f->owner == FRAME_OWNED_BY_THREAD && _PyTasklet_IsHard(t)),
              "a frame of a suspended tasklet lies elsewhere");
        CHECK(t, f->stacktop >= _PyFrame_GetCode(f)->co_nlocalsplus
                 || _PyTasklet_IsHard(t),
              "a suspended frame has no stack pointer");
        CHECK(t, f->frame_obj == NULL || f->frame_obj->f_frame == f,
              "a frame object refers to another frame");
        /* (A trace function is told of a yield when the generator is suspended.) */
        if (f->owner == FRAME_OWNED_BY_GENERATOR && !_PyTasklet_IsHard(t)) {
            CHECK(t, _PyFrame_GetGenerator(f)->gi_frame_state == FRAME_EXECUTING,
                  "a generator of a suspended tasklet is not executing");
        }
    }
}

/* main below a dispatcher: its frames are off the thread state, and intact. */
static void
check_main_frames(_PyStackless_Scheduler *sched)
{
    for (_PyInterpreterFrame *f = sched->main_frame; f != NULL; f = f->previous) {
        CHECK(sched->main, f->owner != FRAME_OWNED_BY_TASKLET,
              "a tasklet's frame in the frames of main");
        if (f->owner != FRAME_OWNED_BY_CSTACK) {
            CHECK(sched->main, PyCode_Check(f->f_executable), "a frame without code");
        }
    }
}

void
_PyStackless_Check(_PyStackless_Scheduler *sched, PyTaskletObject *left)
{
    sched->mod->debug_random++;
    check_run_queue(sched);
    if (left != NULL && tasklet_is_blocked(left)) {
        check_channel(left->channel);
    }
    if (left != NULL && left->frame != NULL && (left->flags & TASKLET_STARTED)
        && left->state != TASKLET_CURRENT) {
        check_suspended_frames(left);
    }
    PyTaskletObject *next = sched->current;
    CHECK(next, sched->base.stacktop == 0, "the dispatcher's frame has a value left over");
    if (!(next->flags & TASKLET_IS_MAIN)) {
        CHECK(next, sched->base.previous == NULL, "main's frames can be reached");
        if (next->flags & TASKLET_STARTED) {
            CHECK(next, next->frame != NULL, "nothing to go on with");
            check_suspended_frames(next);
        }
        check_main_frames(sched);
    }
}

void
_PyStackless_CheckAsleep(_PyStackless_Scheduler *sched)
{
    PyTaskletObject *sleeper = sched->sleeper;
    PyTaskletObject *t = sched->woken;
    Py_ssize_t n = 0;
    CHECK(sleeper, sleeper == sched->current, "another tasklet than the sleeper is current");
    CHECK(sleeper, sleeper->state != TASKLET_CURRENT && sleeper->state != TASKLET_IDLE,
          "asleep, but running or dead");
    if (tasklet_is_blocked(sleeper)) {
        check_channel(sleeper->channel);
    }
    CHECK(sleeper, (t == NULL) == (sched->runcount == 0), "the run queue has no head");
    if (t == NULL || sched->runcount > LONGEST_CHECKED) {
        return;
    }
    do {
        CHECK(t, t->state == TASKLET_RUNNABLE, "woken, but not runnable");
        CHECK(t, t->next->prev == t && t->prev->next == t, "broken run queue");
        CHECK(t, sched_of(t) == sched, "in the run queue of another thread");
        n++;
        t = t->next;
    } while (t != sched->woken && n <= sched->runcount);
    CHECK(t, n == sched->runcount, "the run queue is longer or shorter than its count");
}

#endif /* Py_DEBUG */
