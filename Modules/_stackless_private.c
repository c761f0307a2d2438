/* Functions of module _stackless that tests of old Stackless use.  What takes an extension
   module is in _teststackless.c. */

#include "Python.h"
#include "pycore_hashtable.h"     // _Py_hashtable_t
#include "pycore_object.h"        // _Py_GetGlobalRefTotal()
#include "pycore_pystate.h"       // _PyThreadState_GET()
#include "Stackless/types/types.h"
#include "_stackless_private.h"

PyDoc_STRVAR(test_nostacklesscall_doc,
"_test_nostacklesscall($module, callable, /, *args, **kwargs)\n--\n\n"
"callable(*args, **kwargs), called from C.");

static PyObject *
test_nostacklesscall(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) < 1) {
        PyErr_SetString(PyExc_TypeError, "_test_nostacklesscall() needs a callable");
        return NULL;
    }
    PyObject *rest = PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args));
    if (rest == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_Call(PyTuple_GET_ITEM(args, 0), rest, kwargs);
    Py_DECREF(rest);
    return result;
}

PyDoc_STRVAR(gc_track_doc,
"_gc_track($module, object, /)\n--\n\n"
"Let the garbage collector see an object that it did not see.");

static int
check_gc(PyObject *op, int tracked)
{
    if (!PyObject_IS_GC(op)) {
        PyErr_SetString(PyExc_TypeError, "not an object for the garbage collector");
        return -1;
    }
    if (PyObject_GC_IsTracked(op) != tracked) {
        PyErr_SetString(PyExc_ValueError, tracked ? "not tracked" : "tracked already");
        return -1;
    }
    return 0;
}

static PyObject *
gc_track(PyObject *Py_UNUSED(module), PyObject *op)
{
    if (check_gc(op, 0) < 0) {
        return NULL;
    }
    PyObject_GC_Track(op);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(gc_untrack_doc,
"_gc_untrack($module, object, /)\n--\n\n"
"Hide an object from the garbage collector.");

static PyObject *
gc_untrack(PyObject *Py_UNUSED(module), PyObject *op)
{
    if (check_gc(op, 1) < 0) {
        return NULL;
    }
    PyObject_GC_UnTrack(op);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(test_outside_doc,
"_test_outside($module, /)\n--\n\n"
"Run all runnable tasklets, as a program without a main tasklet would.  Afterwards the\n"
"caller is current again: main, or another tasklet as long as main is not scheduled.");

static PyObject *
test_outside(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    PyThreadState *tstate = _PyThreadState_GET();
    _PyStackless_Scheduler *sched = _PyStackless_GetScheduler(tstate, module);
    if (sched == NULL) {
        return NULL;
    }
    if (sched->current != sched->main && tasklet_is_queued(sched->main)) {
        PyErr_SetString(PyExc_RuntimeError, "main tasklet is still scheduled");
        return NULL;
    }
    sched->call = (stackless_op){ .code = OP_RUN_ALL };
    return _PyStackless_CallFromC(sched);
}

#ifdef Py_DEBUG

/* Objects of types that the garbage collector does not know are found through those that
   refer to them.  (Upstream has a list of all of them only --with-trace-refs.) */
typedef struct {
    PyObject *list;
    _Py_hashtable_t *seen;
} census;

static int
census_visit(PyObject *op, void *arg)
{
    census *all = arg;
    if (op == all->list || _Py_hashtable_get_entry(all->seen, op) != NULL) {
        return 0;
    }
    if (_Py_hashtable_set(all->seen, op, op) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return PyList_Append(all->list, op);
}

static int
census_visit_tracked(PyObject *op, void *arg)
{
    return census_visit(op, arg) == 0;
}

PyDoc_STRVAR(get_all_objects_doc,
"_get_all_objects($module, /)\n--\n\n"
"A list of all objects that the garbage collector sees, and of what can be reached from\n"
"them; but for the list.  In debug builds only.");

static PyObject *
get_all_objects(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    census all = {
        .list = PyList_New(0),
        .seen = _Py_hashtable_new(_Py_hashtable_hash_ptr, _Py_hashtable_compare_direct),
    };
    if (all.seen == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    if (all.list == NULL) {
        goto done;
    }
    PyUnstable_GC_VisitObjects(census_visit_tracked, &all);
    for (Py_ssize_t i = 0; !PyErr_Occurred() && i < PyList_GET_SIZE(all.list); i++) {
        PyObject *op = PyList_GET_ITEM(all.list, i);
        (void)census_visit((PyObject *)Py_TYPE(op), &all);
        if (PyObject_IS_GC(op) && Py_TYPE(op)->tp_traverse != NULL) {
            (void)Py_TYPE(op)->tp_traverse(op, census_visit, &all);
        }
    }
done:
    if (PyErr_Occurred()) {
        Py_CLEAR(all.list);
    }
    if (all.seen != NULL) {
        _Py_hashtable_destroy(all.seen);
    }
    return all.list;
}

PyDoc_STRVAR(get_refinfo_doc,
"_get_refinfo($module, /)\n--\n\n"
"(object, count, total, computed): of all objects, that with most references, and how\n"
"many; how many references there are, as the interpreter counts them and as the sum over\n"
"all objects that can be found.  Immortal objects do not count.  In debug builds only.");

static PyObject *
get_refinfo(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = get_all_objects(module, NULL);
    if (list == NULL) {
        return NULL;
    }
    PyObject *most = Py_None;
    Py_ssize_t most_count = 0, computed = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *op = PyList_GET_ITEM(list, i);
        if (_Py_IsImmortal(op)) {
            continue;
        }
        Py_ssize_t count = Py_REFCNT(op) - 1;      // without the list's
        computed += count;
        if (count > most_count) {
            most_count = count;
            most = op;
        }
    }
    Py_ssize_t total = _Py_GetGlobalRefTotal() - PyList_GET_SIZE(list);
    PyObject *result = Py_BuildValue("(Onnn)", most, most_count, total, computed);
    Py_DECREF(list);
    return result;
}

PyDoc_STRVAR(peek_doc,
"_peek($module, address, /)\n--\n\n"
"The object with this id(), if _get_all_objects() has it; otherwise ValueError.\n"
"In debug builds only.");

static PyObject *
peek(PyObject *module, PyObject *address)
{
    void *wanted = PyLong_AsVoidPtr(address);
    if (wanted == NULL && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *list = get_all_objects(module, NULL);
    if (list == NULL) {
        return NULL;
    }
    PyObject *found = NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list) && found == NULL; i++) {
        if (PyList_GET_ITEM(list, i) == wanted) {
            found = Py_NewRef(wanted);
        }
    }
    Py_DECREF(list);
    if (found == NULL) {
        PyErr_Format(PyExc_ValueError, "no object at %p", wanted);
    }
    return found;
}

#endif

/* Softly "from C": a frame that nobody sees, as those of C code that waits for its turn
   have to be (the trampoline's, send_sequence()'s). */
static const char test_cframe_nr_source[] =
    "def _test_cframe_nr(switches, /):\n"
    "    'Call schedule() so many times, softly.  Returns the calling tasklet.'\n"
    "    for _ in range(switches):\n"
    "        _stackless.schedule()\n"
    "    return _stackless.getcurrent()\n";

static PyMethodDef private_methods[] = {
    {"_test_nostacklesscall", _PyCFunction_CAST(test_nostacklesscall),
     METH_VARARGS | METH_KEYWORDS, test_nostacklesscall_doc},
    {"_gc_track", gc_track, METH_O, gc_track_doc},
    {"_gc_untrack", gc_untrack, METH_O, gc_untrack_doc},
    {"_test_outside", test_outside, METH_NOARGS, test_outside_doc},
#ifdef Py_DEBUG
    {"_get_all_objects", get_all_objects, METH_NOARGS, get_all_objects_doc},
    {"_get_refinfo", get_refinfo, METH_NOARGS, get_refinfo_doc},
    {"_peek", peek, METH_O, peek_doc},
#endif
    {NULL}
};

int
_PyStackless_InitPrivate(PyObject *module)
{
    PyObject *func = _PyStackless_HiddenFunction(test_cframe_nr_source, "_test_cframe_nr",
                                                 "_stackless", module);
    int err = PyModule_Add(module, "_test_cframe_nr", func);       // steals func
    return err < 0 ? -1 : PyModule_AddFunctions(module, private_methods);
}
