/* The timers of a scheduler: a heap in an array, whose entries hold what is compared, so that
   few lines of the cache are touched.  The tasklet knows its place in it, so that stopping a
   timer is as cheap as starting one: nearly all are stopped.

   (Rejected: a wheel, which starts and stops in constant time, but rounds times, and has no
   "next deadline" for a thread that is about to sleep; leaving stopped timers in the heap,
   where a million calls with long timeouts would pile up.) */

#include "Python.h"
#include "Stackless/wait/wait.h"

enum { CHILDREN = 4 };

int
_PyStackless_TimersReserve(_PyStackless_Scheduler *sched)
{
    stackless_timers *timers = &sched->timers;
    if (timers->n < timers->size) {
        return 0;
    }
    size_t size = (size_t)timers->size + timers->size / 4 + 16;
    void *heap = size < UINT32_MAX
                 ? PyMem_Realloc(timers->heap, size * sizeof(stackless_timer)) : NULL;
    if (heap == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    timers->heap = heap;
    timers->size = (uint32_t)size;
    return 0;
}

static inline int
is_before(const stackless_timer *a, const stackless_timer *b)
{
    return a->deadline != b->deadline ? a->deadline < b->deadline : a->number < b->number;
}

static inline void
put(stackless_timers *timers, uint32_t i, stackless_timer timer)
{
    timers->heap[i] = timer;
    extra_of(timer.tasklet)->timer = i + 1;
}

static void
put_up(stackless_timers *timers, uint32_t i, stackless_timer timer)
{
    while (i > 0) {
        uint32_t parent = (i - 1) / CHILDREN;
        if (!is_before(&timer, &timers->heap[parent])) {
            break;
        }
        put(timers, i, timers->heap[parent]);
        i = parent;
    }
    put(timers, i, timer);
}

static void
put_down(stackless_timers *timers, uint32_t i, stackless_timer timer)
{
    for (;;) {
        uint64_t first = (uint64_t)i * CHILDREN + 1;
        uint64_t end = Py_MIN(first + CHILDREN, timers->n);
        if (first >= end) {
            break;
        }
        uint32_t least = (uint32_t)first;
        for (uint32_t k = least + 1; k < end; k++) {
            if (is_before(&timers->heap[k], &timers->heap[least])) {
                least = k;
            }
        }
        if (!is_before(&timers->heap[least], &timer)) {
            break;
        }
        put(timers, i, timers->heap[least]);
        i = least;
    }
    put(timers, i, timer);
}

void
_PyStackless_TimerStart(_PyStackless_Scheduler *sched, PyTaskletObject *t, PyTime_t deadline)
{
    stackless_timers *timers = &sched->timers;
    assert(timers->n < timers->size && extra_of(t)->timer == 0);
    stackless_timer timer = { deadline, timers->started++, t };
    put_up(timers, timers->n++, timer);
}

void
_PyStackless_TimerStop(_PyStackless_Scheduler *sched, PyTaskletObject *t)
{
    stackless_timers *timers = &sched->timers;
    uint32_t i = extra_of(t)->timer - 1;
    assert(i < timers->n && timers->heap[i].tasklet == t);
    extra_of(t)->timer = 0;
    stackless_timer last = timers->heap[--timers->n];
    if (i == timers->n) {
        return;
    }
    if (i > 0 && is_before(&last, &timers->heap[(i - 1) / CHILDREN])) {
        put_up(timers, i, last);
    }
    else {
        put_down(timers, i, last);
    }
}
