"""Lines of logs are cut as plain Python cuts them, whatever they contain, and every form of column says the same."""

from __future__ import annotations

import csv
import io
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, example, given, strategies as st

from cidrgate._engine import _accounts_in_paths, _LogLines, _OpenQuote
from cidrgate.errors import UnclearAccountError
from cidrgate.gate import FromPath
from cidrgate.replay.formats import FORMATS, LogField, LogFormat, format_of_template
from tests.golden_lines import row_of

if TYPE_CHECKING:
    from collections.abc import Sequence

AT = "10/Oct/2026:13:55:36 +0200"
CLF = f'8.8.8.8 - - [{AT}] "GET /v1/accounts/a/b?c=1 HTTP/1.1" 200 12 "-" "curl \\"x\\" y"'
HAPROXY = (
    "8.8.8.8:33317 [10/Oct/2026:11:55:36.000] http-in static/srv1 10/0 200 2750 - - ---- 1/1/1/1/0 0/0 {acct|x} {} "
    '"GET /v1/accounts/a HTTP/1.1"'
)
HEADER = ("date", "time", "c-ip", "cs-uri-stem", "x-account")
FORMS: list[tuple[LogFormat, tuple[str, ...], tuple[str, ...]]] = [
    (FORMATS["combined"], (), (CLF, CLF.partition(' "-"')[0])),
    (
        FORMATS["haproxy"],
        (),
        (HAPROXY, f"Oct 10 11:55:36 localhost haproxy[1]: {HAPROXY}", f"[2001:db8::1]{HAPROXY[7:]}"),
    ),
    (
        FORMATS["aws-alb"],
        (),
        ('h2 2026-10-10T11:55:36.000000Z app/lb [::1]:2817 10.0.0.1:80 0 "GET https://a.example/a HTTP/1.1" "c" "x"',),
    ),
    (FORMATS["envoy"], (), ('[2026-10-10T11:55:36.000Z] "GET /a HTTP/1.1" 200 - 0 1 7 5 "8.8.8.8" "c" "i" "h" "u"',)),
    (FORMATS["traefik"], (), (f'{CLF} 7 "api@file" "http://127.0.0.1:9000" 3ms',)),
    (FORMATS["cloudfront"], HEADER, ("2026-10-10\t11:55:36\t8.8.8.8\t/v1/a\tb",)),
    *[
        (format_of_template(template), (), (line,))
        for template, line in {
            '%h %l %u %t "%r" %>s %b "%{X-Account}i"': f'8.8.8.8 - - [{AT}] "GET / HTTP/1.1" 200 1 "b\\\\\\"c"',
            '[%START_TIME%] %DOWNSTREAM_REMOTE_ADDRESS% "%REQ(X-ACCOUNT)%"': '[2026-10-10T11:55:36Z] [::1]:80 "b"',
            "$time_iso8601|$http_x_account|$remote_addr": "2026-10-10T11:55:36+00:00|b|8.8.8.8",
            'at="$time_local" client=$remote_addr account=$http_x_account;': f'at="{AT}" client=8.8.8.8 account=b;',
            "é$remote_addrü :: $http_x_account :: $time_local z": f"é8.8.8.8ü :: b :: {AT} z",
            '%v:%p %a %t "%{X-Account}i"': f'a.example:443 8.8.8.8 [{AT}] "b"',
            "$remote_addr:$remote_port|$http_x_account|$status": "2001:db8::1:80|b|200",
            "$remote_addr <$http_x_account> x$time_local z": f"8.8.8.8 <b> x{AT} z",
        }.items()
    ],
]
PIECES = [
    *'"[]|{}\\ \t/%?#;-:.+09zé€\0\x0b\x7f', "", '\\"', "\\\\", "//", "/.", ":80", ":80 [", "] ", " [", '" "', " - ",
    "http://x", "https://y/", "24", "60", "Oct", "oct", "Feb", "29/", "31/Dec", "2024", "2023", "0000", "0001", "9999",
    ".5", "+02:00", "-0060", "+99", ":59", "\\x22", "\\xC3\\xab", "#C3#AB", "%e2%82%AC", "\\xF0\\x9f\\x92\\xa9",
    "\\n", "\\q", "\\x", "\\xff", "%ED%A0%80", "#F4#90#80#80", "%c0%af", "#E0#9f", "%F1%80%80", '\\\\"', "\\x5C",
]  # fmt: skip


@st.composite
def hostile(draw: st.DrawFn, lines: Sequence[str]) -> str:
    """A line of a log after some changes, or any text."""
    if draw(st.integers(0, 19)) == 0:
        return "".join(draw(st.lists(st.sampled_from(PIECES), max_size=30)))
    line = draw(st.sampled_from(lines))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(line)))
        end = at + draw(st.sampled_from([0, 0, 0, 1, 2, 5, 20]))
        line = line[:at] + draw(st.sampled_from(PIECES)) + line[end:]
    return line


def cutter_of(form: LogFormat, header: Sequence[str], columns: Any, time: Sequence[LogField]) -> _LogLines:
    sections = len(header) or form.sections
    most = None if form.more_sections else sections
    native = (form.time_form, time, *form.time_around) if time else ("", (), "", "")
    return _LogLines(form.cutter, form.escaped, sections, most, form.checks, native, columns)


def arrays_of(columns: Sequence[tuple[int, bytes, bytes | None, bytes]], count: int) -> list[list[Any]]:
    """The values of columns of the engine, which pyarrow checks in full."""
    found = []
    for nulls, *buffers in columns:
        kind = pa.int64() if buffers[1] is None else pa.string()
        given = [pa.py_buffer(one) for one in buffers if one is not None]
        array = pa.Array.from_buffers(kind, count, given, nulls)
        array.validate(full=True)
        assert array.null_count == sum(one is None for one in array.to_pylist())
        found.append(array.to_pylist())
    return found


@pytest.mark.parametrize("place", range(len(FORMS)))
@given(data=st.data())
def test_lines_are_cut_as_plain_python_cuts_them(place: int, data: st.DataObject) -> None:
    form, header, seeds = FORMS[place]
    known = {**form.fields, **{name: LogField(number) for number, name in enumerate(header)}}
    lines = data.draw(st.lists(hostile(seeds), min_size=1, max_size=8))
    names = data.draw(st.lists(st.sampled_from([*known]), max_size=4))
    parts = [(known[name],) for name in names] + [(known[name], known[names[0]]) for name in names[1:2]]
    signs = st.sampled_from(["", form.encoding, "\\", "#", "%"])
    columns = [(one, data.draw(st.booleans()), data.draw(signs)) for one in [*parts, ()]]
    # Now and then the time is read from another field.
    timed = form.time_form in ("clf", "haproxy") and data.draw(st.booleans())
    time = (known[form.roles["time"]],) if timed else ()
    found = arrays_of(cutter_of(form, header, columns, time).cut(pa.array(lines, pa.string())), len(lines))
    expected = [row_of(form, line, columns, time, len(header)) for line in lines]
    assert found == [list(column) for column in zip(*expected, strict=True)], lines


TIMES = st.lists(
    st.sampled_from([*PIECES, "10", "1", "Oct", "/", "/Oct/2026:", ":13:55:36", " +0200", ".000", "29/Feb/2024"]),
    max_size=6,
).map("".join)
TEXTS = st.lists(st.one_of(TIMES, hostile([f"[{AT}]", "[29/Feb/2024:00:00:59 -1130]"])), min_size=1, max_size=8)
FIRST_AND_LAST = ["[01/Jan/0001:00:00:00 +0000]", "[01/Jan/0001:00:00:00 +0001]", "[31/Dec/9999:23:59:59 +0000]"]
IN_ONE_MINUTE = [
    f"[{AT}]",
    "[10/Oct/2026:13:55:37 +0100]",
    f"[{AT} ]",
    "[10/Oct/2026:13:55:",
    "[10/Oct/2026:13:55:60 +0000]",
]
FRACTIONS = [f"10/Oct/2026:13:55:36{one}" for one in (".12", "", ".", ".1234", ".999")]


@given(texts=TEXTS, clf=st.booleans())
@example(texts=FIRST_AND_LAST, clf=True)
@example(texts=IN_ONE_MINUTE, clf=True)
@example(texts=FRACTIONS, clf=False)
def test_times_are_read_as_plain_python_reads_them(texts: list[str], *, clf: bool) -> None:
    around = ("[", "]") if clf else ("", "")
    form = LogFormat(name="t", title="t", reader="text", time_form="clf" if clf else "haproxy", time_around=around)
    given_texts = texts if clf else [one.strip("[]") for one in texts]
    (found,) = arrays_of(cutter_of(form, (), (), (LogField(0),)).cut(pa.array(given_texts)), len(texts))
    assert found == [row_of(form, one, (), (LogField(0),))[0] for one in given_texts]


BEFORE = "/v1/accounts/"
SOURCE = FromPath(BEFORE + "(?P<account>[^/]+)")
PATHS = st.lists(
    st.sampled_from(
        [
            BEFORE,
            "/v1",
            "/",
            "a",
            "acct-1",
            ".",
            "//",
            "/.",
            "%",
            ";",
            "#",
            "\\",
            "é",
            " ",
            "\x7f",
            "x" * 40,
            "x" * 8_000,
        ]
    ),
    max_size=5,
).map("".join)


@given(st.lists(st.one_of(st.none(), PATHS), max_size=20))
def test_the_account_of_a_clear_path_is_the_gates(paths: list[str | None]) -> None:
    column, unclear = _accounts_in_paths(pa.array(paths, pa.string()), BEFORE)
    (accounts,) = arrays_of([column], len(paths))
    rows = set(np.frombuffer(unclear, np.int64).tolist())
    for row, path in enumerate(paths):
        if path is None or row in rows:
            assert accounts[row] is None
            continue
        assert path.isascii(), path
        assert path.isprintable(), path
        try:
            assert accounts[row] == SOURCE.account(path, path.encode())
        except UnclearAccountError:  # of an empty path
            assert accounts[row] is None
        assert not {"//", "/.", *"%;#\\ "} & {path[at : at + size] for at in range(len(path)) for size in (1, 2)}


@pytest.mark.parametrize(
    "path", ["", "/", BEFORE, f"{BEFORE}a", f"{BEFORE}{'a' * 7_000}/b", "/".join("abc" * 20), "a.b/c~!"]
)
def test_plain_paths_are_clear(path: str) -> None:
    assert _accounts_in_paths(pa.array([path]), BEFORE)[1] == b""


@pytest.mark.parametrize("odd", ["%", ";", "#", "\\", "//", "/.", " ", "\0", "\x1f", "\x7f", "é"])
@pytest.mark.parametrize("size", [0, 1, 14, 15, 16, 17, 30, 31, 32, 33])
def test_an_odd_character_is_found_wherever_it_is(odd: str, size: int) -> None:
    paths = pa.array(["/a", f"{'a' * size}{odd}{'a' * (40 - size)}", "a" * size + odd, "a" * 8_001])
    assert _accounts_in_paths(paths, BEFORE)[1] == np.array([1, 2, 3]).tobytes()


SIMPLE = ([((LogField(0).part(" ", 1),), False, "")], ())


@given(
    st.lists(st.one_of(st.none(), st.sampled_from(["a b", "", "c", "é d", "a longer text than a view holds inline"]))),
    st.data(),
)
def test_every_form_of_column_says_the_same(lines: list[str | None], data: st.DataObject) -> None:
    form = LogFormat(name="t", title="t", reader="text")
    cutter = cutter_of(form, (), *SIMPLE)
    whole = pa.array(lines, pa.string())
    start = data.draw(st.integers(0, len(lines)))
    expected = [None if one is None else one.split(" ")[0] for one in lines[start:]]
    for one in (
        whole[start:],
        whole.cast(pa.large_string())[start:],
        whole.cast(pa.string_view())[start:],
        whole.dictionary_encode()[start:],
        pa.chunked_array([whole[start : start + 2], whole[start + 2 :]]),
    ):
        assert arrays_of(cutter.cut(one), len(expected)) == [expected]


def test_octets_that_are_no_text_are_cut_within_their_bounds() -> None:
    source = np.random.default_rng(7)
    for form, header, _ in FORMS:
        known = {**form.fields, **{name: LogField(number) for number, name in enumerate(header)}}
        octets = source.choice(
            np.frombuffer(b'"" [[]]|{}\\\\\t:/.0 9xcC#%#%\\\x80\xc3\xff-', np.uint8), 4_000
        ).tobytes()
        ends = np.sort(source.integers(0, len(octets) + 1, 301)).astype(np.int32)
        buffers = [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(octets)]
        lines = pa.Array.from_buffers(pa.string(), 300, buffers)
        for one, sign in itertools.product(known.values(), ["", "\\", "#", "%"]):
            (column,) = cutter_of(form, header, [((one, one), True, sign)], ()).cut(lines)
            assert column[2] is not None
            assert len(column[2]) == 4 * 301
    assert len(_accounts_in_paths(lines, "/")[0][2] or b"") == 4 * 301


@pytest.mark.parametrize("given_lines", [["a"], pa.array([1]), None, np.zeros(3)])
def test_what_is_no_column_of_text_is_refused(given_lines: Any) -> None:
    with pytest.raises(TypeError, match="must be an Arrow column of text"):
        cutter_of(FORMATS["combined"], (), *SIMPLE).cut(given_lines)
    with pytest.raises(TypeError, match="must be an Arrow column of text"):
        _accounts_in_paths(given_lines, "/")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"cutter": "ab"}, "name one character"),
        ({"cutter": "é"}, "name one character"),
        ({"least": 0}, "0 is not a number of a format"),
        ({"most": 10_001}, "10001 is not a number"),
        ({"time": ("iso", (), "", "")}, "no form of times 'iso'"),
        ({"checks": [((0, ()), "", 1, ())]}, "a separator is empty"),
        ({"columns": [([(0, [("part", "", 1, 1)])], False, "")]}, "a separator is empty"),
        ({"columns": [([(0, [("part", " ", 0, 1)])], False, "")]}, "0 is not a number"),
        ({"columns": [([(0, [("cut", " ", 1, 1)])], False, "")]}, "there is no step 'cut'"),
        ({"columns": [([], False, "&")]}, "no server writes octets with '&'"),
        ({"columns": [([(-1, [])], False, "")]}, "-1 is not a number"),
    ],
)
def test_a_description_that_cannot_be_is_refused(more: dict[str, Any], problem: str) -> None:
    told: dict[str, Any] = {
        "cutter": "", "escaped": False, "least": 1, "most": None, "checks": (), "time": ("", (), "", ""), "columns": (),
    }  # fmt: skip
    with pytest.raises(ValueError, match=problem):
        _LogLines(**(told | more))


@given(st.text(st.sampled_from('a,"\n'), max_size=30), st.integers(0, 30))
def test_quotes_that_do_not_end_are_those_of_the_csv_module(text: str, place: int) -> None:
    quotes = _OpenQuote(b",")
    for piece in (text[:place], text[place:]):
        quotes.add(piece.encode())
    try:
        list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        assume("unexpected end of data" in str(error))
        assert quotes.open
        assert text[quotes.opened_at] == '"'
        assert text[: quotes.opened_at].count("\n") + 1 == quotes.opened
        rows = list(csv.reader(io.StringIO(text[: quotes.row_at], newline=""), strict=True))
        assert [*rows, *csv.reader(io.StringIO(text[quotes.row_at :], newline=""))] == list(
            csv.reader(io.StringIO(text, newline=""))
        )
    else:
        assert not quotes.open
    assert quotes.lines == text.count("\n")
