/* A C extension of an application: counts the requests of a log that an account's list allows, without the GIL. */
#define PY_SSIZE_T_CLEAN
#include <cidrgate.h>

#include <string.h>

static const cidrgate_api *cidrgate;

static PyObject *count_allowed(PyObject *module, PyObject *arguments) {
    PyObject *object;
    const char *account, *log;
    Py_ssize_t account_size, log_size;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "Os#s#", &object, &account, &account_size, &log, &log_size)) return NULL;
    const cidrgate_matcher *matcher = cidrgate->matcher(object);
    if (matcher == NULL) return NULL;
    long allowed = 0;
    Py_BEGIN_ALLOW_THREADS
    void *reader = cidrgate->enter(matcher);
    int32_t row = cidrgate->row(matcher, account, (size_t)account_size);
    for (const char *line = log, *end; row != CIDRGATE_UNKNOWN_ROW && line < log + log_size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(log + log_size - line));
        if (end == NULL) end = log + log_size;
        allowed += cidrgate->allows_text(matcher, row, line, (size_t)(end - line));
    }
    cidrgate->leave(reader);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(allowed);
}

static PyMethodDef methods[] = {
    {"count_allowed", count_allowed, METH_VARARGS, "How many lines of a log are addresses that an account allows."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "gatekeeper", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_gatekeeper(void) {
    cidrgate = cidrgate_import();
    return cidrgate == NULL ? NULL : PyModule_Create(&definition);
}
