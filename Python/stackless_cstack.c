/* Slices of C stack: saved to the heap, restored to the same addresses.

   Who runs overwrites all that is below, so only what lies above can stay in place.
   Main is saved only as far as another slice overlays it, which takes one that was
   left when main was less deep in the stack.  Of the others one at a time may be left
   in place, for what runs below it, and is saved later as far as another slice, or main,
   needs its memory: two that take turns copy half as much, and one that takes turns with
   those who need no C stack copies nothing.  The rest are saved completely when they are
   left.  (Rejected: leaving several in place.  Those who take turns in a ring overlay
   each other all the same, and begin lower and lower in the stack.)

   The order within a switch: save() copies from the stack, below which it runs; then
   the stack pointer moves; then put_back() copies to the stack, and runs below the
   slice that it restores.  What it needs travels in a register to a slice outside the
   stack. */

#ifdef STACKLESS_STANDALONE
#  define _GNU_SOURCE             // RTLD_DEFAULT, dl_iterate_phdr()
#  include <stdlib.h>
#  define PyMem_RawRealloc realloc
#  define PyMem_RawFree free
#else
#  include "Python.h"             // PyMem_RawRealloc()
#endif
#include <dlfcn.h>
#include <stdint.h>               // UINTPTR_MAX
#include <string.h>               // memcpy()
#ifdef __ELF__
#  include <link.h>               // dl_iterate_phdr()
#endif
#include "pycore_stackless_cstack.h"

/* The stack use of these functions has to be the same whatever the arguments: a
   compiler may otherwise make specialised copies of them. */
#if defined(__has_attribute)
#  if __has_attribute(noipa)
#    define FIXED_FRAME __attribute__((noipa))
#  endif
#endif
#ifndef FIXED_FRAME
#  define FIXED_FRAME __attribute__((noinline))
#endif

/* --- buffers -------------------------------------------------------------- */

int
_PyStackless_SliceReserve(_PyStackless_Slice *slice, size_t bytes)
{
    if (bytes <= slice->capacity) {
        return 0;
    }
    char *copy = PyMem_RawRealloc(slice->copy, bytes);
    if (copy == NULL) {
        return -1;
    }
    slice->copy = copy;
    slice->capacity = bytes;
    return 0;
}

void
_PyStackless_SliceRelease(_PyStackless_Slice *slice)
{
    PyMem_RawFree(slice->copy);
    slice->copy = NULL;
    slice->capacity = 0;
    slice->saved_to = slice->near;
}

void
_PyStackless_SliceTrim(_PyStackless_Slice *slice)
{
    size_t saved = _PyStackless_SliceSaved(slice);
    if (saved == 0) {
        _PyStackless_SliceRelease(slice);
    }
    else if (saved < slice->capacity) {
        char *copy = PyMem_RawRealloc(slice->copy, saved);
        if (copy != NULL) {
            slice->copy = copy;
            slice->capacity = saved;
        }
    }
}

/* --- C++ exceptions ------------------------------------------------------- */

/* The beginning of __cxa_eh_globals, which the Itanium C++ ABI specifies. */
typedef struct {
    void *caught;
    unsigned int uncaught;
} cxx_globals;

typedef cxx_globals *(*cxx_getter)(void);

static cxx_getter cxx_get_globals;     // NULL: no C++ runtime known

/* The symbol need not be visible for RTLD_DEFAULT: Python loads extension modules, and
   with them what they need, with RTLD_LOCAL. */
static cxx_getter
cxx_find(void)
{
    static const char *const libraries[] = {"libstdc++.so.6", "libc++abi.so.1"};
    const char *name = "__cxa_get_globals";
    void *symbol = dlsym(RTLD_DEFAULT, name);
    size_t n = sizeof(libraries) / sizeof(libraries[0]);
    for (size_t i = 0; symbol == NULL && i < n; i++) {
        // Never closed: the runtime has to stay.
        void *library = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD);
        if (library != NULL) {
            symbol = dlsym(library, name);
        }
    }
    return (cxx_getter)(uintptr_t)symbol;
}

#ifdef __ELF__
static int
get_adds(struct dl_phdr_info *info, size_t size, void *adds)
{
    (void)size;
    *(size_t *)adds = (size_t)info->dlpi_adds;
    return 1;                     // the first one tells
}
#endif

void
_PyStackless_FindCxxRuntime(void)
{
    if (__atomic_load_n(&cxx_get_globals, __ATOMIC_RELAXED) != NULL) {
        return;
    }
#ifdef __ELF__
    static size_t seen;           // libraries loaded up to the last look
    size_t adds = 0;
    dl_iterate_phdr(get_adds, &adds);
    if (adds == __atomic_load_n(&seen, __ATOMIC_RELAXED)) {
        return;
    }
    __atomic_store_n(&seen, adds, __ATOMIC_RELAXED);
#endif
    __atomic_store_n(&cxx_get_globals, cxx_find(), __ATOMIC_RELAXED);
}

/* What the thread has, kept in the C frame of whoever leaves. */
typedef struct {
    cxx_globals *where;           // NULL: no runtime was known then
    cxx_globals value;
} cxx_state;

static inline cxx_globals *
cxx_current(void)
{
    cxx_getter get = __atomic_load_n(&cxx_get_globals, __ATOMIC_RELAXED);
    return get == NULL ? NULL : get();
}

static inline void
cxx_save(cxx_state *state)
{
    *state = (cxx_state){.where = cxx_current()};
    if (state->where != NULL) {
        state->value = *state->where;
    }
}

static inline void
cxx_load(const cxx_state *state)
{
    cxx_globals *where = state->where != NULL ? state->where : cxx_current();
    if (where != NULL) {
        *where = state->value;
    }
}

/* --- switching ------------------------------------------------------------ */

static void *
put_back(void *target)
{
    _PyStackless_Slice *to = target;
    size_t saved = _PyStackless_SliceSaved(to);
    if (saved != 0) {
        memcpy(to->near, to->copy, saved);
        to->saved_to = to->near;
    }
    return to;
}

static void *
put_back_for_return(void *target)
{
    put_back(target);
    return NULL;
}

/* Saves of who is in place as much as `to` overlays. */
static void
make_way(_PyStackless_Slice *main, const _PyStackless_Slice *to)
{
    _PyStackless_Slice *s = main->in_place;
    if (s == NULL) {
        return;
    }
    if (s != to) {
        char *end = to != main && to->far < s->far ? to->far : s->far;
        if (end > s->saved_to) {
            memcpy(s->copy + _PyStackless_SliceSaved(s), s->saved_to,
                   (size_t)(end - s->saved_to));
            s->saved_to = end;
        }
        if (s->saved_to < s->far) {
            return;
        }
    }
    main->in_place = NULL;
}

static void *
leave_for_main(void *main, char *sp)
{
    (void)sp;
    make_way(main, main);
    return main;
}

typedef struct {
    _PyStackless_Slice *main;
    void (*fn)(void *);
    void *arg;
} entry;

static void *
enter(void *data, char *sp)
{
    entry *e = data;
    _PyStackless_Slice *main = e->main;
    main->near = main->saved_to = sp;
    main->in_place = NULL;
    e->fn(e->arg);
    // `data` is main's, and main is perhaps somewhere else by now.
    if (main->near != sp || main->saved_to != sp || main->in_place != NULL) {
        _PyStackless_SwitchStack(leave_for_main, put_back_for_return, main);
    }
    return NULL;
}

int
_PyStackless_Enter(_PyStackless_Slice *main, void (*fn)(void *), void *arg)
{
    entry e = {main, fn, arg};
    cxx_state cxx;
    cxx_save(&cxx);
    if (cxx.where != NULL) {
        *cxx.where = (cxx_globals){0};
    }
    int switched_to = _PyStackless_SwitchStack(enter, NULL, &e) != NULL;
    cxx_load(&cxx);
    return switched_to;
}

/* How many bytes main's copy has to hold for main to be out of the way of `to`. */
static size_t
overlaid(const _PyStackless_Slice *main, const _PyStackless_Slice *to)
{
    return to != main && to->far > main->saved_to ? (size_t)(to->far - main->near) : 0;
}

int
_PyStackless_ReserveOverlaid(_PyStackless_Slice *main, const _PyStackless_Slice *to)
{
    return _PyStackless_SliceReserve(main, overlaid(main, to));
}

typedef struct {
    _PyStackless_Slice *from;
    _PyStackless_Slice *main;
    _PyStackless_Slice *to;       // NULL: call fn, or only find out where `from` ends
    void (*fn)(void *);
    void *arg;
} transfer;

static void *
begin(transfer *t)
{
    _PyStackless_Slice *main = t->main;
    main->in_place = t->from;
    t->fn(t->arg);
    // `t` is on the stack of t->from, which is perhaps not there any more.
    _PyStackless_SwitchStack(leave_for_main, put_back_for_return, main);
    return NULL;                  // not reached
}

static void *
save(void *data, char *sp)
{
    transfer *t = data;
    _PyStackless_Slice *from = t->from, *main = t->main, *to = t->to;
    size_t from_size = 0;
    if (from != NULL) {
        from->near = from->saved_to = sp;
        from_size = (size_t)(from->far - sp);
        if (to == NULL && t->fn == NULL) {
            return NULL;
        }
        if (from_size > from->capacity) {
            return NULL;
        }
        if (to == NULL) {
            return begin(t);
        }
    }
    size_t main_size = overlaid(main, to);
    if (main_size != 0) {
        if (main_size > main->capacity) {
            return NULL;
        }
        size_t saved = _PyStackless_SliceSaved(main);
        memcpy(main->copy + saved, main->saved_to, main_size - saved);
        main->saved_to = to->far;
    }
    make_way(main, to);
    if (from == NULL) {
        return to;
    }
    if (main->in_place == NULL && to != main && to->far <= sp) {
        main->in_place = from;
    }
    else {
        memcpy(from->copy, sp, from_size);
        from->saved_to = from->far;
    }
    return to;
}

FIXED_FRAME int
_PyStackless_Transfer(_PyStackless_Slice *from, _PyStackless_Slice *main,
                      _PyStackless_Slice *to, void (*fn)(void *), void *arg)
{
    transfer t = {from, main, to, fn, arg};
    cxx_state cxx;
    cxx_save(&cxx);
    if (fn != NULL && cxx.where != NULL) {
        *cxx.where = (cxx_globals){0};
    }
    if (_PyStackless_SwitchStack(save, put_back, &t) == NULL) {
        cxx_load(&cxx);
        return -1;
    }
    cxx_load(&cxx);
    return 0;
}
