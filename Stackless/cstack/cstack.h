/* C stacks that come and go: moving the stack pointer (layer 0), and slices of C
   stack that are copied away and put back at the same addresses (layer 1).  Knows
   nothing of Python, and compiles without its headers if STACKLESS_STANDALONE is
   defined: see Lib/test/test_stackless/cstack_test.c.

   A thread has one main activation, and slices of any number of others:

       static void run(void *context);            // runs until it has to leave

       for (;;) {                                 // main: the dispatcher
           _PyStackless_Enter(&main, run, next);  // until somebody goes back to main
       }

       own->far = _PyStackless_Far(&main);        // once, when `run` was entered
       _PyStackless_Suspend(leave, context);      // decides; returns when resumed

       static void *leave(void *context, char *near)
       {
           if (_PyStackless_SliceReserve(own, own->far - near) < 0) {
               return NULL;                       // out of memory: not left
           }
           return _PyStackless_Leave(own, near, &main, to);
       }

   `to` is &main.slice, or another slice that was left; or, with less to copy, NULL: `run`
   is called once more, below `own`, which stays where it is for the time being.

   Within a thread only: a slice is resumed by the thread that left it.  A switch itself
   neither allocates nor frees nor runs Python code; leave() may do all that before. */

#ifndef STACKLESS_CSTACK_CSTACK_H
#define STACKLESS_CSTACK_CSTACK_H
#ifdef __cplusplus
extern "C" {
#endif

#if !defined(Py_BUILD_CORE) && !defined(Py_BUILD_CORE_BUILTIN) \
    && !defined(STACKLESS_STANDALONE)
#  error "this header requires Py_BUILD_CORE define"
#endif

#include <stddef.h>               // size_t
#include <stdint.h>               // uint32_t

/* --- layer 0: switch_stack.c ------------------------------------------ */

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

/* --- layer 1: cstack.c ------------------------------------------ */

/* A suspended C activation, which occupies [near, far) of the stack.  Each byte lives
   once: [near, saved_to) in `copy`, [saved_to, far) still on the stack.

   While it runs, near == saved_to, and neither has a meaning.  All zero to begin
   with, `far` is set by the owner. */
typedef struct {
    char *near;                   // the stack pointer; first, for SwitchStack()
    char *far;
    char *saved_to;
    char *copy;                   // kept for the next time
    uint32_t capacity;            // bytes at `copy`
    unsigned int cxx_uncaught;    // see FindCxxRuntime()
    void *cxx_caught;
} _PyStackless_Slice;

/* A library may keep, in a variable of the thread, a pointer to what one of its functions
   has on the stack, and find it there when Python code that the function calls has returned.
   If others have run meanwhile and left theirs, that only works if they were at the same
   address.  So fn is not called where the stack happens to end, which differs with how warm
   the calling instruction is, but at one of a few places, for all who come from not far
   away. */
enum {
    STACKLESS_PLACES = 4,
    STACKLESS_PLACE_DISTANCE = 4096,   // bytes from where it was chosen down to a place
    STACKLESS_PLACE_REACH = 3072,      // how far from there others may be who share it
};

typedef struct {
    _PyStackless_Slice slice;     // `far` is not used
    _PyStackless_Slice *in_place; // the one other slice that may be left on the stack
    char *begin;                  // the stack pointer with which fn is called below it
    void (*fn)(void *);
    void *arg;
    char *chosen[STACKLESS_PLACES];    // where places were chosen
    unsigned int nchosen;         // so far; the newest ones are kept
    unsigned int latest;          // the one that was used last
} _PyStackless_Main;

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

/* Calls fn(arg) at a place further down the stack, all of which from there up is main's and
   left in place.  Returns once: 0 if fn returned, 1 if somebody switched to main, or another activation of fn
   returned.  (fn may also return after it was suspended and resumed, when main is in a
   later call of Enter(): that one then returns 0.)  Within fn, main->slice.near is where
   main's part of the stack ends.
   For debuggers and whatever else unwinds, fn's stack ends there too, so a C++
   exception that is not caught within fn terminates the program. */
extern int _PyStackless_Enter(_PyStackless_Main *main, void (*fn)(void *), void *arg);

/* Where the stack of fn ends, which was called by Enter() or below another slice: to be
   asked before the first switch. */
static inline char *
_PyStackless_Far(const _PyStackless_Main *main)
{
    return main->in_place != NULL ? main->begin : main->slice.near;
}

/* Calls leave(arg, near).  All from `near` up belongs to the calling activation; what
   leave() itself has on the stack does not, and is gone when it has left.  It returns what
   Leave() returned, as its last action, or NULL for the activation to go on.
   Returns whether that has been left, and was resumed. */
static inline int
_PyStackless_Suspend(void *(*leave)(void *arg, char *near), void *arg)
{
    extern void *_PyStackless_PutBack(void *target);
    return _PyStackless_SwitchStack(leave, _PyStackless_PutBack, arg) != NULL;
}

/* Leaves the activation that called Suspend() as `from`, to go on in `to`, which is
   &main->slice or was left.  to == NULL: to call fn(arg) of the last Enter() at a place
   below it, while `from` stays where it is (nobody else may be); when fn returns, main goes
   on.
   from == NULL: the activation is abandoned (for another one, `to`).
   `from` is saved up to from->far, unless `to` lies below it and nobody else is in
   place.  Whatever `to` overlays of main and of who is in place is saved and will be
   put back.
   Returns what leave() has to return then, or NULL for want of capacity (of `from`, for
   all from `near` on; of main, for all up to to->far): nothing has changed.  Not to be
   called with an obstacle. */
extern void *_PyStackless_Leave(_PyStackless_Slice *from, char *near,
                                _PyStackless_Main *main, _PyStackless_Slice *to);

/* The C++ exceptions that are being handled or thrown form a list per thread.  Enter()
   and Leave() keep one for each activation, once they know the C++ runtime, which
   may be loaded at any time.  This function looks for it if a library was loaded since
   it last looked (some 20 ns if not).  To be called before Enter() and Leave() when a
   library may have been loaded. */
extern void _PyStackless_FindCxxRuntime(void);

#ifdef __cplusplus
}
#endif
#endif /* !STACKLESS_CSTACK_CSTACK_H */
