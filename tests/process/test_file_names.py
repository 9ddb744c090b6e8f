"""Files are named by text: everything that takes a path refuses descriptors, bytes and nothing at all."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import Matcher, RuleManager
from cidrgate.process.file_names import file_name

if TYPE_CHECKING:
    from collections.abc import Callable


class Named(str):
    """Text that says something else of itself."""

    def __str__(self) -> str:
        return "another"


class Bytes:
    """A path-like object of bytes."""

    def __fspath__(self) -> bytes:
        return b"lists"


@pytest.mark.parametrize("path", ["lists", Path("lists"), PurePath("lists"), Named("lists")])
def test_text_and_paths_name_files(path: Any) -> None:
    assert file_name(path, "path") == "lists"
    assert type(file_name(path, "path")) is str


def opened(call: Callable[[RuleManager], object]) -> None:
    with RuleManager.open("memory://", create=True) as manager:
        call(manager)


TAKE_A_PATH: dict[str, Callable[[Any], object]] = {
    "file_name": lambda path: file_name(path, "path"),
    "Matcher.open": Matcher.open,
    "Matcher.save": lambda path: Matcher().save(path),
    "RuleManager.open": lambda path: RuleManager.open("memory://", create=True, snapshot=path),
    "RuleManager.load": lambda path: opened(lambda manager: manager.load(snapshot=path)),
    "RuleManager.save_snapshot": lambda path: opened(lambda manager: manager.save_snapshot(path)),
}


@pytest.mark.parametrize("call", TAKE_A_PATH)
@pytest.mark.parametrize("path", [b"lists", bytearray(b"lists"), Bytes(), 1.5, ["lists"]])
def test_what_is_no_text_is_refused(call: str, path: Any) -> None:
    with pytest.raises(TypeError, match=f"must be a str or a path-like object of one, not {type(path).__name__}$"):
        TAKE_A_PATH[call](path)


@pytest.mark.parametrize("call", TAKE_A_PATH)
def test_a_descriptor_is_refused_and_stays_open(call: str, tmp_path: Path) -> None:
    Matcher().save(tmp_path / "lists")
    descriptor = os.open(tmp_path / "lists", os.O_RDONLY)
    try:
        with pytest.raises(TypeError, match=r"not int$"):
            TAKE_A_PATH[call](descriptor)
        os.fstat(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("call", TAKE_A_PATH)
@pytest.mark.parametrize("path", ["a\0b", "\0", Path("a\0b")], ids=repr)
def test_a_null_character_is_in_no_name(call: str, path: Any) -> None:
    with pytest.raises(OSError, match=r"null character") as raised:
        TAKE_A_PATH[call](path)
    assert raised.value.filename == str(path)


@pytest.mark.parametrize("call", TAKE_A_PATH)
def test_no_name_is_no_directory(call: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"''$"):
        TAKE_A_PATH[call]("")
