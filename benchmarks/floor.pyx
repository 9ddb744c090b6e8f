# cython: language_level=3, binding=False
"""The floor of every check from Python: a method that takes an account and an address and returns True."""


cdef class Floor:
    """What a call alone costs."""

    def allows(self, str account not None, object address, /):
        """Nothing but the call."""
        return True
