"""Text logs: columns of Arrow made from lines, and the accounts in paths, without Python objects for them. Part of
`_engine.pyx`.

`log_lines.pxd` has the rules of a format; this file makes them from a description and runs them without the GIL.
"""

cimport cython

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp

from log_lines cimport (
    ANY_NUMBER, CAPTURES, CLF, DROP, HAPROXY, MOST_PLACES, NO_CUTTER, NO_SIGN, NO_TIME, PART, PEER, PORT,
    TARGET, WITHOUT_PORT, Check, Column, Ends, Field, Minute, Output, Rules, Step, Text, append, append_column,
    cut_line, end_row, field_of, is_clear_path, is_whole, no_text, part, read_time, sliced,
)

cdef dict ACTIONS = {
    "part": PART, "drop": DROP, "without_port": WITHOUT_PORT, "port": PORT, "peer": PEER, "captures": CAPTURES,
    "target": TARGET,
}
cdef dict SIGNS = {"": NO_SIGN, "\\": c'\\', "#": c'#', "%": c'%'}
cdef dict TIME_FORMS = {"": NO_TIME, "clf": CLF, "haproxy": HAPROXY}


cdef Py_ssize_t place_of(object number, Py_ssize_t least) except -1:
    """Return a number of a description that is in its bounds."""
    cdef Py_ssize_t place = number
    if not least <= place <= MOST_PLACES:
        raise ValueError(f"{place} is not a number of a format: use {least} to {MOST_PLACES}")
    return place


cdef class _Outputs:
    """Columns of Arrow that grow, with room for the ends of so many rows."""

    cdef Output *outputs
    cdef Py_ssize_t count
    cdef Py_ssize_t rows

    def __cinit__(self, Py_ssize_t count, Py_ssize_t rows):
        cdef Py_ssize_t index
        cdef Output *output
        self.outputs = <Output *>calloc(<size_t>count + 1, sizeof(Output))
        if self.outputs == NULL:
            raise MemoryError
        self.count = count
        self.rows = rows
        for index in range(count):
            output = self.outputs + index
            output.valid = <uint8_t *>calloc(<size_t>rows // 8 + 1, 1)
            output.offsets = <int32_t *>allocate_array(<size_t>rows, sizeof(int32_t))
            if output.valid == NULL or output.offsets == NULL:
                raise MemoryError
            output.offsets[0] = 0

    def __dealloc__(self):
        cdef Py_ssize_t index
        if self.outputs == NULL:
            return
        for index in range(self.count):
            free(self.outputs[index].valid)
            free(self.outputs[index].offsets)
            free(self.outputs[index].octets)
        free(self.outputs)

    cdef tuple column(self, Py_ssize_t index):
        """Return how many rows of a column are null, and its three buffers."""
        cdef Output *output = self.outputs + index
        return (
            output.nulls,
            PyBytes_FromStringAndSize(<const char *>output.valid, (self.rows + 7) // 8),
            PyBytes_FromStringAndSize(<const char *>output.offsets, (self.rows + 1) * sizeof(int32_t)),
            PyBytes_FromStringAndSize(<const char *>output.octets, output.size),
        )


cdef object no_room():
    """Return the error for texts that do not fit in a column."""
    return MemoryError("the texts of one batch need more memory than there is, or more than 2 GiB: use smaller batches")


@cython.final
cdef class _LogLines:
    """_LogLines(cutter, escaped, least, most, checks, time, columns)\n--\n\nCuts lines of a text log into columns.

    Args:
        cutter: The character between sections; empty if a line is one section.
        escaped: Whether a backslash before a quote says that it does not end a section.
        least: How many sections a line has at least.
        most: How many it has at most; None for no limit.
        checks: What a line must have, as `cidrgate.replay.formats.LineCheck`.
        time: The form of the time (`clf`, `haproxy`, or empty for none), its fields, and the texts around it.
        columns: The fields of each column, whether a dash stands for no value, and which sign (`\\`, `#` or `%`) begins
            an octet that is written as digits; empty if there is none.

    Example:
        >>> first = (0, (("part", " ", 1, 1),))
        >>> lines = _LogLines('"', False, 3, None, (), ("", (), "", ""), (((first,), False, ""),))
        >>> import pyarrow
        >>> lines.cut(pyarrow.array(['8.8.8.8 - "GET /" 200']))[0][3]
        b'8.8.8.8'
    """

    cdef Rules rules
    cdef Column *columns
    cdef Py_ssize_t n_columns
    cdef list memory            # what the rules point to

    def __cinit__(self, str cutter not None, bint escaped, least, most, checks, time, columns):
        cdef Py_ssize_t index
        cdef Check *read
        self.memory = []
        if len(cutter) > 1 or not cutter.isascii():
            raise ValueError(f"lines are not cut at {cutter!r}: name one character of ASCII")
        self.rules.cutter = <int>ord(cutter) if cutter else NO_CUTTER
        self.rules.escaped = escaped
        self.rules.least = place_of(least, 1)
        self.rules.most = ANY_NUMBER if most is None else place_of(most, 1)
        self.rules.kept = 1
        checks = tuple(checks)
        read = <Check *>self.room(len(checks), sizeof(Check))
        for index, (field, separator, count, texts) in enumerate(checks):
            self.read_field(field, &read[index].field)
            read[index].separator = self.text(separator, True)
            read[index].count = place_of(count, 0)
            read[index].ends = self.ends(tuple(texts), read[index].count + 1)
        self.rules.checks = read
        self.rules.n_checks = len(checks)
        form, fields, before, after = time
        if form not in TIME_FORMS:
            raise ValueError(f"there is no form of times {form!r}: use {', '.join(filter(None, TIME_FORMS))}")
        self.rules.time_form = TIME_FORMS[form]
        self.read_column(fields, False, "", &self.rules.time)
        self.rules.before = self.text(before, False)
        self.rules.after = self.text(after, False)
        columns = tuple(columns)
        self.columns = <Column *>self.room(len(columns), sizeof(Column))
        self.n_columns = len(columns)
        for index, (fields, dashed, sign) in enumerate(columns):
            self.read_column(fields, dashed, sign, self.columns + index)

    cdef void *room(self, Py_ssize_t count, size_t size) except NULL:
        """Return memory for so many structs, which lives as long as this object."""
        cdef bytes memory = bytes((count + 1) * size)
        self.memory.append(memory)
        return <void *><char *>memory

    cdef Text text(self, object text, bint needed) except *:
        """Return a text of the description, which lives as long as this object."""
        cdef bytes octets = (<str?>text).encode()
        if needed and not octets:
            raise ValueError("a separator is empty")
        self.memory.append(octets)
        return sliced(<const uint8_t *><char *>octets, len(octets))

    cdef const Ends *ends(self, tuple parts, Py_ssize_t count) except? NULL:
        """Read the texts of so many parts; return NULL if there are none."""
        cdef Py_ssize_t index
        cdef Ends *made
        if not parts:
            return NULL
        if len(parts) != count:
            raise ValueError(f"a check has texts for {len(parts)} parts: give {count}, or none")
        made = <Ends *>self.room(count, sizeof(Ends))
        for index, (before, *after) in enumerate(parts):
            made[index].whole = not after
            made[index].before = self.text(before, False)
            made[index].after = self.text("".join(after), False)
        return made

    cdef int read_column(self, object fields, bint dashed, str sign, Column *column) except -1:
        """Read the description of a column."""
        cdef Py_ssize_t index
        cdef Field *read
        if sign not in SIGNS:
            raise ValueError(f"no server writes octets with {sign!r}: use {', '.join(filter(None, SIGNS))}")
        fields = tuple(fields)
        read = <Field *>self.room(len(fields), sizeof(Field))
        for index in range(len(fields)):
            self.read_field(fields[index], read + index)
        column.fields = read
        column.n_fields = len(fields)
        column.dashed = dashed
        column.sign = SIGNS[sign]
        return 0

    cdef int read_field(self, object field, Field *read) except -1:
        """Read the description of a field, and keep the section that it is in."""
        cdef Py_ssize_t index
        cdef Step *made
        section, steps = field
        steps = tuple(steps)
        made = <Step *>self.room(len(steps), sizeof(Step))
        for index, (action, separator, place, count) in enumerate(steps):
            if action not in ACTIONS:
                raise ValueError(f"there is no step {action!r}: use {', '.join(ACTIONS)}")
            made[index].action = ACTIONS[action]
            made[index].separator = self.text(separator, action == "part")
            made[index].place = place_of(place, 1 if action == "part" else 0)
            made[index].count = place_of(count, 1 if action == "part" else 0)
        read.section = place_of(section, 0)
        read.steps = made
        read.n_steps = len(steps)
        self.rules.kept = max(self.rules.kept, read.section + 1)
        return 0

    def cut(self, lines, /):
        """Return the columns of lines: how many rows are null, the bits of those that are not, offsets, and texts.

        Every row of a bad line is null. If there is a time, its column is the last: the bits and 64-bit integers of
        microseconds since 1970, with no offsets.

        Args:
            lines: An Arrow column of text.

        Raises:
            TypeError: If the lines are no such column.
            ValueError: If the column is not consistent.
            MemoryError: If the columns do not fit in memory, or in 2 GiB each.
        """
        if not is_arrow(lines):
            raise TypeError(f"lines must be an Arrow column of text, not {type(lines).__name__}")
        cdef _ArrowColumn column = _ArrowColumn(lines, "log lines", NAME_FORMS)
        if column.refused is not None:
            raise TypeError(f"lines must be an Arrow column of text, not {column.refused}")
        # The last one joins the fields of a time.
        cdef _Outputs outputs = _Outputs(self.n_columns + 1, column.count)
        cdef bint timed = self.rules.time_form != NO_TIME
        cdef bytes memory = PyBytes_FromStringAndSize(NULL, column.count * sizeof(int64_t) if timed else 0)
        cdef int64_t *times = <int64_t *><char *>memory if timed else NULL
        cdef bint done
        with nogil:
            done = self.run(column, outputs, times)
        if not done:
            raise no_room()
        found = [outputs.column(index) for index in range(self.n_columns)]
        if timed:
            nulls, valid, _, _ = outputs.column(self.n_columns)
            found.append((nulls, valid, None, memory))
        return found

    cdef bint run(self, _ArrowColumn column, _Outputs outputs, int64_t *times) noexcept nogil:
        """Cut all lines; return False if there is no room for their columns."""
        cdef const Batch *batch
        cdef Py_ssize_t number, index, row = 0
        cdef Text line
        cdef Text *sections = <Text *>malloc(<size_t>self.rules.kept * sizeof(Text))
        cdef Minute minute
        cdef bint done = sections != NULL
        minute.size = 0
        for number in range(column.n_batches):
            batch = column.batches + number
            for index in range(batch.count):
                if not done:
                    break
                line = element(batch, index)
                if line.start == NULL:
                    end_bad_row(outputs.outputs, outputs.count, times, row)
                    row += 1
                    continue
                done = self.cut_row(line, sections, outputs.outputs, &minute, times, row)
                row += 1
        free(sections)
        return done

    cdef bint cut_row(
        self, Text line, Text *sections, Output *outputs, Minute *minute, int64_t *times, Py_ssize_t row
    ) noexcept nogil:
        """Append the row of a line to each column; return False if there is no room."""
        cdef Output *joined = outputs + self.n_columns
        cdef Py_ssize_t index
        cdef Text time
        cdef bint valid = cut_line(&self.rules, line, sections) and is_whole(&self.rules, sections)
        if valid and self.rules.time_form != NO_TIME:
            if self.rules.time.n_fields == 1:
                time = field_of(self.rules.time.fields, sections)
            else:
                if not append_column(&self.rules.time, sections, joined, &valid):
                    return False
                time = sliced(joined.octets, joined.size)
                joined.size = 0
            valid = valid and time.start != NULL and read_time(&self.rules, time, minute, times + row)
        if not valid:
            end_bad_row(outputs, self.n_columns + 1, times, row)
            return True
        end_row(joined, row, True)
        for index in range(self.n_columns):
            if not append_column(self.columns + index, sections, outputs + index, &valid):
                return False
            end_row(outputs + index, row, valid)
        return True


cdef inline Text element(const Batch *batch, Py_ssize_t index) noexcept nogil:
    """Return the text of an element; it has no start if the element is null."""
    cdef Py_ssize_t size = 0
    cdef const uint8_t *octets
    if batch.form == CODES and not is_null(batch, index):
        index = <Py_ssize_t>code_at(batch, index)
        batch = batch.dictionary
    if batch.form == NOTHING or is_null(batch, index):
        return no_text()
    octets = octets_at(batch, index, &size)
    return sliced(octets, size)


cdef void end_bad_row(Output *outputs, Py_ssize_t count, int64_t *times, Py_ssize_t row) noexcept nogil:
    """End the row of a bad line, which is null in every column."""
    cdef Py_ssize_t index
    for index in range(count):
        end_row(outputs + index, row, False)
    if times != NULL:
        times[row] = 0


def _accounts_in_paths(paths, str before not None, /):
    """Return the accounts in paths that follow a fixed text and end before the next slash, and which paths are unclear.

    Args:
        paths: An Arrow column of paths without their queries.
        before: What stands before the account.

    Returns:
        The column of accounts, as `_LogLines.cut` returns it; and the numbers of the rows, as 64-bit integers, whose
        paths programs may read in different ways. The account of such a row, and of a path that has none, is null.

    Raises:
        TypeError: If the paths are no such column.
        ValueError: If the column is not consistent.
        MemoryError: If the accounts do not fit in memory, or in 2 GiB.

    Example:
        >>> import pyarrow
        >>> column, unclear = _accounts_in_paths(pyarrow.array(["/v1/acct-1/x", "/v1//x", "/"]), "/v1/")
        >>> column[0], column[3], list(memoryview(unclear).cast("q"))
        (2, b'acct-1', [1])
    """
    if not is_arrow(paths):
        raise TypeError(f"paths must be an Arrow column of text, not {type(paths).__name__}")
    cdef _ArrowColumn column = _ArrowColumn(paths, "paths", NAME_FORMS)
    if column.refused is not None:
        raise TypeError(f"paths must be an Arrow column of text, not {column.refused}")
    cdef bytes prefix = before.encode()
    cdef Text start = sliced(<const uint8_t *><char *>prefix, len(prefix))
    cdef _Outputs outputs = _Outputs(1, column.count)
    cdef bytes unclear = PyBytes_FromStringAndSize(NULL, column.count * sizeof(int64_t))
    cdef int64_t *rows = <int64_t *><char *>unclear
    cdef Py_ssize_t n_unclear = 0
    cdef bint done
    with nogil:
        done = find_accounts(column, start, outputs.outputs, rows, &n_unclear)
    if not done:
        raise no_room()
    return outputs.column(0), unclear[:n_unclear * sizeof(int64_t)]


cdef bint find_accounts(
    _ArrowColumn column, Text before, Output *output, int64_t *unclear, Py_ssize_t *n_unclear
) noexcept nogil:
    """Append the account of each path; return False if there is no room."""
    cdef const Batch *batch
    cdef Py_ssize_t number, index, row = 0
    cdef Text path, account
    for number in range(column.n_batches):
        batch = column.batches + number
        for index in range(batch.count):
            account = no_text()
            path = element(batch, index)
            if path.start != NULL:
                if not is_clear_path(path):
                    unclear[n_unclear[0]] = row
                    n_unclear[0] += 1
                elif path.size > before.size and memcmp(path.start, before.start, <size_t>before.size) == 0:
                    account = part(
                        sliced(path.start + before.size, path.size - before.size), sliced(b"/", 1), 1, 1)
            if not append(output, account):
                return False
            end_row(output, row, account.size > 0)
            row += 1
    return True


@cython.final
cdef class _OpenQuote:
    """Finds the value in quotes of a CSV text that does not end, in one pass over its pieces.

    Args:
        delimiter: The character between values.

    Example:
        >>> text = _OpenQuote(b",")
        >>> for piece in (b'a,b\\n1,"x', b'""y"\\n2,"z\\n3,4\\n'):
        ...     text.add(piece)
        >>> text.open, text.opened, text.lines
        (True, 3, 4)
    """

    cdef uint8_t delimiter
    cdef bint inside  # the quotes of a value
    cdef bint closing  # behind a quote inside them: one more is a character of the value
    cdef bint begins  # where a value does
    cdef Py_ssize_t at
    cdef readonly Py_ssize_t lines
    cdef readonly Py_ssize_t opened
    cdef readonly Py_ssize_t opened_at
    cdef readonly Py_ssize_t row_at

    def __cinit__(self, bytes delimiter not None, /):
        if len(delimiter) != 1:
            raise ValueError("the delimiter is one octet")
        self.delimiter = delimiter[0]
        self.begins = True

    @property
    def open(self):
        """Whether the last value does not end.

        `opened` is then the number of its first line, `opened_at` its place, and `row_at` the place of its row.
        """
        return self.inside and not self.closing

    def add(self, const uint8_t[::1] piece not None, /):
        """Read the next piece. `lines` counts the ends of lines so far."""
        cdef Py_ssize_t index
        cdef uint8_t octet
        with nogil:
            for index in range(piece.shape[0]):
                octet = piece[index]
                if octet == b"\n":
                    self.lines += 1
                if self.inside and not self.closing:
                    self.closing = octet == b'"'
                elif octet == b'"' and (self.closing or self.begins):
                    if not self.closing:
                        self.inside = True
                        self.opened = self.lines + 1
                        self.opened_at = self.at + index
                    self.closing = self.begins = False
                else:
                    self.inside = self.closing = False
                    self.begins = octet == self.delimiter or octet == b"\n" or octet == b"\r"
                    if octet == b"\n":
                        self.row_at = self.at + index + 1
        self.at += piece.shape[0]
