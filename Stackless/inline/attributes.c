/* Attributes that Python functions compute: properties, descriptors, __getattribute__,
   __getattr__, __setattr__, __delattr__; also those of classes and modules. */

#include "Python.h"
#include "pycore_code.h"          // INLINE_CACHE_ENTRIES_LOAD_ATTR
#include "pycore_descrobject.h"   // propertyobject
#include "pycore_dict.h"
#include "pycore_global_strings.h" // _Py_ID()
#include "pycore_moduleobject.h"  // PyModuleObject
#include "pycore_object.h"        // _PyObject_SetAttributeErrorContext()
#include "pycore_runtime.h"
#include "Stackless/inline/inline.h"
#include "pycore_typeobject.h"    // _Py_slot_tp_getattr_hook()

/* What the state's number says. */
enum {
    PUSHES_NULL = 1,              // LOAD_ATTR for a method call
    HAS_FALLBACK = 2,             // an AttributeError goes to __getattr__
    NO_CONTEXT = 4,               // an AttributeError does not get name and obj
};

typedef struct {
    PyObject *func;               // borrowed
    PyObject *self;               // may be NULL
    PyObject *args[2];
    int nargs;
} python_call;

/* The Python function that descr.__get__(owner, type) ends in.  owner may be NULL. */
static int
python_getter(PyObject *descr, PyObject *owner, PyObject *type, python_call *call)
{
    descrgetfunc get = Py_TYPE(descr)->tp_descr_get;
    if (get == PyProperty_Type.tp_descr_get) {
        PyObject *func = ((propertyobject *)descr)->prop_get;
        if (owner == NULL || func == NULL || !_PyStackless_IsPythonFunction(func)) {
            return 0;
        }
        *call = (python_call){ func, NULL, { owner }, 1 };
        return 1;
    }
    if (get == NULL || get != _PyStackless_PythonSlots.type.tp_descr_get) {
        return 0;
    }
    PyObject *func = _PyStackless_PythonMethod(Py_TYPE(descr), &_Py_ID(__get__));
    *call = (python_call){ func, descr, { owner ? owner : Py_None, type }, 2 };
    return func != NULL;
}

/* Is `name` among the instance's attributes?  1 or 0; -1: look it up in *dict (borrowed). */
static int
instance_has_inline(PyObject *owner, PyObject *name, PyObject **dict)
{
    PyTypeObject *type = Py_TYPE(owner);
    PyObject *attr;
    if ((type->tp_flags & Py_TPFLAGS_INLINE_VALUES)
        && _PyObject_TryGetInstanceAttribute(owner, name, &attr)) {
        int found = attr != NULL;
        Py_XDECREF(attr);
        return found;
    }
    if (type->tp_flags & Py_TPFLAGS_MANAGED_DICT) {
        *dict = (PyObject *)_PyObject_GetManagedDict(owner);
    }
    else {
        PyObject **place = _PyObject_ComputedDictPointer(owner);
        *dict = place ? *place : NULL;
    }
    return *dict == NULL ? 0 : -1;
}

/* The same, without calling Python code.  -1: that cannot be told, because of strange keys
   of the instance's dict. */
static int
instance_has(PyObject *owner, PyObject *name)
{
    PyObject *dict;
    int found = instance_has_inline(owner, name, &dict);
    if (found >= 0) {
        return found;
    }
    return DK_IS_UNICODE(((PyDictObject *)dict)->ma_keys) ? PyDict_Contains(dict, name) : -1;
}

int
_PyStackless_InstanceLacks(PyObject *owner, PyObject *name)
{
    return instance_has(owner, name) == 0;
}

/* Neither the class nor the instance has it. */
static int
is_missing(PyObject *owner, PyObject *name)
{
    if (_PyType_Lookup(Py_TYPE(owner), name) != NULL) {
        return 0;
    }
    return instance_has(owner, name) == 0;
}

/* Does object.__getattribute__(owner, name) end in a Python function? */
static int
find_getter(PyObject *owner, PyObject *name, python_call *call)
{
    PyTypeObject *type = Py_TYPE(owner);
    PyObject *descr = _PyType_Lookup(type, name);
    if (descr == NULL || !python_getter(descr, owner, (PyObject *)type, call)) {
        return 0;
    }
    if (PyDescr_IsData(descr)) {
        return 1;
    }
    return instance_has(owner, name) == 0;
}

/* The same for type.__getattribute__(). */
static int
find_type_getter(PyObject *owner, PyObject *name, python_call *call)
{
    PyTypeObject *meta = Py_TYPE(owner);
    PyObject *meta_descr = _PyType_Lookup(meta, name);
    if (meta_descr != NULL && PyDescr_IsData(meta_descr)
        && Py_TYPE(meta_descr)->tp_descr_get != NULL) {
        return python_getter(meta_descr, owner, (PyObject *)meta, call);
    }
    PyObject *descr = _PyType_Lookup((PyTypeObject *)owner, name);
    if (descr != NULL) {
        return python_getter(descr, NULL, owner, call);
    }
    return meta_descr != NULL
           && python_getter(meta_descr, owner, (PyObject *)meta, call);
}

/* A module's __getattr__, if the module does not have the attribute. */
static int
find_module_getattr(PyObject *owner, PyObject *name, python_call *call)
{
    if (_PyType_Lookup(Py_TYPE(owner), name) != NULL) {
        return 0;                      // of stackless.current, say
    }
    PyObject *dict = ((PyModuleObject *)owner)->md_dict;
    if (!DK_IS_UNICODE(((PyDictObject *)dict)->ma_keys)) {
        return 0;                      // strange keys, which may run Python code
    }
    PyObject *func = PyDict_GetItemWithError(dict, &_Py_ID(__getattr__));
    if (func == NULL || !_PyStackless_IsPythonFunction(func)
        || PyDict_Contains(dict, name) != 0) {
        PyErr_Clear();
        return 0;
    }
    *call = (python_call){ func, NULL, { name }, 1 };
    return 1;
}

/* Takes LOAD_ATTR over, whose operand becomes state. */
static inline int
begin_load(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
           PyObject *name, int flags, PyObject *func, PyObject *self,
           PyObject *const *args, Py_ssize_t nargs)
{
    _PyStackless_Begin(frame, stack_pointer, 1, 1 + INLINE_CACHE_ENTRIES_LOAD_ATTR);
    step_outcome outcome = STEP_FAILED;
    if (_PyStackless_PushState(tstate, CONTINUE_ATTRIBUTE, stack_pointer[-1], Py_NewRef(name),
                               NULL, continuation_make_number(flags))) {
        outcome = _PyStackless_PushFunction(tstate, func, self, args, nargs, NULL);
    }
    return _PyStackless_Deliver(tstate, outcome, NULL, stack_pointer, 0);
}

static int
begin_attribute(PyThreadState *tstate, _PyInterpreterFrame *frame,
                PyObject **stack_pointer, PyObject *name, int flags,
                const python_call *call)
{
    return begin_load(tstate, frame, stack_pointer, name, flags, call->func, call->self,
                      call->args, call->nargs);
}

/* --- __getattr__() of names that are known to be missing ------------------------ */

static inline stackless_missing *
missing_entry(PyThreadState *tstate, PyTypeObject *type, PyObject *name)
{
    _PyStackless_Scheduler *sched = _PyStackless_PeekScheduler(tstate);
    return &sched->missing[(type->tp_version_tag ^ (uintptr_t)name >> 4)
                           % STACKLESS_KNOWN_MISSING];
}

/* The Python function __getattr__() that gives the attribute, if that is known.  Borrowed. */
static inline PyObject *
known_getattr(PyThreadState *tstate, PyObject *owner, PyObject *name)
{
    PyTypeObject *type = Py_TYPE(owner);
    stackless_missing *entry = missing_entry(tstate, type, name);
    return entry->name == name && entry->type_version == type->tp_version_tag
           && _PyObject_InlineValues(owner)->valid
           && ((PyHeapTypeObject *)type)->ht_cached_keys->dk_version == entry->keys_version
           && _PyStackless_IsPythonFunction(entry->getattr)
           ? entry->getattr : NULL;
}

/* It has just been found that the class has plain attributes and `getattr`, and that owner
   does not have the attribute. */
static void
note_missing(PyThreadState *tstate, PyObject *owner, PyObject *name, PyObject *getattr)
{
    PyTypeObject *type = Py_TYPE(owner);
    /* A strange key of a class's dict may have replaced it. */
    if (_PyType_Lookup(type, &_Py_ID(__getattr__)) != getattr
        || !(type->tp_flags & Py_TPFLAGS_INLINE_VALUES) || type->tp_version_tag == 0
        || !_PyObject_InlineValues(owner)->valid || !PyUnicode_CheckExact(name)) {
        return;
    }
    PyDictKeysObject *keys = ((PyHeapTypeObject *)type)->ht_cached_keys;
    uint32_t version = _PyDictKeys_GetVersionForCurrentState(tstate->interp, keys);
    if (version == 0 || _PyDictKeys_StringLookup(keys, name) != DKIX_EMPTY) {
        return;                        // another instance has it
    }
    stackless_missing *entry = missing_entry(tstate, type, name);
    entry->type_version = type->tp_version_tag;
    entry->keys_version = version;
    entry->getattr = getattr;
    Py_XSETREF(entry->name, Py_NewRef(name));
}

static inline int
begin_getattr(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
              PyObject *name, int flags, PyObject *getattr)
{
    return begin_load(tstate, frame, stack_pointer, name, flags, getattr, stack_pointer[-1],
                      &name, 1);
}

/* _Py_slot_tp_getattr_hook(): the attribute of a class with __getattr__. */
static int
load_with_getattr(PyThreadState *tstate, _PyInterpreterFrame *frame,
                  PyObject **stack_pointer, PyObject *name, int flags, PyObject *getattr)
{
    PyObject *owner = stack_pointer[-1];
    PyTypeObject *type = Py_TYPE(owner);
    PyObject *getattribute = _PyType_Lookup(type, &_Py_ID(__getattribute__));
    python_call call;
    if (getattribute != NULL && _PyStackless_IsPythonFunction(getattribute)) {
        call = (python_call){ getattribute, owner, { name }, 1 };
        return begin_attribute(tstate, frame, stack_pointer, name, flags | HAS_FALLBACK,
                               &call);
    }
    if (getattribute == NULL || !Py_IS_TYPE(getattribute, &PyWrapperDescr_Type)) {
        return 0;
    }
    void *wrapped = ((PyWrapperDescrObject *)getattribute)->d_wrapped;
    int is_type = wrapped == (void *)PyType_Type.tp_getattro;
    if (!is_type && wrapped != (void *)PyObject_GenericGetAttr) {
        return 0;
    }
    if (!is_type && is_missing(owner, name)) {
        note_missing(tstate, owner, name, getattr);
        return begin_getattr(tstate, frame, stack_pointer, name, flags, getattr);
    }
    if (is_type ? find_type_getter(owner, name, &call) : find_getter(owner, name, &call)) {
        return begin_attribute(tstate, frame, stack_pointer, name, flags | HAS_FALLBACK,
                               &call);
    }
    PyObject *value;
    if (is_type) {
        value = PyType_Type.tp_getattro(owner, name);
        if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
        }
    }
    else {
        value = _PyObject_GenericGetAttrWithDict(owner, name, NULL, 1);
    }
    if (value == NULL && !PyErr_Occurred()) {
        return begin_getattr(tstate, frame, stack_pointer, name, flags, getattr);
    }
    _PyStackless_Begin(frame, stack_pointer, 1, 1 + INLINE_CACHE_ENTRIES_LOAD_ATTR);
    if (value == NULL) {
        _PyObject_SetAttributeErrorContext(owner, name);
    }
    int failed = value == NULL;
    if (!failed && (flags & PUSHES_NULL)) {
        /* The value takes the operand's place, so the instruction has none left. */
        _PyFrame_StackPush(frame, value);
        _PyFrame_StackPush(frame, NULL);
        value = NULL;
        Py_DECREF(owner);
        return _PyStackless_Deliver(tstate, STEP_DONE, NULL, stack_pointer, 0);
    }
    return _PyStackless_Deliver(tstate, failed ? STEP_FAILED : STEP_DONE, value,
                                stack_pointer, 1);
}

static Py_NO_INLINE int
load_attribute(PyThreadState *tstate, _PyInterpreterFrame *frame, PyObject **stack_pointer,
               PyObject *name, int flags)
{
    PyObject *owner = stack_pointer[-1];
    PyTypeObject *type = Py_TYPE(owner);
    getattrofunc getattro = type->tp_getattro;
    python_call call;
    if (getattro == PyObject_GenericGetAttr) {
        return (type->tp_flags & Py_TPFLAGS_HEAPTYPE) && find_getter(owner, name, &call)
               && begin_attribute(tstate, frame, stack_pointer, name,
                                  flags ? flags | NO_CONTEXT : 0, &call);
    }
    if (getattro == PyType_Type.tp_getattro) {
        return find_type_getter(owner, name, &call)
               && begin_attribute(tstate, frame, stack_pointer, name, flags, &call);
    }
    if (getattro == PyModule_Type.tp_getattro) {
        return find_module_getattr(owner, name, &call)
               && begin_attribute(tstate, frame, stack_pointer, name, flags, &call);
    }
    if (getattro == _Py_slot_tp_getattr_hook) {
        PyObject *getattr = _PyType_Lookup(type, &_Py_ID(__getattr__));
        if (getattr != NULL) {
            if (!_PyStackless_IsPythonFunction(getattr)) {
                return 0;
            }
            Py_INCREF(getattr);        // keys of the instance's dict may delete it
            int begun = load_with_getattr(tstate, frame, stack_pointer, name, flags, getattr);
            Py_DECREF(getattr);
            return begun;
        }
        type->tp_getattro = _Py_slot_tp_getattro;      // as it does itself; specialization asks
    }
    else if (getattro != _Py_slot_tp_getattro) {
        return 0;
    }
    PyObject *func = _PyStackless_PythonMethod(type, &_Py_ID(__getattribute__));
    call = (python_call){ func, owner, { name }, 1 };
    return func != NULL
           && begin_attribute(tstate, frame, stack_pointer, name, flags, &call);
}

int
_PyStackless_LoadAttr(PyThreadState *tstate, _PyInterpreterFrame *frame,
                      PyObject **stack_pointer, int oparg)
{
    PyObject *name = PyTuple_GET_ITEM(_PyFrame_GetCode(frame)->co_names, oparg >> 1);
    int flags = oparg & 1 ? PUSHES_NULL : 0;
    PyObject *getattr = known_getattr(tstate, stack_pointer[-1], name);
    return getattr != NULL
           ? begin_getattr(tstate, frame, stack_pointer, name, flags, getattr)
           : load_attribute(tstate, frame, stack_pointer, name, flags);
}

/* __getattr__() has not been asked yet: the AttributeError that is set is not the last
   word. */
static Py_NO_INLINE step_outcome
fall_back(PyThreadState *tstate, _PyInterpreterFrame *c, long flags, PyObject **value)
{
    (void)continuation_set_number(c, flags & ~HAS_FALLBACK);         // small
    PyErr_Clear();
    step_outcome outcome = _PyStackless_CallSpecial(
        tstate, c->localsplus[STATE_A], &_Py_ID(__getattr__), &c->localsplus[STATE_B], 1,
        value);
    if (outcome == STEP_MISSING) {
        PyErr_SetObject(PyExc_AttributeError, c->localsplus[STATE_B]);
    }
    return outcome;
}

/* State: the object, the name; flags. */
step_outcome
_PyStackless_AttributeStep(PyThreadState *tstate, _PyInterpreterFrame *c, step_event event,
                           PyObject **value)
{
    long flags = continuation_number(c);
    if (event == AT_RAISE && (flags & HAS_FALLBACK)
        && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        step_outcome outcome = fall_back(tstate, c, flags, value);
        if (outcome == STEP_PUSHED) {
            return outcome;
        }
        if (outcome == STEP_MISSING) {
            return STEP_FAILED;
        }
        event = outcome == STEP_FAILED ? AT_RAISE : AT_RETURN;
    }
    if (event == AT_RAISE) {
        if (!(flags & NO_CONTEXT)) {
            _PyObject_SetAttributeErrorContext(c->localsplus[STATE_A],
                                               c->localsplus[STATE_B]);
        }
        return STEP_FAILED;
    }
    if (flags & PUSHES_NULL) {
        _PyFrame_StackPush(c->previous, *value);
        _PyFrame_StackPush(c->previous, NULL);
        *value = NULL;
    }
    return STEP_DONE;
}

/* --- storing and deleting ----------------------------------------------------- */

/* `value` NULL: delete. */
static int
find_setter(PyObject *owner, PyObject *name, PyObject *value, python_call *call)
{
    PyTypeObject *type = Py_TYPE(owner);
    int nargs = value ? 2 : 1;
    PyObject *func;
    if (type->tp_setattro == _PyStackless_PythonSlots.type.tp_setattro) {
        func = _PyStackless_PythonMethod(type, value ? &_Py_ID(__setattr__)
                                                     : &_Py_ID(__delattr__));
        *call = (python_call){ func, owner, { name, value }, nargs };
        return func != NULL;
    }
    if (type->tp_setattro != PyObject_GenericSetAttr) {
        return 0;
    }
    PyObject *descr = _PyType_Lookup(type, name);
    descrsetfunc set = descr ? Py_TYPE(descr)->tp_descr_set : NULL;
    if (set == NULL) {
        return 0;
    }
    if (set == PyProperty_Type.tp_descr_set) {
        propertyobject *property = (propertyobject *)descr;
        func = value ? property->prop_set : property->prop_del;
        *call = (python_call){ func, NULL, { owner, value }, nargs };
        return func != NULL && _PyStackless_IsPythonFunction(func);
    }
    if (set != _PyStackless_PythonSlots.type.tp_descr_set) {
        return 0;
    }
    func = _PyStackless_PythonMethod(Py_TYPE(descr), value ? &_Py_ID(__set__)
                                                           : &_Py_ID(__delete__));
    *call = (python_call){ func, descr, { owner, value }, nargs };
    return func != NULL;
}

int
_PyStackless_StoreAttr(PyThreadState *tstate, _PyInterpreterFrame *frame,
                       PyObject **stack_pointer, int oparg)
{
    PyObject *name = PyTuple_GET_ITEM(_PyFrame_GetCode(frame)->co_names, oparg);
    python_call call;
    return find_setter(stack_pointer[-1], name, stack_pointer[-2], &call)
           && _PyStackless_BeginCall(tstate, frame, stack_pointer, 2,
                                     1 + INLINE_CACHE_ENTRIES_STORE_ATTR, CONTINUE_DROP,
                                     NULL, NULL, 0, call.func, call.self, call.args,
                                     call.nargs);
}

int
_PyStackless_DeleteAttr(PyThreadState *tstate, _PyInterpreterFrame *frame,
                        PyObject **stack_pointer, int oparg)
{
    PyObject *name = PyTuple_GET_ITEM(_PyFrame_GetCode(frame)->co_names, oparg);
    python_call call;
    return find_setter(stack_pointer[-1], name, NULL, &call)
           && _PyStackless_BeginCall(tstate, frame, stack_pointer, 1, 1, CONTINUE_DROP,
                                     NULL, NULL, 0, call.func, call.self, call.args,
                                     call.nargs);
}
