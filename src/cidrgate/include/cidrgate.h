/* cidrgate for other native code: look up the row of an account once, then check addresses without Python objects.
 *
 *     const cidrgate_api *cidrgate = cidrgate_import();            // once, with the GIL; NULL and an exception on failure
 *     const cidrgate_matcher *matcher = cidrgate->matcher(object); // with the GIL; valid while the object lives
 *     void *reader = cidrgate->enter(matcher);
 *     int32_t row = cidrgate->row(matcher, "acct-1", 6);           // CIDRGATE_UNKNOWN_ROW for an unknown account
 *     if (cidrgate->allows_ipv4(matcher, row, 0x08080808)) { ... } // exactly 1 or 0; whatever is in doubt is 0
 *     cidrgate->leave(reader);
 *
 * Between enter() and leave(), any thread may call every function except cidrgate_import() and matcher(), with or
 * without the GIL, while other threads publish. The memory of replaced lists is not freed until every reader inside has
 * left, so leave soon. Readers never wait, and enter() never returns NULL. A row is valid until its account is
 * discarded or Matcher.adopt() replaces all lists. After that allows_*() returns 0, check_*() returns
 * CIDRGATE_INVALID_ROW, and row() returns the new row. A row belongs to one matcher: never ask another matcher about it.
 *
 * Matcher.publish(), link() and discard() do not wait for readers. Matcher.adopt() waits for as long as one is inside,
 * and other changes wait for a running adopt(). So a thread must never change a matcher between its own enter() and
 * leave(): adopt() would wait for itself, until a signal.
 *
 * A list whose mode is `report_only` or `off` allows every address; what would be denied is reported by a Gate only.
 *
 * A matcher knows nothing of staleness: with RuleManager(on_stale="deny"), ask `manager.stale` too, now and then.
 *
 * A thread that holds the GIL need not call enter(). A free-threaded Python has no GIL: there, always call enter().
 *
 * Compatibility: functions are only appended to `cidrgate_api`, so a caller that was compiled for this header works with
 * every later cidrgate of the same CIDRGATE_ABI_VERSION. Statuses may be added: treat an unknown status as a denial.
 */
#ifndef CIDRGATE_H
#define CIDRGATE_H

#include <Python.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What compiled callers rely on: the beginning of `cidrgate_api`, and what its functions mean. */
#define CIDRGATE_ABI_VERSION 3
#define CIDRGATE_API_NAME "cidrgate._engine._api"

/* The row of every unknown account. It has no list, so allows_*() returns 1: compare the row first to deny it. */
#define CIDRGATE_UNKNOWN_ROW (-1)

/* The statuses of check_*(). allows_*() is 1 for CIDRGATE_ALLOWED and CIDRGATE_UNKNOWN_ACCOUNT, and 0 for all others. */
#define CIDRGATE_DENIED 0
#define CIDRGATE_ALLOWED 1
#define CIDRGATE_INVALID_ADDRESS 2 /* the text is not an address */
#define CIDRGATE_INVALID_ROW 3     /* the row is not valid (any more): call row() again */
#define CIDRGATE_UNKNOWN_ACCOUNT 4 /* the row is CIDRGATE_UNKNOWN_ROW */

typedef struct cidrgate_matcher cidrgate_matcher;

typedef struct {
    uint32_t abi_version; /* CIDRGATE_ABI_VERSION of the installed cidrgate */
    uint32_t size;        /* the bytes of its `cidrgate_api`, which tell which functions it has */
    uint64_t reserved[2]; /* 0; a later version may use them for what its callers may ignore */
    /* Returns the matcher inside a cidrgate.Matcher; for any other object NULL, with a TypeError. */
    const cidrgate_matcher *(*matcher)(PyObject *object);
    /* Returns the row of an account, by its name in UTF-8. */
    int32_t (*row)(const cidrgate_matcher *matcher, const char *account, size_t size);
    /* Return exactly 1 if the address is allowed, else 0: IPv4 as a number, 16 octets in network order, or ASCII text of
     * either family. */
    int (*allows_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address);
    int (*allows_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets);
    int (*allows_text)(const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size);
    /* Return a status, which says why. More than one status is not zero. */
    int (*check_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address);
    int (*check_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets);
    int (*check_text)(const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size);
    /* Begin and end reading, in any thread; pass the result of enter() to leave(). */
    void *(*enter)(const cidrgate_matcher *matcher);
    void (*leave)(void *reader);
} cidrgate_api;

/* Returns the functions of the installed cidrgate; NULL, with an ImportError, if it is missing, has another ABI, or is
 * too old. */
static inline const cidrgate_api *cidrgate_import(void) {
    const cidrgate_api *api;
    PyObject *engine = PyImport_ImportModule("cidrgate._engine"); /* which `cidrgate` itself loads only when it is used */
    if (engine == NULL) return NULL;
    Py_DECREF(engine);
    api = (const cidrgate_api *)PyCapsule_Import(CIDRGATE_API_NAME, 0);
    if (api == NULL) return NULL;
    if (api->abi_version != CIDRGATE_ABI_VERSION) {
        PyErr_Format(PyExc_ImportError,
                     "this module was compiled for version %d of cidrgate's native interface, and the installed cidrgate "
                     "has version %u: compile it again",
                     CIDRGATE_ABI_VERSION, (unsigned)api->abi_version);
        return NULL;
    }
    if (api->size < sizeof(cidrgate_api)) {
        PyErr_SetString(PyExc_ImportError, "this module was compiled for a later cidrgate than the installed one: "
                                           "upgrade cidrgate");
        return NULL;
    }
    return api;
}

#ifdef __cplusplus
}
#endif

#endif
