/* cidrgate for other native code: resolve an account to a row once, then ask without Python objects.
 *
 *     const cidrgate_api *cidrgate = cidrgate_import();           // once, with the GIL; NULL and an exception on failure
 *     const cidrgate_matcher *matcher = cidrgate->matcher(object);// with the GIL; valid while the object lives
 *     void *reader = cidrgate->enter(matcher);
 *     int32_t row = cidrgate->row(matcher, "acct-1", 6);          // CIDRGATE_UNKNOWN for an unknown one
 *     int answer = cidrgate->allows_ipv4(matcher, row, 0x08080808);
 *     cidrgate->leave(reader);
 *
 * Between enter() and leave() everything but cidrgate_import() and matcher() may be called from any thread, with the GIL
 * or without, while others publish: memory of replaced lists is kept until every reader that was inside has left. Neither
 * ever waits. Leave soon, as nothing is freed meanwhile. A row is good until its account is discarded, or all lists are
 * replaced by Matcher.adopt(); the answer is CIDRGATE_NO_ROW then, and row() gives the new one.
 *
 * Whoever holds the GIL need not enter, but a free-threaded Python has none: there, always enter.
 */
#ifndef CIDRGATE_H
#define CIDRGATE_H

#include <Python.h>
#include <stddef.h>
#include <stdint.h>

#define CIDRGATE_API_VERSION 1
#define CIDRGATE_API_NAME "cidrgate._engine._api"

/* The row of an account that is unknown; it may act from everywhere, as an account without entries may. */
#define CIDRGATE_UNKNOWN (-1)

/* Answers. Whoever asks must treat everything but CIDRGATE_ALLOWED as a denial. */
#define CIDRGATE_DENIED 0
#define CIDRGATE_ALLOWED 1
#define CIDRGATE_NO_ADDRESS (-1) /* the text is no address */
#define CIDRGATE_NO_ROW (-2)     /* the row is nobody's (any more): ask for it again */

typedef struct cidrgate_matcher cidrgate_matcher;

typedef struct {
    uint32_t version;
    /* The matcher inside a cidrgate.Matcher; NULL and a TypeError for any other object. */
    const cidrgate_matcher *(*matcher)(PyObject *object);
    /* The row of an account, by its name in UTF-8. */
    int32_t (*row)(const cidrgate_matcher *matcher, const char *account, size_t size);
    /* Whether an address may act: IPv4 as a number, 16 octets in network order, or ASCII text of either family. */
    int (*allows_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address);
    int (*allows_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets);
    int (*allows_text)(const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size);
    /* Begin to ask, and end it with what enter() gave, in any thread. */
    void *(*enter)(const cidrgate_matcher *matcher);
    void (*leave)(void *reader);
} cidrgate_api;

/* The functions of the installed cidrgate; NULL and an exception when it is missing or its version is another one. */
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
