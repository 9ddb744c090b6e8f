"""Arrays of accounts, by name or by row number, and the lookup of many names. Part of `_engine.pyx`."""

from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free

from accounts cimport (
    DEAD, MAX_NAME, AccountHeader, Accounts, Name, Slot, SlotTable, find_from, first_place, header_of,
)
from batch cimport CODES, NOTHING, PIECE, POINTERS, Batch, code_at, is_null, octets_at, value_at
from native cimport allocate_array, keyed_hash, load_acquire, load_pointer, prefetch
from verify cimport is_utf8

from cidrgate.errors import AccountNotFoundError, InvalidAccountError

cdef enum:
    UNKNOWN = -1                # the row number of an unknown account
    NO_NAME = -2                # of what cannot be a name: null, or text that is not UTF-8


# Where the names of an argument are read in ascending order: a batch of it, and how many elements precede this batch.
cdef struct NamesFrom:
    const Batch *batch
    Py_ssize_t first


cdef class _AccountNames:
    """An argument that names accounts: a list of `str`, or an Arrow array or stream of strings."""

    cdef const Batch *batches
    cdef Py_ssize_t n_batches
    cdef Py_ssize_t count
    cdef Batch batch                # of a list, which has no other
    cdef list names                 # of a list; None for an account that is missing in a column of pandas
    cdef _ArrowColumn column        # for an Arrow array or stream, otherwise None

    def __cinit__(self, object source):
        cdef bint is_column = is_pandas_column(source)
        if is_column:
            source = pandas_values(source)
        if is_arrow(source) and not isinstance(source, (str, bytes)):
            try:
                self.column = _ArrowColumn(source, "accounts", NAME_FORMS)
            except ImportError:
                # A column that needs a library for this, which is not installed, is an iterable like any other.
                pass
        if self.column is None:
            self.of_names(source, is_column)
        elif self.column.refused is not None:
            raise TypeError(f"accounts must be a list of str, or an Arrow array or stream of strings or a dictionary "
                            f"of strings, not {self.column.refused}")
        else:
            self.batches = self.column.batches
            self.n_batches = self.column.n_batches
            self.count = self.column.count

    def __dealloc__(self):
        free(self.batch.texts)
        free(<void *>self.batch.sizes)

    cdef int of_names(self, object accounts, bint is_column) except -1:
        """Read pointers into the `str` objects of an iterable. In a column, what cannot be a name has no pointer."""
        cdef Py_ssize_t index
        cdef Name name
        if isinstance(accounts, (str, bytes)):
            raise TypeError(f"accounts must be a list of str, not one {type(accounts).__name__}: write [account]")
        # It holds the objects. A copy: another thread may change the list.
        self.names = list(accounts)
        self.count = self.batch.count = len(self.names)
        self.batch.form = POINTERS
        self.batch.texts = <const uint8_t **>allocate_array(self.count, sizeof(uint8_t *))
        self.batch.sizes = <int64_t *>allocate_array(self.count, sizeof(int64_t))
        if self.batch.texts == NULL or self.batch.sizes == NULL:
            raise MemoryError
        self.batches = &self.batch
        self.n_batches = 1
        for index in range(self.count):
            account = self.names[index]
            if type(account) is not str and not isinstance(account, str) and not (is_column and account is None):
                raise TypeError(no_account(index, account))
            if account is None or not read_name(<str>account, &name):
                if not is_column:
                    raise self.wrong(index)
                name.text, name.size = NULL, 0
            self.batch.texts[index] = name.text
            (<int64_t *>self.batch.sizes)[index] = name.size
        return 0

    cdef object wrong(self, Py_ssize_t index):
        """Return the error for an element that cannot be a name."""
        cdef object value = self.names[index] if self.column is None else self.column.value(index)
        if value is None:
            return TypeError(no_account(index, None))
        if self.column is None:
            return InvalidAccountError(no_name(value))
        return InvalidAccountError(
            f"accounts[{index}]: {quoted(value)} is not UTF-8, so it cannot be an account's name")


cdef inline bint read_name(str account, Name *name) except -1:
    """Read the text of an account's name; return False if it cannot be written as UTF-8, as names are.

    A `str` of a subclass has its text as any other, whatever its methods return, and is not compact.
    """
    cdef Py_ssize_t size
    if PyUnicode_IS_COMPACT_ASCII(account):
        name.text = ascii_text(account)
        name.size = PyUnicode_GET_LENGTH(account)
        return True
    try:
        name.text = <const uint8_t *>PyUnicode_AsUTF8AndSize(account, &size)
    except UnicodeEncodeError:
        return False
    name.size = size
    return True


cdef str no_name(object account):
    """Return the error message for a text that cannot be written as UTF-8."""
    return f"{quoted(str.__str__(account))} contains a lone surrogate, so it cannot be an account's name"


cdef str no_account(Py_ssize_t index, object value):
    """Return the error message for an element that is not a `str`."""
    return f"accounts[{index}] must be a str, not {type(value).__name__}"


cdef bint names_accounts(object array) except -1:
    """Return whether an array of NumPy has names and no row numbers. One without elements may be of any type."""
    cdef object kind = array.dtype.kind
    return kind != "i" and (kind in "OUT" or array.shape == (0,))


cdef object wrong_accounts(str given, Py_ssize_t count):
    """Return the error for accounts that are not as many as the addresses, or an array of another type."""
    return ValueError(
        f"accounts must be one str, {count} names in a list or an Arrow array, or {count} rows from rows(), not {given}"
    )


cdef object no_row(object rows, Py_ssize_t index):
    """Return the error for an invalid row number."""
    return AccountNotFoundError(f"accounts[{index}]: row {rows[index]} belongs to no account; call rows() again")


cdef _Memory row_memory(object rows, Py_ssize_t count):
    """Return `count` row numbers as int32. A number with more than 32 bits is an error; it is never truncated."""
    cdef _Memory memory = _Memory()
    given = rows
    rows = _numpy().require(given, _numpy().int32, "CA")
    if given.dtype.itemsize > 4 and (rows != given).any():
        raise no_row(given, int((rows != given).argmax()))
    if not memory.take(rows, b"il", 4, 1, False) or memory.buffer.shape[0] != count:
        raise ValueError("accounts changed while it was read: do not write to the array during the call")
    return memory


cdef Py_ssize_t find_names(
    const Accounts *accounts, const Batch *batches, Py_ssize_t n_batches, int32_t *rows
) noexcept nogil:
    """Find the row number of each name; return how many elements precede the first that cannot be a name."""
    cdef Py_ssize_t done = 0, at, index
    for at in range(n_batches):
        find_names_of_batch(accounts, batches + at, rows + done)
        done += batches[at].count
    for index in range(done):
        if rows[index] == NO_NAME:
            return index
    return done


cdef void find_names_of_batch(const Accounts *accounts, const Batch *batch, int32_t *rows) noexcept nogil:
    """Find the row number of each name of a batch: UNKNOWN, NO_NAME or a row. A dictionary's values are found once."""
    cdef Py_ssize_t index
    cdef int32_t *of_values = NULL
    cdef Batch own = batch[0]
    if batch.form == CODES and batch.dictionary.count <= batch.count:
        of_values = <int32_t *>allocate_array(batch.dictionary.count, sizeof(int32_t))
    if of_values == NULL:
        find_each_name(accounts, batch, rows)
        return
    find_each_name(accounts, batch.dictionary, of_values)
    for index in range(own.count):
        rows[index] = value_at(&own, of_values, index, NO_NAME)
    free(of_values)


cdef void find_each_name(const Accounts *accounts, const Batch *batch, int32_t *rows) noexcept nogil:
    """Find the row number of each name of a batch, piece by piece, so that enough lookups are in flight."""
    cdef Name names[PIECE]
    cdef uint32_t tags[PIECE]
    cdef bint known[PIECE]
    cdef SlotTable *table = <SlotTable *>load_pointer(&accounts.table)
    cdef Slot *slot
    cdef Py_ssize_t start = 0, wanted, index
    cdef uint32_t block
    while start < batch.count:
        wanted = min(<Py_ssize_t>PIECE, batch.count - start)
        for index in range(wanted):
            known[index] = False
            rows[start + index] = UNKNOWN if name_at(batch, start + index, &names[index]) else NO_NAME
            if rows[start + index] == UNKNOWN and names[index].size <= MAX_NAME:
                known[index] = True
                tags[index] = keyed_hash(names[index].text, names[index].size, accounts.seed)
                prefetch(&table.slots[first_place(table, tags[index])])
        for index in range(wanted):
            if known[index]:
                block = load_acquire(&table.slots[first_place(table, tags[index])].block)
                if block != 0 and block != DEAD:
                    prefetch(header_of(accounts, block))
        for index in range(wanted):
            if known[index]:
                slot = find_from(table, accounts, &names[index], tags[index])
                block = DEAD if slot == NULL else load_acquire(&slot.block)
                if block != DEAD:
                    rows[start + index] = <int32_t>(accounts.first_row + header_of(accounts, block).row)
                    continue
            # The name of a known account is UTF-8. Text that is not must not pass for an unknown account.
            if rows[start + index] == UNKNOWN and not is_text_utf8(&names[index]):
                rows[start + index] = NO_NAME
        start += wanted


cdef inline bint name_at(const Batch *batch, Py_ssize_t index, Name *name) noexcept nogil:
    """Read the text of an element, also of a dictionary; return False if there is none."""
    cdef Py_ssize_t size = 0
    if batch.form == CODES and not is_null(batch, index):
        index = <Py_ssize_t>code_at(batch, index)
        batch = batch.dictionary
    if batch.form == CODES or batch.form == NOTHING or is_null(batch, index):
        return False
    name.text = octets_at(batch, index, &size)
    name.size = size
    return name.text != NULL


cdef inline bint next_name(NamesFrom *names, Py_ssize_t index, Name *name) noexcept nogil:
    """Read the text of an element of all batches, after those that were read before; return False if there is none."""
    while index - names.first >= names.batch.count:
        names.first += names.batch.count
        names.batch += 1
    return name_at(names.batch, index - names.first, name)


cdef inline bint is_text_utf8(const Name *name) noexcept nogil:
    """Return whether a text is UTF-8. Text that is too long for a name and for the check is only unknown."""
    cdef uint32_t size = <uint32_t>name.size
    return size != name.size or is_utf8(name.text, size)
