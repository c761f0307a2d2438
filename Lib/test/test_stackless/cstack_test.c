/* Tests Stackless/cstack/switch_stack.c and cstack.c without Python.

   cstack_test [STEPS [SEED]]   contexts that switch at random, and what may fail
   cstack_test cxx LIBRARY      cstack_test.cpp in a library that is loaded meanwhile
   cstack_test bench            a switch, beside memcpy of as many bytes

   Ends with status 0, or with a message and 1.  test_cstack.py compiles and runs it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fenv.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unwind.h>
#include "Stackless/cstack/cstack.h"

#define CHECK(condition) \
    ((condition) ? (void)0 \
     : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), exit(1)))

typedef _PyStackless_Slice Slice;

static uint32_t
next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static uint32_t dice;

static unsigned
choose(unsigned n)
{
    return next_random(&dice) % n;
}

/* --- what has to survive a switch ----------------------------------------- */

static void
fill(unsigned char *bytes, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (unsigned char)next_random(&seed);
    }
}

static void
check_filled(const unsigned char *bytes, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        CHECK(bytes[i] == (unsigned char)next_random(&seed));
    }
}

/* Both control words of x86: fegetround() looks at that of the x87 only. */
static const int rounding_modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
static double thirds[4];

static double
third(void)
{
    volatile double one = 1, three = 3;
    return one / three + one * 0x1p-53;
}

static void
set_rounding(unsigned mode)
{
    CHECK(fesetround(rounding_modes[mode % 4]) == 0);
}

static void
check_rounding(unsigned mode)
{
    CHECK(fegetround() == rounding_modes[mode % 4]);
    CHECK(third() == thirds[mode % 4]);
}

/* More variables than a compiler has callee-saved registers for, so that optimised code
   has live values in all of them while fn runs. */
static void
with_full_registers(void (*fn)(void *), void *arg, uint32_t seed)
{
    volatile uint64_t s = seed;
    uint64_t a = s + 1, b = s + 2, c = s + 3, d = s + 4, e = s + 5, f = s + 6,
             g = s + 7, h = s + 8, i = s + 9, j = s + 10, k = s + 11;
    volatile double t = seed;
    double m = t + 1, n = t + 2, o = t + 3, p = t + 4, q = t + 5, r = t + 6,
           u = t + 7, v = t + 8, w = t + 9;
    fn(arg);
    CHECK(a == s + 1 && b == s + 2 && c == s + 3 && d == s + 4 && e == s + 5
          && f == s + 6 && g == s + 7 && h == s + 8 && i == s + 9 && j == s + 10
          && k == s + 11);
    CHECK(m == t + 1 && n == t + 2 && o == t + 3 && p == t + 4 && q == t + 5
          && r == t + 6 && u == t + 7 && v == t + 8 && w == t + 9);
}

/* --- contexts that switch at random --------------------------------------- */

#define CONTEXTS 40

typedef struct {
    Slice slice;
    enum {NEW, RUNNING, SUSPENDED} state;
    unsigned number;
    unsigned depth;
    int leaving;                  // unwinds to its end
} Context;

static _PyStackless_Main main_;
static Context contexts[CONTEXTS];
static Context *current;          // NULL: main
static long switches;
static long returned, abandoned, overlaid, retried, begun, kept;   // do they happen?

static void
go_on_in(Context *next)
{
    current = next;
    switches++;
    if (next != NULL) {
        next->state = RUNNING;
        overlaid += next->slice.far > main_.slice.saved_to;
        kept += main_.in_place != NULL && main_.in_place != &next->slice
                && next->slice.far <= main_.in_place->near;
    }
}

/* Memory for leaving `from`, all from `near` on, for `to`; either may be NULL. */
static void
prepare(Slice *from, char *near, Slice *to)
{
    Slice *main = &main_.slice;
    if (from != NULL) {
        CHECK(_PyStackless_SliceReserve(from, (size_t)(from->far - near)) == 0);
    }
    if (to != NULL && to != main && to->far > main->near) {
        CHECK(_PyStackless_SliceReserve(main, (size_t)(to->far - main->near)) == 0);
    }
}

/* Who is left, and for whom, as _PyStackless_Leave() wants it. */
typedef struct {
    Slice *from, *to;
} Leaving;

/* For _PyStackless_Suspend(): leaves.  Whatever is on the stack below `near` is gone then. */
static void *
prepare_and_leave(void *arg, char *near)
{
    Leaving leaving = *(Leaving *)arg;
    volatile unsigned char scratch[1000];
    memset((unsigned char *)scratch, 0x55, sizeof(scratch));
    prepare(leaving.from, near, leaving.to);
    return _PyStackless_Leave(leaving.from, near, &main_, leaving.to);
}

/* Without preparing anything: does not, perhaps. */
static void *
just_leave(void *arg, char *near)
{
    Leaving *leaving = arg;
    return _PyStackless_Leave(leaving->from, near, &main_, leaving->to);
}

static int
switch_slices(Slice *from, Slice *to)
{
    Leaving leaving = {from, to};
    return _PyStackless_Suspend(prepare_and_leave, &leaving);
}

static int
switch_unprepared(Slice *from, Slice *to)
{
    Leaving leaving = {from, to};
    return _PyStackless_Suspend(just_leave, &leaving);
}

/* Leaves the current context, which stays where it is, for one below it: main's function is
   called once more. */
static int
leave_in_place(Slice *from)
{
    enum { DEEP = 100000 };
    char here;
    if (main_.in_place != NULL || main_.slice.near - &here > DEEP) {
        return 0;
    }
    current->state = SUSPENDED;
    current = NULL;
    begun++;
    main_.arg = &contexts[choose(CONTEXTS)];
    CHECK(switch_slices(from, NULL));
    return 1;
}

/* Leaves the current context until it is chosen again, or for ever (`from` is NULL). */
static void
leave(Slice *from)
{
    Context *self = current;
    if (from != NULL && choose(8) == 0 && leave_in_place(from)) {
        CHECK(current == self && _PyStackless_SliceSaved(from) == 0);
        return;
    }
    Context *next = &contexts[choose(CONTEXTS)];
    if (next->state != SUSPENDED || choose(4) == 0) {
        next = NULL;
    }
    Slice *to = next != NULL ? &next->slice : &main_.slice;
    self->state = from != NULL ? SUSPENDED : NEW;
    go_on_in(next);
    if (choose(2) || !switch_unprepared(from, to)) {
        retried += from != NULL && _PyStackless_SliceSaved(from) == 0;
        CHECK(switch_slices(from, to) && from != NULL);
    }
    CHECK(current == self && _PyStackless_SliceSaved(from) == 0);
    if (choose(4) == 0) {
        _PyStackless_SliceTrim(from);
        CHECK(from->capacity == 0 && from->copy == NULL);
    }
}

/* Debuggers, pthread_exit() and C++ walk the stack: up to the end of the context. */
static _Unwind_Reason_Code
visit(struct _Unwind_Context *frame, void *last)
{
    uintptr_t *region = last;
    CHECK(_Unwind_GetRegionStart(frame) != 0);
    *region = _Unwind_GetRegionStart(frame);
    return _URC_NO_REASON;
}

static void
check_unwinding(void)
{
    uintptr_t last = 0;
    CHECK(_Unwind_Backtrace(visit, &last) == _URC_END_OF_STACK);
    CHECK(last == (uintptr_t)_PyStackless_SwitchStack);
}

static void
leave_for_a_while(void *slice)
{
    leave(slice);
}

static void
play(Context *self)
{
    uint32_t seed = next_random(&dice);
    unsigned char local[300];
    size_t n = 1 + choose(sizeof(local));
    fill(local, n, seed);
    self->depth++;
    set_rounding(self->number);
    do {
        switch (choose(12)) {
        case 0: case 1: case 2:
            if (self->depth < 12) {
                play(self);
            }
            break;
        case 3:
            self->leaving = choose(20) == 0;
            goto out;
        case 4:
            if (choose(20) == 0) {
                abandoned++;
                leave(NULL);
            }
            break;
        case 5:
            if (choose(20) == 0) {
                check_unwinding();
            }
            break;
        default:
            with_full_registers(leave_for_a_while, &self->slice, seed);
        }
        check_rounding(self->number);
        check_filled(local, n, seed);
    } while (!self->leaving);
out:
    check_filled(local, n, seed);
    self->depth--;
}

static void
run_context(void *arg)
{
    Context *self = arg;
    if (self->state == SUSPENDED) {
        go_on_in(self);
        switch_slices(NULL, &self->slice);
        CHECK(!"an abandoned activation was resumed");
    }
    self->slice.far = _PyStackless_Far(&main_);
    self->depth = 0;
    self->leaving = 0;
    go_on_in(self);
    play(self);
    CHECK(current == self);
    self->state = NEW;
    go_on_in(NULL);
    returned++;
}

static void
dispatch(void *n)
{
    for (unsigned i = 0; i < *(unsigned *)n; i++) {
        long before = returned;
        int switched_to = _PyStackless_Enter(&main_, run_context,
                                             &contexts[choose(CONTEXTS)]);
        CHECK(current == NULL && switched_to == (returned == before));
        CHECK(_PyStackless_SliceSaved(&main_.slice) == 0 && main_.in_place == NULL);
    }
}

/* Goes down to some depth, and calls the dispatcher from there. */
static void
main_at_depth(unsigned depth)
{
    uint32_t seed = next_random(&dice);
    unsigned char local[500];
    unsigned n = choose(20);
    fill(local, sizeof(local), seed);
    set_rounding(depth);
    if (depth == 0) {
        with_full_registers(dispatch, &n, seed);
        check_rounding(depth);
    }
    else {
        main_at_depth(depth - 1);
    }
    check_filled(local, sizeof(local), seed);
}

static void
test_random(long steps)
{
    for (unsigned i = 0; i < 4; i++) {
        set_rounding(i);
        thirds[i] = third();
    }
    for (unsigned i = 0; i < CONTEXTS; i++) {
        contexts[i].number = i;
    }
    while (switches < steps) {
        main_at_depth(choose(10));
    }
    set_rounding(0);
    CHECK(steps < 10000
          || (returned && abandoned && overlaid && retried && begun && kept));
    printf("%ld switches, %ld contexts returned, %ld abandoned; %ld overlaid main, %ld left "
           "another one in place\n", switches, returned, abandoned, overlaid, kept);
    for (unsigned i = 0; i < CONTEXTS; i++) {
        _PyStackless_SliceRelease(&contexts[i].slice);
    }
    _PyStackless_SliceRelease(&main_.slice);
}

/* --- what fails and changes nothing --------------------------------------- */

static Slice lonely;

static void
suspend_twice(void *arg)
{
    (void)arg;
    unsigned char local[200];
    lonely.far = main_.slice.near;
    fill(local, sizeof(local), 1);
    CHECK(switch_slices(&lonely, &main_.slice));
    check_filled(local, sizeof(local), 1);

    // Main is below us now, and partly saved.
    _PyStackless_Main before = main_;
    CHECK(_PyStackless_SliceSaved(&before.slice) > 0);
    size_t need = lonely.capacity;
    _PyStackless_SliceTrim(&lonely);
    CHECK(!switch_unprepared(&lonely, &main_.slice));
    CHECK(memcmp(&before, &main_, sizeof(main_)) == 0);
    CHECK(lonely.copy == NULL && _PyStackless_SliceSaved(&lonely) == 0);
    CHECK(_PyStackless_SliceReserve(&lonely, need - 1) == 0);
    CHECK(!switch_unprepared(&lonely, &main_.slice) && !switch_unprepared(&lonely, NULL));
    CHECK(_PyStackless_SliceReserve(&lonely, need) == 0);
    CHECK(switch_unprepared(&lonely, &main_.slice));
    check_filled(local, sizeof(local), 1);
}

static void
resume_lonely(void *arg)
{
    (void)arg;
    _PyStackless_Main main_before = main_;
    Slice before = lonely;
    CHECK(lonely.far > main_.slice.near);
    CHECK(!switch_unprepared(NULL, &lonely));
    CHECK(memcmp(&main_before, &main_, sizeof(main_)) == 0);
    CHECK(memcmp(&before, &lonely, sizeof(Slice)) == 0);
    switch_slices(NULL, &lonely);
}

static __attribute__((noinline)) void
main_deeper(void)
{
    unsigned char local[2 * STACKLESS_PLACE_REACH];
    fill(local, sizeof(local), 2);
    CHECK(_PyStackless_Enter(&main_, resume_lonely, NULL) == 1);
    check_filled(local, sizeof(local), 2);
    _PyStackless_SliceRelease(&main_.slice);
    // It ends now, in a place that is not where main is.
    CHECK(_PyStackless_Enter(&main_, resume_lonely, NULL) == 0);
    check_filled(local, sizeof(local), 2);
}

static void
test_capacity(void)
{
    Slice slice = {0};
    CHECK(_PyStackless_SliceReserve(&slice, 0) == 0 && slice.copy == NULL);
    CHECK(_PyStackless_SliceReserve(&slice, 10) == 0 && slice.capacity == 10);
    Slice before = slice;
    // Not PTRDIFF_MAX or more, of which compilers warn.
    volatile size_t too_much = SIZE_MAX / 4;
    CHECK(_PyStackless_SliceReserve(&slice, too_much) == -1);
    CHECK(memcmp(&before, &slice, sizeof(Slice)) == 0);
    too_much = (size_t)UINT32_MAX + 1;
    CHECK(_PyStackless_SliceReserve(&slice, too_much) == -1);
    CHECK(memcmp(&before, &slice, sizeof(Slice)) == 0);
    _PyStackless_SliceRelease(&slice);
    CHECK(slice.copy == NULL && slice.capacity == 0);

    CHECK(_PyStackless_Enter(&main_, suspend_twice, NULL) == 1);
    size_t saved = _PyStackless_SliceSaved(&lonely);
    CHECK(saved > 200 && lonely.saved_to == lonely.far);
    _PyStackless_SliceTrim(&lonely);
    CHECK(lonely.capacity == saved);
    main_deeper();
    _PyStackless_SliceRelease(&lonely);
    _PyStackless_SliceRelease(&main_.slice);
}

/* --- where they begin -------------------------------------------------------- */

static uintptr_t place;           // of the one that began last

static void
see_place(void *arg)
{
    (void)arg;
    place = (uintptr_t)__builtin_frame_address(0);
}

/* With so many bytes more of stack in use. */
static __attribute__((noinline)) uintptr_t
place_at_depth(size_t depth)
{
    volatile char *padding = __builtin_alloca(depth + 1);
    padding[0] = 1;
    CHECK(_PyStackless_Enter(&main_, see_place, NULL) == 0);
    CHECK(padding[0] == 1);
    return place;
}

static void
leave_at_depth(void *arg)
{
    volatile char *padding = __builtin_alloca(*(size_t *)arg + 1);
    padding[0] = 1;
    lonely.far = _PyStackless_Far(&main_);
    main_.fn = see_place;
    switch_slices(&lonely, NULL);
    CHECK(!"who was left was resumed");
}

/* Below a context that has so many bytes in use, and stays where it is. */
static uintptr_t
place_below_depth(size_t depth)
{
    CHECK(_PyStackless_Enter(&main_, leave_at_depth, &depth) == 0);
    return place;
}

static void
check_places(uintptr_t (*place_at)(size_t))
{
    enum { AWAY = 3 * STACKLESS_PLACE_REACH, STEP = 48, MARGIN = 256 };
    main_ = (_PyStackless_Main){0};
    uintptr_t first = place_at(AWAY);
    for (size_t n = 0; n < STACKLESS_PLACE_REACH - MARGIN; n += STEP) {
        CHECK(place_at(AWAY + n) == first);
        CHECK(place_at(AWAY - n) == first);
    }
    CHECK(place_at(0) > first && place_at(2 * AWAY) < first);
    CHECK(place_at(AWAY) == first && place_at(AWAY + STEP) == first);
}

static void
test_places(void)
{
    check_places(place_at_depth);
    check_places(place_below_depth);
    _PyStackless_SliceRelease(&lonely);
    _PyStackless_SliceRelease(&main_.slice);
    main_ = (_PyStackless_Main){0};
}

/* --- exceptions of C++ ---------------------------------------------------- */

static const char *cxx_library;
static void (*body)(int number, void (*leave)(void));

/* As Python loads an extension module, where RTLD_DEFAULT finds nothing. */
static void
load_body(void)
{
    void *library = dlopen(cxx_library, RTLD_NOW | RTLD_LOCAL);
    _PyStackless_FindCxxRuntime();
    void *symbol = library != NULL ? dlsym(library, "body") : NULL;
    if (symbol == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    memcpy(&body, &symbol, sizeof(body));
}

static void
leave_cxx_context(void)
{
    leave(&current->slice);
}

static void
run_cxx_context(void *arg)
{
    Context *self = arg;
    if (self->state == SUSPENDED) {
        run_context(self);
    }
    self->slice.far = _PyStackless_Far(&main_);
    go_on_in(self);
    if (body == NULL) {
        load_body();
    }
    body((int)self->number, leave_cxx_context);
    self->state = NEW;
    go_on_in(NULL);
    returned++;
}

static void
leave_main(void)
{
    _PyStackless_FindCxxRuntime();
    for (int i = 0; i < 20; i++) {
        _PyStackless_Enter(&main_, run_cxx_context, &contexts[choose(CONTEXTS)]);
    }
}

/* A context loads the library while main, and the search, know of none. */
static void
test_cxx(const char *path)
{
    cxx_library = path;
    for (unsigned i = 0; i < CONTEXTS; i++) {
        contexts[i].number = i;
    }
    leave_main();
    for (int i = 0; i < 1000; i++) {
        body(-1 - i, leave_main);
    }
    CHECK(returned > 100);
    printf("%ld switches, %ld contexts returned\n", switches, returned);
}

/* --- how long it takes ---------------------------------------------------- */

#define ROUNDS 5000000L

static void
ping_pong(void *arg)
{
    Context *self = arg, *other = &contexts[1 - self->number];
    volatile unsigned char local[1200];
    local[0] = 0;
    (void)local[0];               // only there for its size
    self->slice.far = main_.slice.near;
    switch_slices(&self->slice, &main_.slice);
    for (long i = 0; i < ROUNDS; i++) {
        switch_unprepared(&self->slice, &other->slice);
    }
    switch_unprepared(NULL, &main_.slice);
}

static void
start_ping_pong(void *arg)
{
    (void)arg;
    switch_unprepared(NULL, &contexts[0].slice);
}

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void
bench(void)
{
    contexts[1].number = 1;
    _PyStackless_Enter(&main_, ping_pong, &contexts[0]);
    _PyStackless_Enter(&main_, ping_pong, &contexts[1]);
    size_t size = _PyStackless_SliceSaved(&contexts[0].slice);
    double before = now();
    _PyStackless_Enter(&main_, start_ping_pong, NULL);
    double switching = (now() - before) / (2 * ROUNDS);

    char stack[4096], *copies[2] = {contexts[0].slice.copy, contexts[1].slice.copy};
    before = now();
    for (long i = 0; i < 2 * ROUNDS; i++) {
        memcpy(copies[i & 1], stack, size);
        __asm__ volatile("" : : "r"(stack) : "memory");
        memcpy(stack, copies[1 - (i & 1)], size);
        __asm__ volatile("" : : "r"(stack) : "memory");
    }
    double copying = (now() - before) / (2 * ROUNDS);
    printf("%zu bytes out and in: switch %.1f ns, memcpy alone %.1f ns\n",
           size, switching, copying);
}

int
main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "1000000";
    if (_PyStackless_SwitchObstacle() != NULL) {
        printf("skipped: %s\n", _PyStackless_SwitchObstacle());
    }
    else if (strcmp(what, "cxx") == 0 && argc > 2) {
        test_cxx(argv[2]);
    }
    else if (strcmp(what, "bench") == 0) {
        bench();
    }
    else {
        dice = argc > 2 ? (uint32_t)atol(argv[2]) : 1;
        test_capacity();
        test_places();
        test_random(atol(what));
    }
    return 0;
}
