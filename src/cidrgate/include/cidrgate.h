/* cidrgate for other native code: look up the row of an account once, then check addresses without Python objects.
 *
 *     const cidrgate_api *cidrgate = cidrgate_import();           // once, with the GIL; NULL and an exception on failure
 *     const cidrgate_matcher *matcher = cidrgate->matcher(object);// with the GIL; valid while the object lives
 *     void *reader = cidrgate->enter(matcher);
 *     int32_t row = cidrgate->row(matcher, "acct-1", 6);          // CIDRGATE_UNKNOWN for an unknown one
 *     int answer = cidrgate->allows_ipv4(matcher, row, 0x08080808);
 *     cidrgate->leave(reader);
 *
 * Between enter() and leave(), any thread may call every function except cidrgate_import() and matcher(), with or
 * without the GIL, while other threads publish. The memory of replaced lists is not freed until every reader inside has
 * left, so leave soon. Neither readers nor writers wait. A row is valid until its account is discarded or
 * Matcher.adopt() replaces all lists. After that, the result is CIDRGATE_NO_ROW, and row() returns the new row.
 *
 * A thread that holds the GIL need not call enter(). A free-threaded Python has no GIL: there, always call enter().
 */
#ifndef CIDRGATE_H
#define CIDRGATE_H

#include <Python.h>
#include <stddef.h>
#include <stdint.h>

#define CIDRGATE_API_VERSION 1
#define CIDRGATE_API_NAME "cidrgate._engine._api"

/* The row of an unknown account. It allows every address, like an account without entries. */
#define CIDRGATE_UNKNOWN (-1)

/* Results. The caller must treat every result except CIDRGATE_ALLOWED as a denial. */
#define CIDRGATE_DENIED 0
#define CIDRGATE_ALLOWED 1
#define CIDRGATE_NO_ADDRESS (-1) /* the text is not an address */
#define CIDRGATE_NO_ROW (-2)     /* the row is not valid (any more): call row() again */

typedef struct cidrgate_matcher cidrgate_matcher;

typedef struct {
    uint32_t version;
    /* Returns the matcher inside a cidrgate.Matcher; for any other object NULL, with a TypeError. */
    const cidrgate_matcher *(*matcher)(PyObject *object);
    /* Returns the row of an account, by its name in UTF-8. */
    int32_t (*row)(const cidrgate_matcher *matcher, const char *account, size_t size);
    /* Check an address: IPv4 as a number, 16 octets in network order, or ASCII text of either family. */
    int (*allows_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address);
    int (*allows_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets);
    int (*allows_text)(const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size);
    /* Begin and end reading, in any thread; pass the result of enter() to leave(). */
    void *(*enter)(const cidrgate_matcher *matcher);
    void (*leave)(void *reader);
} cidrgate_api;

/* Returns the functions of the installed cidrgate; NULL, with an exception, if it is missing or has another version. */
static inline const cidrgate_api *cidrgate_import(void) {
    const cidrgate_api *api = (const cidrgate_api *)PyCapsule_Import(CIDRGATE_API_NAME, 0);
    if (api != NULL && api->version != CIDRGATE_API_VERSION) {
        PyErr_Format(PyExc_ImportError, "compiled for version %d of cidrgate's native interface, not %u",
                     CIDRGATE_API_VERSION, (unsigned)api->version);
        return NULL;
    }
    return api;
}

#endif
