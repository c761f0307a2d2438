/* Pickling: tasklets, frames and generators are taken apart into tuples of plain objects, and
   built from them again.

   The shapes of those tuples ("records") are a format that outlives this process: whoever
   changes one raises STACKLESS_PICKLE_FORMAT, and reads the old ones, too.

   A frame's record is one of
     (code, globals, locals, instr, offset, nulls, *values)   of Python code
     ("call", instr, offset, nulls, *values)        the frame that calls a tasklet's function
     ("callkw", instr, offset, nulls, *values)      the same, with keyword arguments
     (name of the kind, a, b, c, number, nulls)     a continuation (Stackless/inline)
     (generator,)                                   that generator's, which is executing
   instr, offset: in code units, of the instruction that is under way, and from there to where
   it goes on.  nulls: bit i is set if localsplus[i] is NULL; `values` are the others.
   globals: a stand-in, or a dict.  locals: None if the code needs none. */

#ifndef STACKLESS_PICKLE_PICKLE_H
#define STACKLESS_PICKLE_PICKLE_H

#ifndef Py_BUILD_CORE
#  error "this header requires Py_BUILD_CORE define"
#endif

#include "Stackless/inline/inline.h" // continuation_kind
#include "Stackless/types/types.h"

enum { STACKLESS_PICKLE_FORMAT = 1 };

/* Numbers of a record that come before the values. */
enum { RECORD_CODE, RECORD_GLOBALS, RECORD_LOCALS, RECORD_INSTR, RECORD_OFFSET, RECORD_NULLS,
       RECORD_VALUES };

/* Bits of a tasklet's state[0], beside those of the specification. */
enum {
    PICKLED_BLOCKED = 3,          // two's complement
    PICKLED_ATOMIC = 4,
    PICKLED_IGNORE_NESTING = 8,
    PICKLED_BLOCK_TRAP = 32,
    PICKLED_INTERRUPTED = 128,
    PICKLED_RAISES = 256,
    PICKLED_RETURNS_SELF = 512,
    PICKLED_RETURNS_NONE = 1024,
    PICKLED_STARTED = 2048,
    PICKLED_HARD = 4096,
    PICKLED_FORMAT_SHIFT = 16,
};

/* take.c */

/* t's state, a tuple as the specification has it.  Runs no Python code.  NULL with an
   exception: it is executing, or belongs to a greenlet. */
extern PyObject *_PyStackless_TakeTasklet(PyTaskletObject *t);
/* The record of a suspended frame of Python code.  `size`: how many words of localsplus. */
extern PyObject *_PyStackless_TakeRecord(stackless_modstate *mod, _PyInterpreterFrame *frame,
                                         int size);

/* build.c */

/* Makes `t`, which is idle, what the state says.  0, or -1 with an exception: then it is as it
   was.  Runs Python code. */
extern int _PyStackless_BuildTasklet(PyTaskletObject *t, PyObject *state);
/* What a record says of a frame of Python code. */
typedef struct {
    stackless_modstate *mod;
    PyCodeObject *code;           // borrowed, as all others
    PyObject *globals;            // a dict
    PyObject *locals;             // or NULL
    PyObject *nulls;
    PyObject *const *values;
    Py_ssize_t nvalues;
    int instr;
    int offset;
} stackless_record;
/* `record`: a tuple as _PyStackless_TakeRecord() returns it.  0, or -1 with an exception. */
extern int _PyStackless_ReadRecord(stackless_modstate *mod, PyObject *record,
                                   stackless_record *r);
/* Is a bit of the int, which is not negative, set? */
extern int _PyStackless_HasBit(PyObject *bits, Py_ssize_t i);
/* A function whose frame it may be: 0 arguments are known of it.  It can be called only as such
   a one. */
extern PyFunctionObject *_PyStackless_MakeFunction(const stackless_record *r);
/* Fills `frame`, for which there is room, but for `previous` and `owner`.  func is stolen.
   0, or -1 with an exception: nothing is owned by the frame. */
extern int _PyStackless_FillFrame(_PyInterpreterFrame *frame, PyFunctionObject *func,
                                  const stackless_record *r);

/* flags.c */

enum {
    PICKLEFLAGS_PRESERVE_TRACING_STATE = 1,
    PICKLEFLAGS_PRESERVE_AG_FINALIZER = 2,
    PICKLEFLAGS_RESET_AG_FINALIZER = 4,
    PICKLEFLAGS_PICKLE_CONTEXT = 8,
    PICKLEFLAGS_ALL = 15,
};
/* pickle_flags(new_flags=-1, mask=-1) of the calling thread, pickle_flags_default() */
extern PyObject *_PyStackless_PickleFlags(PyObject *module, PyObject *args, PyObject *kwds);
extern PyObject *_PyStackless_PickleFlagsDefault(PyObject *module, PyObject *args,
                                                 PyObject *kwds);
extern PyObject *_PyStackless_GetWithTracing(PyObject *self, void *closure);
extern int _PyStackless_SetWithTracing(PyObject *self, PyObject *value, void *closure);

/* check.c */

typedef enum {
    STOP_CALL,                      // below another frame, or waiting for a value
    STOP_INTERRUPT,                 // interrupted by a time limit
    STOP_YIELD,                     // a suspended or fresh generator: instr is what comes next
} stackless_stop;
/* How many values the instruction under way will get. */
enum {
    GETS_NOTHING, GETS_OBJECT, GETS_ITERATOR, GETS_BOOL,
    GETS_PAIR,                    // an object and NULL
    GETS_DELEGATED,               // as a suspended generator is resumed
};
/* Can a frame of Python code be where it is, with what it has there?  0, or -1 with an
   exception: ValueError if it cannot.  `what`: one of these values. */
extern int _PyStackless_CheckFrame(stackless_modstate *mod, _PyInterpreterFrame *frame,
                                   stackless_stop stop, int what);
/* The state of a suspended generator whose frame was found right: a value of gi_frame_state,
   FRAME_CLEARED if it is where no generator waits. */
extern int _PyStackless_YieldState(_PyInterpreterFrame *frame);

/* kinds.c */

/* The name of a continuation_kind in pickles. */
extern const char *_PyStackless_KindName(int kind);
/* Where a tasklet is that has such a continuation, if it is not pickled; else NULL. */
extern const char *_PyStackless_KindRefused(int kind);
/* The kind of a continuation's record, a tuple that begins with a str, if its state is what the
   kind's step expects; -1 with an exception. */
extern int _PyStackless_CheckContinuation(stackless_modstate *mod, PyObject *record);
/* What the frame below gets (GETS_...), or -1 with an exception. */
extern int _PyStackless_ContinuationGives(_PyInterpreterFrame *c, _PyInterpreterFrame *below);
/* Does the continuation keep the generator alive that it has called? */
extern int _PyStackless_ContinuationHolds(_PyInterpreterFrame *c, PyObject *gen);
/* What a continuation has beside the frames of the chain: 0, or -1 with an exception. */
extern int _PyStackless_CheckAside(stackless_modstate *mod, _PyInterpreterFrame *c);
/* The tasklet whose frame it is goes into being. */
extern void _PyStackless_ContinuationBegins(_PyInterpreterFrame *c);

/* objects.c */

/* What stands for an object in a record (new reference): the object, or a stand-in if it is the
   dict of a module, an object(), or an exception with more than arguments.  Runs no Python code. */
extern PyObject *_PyStackless_StandIn(stackless_modstate *mod, PyObject *op);
/* The other way round, borrowed.  `op` may be NULL. */
extern PyObject *_PyStackless_StoodFor(stackless_modstate *mod, PyObject *op);
/* The same for a dict; NULL with TypeError. */
extern PyObject *_PyStackless_NamespaceDict(stackless_modstate *mod, PyObject *op);
/* t has got its state: if a channel waits for that, it blocks t.  `waiting`: t's tempval before
   that. */
extern int _PyStackless_TakesPlace(PyTaskletObject *t, PyObject *waiting);
extern int _PyStackless_InitPickling(PyObject *module);

#endif /* !STACKLESS_PICKLE_PICKLE_H */
