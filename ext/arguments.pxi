"""Converts Python objects to addresses and prefixes; an error names an invalid object. Part of `_engine.pyx`."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free

from address cimport (
    MAX_TEXT, Address, Prefix, parse_ipv4, parse_ipv4_bytes, parse_ipv6_address, parse_ipv6_bytes, parse_prefix,
    prepare_parser, set_ipv4, unpack_address, write_address, write_prefix,
)
from build cimport Item
from counters cimport limits, most
from native cimport UNLOCKED, allocate_array, fold, fold_portable

from cidrgate.errors import InvalidAddressError

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    const uint8_t *ascii_text "(const uint8_t *)PyUnicode_1BYTE_DATA" (object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

# The longest text that an error quotes: a client may send text of any length.
cdef enum: QUOTED = 80

prepare_parser()


cdef str counted(Py_ssize_t count, str thing):
    """Return a number with the word for what it counts."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}{'es' if thing.endswith('x') else 's'}"


cdef str quoted(object value):
    """Return a value as an error quotes it."""
    cdef str text = repr(value)
    return text if len(text) <= QUOTED else text[:QUOTED] + "…"


cdef object not_an_address(object value):
    """Return the error for an invalid address."""
    return InvalidAddressError(
        f"{quoted(value)} is not an IP address: write IPv4 as 203.0.113.5 and IPv6 as 2001:db8::5, without a zone, "
        "a length or spaces"
    )


cdef str no_kind_of_address(str what, object value):
    """Return the error message for an object whose type is none of those of addresses."""
    return f"{what} must be a str, packed bytes (4 or 16) or an ipaddress object, not {type(value).__name__}"


cdef object not_a_prefix(object value):
    """Return the error for an invalid prefix."""
    return InvalidAddressError(
        f"{quoted(value)} is not a network prefix: write address/length with no bits set beyond the length, "
        "such as 203.0.113.0/24 or 2001:db8::/32"
    )


cdef str exact_text(object value, str what):
    """Return the text of an argument that must be a `str`: of a subclass, whatever its methods return."""
    if type(value) is str:
        return <str>value
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    return str.__str__(value)


cdef inline bint text_address(str text, Address *address) noexcept:
    """Read an address from a `str`; return False if it is not an address."""
    cdef uint32_t quad
    if not PyUnicode_IS_COMPACT_ASCII(text):
        return False
    # As `parse_address`, but only the short way is compiled into each caller.
    if parse_ipv4(ascii_text(text), PyUnicode_GET_LENGTH(text), &quad):
        set_ipv4(address, quad)
        return True
    return parse_ipv6_address(ascii_text(text), PyUnicode_GET_LENGTH(text), address)


cdef inline bint text_prefix(str text, Prefix *prefix) noexcept:
    """Read a prefix from a `str`; return False if it is not a prefix."""
    return PyUnicode_IS_COMPACT_ASCII(text) and parse_prefix(ascii_text(text), PyUnicode_GET_LENGTH(text), prefix)


cdef int read_object(object value, Address *address) except -1:
    """Read an address from an object whose type is not exactly `str`."""
    cdef object packed = value
    if isinstance(value, str):
        if not text_address(str.__str__(value), address):
            raise not_an_address(value)
        return 0
    if not isinstance(value, bytes):
        if not isinstance(value, (IPv4Address, IPv6Address)):
            raise TypeError(no_kind_of_address("an address", value))
        if getattr(value, "scope_id", None) is not None:
            raise not_an_address(value)
        packed = value.packed
        # A subclass may return anything.
        if not isinstance(packed, bytes):
            raise TypeError(f"packed of {type(value).__name__} must be bytes, not {type(packed).__name__}")
    elif type(value) is not bytes and type(value).__module__ == "numpy":
        raise TypeError(
            "an address must not be numpy.bytes_, because NumPy leaves out zero octets at the end: pass bytes, or an "
            "array of the type uint32 for IPv4, and of the type uint8 with the shape (n, 16) for IPv6")
    if PyBytes_GET_SIZE(packed) not in (4, 16):
        raise not_an_address(value)
    unpack_address(<const uint8_t *>PyBytes_AS_STRING(packed), <int>PyBytes_GET_SIZE(packed), address)
    return 0


cdef inline int read(object value, Address *address) except -1:
    """Read an address argument."""
    if type(value) is str:
        if not text_address(<str>value, address):
            raise not_an_address(value)
        return 0
    return read_object(value, address)


cdef int read_prefix(object value, Prefix *prefix) except -1:
    """Read a prefix argument."""
    cdef object text = value
    if isinstance(value, (IPv4Network, IPv6Network)):
        text = str(value)
    elif not isinstance(value, str):
        raise TypeError(f"a prefix must be a str or an ipaddress network, not {type(value).__name__}")
    if not text_prefix(str.__str__(text), prefix):
        raise not_a_prefix(value)
    return 0


cdef bint is_prefix_argument(object value) except -1:
    """Return whether an argument that may be an address or a prefix is a prefix: a network, or text with a slash."""
    cdef str text
    if isinstance(value, str):
        text = str.__str__(value)
        return "/" in text
    return isinstance(value, (IPv4Network, IPv6Network))


cdef str prefix_text(const Prefix *prefix):
    """Return the canonical text of a prefix."""
    cdef uint8_t text[MAX_TEXT]
    return PyUnicode_DecodeASCII(<char *>text, write_prefix(prefix, text), NULL)


def canonical_address(object text):
    """Return the canonical text of an address.

    Args:
        text: IPv4 or IPv6 in strict form: no port, no brackets, no zone, no leading zeros in IPv4, no spaces.

    Returns:
        Text as in RFC 5952. An IPv4-mapped IPv6 address is returned as IPv4.

    Raises:
        InvalidAddressError: If the text is not an address.

    Example:
        >>> canonical_address("2606:4700:0::1"), canonical_address("::ffff:8.8.8.8")
        ('2606:4700::1', '8.8.8.8')
    """
    cdef Address address
    cdef uint8_t form[MAX_TEXT]
    if not text_address(exact_text(text, "an address"), &address):
        raise not_an_address(text)
    return PyUnicode_DecodeASCII(<char *>form, write_address(&address, form), NULL)


def canonical_prefix(object text):
    """Return the canonical text of a network prefix.

    Args:
        text: `address/length` in strict form: no bits beyond the length, no zone, no leading zeros, no spaces.

    Returns:
        Text as in RFC 5952. An IPv4-mapped IPv6 prefix is returned as IPv4.

    Raises:
        InvalidAddressError: If the text is not a prefix.

    Example:
        >>> canonical_prefix("2606:4700:0:0::/32")
        '2606:4700::/32'
    """
    cdef Prefix prefix
    if not text_prefix(exact_text(text, "a prefix"), &prefix):
        raise not_a_prefix(text)
    return prefix_text(&prefix)


def _portable_parse(str text not None, /):
    """Parse an address with the parsers for processors without the vector forms; return it packed, or None."""
    cdef Address address
    cdef uint32_t number
    if PyUnicode_IS_COMPACT_ASCII(text):
        if parse_ipv4_bytes(ascii_text(text), PyUnicode_GET_LENGTH(text), &number):
            return int(number).to_bytes(4, "big")
        if parse_ipv6_bytes(ascii_text(text), PyUnicode_GET_LENGTH(text), &address):
            return int(address.hi).to_bytes(8, "big") + int(address.lo).to_bytes(8, "big")
    return None


def _set_limit(str name not None, object value, /):
    """Lower one of the engine's limits in the whole process, or restore it with None. For tests of the limits."""
    cdef dict limit = {"prefixes": most.prefixes, "nodes": most.nodes, "words": most.words, "rows": most.rows,
                       "segments": most.segments}
    cdef uint32_t wanted = limit[name] if value is None else value
    if not 0 < wanted <= limit[name]:
        raise ValueError(f"{name} must be 1 to {limit[name]:,}, not {value!r}")
    if name == "prefixes":
        limits.prefixes = wanted
    elif name == "nodes":
        limits.nodes = wanted
    elif name == "words":
        limits.words = wanted
    elif name == "rows":
        limits.rows = wanted
    else:
        limits.segments = wanted


def _folded_products(uint64_t a, uint64_t b, /):
    """Return both forms of the folded product for hashing names: this target's form and the portable form."""
    return fold(a, b), fold_portable(a, b)


cdef Item *items_for(Py_ssize_t size) except NULL:
    """Allocate items for so many prefixes; the caller frees them."""
    cdef Item *items
    if size > limits.prefixes:
        raise OverflowError(f"a list may have at most {limits.prefixes:,} prefixes, not {size:,}")
    items = <Item *>allocate_array(size, sizeof(Item))
    if items == NULL:
        raise MemoryError
    return items


cdef bint read_texts(list texts, Item *items) noexcept:
    """Read a list of `str` without a copy of the list; return False at an element that is not the text of a prefix.

    No Python code runs meanwhile, so that the list cannot change where there is a GIL.
    """
    cdef Py_ssize_t index
    cdef object text
    for index in range(len(texts)):
        text = texts[index]
        if type(text) is not str or not text_prefix(<str>text, &items[index].prefix):
            return False
        items[index].order = <uint32_t>index
    return True


cdef Item *read_items(object prefixes, uint32_t *count) except NULL:
    """Read the prefixes of an iterable as items; the caller frees them."""
    # Iterating over one network would give all its addresses.
    if isinstance(prefixes, (str, bytes, IPv4Network, IPv6Network)):
        raise TypeError(f"prefixes must be an iterable of prefixes, not one {type(prefixes).__name__}: write [prefix]")
    cdef Item *items
    cdef tuple given
    cdef Py_ssize_t index
    if type(prefixes) is list and not UNLOCKED:
        items = items_for(len(<list>prefixes))
        if read_texts(<list>prefixes, items):
            count[0] = <uint32_t>len(<list>prefixes)
            return items
        free(items)
    # A copy: a caller's class or another thread may change the iterable while it is read.
    given = tuple(prefixes)
    items = items_for(len(given))
    try:
        for index in range(len(given)):
            value = given[index]
            if type(value) is not str or not text_prefix(<str>value, &items[index].prefix):
                read_prefix(value, &items[index].prefix)
            items[index].order = <uint32_t>index
    except BaseException:
        free(items)
        raise
    count[0] = <uint32_t>len(given)
    return items


cdef int check_named_once(list names, str account, str address) except -1:
    """Check that a table has each of two columns once."""
    for name in (account, address):
        if names.count(name) == 0:
            raise KeyError(f"the table has no column {name!r}")
        if names.count(name) > 1:
            raise KeyError(f"the table has {names.count(name)} columns {name!r}: rename those that are not meant")
    return 0
