/* C stacks that come and go: moving the stack pointer (layer 0), and slices of C
   stack that are copied away and put back at the same addresses (layer 1).  Knows
   nothing of Python, and compiles without its headers if STACKLESS_STANDALONE is
   defined: see Lib/test/test_stackless/cstack_test.c.

   A thread has one main slice, and any number of others:

       static void run(void *context);            // runs until it has to leave

       for (;;) {                                 // main: the dispatcher
           _PyStackless_Enter(&main, run, next);  // until somebody goes back to main
       }

       own->far = _PyStackless_Far(&main);        // once, when `run` was entered
       if (_PyStackless_Prepare(own, &main, to) < 0) {
           ...                                    // out of memory, nothing changed
       }
       _PyStackless_Switch(own, &main, to);       // returns when resumed

   `to` is &main, or another slice that was left by a switch.  Or, with less to copy,

       _PyStackless_SwitchBelow(own, &main, run, next); // likewise

   runs another one below `own`, which stays where it is for the time being.

   Within a thread only: a slice is resumed by the thread that left it.  Nothing here
   runs Python code, and a switch itself neither allocates nor frees. */

#ifndef Py_INTERNAL_STACKLESS_CSTACK_H
#define Py_INTERNAL_STACKLESS_CSTACK_H
#ifdef __cplusplus
extern "C" {
#endif

#if !defined(Py_BUILD_CORE) && !defined(Py_BUILD_CORE_BUILTIN) \
    && !defined(STACKLESS_STANDALONE)
#  error "this header requires Py_BUILD_CORE define"
#endif

#include <stddef.h>               // size_t

/* --- layer 0: stackless_switch.c ------------------------------------------ */

/* Why C stacks can't be switched in this thread, as a clause for an exception's
   message, or NULL if they can.  Constant for a thread. */
extern const char *_PyStackless_SwitchObstacle(void);

/* Pushes the registers that a function has to preserve and calls save(arg, sp), `sp`
   being the stack pointer then: all from there up belongs to the activations that are
   being left.  If save() returns NULL, so does this function.

   Otherwise save() has returned a target, an object outside the stack whose first word
   is an `sp` of earlier.  The stack pointer is set to it, and restore(target) is called
   there, below what it has to put back, and this function returns what restore()
   returns, to the caller of that earlier call.

   With an obstacle save() is called, and must return NULL. */
extern void *_PyStackless_SwitchStack(void *(*save)(void *arg, char *sp),
                                      void *(*restore)(void *target), void *arg);

/* --- layer 1: stackless_cstack.c ------------------------------------------ */

/* A suspended C activation, which occupies [near, far) of the stack.  Each byte lives
   once: [near, saved_to) in `copy`, [saved_to, far) still on the stack.

   While it runs, near == saved_to, and neither has a meaning.  All zero to begin
   with, `far` is set by the owner. */
typedef struct _PyStackless_Slice {
    char *near;                   // the stack pointer; first, for SwitchStack()
    union {
        char *far;
        struct _PyStackless_Slice *in_place;   // of main: the one other slice that may
    };                                         // be left on the stack, or NULL
    char *saved_to;
    char *copy;                   // kept for the next time
    size_t capacity;              // bytes at `copy`
} _PyStackless_Slice;

/* How many bytes of the slice are in its copy. */
static inline size_t
_PyStackless_SliceSaved(const _PyStackless_Slice *slice)
{
    return (size_t)(slice->saved_to - slice->near);
}

/* Makes room for `bytes` in all.  -1: out of memory, nothing changed. */
extern int _PyStackless_SliceReserve(_PyStackless_Slice *slice, size_t bytes);
/* Gives back what is not in use; for a running slice that is all. */
extern void _PyStackless_SliceTrim(_PyStackless_Slice *slice);
/* Frees the copy of a running slice, or of one that will never be resumed (and that is
   not main->in_place). */
extern void _PyStackless_SliceRelease(_PyStackless_Slice *slice);

/* Calls fn(arg), with all that main has on the stack above it left in place.  Returns
   once: 0 if fn (or that of a SwitchBelow()) returned, 1 if somebody switched to `main`.  (fn
   may also return after it was suspended and resumed, when main is in a later call of
   Enter(): that one then returns 0.)  Within fn, main->near is where main's part of the stack ends.
   For debuggers and whatever else unwinds, fn's stack ends there too, so a C++
   exception that is not caught within fn terminates the program. */
extern int _PyStackless_Enter(_PyStackless_Slice *main, void (*fn)(void *), void *arg);

/* Where the stack of fn ends, which was called by Enter() or SwitchBelow(): to be asked before
   the first switch. */
static inline char *
_PyStackless_Far(const _PyStackless_Slice *main)
{
    return main->in_place != NULL ? main->in_place->near : main->near;
}

/* What the three functions below do. */
extern int _PyStackless_Transfer(_PyStackless_Slice *from, _PyStackless_Slice *main,
                                 _PyStackless_Slice *to, void (*fn)(void *), void *arg);
extern int _PyStackless_ReserveOverlaid(_PyStackless_Slice *main,
                                        const _PyStackless_Slice *to);

/* Inlined: the slice that is prepared and the one that is left end at the same place,
   below the function that calls them. */
#define STACKLESS_INLINED static inline __attribute__((always_inline))

/* Leaves the current activation as `from` and goes on in `to`, which is main or was left.
   from == NULL: the activation is abandoned.
   `from` is saved up to from->far, unless `to` lies below it and nobody else is in
   place.  Whatever `to` overlays of main and of who is in place is saved and will be
   put back.
   Returns 0 when `from` is resumed.  -1: not switched for want of capacity, nothing
   changed.  Not to be called with an obstacle. */
STACKLESS_INLINED int
_PyStackless_Switch(_PyStackless_Slice *from, _PyStackless_Slice *main,
                    _PyStackless_Slice *to)
{
    return _PyStackless_Transfer(from, main, to, NULL, NULL);
}

/* Leaves the current activation as `from`, which stays in place (nobody else may be), and
   calls fn(arg) below it; when fn returns, main goes on.  Otherwise like Switch(). */
STACKLESS_INLINED int
_PyStackless_SwitchBelow(_PyStackless_Slice *from, _PyStackless_Slice *main,
                   void (*fn)(void *), void *arg)
{
    return _PyStackless_Transfer(from, main, NULL, fn, arg);
}

/* Reserves what Switch(from, main, to) takes, or SwitchBelow(from, main, ...).  They cannot fail
   then, if the calling function itself calls them, or one that has returned to it, that
   is from no deeper in the stack.  -1: out of memory, nothing changed. */
STACKLESS_INLINED int
_PyStackless_Prepare(_PyStackless_Slice *from, _PyStackless_Slice *main,
                     const _PyStackless_Slice *to)
{
    if (_PyStackless_ReserveOverlaid(main, to) < 0) {
        return -1;
    }
    if (from == NULL) {
        return 0;
    }
    (void)_PyStackless_Transfer(from, main, NULL, NULL, NULL);
    return _PyStackless_SliceReserve(from, (size_t)(from->far - from->near));
}

/* The C++ exceptions that are being handled or thrown form a list per thread.  Enter()
   and Switch() keep one for each activation, once they know the C++ runtime, which
   may be loaded at any time.  This function looks for it if a library was loaded since
   it last looked (some 20 ns if not).  To be called before Enter() and Prepare() when a
   library may have been loaded. */
extern void _PyStackless_FindCxxRuntime(void);

#ifdef __cplusplus
}
#endif
#endif /* !Py_INTERNAL_STACKLESS_CSTACK_H */
