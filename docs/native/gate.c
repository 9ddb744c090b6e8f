/* The same in C: a module with one function, allowed(matcher, account, text) -> bool. */
#define PY_SSIZE_T_CLEAN
#include <cidrgate.h>

static const cidrgate_api *cidrgate;

static PyObject *allowed(PyObject *module, PyObject *arguments) {
    PyObject *object;
    const char *account, *text;
    Py_ssize_t account_size, text_size;
    const cidrgate_matcher *matcher;
    void *reader;
    int status;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "Os#s#", &object, &account, &account_size, &text, &text_size)) return NULL;
    matcher = cidrgate->matcher(object);
    if (matcher == NULL) return NULL;
    reader = cidrgate->enter(matcher);
    do {
        /* Once more if the account was discarded, or all lists were replaced, between the two calls. */
        status = cidrgate->check_text(matcher, cidrgate->row(matcher, account, (size_t)account_size), text,
                                      (size_t)text_size);
    } while (status == CIDRGATE_INVALID_ROW);
    cidrgate->leave(reader);
    /* As Matcher.allows() answers. A service whose accounts are all known leaves the second status out. */
    return PyBool_FromLong(status == CIDRGATE_ALLOWED || status == CIDRGATE_UNKNOWN_ACCOUNT);
}

static PyMethodDef methods[] = {{"allowed", allowed, METH_VARARGS, "Whether an address may act for an account."},
                                {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "gate_c", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_gate_c(void) {
    PyObject *module;
    cidrgate = cidrgate_import();
    module = cidrgate == NULL ? NULL : PyModule_Create(&definition);
#if defined(Py_GIL_DISABLED)
    if (module != NULL) PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
    return module;
}
