"""`Matcher`, over all accounts, and its file. Part of `_engine.pyx`."""

cimport cython

import mmap
import os
import stat
from builtins import open as builtin_open
from pathlib import Path

from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from accounts cimport (
    DONE, HAS_ENTRIES, HAS_SUBACCOUNTS, IS_SUBACCOUNT, MAX_NAME, AccountHeader, Accounts, Lists, Name, accounts_of,
    close_accounts, close_lists, discard, find, header_of, header_of_parent, is_open, link, list_at, list_of,
    move_accounts, open_accounts, open_lists, publish, row_of, rows_known, table_size, text_of, trie_allows, trie_of,
    withdraw,
)
from address cimport Address, Prefix
from arena cimport UNIT
from batch cimport PIECE, Batch, read_piece
from build cimport Item, Plan, drop_plan, plan_trie
from native cimport load_acquire, nap, prefetch
from readers cimport Readers, enter, enter_unlocked, epoch_ends, leave, leave_unlocked
from snapshot cimport (
    DAMAGED, FOREIGN, HOSTILE, MOST_NOTE, NEWER, OTHER_ORDER, OUT_OF_MEMORY, SOUND, TRUNCATED, Snapshot, note_of, seal,
    use_image, write_image,
)
from trie cimport NONE, Trie, longest_match, prefix_at, view_trie
from verify cimport verify, verify_header

from weakref import WeakSet

from cidrgate.errors import AccountNotFoundError, InvalidAccountError, SnapshotError, SubaccountError
from cidrgate.process.private_files import replacement


_matchers = WeakSet()
"""All there are, for a forked child."""


cdef class _Mapping:
    """The memory of a mapped file, for as long as somebody refers to it."""

    cdef Py_buffer buffer
    cdef bint held

    def __cinit__(self, object file):
        PyObject_GetBuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), &self.buffer, PyBUF_SIMPLE)
        self.held = True

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)


cdef class Matcher:
    """The lists of all accounts, and the check on the hot path: may this address act for this account?

    Reads never wait for a lock; `publish` replaces one account's list in one step, at a cost that does not depend
    on how many other accounts there are. An account that is unknown, or has no prefixes, is not enforced: every
    address is allowed, unless it was published as enforced.

    Example:
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["8.8.8.0/24"])
        >>> matcher.allows("acct-1", "8.8.8.8"), matcher.allows("acct-1", "9.9.9.9")
        (True, False)
        >>> matcher.link("sub-1", parent="acct-1")
        >>> matcher.allows("sub-1", "9.9.9.9"), matcher.allows("acct-2", "9.9.9.9")
        (False, True)
    """

    # Read by whoever has entered, or holds the GIL; written in a critical section of this object, which is what the
    # GIL gives where there is one.
    cdef Lists lists
    # The mapped file of a matcher that was opened, and what `save` was told to keep with it.
    cdef _Mapping mapping
    cdef bytes kept
    # Writers wait until `adopt`, which lets others run while it waits for readers, is done.
    cdef bint adopting
    cdef object __weakref__

    def __cinit__(self):
        if not open_lists(&self.lists, new_seed()):
            raise MemoryError
        self.kept = b""
        _matchers.add(self)

    def __dealloc__(self):
        close_lists(&self.lists)

    cdef inline int name(self, str account, Name *name) except -1:
        """Read the name of an account that is looked up."""
        cdef Py_ssize_t size
        if account is None:
            raise TypeError("an account is a str, not None")
        if PyUnicode_IS_COMPACT_ASCII(account):
            name.text = ascii_text(account)
            name.size = PyUnicode_GET_LENGTH(account)
        else:
            try:
                name.text = <const uint8_t *>PyUnicode_AsUTF8AndSize(account, &size)
            except UnicodeEncodeError:
                raise InvalidAccountError(f"{quoted(account)} holds a lone surrogate, so it names no account") from None
            name.size = size
        return 0

    cdef int new_name(self, str account, Name *name) except -1:
        """Read the name of an account that is written."""
        self.name(account, name)
        if name.size == 0 or name.size > MAX_NAME:
            raise InvalidAccountError(f"an account's name has 1 to {MAX_NAME} bytes of UTF-8, not {name.size}")
        return 0

    @property
    def nbytes(self):
        """Bytes that hold all lists, the index on accounts and the rows, free room included."""
        cdef const Accounts *accounts
        cdef size_t size
        with cython.critical_section(self):
            accounts = accounts_of(&self.lists)
            size = (accounts.arena.nbytes - (accounts.arena.end - accounts.arena.next) * UNIT
                    + accounts.row_room * sizeof(uint32_t) + table_size(accounts))
        return size

    def publish(self, str account not None, object prefixes, *, bint enforced=False):
        """Replace an account's prefixes in one step.

        Args:
            account: The account, known or new.
            prefixes: As for `PrefixTrie`; none means that the account is known but not enforced.
            enforced: Enforce the account without prefixes too, so that every address is denied.

        Raises:
            InvalidAddressError: One of them is no prefix; the account is as before.
            InvalidAccountError: The name is empty or too long.
            SubaccountError: The account inherits its parent's list.

        Example:
            >>> matcher = Matcher()
            >>> matcher.publish("acct-1", [], enforced=True)
            >>> matcher.enforced("acct-1"), matcher.allows("acct-1", "8.8.8.8")
            (True, False)
        """
        cdef Name name
        cdef Plan plan
        cdef uint32_t count = 0
        cdef int outcome = 0
        cdef Item *items = read_items(prefixes, &count)
        try:
            self.new_name(account, &name)
            if not plan_trie(items, count, &plan):
                raise MemoryError
            with cython.critical_section(self):
                self.wait_for_adoption()
                outcome = publish(accounts_of(&self.lists), &name, &plan, enforced)
            drop_plan(&plan)
        finally:
            free(items)
        if outcome == IS_SUBACCOUNT:
            raise SubaccountError(
                f"{account!r} inherits the list of {self.parent_of(account)!r}: change that account's list instead"
            )
        if outcome != DONE:
            raise MemoryError

    cdef str parent_of(self, str account):
        """The name of a subaccount's parent, or None when it has none (any more)."""
        cdef Name name
        cdef const AccountHeader *parent = NULL
        cdef const Accounts *accounts
        cdef int64_t *inside
        self.name(account, &name)
        inside = enter_unlocked(&self.lists.readers)
        accounts = accounts_of(&self.lists)
        try:
            parent = header_of_parent(accounts, &name)
            if parent == NULL:
                return None
            return PyUnicode_DecodeUTF8(<const char *>text_of(parent), parent.name_size, NULL)
        finally:
            leave_unlocked(inside)

    def link(self, str account not None, str parent not None):
        """Make an account a subaccount: it inherits its parent's list, now and after every change.

        Args:
            account: The subaccount, new or without prefixes of its own.
            parent: The parent; created without prefixes when it is unknown.

        Raises:
            InvalidAccountError: A name is empty or too long.
            SubaccountError: The parent is a subaccount itself, or the account is enforced by a list of its own, or has
                subaccounts.
        """
        cdef Name name, parent_name
        cdef int outcome
        self.new_name(account, &name)
        self.new_name(parent, &parent_name)
        if account == parent:
            raise SubaccountError(f"{account!r} cannot inherit its own list")
        with cython.critical_section(self):
            self.wait_for_adoption()
            outcome = link(accounts_of(&self.lists), &name, &parent_name)
        if outcome == IS_SUBACCOUNT:
            raise SubaccountError(
                f"{parent!r} is a subaccount of {self.parent_of(parent)!r} and has no list to inherit"
            )
        if outcome == HAS_ENTRIES:
            raise SubaccountError(f"{account!r} has a list of its own: publish none before it inherits {parent!r}'s")
        if outcome == HAS_SUBACCOUNTS:
            raise SubaccountError(f"{account!r} has subaccounts, so it cannot inherit the list of {parent!r}")
        if outcome != DONE:
            raise MemoryError

    def discard(self, str account not None):
        """Forget an account; unknown ones are no error.

        A parent with subaccounts loses its prefixes and stays their parent.
        """
        cdef Name name
        cdef int outcome
        self.name(account, &name)
        with cython.critical_section(self):
            self.wait_for_adoption()
            outcome = discard(accounts_of(&self.lists), &name)
        if outcome != DONE:
            raise MemoryError

    def allows(self, str account not None, object address, /):
        """Whether an address may act for an account.

        Args:
            account: The account. One that is unknown, or not `enforced`, allows every address.
            address: `str`, packed `bytes` (4 or 16) or an `ipaddress` object.

        Raises:
            InvalidAddressError: The argument is no address; an edge answers 403 then.
        """
        return answer(self, account, address, True, True)

    def allows_known(self, str account not None, object address, /):
        """Whether an account is known and its list allows an address.

        Args:
            account: The account. One that is known but not `enforced` allows every address, an unknown one allows none.
            address: `str`, packed `bytes` (4 or 16) or an `ipaddress` object.

        Raises:
            InvalidAddressError: The argument is no address, whether the account is known or not.

        Example:
            >>> matcher = Matcher()
            >>> matcher.publish("acct-1", [])
            >>> matcher.allows_known("acct-1", "8.8.8.8"), matcher.allows_known("acct-2", "8.8.8.8")
            (True, False)
        """
        return answer(self, account, address, False, True)

    def allows_enforced(self, str account not None, object address, /):
        """Whether an account is enforced and a prefix of its list covers an address.

        Args:
            account: The account. One that is unknown, or not `enforced`, allows no address.
            address: `str`, packed `bytes` (4 or 16) or an `ipaddress` object.

        Raises:
            InvalidAddressError: The argument is no address, whether the account is enforced or not.

        Example:
            >>> matcher = Matcher()
            >>> matcher.publish("acct-1", ["8.8.8.0/24"])
            >>> matcher.publish("acct-2", [])
            >>> matcher.allows_enforced("acct-1", "8.8.8.8"), matcher.allows_enforced("acct-2", "8.8.8.8")
            (True, False)
        """
        return answer(self, account, address, False, False)

    def enforced(self, str account not None):
        """Whether an account's list decides who may act for it: it has prefixes, or was published as enforced.

        A subaccount is enforced when its parent is; an unknown account is not.
        """
        cdef Name name
        cdef uint32_t block
        cdef bint answer
        cdef const Accounts *accounts
        cdef int64_t *inside
        self.name(account, &name)
        inside = enter_unlocked(&self.lists.readers)
        accounts = accounts_of(&self.lists)
        block = list_of(accounts, &name)
        answer = block != 0 and not is_open(trie_of(header_of(accounts, block)))
        leave_unlocked(inside)
        return answer

    def match(self, str account not None, object address):
        """The longest prefix of the account's list that covers an address, as text, or None.

        Raises:
            InvalidAddressError: It is no address.
        """
        cdef Name name
        cdef Address wanted
        cdef Trie trie
        cdef Prefix prefix
        cdef int32_t index = NONE
        cdef uint32_t block
        cdef const Accounts *accounts
        cdef int64_t *inside
        read(address, &wanted)
        self.name(account, &name)
        inside = enter_unlocked(&self.lists.readers)
        accounts = accounts_of(&self.lists)
        block = list_of(accounts, &name)
        if block:
            view_trie(trie_of(header_of(accounts, block)), &trie)
            index = longest_match(&trie, &wanted)
            if index != NONE:
                prefix_at(&trie, index, &prefix)
        leave_unlocked(inside)
        return None if index == NONE else prefix_text(&prefix)

    def prefixes(self, str account not None):
        """The prefixes that decide for an account, in address order; none for an unknown one."""
        cdef Name name
        cdef Trie trie
        cdef Prefix prefix
        cdef uint32_t block, index
        cdef const Accounts *accounts
        cdef int64_t *inside
        cdef list found = []
        self.name(account, &name)
        # Making objects may run the collector of garbage, and with it code that publishes.
        inside = enter(&self.lists.readers)
        accounts = accounts_of(&self.lists)
        try:
            block = list_of(accounts, &name)
            if block:
                view_trie(trie_of(header_of(accounts, block)), &trie)
                for index in range(trie.n4 + trie.n6):
                    prefix_at(&trie, index, &prefix)
                    found.append(prefix_text(&prefix))
        finally:
            leave(inside)
        return found

    def rows(self, object accounts):
        """Row numbers of accounts, to be used in `allows_many` again and again.

        A row stays its account's own through every change; after `discard` and `adopt` it is nobody's.

        Returns:
            int32[n]; -1 for an unknown account.
        """
        cdef Name name
        cdef list names = list(accounts)
        array = _numpy().empty(len(names), dtype=_numpy().int32)
        cdef _Answers results = _Answers(array, _numpy().int32, len(names))
        cdef Py_ssize_t index
        cdef int64_t *inside = enter(&self.lists.readers)
        cdef const Accounts *known = accounts_of(&self.lists)
        try:
            for index in range(len(names)):
                self.name(<str?>names[index], &name)
                (<int32_t *>results.memory.buffer.buf)[index] = row_of(known, &name)
        finally:
            leave(inside)
        return array

    def allows_many(self, object accounts, object addresses, object out=None):
        """Whether each address may act for its account; other threads run meanwhile.

        Args:
            accounts: One account for all addresses, a list of n accounts, or int32[n] rows of `rows`, where -1 is an
                unknown account.
            addresses: n addresses as for `PrefixTrie.contains_many`.
            out: An array of bool[n] to write the answers to.

        Returns:
            bool[n]; `out` when it was given.

        Raises:
            InvalidAddressError: An element is no address; the message names the first one.
            AccountNotFoundError: A row is nobody's.
            ValueError: The arrays differ in length, `out` is another kind of array, or an Arrow array names memory
                outside of its buffers.
        """
        cdef _AddressArray given = _AddressArray(addresses)
        cdef Py_ssize_t done, count = given.batch.count
        cdef _Answers results = _Answers(out, _numpy().bool_, count, given)
        cdef _Memory rows = None
        cdef Name name
        cdef uint8_t *answers = <uint8_t *>results.memory.buffer.buf
        cdef bint nobody = False
        cdef list names = None
        cdef const Accounts *known
        cdef int64_t *inside
        if isinstance(accounts, str):
            self.name(accounts, &name)
        else:
            if not isinstance(accounts, _numpy().ndarray):
                names = list(accounts)
                accounts = self.rows(names)
            accounts = plain_array(accounts)
            if accounts.dtype.kind != "i" or accounts.shape != (count,):
                raise ValueError(
                    f"accounts is one str, a list of {count} str, or {count} rows of rows(); not {accounts.dtype} "
                    f"of shape {accounts.shape}"
                )
            rows = row_memory(accounts)
        with nogil:
            # Whoever waits for the readers may have the GIL.
            inside = enter(&self.lists.readers)
            known = accounts_of(&self.lists)
            if rows is None:
                done = allow_one(known, list_of(known, &name), &given.batch, answers)
            else:
                done = allow_rows(
                    known, <const int32_t *>rows.buffer.buf, &given.batch, answers, &nobody)
            leave(inside)
        if nobody:
            if names is not None:  # an account was discarded, or all were replaced, since its row was looked up
                return self.allows_many(names, addresses, results.array)
            raise no_row(accounts, done)
        if done < count:
            raise given.unreadable(done)
        return results.array

    def adopt(self, Matcher other not None):
        """Take over the lists of another matcher in one step; it has none afterwards.

        Every question is answered by the lists of before or by those of after, and waits for nothing. Rows of `rows`
        from before are nobody's afterwards: ask for them again. Memory of the lists of before is given back once the
        batches that read them have ended, which is waited for.

        Args:
            other: The other matcher, such as one just opened.

        Example:
            >>> matcher, other = Matcher(), Matcher()
            >>> other.publish("acct-1", ["8.8.8.0/24"])
            >>> matcher.adopt(other)
            >>> matcher.prefixes("acct-1"), len(other)
            (['8.8.8.0/24'], 0)
        """
        cdef Accounts *nobody
        cdef Accounts *coming
        cdef Accounts *going
        if other is self:
            return
        nobody = open_accounts(&other.lists.readers, new_seed())
        if nobody == NULL:
            raise MemoryError
        with cython.critical_section(self, other):
            while self.adopting or other.adopting:
                with nogil:
                    nap()
            self.adopting = other.adopting = True
            coming = withdraw(&other.lists, nobody)
            other.wait_for_readers()
            move_accounts(coming, &self.lists.readers)
            going = withdraw(&self.lists, coming)
            self.wait_for_readers()
            close_accounts(going)
            self.mapping, other.mapping = other.mapping, None
            self.kept, other.kept = other.kept, b""
            self.adopting = other.adopting = False

    cdef void wait_for_adoption(self) noexcept:
        """Wait until no `adopt` is under way, which lets other writers run while it waits itself."""
        while self.adopting:
            with nogil:
                nap()

    cdef void wait_for_readers(self) noexcept:
        """Wait until everybody has left who reads now; whoever enters meanwhile is not waited for."""
        cdef int epochs = 0
        while epochs < 2:
            if epoch_ends(&self.lists.readers):
                epochs += 1
            else:
                with nogil:
                    nap()

    @property
    def note(self):
        """The bytes that `save` was told to keep with the file this matcher was opened from; empty without one."""
        return self.kept

    def save(self, object path, *, bytes note not None=b""):
        """Write all accounts to one file that `open` maps.

        The file appears whole or not at all: it is written beside its place, synced, and renamed. A new one is for its
        owner alone to read and write; one that replaces another of this user's has its mode and its group.

        Args:
            path: Where to; what is there is replaced, a symbolic link too. Processes that have it open keep what they
                opened.
            note: Bytes to keep with it, up to 64 MiB: `note` of a matcher that opens it.

        Raises:
            ValueError: The note is too long.
            OSError: The file cannot be written.
        """
        cdef uint64_t size = 0
        cdef uint8_t *image
        if len(note) > MOST_NOTE:
            raise ValueError(f"a note has up to {MOST_NOTE:,} bytes, not {len(note):,}")
        with cython.critical_section(self):
            self.wait_for_adoption()
            image = write_image(accounts_of(&self.lists), <const uint8_t *>PyBytes_AS_STRING(note), len(note), &size)
        if image == NULL:
            raise MemoryError
        try:
            replace_file(path, PyMemoryView_FromMemory(<char *>image, size, PyBUF_READ))
        finally:
            free(image)

    @staticmethod
    def open(object path, *, bint trusted=False):
        """A matcher over a saved file, ready without parsing.

        The file is mapped: processes that open it share its memory. Changes after opening are this matcher's own, in
        memory. The file is checked whole, once: whatever it holds, questions about it stay inside it and are answered
        as its own prefixes answer them, and changes do no harm. Whose lists they are, no check can tell. That reads all
        of it, at the speed of memory; who has had the file checked before, or wrote it, can leave it out.

        Args:
            path: A file that `save` wrote, on a machine of the same byte order. It may be replaced while it is open,
                but must not be changed in place.
            trusted: Check the first page only, so that opening takes the same time whatever the size. For a file that
                nobody else could have written since this program, or a process it trusts, wrote or checked it: damage
                and malice in the rest are not found, and may crash the process or let anybody in.

        Raises:
            SnapshotError: It is no snapshot, is cut short or damaged, or was written by a newer version.
            OSError: The file cannot be read.
        """
        cdef Matcher matcher = Matcher()
        cdef Snapshot header
        cdef int found = FOREIGN
        cdef char *image
        with builtin_open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
                raise SnapshotError(refusal(path, FOREIGN))
            matcher.mapping = _Mapping(file)
        image = <char *>matcher.mapping.buffer.buf
        if trusted:
            found = verify_header(<const uint8_t *>image, matcher.mapping.buffer.len, &header)
        else:
            found = verify(<const uint8_t *>image, matcher.mapping.buffer.len, &header)
        if found == OUT_OF_MEMORY:
            raise MemoryError
        if found != SOUND:
            raise SnapshotError(refusal(path, found))
        use_image(accounts_of(&matcher.lists), image, &header)
        matcher.kept = (<const char *>note_of(<const uint8_t *>image, &header))[:header.note_size]
        return matcher

    def __contains__(self, str account not None):
        cdef Name name
        cdef bint known
        cdef const Accounts *accounts
        cdef int64_t *inside
        self.name(account, &name)
        inside = enter_unlocked(&self.lists.readers)
        accounts = accounts_of(&self.lists)
        known = find(accounts, &name) != NULL
        leave_unlocked(inside)
        return known

    def __len__(self):
        cdef uint32_t live
        cdef int64_t *inside = enter_unlocked(&self.lists.readers)
        live = load_acquire(&accounts_of(&self.lists).live)
        leave_unlocked(inside)
        return live

    def __repr__(self):
        return f"<Matcher of {len(self):,} accounts, {self.nbytes:,} bytes>"


cdef uint64_t new_seed() except? 0:
    """A seed nobody can guess."""
    cdef bytes seed = os.urandom(8)
    return (<const uint64_t *>PyBytes_AS_STRING(seed))[0]


cdef dict REFUSALS = {
    FOREIGN: "is no snapshot: open a file that Matcher.save wrote",
    OTHER_ORDER: "was written on a machine of another byte order: save it again on this one",
    NEWER: "was written by a newer version of cidrgate: upgrade, or save it again with this one",
    TRUNCATED: "is not as long as it says: copy or save it again",
    DAMAGED: "does not match its checksum: copy or save it again",
    HOSTILE: "contradicts itself: save it again",
}


cdef str refusal(object path, int found):
    """What to say of a file that is refused."""
    return f"{os.fspath(path)!r} {REFUSALS[found]}"


def _open_without_waiting(path, flags, /):
    """Open a file; of a pipe, which is none, nobody is waited for who writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


cdef object replace_file(object path, object content):
    """Write a file beside its place, for its owner alone, and rename it; nothing is left behind when that fails."""
    with replacement(Path(path)) as file:
        file.write(content)


def _seal_snapshot(bytes image not None, /):
    """An image with the checksums its content calls for: what a forger would do, for the tests of the checks."""
    cdef bytearray sealed = bytearray(image)
    seal(<uint8_t *><char *>sealed, len(image))
    return bytes(sealed)


cdef object no_row(object rows, Py_ssize_t index):
    """The error of a row that is nobody's."""
    return AccountNotFoundError(f"accounts[{index}]: row {rows[index]} is no account's; call rows() again")


cdef _Memory row_memory(object rows):
    """Rows as int32; a number that is not of 32 bits is no row, and does not become one by being cut."""
    cdef _Memory memory = _Memory()
    given = rows
    rows = _numpy().require(given, _numpy().int32, "CA")
    if given.dtype.itemsize > 4 and (rows != given).any():
        raise no_row(given, int((rows != given).argmax()))
    if not memory.take(rows, b"il", 4, 1, False):
        raise ValueError("accounts changed meanwhile")
    return memory


cdef inline bint answer(Matcher matcher, str account, object address, bint unknown, bint unenforced) except -1:
    """Whether an address may act for an account; `unknown` and `unenforced` are the answers for such accounts.

    The one body of `allows`, `allows_known` and `allows_enforced`, compiled into each of them.
    """
    cdef Name name
    cdef Address wanted
    cdef uint32_t block
    cdef bint found
    cdef const Accounts *accounts
    cdef int64_t *inside
    read(address, &wanted)
    matcher.name(account, &name)
    inside = enter_unlocked(&matcher.lists.readers)
    accounts = accounts_of(&matcher.lists)
    block = list_of(accounts, &name)
    found = allowed(accounts, block, &wanted, unenforced) if block else unknown
    leave_unlocked(inside)
    return found


cdef inline bint allowed(
    const Accounts *accounts, uint32_t block, const Address *address, bint unenforced
) noexcept nogil:
    """The answer of one list."""
    return trie_allows(trie_of(header_of(accounts, block)), address, unenforced)


cdef Py_ssize_t allow_one(
    const Accounts *accounts, uint32_t block, const Batch *batch, uint8_t *answers
) noexcept nogil:
    """Answers of one list (0: an unknown account); returns how many before an element that is no address."""
    cdef Trie trie
    cdef Py_ssize_t done
    if block == 0 or is_open(trie_of(header_of(accounts, block))):
        memset(&trie, 0, sizeof(Trie))
        done = find_batch(&trie, batch, answers)
        memset(answers, 1, done)
        return done
    view_trie(trie_of(header_of(accounts, block)), &trie)
    return find_batch(&trie, batch, answers)


cdef Py_ssize_t allow_rows(
    const Accounts *accounts, const int32_t *rows, const Batch *batch, uint8_t *answers, bint *nobody
) noexcept nogil:
    """Answers by row; returns how many before an element that is no address, or whose row is nobody's."""
    cdef Address addresses[PIECE]
    cdef const AccountHeader *headers[PIECE]
    cdef Py_ssize_t start = 0, wanted, got, index, row
    cdef uint32_t block
    cdef int64_t first = accounts.first_row, end = first + rows_known(accounts)
    while start < batch.count:
        wanted = min(<Py_ssize_t>PIECE, batch.count - start)
        for index in range(wanted):
            row = rows[start + index]
            if first <= row < end:
                prefetch(list_at(accounts, row))
        got = read_piece(batch, start, wanted, addresses)
        for index in range(got):
            row = rows[start + index]
            headers[index] = NULL
            if row == NONE:
                continue
            block = load_acquire(list_at(accounts, row)) if first <= row < end else 0
            if block == 0:
                nobody[0] = True
                got = index
                break
            headers[index] = header_of(accounts, block)
            prefetch(headers[index])
            prefetch(<const char *>headers[index] + 64)
        for index in range(got):
            answers[start + index] = headers[index] == NULL or trie_allows(
                trie_of(headers[index]), addresses + index, True)
        start += got
        if got < wanted:
            break
    return start
