/* The state of module _stackless, which has what is an interpreter's, as the types and the
   methods written in Python find it. */

#include "Python.h"
#include "pycore_code.h"          // PyCodeObject
#include "opcode_ids.h"           // RESUME
#include "pycore_opcode_metadata.h" // _PyOpcode_Caches
#include "Stackless/state/state.h"

PyObject *
_PyStackless_ModuleOfType(PyTypeObject *type)
{
    return PyType_GetModuleByDef(type, &_PyStackless_Module);
}

stackless_modstate *
_PyStackless_StateOfModule(PyObject *module)
{
    return PyModule_Check(module) && PyModule_GetDef(module) == &_PyStackless_Module
           ? PyModule_GetState(module) : NULL;
}

stackless_modstate *
_PyStackless_StateOfType(PyTypeObject *type)
{
    return PyModule_GetState(_PyStackless_ModuleOfType(type));
}

/* Makes all frames of a function incomplete, as those of the interpreter's own little
   code objects are.  Such code must not have a RESUME: that would try again and again
   to instrument what may not be instrumented. */
static void
hide_code(PyCodeObject *code)
{
    code->co_flags |= CO_NO_MONITORING_EVENTS;
    code->_co_firsttraceable = (int)Py_SIZE(code);
    for (int i = 0; i < Py_SIZE(code);
         i += 1 + _PyOpcode_Caches[_Py_GetBaseOpcode(code, i)]) {
        _Py_CODEUNIT *instr = &_PyCode_CODE(code)[i];
        if (_Py_GetBaseOpcode(code, i) == RESUME) {
            instr->op.code = NOP;
            instr->op.arg = 0;
        }
    }
}

PyObject *
_PyStackless_HiddenFunction(const char *source, const char *name, const char *global,
                            PyObject *value)
{
    PyObject *globals = Py_BuildValue("{s:O,s:s}", "__builtins__", PyEval_GetBuiltins(),
                                      "__name__", "stackless");
    PyObject *func = NULL;
    if (globals == NULL
        || (global != NULL && PyDict_SetItemString(globals, global, value) < 0)) {
        goto done;
    }
    PyObject *compiled = Py_CompileString(source, "<stackless>", Py_file_input);
    PyObject *res = compiled ? PyEval_EvalCode(compiled, globals, globals) : NULL;
    Py_XDECREF(compiled);
    if (res == NULL) {
        goto done;
    }
    Py_DECREF(res);
    if (PyDict_GetItemStringRef(globals, name, &func) == 1) {
        PyDict_DelItemString(globals, name);
        PyCodeObject *code = (PyCodeObject *)PyFunction_GET_CODE(func);
        hide_code(code);
    }
done:
    Py_XDECREF(globals);
    return func;
}
