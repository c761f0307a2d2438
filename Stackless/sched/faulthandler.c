/* What faulthandler's dumps show of a process that uses tasklets: which are suspended, and
   where; and the frames that run, which upstream's own walk would follow into memory that a
   switch gives back or overwrites (dump.c is for those who hold the GIL).

   A dump is made in any signal handler, after a crash, and by the thread of
   dump_traceback_later(), which does not have the GIL: lists and frames may be changed, freed
   and used for something else while they are read, and pointers may be garbage.  So nothing
   is dereferenced here.  Memory is copied by the kernel, through a pipe, which says EFAULT if
   there is none; what was copied is checked before it is used, and each list is followed for
   a limited number of steps.  What changes meanwhile may be shown wrong or be left out.
   Nothing is allocated, and no lock is taken.

   (Rejected: process_vm_readv(2), half as many system calls, for which a program may be
   killed that runs under a filter of system calls; to dump only with the GIL, which those who
   look for a hang never have; to take the GIL's mutex, whose owner the signal handler may
   have interrupted.) */

#include "Python.h"
#include "pycore_code.h"          // _PyCode_CODE()
#include "pycore_fileutils.h"     // _Py_write_noraise()
#include "pycore_frame.h"         // _PyInterpreterFrame
#include "pycore_traceback.h"     // _Py_DumpASCII()
#include "Stackless/state/state.h" // tasklet_is_blocked()

#include <fcntl.h>                // O_NONBLOCK
#include <unistd.h>               // pipe()

enum {
    MOST_THREADS = 100,
    MOST_TASKLETS = 100,          // of each thread: in its queue, and blocked
    MOST_FRAMES = 20,             // of each of them
    MOST_RUNNING_FRAMES = 100,    // of each thread; upstream's limit
    MOST_STEPS = 10000,           // along a list
};

typedef struct {
    int fd;                       // the dump goes there
    int out, in;                  // the ends of the pipe
} dump;

/* --- reading and writing ---------------------------------------------------------------- */

static int
open_pipe(dump *d)
{
    int ends[2];
#ifdef HAVE_PIPE2
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -1;
    }
#else
    if (pipe(ends) < 0) {
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        (void)fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
#endif
    d->out = ends[0];
    d->in = ends[1];
    return 0;
}

static void
close_pipe(const dump *d)
{
    close(d->out);
    close(d->in);
}

/* Copies memory: 0, or -1 if it is not there. */
static int
peek(const dump *d, const void *from, void *to, size_t size)
{
    ssize_t written, n;
    size_t done = 0;
    do {
        written = write(d->in, from, size);
    } while (written < 0 && errno == EINTR);
    while (written > 0 && done < (size_t)written) {
        n = read(d->out, (char *)to + done, (size_t)written - done);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            return -1;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return done == size ? 0 : -1;
}

/* NULL if it is not there, too. */
static void *
peek_pointer(const dump *d, const void *from)
{
    void *p;
    return peek(d, from, &p, sizeof(p)) < 0 ? NULL : p;
}

/* Likewise 0. */
static Py_ssize_t
peek_size(const dump *d, const void *from)
{
    Py_ssize_t n;
    return peek(d, from, &n, sizeof(n)) < 0 ? 0 : n;
}

static void
put(const dump *d, const char *text)
{
    (void)_Py_write_noraise(d->fd, text, strlen(text));
}

static void
put_pointer(const dump *d, const char *before, const void *p)
{
    put(d, before);
    put(d, "0x");
    _Py_DumpHexadecimal(d->fd, (uintptr_t)p, sizeof(void *) * 2);
}

static void
put_number(const dump *d, const char *before, Py_ssize_t n)
{
    put(d, before);
    _Py_DumpDecimal(d->fd, (size_t)n);
}

/* The beginning of a str. */
static void
put_string(const dump *d, const PyObject *text)
{
    enum { LONGEST = 400 };            // bytes
    struct {
        PyCompactUnicodeObject str;
        char data[LONGEST];
    } copy;
    PyASCIIObject *ascii = &copy.str._base;
    if (peek(d, text, ascii, sizeof(*ascii)) < 0 || Py_TYPE(ascii) != &PyUnicode_Type
        || !ascii->state.compact || ascii->length < 0
        || (ascii->state.kind != 1 && (ascii->state.ascii || (ascii->state.kind != 2
                                                               && ascii->state.kind != 4)))) {
        put(d, "???");
        return;
    }
    size_t head = ascii->state.ascii ? sizeof(PyASCIIObject) : sizeof(PyCompactUnicodeObject);
    Py_ssize_t length = Py_MIN(ascii->length, LONGEST / (Py_ssize_t)ascii->state.kind);
    int cut = length < ascii->length;
    if (peek(d, (const char *)text + head, (char *)ascii + head,
             (size_t)length * ascii->state.kind) < 0) {
        length = 0;
    }
    ascii->length = length;
    _Py_DumpASCII(d->fd, (PyObject *)ascii);
    if (cut) {
        put(d, "...");
    }
}

/* --- frames ------------------------------------------------------------------------------- */

/* A code object's table of locations, byte by byte. */
typedef struct {
    const dump *d;
    const char *next;
    Py_ssize_t left;              // from `next` on
    int pos, filled;
    uint8_t bytes[128];
} location_table;

/* -1: there is none. */
static int
next_byte(location_table *table)
{
    if (table->pos == table->filled) {
        int n = (int)Py_MIN(table->left, (Py_ssize_t)sizeof(table->bytes));
        if (n <= 0 || peek(table->d, table->next, table->bytes, (size_t)n) < 0) {
            return -1;
        }
        table->next += n;
        table->left -= n;
        table->filled = n;
        table->pos = 0;
    }
    return table->bytes[table->pos++];
}

static int
next_signed(location_table *table)
{
    unsigned int value = 0;
    int byte, shift = 0;
    do {
        byte = next_byte(table);
        if (byte < 0 || shift > 24) {
            return 0;
        }
        value |= (unsigned int)(byte & 63) << shift;
        shift += 6;
    } while (byte & 64);
    return value & 1 ? -(int)(value >> 1) : (int)(value >> 1);
}

/* The line of code unit `unit`; 0: unknown.  An entry of the table begins with the only one
   of its bytes that has the highest bit (InternalDocs of upstream's, Objects/locations.md). */
static int
find_line(const dump *d, const PyCodeObject *code, Py_ssize_t unit)
{
    const PyBytesObject *bytes = (const PyBytesObject *)code->co_linetable;
    location_table table = {
        .d = d, .next = bytes->ob_sval, .left = peek_size(d, &bytes->ob_base.ob_size),
    };
    int line = code->co_firstlineno;
    for (;;) {
        int byte;
        do {
            byte = next_byte(&table);
        } while (byte >= 0 && !(byte & 128));
        if (byte < 0) {
            return 0;
        }
        int kind = (byte >> 3) & 15;
        if (kind == PY_CODE_LOCATION_INFO_NO_COLUMNS || kind == PY_CODE_LOCATION_INFO_LONG) {
            line += next_signed(&table);
        }
        else if (kind == PY_CODE_LOCATION_INFO_ONE_LINE1
                 || kind == PY_CODE_LOCATION_INFO_ONE_LINE2) {
            line += kind - PY_CODE_LOCATION_INFO_ONE_LINE0;
        }
        unit -= (byte & 7) + 1;
        if (unit < 0) {
            return kind != PY_CODE_LOCATION_INFO_NONE && line > 0 ? line : 0;
        }
    }
}

/* Is the frame, a copy, one of Python code?  Writes it, if it is to be shown. */
static int
put_frame(const dump *d, const _PyInterpreterFrame *frame, int shown)
{
    PyCodeObject code;
    PyCodeObject *original = (PyCodeObject *)frame->f_executable;
    if (frame->owner == FRAME_OWNED_BY_CSTACK
        || peek(d, original, &code, offsetof(PyCodeObject, co_code_adaptive)) < 0
        || Py_TYPE(&code) != &PyCode_Type) {
        return 0;
    }
    Py_ssize_t unit = frame->instr_ptr - _PyCode_CODE(original);
    if (unit < 0 || unit >= Py_SIZE(&code)
        || (frame->owner != FRAME_OWNED_BY_GENERATOR && unit < code._co_firsttraceable)) {
        return 0;
    }
    if (shown) {
        put(d, "  File \"");
        put_string(d, code.co_filename);
        int line = find_line(d, &code, unit);
        if (line > 0) {
            put_number(d, "\", line ", line);
        }
        else {
            put(d, "\", line ???");
        }
        put(d, " in ");
        put_string(d, code.co_name);
        put(d, "\n");
    }
    return 1;
}

static void
put_frames(const dump *d, const _PyInterpreterFrame *next, int most)
{
    _PyInterpreterFrame frame;
    int n = 0;
    for (int steps = 0; steps < MOST_STEPS
                        && peek(d, next, &frame, offsetof(_PyInterpreterFrame, localsplus)) == 0;
         steps++, next = frame.previous) {
        n += put_frame(d, &frame, n < most);
    }
    if (n > most) {
        put_number(d, "  and ", n - most);
        put(d, " more frames\n");
    }
    if (n == 0) {
        put(d, "  <no Python frame>\n");
    }
}

/* --- tasklets ----------------------------------------------------------------------------- */

/* What the dump of a thread's tasklets needs of its scheduler. */
typedef struct {
    PyTaskletObject *main, *current, *sleeper;
    uint16_t index;
} thread_view;

/* t: a copy of the tasklet at `address`. */
static void
put_tasklet(const dump *d, const void *address, const PyTaskletObject *t,
            const _PyInterpreterFrame *frame)
{
    put_pointer(d, t->flags & TASKLET_IS_MAIN ? "\nMain tasklet " : "\nTasklet ", address);
    if (tasklet_is_blocked(t)) {
        put_pointer(d, t->state == TASKLET_SENDING ? " sending to channel "
                                                   : " receiving from channel ",
                    t->channel);
    }
    else {
        put(d, t->state == TASKLET_RUNNABLE ? " runnable" : " paused");
    }
    put(d, t->flags & TASKLET_STARTED ? " (most recent call first):\n" : " (not started)\n");
    if (t->flags & TASKLET_STARTED) {
        put_frames(d, frame, MOST_FRAMES);
    }
}

/* Copies the tasklet.  False if it cannot be one. */
static int
peek_tasklet(const dump *d, const PyTaskletObject *address, PyTaskletObject *t)
{
    return address != NULL && peek(d, address, t, sizeof(*t)) == 0 && t->state <= TASKLET_SENDING
           && Py_REFCNT(t) > 0;
}

/* The tasklets from *link on that belong to the thread, without main and those whose frames
   are the thread's; `shown` in all. */
static void
put_list(const dump *d, const thread_view *thread, const PyTaskletObject *first, int *shown,
         int *steps)
{
    PyTaskletObject t;
    const PyTaskletObject *address = first;
    while (*shown < MOST_TASKLETS && (*steps)++ < MOST_STEPS && peek_tasklet(d, address, &t)) {
        if (t.sched == thread->index) {
            ++*shown;
            if (address != thread->main && address != thread->current
                && address != thread->sleeper) {
                put_tasklet(d, address, &t, t.frame);
            }
        }
        address = t.next;
        if (address == first) {        // the run queue is cyclic
            break;
        }
    }
}

static PyThreadState *
first_thread(const dump *d, const PyInterpreterState *interp)
{
    return peek_pointer(d, &interp->threads.head);
}

static PyThreadState *
next_thread(const dump *d, const PyThreadState *ts)
{
    return peek_pointer(d, &ts->next);
}

static _PyStackless_Scheduler *
scheduler_of(const dump *d, const PyThreadState *ts)
{
    return peek_pointer(d, &((const _PyThreadStateImpl *)ts)->stackless);
}

/* Those that are blocked: on channels that are on the list of any thread. */
static void
put_blocked(const dump *d, const PyInterpreterState *interp, const thread_view *thread)
{
    int shown = 0, steps = 0;
    PyThreadState *ts = first_thread(d, interp);
    for (int i = 0; ts != NULL && i < MOST_THREADS; ts = next_thread(d, ts), i++) {
        _PyStackless_Scheduler *holder = scheduler_of(d, ts);
        PyChannelObject *ch = holder != NULL ? peek_pointer(d, &holder->busy) : NULL;
        while (ch != NULL && shown < MOST_TASKLETS && steps++ < MOST_STEPS) {
            put_list(d, thread, peek_pointer(d, &ch->first), &shown, &steps);
            ch = peek_pointer(d, &ch->busy_next);
        }
    }
}

static void
put_thread(const dump *d, const PyInterpreterState *interp, const PyThreadState *ts,
           const _PyStackless_Scheduler *sched)
{
    thread_view thread = {
        .main = peek_pointer(d, &sched->main),
        .current = peek_pointer(d, &sched->current),
        .sleeper = peek_pointer(d, &sched->sleeper),
    };
    Py_ssize_t runcount = peek_size(d, &sched->runcount);
    Py_ssize_t nblocked = peek_size(d, &sched->nblocked);
    if (thread.current == NULL || peek(d, &sched->index, &thread.index, sizeof(uint16_t)) < 0
        || (runcount == 1 && nblocked == 0 && thread.current == thread.main)) {
        return;
    }
    put_pointer(d, "\nTasklets of thread ", peek_pointer(d, &ts->thread_id));
    put_number(d, ": ", runcount);
    put_number(d, " in its queue, ", nblocked);
    put_pointer(d, thread.current == thread.main ? " blocked; current (main) "
                                                 : " blocked; current ", thread.current);
    put(d, thread.sleeper != NULL ? ", asleep\n" : "\n");
    PyTaskletObject t;
    if (thread.current != thread.main && peek_tasklet(d, thread.main, &t)) {
        put_tasklet(d, thread.main, &t, peek_pointer(d, &sched->main_frame));
    }
    int shown = 0, steps = 0;
    put_list(d, &thread, thread.sleeper != NULL ? peek_pointer(d, &sched->woken)
                                                : thread.current, &shown, &steps);
    put_blocked(d, interp, &thread);
}

/* Has any thread of the process used tasklets? */
static int
are_in_use(void)
{
    for (int i = 0; i < STACKLESS_MAX_SCHEDULERS; i++) {
        if (_PyStackless_schedulers[i] != NULL) {
            return 1;
        }
    }
    return 0;
}

int
_PyStackless_DumpRunning(int fd, PyThreadState *ts)
{
    dump d = { .fd = fd };
    if (!are_in_use()) {
        return 0;
    }
    int saved = errno;
    if (open_pipe(&d) == 0) {
        put_frames(&d, peek_pointer(&d, &ts->current_frame), MOST_RUNNING_FRAMES);
        close_pipe(&d);
    }
    else {
        put(&d, "  <there is no pipe to read the frames through>\n");
    }
    errno = saved;
    return 1;
}

void
_PyStackless_DumpSuspended(int fd, PyInterpreterState *interp)
{
    dump d = { .fd = fd };
    if (!are_in_use()) {
        return;
    }
    int saved = errno;
    if (open_pipe(&d) < 0) {
        put(&d, "\nTasklets are left out: there is no pipe to read them through\n");
        errno = saved;
        return;
    }
    PyThreadState *ts = first_thread(&d, interp);
    for (int i = 0; ts != NULL && i < MOST_THREADS; ts = next_thread(&d, ts), i++) {
        _PyStackless_Scheduler *sched = scheduler_of(&d, ts);
        if (sched != NULL) {
            put_thread(&d, interp, ts, sched);
        }
    }
    close_pipe(&d);
    errno = saved;
}
