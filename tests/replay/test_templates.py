"""A template reads a line only if it can have written it: the values that are read, in their places, give the line."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import example, given, strategies as st

from cidrgate import Matcher
from cidrgate.replay import FORMATS, LogSource, observations
from cidrgate.replay.formats import TemplateError, format_of_template
from cidrgate.replay.lines import LineCutter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cidrgate.replay.formats import LogFormat

AT = "29/Mar/2026:02:30:00 +0200"
AT_US = 1_774_744_200_000_000
WANTED = frozenset({"account", "address", "time"})


def read(
    form: LogFormat, lines: Sequence[str], account: str = "account", **columns: str
) -> list[dict[str, Any] | None]:
    """What the columns say of each line; None for a bad line."""
    source = LogSource(files=["x"], form=form, columns={"account": account, "address": "remote_addr", **columns})
    batch = pa.RecordBatch.from_arrays([pa.array(lines, pa.string())], ["line"])
    rows = LineCutter(source, (), WANTED)._cut(batch).to_pylist()
    return [None if one["address"] is None else one for one in rows]


TEMPLATES = {
    '$remote_addr - $account [$time_local] "$request" $status': '9.9.9.1 - b [@] "GET / HTTP/1.1" 200',
    '$remote_addr acct=$account [$time_local] "$request" $status': '9.9.9.1 acct=b [@] "GET / HTTP/1.1" 200',
    "$remote_addr acct=$account [$time_local]": "9.9.9.1 acct=b [@]",
    "$remote_addr $account [$time_local]": "9.9.9.1 b [@]",
    "$remote_addr|$account [$time_local]": "9.9.9.1|b [@]",
    "[$remote_addr] $account [$time_local]": "[9.9.9.1] b [@]",
    "$remote_addr - [$account] [$time_local]": "9.9.9.1 - [b] [@]",
    "$remote_addr|$time_local|$account": "9.9.9.1|@|b",
    "$remote_addr [$time_local] acct=$account": "9.9.9.1 [@] acct=b",
    "$remote_addr acc=$account dst=$dst $time_local": "9.9.9.1 acc=b dst=8.8.8.8 @",
    'FOO BAR $remote_addr [$time_local] "$request" $status "$account"': 'FOO BAR 9.9.9.1 [@] "GET /" 200 "b"',
    '$remote_addr $time_local "$account" [$up]': '9.9.9.1 @ "b" [8.8.8.8]',
    '"$account" $remote_addr [$time_local]; $status': '"b" 9.9.9.1 [@]; 200',
    r"%a %t \"%r\" 5%% \"%{Account}i\"": '9.9.9.1 [@] "GET /" 5% "b"',
    "é${remote_addr}ü :: $account :: $time_local z": "é9.9.9.1ü :: b :: @ z",
    '%a %{%d/%b/%Y %T}t %t "%{Account}i"': '9.9.9.1 29/Mar/2026 02:30:00 [@] "b"',
    "$remote_addr $HTTP_ACCOUNT [$time_local]": "9.9.9.1 b [@]",
    '%v:%p %a %{Account}i %t "%r"': 'www.example:443 9.9.9.1 b [@] "GET / HTTP/1.1"',
    '%{Account}i:%p %a %t "%r"': 'b:443 9.9.9.1 [@] "GET / HTTP/1.1"',
    "%{c}a %a %v:%p,%{Account}i %t": "10.0.0.1 9.9.9.1 www.example:443,b [@]",
    "%a:%{remote}p %{Account}i %t": "9.9.9.1:33333 b [@]",
    "$remote_addr:$remote_port|$account|$time_local": "9.9.9.1:33333|b|@",
    "a=$remote_addr;b=<$account>,[$time_local]-$status": "a=9.9.9.1;b=<b>,[@]-200",
    "$status;$remote_addr=$account $time_local x": "200;9.9.9.1=b @ x",
    '%a %t "%m %U%q %H" %>s "%{Account}i"': '9.9.9.1 [@] "GET /x?y HTTP/1.1" 200 "b"',
}


def account_of(template: str) -> str:
    return "http_account" if "%" in template or "HTTP" in template else "account"


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_line_of_a_template_is_read(template: str) -> None:
    line = TEMPLATES[template].replace("@", AT)
    assert read(format_of_template(template), [line], account_of(template)) == [
        {"account": "b", "address": "9.9.9.1", "time": AT_US}
    ]


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ('%a %h %t "%{Account}i"', '9.9.9.1 client.example [@] "b"'),
        ('%h %a %t "%{Account}i"', 'client.example 9.9.9.1 [@] "b"'),
        ('%h %{c}a %a %t "%{Account}i"', 'client.example 8.8.8.8 9.9.9.1 [@] "b"'),
        ('%a %{c}h %{c}a %t "%{Account}i"', '9.9.9.1 proxy.example 8.8.8.8 [@] "b"'),
        ('%h %t "%{Account}i"', '9.9.9.1 [@] "b"'),
    ],
)
def test_the_address_is_read_beside_the_name_of_a_host(template: str, line: str) -> None:
    assert read(format_of_template(template), [line.replace("@", AT)], "http_account") == [
        {"account": "b", "address": "9.9.9.1", "time": AT_US}
    ]
    peer = format_of_template("%{c}a %{c}h")
    assert peer.fields[peer.roles["address"]] == peer.fields["realip_remote_addr"] != peer.fields["realip_remote_host"]


UTC_AT = "2026-03-29T00:30:00"


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ('%a [%{%Y-%m-%dT%H:%M:%S%z}t] "%r" "%{Account}i"', '9.9.9.1 [2026-03-29T02:30:00+0200] "GET / HTTP/1.1" "b"'),
        ('%a %{%FT%T%z}t "%{Account}i"', '9.9.9.1 2026-03-29T02:30:00+0200 "b"'),
        ('%a %{begin:%Y-%m-%dT%TZ}t "%{Account}i"', f'9.9.9.1 {UTC_AT}Z "b"'),
        ('%a %{%Y-%m-%d %H:%M:%S%z}t "%{Account}i"', '9.9.9.1 2026-03-29 02:30:00+0200 "b"'),
        ('%a %{sec}t "%{Account}i"', '9.9.9.1 1774744200 "b"'),
        ('%a %{end:usec}t "%{Account}i"', '9.9.9.1 1774744200000000 "b"'),
        ('%a %DUS%U %t "%{Account}i"', f'9.9.9.1 12US/x [{AT}] "b"'),
        (
            '%START_TIME(%Y-%m-%dT%T.%3fZ)% %DOWNSTREAM_REMOTE_ADDRESS% "%REQ(account)%"',
            f'{UTC_AT}.000Z 9.9.9.1:443 "b"',
        ),
        (
            '%START_TIME(%s.%3f)% %DOWNSTREAM_REMOTE_ADDRESS% "%REQUEST_HEADER(ACCOUNT)%"',
            '1774744200.000 9.9.9.1:1 "b"',
        ),
    ],
)
def test_a_time_in_the_notation_of_a_template_is_read(tmp_path: Path, template: str, line: str) -> None:
    (tmp_path / "log").write_text(line + "\n")
    form = format_of_template(template)
    source = LogSource(files=[tmp_path / "log"], form=form, columns={"account": "http_account"})
    lists = Matcher()
    lists.publish("b", ["9.9.9.1/32"])
    (seen,) = observations(source, lists)
    assert (seen.account, seen.network, seen.allowed) == ("b", "9.9.9.1/32", True)
    assert seen.last_seen == datetime(2026, 3, 29, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("%REQ(X-ACCOUNT)%", "%REQUEST_HEADER(X-ACCOUNT)%"),
        ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "%REQUEST_HEADER(X-Envoy-Original-Path?:path)%"),
        ("%REQ(:PATH)%", "%PATH%"),
        ("%REQ(:PATH)%", "%PATH(NQ:ORIG)%"),
        ("%REQ(X-A):9%", "%STREAM_INFO_REQ(X-A):9%"),
        ("%RESP(X-A?X-B)%", "%RESPONSE_HEADER(X-A?X-B)%"),
        ("%TRAILER(X-A)%", "%RESPONSE_TRAILER(X-A)%"),
    ],
)
def test_the_newer_names_of_the_commands_of_envoy_mean_the_same(older: str, newer: str) -> None:
    assert format_of_template(older) == format_of_template(newer)
    assert format_of_template(older).fields == format_of_template(newer).fields


def test_the_default_format_of_newer_versions_of_envoy_is_the_same() -> None:
    template = (
        '[%START_TIME%] "%REQUEST_HEADER(:METHOD)% %REQUEST_HEADER(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
        "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
        '%RESPONSE_HEADER(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQUEST_HEADER(X-FORWARDED-FOR)%" '
        '"%REQUEST_HEADER(USER-AGENT)%" "%REQUEST_HEADER(X-REQUEST-ID)%" "%REQUEST_HEADER(:AUTHORITY)%" '
        '"%UPSTREAM_HOST%"\\n'
    )
    form = format_of_template(template)
    assert (form.fields, form.roles) == (FORMATS["envoy"].fields, FORMATS["envoy"].roles)
    assert form.field_of_header("X-Request-Id") == "http_x_request_id"


VHOST = '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"'


@pytest.mark.parametrize("host", ["www.example", "a:b", "::1]", "9.9.9.9:80", "", ":", "x:443"])
@pytest.mark.parametrize("user", ["b", "-", "b:1", "a:b:c"])
def test_the_host_of_vhost_combined_moves_no_other_field(host: str, user: str) -> None:
    form = format_of_template(VHOST)
    line = f'{host}:443 2001:db8::1 - {user} [{AT}] "GET / HTTP/1.1" 200 9 "-" "curl"'
    row = {"account": None if user == "-" else user, "address": "2001:db8::1", "time": AT_US}
    assert read(form, [line, f"x {line}", line.replace(" - ", " ", 1)], "remote_user") == [row, None, None]
    (found,) = read(form, [line], "field_v")
    assert found is not None
    assert found["account"] == (host or None)
    (found,) = read(form, [line], "field_p")
    assert found is not None
    assert found["account"] == "443"


@pytest.mark.parametrize("line", ["www.example", "www.example:", ":", "", "www.example:x", "www.example:443x", "443"])
def test_a_host_without_a_port_is_a_bad_line(line: str) -> None:
    form = format_of_template('%v:%p %a "%{Account}i"')
    assert read(replace(form, time_form="any"), [f'{line} 9.9.9.1 "b"'], "http_account", time="http_account") == [None]


@pytest.mark.parametrize("address", ["9.9.9.1", "2001:db8::1", "::ffff:9.9.9.1", "::"])
def test_an_address_before_a_port_is_read_whole(address: str) -> None:
    for template in ("$remote_addr:$remote_port [$time_local] $account", "%a:%{remote}p %t %{Account}i"):
        account = "http_account" if "%" in template else "account"
        assert read(format_of_template(template), [f"{address}:1 [{AT}] b"], account) == [
            {"account": "b", "address": address, "time": AT_US}
        ]


FIELD = re.compile(r"%%|\$\{?(\w+)\}?|%U%q|%>?(?:\{[^}]*\})?[a-zA-Z]")
ESCAPED = re.compile(r'\\\\[\\\\"]')


def pattern_of(template: str, account: str, address: str) -> str:
    """The regular expression of what a template writes with these values, whatever the others are."""
    template = template.replace('\\"', '"').replace("%t", "[%t]")
    pattern, at = "", 0
    for found in FIELD.finditer(template):
        pattern += re.escape(template[at : found.start()])
        at = found.end()
        field = found.group().lower().strip("${}")
        if field in ("account", "http_account", "%{account}i"):
            pattern += account
        elif field in ("remote_addr", "%a"):
            pattern += address
        elif field in ("time_local", "%t"):  # the spaces around a time are not counted
            after = len(template[at:]) - len(template[at:].lstrip("] "))
            pattern += rf'\s*[^"\[\]]+\s*{re.escape(template[at : at + after].strip())}\s*'
            at += after
        elif field == "%%":
            pattern += "%"
        else:  # in what is not between quotes, a quote is a character as any other
            pattern += '[^"]*' if template[: found.start()].endswith('"') else ".*"
    return pattern + re.escape(template[at:])


CHANGES = ["", " ", "x", "[", "]", "|", "-", "=", '"', "<b>", "user=", " xx", "8.8.8.8", ":", ";"]


@pytest.mark.parametrize("template", TEMPLATES)
@given(data=st.data())
def test_a_line_without_the_fixed_text_is_bad(template: str, data: st.DataObject) -> None:
    """However a line of one field or more is changed, the fields that are read say where the rest must stand."""
    line = TEMPLATES[template].replace("@", AT)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(line)))
        line = line[:at] + data.draw(st.sampled_from(CHANGES)) + line[at + data.draw(st.integers(0, 3)) :]
    form = format_of_template(template)
    (row,) = read(form, [line], account_of(template))
    if row is not None:
        text = ESCAPED.sub("", line) if "%" in template else line
        account = "-?" if row["account"] is None else re.escape(row["account"])
        assert re.fullmatch(pattern_of(template, account, re.escape(row["address"])), text), (line, row)


@pytest.mark.parametrize("template", TEMPLATES)
@given(account=st.text(st.sampled_from(" []|-=:;b9.x"), max_size=6))
@example(account="b [x]")
@example(account="x - b")
def test_an_account_that_a_client_chooses_is_read_whole_or_its_line_is_bad(template: str, account: str) -> None:
    line = TEMPLATES[template]
    at = line.index("b", 0 if line.startswith(("b", '"b')) else line.index("9.9.9.1"))
    line = (line[:at] + account + line[at + 1 :]).replace("@", AT)
    (row,) = read(format_of_template(template), [line], account_of(template))
    if row is not None:
        assert (row["account"], row["address"]) == (None if account in ("", "-") else account, "9.9.9.1")


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("$remote_addr [$time_local] acct=$account", "3.3.3.3 [@] user=b acct=offacct"),
        ("$remote_addr acc=$acc dst=$account $time_local", "9.9.9.1 dst=8.8.8.8 acc=b @"),
        ("$remote_addr acc=$account dst=$dst $time_local", "9.9.9.1 xxx=b dst=8.8.8.8 @"),
        ('FOO BAR $remote_addr [$time_local] "$account"', 'XX YY 9.9.9.1 [@] "b"'),
        ('$remote_addr [$time_local] "$account"', '9.9.9.1 [@] "b" more'),
        ('$remote_addr [$time_local] "$account"', 'x 9.9.9.1 [@] "b"'),
        ('$remote_addr [$time_local] "$account"', '9.9.9.1 [@] x "b"'),
        ('$remote_addr [$time_local] "$account"', '9.9.9.1 [@] [x] "b"'),
        ('$remote_addr $time_local "$account" [$up]', '9.9.9.1 @ "b" 8.8.8.8'),
        ("$remote_addr - [$account] [$time_local]", "9.9.9.1 - <b> [@]"),
        ("$remote_addr - [$account] [$time_local]", "9.9.9.1 - xby [@]"),
        ("$remote_addr $account [$time_local] $status", "9.9.9.1 b [@] 200 more"),
    ],
)
def test_other_text_than_the_templates_is_a_bad_line(template: str, line: str) -> None:
    assert read(format_of_template(template), [line.replace("@", AT)]) == [None]


def test_fixed_text_is_compared_if_the_time_is_another_field() -> None:
    form = format_of_template('$remote_addr [$time_local] "$account" $msec')
    source = LogSource(files=["x"], form=form, columns={"account": "account", "time": "account"})
    lines = [f'9.9.9.1 {one} "b" 1' for one in (f"[{AT}]", f"[{AT}", f"[{AT}] x", f"[{AT}][", f"<{AT}>")]
    cutter = LineCutter(replace(source, form=replace(form, time_form="any")), (), WANTED)
    cut = cutter._cut(pa.RecordBatch.from_arrays([pa.array(lines)], ["line"])).column("address").to_pylist()
    assert cut == ["9.9.9.1", None, None, None, None]


@pytest.mark.parametrize("user", ["b", "a b", "x - b", "-", "b ", "x y - z - b"])
def test_the_user_of_a_combined_log_is_its_whole_name(user: str) -> None:
    lines = [f'9.9.9.1 - {one} [{AT}] "GET / HTTP/1.1" 200 9 "-" "curl"' for one in (user, "b [x]", "[b")]
    row = {"account": None if user == "-" else user, "address": "9.9.9.1", "time": AT_US}
    assert read(FORMATS["combined"], lines, "remote_user") == [row, None, None]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("log_format x '$remote_addr [$time_local]';", "only the text between its quotes"),
        ("  log_format x escape=json '$remote_addr'", "only the text between its quotes"),
        ("'$remote_addr [$time_local]';", "only the text between its quotes"),
        ('LogFormat "%h %t" common', "only the text between its quotes"),
        ("'$remote_addr '\n'$status'", "it has a line break"),
        ("%h 50% %t", "% is no field: write %%"),
        ('%h %D%T "%r"', "nothing separates field_D from what follows it"),
        ("%h %v:%p%u", "nothing separates field_p from what follows it"),
        ("%ax%uy%m", "nothing separates remote_addr from what follows it"),
        ("%START_TIME% %REQ(X)", "%REQ.X. is no field: write %%"),
    ],
)
def test_what_is_no_template_is_refused(template: str, problem: str) -> None:
    with pytest.raises(TemplateError, match=problem):
        format_of_template(template)
