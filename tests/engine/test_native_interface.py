"""The examples for native code, compiled and run: rows and answers without Python objects."""

from __future__ import annotations

import importlib
import sys
import threading
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
    """Compile the examples, as their README says, with `get_include()` and nothing to link; and a reader for tests."""
    cython = pytest.importorskip("Cython.Build", reason="needs Cython: pip install 'cidrgate[dev]'")
    setuptools = pytest.importorskip("setuptools", reason="needs setuptools: pip install 'cidrgate[dev]'")
    (directory / "gate.pyx").write_bytes((EXAMPLES / "gate.pyx").read_bytes())
    (directory / "gate_c.c").write_bytes((EXAMPLES / "gate.c").read_bytes())
    (directory / "reader.pyx").write_bytes(Path(__file__).with_name("reader.pyx").read_bytes())
    extensions = [
        setuptools.Extension(source.partition(".")[0], [str(directory / source)], include_dirs=[cidrgate.get_include()])
        for source in ("gate.pyx", "gate_c.c", "reader.pyx")
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


@pytest.mark.slow
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


@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("together", [1, 50])
def test_native_readers_and_a_writer_need_no_gil(together: int) -> None:
    reader = importlib.import_module("reader")
    matcher = Matcher()
    accounts = [f"acct-{number}" for number in range(100)]
    for number, account in enumerate(accounts):
        matcher.publish(account, [f"8.8.{number}.0/24"])
    asked, rights = [0, 0], [0, 0]
    stop = threading.Event()

    def read(number: int) -> None:
        while not stop.is_set():
            rights[number] += reader.read(matcher, accounts, 8 << 24 | 8 << 16, 2_000 // together, together)
            asked[number] += 2_000

    threads = [threading.Thread(target=read, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    # Every list keeps its own network and never holds the next one, so whatever is read is right.
    for step in range(20_000):
        number = step * 7 % 100
        more = [f"9.{n >> 8}.{n & 255}.0/24" for n in range(step * 13 % 90)]
        matcher.publish(accounts[number], [f"8.8.{number}.0/24", *more])
        matcher.publish(f"new-{step % 5_000}", more[:3])
        matcher.link(f"sub-{step % 1_000}", accounts[number])
        matcher.discard(f"sub-{step * 3 % 1_000}")
    stop.set()
    for thread in threads:
        thread.join()
    assert rights == asked
    assert min(asked) > 10_000


def test_other_objects_are_no_matcher(examples: tuple[Any, Any]) -> None:
    gate, gate_c = examples
    with pytest.raises(TypeError):
        gate.answer(object(), 0, b"8.8.8.8")
    with pytest.raises(TypeError):
        gate_c.allowed(object(), "acct-1", "8.8.8.8")


def test_callers_of_c_see_no_gap_while_all_lists_are_replaced(examples: tuple[Any, Any], matcher: Matcher) -> None:
    _, gate_c = examples
    ended = threading.Event()

    def replace() -> None:
        number = 0
        while not ended.is_set():
            other = Matcher()
            for before in range(number % 7):
                other.publish(f"before-{before}", ["9.9.9.0/24"])
            other.publish("acct-1", ["8.8.8.0/25"])
            matcher.adopt(other)
            number += 1

    writer = threading.Thread(target=replace)
    writer.start()
    answers = {
        (gate_c.allowed(matcher, "acct-1", "8.8.8.8"), gate_c.allowed(matcher, "acct-1", "9.9.9.9"))
        for _ in range(50_000)
    }
    ended.set()
    writer.join()
    assert answers == {(True, False)}
