/* Slices of C stack: saved to the heap, restored to the same addresses.

   Who runs overwrites all that is below, so only what lies above can stay in place.
   Main is saved only as far as another slice overlays it, which takes one that was
   left when main was less deep in the stack.  Of the others one at a time may be left
   in place, for what runs below it, and is saved later as far as another slice, or main,
   needs its memory: two that take turns copy half as much, and one that takes turns with
   those who need no C stack copies nothing.  The rest are saved completely when they are
   left.  (Rejected: leaving several in place.  Those who take turns in a ring overlay
   each other all the same, and begin lower and lower in the stack.)

   The order within a switch: Leave() copies from the stack, below which it runs; then
   the stack pointer moves; then PutBack() copies to the stack, and runs below the
   slice that it restores.  What it needs travels in a register to a slice outside the
   stack.

   Whoever wants to leave decides so, and prepares it, below the registers that are saved:
   the slice ends with them.  (Rejected: saving them last.  The activations of all that
   was done on the way would be part of each slice.) */

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
#include "Stackless/cstack/cstack.h"

#if defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    define HAVE_ADDRESS_SANITIZER
#  endif
#elif defined(__SANITIZE_ADDRESS__)
#  define HAVE_ADDRESS_SANITIZER
#endif
#ifdef HAVE_ADDRESS_SANITIZER
#  include <sanitizer/asan_interface.h>
#endif

/* --- buffers -------------------------------------------------------------- */

int
_PyStackless_SliceReserve(_PyStackless_Slice *slice, size_t bytes)
{
    if (bytes <= slice->capacity) {
        return 0;
    }
    if (bytes > UINT32_MAX) {
        return -1;
    }
    char *copy = PyMem_RawRealloc(slice->copy, bytes);
    if (copy == NULL) {
        return -1;
    }
    slice->copy = copy;
    slice->capacity = (uint32_t)bytes;
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
            slice->capacity = (uint32_t)saved;
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

static inline cxx_globals *
cxx_current(void)
{
    cxx_getter get = __atomic_load_n(&cxx_get_globals, __ATOMIC_RELAXED);
    return get == NULL ? NULL : get();
}

/* Nothing, if no runtime is known. */
static inline void
cxx_save(_PyStackless_Slice *slice)
{
    cxx_globals *globals = cxx_current();
    slice->cxx_caught = globals != NULL ? globals->caught : NULL;
    slice->cxx_uncaught = globals != NULL ? globals->uncaught : 0;
}

static inline void
cxx_load(const _PyStackless_Slice *slice)
{
    cxx_globals *globals = cxx_current();
    if (globals != NULL) {
        globals->caught = slice->cxx_caught;
        globals->uncaught = slice->cxx_uncaught;
    }
}

static inline void
cxx_clear(void)
{
    cxx_globals *globals = cxx_current();
    if (globals != NULL) {
        *globals = (cxx_globals){0};
    }
}

/* --- where to begin --------------------------------------------------------- */

static inline size_t
distance(const char *a, const char *b)
{
    return (size_t)(a > b ? a - b : b - a);
}

/* The place that was chosen nearest to `sp`, or a new one. */
static __attribute__((noinline)) char *
choose_place(_PyStackless_Main *main, char *sp)
{
    size_t least = STACKLESS_PLACE_REACH + 1;
    for (unsigned int i = 0; i < STACKLESS_PLACES; i++) {
        size_t d = distance(sp, main->chosen[i]);
        if (d < least) {
            least = d;
            main->latest = i;
        }
    }
    if (least > STACKLESS_PLACE_REACH) {
        main->latest = main->nchosen++ % STACKLESS_PLACES;
        main->chosen[main->latest] = (char *)((uintptr_t)sp & ~(uintptr_t)15);
    }
    return main->chosen[main->latest] - STACKLESS_PLACE_DISTANCE;
}

/* The stack pointer with which to begin, below `sp`. */
static inline char *
place_below(_PyStackless_Main *main, char *sp)
{
    /* The others are further away: they were chosen where this one was out of reach. */
    char *latest = main->chosen[main->latest];
    return distance(sp, latest) <= STACKLESS_PLACE_REACH / 4
           ? latest - STACKLESS_PLACE_DISTANCE : choose_place(main, sp);
}

/* --- AddressSanitizer ----------------------------------------------------- */

/* It marks the gaps between variables of active functions, which stay marked when the stack
   pointer moves away: to be called for memory that is copied, or used for something else. */
#ifdef HAVE_ADDRESS_SANITIZER
static void
unmark(const char *from, const char *to)
{
    if (from < to) {
        __asan_unpoison_memory_region(from, (size_t)(to - from));
    }
}

/* For an activation on [near, far) that is left, and for what runs until it has been, below. */
static void
unmark_left(const char *near, const char *far)
{
    enum { ON_THE_WAY = 64 * 1024 };
    unmark(near - ON_THE_WAY, far);
}
#else
#  define unmark(FROM, TO) ((void)0)
#  define unmark_left(NEAR, FAR) ((void)0)
#endif

/* --- switching ------------------------------------------------------------ */

void *
_PyStackless_PutBack(void *target)
{
    _PyStackless_Slice *to = target;
    size_t saved = _PyStackless_SliceSaved(to);
    if (saved != 0) {
        unmark(to->near, to->saved_to);
        memcpy(to->near, to->copy, saved);
        to->saved_to = to->near;
    }
    cxx_load(to);
    return to;
}

static void *
put_back_for_return(void *target)
{
    _PyStackless_PutBack(target);
    return NULL;
}

/* Saves of who is in place as much as `to` overlays. */
static void
make_way(_PyStackless_Main *main, const _PyStackless_Slice *to)
{
    _PyStackless_Slice *s = main->in_place;
    if (s == NULL) {
        return;
    }
    if (s != to) {
        char *end = to != &main->slice && to->far < s->far ? to->far : s->far;
        if (end > s->saved_to) {
            unmark(s->saved_to, end);
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
leave_for_main(void *data, char *sp)
{
    (void)sp;
    _PyStackless_Main *main = data;
    unmark_left(sp, main->slice.near);
    make_way(main, &main->slice);
    return &main->slice;
}

static void *
enter(void *data, char *sp)
{
    _PyStackless_Main *main = data;
    _PyStackless_Slice *slice = &main->slice;
    slice->near = slice->saved_to = sp;
    main->in_place = NULL;
    cxx_save(slice);
    cxx_clear();
    main->fn(main->arg);
    // Main is perhaps somewhere else by now.
    if (slice->near != sp || slice->saved_to != sp || main->in_place != NULL) {
        _PyStackless_SwitchStack(leave_for_main, put_back_for_return, main);
    }
    cxx_load(slice);
    return NULL;
}

/* Not inlined: the padding is given back on return. */
__attribute__((noinline)) int
_PyStackless_Enter(_PyStackless_Main *main, void (*fn)(void *), void *arg)
{
    main->fn = fn;
    main->arg = arg;
    char *here = __builtin_frame_address(0);
    char *padding = __builtin_alloca((size_t)(here - place_below(main, here)));
    __asm__ volatile("" : : "r"(padding) : "memory");      // it is needed
    return _PyStackless_SwitchStack(enter, NULL, main) != NULL;
}

/* Where fn begins anew is all that SwitchStack() wants to know. */
static void *
begin_target(void *main, char *sp)
{
    (void)sp;
    return &((_PyStackless_Main *)main)->begin;
}

static void *
begin(void *target)
{
    _PyStackless_Main *main = (_PyStackless_Main *)((char *)target
                                                    - offsetof(_PyStackless_Main, begin));
    cxx_clear();
    main->fn(main->arg);
    _PyStackless_SwitchStack(leave_for_main, put_back_for_return, main);
    return NULL;                  // not reached
}

/* How many bytes main's copy has to hold for main to be out of the way of `to`. */
static size_t
overlaid(const _PyStackless_Main *main, const _PyStackless_Slice *to)
{
    const _PyStackless_Slice *slice = &main->slice;
    return to != slice && to->far > slice->saved_to ? (size_t)(to->far - slice->near) : 0;
}

void *
_PyStackless_Leave(_PyStackless_Slice *from, char *near, _PyStackless_Main *main,
                   _PyStackless_Slice *to)
{
    size_t from_size = from != NULL ? (size_t)(from->far - near) : 0;
    size_t main_size = to != NULL ? overlaid(main, to) : 0;
    if (main_size > main->slice.capacity || (from != NULL && from_size > from->capacity)) {
        return NULL;
    }
    if (from != NULL) {
        from->near = from->saved_to = near;
        cxx_save(from);
    }
    unmark_left(near, from != NULL ? from->far : main->slice.near);
    if (to == NULL) {
        main->in_place = from;
        main->begin = place_below(main, near);
        _PyStackless_SwitchStack(begin_target, begin, main);    // does not return
    }
    if (main_size != 0) {
        _PyStackless_Slice *slice = &main->slice;
        size_t saved = _PyStackless_SliceSaved(slice);
        unmark(slice->saved_to, to->far);
        memcpy(slice->copy + saved, slice->saved_to, main_size - saved);
        slice->saved_to = to->far;
    }
    make_way(main, to);
    if (from == NULL) {
        return to;
    }
    if (main->in_place == NULL && to != &main->slice && to->far <= near) {
        main->in_place = from;
    }
    else {
        memcpy(from->copy, near, from_size);
        from->saved_to = from->far;
    }
    return to;
}
