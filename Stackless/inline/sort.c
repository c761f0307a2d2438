/* list.sort(key=) and sorted(key=), where Python code computes the keys.

   As upstream's they compute all keys first, and meanwhile the list looks empty.  Here its
   items are in another list, and a continuation calls the key function for one after the
   other; then list.sort() sorts that list by the keys.  Only what compares them is called
   by C code.  (Hard switches from there copy list.sort()'s merge state each time, which is
   more C stack than all else together.) */

#include "Python.h"
#include "pycore_global_strings.h" // _Py_ID()
#include "pycore_list.h"          // _PyList_AppendTakeRef()
#include "pycore_long.h"          // _PyLong_IsZero()
#include "pycore_runtime.h"       // _Py_ID()
#include "Stackless/inline/inline.h"

enum { SORT_REVERSE = 1, SORT_SORTED = 2 };

/* As list.sort() marks a list that it sorts: no operation leaves it. */
enum { ALLOCATED_WHILE_SORTED = -1 };

/* --- arguments ---------------------------------------------------------------- */

static int
is_name(PyObject *name, const char *wanted)
{
    return PyUnicode_CheckExact(name) && PyUnicode_EqualToUTF8(name, wanted);
}

PyObject *
_PyStackless_SortKey(const stackless_call *call, int *reverse)
{
    PyObject *key = NULL;
    *reverse = 0;
    if (call->nargs != 0 || call->kwnames == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(call->kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(call->kwnames, i);
        if (is_name(name, "key")) {
            key = call->args[i];
        }
        else if (is_name(name, "reverse")
                 && (PyBool_Check(call->args[i]) || PyLong_CheckExact(call->args[i]))) {
            *reverse = _PyLong_IsZero((PyLongObject *)call->args[i]) ? 0 : SORT_REVERSE;
        }
        else {
            return NULL;
        }
    }
    return key;
}

/* --- the keys ----------------------------------------------------------------- */

static void
exchange_items(PyListObject *a, PyListObject *b)
{
    PyObject **items = a->ob_item;
    Py_ssize_t size = Py_SIZE(a);
    Py_ssize_t allocated = a->allocated;
    a->ob_item = b->ob_item;
    Py_SET_SIZE(a, Py_SIZE(b));
    a->allocated = b->allocated;
    b->ob_item = items;
    Py_SET_SIZE(b, size);
    b->allocated = allocated;
}

static PyListObject *
sorted_list(_PyInterpreterFrame *c)
{
    return (PyListObject *)PyTuple_GET_ITEM(c->localsplus[STATE_A], 0);
}

/* While the list still looks empty: what the destructors of keys do to it is noticed. */
static void
drop_keys(_PyInterpreterFrame *c)
{
    PyObject *exc = PyErr_GetRaisedException();
    (void)PyList_Clear(c->localsplus[STATE_C]);
    PyErr_SetRaisedException(exc);
}

/* The list has its items again.  Was it modified? */
static int
give_back(_PyInterpreterFrame *c)
{
    PyListObject *list = sorted_list(c);
    PyListObject *items = (PyListObject *)c->localsplus[STATE_B];
    exchange_items(list, items);
    if (items->allocated != ALLOCATED_WHILE_SORTED) {
        return 1;
    }
    items->allocated = 0;
    return 0;
}

void
_PyStackless_AbandonSort(_PyInterpreterFrame *c)
{
    (void)give_back(c);
}

/* Computes keys until a frame is pushed, or all are there: STEP_DONE.  `*value`: the key
   of the item that was under way, if any. */
static step_outcome
compute_keys(PyThreadState *tstate, _PyInterpreterFrame *c, PyObject **value)
{
    PyObject *key = PyTuple_GET_ITEM(c->localsplus[STATE_A], 1);
    PyListObject *items = (PyListObject *)c->localsplus[STATE_B];
    PyListObject *keys = (PyListObject *)c->localsplus[STATE_C];
    for (;;) {
        if (*value != NULL) {
            int err = _PyList_AppendTakeRef(keys, *value);
            *value = NULL;
            if (err < 0) {
                return STEP_FAILED;
            }
        }
        if (PyList_GET_SIZE(keys) >= PyList_GET_SIZE(items)) {
            return STEP_DONE;
        }
        PyObject *item = Py_NewRef(PyList_GET_ITEM(items, PyList_GET_SIZE(keys)));
        stackless_call call = { key, &item, 1, NULL };
        step_outcome outcome = _PyStackless_CallAny(tstate, &call, value);
        Py_DECREF(item);
        if (outcome != STEP_DONE || tstate->current_frame != c) {
            return outcome;
        }
    }
}

/* --- sorting ------------------------------------------------------------------ */

/* The key function of the sorting itself: gives the keys one after the other, as
   list.sort() asks for them. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *keys;               // a list
    Py_ssize_t next;
} key_reader;

static PyObject *
key_reader_next(PyObject *op, PyObject *const *Py_UNUSED(args), size_t Py_UNUSED(nargs),
                PyObject *Py_UNUSED(kwnames))
{
    key_reader *reader = (key_reader *)op;
    if (reader->next >= PyList_GET_SIZE(reader->keys)) {
        PyErr_SetString(PyExc_ValueError, "list modified during sort");
        return NULL;
    }
    return Py_NewRef(PyList_GET_ITEM(reader->keys, reader->next++));
}

static void
key_reader_dealloc(PyObject *op)
{
    Py_DECREF(((key_reader *)op)->keys);
    PyObject_Free(op);
}

/* Nobody but list.sort() sees it, so that it needs no PyType_Ready(). */
static PyTypeObject key_reader_type = {
    PyVarObject_HEAD_INIT(&PyType_Type, 0)
    .tp_name = "_stackless._key_reader",
    .tp_basicsize = sizeof(key_reader),
    .tp_dealloc = key_reader_dealloc,
    .tp_vectorcall_offset = offsetof(key_reader, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
};

static PyObject *
make_key_reader(PyObject *keys)
{
    key_reader *reader = PyObject_New(key_reader, &key_reader_type);
    if (reader != NULL) {
        reader->vectorcall = key_reader_next;
        reader->keys = Py_NewRef(keys);
        reader->next = 0;
    }
    return (PyObject *)reader;
}

/* 0, or -1 with an exception: what comparing two keys raised. */
static int
sort_items(_PyInterpreterFrame *c)
{
    PyObject *result = NULL;
    PyObject *key = make_key_reader(c->localsplus[STATE_C]);
    PyObject *names = key ? PyTuple_Pack(2, &_Py_ID(key), &_Py_ID(reverse)) : NULL;
    if (names != NULL) {
        PyObject *reverse = PyBool_FromLong(continuation_number(c) & SORT_REVERSE);
        PyObject *args[] = { c->localsplus[STATE_B], key, reverse };
        result = PyObject_VectorcallMethod(&_Py_ID(sort), args, 1, names);
    }
    Py_XDECREF(key);
    Py_XDECREF(names);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* State: the list and the key function; a list of its items; one of their keys; flags. */
step_outcome
_PyStackless_SortStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                      PyObject **value)
{
    step_outcome outcome = event == AT_RAISE ? STEP_FAILED
                                             : compute_keys(tstate, c, value);
    if (outcome == STEP_PUSHED || tstate->current_frame != c) {
        return outcome;
    }
    if (outcome == STEP_DONE && sort_items(c) < 0) {
        outcome = STEP_FAILED;
    }
    drop_keys(c);
    int modified = give_back(c);
    if (outcome == STEP_FAILED) {
        return STEP_FAILED;
    }
    if (modified) {
        PyErr_SetString(PyExc_ValueError, "list modified during sort");
        return STEP_FAILED;
    }
    *value = continuation_number(c) & SORT_SORTED ? Py_NewRef(sorted_list(c)) : Py_None;
    return STEP_DONE;
}

static step_outcome
sort_list(PyThreadState *tstate, PyObject *list, const stackless_call *call, int flags)
{
    int reverse;
    PyObject *key = _PyStackless_SortKey(call, &reverse);
    PyObject *items = PyList_New(0);
    PyObject *keys = PyList_New(0);
    PyObject *pair = PyTuple_Pack(2, list, key);
    _PyInterpreterFrame *c = NULL;
    if (items != NULL && keys != NULL && pair != NULL) {
        c = _PyStackless_PushContinuation(tstate, CONTINUE_SORT, pair, items, keys,
                                          flags | reverse);
    }
    if (c != NULL) {
        exchange_items((PyListObject *)list, (PyListObject *)items);
        ((PyListObject *)list)->allocated = ALLOCATED_WHILE_SORTED;
    }
    Py_XDECREF(items);
    Py_XDECREF(keys);
    Py_XDECREF(pair);
    return c != NULL ? STEP_BEGIN : STEP_FAILED;
}

step_outcome
_PyStackless_CallSort(PyThreadState *tstate, PyObject *list, const stackless_call *call)
{
    return sort_list(tstate, list, call, 0);
}

step_outcome
_PyStackless_CallSorted(PyThreadState *tstate, PyObject *iterable, const stackless_call *call)
{
    PyObject *list = PySequence_List(iterable);
    if (list == NULL) {
        return STEP_FAILED;
    }
    step_outcome outcome = sort_list(tstate, list, call, SORT_SORTED);
    Py_DECREF(list);
    return outcome;
}
