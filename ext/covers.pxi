"""The smallest cover of networks. Part of `_engine.pyx`; `cover.pxd` has the dynamic program."""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from address cimport IPV4, IPV6
from build cimport Item, sort_items
from cover cimport (
    BARRED, MOST_ENTRIES, WIDE, Cost, Cover, best_share, cost_of, drop_cover, fewest_of, keep_leaves, outermost,
    plan_cover, trace, work,
)
from native cimport allocate_array

# The steps between two looks at signals, such as that of ctrl-C: some tens of milliseconds.
cdef enum: STEPS = 1 << 24


cdef object exact(Cost cost):
    """Return a cost as an `int`."""
    return int(cost.hi) << 64 | int(cost.lo)


@cython.final
cdef class SmallestCover:
    """SmallestCover(networks, barred, most, widest_ipv4, widest_ipv6, bar_mapped)\n--\n\nThe fewest extra addresses.

    Finds, for each number of entries up to `most`, entries that contain all networks and the fewest other addresses. An
    extra IPv4 address counts as much as 2^64 extra IPv6 addresses. Other threads can run meanwhile.

    Args:
        networks: What is to be covered. Networks may be inside others.
        barred: Networks that no entry overlaps. Those of `networks` that overlap one are left out.
        most: The most entries, 1 to 65,535.
        widest_ipv4: The shortest length of an IPv4 entry. Those of `networks` that are wider are left out.
        widest_ipv6: The same for IPv6.
        bar_mapped: Whether ::ffff:0:0/96 is barred, which no prefix can name.

    Raises:
        InvalidAddressError: If a text is not a network.
        ValueError: If `most` is out of range.

    Example:
        >>> texts = ["8.8.8.8/32", "8.8.8.9/32", "9.9.9.9/32", "10.0.0.1/32"]
        >>> cover = SmallestCover(texts, ["10.0.0.0/8"], 2, 8, 16, bar_mapped=True)
        >>> cover.networks(2), cover.curve(), cover.fewest, cover.barred(), cover.wide()
        (['8.8.8.8/31', '9.9.9.9/32'], [(2, 0, 0)], 2, [3], [])
    """

    cdef Item *_items
    cdef Item *_barred
    cdef uint8_t *_states
    cdef uint32_t _given
    cdef Cover _ipv4
    cdef Cover _ipv6

    def __cinit__(
        self, object networks, object barred, int most, int widest_ipv4, int widest_ipv6, bint bar_mapped
    ):
        cdef uint32_t kept, split = 0, barred_count
        cdef bint planned = True
        if not 1 <= most <= MOST_ENTRIES:
            raise ValueError(f"most must be 1 to {MOST_ENTRIES:,}, not {most}")
        self._items = read_items(networks, &self._given)
        self._barred = barred_items(barred, bar_mapped, &barred_count)
        self._states = <uint8_t *>allocate_array(<size_t>self._given + 1, 1)
        if self._states == NULL:
            raise MemoryError
        with nogil:
            sort_items(self._items, self._given)
            sort_items(self._barred, barred_count)
            barred_count = outermost(self._barred, barred_count)
            kept = keep_leaves(
                self._items, self._given, self._barred, barred_count, widest_ipv4, widest_ipv6, self._states
            )
            while split < kept and self._items[split].prefix.first.family == IPV4:
                split += 1
            prepare(&self._ipv4, self._items, split, most, widest_ipv4, 32)
            prepare(&self._ipv6, self._items + split, kept - split, most, widest_ipv6, 128)
            if self._ipv4.count:
                planned = plan_cover(&self._ipv4, self._barred, barred_count)
            if planned and self._ipv6.count:
                planned = plan_cover(&self._ipv6, self._barred, barred_count)
        if not planned:
            raise MemoryError
        work_on(&self._ipv4)
        work_on(&self._ipv6)

    def __dealloc__(self):
        drop_cover(&self._ipv4)
        drop_cover(&self._ipv6)
        free(self._items)
        free(self._barred)
        free(self._states)

    @property
    def fewest(self):
        """The fewest entries with which everything is covered."""
        return fewest_of(&self._ipv4) + fewest_of(&self._ipv6)

    @property
    def leaves(self):
        """How many entries cover everything without an extra address: no more are ever needed."""
        return self._ipv4.count + self._ipv6.count

    def barred(self):
        """Return the indices of the networks that overlap a barred one."""
        return [index for index in range(self._given) if self._states[index] == BARRED]

    def wide(self):
        """Return the indices of the networks that are wider than an entry may be."""
        return [index for index in range(self._given) if self._states[index] == WIDE]

    def curve(self):
        """Return for each number of entries: the number, the extra addresses of IPv4, and those of IPv6."""
        cdef uint32_t entries, share
        cdef list points = []
        cdef uint64_t end = min(self._ipv4.most, <uint64_t>self._ipv4.count + self._ipv6.count)
        for entries in range(max(1, self.fewest), end + 1):
            with nogil:
                share = best_share(&self._ipv4, &self._ipv6, entries)
            PyErr_CheckSignals()
            points.append((entries, exact(cost_of(&self._ipv4, share)), exact(cost_of(&self._ipv6, entries - share))))
        return points

    def networks(self, uint32_t entries, /):
        """Return the networks of the best cover with exactly so many entries, in address order.

        Args:
            entries: One of the numbers of the curve.
        """
        cdef uint32_t share, written, index
        cdef Prefix *networks
        cdef list texts = []
        if not max(1, self.fewest) <= entries <= min(self._ipv4.most, self.leaves):
            raise ValueError(f"there is no cover of {entries} entries")
        networks = <Prefix *>allocate_array(entries, sizeof(Prefix))
        if networks == NULL:
            raise MemoryError
        try:
            with nogil:
                share = best_share(&self._ipv4, &self._ipv6, entries)
                written = trace(&self._ipv4, share, networks)
                written += trace(&self._ipv6, entries - share, networks + written)
            for index in range(written):
                texts.append(prefix_text(&networks[index]))
        finally:
            free(networks)
        return texts


cdef void prepare(Cover *cover, const Item *leaves, uint32_t count, uint32_t most, int widest, int bits) noexcept nogil:
    """Describe the cover of one family."""
    memset(cover, 0, sizeof(Cover))
    cover.leaves = leaves
    cover.count = count
    cover.most = most
    cover.widest = widest
    cover.bits = bits


cdef int work_on(Cover *cover) except -1:
    """Work out all tables, until a signal raises."""
    cdef bint done = cover.count == 0
    while not done:
        with nogil:
            done = work(cover, STEPS)
        PyErr_CheckSignals()
    return 0


cdef Item *barred_items(object barred, bint mapped, uint32_t *count) except NULL:
    """Read barred networks as items, with that of IPv4-mapped addresses; the caller frees them."""
    cdef uint32_t given = 0
    cdef Item *read = read_items(barred, &given)
    cdef Item *items = <Item *>allocate_array(<size_t>given + 1, sizeof(Item))
    if items == NULL:
        free(read)
        raise MemoryError
    memcpy(items, read, given * sizeof(Item))
    free(read)
    count[0] = given
    if mapped:
        items[given].prefix.first.hi = 0
        items[given].prefix.first.lo = <uint64_t>0xFFFF << 32
        items[given].prefix.first.family = IPV6
        items[given].prefix.length = 96
        items[given].order = given
        count[0] += 1
    return items
