/* The engine as one C file: Cython's output for `_engine.pyx`, compiled with the instructions of the target.
 *
 * On x86-64, these are the instructions of x86-64-v2 (SSE4.2 and POPCNT), which numpy requires too. The target is the
 * architecture that the compiler reports, not the machine that compiles. A pragma, not a compiler flag, enables the
 * instructions for each function. So the code outside the pragma runs on every x86-64 processor: when the module is
 * imported, it checks the processor and raises an error, so that no illegal instruction ends the process.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "ranks.h"

#if defined(__x86_64__)
#define CIDRGATE_X86_64_V2 1
#include <smmintrin.h>
static int cidrgate_processor_will_do(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
}
#else
static int cidrgate_processor_will_do(void) { return 1; }
#endif

#if defined(CIDRGATE_X86_64_V2)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("sse4.2,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("sse4.2,popcnt")
#endif
#endif

#define PyInit__engine cidrgate_init_engine
#include "_engine.c"
#undef PyInit__engine

#if defined(CIDRGATE_X86_64_V2)
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

PyMODINIT_FUNC PyInit__engine(void) {
    if (!cidrgate_processor_will_do()) {
        PyErr_SetString(PyExc_ImportError,
                        "cidrgate needs an x86-64 processor with SSE4.2 and POPCNT (x86-64-v2, built since 2009), and "
                        "this processor lacks them; if this is a virtual machine, choose another processor model for it");
        return NULL;
    }
    return cidrgate_init_engine();
}
