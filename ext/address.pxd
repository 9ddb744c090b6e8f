"""Addresses and prefixes as plain structs, and the only parser and formatter of their text.

Bits are left-aligned: an IPv6 address is `hi` (first 64 bits) and `lo` (last 64 bits); an IPv4 address is the upper
half of `hi`. So both families share the code for masks, covering and ordering. This file converts an IPv4-mapped IPv6
address (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2) to IPv4; no other file ever sees it as IPv6.

The parser accepts exactly the text that the standard library's `ipaddress` accepts, except zone ids (RFC 4007): a zone
id names an interface of one machine and has no meaning in a list.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native cimport network32, network64

cdef enum:
    IPV4 = 4
    IPV6 = 6
    # "ffff:" six times, a dotted quad, "/128"
    MAX_TEXT = 48

cdef struct Address:
    uint64_t hi
    uint64_t lo
    int family

cdef struct Prefix:
    Address first
    int length


cdef extern from "quad.h" nogil:
    # Parses a strict dotted quad: four decimal octets, no leading zeros, nothing else.
    bint parse_ipv4 "cidrgate_quad" (const uint8_t *text, Py_ssize_t size, uint32_t *result) noexcept
    # Does the same byte by byte, for processors without the vector form.
    bint parse_ipv4_bytes "cidrgate_quad_bytes" (const uint8_t *text, Py_ssize_t size, uint32_t *result) noexcept
    void prepare_parser "cidrgate_quad_prepare" () noexcept


cdef extern from "groups.h" nogil:
    # Parses IPv6 text without a dotted quad; returns False if the byte-by-byte parser must decide.
    bint parse_groups "cidrgate_groups" (
        const uint8_t *text, Py_ssize_t size, uint64_t *hi, uint64_t *lo) noexcept


cdef inline int hex_digit(uint8_t character) noexcept nogil:
    """Return the value of a hexadecimal digit, or -1."""
    cdef uint8_t letter = character | 0x20
    if c"0" <= character <= c"9":
        return character - c"0"
    if c"a" <= letter <= c"f":
        return letter - c"a" + 10
    return -1


cdef inline bint parse_ipv6(const uint8_t *text, Py_ssize_t size, Address *result) noexcept nogil:
    """Parse IPv6 text in any form."""
    if parse_groups(text, size, &result.hi, &result.lo):
        result.family = IPV6
        return True
    return parse_ipv6_bytes(text, size, result)


cdef inline bint parse_ipv6_bytes(const uint8_t *text, Py_ssize_t size, Address *result) noexcept nogil:
    """Parse RFC 4291 section 2.2 byte by byte: eight groups, one `::` for zeros, an optional dotted quad at the end."""
    cdef uint16_t groups[8]
    cdef int count = 0, skip = -1, digit, index, width
    cdef uint32_t group, quad
    cdef Py_ssize_t at = 0, start
    if size < 2 or size > 45:
        return False
    if text[0] == c":":
        if text[1] != c":":
            return False
        skip = 0
        at = 2
    while at < size:
        start = at
        group = 0
        width = 0
        while at < size and width < 4:
            digit = hex_digit(text[at])
            if digit < 0:
                break
            group = group << 4 | <uint32_t>digit
            width += 1
            at += 1
        if width == 0 or count == 8:
            return False
        if at < size and text[at] == c".":
            if count > 6 or not parse_ipv4(text + start, size - start, &quad):
                return False
            groups[count] = quad >> 16
            groups[count + 1] = quad & 0xFFFF
            count += 2
            break
        groups[count] = <uint16_t>group
        count += 1
        if at == size:
            break
        if text[at] != c":":
            return False
        at += 1
        if at == size:
            return False
        if text[at] == c":":
            if skip >= 0:
                return False
            skip = count
            at += 1
    if skip < 0:
        if count != 8:
            return False
    else:
        if count == 8:
            return False
        for index in range(count - skip):
            groups[7 - index] = groups[count - 1 - index]
        for index in range(skip, skip + 8 - count):
            groups[index] = 0
    result.hi = (<uint64_t>groups[0] << 48 | <uint64_t>groups[1] << 32 | <uint64_t>groups[2] << 16 | groups[3])
    result.lo = (<uint64_t>groups[4] << 48 | <uint64_t>groups[5] << 32 | <uint64_t>groups[6] << 16 | groups[7])
    result.family = IPV6
    return True


cdef inline void set_ipv4(Address *address, uint32_t value) noexcept nogil:
    """Set the IPv4 address from a 32-bit number."""
    address.hi = <uint64_t>value << 32
    address.lo = 0
    address.family = IPV4


cdef inline bint is_mapped(const Address *address) noexcept nogil:
    """Return whether an IPv6 address is inside `::ffff:0:0/96`."""
    return address.hi == 0 and address.lo >> 32 == 0xFFFF


cdef inline void normalise(Address *address) noexcept nogil:
    """Convert an IPv4-mapped IPv6 address to IPv4."""
    if is_mapped(address):
        set_ipv4(address, <uint32_t>address.lo)


cdef inline bint parse_address(const uint8_t *text, Py_ssize_t size, Address *result) noexcept nogil:
    """Parse an address of either family from ASCII text; return False if the text is not an address."""
    cdef uint32_t quad
    if parse_ipv4(text, size, &quad):
        set_ipv4(result, quad)
        return True
    return parse_ipv6_address(text, size, result)


cdef inline bint parse_ipv6_address(const uint8_t *text, Py_ssize_t size, Address *result) noexcept nogil:
    """Parse an address from IPv6 text; an IPv4-mapped one is an IPv4 address."""
    if not parse_ipv6(text, size, result):
        return False
    normalise(result)
    return True


cdef inline void unpack_address(const uint8_t *octets, int size, Address *result) noexcept nogil:
    """Read an address from its 4 or 16 octets in network order."""
    if size == 4:
        set_ipv4(result, network32(octets))
    else:
        result.hi = network64(octets)
        result.lo = network64(octets + 8)
        result.family = IPV6
        normalise(result)


cdef inline uint64_t high_bits(int count) noexcept nogil:
    """Return a 64-bit mask of the `count` most significant bits; `count` may be outside 0..64."""
    if count <= 0:
        return 0
    if count >= 64:
        return <uint64_t>-1
    return ~(<uint64_t>-1 >> count)


cdef inline bint has_host_bits(const Prefix *prefix) noexcept nogil:
    """Return whether an address bit beyond the prefix length is set."""
    return ((prefix.first.hi & ~high_bits(prefix.length)) | (prefix.first.lo & ~high_bits(prefix.length - 64))) != 0


cdef inline bint parse_prefix(const uint8_t *text, Py_ssize_t size, Prefix *result) noexcept nogil:
    """Parse `address/length` strictly: no host bits, no leading zeros; return False if the text is not a prefix."""
    cdef Py_ssize_t slash = size - 1
    cdef uint32_t quad
    cdef int length = 0, digit
    cdef Py_ssize_t at
    while slash >= 0 and size - slash <= 4 and text[slash] != c"/":
        slash -= 1
    if slash < 0 or size - slash > 4 or slash == size - 1:
        return False
    for at in range(slash + 1, size):
        digit = <int>text[at] - c"0"
        if digit < 0 or digit > 9 or (length == 0 and at > slash + 1):
            return False
        length = length * 10 + digit
    result.length = length
    if parse_ipv4(text, slash, &quad):
        set_ipv4(&result.first, quad)
        return length <= 32 and not has_host_bits(result)
    if not parse_ipv6(text, slash, &result.first) or length > 128 or has_host_bits(result):
        return False
    if length >= 96 and is_mapped(&result.first):
        normalise(&result.first)
        result.length = length - 96
    return True


cdef inline int write_decimal(uint32_t value, uint8_t *text) noexcept nogil:
    """Write a number below 1,000; return the number of characters."""
    cdef int size = 0
    if value >= 100:
        text[size] = c"0" + value // 100
        size += 1
    if value >= 10:
        text[size] = c"0" + value // 10 % 10
        size += 1
    text[size] = c"0" + value % 10
    return size + 1


cdef inline int write_hex(uint32_t value, uint8_t *text) noexcept nogil:
    """Write a 16-bit number in lower-case hexadecimal; return the number of characters."""
    cdef int size = 0, shift = 12
    while shift > 0 and not value >> shift:
        shift -= 4
    while shift >= 0:
        text[size] = b"0123456789abcdef"[value >> shift & 15]
        size += 1
        shift -= 4
    return size


cdef inline int write_address(const Address *address, uint8_t *text) noexcept nogil:
    """Write canonical text (RFC 5952) into a buffer of `MAX_TEXT`; return the number of characters."""
    cdef uint32_t groups[8]
    cdef int size = 0, index, run, skip = -1, skipped = 1
    if address.family == IPV4:
        for index in range(4):
            if index:
                text[size] = c"."
                size += 1
            size += write_decimal(<uint32_t>(address.hi >> (56 - 8 * index)) & 255, text + size)
        return size
    for index in range(4):
        groups[index] = <uint32_t>(address.hi >> (48 - 16 * index)) & 0xFFFF
        groups[index + 4] = <uint32_t>(address.lo >> (48 - 16 * index)) & 0xFFFF
    run = 0
    for index in range(8):
        run = run + 1 if groups[index] == 0 else 0
        if run > skipped:
            skipped = run
            skip = index + 1 - run
    index = 0
    while index < 8:
        if index == skip:
            text[size] = c":"
            text[size + 1] = c":"
            size += 2
            index += skipped
            continue
        if index and index != skip + skipped:
            text[size] = c":"
            size += 1
        size += write_hex(groups[index], text + size)
        index += 1
    return size


cdef inline int write_prefix(const Prefix *prefix, uint8_t *text) noexcept nogil:
    """Write canonical `address/length` into a buffer of `MAX_TEXT`; return the number of characters."""
    cdef int size = write_address(&prefix.first, text)
    text[size] = c"/"
    return size + 1 + write_decimal(prefix.length, text + size + 1)


cdef inline bint same_network(
    uint64_t hi, uint64_t lo, uint64_t other_hi, uint64_t other_lo, int length
) noexcept nogil:
    """Return whether the first `length` bits of two addresses of one family are equal."""
    return (((hi ^ other_hi) & high_bits(length)) | ((lo ^ other_lo) & high_bits(length - 64))) == 0
