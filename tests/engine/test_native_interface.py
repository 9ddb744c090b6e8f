"""The examples for native code, compiled and run: rows and answers without Python objects."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cidrgate
from cidrgate import Matcher

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "docs" / "native"
NO_ADDRESS, NO_ROW, UNKNOWN = -1, -2, -1


def build(directory: Path) -> None:
    """Compile both examples, as their README says: with `get_include()` and nothing to link."""
    cython = pytest.importorskip("Cython.Build", reason="needs Cython: pip install 'cidrgate[dev]'")
    setuptools = pytest.importorskip("setuptools", reason="needs setuptools: pip install 'cidrgate[dev]'")
    for name in ("gate.pyx", "gate.c"):
        (directory / name.replace("gate.c", "gate_c.c")).write_bytes((EXAMPLES / name).read_bytes())
    extensions = [
        setuptools.Extension(name, [str(directory / source)], include_dirs=[cidrgate.get_include()])
        for name, source in (("gate", "gate.pyx"), ("gate_c", "gate_c.c"))
    ]
    built = cython.cythonize(extensions, include_path=[str(Path(cidrgate.__file__).parents[1])], quiet=True)
    distribution = setuptools.Distribution({"ext_modules": built})
    command = distribution.get_command_obj("build_ext")
    command.build_lib = command.build_temp = str(directory)
    command.ensure_finalized()
    command.run()


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    directory = tmp_path_factory.mktemp("native")
    build(directory)
    sys.path.insert(0, str(directory))
    yield importlib.import_module("gate"), importlib.import_module("gate_c")
    sys.path.remove(str(directory))


@pytest.fixture
def matcher() -> Matcher:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/25", "2606:4700::/32"])
    matcher.publish("open", [])
    matcher.link("sub-é", parent="acct-1")
    return matcher


def test_rows_are_counted_without_the_gil(examples: tuple[Any, Any], matcher: Matcher) -> None:
    gate, _ = examples
    first = int.from_bytes(bytes([8, 8, 8, 0]), "big")
    assert gate.count_allowed(matcher, "acct-1", first, 256) == 128
    assert gate.count_allowed(matcher, "sub-é", first, 256) == 128
    assert gate.count_allowed(matcher, "open", first, 256) == 256
    assert gate.count_allowed(matcher, "unknown", first, 256) == 256
    matcher.publish("acct-1", [f"8.8.8.{n}/32" for n in range(100)])
    assert gate.count_allowed(matcher, "sub-é", first, 256) == 100


def test_answers_are_those_of_the_matcher(examples: tuple[Any, Any], matcher: Matcher) -> None:
    gate, gate_c = examples
    for account in ("acct-1", "sub-é", "open", "unknown"):
        row = matcher.rows([account])[0]
        for text in ("8.8.8.8", "8.8.8.200", "2606:4700::1", "2606:4800::1", "::ffff:8.8.8.8"):
            expected = matcher.allows(account, text)
            assert gate.answer(matcher, row, text.encode()) == expected
            assert gate_c.allowed(matcher, account, text) == expected
    row = matcher.rows(["acct-1"])[0]
    assert gate.answer_packed(matcher, row, bytes.fromhex("26064700000000000000000000000001")) == 1
    assert gate.answer_packed(matcher, row, bytes.fromhex("00000000000000000000ffff08080808")) == 1
    assert gate.answer_packed(matcher, row, bytes.fromhex("00000000000000000000ffff09080808")) == 0


def test_doubt_is_no_permission(examples: tuple[Any, Any], matcher: Matcher) -> None:
    gate, gate_c = examples
    row = matcher.rows(["acct-1"])[0]
    assert gate.answer(matcher, row, b"8.8.8") == NO_ADDRESS
    assert not gate_c.allowed(matcher, "acct-1", "8.8.8")
    assert gate.answer(matcher, 1_000, b"8.8.8.8") == NO_ROW
    assert gate.answer(matcher, -5, b"8.8.8.8") == NO_ROW
    gone = matcher.rows(["open"])[0]
    matcher.discard("open")
    assert gate.answer(matcher, gone, b"8.8.8.8") == NO_ROW
    assert gate.answer(matcher, UNKNOWN, b"8.8.8.8") == 1


def test_other_objects_are_no_matcher(examples: tuple[Any, Any]) -> None:
    gate, gate_c = examples
    with pytest.raises(TypeError):
        gate.answer(object(), 0, b"8.8.8.8")
    with pytest.raises(TypeError):
        gate_c.allowed(object(), "acct-1", "8.8.8.8")
