"""`Matcher`, the lists of all accounts, and its snapshot file. Part of `_engine.pyx`."""

cimport cython

import mmap
import os
import stat
from builtins import open as builtin_open
from pathlib import Path

from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from accounts cimport (
    DEAD, DONE, HAS_ENTRIES, HAS_SUBACCOUNTS, IS_SUBACCOUNT, MAX_NAME, NO_PARENT, OFF, REPORT_ONLY, AccountHeader,
    Accounts, Lists, Name, Slot, SlotTable, accounts_of, blocks_by_row, close_accounts, close_lists, count_enforced,
    count_mode, discard, find, find_from, find_own_blocks, first_place, header_of, header_of_parent, is_enforced,
    is_open, is_row, link, list_allows, list_at, list_of, move_accounts, open_accounts, open_lists, own_block, publish,
    renew_index, row_at, row_of, rows_known, table_size, text_of, trie_of, withdraw,
)
from address cimport IPV6, Address, Prefix
from arena cimport UNIT
from batch cimport PIECE, Batch, read_piece
from build cimport Item, Plan, drop_plan, plan_trie
from native cimport allocate_array, backoff, keyed_hash, load_acquire, load_pointer, prefetch, store_pointer
from readers cimport CACHE_LINE, Readers, enter, enter_unlocked, epoch_ends, leave, leave_unlocked
from snapshot cimport (
    DAMAGED, FOREIGN, HOSTILE, MOST_NOTE, NEWER, OTHER_ORDER, OUT_OF_MEMORY, SOUND, TRUNCATED, Snapshot, note_of, seal,
    use_image, write_image,
)
from traffic cimport (
    NOTE_ALLOWED, NOTE_IPV6, Note, Traffic, close_traffic, collect_notes, count_lists, count_notes, drop_notes,
    lists_counted, note_check, open_traffic,
)
from trie cimport NONE, Trie, longest_match, prefix_at, view_trie
from verify cimport verify, verify_header

from weakref import WeakSet

from importlib import import_module

from cidrgate.errors import AccountNotFoundError, InvalidAccountError, SnapshotError, SubaccountError, needs_extra
from cidrgate.process.database_files import DatabaseFileError, open_no_database
from cidrgate.process.file_names import file_name
from cidrgate.process.forking import loading
from cidrgate.process.private_files import replacement


# All existing matchers; a forked child resets them. No name of Python leads to them: what is in it is not checked.
cdef object _matchers = WeakSet()


@cython.no_gc_clear
cdef class _Mapping:
    """The memory of a mapped file, as long as a reference to it exists."""

    cdef Py_buffer buffer
    cdef bint held

    def __cinit__(self, object file):
        PyObject_GetBuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), &self.buffer, PyBUF_SIMPLE)
        self.held = True

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)


# The collector of cycles must not take the mapping away before `__dealloc__`, which still reads the lists in it.
@cython.no_gc_clear
@cython.final
cdef class Matcher:
    """Matcher()\n--\n\nThe lists of all accounts, and the check whether an address may act for an account.

    An account that is unknown or has no prefixes is not enforced: it allows every address, unless it was published with
    `when_empty="deny"`. To deny unknown accounts, use `allows_known`, or a `Gate` with `unlisted`.

    Reads never wait for a lock. `publish` replaces one account's list in one step; its cost does not depend on the
    number of other accounts, except that each subaccount of the account adds to it.

    `account in matcher`, `len(matcher)` and iteration are about the accounts that are known, subaccounts and accounts
    without prefixes included. Iteration gives the names that were known when it began.

    A matcher cannot be copied or pickled: use `save` and `open`.

    Example:
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["8.8.8.0/24"])
        >>> matcher.allows("acct-1", "8.8.8.8"), matcher.allows("acct-1", "9.9.9.9")
        (True, False)
        >>> matcher.link("sub-1", parent="acct-1")
        >>> matcher.allows("sub-1", "9.9.9.9"), matcher.allows("acct-2", "9.9.9.9")
        (False, True)
    """

    # Read after `enter`, or while holding the GIL; written in a critical section of this object, which is the GIL
    # itself if there is one.
    cdef Lists lists
    # The mapped file of an opened matcher, and the note that was passed to `save`.
    cdef _Mapping mapping
    cdef bytes kept
    # Set while `adopt` waits for readers and lets other threads run. Other writers wait until it is cleared.
    cdef bint adopting
    # The rings for notes of checks. They stay after recording has ended, as other threads may be writing to them.
    cdef Traffic *traffic
    cdef object __weakref__

    def __cinit__(self, *given, **named):
        if given or named:
            raise TypeError("Matcher() takes no arguments: open a file with Matcher.open(path)")
        if not open_lists(&self.lists, new_seed()):
            raise MemoryError
        self.kept = b""
        _matchers.add(self)

    def __dealloc__(self):
        close_lists(&self.lists)
        close_traffic(self.traffic)

    cdef inline int name(self, object account, Name *name) except -1:
        """Read the name of an account to look up."""
        if not isinstance(account, str):
            raise TypeError(f"an account must be a str, not {type(account).__name__}")
        if not read_name(<str>account, name):
            raise InvalidAccountError(no_name(account))
        return 0

    cdef int new_name(self, object account, Name *name) except -1:
        """Read the name of an account to write."""
        self.name(account, name)
        if name.size == 0 or name.size > MAX_NAME:
            raise InvalidAccountError(f"an account's name must have 1 to {MAX_NAME} bytes of UTF-8, not {name.size}")
        return 0

    @property
    def nbytes(self):
        """The bytes used by all lists, the index on accounts and the rows, including free space."""
        cdef const Accounts *accounts
        cdef size_t size
        with cython.critical_section(self):
            accounts = accounts_of(&self.lists)
            size = (accounts.arena.nbytes - (accounts.arena.end - accounts.arena.next) * UNIT
                    + accounts.row_room * sizeof(uint32_t) + table_size(accounts))
        return size

    def publish(self, object account, object prefixes, *, object when_empty="allow", object mode="enforce"):
        """Replace an account's prefixes in one step.

        Args:
            account: A known or new account.
            prefixes: Prefixes as for `PrefixTrie`.
            when_empty: What an empty list does. With `"allow"` the account is known but not enforced, and every address
                is allowed; with `"deny"` it is enforced, and every address is denied. A list with prefixes is always
                enforced. Pass `"deny"` if the list comes from somewhere that may fail by being empty.
            mode: The mode of the list: `"enforce"`, or `"report_only"` or `"off"`, with which every address is allowed,
                whatever the list contains. A `Gate` reports the requests that `"report_only"` allows against the list.

        Raises:
            InvalidAddressError: If an element is not a prefix; the account is then unchanged.
            InvalidAccountError: If the name is empty or too long.
            SubaccountError: If the account inherits its parent's list.
            ValueError: If `when_empty` or `mode` is another word.

        Example:
            >>> matcher = Matcher()
            >>> matcher.publish("acct-1", [], when_empty="deny")
            >>> matcher.enforced("acct-1"), matcher.allows("acct-1", "8.8.8.8")
            (True, False)
        """
        self.publish_list(
            exact_text(account, "an account"), prefixes, exact_text(when_empty, "when_empty"),
            exact_text(mode, "mode"), False)

    def _publish_moved(self, object account, object prefixes, *, object when_empty="allow", object mode="enforce"):
        """Like `publish`; a subaccount leaves its parent in the same step."""
        self.publish_list(
            exact_text(account, "an account"), prefixes, exact_text(when_empty, "when_empty"),
            exact_text(mode, "mode"), True)

    cdef publish_list(self, str account, object prefixes, str when_empty, str mode, bint moves):
        cdef Name name
        cdef Plan plan
        cdef uint32_t count = 0
        cdef int outcome = 0
        cdef bint enforced = when_empty == "deny"
        cdef uint16_t flag = 0
        cdef Item *items
        if not enforced and when_empty != "allow":
            raise ValueError(f"when_empty must be 'allow' or 'deny', not {quoted(when_empty)}")
        if mode != "enforce":
            if mode not in MODES:
                raise ValueError(f"mode must be 'enforce', 'report_only' or 'off', not {quoted(mode)}")
            flag = MODES[mode]
        items = read_items(prefixes, &count)
        try:
            self.new_name(account, &name)
            if not plan_trie(items, count, &plan):
                raise MemoryError
            try:
                with cython.critical_section(self):
                    self.wait_for_adoption()
                    outcome = publish(accounts_of(&self.lists), &name, &plan, enforced, flag, moves)
            finally:
                drop_plan(&plan)
        finally:
            free(items)
        if outcome == IS_SUBACCOUNT:
            raise SubaccountError(
                f"{account!r} inherits the list of {self._parent_of(account)!r}: change that account's list instead"
            )
        if outcome != DONE:
            raise MemoryError

    def _parent_of(self, object account):
        """Return the name of a subaccount's parent, or None if the account has no parent (any more)."""
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

    def link(self, object account, object parent):
        """Make an account a subaccount: it inherits its parent's list, now and after every change.

        Args:
            account: The subaccount; a new account, or one that is not `enforced` for want of prefixes.
            parent: The parent, an account that is known. A parent that has no list yet is made known by
                `publish(parent, [])`.

        Raises:
            AccountNotFoundError: If the parent is unknown: a subaccount of a misspelt name would allow every address.
            InvalidAccountError: If a name is empty or too long.
            SubaccountError: If the parent is itself a subaccount, or if the account is enforced or has subaccounts.
        """
        self.link_to(exact_text(account, "an account"), exact_text(parent, "a parent"), False)

    def _link_moved(self, object account, object parent):
        """Like `link`; an account with a list loses it in the same step."""
        self.link_to(exact_text(account, "an account"), exact_text(parent, "a parent"), True)

    cdef link_to(self, str account, str parent, bint moves):
        cdef Name name, parent_name
        cdef int outcome
        self.new_name(account, &name)
        self.new_name(parent, &parent_name)
        if account == parent:
            raise SubaccountError(f"{account!r} cannot inherit its own list")
        with cython.critical_section(self):
            self.wait_for_adoption()
            outcome = link(accounts_of(&self.lists), &name, &parent_name, moves)
        if outcome == NO_PARENT:
            raise AccountNotFoundError(
                f"{account!r} cannot inherit from the unknown account {parent!r}: publish the parent's list first, "
                "even if it is empty"
            )
        if outcome == IS_SUBACCOUNT:
            raise SubaccountError(
                f"{parent!r} is a subaccount of {self._parent_of(parent)!r} and has no list to inherit"
            )
        if outcome == HAS_ENTRIES:
            raise SubaccountError(
                f"{account!r} has its own list: publish an empty list with when_empty='allow' before it inherits the "
                f"list of {parent!r}")
        if outcome == HAS_SUBACCOUNTS:
            raise SubaccountError(f"{account!r} has subaccounts, so it cannot inherit the list of {parent!r}")
        if outcome != DONE:
            raise MemoryError

    def discard(self, object account):
        """Remove an account. An unknown account is not an error.

        An account with subaccounts is not removed: it only loses its prefixes, and becomes a known account that is not
        enforced. It and its subaccounts then allow every address, also in `allows_known` and in a `Gate` that denies
        unknown accounts. It stays known after its last subaccount is removed. So discard the subaccounts first, and
        their parent after them; or publish the parent's list with `when_empty="deny"`.

        To remove a subaccount, or to link it to another parent, takes a step for each subaccount that was linked to the
        same parent after it. To remove very many of one parent, begin with those that were linked last.

        Example:
            >>> matcher = Matcher()
            >>> matcher.publish("acct-1", ["8.8.8.0/24"])
            >>> matcher.link("sub-1", parent="acct-1")
            >>> matcher.discard("acct-1")
            >>> "acct-1" in matcher, matcher.allows_known("sub-1", "9.9.9.9")
            (True, True)
            >>> matcher.discard("sub-1")
            >>> matcher.discard("acct-1")
            >>> "acct-1" in matcher
            False
        """
        cdef Name name
        cdef int outcome
        self.name(account, &name)
        with cython.critical_section(self):
            self.wait_for_adoption()
            outcome = discard(accounts_of(&self.lists), &name)
        if outcome != DONE:
            raise MemoryError

    def allows(self, object account, object address):
        """Return whether an address may act for an account. An unknown account allows every address.

        Args:
            account: The account. If it is unknown or not `enforced`, every address is allowed.
            address: A `str`, packed `bytes` (4 or 16) or an `ipaddress` object; an interface is its address, without
                its network.

        Raises:
            InvalidAddressError: If the argument is not an address. An edge then denies the request with 403 if the
                account is enforced; `RuleManager.explain` denies it for every account.
        """
        return answer(self, account, address, True, True, True, ALWAYS)

    def allows_known(self, object account, object address):
        """Return whether an account is known and its list allows an address.

        Args:
            account: The account. A known account that is not `enforced` allows every address; an unknown account allows
                none.
            address: A `str`, packed `bytes` (4 or 16) or an `ipaddress` object; an interface is its address, without
                its network.

        Raises:
            InvalidAddressError: If the argument is not an address, whether the account is known or not.

        Example:
            >>> matcher = Matcher()
            >>> matcher.publish("acct-1", [])
            >>> matcher.allows_known("acct-1", "8.8.8.8"), matcher.allows_known("acct-2", "8.8.8.8")
            (True, False)
        """
        return answer(self, account, address, False, True, True, ALWAYS)

    def allows_enforced(self, object account, object address):
        """Return whether an account has a list that allows an address.

        Args:
            account: The account. If it is unknown, or its list is empty and was published with `when_empty="allow"`, no
                address is allowed. If the mode of its list is not `enforce`, every address is.
            address: A `str`, packed `bytes` (4 or 16) or an `ipaddress` object; an interface is its address, without
                its network.

        Raises:
            InvalidAddressError: If the argument is not an address, whether the account is enforced or not.

        Example:
            >>> matcher = Matcher()
            >>> matcher.publish("acct-1", ["8.8.8.0/24"])
            >>> matcher.publish("acct-2", [])
            >>> matcher.allows_enforced("acct-1", "8.8.8.8"), matcher.allows_enforced("acct-2", "8.8.8.8")
            (True, False)
        """
        return answer(self, account, address, False, False, True, ALWAYS)

    def _sure_known(self, object account, object address):
        """Return the result of `allows_known`, or False if only the mode of the list allows the address.

        Only a True is noted as traffic: after a False, the caller looks again and calls `_note`.
        """
        return answer(self, account, address, False, True, False, IF_ALLOWED)

    def _sure_enforced(self, object account, object address):
        """Return the result of `allows_enforced`, or False if only the mode of the list allows the address.

        It is noted as by `_sure_known`.
        """
        return answer(self, account, address, False, False, False, IF_ALLOWED)

    def _would_allow(self, object account, object address):
        """Return the result of `allows`, without a note."""
        return answer(self, account, address, True, True, True, NEVER)

    def _would_allow_known(self, object account, object address):
        """Return the result of `allows_known`, without a note."""
        return answer(self, account, address, False, True, True, NEVER)

    def _note(self, object account, object address, bint allowed):
        """Note what was decided about an address that acted for an account; an unknown account is not noted."""
        cdef Name name
        cdef Address wanted
        cdef int32_t row
        cdef int64_t *inside
        cdef Traffic *traffic = <Traffic *>load_pointer(&self.lists.traffic)
        if traffic == NULL:
            return
        read(address, &wanted)
        self.name(account, &name)
        inside = enter_unlocked(&self.lists.readers)
        row = row_of(accounts_of(&self.lists), &name)
        if row >= 0:
            note(traffic, &wanted, row, allowed)
        leave_unlocked(inside)

    def _record_traffic(self, uint32_t capacity):
        """Begin to note checks, in rings for so many notes each: a power of two."""
        if capacity == 0 or capacity & (capacity - 1):
            raise ValueError(f"the capacity of a ring must be a power of two, not {capacity}")
        with cython.critical_section(self):
            if self.traffic == NULL:
                store_pointer(<void **>&self.traffic, open_traffic(capacity))
                if self.traffic == NULL:
                    raise MemoryError
            store_pointer(&self.lists.traffic, self.traffic)

    def _end_traffic(self):
        """Note no more checks. What was noted can still be collected."""
        store_pointer(&self.lists.traffic, NULL)

    def _collect_traffic(self):
        """Return the notes since the last call as bytes, how many were lost, and which lists the row numbers are of.

        A note has 24 bytes: uint64 and uint64, the address with an IPv4 address as the upper 32 bits of the first;
        int32, the row number; uint32, with bit 0 for an allowed request and bit 1 for IPv6.
        """
        cdef uint64_t lost = 0
        cdef size_t room, count
        cdef bytes notes = b""
        with cython.critical_section(self):
            # During an adoption, notes with old and with new row numbers are in the rings.
            if self.traffic == NULL or self.adopting:
                return b"", 0, 0
            room = count_notes(self.traffic)
            if room:
                notes = PyBytes_FromStringAndSize(NULL, room * sizeof(Note))
            count = collect_notes(self.traffic, <Note *>PyBytes_AS_STRING(notes), room, &lost)
            return notes if count == room else notes[:count * sizeof(Note)], lost, lists_counted(self.traffic)

    def _names_of_rows(self, object rows, uint32_t lists):
        """Return the names of the accounts with these row numbers: an int32 array, of lists from `_collect_traffic`.

        The name is None if the account was discarded, or all lists were replaced.
        """
        cdef Py_ssize_t index, count = len(rows)
        cdef _Memory memory = row_memory(rows, count)
        cdef const int32_t *numbers = <const int32_t *>memory.buffer.buf
        cdef uint32_t known, block, row
        cdef uint32_t *blocks = NULL
        cdef bint inherited = False
        cdef const Accounts *accounts
        cdef const AccountHeader *header
        cdef Traffic *traffic
        cdef list names = [None] * count
        cdef int64_t *inside = enter(&self.lists.readers)
        try:
            accounts = accounts_of(&self.lists)
            # Counted before the lists are replaced, so these are still the lists of the row numbers.
            traffic = <Traffic *>load_pointer(<void **>&self.traffic)
            if traffic == NULL or lists_counted(traffic) != lists:
                return names
            known = rows_known(accounts)
            for index in range(count):
                if is_row(accounts, numbers[index]):
                    block = load_acquire(list_at(accounts, numbers[index]))
                    if block and not own_block(accounts, <uint32_t>numbers[index] - accounts.first_row, block):
                        inherited = True
            if inherited:
                blocks = <uint32_t *>allocate_array(known, sizeof(uint32_t))
                if blocks == NULL:
                    raise MemoryError
                memset(blocks, 0, known * sizeof(uint32_t))
                for index in range(count):
                    if is_row(accounts, numbers[index]) and numbers[index] - accounts.first_row < known:
                        row = <uint32_t>numbers[index] - accounts.first_row
                        blocks[row] = load_acquire(list_at(accounts, numbers[index]))
                with nogil:
                    find_own_blocks(accounts, blocks, known)
            for index in range(count):
                if not is_row(accounts, numbers[index]):
                    continue
                row = <uint32_t>numbers[index] - accounts.first_row
                if row >= known:
                    continue
                block = blocks[row] if blocks != NULL else load_acquire(list_at(accounts, numbers[index]))
                if block and own_block(accounts, row, block):
                    header = header_of(accounts, block)
                    names[index] = PyUnicode_DecodeUTF8(<const char *>text_of(header), header.name_size, NULL)
        finally:
            free(blocks)
            leave(inside)
        return names

    def mode(self, object account):
        """Return the mode of an account's list, as `publish` got it: `enforce`, `report_only` or `off`.

        A subaccount has the mode of its parent. An unknown account has the mode `enforce`.

        Example:
            >>> matcher = Matcher()
            >>> matcher.publish("acct-1", ["8.8.8.0/24"], mode="report_only")
            >>> matcher.mode("acct-1"), matcher.allows("acct-1", "9.9.9.9"), matcher.enforced("acct-1")
            ('report_only', True, False)
        """
        cdef uint16_t flags = self._state(account)[0]
        return "off" if flags & OFF else "report_only" if flags & REPORT_ONLY else "enforce"

    def _when_empty(self, object account):
        """Return the `when_empty` with which an account's list would be published again with other prefixes."""
        return "allow" if self._state(account)[1] else "deny"

    cdef tuple _state(self, object account):
        """Return the flags of an account's list, and whether the list is open, for changes and reports."""
        cdef Name name
        cdef uint32_t block
        cdef uint16_t flags = 0
        cdef bint opened = True
        cdef const Accounts *accounts
        cdef int64_t *inside
        self.name(account, &name)
        inside = enter_unlocked(&self.lists.readers)
        accounts = accounts_of(&self.lists)
        block = list_of(accounts, &name)
        if block != 0:
            flags = header_of(accounts, block).flags
            opened = is_open(trie_of(header_of(accounts, block)))
        leave_unlocked(inside)
        return flags, opened

    def enforced(self, object account):
        """Return whether an account is enforced: the mode of its list is `enforce`, and it has prefixes or was
        published with `when_empty="deny"`.

        A subaccount is enforced if its parent is. An unknown account is not enforced.
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
        answer = block != 0 and is_enforced(header_of(accounts, block))
        leave_unlocked(inside)
        return answer

    def _count_enforced(self):
        """Return how many accounts are enforced, for metrics. Every account is looked at, without the GIL."""
        cdef uint32_t count
        cdef int64_t *inside
        with nogil:
            inside = enter(&self.lists.readers)
            count = count_enforced(accounts_of(&self.lists))
            leave(inside)
        return count

    def _count_mode(self, str mode not None):
        """Return how many accounts have a list with the mode `report_only` or `off`, for metrics."""
        cdef uint32_t count
        cdef int64_t *inside
        cdef uint16_t flag = MODES[mode]
        with nogil:
            inside = enter(&self.lists.readers)
            count = count_mode(accounts_of(&self.lists), flag)
            leave(inside)
        return count

    def match(self, object account, object address):
        """Return the longest prefix of the account's list that covers an address, as text, or None.

        Raises:
            InvalidAddressError: If the argument is not an address.
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

    def prefixes(self, object account):
        """Return the prefixes that decide for an account, in address order; an empty list for an unknown account."""
        cdef Name name
        cdef Trie trie
        cdef Prefix prefix
        cdef uint32_t block, index
        cdef const Accounts *accounts
        cdef int64_t *inside
        cdef list found = []
        self.name(account, &name)
        # Making objects may start the garbage collector, which may run code that publishes.
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
        """Return the row numbers of accounts, for repeated calls of `allows_many`.

        A row number stays valid through every change of its account; `discard` and `adopt` make it invalid. Ask for new
        ones after `adopt`: the numbers begin again after some 2^31, and an old one could then be another account's.

        Args:
            accounts: A list of accounts, or another iterable of them. Of an Arrow array or stream of strings or of a
                dictionary of strings (a column of pyarrow, polars or pandas), the names are looked up without Python
                objects, and each value of a dictionary once. A column of objects of pandas is read as a list. Of an
                extension type, what it stores is read, unless Apache Arrow defines it, such as `arrow.json`.

        Returns:
            int32[n]; -1 for an unknown account.

        Raises:
            TypeError: If `accounts` is one `str`, or if an element is not a `str` or is null.
            InvalidAccountError: If a text is not UTF-8, or contains a lone surrogate.
            ValueError: If an Arrow array refers to memory outside its buffers.
            OSError: If an Arrow stream fails.
        """
        cdef _AccountNames given = _AccountNames(accounts)
        cdef _Answers results = _Answers(None, _numpy().int32, given.count)
        cdef Py_ssize_t done
        cdef int64_t *inside
        cdef int32_t *rows = <int32_t *>results.memory.buffer.buf
        with nogil:
            inside = enter(&self.lists.readers)
            done = find_names(accounts_of(&self.lists), given.batches, given.n_batches, rows)
            leave(inside)
        if done < given.count:
            raise given.wrong(done)
        return results.array

    def allows_many(self, object accounts, object addresses, object out=None, *, object invalid="raise"):
        """Return for each address whether it may act for its account. Other threads can run in the meantime.

        If a list changes during the call, each answer is that of the list before or after the change, and all answers
        for one `str` are those of one list. Changes never make the call start again.

        Args:
            accounts: One `str`, which is the account of all addresses; n accounts as for `rows`, also in a NumPy array;
                or int32[n] row numbers from `rows`. The row number -1 is an unknown account, which allows every
                address.
            addresses: n addresses as for `PrefixTrie.contains_many`.
            out: An array of bool[n] for the results.
            invalid: "raise" for an error if an element is null or invalid; "deny" for the answer False, whatever the
                account is, if an address is null or not an address, or an account in an Arrow array or a column of
                pandas is null or not UTF-8.

        Returns:
            bool[n]; `out` if it was given.

        Raises:
            InvalidAddressError: If an element is null or not an address; the message names the first one.
            AccountNotFoundError: If a row number is not valid.
            TypeError: If an account is not a `str` or is null, or if an argument is no array.
            InvalidAccountError: If an account's text is not UTF-8, or contains a lone surrogate.
            ValueError: If the arrays differ in length, if `out` is not such an array, or if an Arrow array refers to
                memory outside its buffers.
            OSError: If an Arrow stream fails.
        """
        cdef _AddressArray given = _AddressArray(addresses)
        cdef Py_ssize_t done = 0, named, count = given.count
        cdef _Answers results = _Answers(out, _numpy().bool_, count, given)
        cdef _AccountNames names = None
        cdef _Memory rows = None
        cdef Name name
        cdef int32_t *numbers = NULL
        cdef uint8_t *answers = <uint8_t *>results.memory.buffer.buf
        cdef str wanted = exact_text(invalid, "invalid")
        cdef bint nobody = False, deny = wanted == "deny"
        cdef const Accounts *known
        cdef int64_t *inside
        if not deny and wanted != "raise":
            raise ValueError(f"invalid must be 'raise' or 'deny', not {quoted(wanted)}")
        if isinstance(accounts, str):
            self.name(accounts, &name)
        elif isinstance(accounts, _numpy().ndarray) and not names_accounts(accounts := plain_array(accounts)):
            if accounts.dtype.kind != "i" or accounts.shape != (count,):
                raise wrong_accounts(f"{accounts.dtype} of shape {accounts.shape}", count)
            rows = row_memory(accounts, count)
            if rows.shares(&results.memory.buffer):
                raise ValueError("out shares memory with the accounts: pass another array")
        else:
            names = _AccountNames(accounts)
            if names.count != count:
                raise wrong_accounts(counted(names.count, "name"), count)
            if names.column is not None and names.column.shares(&results.memory.buffer):
                raise ValueError("out shares memory with the accounts: pass another array")
            rows = _Answers(None, _numpy().int32, count).memory
        named = count
        if rows is not None:
            numbers = <int32_t *>rows.buffer.buf
        with nogil:
            # A thread that waits for the readers may hold the GIL.
            inside = enter(&self.lists.readers)
            known = accounts_of(&self.lists)
            if names is not None:
                named = find_names(known, names.batches, names.n_batches, numbers)
            if rows is None:
                done = allow_one(known, list_of(known, &name), given.batches, given.n_batches, answers, deny)
            elif named == count or deny:
                done = allow_rows(
                    known, numbers, NULL if names is None else names.batches, given.batches, given.n_batches, answers,
                    deny, &nobody)
            leave(inside)
        if nobody:
            raise no_row(accounts, done)
        if named < count:
            if not deny:
                raise names.wrong(named)
            deny_nameless(numbers, count, answers)
        if done < count:
            raise given.unreadable(done)
        return results.array

    def allows_arrow(self, object table, object account="account", object address="address"):
        """Return for each row of a table whether its address may act for its account; for notebooks and pipelines.

        Each row is answered like `allows`, except for what cannot be known: a row whose account is null or not UTF-8,
        or whose address is null or not an address, is denied.

        Args:
            table: A `pyarrow.Table` or `RecordBatch`, or what becomes one without a copy of its columns: a data frame
                of polars or pandas, a relation of DuckDB, or any other object with `__arrow_c_stream__`. Of a frame of
                pandas, a column of objects is read object by object.
            account: The name of the column with accounts: strings, or a dictionary of strings.
            address: The name of the column with addresses, as for `PrefixTrie.contains_many`.

        Returns:
            A `pyarrow.BooleanArray` without nulls.

        Raises:
            MissingExtraError: If pyarrow is not installed.
            KeyError: If the table has no such column, or several.
            TypeError: If a column or an object in it has another type, or if `table` is no table: a dictionary of lists
                has no types.
            ValueError: If an Arrow array refers to memory outside its buffers.
            OSError: If an Arrow stream fails.

        Example:
            >>> import pyarrow
            >>> matcher = Matcher()
            >>> matcher.publish("acct-1", ["8.8.8.0/24"])
            >>> table = pyarrow.table({"account": ["acct-1"] * 3, "address": ["8.8.8.8", "9.9.9.9", None]})
            >>> matcher.allows_arrow(table).to_pylist()
            [True, False, False]
        """
        account, address = exact_text(account, "account"), exact_text(address, "address")
        with needs_extra("arrow", "allows_arrow"):
            pyarrow = import_module("pyarrow")
        pandas = sys.modules.get("pandas")
        if pandas is not None and isinstance(table, pandas.DataFrame):
            # Other columns may be of types that Arrow does not have, and several may have one name.
            check_named_once(list(table.columns), account, address)
            return pyarrow.array(self.allows_many(table[account], table[address], invalid="deny"))
        if not isinstance(table, (pyarrow.Table, pyarrow.RecordBatch)):
            if not is_arrow(table):
                # pyarrow would make one of a dictionary of lists, and infer their types.
                raise TypeError(
                    "table must be a table or record batch of pyarrow, a data frame, or another object with "
                    f"__arrow_c_stream__, not {type(table).__name__}")
            table = pyarrow.table(table)
        check_named_once(table.schema.names, account, address)
        for name in (account, address):
            check_field(table.schema.field(name))
        return pyarrow.array(self.allows_many(table.column(account), table.column(address), invalid="deny"))

    def adopt(self, Matcher other not None):
        """Take over the lists of another matcher in one step. The other matcher is empty afterwards.

        Every check uses either the old lists or the new lists and does not wait. Row numbers from before are invalid
        afterwards: call `rows` again. `adopt` waits until the batches that read the old lists have ended, and native
        readers have left, and then frees the old lists. Ctrl-C ends the wait for those that were there when it began.

        Args:
            other: The other matcher, such as one that was just opened.

        Raises:
            KeyboardInterrupt: If a signal ended the wait; nothing was replaced.

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
            try:
                self.begin_adoption(other)
            except BaseException:
                close_accounts(nobody)
                raise
            # Before the lists: a check in between is noted, and its note is dropped below.
            count_lists(self.traffic)
            count_lists(other.traffic)
            coming = withdraw(&other.lists, nobody)
            other.wait_for_readers(False)
            move_accounts(coming, &self.lists.readers)
            going = withdraw(&self.lists, coming)
            self.wait_for_readers(False)
            if self.traffic != NULL:
                drop_notes(self.traffic)
            if other.traffic != NULL:
                drop_notes(other.traffic)
            close_accounts(going)
            self.mapping, other.mapping = other.mapping, None
            self.kept, other.kept = other.kept, b""
            self.adopting = other.adopting = False

    cdef int begin_adoption(self, Matcher other) except -1:
        """Wait for current readers and other adoptions, as long as nothing is replaced and a signal can end the wait.

        A reader may never leave: this thread itself may be one, by `enter` of `cidrgate.h`.
        """
        self.wait_for_readers(True)
        other.wait_for_readers(True)
        while self.adopting or other.adopting:
            wait_shortly()
        self.adopting = other.adopting = True
        return 0

    cdef int wait_for_adoption(self) except -1:
        """Wait until no `adopt` is running. `adopt` lets other writers run while it waits itself."""
        while self.adopting:
            wait_shortly()
        return 0

    cdef int wait_for_readers(self, bint interruptible) except -1:
        """Wait until all current readers have left, but not for readers that enter in the meantime."""
        cdef int epochs = 0
        while epochs < 2:
            if epoch_ends(&self.lists.readers):
                epochs += 1
            elif interruptible:
                wait_shortly()
            else:
                with nogil:
                    backoff()
        return 0

    @property
    def note(self):
        """The note in the file that this matcher was opened from, as passed to `save`; empty without a file.

        The note of a manager has the times of the lists in that file. Save it again only with those lists: `open` goes
        by the times, and also removes a prefix that was published since if an entry of the same text has expired.
        """
        cdef bytes kept
        # Without a GIL, `adopt` in another thread may let go of the object before it is counted here.
        with cython.critical_section(self):
            kept = self.kept
        return kept

    def save(self, object path, *, object note=b""):
        """Write all accounts to one file for `open`, with their lists and modes as they are now.

        A matcher does not know when entries and modes expire. A file of the matcher of a manager therefore keeps them
        for ever: to write one that `open` reads with the times, use `RuleManager.save_snapshot` or `cidrgate compile`.

        The file appears completely or not at all: it is written in the same directory, synced, and renamed. Only its
        owner can read and write a new file. A file that replaces another file of this user takes over its mode and its
        group.

        Args:
            path: The path of the file. An existing file or symbolic link is replaced. Processes that have opened the
                old file keep its content.
            note: Bytes to store in the file, up to 1 GiB; a matcher that opens the file has them as `note`. `open`
                reads times from the note of a manager, and from no other: see `note`.

        Raises:
            ValueError: If the note is too long.
            TypeError: If the path is neither a `str` nor a path-like object of one, or the note is not bytes.
            OSError: If the file cannot be written.
        """
        cdef uint64_t size = 0
        cdef Py_ssize_t note_size
        cdef uint8_t *image
        cdef str name = file_name(path, "path")
        if not isinstance(note, bytes):
            raise TypeError(f"a note must be bytes, not {type(note).__name__}")
        # Not len(): a subclass may have another one.
        note_size = PyBytes_GET_SIZE(note)
        if note_size > MOST_NOTE:
            raise ValueError(f"a note may have at most {MOST_NOTE:,} bytes, not {note_size:,}")
        with cython.critical_section(self):
            self.wait_for_adoption()
            image = write_image(accounts_of(&self.lists), <const uint8_t *>PyBytes_AS_STRING(note), note_size, &size)
        if image == NULL:
            raise MemoryError
        try:
            replace_file(name, PyMemoryView_FromMemory(<char *>image, size, PyBUF_READ))
        finally:
            free(image)

    @staticmethod
    def open(object path, *, object trusted=False):
        """Open a saved file as a matcher, without parsing. Open only files that a trusted process wrote.

        The lists are those of the moment of opening: a snapshot of a manager has the times at which entries and modes
        expire, and what has expired by now is removed, as a manager removes it. After that, nothing changes by itself:
        an entry that expires later still matches, and a list that is paused stays paused. Open the file again, or use
        `RuleManager.open` with `snapshot`, which follows the store. A file that this class's `save` wrote has no times
        unless its note is that of a manager.

        No check can prove who wrote the lists in a file: anyone who can write the file decides which addresses are
        allowed. The check of the whole file only proves that the file is consistent: every lookup stays inside the file
        and returns the result of its prefixes, and changes do no harm. The check reads the whole file once, at the
        speed of memory. A program that wrote the file, or has already checked it, can skip the check.

        The file is mapped, so processes that open it share its memory. Lists of which something has expired and later
        changes of this matcher stay in its own memory, and so does a new index if lookups through that of the file
        would be slow.

        Args:
            path: A file that `save` wrote on a machine of the same byte order. It may be replaced while it is open,
                but must not be changed in place.
            trusted: Whether to check only the first page, so that opening takes the same time for every size. Use it
                only if no one else could have written the file since this program, or a process it trusts, wrote or
                checked it. Otherwise damage or an attack in the rest of the file is not found, and may crash the
                process or allow any address.

        Raises:
            SnapshotError: If the file is not a snapshot, is truncated or damaged, or was written by a newer version; or
                if its note is that of a manager, and its times cannot be read.
            OSError: If the file cannot be read.
            TypeError: If the path is neither a `str` nor a path-like object of one, or `trusted` is neither True nor
                False.
        """
        if trusted is not True and trusted is not False:
            raise TypeError(f"trusted must be True or False, not {trusted!r}")
        cdef str name = file_name(path, "path")
        cdef Matcher matcher = Matcher.opened(name, trusted)
        if matcher.kept:
            with loading():
                removal = import_module("cidrgate.expiry.removal")
            removal.remove_expired_of_snapshot(matcher, name)
        return matcher

    @staticmethod
    def _open_as_saved(object path):
        """Like `open`, with the lists as they were saved: the caller removes what has expired."""
        return Matcher.opened(file_name(path, "path"), False)

    @staticmethod
    cdef Matcher opened(str name, bint trusted):
        """Open a saved file as a matcher, with the lists as they were saved."""
        cdef Matcher matcher = Matcher()
        cdef Snapshot header
        cdef int found = FOREIGN
        cdef bint slow = False
        cdef uint64_t seed
        cdef char *image
        try:
            with builtin_open(name, "rb", opener=_open_without_waiting) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
                    raise SnapshotError(refusal(name, FOREIGN))
                matcher.mapping = _Mapping(file)
        except DatabaseFileError as error:
            raise SnapshotError(f"{name!r} is not a snapshot: {error.strerror}") from None
        image = <char *>matcher.mapping.buffer.buf
        if trusted:
            found = verify_header(<const uint8_t *>image, matcher.mapping.buffer.len, &header)
        else:
            with nogil:
                found = verify(<const uint8_t *>image, matcher.mapping.buffer.len, &header, &slow)
        if found == OUT_OF_MEMORY:
            raise MemoryError
        if found != SOUND:
            raise SnapshotError(refusal(name, found))
        use_image(accounts_of(&matcher.lists), image, &header)
        if slow:
            # Somebody chose the slots, or the names for the seed, so that searches are long; or an earlier version left
            # the slots of many discarded accounts. This is the only moment at which no reader knows the seed.
            seed = new_seed()
            with nogil:
                slow = not renew_index(accounts_of(&matcher.lists), seed)
            if slow:
                raise MemoryError
        matcher.kept = (<const char *>note_of(<const uint8_t *>image, &header))[:header.note_size]
        return matcher

    def __contains__(self, object account):
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

    def __iter__(self):
        return iter(self.known())

    cdef list known(self):
        """Return the names of all accounts at one moment, in the order of their rows."""
        cdef uint64_t *blocks = NULL
        cdef uint32_t count = 0, index
        cdef const AccountHeader *header
        cdef const Accounts *accounts
        cdef list names = []
        # Making objects may start the garbage collector, which may run code that publishes.
        cdef int64_t *inside = enter(&self.lists.readers)
        try:
            with cython.critical_section(self):
                accounts = accounts_of(&self.lists)
                blocks = blocks_by_row(accounts, &count)
            if blocks == NULL:
                raise MemoryError
            for index in range(count):
                header = header_of(accounts, <uint32_t>blocks[index])
                names.append(PyUnicode_DecodeUTF8(<const char *>text_of(header), header.name_size, NULL))
        finally:
            free(blocks)
            leave(inside)
        return names

    def __reduce__(self):
        raise TypeError("a Matcher cannot be copied or pickled: write it with matcher.save(path) and read it with "
                        "Matcher.open(path)")

    def __len__(self):
        cdef uint32_t live
        cdef int64_t *inside = enter_unlocked(&self.lists.readers)
        live = load_acquire(&accounts_of(&self.lists).live)
        leave_unlocked(inside)
        return live

    def __repr__(self):
        return f"<Matcher of {counted(len(self), 'account')}, {self.nbytes:,} bytes>"


cdef int wait_shortly() except -1:
    """Let other threads run for a moment; raise what the handler of a signal raises."""
    with nogil:
        backoff()
    PyErr_CheckSignals()
    return 0


cdef uint64_t new_seed() except? 0:
    """Return a random seed that cannot be guessed."""
    cdef bytes seed = os.urandom(8)
    return (<const uint64_t *>PyBytes_AS_STRING(seed))[0]


cdef dict MODES = {"report_only": REPORT_ONLY, "off": OFF}

cdef dict REFUSALS = {
    FOREIGN: "is not a snapshot: open a file that Matcher.save wrote",
    OTHER_ORDER: "was written on a machine with another byte order: save it again on this machine",
    NEWER: "was written by a newer version of cidrgate: upgrade, or save it again with this version",
    TRUNCATED: "does not have the length in its header: copy or save it again",
    DAMAGED: "does not match its checksum: copy or save it again",
    HOSTILE: "is not consistent: save it again",
}


cdef str refusal(str path, int found):
    """Return the error message for a refused file."""
    return f"{path!r} {REFUSALS[found]}"


def _open_without_waiting(path, flags, /):
    """Open a file that is no database. For a pipe, do not wait for a writer: a pipe is refused anyway."""
    return open_no_database(path, flags | getattr(os, "O_NONBLOCK", 0))


cdef object replace_file(str path, object content):
    """Write a file that only its owner can read, and rename it to its path; leave nothing behind on failure."""
    with replacement(Path(path)) as file:
        file.write(content)


def _seal_snapshot(bytes image not None, /):
    """Return an image with valid checksums, as an attacker could make it. For tests of the checks."""
    cdef bytearray sealed = bytearray(image)
    seal(<uint8_t *><char *>sealed, len(image))
    return bytes(sealed)


cdef enum:
    # Which checks of a known account are noted as traffic.
    NEVER = 0
    IF_ALLOWED = 1
    ALWAYS = 2


cdef inline void note(Traffic *traffic, const Address *address, int32_t row, bint allowed) noexcept nogil:
    """Note what was decided about an address that acted for the account with a row number."""
    note_check(
        traffic, address.hi, address.lo, row,
        (NOTE_ALLOWED if allowed else 0) | (NOTE_IPV6 if address.family == IPV6 else 0))


cdef inline bint answer(
    Matcher matcher, object account, object address, bint unknown, bint unenforced, bint lenient, int noted
) except -1:
    """Return whether an address may act for an account; `unknown` and `unenforced` are the results for such accounts.

    `lenient` is the result if only the mode of the list allows the address. `noted` says which results are noted as
    traffic, if the matcher records it. This is the body of `allows`, `allows_known`, `allows_enforced` and their kind;
    it is inlined into each of them.
    """
    cdef Name name
    cdef Address wanted
    cdef uint32_t tag, block
    cdef bint is_text = type(address) is str, is_address = True, found = False
    cdef const Accounts *accounts
    cdef SlotTable *table
    cdef Slot *slot
    cdef Traffic *traffic
    cdef int64_t *inside
    # Here and not in `name`, so that it is compiled into this function.
    if type(account) is str and PyUnicode_IS_COMPACT_ASCII(account):
        name.text = ascii_text(account)
        name.size = PyUnicode_GET_LENGTH(account)
    else:
        matcher.name(account, &name)
    if not is_text:
        # Before the reading begins, because it may run any code.
        read_object(address, &wanted)
    inside = enter_unlocked(&matcher.lists.readers)
    accounts = accounts_of(&matcher.lists)
    table = <SlotTable *>load_pointer(&accounts.table)
    tag = keyed_hash(name.text, name.size, accounts.seed)
    # The slot is fetched from memory while the address is parsed.
    prefetch(&table.slots[first_place(table, tag)])
    if is_text:
        is_address = text_address(<str>address, &wanted)
    if is_address:
        slot = find_from(table, accounts, &name, tag)
        block = 0 if slot == NULL else load_acquire(&slot.list)
        found = allowed(accounts, block, &wanted, unenforced, lenient) if block else unknown
        if noted != NEVER and slot != NULL and (found or noted == ALWAYS):
            traffic = <Traffic *>load_pointer(&matcher.lists.traffic)
            if traffic != NULL:
                block = load_acquire(&slot.block)
                if block != DEAD:
                    note(traffic, &wanted, <int32_t>(accounts.first_row + header_of(accounts, block).row), found)
    leave_unlocked(inside)
    if not is_address:
        raise not_an_address(address)
    return found


cdef inline bint allowed(
    const Accounts *accounts, uint32_t block, const Address *address, bint unenforced, bint lenient
) noexcept nogil:
    """Return whether one list allows an address."""
    return list_allows(header_of(accounts, block), address, unenforced, lenient)


cdef Py_ssize_t allow_one(
    const Accounts *accounts, uint32_t block, const Batch *batches, Py_ssize_t n_batches, uint8_t *answers, bint deny
) noexcept nogil:
    """Check batches against one list (0: an unknown account); return how many elements precede an invalid one.

    With `deny`, an invalid address is denied, and no error.
    """
    cdef Trie trie
    cdef Py_ssize_t done, index
    if block == 0 or not is_enforced(header_of(accounts, block)):
        memset(&trie, 0, sizeof(Trie))
        if not deny:
            done = find_batches(&trie, batches, n_batches, answers, ENDS)
            memset(answers, 1, done)
            return done
        # What is no address is marked, and everything else is allowed.
        done = find_batches(&trie, batches, n_batches, answers, 1)
        for index in range(done):
            answers[index] = not answers[index]
        return done
    view_trie(trie_of(header_of(accounts, block)), &trie)
    return find_batches(&trie, batches, n_batches, answers, 0 if deny else ENDS)


cdef enum:
    # How many questions before its turn a block is prefetched. A row's reference is prefetched twice as early. Of many
    # more at a time than a processor can fetch at once, the last ones would delay the first answers.
    AHEAD = 32


cdef Py_ssize_t allow_rows(
    const Accounts *accounts, const int32_t *rows, const Batch *names, const Batch *batches, Py_ssize_t n_batches,
    uint8_t *answers, bint deny, bint *nobody
) noexcept nogil:
    """Check batches by rows; return how many elements precede the first with an invalid address or row number.

    `names` is NULL, or has the names for which the rows were found, inside of this reader: then every row is valid.
    With `deny`, an invalid address is denied, and no error.
    """
    cdef Py_ssize_t done = 0, got, at
    cdef NamesFrom again
    again.batch = names
    again.first = 0
    for at in range(n_batches):
        got = allow_rows_of_batch(accounts, rows + done, &again, batches + at, answers + done, deny, nobody)
        # The elements of the next batch are numbered from its first one.
        again.first -= got
        done += got
        if got < batches[at].count:
            break
    return done


cdef Py_ssize_t allow_rows_of_batch(
    const Accounts *accounts, const int32_t *rows, NamesFrom *again, const Batch *batch, uint8_t *answers, bint deny,
    bint *nobody
) noexcept nogil:
    """Do the same as `allow_rows` for one batch."""
    cdef Address addresses[PIECE]
    cdef const AccountHeader *headers[AHEAD]
    cdef const AccountHeader *header
    # The rows that are known now. If a writer makes room for more meanwhile, these stay valid until the reader leaves.
    cdef uint32_t known = rows_known(accounts)
    cdef const uint32_t *lists = row_at(accounts, 0)
    cdef uint32_t first = accounts.first_row
    cdef Py_ssize_t done = 0, end = batch.count, wanted, got, answered, index
    for index in range(min(<Py_ssize_t>(2 * AHEAD), batch.count)):
        prefetch_row(lists, known, <uint32_t>rows[index] - first)
    for index in range(min(<Py_ssize_t>AHEAD, batch.count)):
        if not find_block(accounts, lists, known, first, rows[index], headers + index) and not find_again(
                accounts, again, index, rows[index], headers + index):
            end = index
            break
    while done < end:
        wanted = min(<Py_ssize_t>PIECE, end - done)
        got = answered = read_piece(batch, done, wanted, addresses)
        if deny and got < wanted:
            # The invalid address passes through the loop as any other, so that the loop has no branch for it.
            memset(addresses + got, 0, sizeof(Address))
            answered += 1
        index = done
        while index < min(done + answered, end):
            if index + 2 * AHEAD < batch.count:
                prefetch_row(lists, known, <uint32_t>rows[index + 2 * AHEAD] - first)
            header = headers[index % AHEAD]
            if index + AHEAD < end and not find_block(
                    accounts, lists, known, first, rows[index + AHEAD], headers + index % AHEAD
            ) and not find_again(accounts, again, index + AHEAD, rows[index + AHEAD], headers + index % AHEAD):
                end = index + AHEAD
            answers[index] = header == NULL or list_allows(header, addresses + (index - done), True, True)
            index += 1
        if deny and index > done + got:
            answers[done + got] = False
        done = index
        if got < wanted and not deny:
            break
    # An address that is invalid too is the first error of the two.
    if done == end and end < batch.count and (deny or read_piece(batch, end, 1, addresses) == 1):
        nobody[0] = True
    return done


cdef inline void prefetch_row(const uint32_t *lists, uint32_t known, uint32_t place) noexcept nogil:
    """Prefetch the reference of a row's list by its place among the known rows; another place is beyond them."""
    if place < known:
        prefetch(lists + place)


cdef inline bint find_block(
    const Accounts *accounts, const uint32_t *lists, uint32_t known, uint32_t first, int32_t row,
    const AccountHeader **header
) noexcept nogil:
    """Find and prefetch a row's list, NULL for an unknown account; return False for an invalid row number."""
    cdef uint32_t place = <uint32_t>row - first
    cdef uint32_t block = load_acquire(lists + place) if place < known and row >= 0 else 0
    if block == 0:
        header[0] = NULL
        return row == NONE
    header[0] = header_of(accounts, block)
    prefetch(header[0])
    prefetch(<const char *>header[0] + CACHE_LINE)
    return True


cdef bint find_again(
    const Accounts *accounts, NamesFrom *again, Py_ssize_t index, int32_t row, const AccountHeader **header
) noexcept nogil:
    """Find the list of an element by its name, as its row has none; return False without names.

    The account was discarded after its row was found, and may have been published again, with another row.
    """
    cdef Name name
    cdef uint32_t block = 0
    if again.batch == NULL:
        return False
    if row != NO_NAME and next_name(again, index, &name):
        block = list_of(accounts, &name)
    header[0] = NULL if block == 0 else header_of(accounts, block)
    return True


cdef void deny_nameless(const int32_t *rows, Py_ssize_t count, uint8_t *answers) noexcept nogil:
    """Deny the elements that name no account."""
    cdef Py_ssize_t index
    for index in range(count):
        if rows[index] == NO_NAME:
            answers[index] = False
