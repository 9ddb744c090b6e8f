"""Slots of the index of accounts: those of discarded accounts are reused, once no reader may have found one."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from cidrgate import Matcher, _engine
from tests.fuzz.layout import DEAD, Layout

if TYPE_CHECKING:
    from pathlib import Path


def dead_slots(matcher: Matcher, path: Path) -> int:
    """How many slots of the index belong to discarded accounts."""
    matcher.save(path)
    layout = Layout(path.read_bytes())
    places = [layout.slot_at(number) + 4 for number in range(layout.capacity)]
    return sum(int.from_bytes(layout.image[at : at + 4], "little") == DEAD for at in places)


def test_an_account_that_comes_and_goes_takes_turns_in_a_few_slots(tmp_path: Path) -> None:
    matcher = Matcher()
    for index in range(20_000):
        matcher.publish(f"acct-{index}", ["8.8.8.0/24"])
    for step in range(5_000):
        matcher.publish("busy", ["9.9.9.0/24"])
        assert matcher.allows("busy", "9.9.9.9")
        matcher.discard("busy")
        if step % 100 == 0:
            # With others beside it, and as a subaccount.
            for name in ("one", "other"):
                matcher.link(name, parent="acct-1")
                matcher.publish("busy", ["9.9.9.0/24"])
                assert not matcher.allows("busy", "8.8.8.8")
                matcher.discard("busy")
                matcher.discard(name)
    assert dead_slots(matcher, tmp_path / "busy") < 10
    assert len(matcher) == 20_000


class Functions(ctypes.Structure):
    """`cidrgate_api`, as far as a reader needs it."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("reserved", ctypes.c_uint64 * 2),
        ("matcher", ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)),
        ("others", ctypes.c_void_p * 7),
        ("enter", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)),
        ("leave", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    )


def test_a_slot_is_not_reused_while_a_reader_may_have_found_it(tmp_path: Path) -> None:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, (ctypes.py_object,)
    functions = Functions.from_address(pointer(_engine._api, name(_engine._api)))  # type: ignore[attr-defined]
    matcher = Matcher()
    for index in range(20_000):
        matcher.publish(f"acct-{index}", ["8.8.8.0/24"])

    def come_and_go(times: int) -> int:
        for _ in range(times):
            matcher.publish("busy", ["9.9.9.0/24"])
            matcher.discard("busy")
        return dead_slots(matcher, tmp_path / "busy")

    reader = functions.enter(functions.matcher(matcher))
    assert come_and_go(300) >= 298
    functions.leave(reader)
    assert come_and_go(300) <= 301
