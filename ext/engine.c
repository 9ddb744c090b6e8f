/* The engine as one unit of C: what Cython makes of `_engine.pyx`, compiled for the instructions that its target has.
 *
 * On x86-64 that is the second level of the architecture (SSE4.2 and POPCNT, as numpy asks for too). The target is what
 * the compiler says it compiles for, not the machine that it runs on, and each function gets the instructions by a
 * pragma, not by a flag. So what stands outside of the pragma runs on every x86-64 processor: it looks for them when
 * the module is imported, and says what is missing instead of letting the process die of an illegal instruction.
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
                        "this one lacks them; where a virtual machine hides them, choose another processor model for it");
        return NULL;
    }
    return cidrgate_init_engine();
}
