"""Lines of a text log, cut into sections, fields and times. `log_lines.pxi` makes the rules and runs them.

A line is cut at one character into sections: at quotes, at tabs, or nowhere. A field is a part of a section: its steps
narrow the section, one after the other. All text is part of the line, so nothing is copied before it is written:

    8.8.8.8 - - [10/Oct/2026:13:55:36 +0000] "GET /v1/a HTTP/1.1" 200 12
    |--------------- section 0 --------------|---- section 1 ----|- 2 -|
    |-----| part 1 at spaces                      |---| part 2 at spaces

The texts are hostile: they come from clients. They are valid UTF-8 as a rule, but no bound relies on it.
"""

from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t
from libc.stdlib cimport realloc
from libc.string cimport memcmp, memcpy

# Text in a line. Its start is NULL if there is none, as for a section that the line does not have.
cdef extern from "scan.h":
    # Cython has no object of Python for the last member, which C does not have: it would take the octets for a text
    # with a NUL at its end, to trace what a function returns.
    struct Text:
        const uint8_t *start
        Py_ssize_t size
        const void *untraced

cdef enum Action:
    PART                    # `count` parts between separators, or all if it is MOST_PLACES, from part `place` (from 1)
    DROP                    # without the first `place` and the last `count` characters; empty if there are fewer
    WITHOUT_PORT            # an address without the port behind its last colon, and without the brackets of IPv6
    PORT                    # what stands before the last colon and a port behind it, or the port if `place` is 2
    PEER                    # the first text without spaces before " [" that ends with a port, WITHOUT_PORT
    CAPTURES                # what the first of the one or two groups "{…} " at the end contains; empty if there is none
    TARGET                  # what a request line asks for, without scheme and authority; empty if it is cut off

cdef struct Step:
    Action action
    Text separator          # of PART
    Py_ssize_t place
    Py_ssize_t count

cdef struct Field:
    Py_ssize_t section      # from 0
    Py_ssize_t n_steps
    const Step *steps

# What a part has: the text before is the whole part, and has no separator, or the part begins and ends with these
# texts.
cdef struct Ends:
    Text before
    Text after
    bint whole

# A line is bad unless a field has so many separators, and its parts have these texts.
cdef struct Check:
    Field field
    Text separator
    Py_ssize_t count
    const Ends *ends        # one more than there are separators; NULL if the parts may be anything

# A column: its fields, with a space between them. A column without fields is empty.
cdef struct Column:
    Py_ssize_t n_fields
    const Field *fields
    bint dashed             # whether an empty field or a dash stands for no value
    int sign                # which character begins an octet that the server wrote as digits, or NO_SIGN

# An octet as servers write it: \x and two hexadecimal digits behind a backslash, two such digits behind # and %.
# A backslash also stands before a quote, a backslash, and the letters of \b, \n, \r, \t and \v.
cdef struct Encoded:
    Py_ssize_t size         # of what was written; 0 if it is no such octet
    uint8_t octet

cdef enum TimeForm:
    NO_TIME
    CLF                     # 10/Oct/2026:13:55:36 +0000
    HAPROXY                 # 10/Oct/2026:13:55:36.000 in UTC, with or without milliseconds

cdef struct Rules:
    int cutter              # the character between sections, or NO_CUTTER
    bint escaped            # whether a backslash before a quote says that it does not end a section
    Py_ssize_t least        # how many sections a line has at least
    Py_ssize_t most         # and at most; ANY_NUMBER for no limit
    Py_ssize_t kept         # how many of them hold fields
    Py_ssize_t n_checks
    const Check *checks
    TimeForm time_form
    Column time
    Text before             # what stands before a time, and behind it
    Text after

cdef enum: NO_CUTTER = -1
cdef enum: NO_SIGN = -1
# More sections, parts or characters are never asked for.
cdef enum: MOST_PLACES = 10_000
cdef enum: ANY_NUMBER = 0x7FFFFFFF

# The octets that an output has more than it needs when it grows.
cdef enum: LEAST_ROOM = 4096

# How many characters a path may have that every program reads in the same way.
cdef enum: LONGEST_CLEAR = 8000

cdef extern from "scan.h" nogil:
    const uint8_t *find_octet "cidrgate_find" (const uint8_t *text, size_t size, uint8_t octet) noexcept
    bint has_clear_path "cidrgate_is_clear_path" (const uint8_t *text, size_t size) noexcept

cdef extern from *:
    """
    /* The years 1 to 9999 in microseconds since 1970, which is what Python's times are of. */
    #define CIDRGATE_FIRST_TIME INT64_C(-62135596800000000)
    #define CIDRGATE_LAST_TIME INT64_C(253402300799999999)
    """
    const int64_t FIRST_TIME "CIDRGATE_FIRST_TIME"
    const int64_t LAST_TIME "CIDRGATE_LAST_TIME"

# The text of the last time up to its minute, and the seconds since 1970 of it. Nearly every line of a log is of the
# minute of the line before, so its date is not read again.
cdef enum: MINUTE_SIZE = 40
cdef struct Minute:
    Py_ssize_t size         # of the text; 0 if there is none
    int64_t seconds
    uint8_t octets[MINUTE_SIZE]

# A column of Arrow that grows: the bits of what is not null, the ends of the texts, and the texts.
cdef struct Output:
    uint8_t *valid
    int32_t *offsets
    uint8_t *octets
    Py_ssize_t size
    Py_ssize_t capacity
    Py_ssize_t nulls


cdef inline Text no_text() noexcept nogil:
    cdef Text text
    text.start = NULL
    text.size = 0
    return text


cdef inline Text sliced(const uint8_t *start, Py_ssize_t size) noexcept nogil:
    cdef Text text
    text.start = start
    text.size = size
    return text


cdef inline Py_ssize_t find(Text text, Text separator) noexcept nogil:
    """Return where a separator, which is not empty, begins in a text; the size of the text if it has none."""
    cdef Py_ssize_t at = 0, last = text.size - separator.size
    cdef const uint8_t *found
    while at <= last:
        found = find_octet(text.start + at, <size_t>(last - at + 1), separator.start[0])
        if found == NULL:
            break
        at = found - text.start
        if separator.size == 1 or (
                found[1] == separator.start[1] and memcmp(found, separator.start, <size_t>separator.size) == 0):
            return at
        at += 1
    return text.size


cdef inline bint is_at(const uint8_t *start, Text text) noexcept nogil:
    """Return whether a text stands where there is room for it."""
    return text.size == 0 or (start[0] == text.start[0] and (
        text.size == 1 or memcmp(start, text.start, <size_t>text.size) == 0))


cdef inline bint holds(const Check *check, Text text) noexcept nogil:
    """Return whether a text has the separators and the parts of a check."""
    cdef const Ends *ends
    cdef Py_ssize_t index, at, found = 0
    cdef uint8_t octet = check.separator.start[0]
    if check.ends == NULL and check.separator.size == 1:
        # To look at each octet takes less time than to search for separators that are near each other.
        for index in range(text.size):
            found += 1 if text.start[index] == octet else 0
        return found == check.count
    for index in range(check.count + 1):
        ends = check.ends + index if check.ends != NULL else NULL
        if ends != NULL and ends.whole:
            at = ends.before.size
            if text.size < at or not is_at(text.start, ends.before):
                return False
            if index == check.count:
                return text.size == at
            if text.size < at + check.separator.size or not is_at(text.start + at, check.separator):
                return False
        else:
            at = find(text, check.separator)
            if (at < text.size) != (index < check.count):
                return False
            if ends != NULL and not (
                    at >= ends.before.size + ends.after.size and is_at(text.start, ends.before)
                    and is_at(text.start + at - ends.after.size, ends.after)):
                return False
        at += check.separator.size
        text = sliced(text.start + at, text.size - at)
    return True


cdef inline Text part(Text text, Text separator, Py_ssize_t place, Py_ssize_t count) noexcept nogil:
    """Return some parts of a text between separators, or all from `place` on; empty if it has fewer than `place`."""
    cdef Py_ssize_t at, end
    while place > 1:
        at = find(text, separator)
        if at == text.size:
            return sliced(text.start + text.size, 0)
        at += separator.size
        text = sliced(text.start + at, text.size - at)
        place -= 1
    if count == MOST_PLACES:
        return text
    end = find(text, separator)
    while count > 1 and end < text.size:
        at = end + separator.size
        end = at + find(sliced(text.start + at, text.size - at), separator)
        count -= 1
    return sliced(text.start, end)


cdef inline bint continues(uint8_t octet) noexcept nogil:
    """Return whether an octet continues a character of UTF-8."""
    return octet & 0xC0 == 0x80


cdef inline Text dropped(Text text, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    """Return a text without its first and its last characters; empty if it has fewer."""
    while first > 0 and text.size > 0:
        first -= 1
        while True:
            text = sliced(text.start + 1, text.size - 1)
            if text.size == 0 or not continues(text.start[0]):
                break
    while last > 0 and text.size > 0:
        last -= 1
        while True:
            text.size -= 1
            if text.size == 0 or not continues(text.start[text.size]):
                break
    return text


cdef inline bint is_digit(uint8_t octet) noexcept nogil:
    return c'0' <= octet <= c'9'


cdef inline bint is_space(uint8_t octet) noexcept nogil:
    return octet == c' ' or 0x09 <= octet <= 0x0D


cdef inline bint is_bracket(uint8_t octet) noexcept nogil:
    return octet == c'[' or octet == c']'


cdef inline Text unbracketed(Text text) noexcept nogil:
    """Return a text without the brackets at its ends."""
    while text.size > 0 and is_bracket(text.start[0]):
        text = sliced(text.start + 1, text.size - 1)
    while text.size > 0 and is_bracket(text.start[text.size - 1]):
        text.size -= 1
    return text


cdef inline Text without_port(Text text) noexcept nogil:
    """Return an address without its digits at the end and what stands before them, and without brackets."""
    while text.size > 0 and is_digit(text.start[text.size - 1]):
        text.size -= 1
    return unbracketed(dropped(text, 0, 1))


cdef inline Text beside_port(Text text, Py_ssize_t place) noexcept nogil:
    """Return what stands before the port at the end of a text, or the port if `place` is 2; no text without a port."""
    cdef Py_ssize_t at = text.size
    while at > 0 and is_digit(text.start[at - 1]):
        at -= 1
    if at == text.size or at == 0 or text.start[at - 1] != c':':
        return no_text()
    return sliced(text.start, at - 1) if place == 1 else sliced(text.start + at, text.size - at)


cdef inline Text peer_before_bracket(Text text) noexcept nogil:
    """Return the address of the first `address:port [`; empty if there is none."""
    cdef Py_ssize_t at, colon, start, bracket = 0
    cdef const uint8_t *found
    while bracket < text.size:
        found = find_octet(text.start + bracket, <size_t>(text.size - bracket), c'[')
        if found == NULL:
            break
        bracket = found - text.start + 1
        at = bracket - 2            # the space before the bracket
        if at < 1 or text.start[at] != c' ':
            continue
        colon = at - 1
        while colon > 0 and is_digit(text.start[colon]):
            colon -= 1
        if colon == at - 1 or text.start[colon] != c':':
            continue
        start = colon
        # A vertical tab is no space here, as in the regular expressions of RE2.
        while start > 0 and (not is_space(text.start[start - 1]) or text.start[start - 1] == 0x0B):
            start -= 1
        if start < colon:
            return unbracketed(sliced(text.start + start, colon - start))
    return sliced(text.start + text.size, 0)


cdef inline Text without_origin(Text text) noexcept nogil:
    """Return a URL from its path on; a text that begins with neither http:// nor https:// stays as it is."""
    cdef Py_ssize_t at = 4
    if text.size < 7 or (text.start[0] | 0x20) != c'h' or (text.start[1] | 0x20) != c't':
        return text
    if (text.start[2] | 0x20) != c't' or (text.start[3] | 0x20) != c'p':
        return text
    if (text.start[at] | 0x20) == c's':
        at += 1
    if text.size < at + 3 or memcmp(text.start + at, b"://", 3) != 0:
        return text
    at += 3
    while at < text.size and text.start[at] != c'/' and text.start[at] != c'?' and text.start[at] != c'#':
        at += 1
    return sliced(text.start + at, text.size - at)


cdef inline Text target_of(Text line) noexcept nogil:
    """Return the target of a request line from its path on; empty unless the line is whole and has two spaces."""
    cdef const uint8_t *end = line.start + line.size
    cdef const uint8_t *target = find_octet(line.start, <size_t>line.size, c' ')
    cdef const uint8_t *version = NULL
    if target != NULL:
        target += 1
        version = find_octet(target, <size_t>(end - target), c' ')
    if version == NULL or end - version < 6 or memcmp(version, b" HTTP/", 6) != 0:
        return sliced(end, 0)
    if find_octet(version + 1, <size_t>(end - version - 1), c' ') != NULL:
        return sliced(end, 0)
    return without_origin(sliced(target, version - target))


cdef inline Text captures_before_end(Text text) noexcept nogil:
    """Return what the first of the one or two groups `{…} ` at the end of a text contains; empty if there is none."""
    cdef Text group = sliced(text.start + text.size, 0)
    cdef Py_ssize_t at
    cdef int groups = 0
    while groups < 2 and text.size >= 3 and text.start[text.size - 1] == c' ' and text.start[text.size - 2] == c'}':
        at = text.size - 3
        while at > 0 and text.start[at] != c'{' and text.start[at] != c'}':
            at -= 1
        if text.start[at] != c'{':
            break
        group = sliced(text.start + at + 1, text.size - at - 3)
        text.size = at
        groups += 1
    return group


cdef inline Text field_of(const Field *field, const Text *sections) noexcept nogil:
    """Return a field of a line that was cut."""
    cdef Text text = sections[field.section]
    cdef const Step *step = field.steps
    cdef const Step *end = step + field.n_steps
    if text.start == NULL:
        return text
    while step < end:
        if step.action == PART:
            text = part(text, step.separator, step.place, step.count)
        elif step.action == DROP:
            text = dropped(text, step.place, step.count)
        elif step.action == WITHOUT_PORT:
            text = without_port(text)
        elif step.action == PORT:
            text = beside_port(text, step.place)
            if text.start == NULL:
                return text
        elif step.action == PEER:
            text = peer_before_bracket(text)
        elif step.action == CAPTURES:
            text = captures_before_end(text)
        else:
            text = target_of(text)
        step += 1
    return text


cdef inline bint is_escaped(const uint8_t *start, const uint8_t *at) noexcept nogil:
    """Return whether an odd number of backslashes stands before a character of a text that begins at `start`."""
    cdef const uint8_t *before = at
    while before > start and before[-1] == c'\\':
        before -= 1
    return (at - before) & 1


cdef inline bint cut_line(const Rules *rules, Text line, Text *sections) noexcept nogil:
    """Cut a line into the sections that hold fields; return whether it has as many as it should."""
    cdef const uint8_t *at = line.start
    cdef const uint8_t *end = line.start + line.size
    cdef const uint8_t *found
    cdef Py_ssize_t count = 0, index
    while True:
        found = NULL
        if rules.cutter != NO_CUTTER:
            found = find_octet(at, <size_t>(end - at), <uint8_t>rules.cutter)
            while rules.escaped and found != NULL and is_escaped(line.start, found):
                found = find_octet(found + 1, <size_t>(end - found - 1), <uint8_t>rules.cutter)
        if count < rules.kept:
            sections[count] = sliced(at, (end if found == NULL else found) - at)
        count += 1
        if found == NULL:
            break
        at = found + 1
        # At least one more section follows.
        if rules.most == ANY_NUMBER:
            if count >= rules.kept and count + 1 >= rules.least:
                return True
        elif count >= rules.most:
            return False
    for index in range(count, rules.kept):
        sections[index] = no_text()
    return count >= rules.least


cdef inline bint is_whole(const Rules *rules, const Text *sections) noexcept nogil:
    """Return whether the fields of a line are where its format writes them."""
    cdef Text text
    cdef Py_ssize_t index
    for index in range(rules.n_checks):
        text = field_of(&rules.checks[index].field, sections)
        if text.start == NULL or not holds(&rules.checks[index], text):
            return False
    return True


cdef inline bint reserve(Output *output, Py_ssize_t size) noexcept nogil:
    """Make room for so many octets more; return False without memory, or if Arrow cannot count them in 32 bits."""
    cdef Py_ssize_t capacity
    cdef uint8_t *octets
    if size > INT32_MAX - output.size:
        return False
    if output.size + size > output.capacity:
        capacity = 2 * (output.size + size) + LEAST_ROOM
        octets = <uint8_t *>realloc(output.octets, <size_t>capacity)
        if octets == NULL:
            return False
        output.octets = octets
        output.capacity = capacity
    return True


cdef inline bint append(Output *output, Text text) noexcept nogil:
    """Append a text; return False if there is no room."""
    if not reserve(output, text.size):
        return False
    if text.size:
        memcpy(output.octets + output.size, text.start, <size_t>text.size)
    output.size += text.size
    return True


cdef inline void end_row(Output *output, Py_ssize_t row, bint valid) noexcept nogil:
    """End the text of a row, which is null unless it is valid."""
    output.offsets[row + 1] = <int32_t>output.size
    if valid:
        output.valid[row >> 3] |= <uint8_t>(1 << (row & 7))
    else:
        output.nulls += 1


cdef inline int hexadecimal(uint8_t octet) noexcept nogil:
    """Return the value of a digit, or -1."""
    if is_digit(octet):
        return octet - c'0'
    octet |= 0x20
    return octet - c'a' + 10 if c'a' <= octet <= c'f' else -1


cdef inline Encoded encoded_octet(Text text, uint8_t sign) noexcept nogil:
    """Return the octet that digits behind a sign stand for at the beginning of a text."""
    cdef Encoded found
    cdef Py_ssize_t at = 2 if sign == c'\\' else 1
    cdef int high, low
    found.size = 0
    found.octet = 0
    if text.size < at + 2 or text.start[0] != sign or (sign == c'\\' and text.start[1] != c'x'):
        return found
    high, low = hexadecimal(text.start[at]), hexadecimal(text.start[at + 1])
    if high >= 0 and low >= 0:
        found.size = at + 2
        found.octet = <uint8_t>(16 * high + low)
    return found


cdef inline Encoded escaped_character(Text text) noexcept nogil:
    """Return the character for which a backslash and one more stand at the beginning of a text."""
    cdef Encoded found
    found.size = 0
    found.octet = 0
    if text.size < 2 or text.start[0] != c'\\':
        return found
    if text.start[1] == c'"' or text.start[1] == c'\\':
        found.octet = text.start[1]
    elif text.start[1] == c'b':
        found.octet = 0x08
    elif text.start[1] == c't':
        found.octet = 0x09
    elif text.start[1] == c'n':
        found.octet = 0x0A
    elif text.start[1] == c'v':
        found.octet = 0x0B
    elif text.start[1] == c'r':
        found.octet = 0x0D
    else:
        return found
    found.size = 2
    return found


cdef inline Py_ssize_t size_of_character(uint8_t first, uint8_t second) noexcept nogil:
    """Return how many octets a character of UTF-8 has that begins with these two; 0 if none does (RFC 3629)."""
    if not continues(second):
        return 0
    if 0xC2 <= first <= 0xDF:
        return 2
    if first & 0xF0 == 0xE0:
        return 0 if (first == 0xE0 and second < 0xA0) or (first == 0xED and second >= 0xA0) else 3
    if 0xF0 <= first <= 0xF4:
        return 0 if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second >= 0x90) else 4
    return 0


cdef inline bint decode_character(Text *text, uint8_t sign, Text *written) noexcept nogil:
    """Move what is written as digits at the beginning of a text, a whole character, behind what was written.

    What is no character of UTF-8 becomes U+FFFD, octet by octet. Return False if no digits stand there.
    """
    cdef Encoded octets[4]
    cdef Text rest = text[0]
    cdef uint8_t *to = <uint8_t *>written.start + written.size
    cdef Py_ssize_t index, count = 0, size = 1
    while count < size:
        octets[count] = encoded_octet(rest, sign)
        if octets[count].size == 0 or (count and not continues(octets[count].octet)):
            break
        rest = sliced(rest.start + octets[count].size, rest.size - octets[count].size)
        count += 1
        if count == 1 and octets[0].octet >= 0x80:
            size = 2
        elif count == 2:
            size = size_of_character(octets[0].octet, octets[1].octet)
    if count == 0:
        return False
    if count != size:
        # An octet takes at least as many characters as U+FFFD has octets, so all of it lies in what was read.
        to[0], to[1], to[2] = 0xEF, 0xBF, 0xBD
        written.size += 3
        text[0] = sliced(text.start + octets[0].size, text.size - octets[0].size)
        return True
    for index in range(count):
        to[index] = octets[index].octet
    written.size += count
    text[0] = rest
    return True


cdef inline Py_ssize_t decoded(uint8_t *start, Py_ssize_t size, uint8_t sign) noexcept nogil:
    """Decode a text in its place; return its size, which does not grow. What stands for nothing stays as it is."""
    cdef Text text, written
    cdef Encoded found
    cdef const uint8_t *first = find_octet(start, <size_t>size, sign)
    if first == NULL:
        return size
    written = sliced(start, first - start)
    text = sliced(first, size - (first - start))
    while text.size > 0:
        if text.start[0] == sign:
            if decode_character(&text, sign, &written):
                continue
            if sign == c'\\':
                found = escaped_character(text)
                if found.size:
                    start[written.size] = found.octet
                    written.size += 1
                    text = sliced(text.start + found.size, text.size - found.size)
                    continue
        start[written.size] = text.start[0]
        written.size += 1
        text = sliced(text.start + 1, text.size - 1)
    return written.size


cdef inline bint append_column(const Column *column, const Text *sections, Output *output, bint *valid) noexcept nogil:
    """Append the fields of a column; return False if there is no room. `valid` says whether the line has them all."""
    cdef Text text
    cdef Py_ssize_t index, start = output.size
    valid[0] = False
    for index in range(column.n_fields):
        text = field_of(&column.fields[index], sections)
        if text.start == NULL:
            output.size = start
            return True
        if index and not append(output, sliced(b" ", 1)):
            return False
        if not append(output, text):
            return False
    valid[0] = True
    if column.dashed and (output.size == start or (output.size == start + 1 and output.octets[start] == c'-')):
        output.size = start
        valid[0] = False
    if column.sign != NO_SIGN:
        output.size = start + decoded(output.octets + start, output.size - start, <uint8_t>column.sign)
    return True


# The text of a time, read from its start to its end.
cdef inline void skip_spaces(Text *text) noexcept nogil:
    while text.size > 0 and is_space(text.start[0]):
        text[0] = sliced(text.start + 1, text.size - 1)


cdef inline bint read_literal(Text *text, Text literal) noexcept nogil:
    """Read what stands around a time; return whether it does. Spaces stand for any number of spaces."""
    while literal.size > 0:
        if is_space(literal.start[0]):
            if text.size == 0 or not is_space(text.start[0]):
                return False
            skip_spaces(text)
            skip_spaces(&literal)
            continue
        if text.size == 0 or text.start[0] != literal.start[0]:
            return False
        text[0] = sliced(text.start + 1, text.size - 1)
        literal = sliced(literal.start + 1, literal.size - 1)
    return True


cdef inline bint read_sign(Text *text, uint8_t sign) noexcept nogil:
    """Read one character if it is next; return whether it was."""
    if text.size == 0 or text.start[0] != sign:
        return False
    text[0] = sliced(text.start + 1, text.size - 1)
    return True


cdef inline int read_number(Text *text, int digits) noexcept nogil:
    """Read a number of at least one and at most so many digits; return it, or -1."""
    cdef int number = 0, at = 0
    while at < digits and at < text.size and is_digit(text.start[at]):
        number = 10 * number + text.start[at] - c'0'
        at += 1
    text[0] = sliced(text.start + at, text.size - at)
    return number if at else -1


cdef inline int read_pair(Text *text, Py_ssize_t at) noexcept nogil:
    """Read a number of two digits behind `at` other characters; return it, or -1 if it is not there."""
    if text.size < at + 2 or not is_digit(text.start[at]) or not is_digit(text.start[at + 1]):
        return -1
    text[0] = sliced(text.start + at, text.size - at)
    return read_number(text, 2)


cdef inline int read_month(Text *text) noexcept nogil:
    """Read the first three letters of a month; return its number from 1, or 0."""
    cdef const char *names = b"janfebmaraprmayjunjulaugsepoctnovdec"
    cdef int month
    if text.size < 3:
        return 0
    for month in range(12):
        if (text.start[0] | 0x20 == names[3 * month] and text.start[1] | 0x20 == names[3 * month + 1]
                and text.start[2] | 0x20 == names[3 * month + 2]):
            text[0] = sliced(text.start + 3, text.size - 3)
            return month + 1
    return 0


cdef inline int days_of_month(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


cdef inline int64_t days_since_1970(int year, int month, int day) noexcept nogil:
    """Return the days from 1970-01-01 to a date of the proleptic Gregorian calendar, of the years from 0 on."""
    # Years that begin with March have their leap day at the end; 153 days are five months of them.
    cdef int shifted = year - (1 if month <= 2 else 0) + 400
    cdef int day_of_year = (153 * (month + (9 if month <= 2 else -3)) + 2) // 5 + day - 1
    return <int64_t>365 * shifted + shifted // 4 - shifted // 100 + shifted // 400 + day_of_year - 719468 - 146097


cdef inline bint read_zone(Text *text, int64_t *offset) noexcept nogil:
    """Read the offset of a zone in seconds: +hh, +hhmm, +hh:mm or +hh:mm:ss; return False if it is none."""
    cdef int64_t sign = 1
    cdef int number, colon
    if read_sign(text, c'-'):
        sign = -1
    elif not read_sign(text, c'+'):
        return False
    number = read_pair(text, 0)
    if number < 0:
        return False
    offset[0] = sign * 3600 * number
    colon = 1 if text.size > 0 and text.start[0] == c':' else 0
    number = read_pair(text, colon)
    if number >= 0:
        offset[0] += sign * 60 * number
        if text.size > 0 and text.start[0] == c':':
            number = read_pair(text, 1)
            if not 0 <= number < 60:
                return False
            offset[0] += sign * number
    return True


cdef inline bint read_minute(const Rules *rules, Text *text, int64_t *seconds) noexcept nogil:
    """Read a time up to its minute, in seconds since 1970; return False if the text begins with none."""
    cdef int day, month, year, hour, minute
    skip_spaces(text)
    if not read_literal(text, rules.before):
        return False
    day = read_number(text, 2)
    if day < 1 or not read_sign(text, c'/'):
        return False
    month = read_month(text)
    if month == 0 or not read_sign(text, c'/'):
        return False
    year = read_number(text, 4)
    if year < 0 or day > days_of_month(year, month) or not read_sign(text, c':'):
        return False
    hour = read_number(text, 2)
    if not 0 <= hour < 24 or not read_sign(text, c':'):
        return False
    minute = read_number(text, 2)
    if not 0 <= minute < 60 or not read_sign(text, c':'):
        return False
    seconds[0] = 86_400 * days_since_1970(year, month, day) + 3_600 * hour + 60 * minute
    return True


cdef inline bint read_time(const Rules *rules, Text text, Minute *last, int64_t *microseconds) noexcept nogil:
    """Read a time of the years 1 to 9999 in microseconds since 1970; return False if the text is none."""
    cdef int second, fraction = 0
    cdef Py_ssize_t size
    cdef int64_t offset = 0
    cdef Text rest = text
    if last.size and text.size > last.size and memcmp(text.start, last.octets, <size_t>last.size) == 0:
        rest = sliced(text.start + last.size, text.size - last.size)
    else:
        if not read_minute(rules, &rest, &last.seconds):
            last.size = 0
            return False
        size = text.size - rest.size
        last.size = 0
        if size <= MINUTE_SIZE:
            memcpy(last.octets, text.start, <size_t>size)
            last.size = size
    second = read_number(&rest, 2)
    if not 0 <= second < 60:
        return False
    if rules.time_form == CLF:
        if not read_literal(&rest, sliced(b" ", 1)) or not read_zone(&rest, &offset):
            return False
    elif read_sign(&rest, c'.'):
        size = rest.size
        fraction = read_number(&rest, 3)
        if fraction < 0:
            return False
        for _ in range(3 - (size - rest.size)):
            fraction *= 10
    if not read_literal(&rest, rules.after):
        return False
    skip_spaces(&rest)
    microseconds[0] = 1_000_000 * (last.seconds + second - offset) + 1_000 * fraction
    return rest.size == 0 and FIRST_TIME <= microseconds[0] <= LAST_TIME


cdef inline bint is_clear_path(Text path) noexcept nogil:
    """Return whether all programs read a path in the same way, and it is no longer than the gate reads."""
    return path.size <= LONGEST_CLEAR and has_clear_path(path.start, <size_t>path.size)
