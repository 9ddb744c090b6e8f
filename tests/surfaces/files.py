"""The files that cidrgate writes: the format of snapshots, and the columns and fields of exported lists."""

from __future__ import annotations

import json
import re
import struct
import tempfile
from pathlib import Path

from cidrgate import Matcher
from cidrgate.stores.migrations import HEAD
from tests.command_line import typed
from tests.surfaces.shapes import shape

__all__ = ["describe"]

_HEADER = struct.Struct("<8sI")
"""The magic number and the format, as ext/snapshot.pxd draws them."""


def describe() -> str:
    """The description of the files."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [*_snapshots(Path(folder)), *_exports(Path(folder))]
    return "\n".join(lines) + "\n"


def _snapshots(folder: Path) -> list[str]:
    path = folder / "matcher.snapshot"
    Matcher().save(path)
    magic, version = _HEADER.unpack_from(path.read_bytes())
    database = ["--database", str(folder / "compiled.db")]
    typed([*database, "account", "create", "acct-1"])
    done = typed([*database, "compile", str(folder / "compiled.snapshot")])
    assert done.exit_code == 0, done.output
    note = json.loads(Matcher.open(folder / "compiled.snapshot").note.partition(b"\n")[0])
    return [
        f"snapshot: magic {magic!r}, format {version}",
        f"snapshot of a manager: content {note['content']}, note {json.dumps(shape(note))}",
        f"store: revision {HEAD}",
    ]


def _exports(folder: Path) -> list[str]:
    database = ["--database", str(folder / "lists.db")]
    for arguments in (
        ["account", "create", "acct-1"],
        ["account", "create", "empty"],
        ["account", "create", "sub-1", "--parent", "acct-1"],
        ["add", "acct-1", "8.8.8.0/24", "--label", "office"],
        ["add", "acct-1", "2606:4700::/32", "--expires-in", "30d"],
    ):
        done = typed([*database, *arguments])
        assert done.exit_code == 0, done.output
    lines = []
    for ending in ("csv", "jsonl"):
        path = folder / f"lists.{ending}"
        done = typed([*database, "export", "--output", str(path)])
        assert done.exit_code == 0, done.output
        written = path.read_text(encoding="utf-8").splitlines()
        if ending == "csv":
            lines += [f"export csv: {re.sub(r'[0-9a-f]{32,}', 'DIGEST', written[0])}"]
        else:
            lines += sorted({f"export jsonl: {json.dumps(shape(json.loads(line)))}" for line in written})
    store = folder / "store.backup"
    done = typed([*database, "backup", str(store)])
    assert done.exit_code == 0, done.output
    header, *_ = map(json.loads, store.read_text(encoding="utf-8").splitlines())
    lines += [f"backup: {name} version {header['version']}" for name in [header["format"]]]
    lines += [f"backup of {table}: {', '.join(columns)}" for table, columns in header["tables"].items()]
    return lines
