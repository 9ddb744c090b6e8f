"""What every frozen public value promises: it has a hash, and it is compared, copied, pickled and shown alike."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import (
    EntryEdit,
    InvalidExpiryError,
    NewEntry,
    Observation,
    Origin,
    Policy,
    RuleManager,
)
from cidrgate.client.decoding import value_of
from cidrgate.client.requests import json_value
from cidrgate.client.values import ChangeInfo, ProblemInfo
from cidrgate.foresight import narrower, unused
from cidrgate.foresight.evaluation import PastTraffic
from cidrgate.serialization import change_record
from cidrgate.values import in_utc, zoned_time

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC = ("cidrgate", "cidrgate.client", "cidrgate.foresight", "cidrgate.gate", "cidrgate.replay", "cidrgate.traffic")

VALUES = {
    f"{module}.{name}": kind
    for module in PUBLIC
    for name in importlib.import_module(module).__all__
    if inspect.isclass(kind := getattr(importlib.import_module(module), name))
    and is_dataclass(kind)
    and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
}
"""The frozen public values, by name."""

UNHASHABLE = ("dict[", "list[", "Mapping[", "set[")

AT = datetime(2031, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)


def test_the_values_are_found() -> None:
    assert {"cidrgate.Change", "cidrgate.Entry", "cidrgate.client.ListInfo"} <= VALUES.keys()
    assert len(VALUES) > 50


@pytest.mark.parametrize("name", VALUES)
def test_no_field_takes_the_hash_away(name: str) -> None:
    """A list, a mapping or a set is left out of the hash: values that are equal have the same one without it."""
    kind = VALUES[name]
    assert kind.__hash__ is not None
    for one in fields(kind):
        hashed = one.compare if one.hash is None else one.hash
        assert not (hashed and str(one.type).removeprefix("frozen").startswith(UNHASHABLE)), one.name


def made_values() -> Iterator[Any]:
    """Values as the library and the client make them."""
    with RuleManager.open("memory://") as manager:
        yield manager.create_account("acct-1", display_name="One")
        manager.create_account("sub-1", parent="acct-1")
        yield manager.add("acct-1", [NewEntry("8.8.8.0/24", label="dns", expires_at=AT), "1.1.1.1/32"])
        yield manager.set_mode("acct-1", "off", reason="test", confirmed={"disable_enforcement"})
        yield manager.set_policy("acct-1", max_entries=7)
        yield manager.policy_state("acct-1")
        yield from manager.entries("acct-1")
        yield from manager.history("acct-1")
        yield manager.account("acct-1")
        yield manager.explain("acct-1", "8.8.8.8")
        yield manager.delete_account("acct-1", recursive=True, confirmed={"disable_enforcement"})
        change = next(one for one in manager.history("acct-1") if one.details)
    yield value_of(ChangeInfo, change_record(change))
    yield ProblemInfo(type="x", title="t", status=409, detail="d", code="c", confirm=["lock_out"], data={"a": [1]})
    yield NewEntry("8.8.8.8/32")
    yield EntryEdit(label="x")
    yield Origin(kind="cli")
    yield Policy()
    yield Observation(account="a", network="8.8.8.8/32", allowed=True, requests=1, first_seen=AT, last_seen=AT)


MADE = list(made_values())


@pytest.mark.parametrize("number", range(len(MADE)))
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_a_value_is_equal(number: int, copied: Callable[[Any], Any]) -> None:
    value = MADE[number]
    made = copied(value)
    assert isinstance(value, Hashable)
    assert (made, hash(made), repr(made)) == (value, hash(value), repr(value))
    assert len({value, made}) == 1


class ATime(datetime):
    """A time of a subclass, as other libraries have it."""


class NoTime(datetime):
    """As `pandas.NaT`: a `datetime` that is no time."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = datetime.__hash__

    def utcoffset(self) -> timedelta | None:
        raise ValueError("NaTType does not support utcoffset")

    def isoformat(self, *_: Any, **__: Any) -> str:
        return "NaT"


class NoOffset(tzinfo):
    """A time zone without an offset."""

    def utcoffset(self, _: datetime | None) -> None:
        return None

    dst = tzname = utcoffset


def subclass(time: datetime) -> ATime:
    return ATime.combine(time.date(), time.timetz())


EQUAL = {
    "another zone": AT.astimezone(timezone(timedelta(hours=5, minutes=30))),
    "a subclass": subclass(AT),
    "a subclass in another zone": subclass(AT.astimezone(timezone(timedelta(hours=-3)))),
}
NOT_TIMES = {"text": "2031-02-03", "number": 7, "no time": NoTime(2031, 1, 1, tzinfo=UTC)}
WITHOUT_ZONE = {"naive": datetime(2031, 1, 1), "no offset": datetime(2031, 1, 1, tzinfo=NoOffset())}
OUT_OF_RANGE = {
    "late": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    "early": subclass(datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))),
}


def pausing(time: Any) -> object:
    with RuleManager.open("memory://") as manager:
        manager.create_account("a")
        manager.add("a", "8.8.8.0/24")
        return manager.set_mode("a", "off", reason="x", until=time, confirmed={"disable_enforcement"}).mode_until


def listed(time: Any) -> object:
    with RuleManager.open("memory://") as manager:
        manager.create_account("a")
        change = manager.add("a", [NewEntry("8.8.8.0/24", expires_at=time)])
        assert change.after[0] == manager.entries("a")[0] == manager.history("a")[0].after[0]
        assert manager.edit("a", "8.8.8.0/24", expires_at=time).version == change.version
        return change.after[0].expires_at


def observed(time: Any) -> Observation:
    return Observation(account="a", network="8.8.8.8/32", allowed=True, requests=1, first_seen=time, last_seen=time)


EXPIRIES: dict[str, Callable[[Any], object]] = {
    "in_utc": lambda time: in_utc(time, "time"),
    "NewEntry": lambda time: NewEntry("8.8.8.0/24", expires_at=time).expires_at,
    "EntryEdit": lambda time: EntryEdit(expires_at=time).expires_at,
    "add": listed,
    "set_mode": pausing,
}
"""What takes the time at which something expires."""

SEEN: dict[str, Callable[[Any], object]] = {
    "zoned_time": lambda time: zoned_time(time, "time"),
    "Observation.first_seen": lambda time: observed(time).first_seen,
    "Observation.last_seen": lambda time: observed(time).last_seen,
    "PastTraffic": lambda time: PastTraffic([], since=time) and in_utc(time, "since"),
    "unused": lambda time: unused([], [], since=time) or in_utc(time, "since"),
    "narrower": lambda time: narrower([], [], since=time) or in_utc(time, "since"),
}
"""What takes another time."""


@pytest.mark.parametrize("time", EQUAL)
@pytest.mark.parametrize("taken", [*EXPIRIES, *SEEN])
def test_a_time_becomes_a_datetime_in_utc(taken: str, time: str) -> None:
    found = (EXPIRIES | SEEN)[taken](EQUAL[time])
    assert (type(found), found) == (datetime, AT)
    assert isinstance(found, datetime)
    assert found.tzinfo is UTC


@pytest.mark.parametrize("time", NOT_TIMES)
@pytest.mark.parametrize("taken", [*EXPIRIES, *SEEN])
def test_what_is_no_time_is_a_type_error(taken: str, time: str) -> None:
    with pytest.raises(TypeError, match="must be a datetime"):
        (EXPIRIES | SEEN)[taken](NOT_TIMES[time])


@pytest.mark.parametrize("time", [*WITHOUT_ZONE, *OUT_OF_RANGE])
@pytest.mark.parametrize("taken", ["add", "set_mode", *SEEN])
def test_a_time_without_a_form_in_utc_is_refused(taken: str, time: str) -> None:
    with pytest.raises(InvalidExpiryError if taken in EXPIRIES else ValueError, match=r"time zone|out of range"):
        (EXPIRIES | SEEN)[taken]((WITHOUT_ZONE | OUT_OF_RANGE)[time])


@pytest.mark.parametrize("time", [*EQUAL, *OUT_OF_RANGE, "no time"])
def test_the_client_sends_a_time_in_utc(time: str) -> None:
    value = (EQUAL | OUT_OF_RANGE | NOT_TIMES)[time]
    if time in EQUAL:
        assert json_value(value) == AT.isoformat()
    else:
        with pytest.raises(InvalidExpiryError if time in OUT_OF_RANGE else TypeError):
            json_value(value)


def test_a_time_of_pandas_is_kept_in_microseconds() -> None:
    pandas = pytest.importorskip("pandas")
    time = pandas.Timestamp("2031-02-03T04:05:06.789012345Z")
    assert listed(time) == AT
    assert type(NewEntry("8.8.8.0/24", expires_at=time).expires_at) is datetime
    with pytest.raises(TypeError, match="must be a datetime or None, not NaT"):
        NewEntry("8.8.8.0/24", expires_at=pandas.NaT)
