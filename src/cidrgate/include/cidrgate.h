/* cidrgate for other native code: resolve an account to a row once, then ask without Python objects.
 *
 *     const cidrgate_api *cidrgate = cidrgate_import();            // once, with the GIL; NULL and an exception on failure
 *     const cidrgate_matcher *matcher = cidrgate->matcher(object); // with the GIL; valid while the object lives
 *     void *reader = cidrgate->enter(matcher);
 *     int32_t row = cidrgate->row(matcher, "acct-1", 6);           // CIDRGATE_UNKNOWN_ROW for an unknown account
 *     if (cidrgate->allows_ipv4(matcher, row, 0x08080808)) { ... } // exactly 1 or 0; whatever is in doubt is 0
 *     cidrgate->leave(reader);
 *
 * Between enter() and leave() any thread may call everything but cidrgate_import() and matcher(), with the GIL or
 * without it, while others publish: the memory of replaced lists is kept until every reader that was inside has left.
 * Neither ever waits, and enter() never returns NULL. Leave soon, as nothing is freed meanwhile. A row is good until its
 * account is discarded, or Matcher.adopt() replaces all lists. allows_*() is 0 then, check_*() says CIDRGATE_INVALID_ROW,
 * and row() gives the new row.
 *
 * A caller that holds the GIL need not enter, but a free-threaded Python has none: there, always enter.
 *
 * Compatibility: functions are only ever appended to `cidrgate_api`, so a caller that was compiled for this header works
 * with every later cidrgate of the same CIDRGATE_ABI_VERSION. Statuses may be added: a status that you do not know is a
 * denial.
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
#define CIDRGATE_ABI_VERSION 2
#define CIDRGATE_API_NAME "cidrgate._engine._api"

/* The row of every account that is unknown. It has no list, so allows_*() is 1: compare the row first to deny it. */
#define CIDRGATE_UNKNOWN_ROW (-1)

/* What check_*() says. allows_*() is 1 for CIDRGATE_ALLOWED and CIDRGATE_UNKNOWN_ACCOUNT, and 0 for everything else. */
#define CIDRGATE_DENIED 0
#define CIDRGATE_ALLOWED 1
#define CIDRGATE_INVALID_ADDRESS 2 /* the text is no address */
#define CIDRGATE_INVALID_ROW 3     /* no account has the row (any more): ask row() again */
#define CIDRGATE_UNKNOWN_ACCOUNT 4 /* the row is CIDRGATE_UNKNOWN_ROW */

typedef struct cidrgate_matcher cidrgate_matcher;

typedef struct {
    uint32_t abi_version; /* CIDRGATE_ABI_VERSION of the cidrgate that is installed */
    uint32_t size;        /* bytes of its `cidrgate_api`: which functions it has */
    /* The matcher inside a cidrgate.Matcher; NULL and a TypeError for any other object. */
    const cidrgate_matcher *(*matcher)(PyObject *object);
    /* The row of an account, by its name in UTF-8. */
    int32_t (*row)(const cidrgate_matcher *matcher, const char *account, size_t size);
    /* Whether an address may act: IPv4 as a number, 16 octets in network order, or ASCII text of either family.
     * Exactly 1 or 0. */
    int (*allows_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address);
    int (*allows_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets);
    int (*allows_text)(const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size);
    /* The same, and why: a status, of which more than one is not zero. */
    int (*check_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address);
    int (*check_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets);
    int (*check_text)(const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size);
    /* Begin to ask, and end it with what enter() gave, in any thread. */
    void *(*enter)(const cidrgate_matcher *matcher);
    void (*leave)(void *reader);
} cidrgate_api;

/* The functions of the installed cidrgate; NULL and an ImportError if it is missing, of another ABI, or too old. */
static inline const cidrgate_api *cidrgate_import(void) {
    const cidrgate_api *api = (const cidrgate_api *)PyCapsule_Import(CIDRGATE_API_NAME, 0);
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
