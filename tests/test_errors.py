"""Every error has a code, keeps its data when it is copied or pickled, and is public if a caller can get it."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from typing import Any

import pytest
from fastapi import Request
from hypothesis import given, settings, strategies as st

import cidrgate
from cidrgate import errors
from cidrgate.client import ApiError, ProblemInfo
from cidrgate.client.errors import error_of
from cidrgate.client.values import problem_of
from cidrgate.errors import CidrgateError, Problem, ProblemCode, RuleError
from cidrgate.problem_types import PROBLEM_TYPES
from cidrgate.rules import RULES
from cidrgate.serialization import error_data
from cidrgate.service.http import problems
from cidrgate.service.http.limits import GREATEST_INTEGER, LONGEST_DATA
from tests.test_layers import MODULES

INSIDE = {"AccountsLockedError", "MissingAccountError"}
"""Names of `cidrgate.errors` that stay inside of a change or an edge: no caller of the library gets them."""

SHARED = {
    "AccountsLockedError",
    "ClosedClientError",
    "ConsoleForbiddenError",
    "UnconfirmedError",
    "NeedsConfirmationError",
}
"""Errors whose code is the one of a base class or of the library's error that they stand for."""

for name, path in MODULES.items():
    # Errors of frameworks derive from the framework's, and a framework may be missing.
    if re.search(r"^class \w+Error\(", path.read_text(), re.MULTILINE) and ".middleware" not in name:
        import_module(name)


def subclasses(kind: type[CidrgateError]) -> list[type[CidrgateError]]:
    return [kind, *(found for one in kind.__subclasses__() for found in subclasses(one))]


TWICE = set(ApiError.kinds.values())
"""Errors of the client that are an error of the library too; `tests/service/test_client.py` is about them."""

KINDS = sorted(
    {kind for kind in subclasses(CidrgateError) if kind.__module__.startswith("cidrgate.")} - TWICE,
    key=lambda kind: (kind.__module__, kind.__name__),
)
EVERY = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)

HINTS = {
    "ProblemInfo": ProblemInfo,
    "Iterable": Iterable,
    "Sequence": Sequence,
    "Mapping": Mapping,
    "datetime": datetime,
    "Problem": Problem,
}
"""What the modules import for type checkers alone."""


OF_THE_SERVICE: dict[str, st.SearchStrategy[Any]] = {
    "code": st.sampled_from([one.code for one in PROBLEM_TYPES if one.status is not None]),
    "errors": st.lists(st.fixed_dictionaries({"code": st.text(), "detail": st.text()})),
    "preview": st.none(),
}
"""Arguments of which the types do not say enough."""

OBJECTS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text())
st.register_type_strategy(ProblemInfo, st.builds(ProblemInfo, data=OBJECTS))  # a type cannot say what JSON is


def has_constructor(kind: type[CidrgateError]) -> bool:
    return any("__init__" in vars(one) for one in kind.__mro__ if issubclass(one, CidrgateError))


def arguments(kind: type[CidrgateError]) -> st.SearchStrategy[tuple[list[Any], dict[str, Any]]]:
    """Return arguments for the constructor of an error, drawn by their types."""
    if not has_constructor(kind):
        return st.tuples(st.lists(st.text(), max_size=1), st.just({}))
    types = typing.get_type_hints(kind.__init__, vars(import_module(kind.__module__)) | HINTS)
    positional, named = [], {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if kind.__module__.startswith("cidrgate.service") and name in OF_THE_SERVICE:
            positional.append(OF_THE_SERVICE[name])
            continue
        values = st.from_type(types[name]).filter(lambda value: value == value)  # NaN is no data
        values = values.map(lambda value: list(value) if isinstance(value, Iterator) else value)
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[name] = values
        else:
            positional.append(values)
    return st.tuples(st.tuples(*positional).map(list), st.fixed_dictionaries(named))


@EVERY
def test_every_error_has_a_code_that_names_nothing_else(kind: type[CidrgateError]) -> None:
    assert "code" in vars(kind), "derive no code from a base class by chance"
    assert kind.code == kind.code.lower()
    assert kind.code.replace("_", "").isalpha()
    same = [other.__name__ for other in KINDS if other.code == kind.code and other.__name__ not in SHARED]
    assert kind.__name__ in SHARED or same == [kind.__name__]


@EVERY
@settings(max_examples=20)
@given(data=st.data())
def test_an_error_keeps_its_data_in_copies_and_pickles(kind: type[CidrgateError], data: st.DataObject) -> None:
    positional, named = data.draw(arguments(kind))
    error = kind(*positional, **named)
    error.add_note("seen before")
    for name, value in named.items():
        if name != "way" and value is not None:  # only the message has the way; what is not said has a default
            kept = getattr(error, name)
            assert kept == (type(kept)(value) if isinstance(kept, tuple | frozenset) else value)
    for copied in (
        copy.copy(error),
        copy.deepcopy(error),
        *(pickle.loads(pickle.dumps(error, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)),
    ):
        assert type(copied) is kind
        assert str(copied) == str(error)
        assert vars(copied) == vars(error)
        assert copied.code == error.code
        assert (copied.args, copied.__notes__) == (error.args, error.__notes__)
        if isinstance(error, ModuleNotFoundError):
            assert copied.name == error.name  # type: ignore[attr-defined]


SENT = [
    one.error
    for one in PROBLEM_TYPES
    # The details of stores are for the operator.
    if one.error is not None and one.status is not None and not issubclass(one.error, errors.StoreError)
]


@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.__name__)
@settings(max_examples=20)
@given(data=st.data())
def test_an_error_of_the_client_has_the_data_of_the_error_of_the_manager(
    kind: type[CidrgateError], data: st.DataObject
) -> None:
    positional, named = data.draw(arguments(kind))
    error = kind(*positional, **named)
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""})
    try:
        body = bytes(problems._cidrgate_error(request, error).body)
    except UnicodeEncodeError:  # a surrogate, which the service does not let in
        return
    received = error_of(problem_of(json.loads(body)), request_id=None, retry_after=None, account=None)
    assert isinstance(received, kind)
    assert set(vars(error)) <= set(vars(received))
    for name in [*error_data(kind), *(["confirm"] if hasattr(error, "confirm") else [])]:
        value = getattr(error, name)
        assert not is_sent(value) or getattr(received, name) == value, name
    if is_sent(getattr(error, "entries", ())):
        assert getattr(received, "entry", None) == getattr(error, "entry", None)


def is_sent(value: object) -> bool:
    """Whether a problem of the service has this data of an error."""
    if isinstance(value, str | tuple) and len(value) > LONGEST_DATA:
        return False
    numbers = value if isinstance(value, tuple) else [value]
    return not any(isinstance(number, int) and number > GREATEST_INTEGER for number in numbers)


def test_names_of_data_are_no_names_of_the_error_of_the_client() -> None:
    """An attribute of one would hide that of the other; what both have is the same."""
    of_the_client = set(vars(error_of(ProblemInfo(**PROBLEM), request_id=None, retry_after=None, account=None)))
    for kind in SENT:
        assert error_data(kind).keys() & of_the_client <= {"account"}


PROBLEM: dict[str, Any] = {"type": "", "title": "", "status": 404, "detail": "", "code": "not_found"}


@EVERY
def test_an_error_takes_no_data_by_position(kind: type[CidrgateError]) -> None:
    """So that data can be added, and their order means nothing."""
    if kind.__module__ == "cidrgate.errors" and has_constructor(kind):
        positional = [
            one for one in inspect.signature(kind).parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD
        ]
        assert [one.name for one in positional] in (["message"], ["problems"], [])


def test_every_error_of_the_library_is_public() -> None:
    assert set(errors.__all__) - set(vars(cidrgate)["__all__"]) == INSIDE
    assert {kind.__name__ for kind in KINDS if kind.__module__ == "cidrgate.errors"} <= set(errors.__all__)


def test_a_name_of_a_kind_catches_the_whole_kind() -> None:
    for kind in KINDS:
        name = kind.__name__
        assert issubclass(kind, LookupError) == issubclass(kind, errors.NotFoundError), name
        assert not name.endswith("NotFoundError") or name == "StoreNotFoundError" or issubclass(kind, LookupError)
        assert not name.endswith("ConflictError") or issubclass(kind, errors.ConflictError), name


def test_the_codes_of_the_rules_are_the_type() -> None:
    assert {rule.code for rule in RULES} == set(typing.get_args(ProblemCode))


def test_a_rule_error_consists_of_problems() -> None:
    for wrong in ("oops", [None], ["oops"], [("invalid_format", "x", 0)]):
        with pytest.raises(TypeError, match="Problem"):
            RuleError(wrong)  # type: ignore[arg-type]
    problem = Problem(code="invalid_format", text="x", position=0)
    assert RuleError(iter([problem]), more=2).problems == [problem]
    assert str(RuleError([problem], more=2)) == "invalid_format: 'x'; and 2 more problems"
