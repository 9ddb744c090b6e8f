"""A coverage-guided fuzzer over the parser, the trie builder, the list check, the snapshot reader and log lines.

`make fuzz` builds the engine with clang's AddressSanitizer and coverage and runs this for `FUZZ_SECONDS` seconds. The
first byte of an input chooses what the rest is given to; whatever is answered is compared with `ipaddress`, with
linear search, or with plain Python.
"""

from __future__ import annotations

import os
import struct
import sys
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import atheris
import pyarrow as pa

with atheris.instrument_imports(include=["cidrgate._engine"]):
    from cidrgate import InvalidAddressError, Matcher, PrefixTrie, SnapshotError, SubaccountError
    from cidrgate._engine import PlainLists, _LogLines, _portable_parse, _seal_snapshot, canonical_prefix

from cidrgate.replay.formats import FORMATS, LogFormat, format_of_template
from tests.golden import plain_list
from tests.golden_lines import row_of

SCRATCH = TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
BARRED = ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32", "::/64"]
MOST_LISTED = 40
SNAPSHOT = Path(SCRATCH.name) / "fuzzed.snapshot"
LINES = (
    b'8.8.8.8 - - [10/Oct/2026:13:55:36 +0200] "GET /v1/a?b HTTP/1.1" 200 12 "-" "curl \\"x\\" y"',
    b'[::1]:33317 [10/Oct/2026:11:55:36.000] http-in a/b 10/0 200 - - ---- 1/1 0/0 {a|b} {} "GET /v1/a HTTP/1.1"',
    b'h2 2026-10-10T11:55:36Z app/lb [::1]:2817 10.0.0.1:80 0 "GET https://a.example/a HTTP/1.1" "c" "x"',
    b'me <8.8.8.8> :: 10/Oct/2026:13:55:36 +0200 z "acct" x8.8.4.4',
)


def unmapped(address: object) -> object:
    """The IPv4 address that an IPv4-mapped one stands for."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def fuzz_parser(data: bytes) -> None:
    """Text is an address, or a prefix, exactly when `ipaddress` says so, zone ids aside."""
    text = data.decode("latin-1")
    everything = PrefixTrie(["0.0.0.0/0", "::/0"])
    try:
        expected = None if "%" in text or "/" in text else ip_address(text)
    except ValueError:
        expected = None
    try:
        found = everything.match(text)
    except InvalidAddressError:
        found = None
    want = {None: None, 4: "0.0.0.0/0", 6: "::/0"}[getattr(unmapped(expected), "version", None)]
    assert found == want, (text, found, want)
    assert _portable_parse(text) == (None if expected is None else expected.packed), text
    try:
        prefix = ip_network(canonical_prefix(text))
    except InvalidAddressError:
        return
    given = ip_network(text)
    same = int(given.network_address) & 0xFFFFFFFF == int(prefix.network_address)
    assert prefix == given or (isinstance(given, IPv6Network) and same and prefix.prefixlen == given.prefixlen - 96)


def networks(data: bytes) -> list[str]:
    """Prefixes from bytes: family, length, and only as many address bytes as are given, so that they meet."""
    found = []
    for at in range(0, len(data) - 5, 6):
        family, length, *rest = data[at : at + 6]
        size = 16 if family & 1 else 4
        address = bytes(rest).ljust(size, b"\x20" if family & 2 else b"\0")
        found.append(str(ip_network((address, length % (8 * size + 1)), strict=False)))
    return [text for text in found if not text.startswith("::ffff:")]


def fuzz_builder(data: bytes) -> None:
    """A trie of many prefixes answers as a linear search does."""
    repeat = 1 + data[0] if data else 1
    texts = networks(data[1:])
    # Enough to leave the small arrays behind: every prefix again with its last address bytes counted up.
    for step in range(repeat if texts else 0):
        first = ip_network(texts[0])
        moved = (int(first.network_address) + (step << 8)) % 2**first.max_prefixlen
        texts.append(f"{ip_address(moved) if first.version == 4 else IPv6Address(moved)}/{first.max_prefixlen}")
    texts = [text for text in texts if not text.startswith("::ffff:")]
    trie = PrefixTrie(texts)
    listed = [ip_network(text) for text in trie]
    assert set(listed) == {ip_network(text) for text in texts}
    for network in listed[:40]:
        for address in (network[0], network[-1], network[-1] + 1 if int(network[-1]) + 1 < 2**32 else network[0]):
            if isinstance(address, IPv6Address) and address.ipv4_mapped:
                continue
            inside = [other for other in listed if other.version == address.version and address in other]
            longest = max(inside, key=lambda other: other.prefixlen, default=None)
            assert trie.match(address) == (str(longest) if longest is not None else None), (address, texts)


def fuzz_list(data: bytes) -> None:
    """A list is accepted in one pass, in its canonical form, exactly when no pair of networks overlaps."""
    how, rest = data[0] if data else 0, data[1:]
    texts = networks(rest) if how & 1 else rest.decode("latin-1").split(",")
    texts = texts[:MOST_LISTED]
    barred = BARRED if how & 2 else []
    most = MOST_LISTED if how & 4 else len(texts) - 1
    assert PlainLists(barred).canonical(texts, most) == plain_list(texts, most, barred), (texts, most, barred)


def fuzz_snapshot(data: bytes) -> None:
    """A file is refused, or what it holds can be used and saved, whatever it holds."""
    SNAPSHOT.write_bytes(_seal_snapshot(data))
    try:
        matcher = Matcher.open(SNAPSHOT)
    except SnapshotError:
        return
    for name in ("acct-0", "acct-1", "acct-2", "sub-0", "sub-1"):
        matcher.allows(name, "8.8.8.8")
        matcher.allows(name, "2600::1")
        matcher.prefixes(name)
    for name in ("acct-0", "acct-1", "acct-2", "new"):
        try:
            matcher.publish(name, ["8.8.8.0/24"])
            matcher.link("sub-0", name)
            matcher.discard("sub-1")
            matcher.discard(name)
        except SubaccountError:
            continue
    matcher.save(SNAPSHOT)


def columns_of(form: LogFormat) -> tuple[list[tuple[tuple[Any, ...], bool, str]], tuple[Any, ...], _LogLines]:
    """Every field of a format as a column, its time if the engine reads it, and the engine's object for them."""
    columns: list[tuple[tuple[Any, ...], bool, str]] = [
        ((field,), number % 2 == 0, form.encoding) for number, field in enumerate(form.fields.values())
    ]
    time = (form.fields[form.roles["time"]],) if form.time_form in ("clf", "haproxy") else ()
    native = (form.time_form, time, *form.time_around) if time else ("", (), "", "")
    most = None if form.more_sections else form.sections
    return columns, time, _LogLines(form.cutter, form.escaped, form.sections, most, form.checks, native, columns)


TEMPLATE = '$remote_user <$remote_addr> :: $time_local z "$http_x_account" x$http_x_forwarded_for'
TEXT_FORMATS = [*(one for one in FORMATS.values() if one.fields), format_of_template(TEMPLATE)]
CUTTERS = [(form, *columns_of(form)) for form in TEXT_FORMATS]


def fuzz_lines(data: bytes) -> None:
    """A line of a log is cut as plain Python cuts it; octets that are no text are cut within their bounds."""
    form, columns, time, cutter = CUTTERS[(data[0] if data else 0) % len(CUTTERS)]
    octets = data[1:].split(b"\n")
    ends = [0, *accumulate(map(len, octets))]
    buffers = [None, pa.py_buffer(struct.pack(f"={len(ends)}i", *ends)), pa.py_buffer(b"".join(octets))]
    cutter.cut(pa.Array.from_buffers(pa.string(), len(octets), buffers))
    lines = [one.decode("latin-1") for one in octets]
    found = []
    for nulls, valid, offsets, texts in cutter.cut(pa.array(lines, pa.string())):
        parts = [pa.py_buffer(one) for one in (valid, offsets, texts) if one is not None]
        kind = pa.int64() if offsets is None else pa.string()
        found.append(pa.Array.from_buffers(kind, len(lines), parts, nulls).to_pylist())
    expected = [row_of(form, line, columns, time) for line in lines]
    assert list(map(list, zip(*found, strict=True))) == expected, (form.name, lines)


def fuzz(data: bytes) -> None:
    """Give an input to what its first byte chooses."""
    if data:
        targets = (fuzz_parser, fuzz_builder, fuzz_snapshot, fuzz_list, fuzz_lines)
        targets[data[0] % len(targets)](data[1:])


def seeds(corpus: Path) -> None:
    """Inputs to begin with: an address of every form, some prefixes, and snapshots of every kind of list."""
    texts = ["8.8.8.8", "::ffff:8.8.8.8", "2001:db8::1", "1:2:3:4:5:6:7:8", "8.8.8.0/24", "2600::/12", "::/0", "::1%lo"]
    for number, text in enumerate(texts):
        (corpus / f"text-{number}").write_bytes(b"\0" + text.encode())
    for number in range(len(CUTTERS)):
        for place, line in enumerate(LINES):
            (corpus / f"line-{number}-{place}").write_bytes(bytes([4, number]) + line)
    for how in range(8):
        (corpus / f"list-{how}").write_bytes(bytes([3, how]) + b"8.8.8.0/24,2600::/12,10.0.0.0/8,1.1.1.1/32")
    (corpus / "prefixes").write_bytes(bytes([1, 100, 0, 24, 8, 8, 8, 0, 1, 32, 0x26, 0, 0, 0, 0, 16, 8, 8, 0, 0]))
    for size in (0, 3, 80):
        matcher = Matcher()
        for number in range(3):
            matcher.publish(
                f"acct-{number}", [f"8.{number}.{n}.0/24" for n in range(size)] + ["2600::/16"] * (size > 0)
            )
        matcher.link("sub-0", "acct-0")
        matcher.link("sub-1", "acct-0")
        matcher.discard("acct-2")
        matcher.save(SNAPSHOT)
        (corpus / f"snapshot-{size}").write_bytes(b"\2" + SNAPSHOT.read_bytes())


def main() -> None:
    """Run the fuzzer over a corpus; arguments are libFuzzer's."""
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    seeds(corpus)
    atheris.Setup([*sys.argv, "-max_len=24000", "-print_final_stats=1", f"-artifact_prefix={corpus}{os.sep}"], fuzz)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
