"""All accounts of a matcher in one arena, found by an open-addressing index on the account's name.

    Slot (12 bytes)      tag       keyed hash of the name; in a dead slot, the epochs that had ended before the discard
                         block     the account's own block, 0 in an empty slot, DEAD after a discard
                         list      the block whose prefixes decide: its own, or the parent's for a subaccount
    rows[row]            list      the same reference by row number, 0 after a discard

    account block        AccountHeader   row, flags: KIN, SUBACCOUNT, and REPORT_ONLY or OFF for the mode of its list
                         Kin       only with KIN: the links between a parent and its subaccounts
                         name      UTF-8, padded to 8 bytes
                         trie      see trie.pxd; absent with SUBACCOUNT

So a check costs one cache miss for the slot and one for the block; a check for a subaccount costs the same. Readers
need no lock, for three reasons: a slot belongs to the same account as long as a reader is inside that may have found
it, blocks are immutable except for `Kin`, which readers never use, and references change by single atomic stores.
Writers exclude each other.

The slot of a discarded account is dead. Searches pass over it, so it cannot become empty; it is reused like a retired
block, two epochs later (readers.pxd), and removed when the index grows. So an account that is discarded and published
again and again takes turns in a few slots, and does not make a run of dead ones.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memcpy, memset

from address cimport IPV4, Address
from arena cimport (
    Arena, at, close_arena, free_all_retired, free_memory, new_block, open_arena, reclaim, retire,
)
from build cimport Plan, plan_trie, write_trie
from counters cimport limits
from native cimport (
    allocate, allocate_array, keyed_hash, load_acquire, load_pointer, load_relaxed, same_bytes, store_pointer,
    store_relaxed, store_release,
)
from readers cimport Readers, close_readers, open_readers
from trie cimport (
    CLOSED, COUNT, NESTED, NONE, SMALL, IndexHeader, Trie, TrieHeader,
    arrays_size, index_size, longest_match, padded, search4, view_trie,
)

cdef enum:
    KIN = 1
    SUBACCOUNT = 2
    # The mode of a list, for its subaccounts too: without one of these flags the list is enforced as it says. Addresses
    # that match no prefix are allowed with either flag. Checks look at the flags after a miss only.
    REPORT_ONLY = 4
    OFF = 8
    LENIENT = 12
    MAX_NAME = 1024
    FIRST_SLOTS = 16
    # The most slots of an index that is at most 3/10 full: most searches end at the first slot, as is predicted.
    SPARSE = 16384
cdef enum: DEAD = 0xFFFFFFFF
# Row numbers are below MOST_ROWS. They restart from 0 when fewer than MOST_NEW_ROWS are left for new accounts.
cdef enum:
    MOST_ROWS = 0x7FFFFFFF
    MOST_NEW_ROWS = 0x10000000

# The outcome of a change.
cdef enum:
    DONE = 0
    NO_MEMORY = 1
    IS_SUBACCOUNT = 2
    HAS_ENTRIES = 3
    HAS_SUBACCOUNTS = 4
    NO_PARENT = 5

cdef struct AccountHeader:
    uint32_t row
    uint16_t name_size
    uint16_t flags

cdef struct Kin:
    uint32_t next           # parent: block of its first subaccount; subaccount: block of the next one; 0 at the end
    uint32_t parent         # subaccount: row of the parent

cdef struct Slot:
    uint32_t tag
    uint32_t block
    uint32_t list

cdef struct SlotTable:
    uint32_t capacity
    uint32_t used           # slots that are not empty, including dead ones
    Slot slots[1]

cdef struct Name:
    const uint8_t *text
    size_t size

cdef struct Accounts:
    Arena arena
    uint64_t seed
    void *table             # SlotTable
    void *rows              # uint32_t[row_room]
    uint32_t row_count
    uint32_t row_room
    uint32_t live
    uint32_t first_row      # the row number, for callers, of the first row

# The content of a matcher. All accounts can be replaced in one step while readers continue.
cdef struct Lists:
    Readers readers
    void *accounts          # Accounts
    void *traffic           # Traffic, where checks are noted; NULL if they are not


cdef inline SlotTable *new_table(uint32_t capacity) noexcept nogil:
    """Make an empty index; return NULL without memory."""
    cdef uint64_t size = sizeof(SlotTable) + <uint64_t>capacity * sizeof(Slot)
    cdef SlotTable *table = <SlotTable *>allocate(<size_t>size) if size <= <size_t>-1 else NULL
    if table != NULL:
        memset(table, 0, <size_t>size)
        table.capacity = capacity
    return table


cdef inline Accounts *open_accounts(Readers *readers, uint64_t seed) noexcept nogil:
    """Make an empty set of accounts for these readers; return NULL without memory."""
    cdef Accounts *accounts = <Accounts *>malloc(sizeof(Accounts))
    if accounts == NULL:
        return NULL
    memset(accounts, 0, sizeof(Accounts))
    accounts.seed = seed
    accounts.table = new_table(FIRST_SLOTS)
    if not open_arena(&accounts.arena, readers) or accounts.table == NULL:
        close_accounts(accounts)
        return NULL
    return accounts


cdef inline void close_accounts(Accounts *accounts) noexcept nogil:
    """Free everything. No reader may be inside."""
    free_memory(&accounts.arena, accounts.table)
    free_memory(&accounts.arena, accounts.rows)
    close_arena(&accounts.arena)
    free(accounts)


cdef inline bint open_lists(Lists *lists, uint64_t seed) noexcept nogil:
    """Begin without accounts; return False without memory."""
    lists.traffic = NULL
    lists.accounts = open_accounts(&lists.readers, seed) if open_readers(&lists.readers) else NULL
    return lists.accounts != NULL


cdef inline void close_lists(Lists *lists) noexcept nogil:
    """Free everything. No reader may be inside."""
    if lists.accounts != NULL:
        close_accounts(<Accounts *>lists.accounts)
    close_readers(&lists.readers)


cdef inline Accounts *accounts_of(const Lists *lists) noexcept nogil:
    """Return the current accounts. They stay valid for a reader inside until it leaves."""
    return <Accounts *>load_pointer(&lists.accounts)


cdef inline const AccountHeader *header_of(const Accounts *accounts, uint32_t block) noexcept nogil:
    """Return the header of an account's block."""
    return <const AccountHeader *>at(&accounts.arena, block)


cdef inline Kin *kin_of(const AccountHeader *header) noexcept nogil:
    """Return the `Kin` of an account with the flag KIN."""
    return <Kin *>(<char *>header + sizeof(AccountHeader))


cdef inline const uint8_t *text_of(const AccountHeader *header) noexcept nogil:
    """Return the name of an account."""
    return <const uint8_t *>header + sizeof(AccountHeader) + (sizeof(Kin) if header.flags & KIN else 0)


cdef inline const char *trie_of(const AccountHeader *header) noexcept nogil:
    """Return the trie block of an account that is not a subaccount."""
    return <const char *>text_of(header) + padded(header.name_size)


cdef inline size_t size_of(const AccountHeader *header) noexcept nogil:
    """Return the bytes of an account's block."""
    cdef const char *trie = trie_of(header)
    cdef const TrieHeader *counts = <const TrieHeader *>trie
    cdef size_t size = trie - <const char *>header
    if header.flags & SUBACCOUNT:
        return size
    size += arrays_size(counts)
    if counts.ipv4 & COUNT > SMALL:
        size += index_size(<const IndexHeader *>(<const char *>header + size))
    if counts.ipv6 & COUNT > SMALL:
        size += index_size(<const IndexHeader *>(<const char *>header + size))
    return size


cdef inline uint32_t first_place(const SlotTable *table, uint32_t tag) noexcept nogil:
    """Return the number of the slot at which the search for a name begins."""
    return <uint32_t>(<uint64_t>tag * table.capacity >> 32)


cdef inline Slot *find(const Accounts *accounts, const Name *name) noexcept nogil:
    """Return the slot of an account, or NULL."""
    # Computed here, because the seed changes when the lists of another matcher are adopted.
    return find_from(
        <SlotTable *>load_pointer(&accounts.table), accounts, name, keyed_hash(name.text, name.size, accounts.seed))


cdef inline Slot *find_from(
    SlotTable *table, const Accounts *accounts, const Name *name, uint32_t tag
) noexcept nogil:
    """Return the slot of an account in a table of these accounts, by the hash of its name too, or NULL."""
    cdef uint32_t place = first_place(table, tag)
    cdef Slot *slot
    cdef uint32_t block
    cdef const AccountHeader *header
    while True:
        slot = &table.slots[place]
        block = load_acquire(&slot.block)
        if block == 0:
            return NULL
        if load_relaxed(&slot.tag) == tag and block != DEAD:
            header = header_of(accounts, block)
            if header.name_size == name.size and same_bytes(text_of(header), name.text, name.size):
                return slot
        place += 1
        if place == table.capacity:
            place = 0


cdef inline Slot *slot_of(const Accounts *accounts, const AccountHeader *header) noexcept nogil:
    """Return the slot of an existing account, by its block."""
    cdef Name name
    name.text = text_of(header)
    name.size = header.name_size
    return find(accounts, &name)


cdef inline uint32_t list_of(const Accounts *accounts, const Name *name) noexcept nogil:
    """Return the block whose prefixes decide for an account, or 0 if the account is unknown."""
    cdef Slot *slot = find(accounts, name)
    return 0 if slot == NULL else load_acquire(&slot.list)


cdef inline void put(
    SlotTable *table, uint32_t ended, uint32_t tag, uint32_t block, uint32_t decides
) noexcept nogil:
    """Fill the first slot for a name that is empty, or free now that so many epochs have ended.

    The table must have room.
    """
    cdef uint32_t place = first_place(table, tag)
    while table.slots[place].block != 0 and not is_free(&table.slots[place], ended):
        place += 1
        if place == table.capacity:
            place = 0
    table.used += table.slots[place].block == 0
    store_relaxed(&table.slots[place].tag, tag)
    table.slots[place].list = decides
    store_release(&table.slots[place].block, block)


cdef inline void kill(Slot *slot, uint32_t ended) noexcept nogil:
    """Make the slot of a discarded account dead, and note when, as the number of epochs that have ended."""
    store_release(&slot.block, DEAD)
    # A reader that has just read the block may read this tag. To it, the account is gone, or is another than it wants.
    store_relaxed(&slot.tag, ended)


cdef inline bint is_free(const Slot *slot, uint32_t ended) noexcept nogil:
    """Return whether a slot is dead and no reader is inside that was there when it died, so that it can be reused.

    In a file or a matcher that was adopted, a dead slot's tag may be any number. No reader of this matcher has found
    its account, so every answer is safe.
    """
    return slot.block == DEAD and ended - slot.tag >= 2


cdef inline bint is_overfull(const SlotTable *table, uint64_t used) noexcept nogil:
    """Return whether so many slots are more than 7/10 of an index, or more than 3/10 if it is small.

    Dead slots are in use too.
    """
    return used * 10 > table.capacity * <uint64_t>(3 if table.capacity <= SPARSE else 7)


cdef inline uint32_t slots_for(uint64_t live) noexcept nogil:
    """Return the capacity of a new index: sparse if it is small, otherwise a little more than half full."""
    cdef uint64_t sparse = live * 16 // 3 + FIRST_SLOTS
    return <uint32_t>(sparse if sparse <= SPARSE else max(live * 16 // 9 + FIRST_SLOTS, <uint64_t>SPARSE + 1))


cdef inline bint make_room(Accounts *accounts) noexcept nogil:
    """Make room for one more account in the index and in the rows; return False if that fails."""
    cdef SlotTable *table = <SlotTable *>accounts.table
    cdef SlotTable *larger
    cdef void *rows
    cdef uint32_t index
    cdef uint64_t room
    if <uint64_t>accounts.first_row + accounts.row_count >= limits.rows:
        return False
    if is_overfull(table, <uint64_t>table.used + 1):
        larger = new_table(slots_for(accounts.live))
        if larger == NULL:
            return False
        for index in range(table.capacity):
            if table.slots[index].block != 0 and table.slots[index].block != DEAD:
                put(larger, 0, table.slots[index].tag, table.slots[index].block, table.slots[index].list)
        store_pointer(&accounts.table, larger)
        retire(&accounts.arena, table, 0, 0)
    if accounts.row_count == accounts.row_room:
        room = <uint64_t>accounts.row_room + (accounts.row_room >> 2) + FIRST_SLOTS
        rows = allocate(<size_t>room * sizeof(uint32_t)) if room <= <size_t>-1 // sizeof(uint32_t) else NULL
        if rows == NULL:
            return False
        if accounts.rows != NULL:
            memcpy(rows, accounts.rows, accounts.row_count * sizeof(uint32_t))
            retire(&accounts.arena, accounts.rows, 0, 0)
        store_pointer(&accounts.rows, rows)
        accounts.row_room = <uint32_t>room
    return True


cdef inline bint renew_index(Accounts *accounts, uint64_t seed) noexcept nogil:
    """Place all accounts in a new index, by hashes with another seed; return False without memory.

    No reader may be inside: it would search by the hash with the old seed.
    """
    cdef SlotTable *table = <SlotTable *>accounts.table
    cdef SlotTable *renewed = new_table(slots_for(accounts.live))
    cdef const AccountHeader *header
    cdef uint32_t index, block
    if renewed == NULL:
        return False
    for index in range(table.capacity):
        block = table.slots[index].block
        if block != 0 and block != DEAD:
            header = header_of(accounts, block)
            put(renewed, 0, keyed_hash(text_of(header), header.name_size, seed), block, table.slots[index].list)
    accounts.seed = seed
    accounts.table = renewed
    free_memory(&accounts.arena, table)
    return True


cdef inline uint32_t rows_known(const Accounts *accounts) noexcept nogil:
    """Return how many rows there are; `row_at` can find all of them from now on."""
    return load_acquire(&accounts.row_count)


cdef inline uint32_t *row_at(const Accounts *accounts, uint32_t row) noexcept nogil:
    """Return a pointer to the reference of a row's list."""
    return <uint32_t *>load_pointer(&accounts.rows) + row


cdef inline uint32_t new_account(
    Accounts *accounts, const Name *name, uint32_t row, uint16_t flags, size_t trie_size
) noexcept nogil:
    """Make a block with a header, an empty `Kin`, a name, and room for a trie; return 0 without memory."""
    cdef size_t kin_size = sizeof(Kin) if flags & KIN else 0
    cdef size_t name_size = padded(name.size)
    cdef uint32_t block = new_block(&accounts.arena, sizeof(AccountHeader) + kin_size + name_size + trie_size)
    cdef AccountHeader *header
    if block:
        header = <AccountHeader *>header_of(accounts, block)
        header.row = row
        header.name_size = <uint16_t>name.size
        header.flags = flags
        memset(<char *>header + sizeof(AccountHeader), 0, kin_size + name_size)
        memcpy(<char *>header + sizeof(AccountHeader) + kin_size, name.text, name.size)
    return block


cdef inline void insert_account(Accounts *accounts, const Name *name, uint32_t block, uint32_t decides) noexcept nogil:
    """Insert a new account into the rows and the index; `make_room` must have made room."""
    store_release(row_at(accounts, accounts.row_count), decides)
    store_release(&accounts.row_count, accounts.row_count + 1)
    store_release(&accounts.live, accounts.live + 1)
    put(<SlotTable *>accounts.table, accounts.arena.readers.ended, keyed_hash(name.text, name.size, accounts.seed),
        block, decides)


cdef inline void exchange(Accounts *accounts, Slot *slot, uint32_t block) noexcept nogil:
    """Replace the block of a known account, for its subaccounts too."""
    cdef const AccountHeader *old = header_of(accounts, slot.block)
    cdef const AccountHeader *stub
    cdef uint32_t subaccount = kin_of(old).next if old.flags & KIN else 0
    cdef uint32_t old_block = slot.block
    store_release(row_at(accounts, old.row), block)
    store_release(&slot.list, block)
    store_release(&slot.block, block)
    while subaccount:
        stub = header_of(accounts, subaccount)
        store_release(row_at(accounts, stub.row), block)
        store_release(&slot_of(accounts, stub).list, block)
        subaccount = kin_of(stub).next
    retire(&accounts.arena, NULL, old_block, size_of(old))


cdef inline void unlink(Accounts *accounts, uint32_t block) noexcept nogil:
    """Unlink a subaccount from its parent."""
    cdef Kin *kin = kin_of(header_of(accounts, block))
    cdef Kin *link = kin_of(header_of(accounts, row_at(accounts, kin.parent)[0]))
    while link.next != block:
        link = kin_of(header_of(accounts, link.next))
    link.next = kin.next


cdef inline int publish(
    Accounts *accounts, const Name *name, const Plan *plan, bint enforced, uint16_t mode, bint moves
) noexcept nogil:
    """Publish a planned trie as the list of a new or known account, with the flag of its mode, or 0.

    A list without prefixes may be enforced too. With `moves` a subaccount leaves its parent, in the same step.
    """
    cdef Slot *slot = find(accounts, name)
    cdef const AccountHeader *old
    cdef uint32_t block
    cdef uint16_t flags = mode
    cdef uint32_t row = accounts.row_count
    if slot != NULL:
        old = header_of(accounts, slot.block)
        if old.flags & SUBACCOUNT and not moves:
            return IS_SUBACCOUNT
        flags |= 0 if old.flags & SUBACCOUNT else old.flags & KIN
        row = old.row
    elif not make_room(accounts):
        return NO_MEMORY
    block = new_account(accounts, name, row, flags, plan.size)
    if block == 0:
        return NO_MEMORY
    write_trie(plan, <char *>trie_of(header_of(accounts, block)))
    if enforced and plan.n4 + plan.n6 == 0:
        (<TrieHeader *>trie_of(header_of(accounts, block))).ipv4 = CLOSED
    if slot == NULL:
        insert_account(accounts, name, block, block)
    elif old.flags & SUBACCOUNT:
        unlink(accounts, slot.block)
        store_release(row_at(accounts, old.row), block)
        store_release(&slot.list, block)
        retire(&accounts.arena, NULL, slot.block, size_of(old))
        store_release(&slot.block, block)
    else:
        if flags & KIN:
            kin_of(header_of(accounts, block))[0] = kin_of(old)[0]
        exchange(accounts, slot, block)
    reclaim(&accounts.arena)
    return DONE


cdef inline int publish_nothing(Accounts *accounts, const Name *name) noexcept nogil:
    """Publish an empty list that is not enforced."""
    cdef Plan plan
    plan_trie(NULL, 0, &plan)
    return publish(accounts, name, &plan, False, 0, False)


cdef inline bint make_parent(Accounts *accounts, Slot *slot) noexcept nogil:
    """Add the `Kin` of a parent to a known account's block; return False without memory."""
    cdef const AccountHeader *old = header_of(accounts, slot.block)
    cdef size_t trie_size = size_of(old) - (trie_of(old) - <const char *>old)
    cdef Name name
    cdef uint32_t block
    if old.flags & KIN:
        return True
    name.text = text_of(old)
    name.size = old.name_size
    block = new_account(accounts, &name, old.row, old.flags | KIN, trie_size)
    if block == 0:
        return False
    memcpy(<char *>trie_of(header_of(accounts, block)), trie_of(old), trie_size)
    exchange(accounts, slot, block)
    return True


cdef inline int link(Accounts *accounts, const Name *name, const Name *parent_name, bint moves) noexcept nogil:
    """Make an account inherit the list of a known parent. With `moves` it loses its own list, in the same step."""
    cdef Slot *parent = find(accounts, parent_name)
    cdef Slot *slot = find(accounts, name)
    cdef const AccountHeader *header
    cdef Kin *kin
    cdef uint32_t block
    if parent == NULL:
        return NO_PARENT
    if header_of(accounts, parent.block).flags & SUBACCOUNT:
        return IS_SUBACCOUNT
    if slot != NULL:
        header = header_of(accounts, slot.block)
        if not header.flags & SUBACCOUNT:
            if header.flags & KIN and kin_of(header).next:
                return HAS_SUBACCOUNTS
            if not moves and not is_open(trie_of(header)):
                return HAS_ENTRIES
    if not make_parent(accounts, parent) or (slot == NULL and not make_room(accounts)):
        return NO_MEMORY
    parent = find(accounts, parent_name)
    slot = find(accounts, name)
    block = new_account(
        accounts, name, accounts.row_count if slot == NULL else header_of(accounts, slot.block).row,
        KIN | SUBACCOUNT, 0)
    if block == 0:
        return NO_MEMORY
    kin = kin_of(header_of(accounts, block))
    kin.parent = header_of(accounts, parent.block).row
    if slot == NULL:
        insert_account(accounts, name, block, parent.block)
    else:
        header = header_of(accounts, slot.block)
        if header.flags & SUBACCOUNT:
            unlink(accounts, slot.block)
        store_release(row_at(accounts, header.row), parent.block)
        store_release(&slot.list, parent.block)
        retire(&accounts.arena, NULL, slot.block, size_of(header))
        store_release(&slot.block, block)
    kin.next = kin_of(header_of(accounts, parent.block)).next
    kin_of(header_of(accounts, parent.block)).next = block
    reclaim(&accounts.arena)
    return DONE


cdef inline const AccountHeader *header_of_parent(const Accounts *accounts, const Name *name) noexcept nogil:
    """Return the header of a subaccount's parent; NULL if the account is unknown or not a subaccount."""
    cdef Slot *slot = find(accounts, name)
    cdef uint32_t block = DEAD if slot == NULL else load_acquire(&slot.block)
    cdef uint32_t row
    if block == DEAD or not header_of(accounts, block).flags & SUBACCOUNT:
        return NULL
    row = header_of(accounts, block).row
    # The parent's block decides for a subaccount. If a list of its own was published meanwhile, that list does.
    block = load_acquire(&slot.list)
    return header_of(accounts, block) if block and not own_block(accounts, row, block) else NULL


cdef inline int discard(Accounts *accounts, const Name *name) noexcept nogil:
    """Remove an account; its row number is not reused. A parent with subaccounts only loses its prefixes."""
    cdef Slot *slot = find(accounts, name)
    cdef const AccountHeader *header
    cdef uint32_t block
    if slot == NULL:
        return DONE
    block = slot.block
    header = header_of(accounts, block)
    if header.flags & SUBACCOUNT:
        unlink(accounts, block)
    elif header.flags & KIN and kin_of(header).next:
        return publish_nothing(accounts, name)
    store_release(row_at(accounts, header.row), 0)
    kill(slot, accounts.arena.readers.ended)
    store_release(&accounts.live, accounts.live - 1)
    retire(&accounts.arena, NULL, block, size_of(header))
    reclaim(&accounts.arena)
    return DONE


cdef inline int by_row(const void *one, const void *other) noexcept nogil:
    """Compare two elements of `blocks_by_row`."""
    cdef uint64_t left = (<const uint64_t *>one)[0], right = (<const uint64_t *>other)[0]
    return (left > right) - (left < right)


cdef inline uint64_t *blocks_by_row(const Accounts *accounts, uint32_t *count) noexcept nogil:
    """Return each account's row number and block (high and low 32 bits), sorted; NULL without memory.

    The caller frees them. Writers must be excluded. The blocks stay valid for a reader that entered before.
    """
    cdef const SlotTable *table = <const SlotTable *>accounts.table
    cdef uint64_t *pairs = <uint64_t *>allocate_array(accounts.live, sizeof(uint64_t))
    cdef uint32_t index, block
    count[0] = 0
    if pairs == NULL:
        return NULL
    for index in range(table.capacity):
        block = table.slots[index].block
        if block != 0 and block != DEAD and count[0] < accounts.live:
            pairs[count[0]] = <uint64_t>header_of(accounts, block).row << 32 | block
            count[0] += 1
    qsort(pairs, count[0], sizeof(uint64_t), by_row)
    return pairs


cdef inline bint is_open(const char *trie) noexcept nogil:
    """Return whether a trie block has neither prefixes nor CLOSED, so that its account is not enforced."""
    cdef const TrieHeader *header = <const TrieHeader *>trie
    return header.ipv4 | header.ipv6 == 0


cdef inline bint is_enforced(const AccountHeader *header) noexcept nogil:
    """Return whether a list denies the addresses that match no prefix: it is not open, and no mode allows them."""
    return not (header.flags & LENIENT or is_open(trie_of(header)))


cdef inline uint32_t count_enforced(const Accounts *accounts) noexcept nogil:
    """Return how many accounts are enforced. A reader must be inside."""
    cdef const SlotTable *table = <const SlotTable *>load_pointer(&accounts.table)
    cdef uint32_t place, block, count = 0
    for place in range(table.capacity):
        block = load_acquire(&table.slots[place].block)
        if block != 0 and block != DEAD:
            block = load_acquire(&table.slots[place].list)
            count += is_enforced(header_of(accounts, block))
    return count


cdef inline uint32_t count_mode(const Accounts *accounts, uint16_t mode) noexcept nogil:
    """Return for how many accounts the list that decides has the flag of a mode. A reader must be inside."""
    cdef const SlotTable *table = <const SlotTable *>load_pointer(&accounts.table)
    cdef uint32_t place, block, count = 0
    for place in range(table.capacity):
        block = load_acquire(&table.slots[place].block)
        if block != 0 and block != DEAD:
            block = load_acquire(&table.slots[place].list)
            count += header_of(accounts, block).flags & mode != 0
    return count


cdef inline bint list_allows(
    const AccountHeader *account, const Address *address, bint unenforced, bint lenient
) noexcept nogil:
    """Return whether a prefix of an account's list covers the address.

    If none does, return `lenient` for a list with the flag of a mode, and `unenforced` for a list without a flag that
    has neither prefixes nor CLOSED.
    """
    cdef const char *block = trie_of(account)
    cdef const TrieHeader *header = <const TrieHeader *>block
    cdef uint32_t n4 = header.ipv4 & COUNT
    cdef const uint32_t *first4
    cdef Trie trie
    if address.family == IPV4 and 0 < n4 <= SMALL:
        first4 = <const uint32_t *>(block + sizeof(TrieHeader))
        return search4(
            first4, <const uint8_t *>(first4 + n4), n4, header.ipv4 & NESTED != 0, <uint32_t>(address.hi >> 32)
        ) != NONE or (lenient and account.flags & LENIENT != 0)
    view_trie(block, &trie)
    if longest_match(&trie, address) != NONE:
        return True
    return lenient if account.flags & LENIENT else unenforced and is_open(block)


cdef inline size_t table_size(const Accounts *accounts) noexcept nogil:
    """Return the bytes of the index."""
    return sizeof(SlotTable) + (<SlotTable *>accounts.table).capacity * sizeof(Slot)


cdef inline int32_t row_of(const Accounts *accounts, const Name *name) noexcept nogil:
    """Return the row number of an account, or -1 if it is unknown."""
    cdef Slot *slot = find(accounts, name)
    cdef uint32_t block = DEAD if slot == NULL else load_acquire(&slot.block)
    return -1 if block == DEAD else <int32_t>(accounts.first_row + header_of(accounts, block).row)


cdef inline bint is_row(const Accounts *accounts, int64_t row) noexcept nogil:
    """Return whether these accounts have assigned a row number; they never assign -1."""
    return accounts.first_row <= row < <int64_t>accounts.first_row + rows_known(accounts)


cdef inline const uint32_t *list_at(const Accounts *accounts, int64_t row) noexcept nogil:
    """Return a pointer to the reference of the list of an assigned row number."""
    return row_at(accounts, <uint32_t>(row - accounts.first_row))


cdef inline void continue_rows(Accounts *accounts, const Accounts *before) noexcept nogil:
    """Number rows after those of the accounts before, so that the earlier row numbers become invalid.

    The numbers restart from 0 after some thousand replacements.
    """
    cdef uint64_t first = <uint64_t>before.first_row + before.row_count
    accounts.first_row = <uint32_t>first if first + accounts.row_count + MOST_NEW_ROWS <= MOST_ROWS else 0


cdef inline Accounts *withdraw(Lists *lists, Accounts *successors) noexcept nogil:
    """Replace all accounts and return the old ones. Current readers may use the old accounts until they leave."""
    cdef Accounts *accounts = <Accounts *>lists.accounts
    continue_rows(successors, accounts)
    store_pointer(&lists.accounts, successors)
    return accounts


cdef inline void move_accounts(Accounts *accounts, Readers *readers) noexcept nogil:
    """Assign accounts to other readers. No reader may be inside."""
    free_all_retired(&accounts.arena)
    accounts.arena.readers = readers


cdef inline bint own_block(const Accounts *accounts, uint32_t row, uint32_t block) noexcept nogil:
    """Return whether a block is that of the account with a row, and not that of its parent."""
    return header_of(accounts, block).row == row


cdef inline void find_own_blocks(const Accounts *accounts, uint32_t *blocks, uint32_t known) noexcept nogil:
    """Replace each element of `blocks` that is not 0 by the block of the account with this row, inside of a reader.

    The index has no order by row, so every account is looked at. An account that is discarded meanwhile keeps what the
    element was.
    """
    cdef const SlotTable *table = <const SlotTable *>load_pointer(&accounts.table)
    cdef uint32_t place, block, row
    for place in range(table.capacity):
        block = load_acquire(&table.slots[place].block)
        if block != 0 and block != DEAD:
            row = header_of(accounts, block).row
            if row < known and blocks[row] != 0:
                blocks[row] = block
