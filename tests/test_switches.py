"""Whatever is true or false is nothing else: text such as "no" would switch on what it should switch off."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import Gate, Matcher, Policy
from cidrgate.authorize.client_headers import ClientHeaders
from cidrgate.authorize.server import AuthorizeSettings
from cidrgate.gate import ClientIPResolver
from cidrgate.service import Settings
from cidrgate.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MADE: dict[Callable[..., Any], dict[str, Any]] = {
    AuthorizeSettings: {"database": "memory://", "unlisted": "deny"},
    ClientHeaders: {},
    ClientIPResolver: {},
    Gate: {"lists": Matcher(), "unlisted": "deny"},
    Matcher.open: {"path": Path("nowhere")},
    Policy: {},
    Settings: {},
    open_store: {"url": "memory://"},
}
"""What takes switches, and the other arguments that it needs."""


def _switches() -> Iterator[tuple[Callable[..., Any], str]]:
    for made in _MADE:
        for parameter in inspect.signature(made).parameters.values():
            if parameter.annotation in ("bool", bool) or isinstance(parameter.default, bool):
                yield made, parameter.name


def test_each_of_them_has_some() -> None:
    assert {made for made, _ in _switches()} == set(_MADE)


@pytest.mark.parametrize(("made", "switch"), list(_switches()), ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("wrong", ["no", "", 0, 1, None], ids=repr)
def test_a_switch_is_true_or_false(made: Callable[..., Any], switch: str, wrong: object) -> None:
    with pytest.raises(TypeError, match=rf"{switch}\w* must be True or False"):
        made(**_MADE[made], **{switch: wrong})


@pytest.mark.parametrize("wrong", ["x", 2.0, True, None], ids=repr)
@pytest.mark.parametrize("setting", ["login_failures", "max_body"])
def test_a_number_of_the_service_is_whole(setting: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"{setting} must be a whole number"):
        Settings(**{setting: wrong})
    with pytest.raises(ValueError, match=f"{setting} must be a whole number from"):
        Settings(**{setting: -1})  # type: ignore[arg-type]
