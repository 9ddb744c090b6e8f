"""Files as people have them, through the command: what is imported, what is refused, and with which words."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from cidrgate import RuleManager
from tests.cli.conftest import Cidrgate, cidrgate, no_database
from tests.lists.real_files import FILES, File

__all__ = ["cidrgate", "no_database"]


def test_the_table_covers_the_formats() -> None:
    assert len(FILES) >= 40
    assert len({file.name for file in FILES}) == len(FILES)
    published = {file.options.split()[1] for file in FILES if "--from" in file.options}
    assert len({file.name.rpartition(".")[2] for file in FILES} | published) >= 10


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_file(cidrgate: Cidrgate, file: File) -> None:
    Path(file.name).write_bytes(file.bytes())
    options = shlex.split(file.options)
    answer = cidrgate("import", file.name, *options, status=file.status)
    assert [words for words in file.refused if words not in answer.err] == [], answer.err
    assert [words for words in file.says if words not in answer.out] == [], answer.out
    assert ("note:" in answer.out) <= bool(file.says)
    assert bool(answer.err) == (file.status != 0)
    with RuleManager.open(cidrgate.database, load=False) as manager:
        lists = {
            account.name: [
                entry.cidr + (f" {entry.label}" if entry.label else "") + ("" if entry.enabled else " (disabled)")
                for entry in manager.entries(account.name)
            ]
            for account in manager.accounts()
        }
    assert lists == file.imported
