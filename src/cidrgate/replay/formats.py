"""The formats of logs: how a line is cut into fields, and which fields say who acted, from where and when.

A format of text is described by the template with which its program writes it, or by what cuts its lines. No library is
needed here; `sources` turns the descriptions into queries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FORMATS", "ROLES", "LogFormat", "TemplateError", "TimeForm", "format_of_name", "format_of_template"]

TimeForm: TypeAlias = Literal["clf", "haproxy", "iso", "epoch", "any"]
"""How a time is written: `10/Oct/2026:13:55:36 +0000`, the same with milliseconds and without a zone, ISO 8601, seconds
since 1970, or one of the last two."""

ROLES = ("account", "address", "forwarded", "path", "time", "requests")
"""What a request needs of a log: its account or its path, the peer, the header that names the client, the time, and how
many requests a row stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFormat:
    """A format of logs.

    Attributes:
        name: Its name on the command line.
        title: What it is, for people.
        reader: What reads it: `csv`, `json` (one object a line) and `parquet` have named columns; `text` has lines.
        cut: For `text`: SQL that cuts `line` into the list `p`.
        whole: For `text`: SQL that is true for a line with all its fields.
        fields: For `text`: the SQL of each field.
        roles: Which field has which role.
        time_form: How its times are written.
        time_around: What stands before and behind a time in Apache's notation.
        urls: Whether it has whole URLs instead of paths.
        comments: Whether lines that begin with `#` are no requests.
        header: Whether the line `#Fields:` names the fields, as in the W3C extended log format.
    """

    name: str
    title: str
    reader: Literal["csv", "json", "parquet", "text"]
    cut: str = ""
    whole: str = "true"
    fields: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    roles: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    time_form: TimeForm = "any"
    time_around: tuple[str, str] = ("", "")
    urls: bool = False
    comments: bool = False
    header: bool = False


class TemplateError(ValueError):
    """A template of a log cannot be read back, because nothing separates its fields."""


_BOUNDARY = re.compile(r'[ "]')
_NGINX = re.compile(r"\$\{?(?P<name>[a-z_0-9]+)\}?")
_APACHE = re.compile(r"%[<>!,0-9]*(?:\{(?P<argument>[^}]*)\})?(?P<letter>\^?[a-zA-Z]{1,3}|%)")
_ENVOY = re.compile(r"%(?P<command>[A-Z_0-9]+)(?:\((?P<argument>[^)]*)\))?(?::[0-9]+)?%")
_APACHE_NAMES = {
    "h": "remote_addr", "a": "remote_addr", "l": "ident", "u": "remote_user", "t": "time_local", "r": "request",
    "s": "status", "b": "bytes", "B": "bytes", "U": "uri", "m": "request_method", "H": "server_protocol", "q": "args",
}  # fmt: skip
_ENVOY_NAMES = {
    "START_TIME": "time_iso8601", "PROTOCOL": "server_protocol", "RESPONSE_CODE": "status",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": "remote_addr", "DOWNSTREAM_REMOTE_ADDRESS": "remote_addr_port",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": "realip_remote_addr",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": "realip_remote_addr_port",
}  # fmt: skip
_TWO_WORDS = frozenset({"time_local"})
"""Fields that always contain one space."""

_FREE_TEXT = re.compile(r"http_|remote_user|request$|args|uri|upstream_|sent_http_|cookie_|arg_")
"""Fields that may contain spaces, because clients choose them or because they are lists."""


def _names(template: str) -> tuple[list[str], list[str]]:
    """Return the texts around the fields of a template, one more than there are fields, and the names of the fields.

    Example:
        >>> _names('$remote_addr [$time_local] "%"')
        (['', ' [', '] "%"'], ['remote_addr', 'time_local'])
        >>> _names('%h %t "%{X-Account}i"')
        (['', ' [', '] "', '"'], ['remote_addr', 'time_local', 'http_x_account'])
        >>> _names('[%START_TIME%] "%REQ(X-ACCOUNT)%"')
        (['[', '] "', '"'], ['time_iso8601', 'http_x_account'])
    """
    template = template.strip("\n")
    if _NGINX.search(template):
        pattern, name_of = _NGINX, _nginx_name
    elif _ENVOY.search(template):
        pattern, name_of = _ENVOY, _envoy_name
    else:
        # Apache writes the brackets around %t by itself.
        template = template.replace("%t", "[%t]").replace("[[%t]]", "[%t]")
        pattern, name_of = _APACHE, _apache_name
    texts, names, at = [], [], 0
    for found in pattern.finditer(template):
        texts.append(template[at : found.start()])
        names.append(name_of(found))
        at = found.end()
    if not names:
        raise TemplateError("it names no field: write it as the server's configuration has it")
    return [*texts, template[at:]], names


def _nginx_name(found: re.Match[str]) -> str:
    return found["name"]


def _header(name: str) -> str:
    return "http_" + name.lower().replace("-", "_")


def _apache_name(found: re.Match[str]) -> str:
    argument, letter = found["argument"], found["letter"]
    if argument and letter == "i":
        return _header(argument)
    if argument == "c" and letter in ("a", "h"):
        return "realip_remote_addr"
    return _APACHE_NAMES.get(letter, f"field_{letter}") if not argument else f"{letter}_{argument}".lower()


def _envoy_name(found: re.Match[str]) -> str:
    command, argument = found["command"], found["argument"]
    if command == "REQ" and argument:
        first = argument.partition("?")[0]
        return {":METHOD": "request_method", ":PATH": "uri", "X-ENVOY-ORIGINAL-PATH": "uri"}.get(first, _header(first))
    return _ENVOY_NAMES.get(command, command.lower() if not argument else f"{command}_{argument}".lower())


def format_of_template(template: str, *, name: str = "custom", title: str = "a log_format of your own") -> LogFormat:
    """Return the format of a log that a template writes, in the notation of nginx, Apache or Envoy.

    Headers are named as nginx names them: `http_x_account`.

    Raises:
        TemplateError: If the fields cannot be told apart.
    """
    texts, names = _names(template)
    # The text is cut at its quotes first: servers escape the quotes of values, so a client cannot move a field.
    sections: list[tuple[list[str], list[str]]] = [([""], [])]
    quoted = '"' in "".join(texts)
    for number, text in enumerate(texts):
        pieces = text.split('"')
        sections[-1][0][-1] += pieces[0]
        sections += [([piece], []) for piece in pieces[1:]]
        if number < len(names):
            sections[-1][1].append(names[number])
            sections[-1][0].append("")
    fields: dict[str, str] = {}
    checks = [f"len(p) = {len(sections)}"] if quoted else []
    for number, (around, inside) in enumerate(sections, 1):
        fields |= _fields_of(f"p[{number}]" if quoted else "line", around, inside, checks)
    for one in ("remote_addr", "realip_remote_addr"):
        if f"{one}_port" in fields and one not in fields:
            fields[one] = _without_port(fields[f"{one}_port"])
    if "request" in fields and "uri" not in fields:
        fields["uri"] = f"split_part({fields['request']}, ' ', 2)"
    roles = {
        role: next((one for one in choices if one in fields), "")
        for role, choices in {
            "address": ("remote_addr", "realip_remote_addr"),
            "forwarded": ("http_x_forwarded_for",),
            "path": ("request_uri", "uri"),
            "time": ("time_local", "time_iso8601", "msec"),
        }.items()
    }
    cut = _cut(escaped="%" in template) if quoted else ""
    return LogFormat(
        name=name,
        title=title,
        reader="text",
        cut=cut,
        whole=" AND ".join(checks) or "true",
        fields=fields,
        roles={role: one for role, one in roles.items() if one},
        time_form=_time_form(roles["time"]),
        time_around=_around_time(texts, names, fields[roles["time"]]) if roles["time"] in _TWO_WORDS else ("", ""),
    )


def _around_time(texts: list[str], names: list[str], found: str) -> tuple[str, str]:
    """Return what stands before and behind the time in the text that the SQL of its field finds.

    Example:
        >>> _around_time(["", ' "[', '] "'], ["remote_addr", "time_local"], "split_part(p[2], ' ', 1)")
        ('[', ']')
    """
    place = names.index("time_local")
    if found.endswith("'[', 2)"):
        return "", texts[place + 1].partition('"')[0]
    return _BOUNDARY.split(texts[place])[-1], _BOUNDARY.split(texts[place + 1])[0]


def _time_form(name: str) -> TimeForm:
    forms: dict[str, TimeForm] = {"time_local": "clf", "time_iso8601": "iso", "msec": "epoch"}
    return forms.get(name, "any")


def _cut(*, escaped: bool) -> str:
    r"""Return the SQL that cuts a line at its quotes.

    Apache writes a quote inside of a value as \", and a backslash as \\; both are left out before the cut.
    """
    unescaped = r"""replace(replace(line, '\\', ''), '\"', '')"""
    line = rf"CASE WHEN contains(line, '\') THEN {unescaped} ELSE line END" if escaped else "line"
    return f"""string_split({line}, '"')"""


def _fields_of(
    text: str, around: list[str], names: list[str], checks: list[str], counted: str | None = None
) -> dict[str, str]:
    """Return the SQL of each field of a section, which lies between two quotes.

    Args:
        text: The SQL of the section.
        around: The texts around its fields.
        names: The names of its fields.
        checks: Takes what must be true for a line whose fields are where they are expected.
        counted: The SQL of the part of the section that has only these fields; None for the whole.
    """
    if not names:
        return {}
    if len(names) == 1 and not any(around):
        return {names[0]: text}
    inner = around[1:-1]
    # Between two fields stands one separator, or at least a space.
    separator = inner[0] if inner and len(set(inner)) == 1 and len(names) > 1 else " "
    if not separator or any(separator not in one for one in inner):
        raise TemplateError(f"nothing separates {names[0]} from what follows it: put a space between the fields")
    if names[-1] in _TWO_WORDS and inner and inner[-1].endswith("[") and "[" not in "".join(inner)[:-1]:
        # What stands before the time has no bracket, so one cut finds it, which is much faster than to count words.
        return {
            **_fields_of(text, [*around[:-2], around[-2][:-1]], names[:-1], checks, f"split_part({text}, '[', 1)"),
            names[-1]: f"split_part({text}, '[', 2)",
        }
    tokens: list[list[tuple[str, str]]] = [[]]  # each of texts and of at most one field
    for number, before in enumerate(around):
        pieces = before.split(separator)
        tokens[-1].append(("text", pieces[0]))
        tokens += [[("text", piece)] for piece in pieces[1:]]
        if number < len(names):
            tokens[-1].append(("field", names[number]))
    fields: dict[str, str] = {}
    place, loose = 1, False
    for token in tokens:
        held = [value for kind, value in token if kind == "field"]
        if held:
            texts = [value for kind, value in token if kind == "text"]
            found = f"split_part({text}, '{_sql(separator)}', {place})"
            if held[0] in _TWO_WORDS and separator == " ":
                found = f"({found} || ' ' || split_part({text}, ' ', {place + 1}))"
                place += 1
            first, last = len(texts[0]), len("".join(texts[1:]))
            if (first or last) and held[0] not in _TWO_WORDS:  # those are read with what stands around them
                found = f"substr({found}, {first + 1}, length({found}) - {first + last})"
            fields[held[0]] = found
            loose = loose or bool(_FREE_TEXT.match(held[0]))
        place += 1
    if loose:
        # A client that writes the separator into its name must not move the fields behind it.
        counted = counted or text
        spaces = f"length({counted}) - length(replace({counted}, '{_sql(separator)}', ''))"
        checks.append(f"({spaces}) = {(place - 2) * len(separator)}")
    return fields


def _sql(text: str) -> str:
    return text.replace("'", "''")


def _without_port(address: str) -> str:
    """Return the SQL of an address without the port behind its last colon, and without the brackets of IPv6."""
    return f"trim(left({address}, greatest(length(rtrim({address}, '0123456789')) - 1, 0)), '[]')"


_COMBINED = '$remote_addr - $remote_user [$time_local] "$request" $status $bytes "$http_referer" "$http_user_agent"'
_TRAEFIK = f'{_COMBINED} $number "$router" "$server" $duration'
_ENVOY_DEFAULT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"'
)


def _combined() -> LogFormat:
    """Return the format `combined` of nginx and Apache, of which the first fields are those of `common`."""
    made = format_of_template(_COMBINED)
    return LogFormat(
        name="combined",
        title="nginx and Apache, `combined` or `common`",
        reader="text",
        cut=_cut(escaped=True),
        whole="len(p) >= 3",
        fields=made.fields,
        roles={**made.roles},
        time_form="clf",
        time_around=made.time_around,
    )


def _haproxy() -> LogFormat:
    """Return the format of `option httplog`, with or without what syslog writes before it."""
    return LogFormat(
        name="haproxy",
        title="HAProxy, `option httplog`",
        reader="text",
        cut=_cut(escaped=False),
        whole="len(p) >= 3",
        fields={
            # Behind whatever syslog writes: the first address with a port before the time in brackets.
            "client": r"trim(regexp_extract(p[1], '(\S+):[0-9]+ \[', 1), '[]')",
            "time": "split_part(split_part(p[1], ' [', 2), ']', 1)",
            "uri": "split_part(p[2], ' ', 2)",
            **{
                f"capture_{number}": (f"split_part(split_part(split_part(p[1], '{{', 2), '}}', 1), '|', {number})")
                for number in range(1, 10)
            },
        },
        roles={"address": "client", "time": "time", "path": "uri"},
        time_form="haproxy",
    )


def _alb() -> LogFormat:
    return LogFormat(
        name="aws-alb",
        title="AWS Application Load Balancer",
        reader="text",
        cut=_cut(escaped=False),
        whole="len(p) >= 5",
        fields={
            "time": "split_part(p[1], ' ', 2)",
            "client": _without_port("split_part(p[1], ' ', 4)"),
            "uri": "split_part(p[2], ' ', 2)",
        },
        roles={"address": "client", "time": "time", "path": "uri"},
        time_form="iso",
        urls=True,
    )


def _json(name: str, title: str, time_form: TimeForm, *, urls: bool = False, **roles: str) -> LogFormat:
    return LogFormat(name=name, title=title, reader="json", roles=roles, time_form=time_form, urls=urls)


_PLAIN = {"account": "account", "address": "address", "time": "time"}

FORMATS: Mapping[str, LogFormat] = MappingProxyType(
    {
        one.name: one
        for one in (
            LogFormat(name="csv", title="CSV with a header", reader="csv", roles=_PLAIN),
            LogFormat(name="jsonl", title="JSON Lines", reader="json", roles=_PLAIN),
            LogFormat(name="parquet", title="Apache Parquet", reader="parquet", roles=_PLAIN),
            _combined(),
            _json(
                "caddy", "Caddy, JSON", "any", address="request.remote_ip", time="ts", path="request.uri",
                forwarded="request.headers.X-Forwarded-For",
            ),
            _haproxy(),
            format_of_template(_ENVOY_DEFAULT, name="envoy", title="Envoy, the default format"),
            format_of_template(_TRAEFIK, name="traefik", title="Traefik, the default format (CLF)"),
            _json(
                "traefik-json", "Traefik, JSON", "iso", address="ClientHost", time="StartUTC", path="RequestPath",
                forwarded="request_X-Forwarded-For",
            ),
            _alb(),
            LogFormat(
                name="cloudfront",
                title="AWS CloudFront, standard logs",
                reader="text",
                cut="string_split(line, '\t')",
                roles={"address": "c-ip", "path": "cs-uri-stem", "forwarded": "x-forwarded-for", "time": "date+time"},
                time_form="iso",
                comments=True,
                header=True,
            ),
            _json(
                "gcp", "Google Cloud load balancers, JSON", "iso", address="httpRequest.remoteIp", time="timestamp",
                path="httpRequest.requestUrl", urls=True,
            ),
            _json(
                "azure", "Azure Application Gateway and Front Door, JSON", "iso",
                address="properties.clientIP|properties.clientIp", time="timeStamp|time",
                path="properties.requestUri", urls=True,
            ),
        )
    }
)  # fmt: skip
"""Every format, by its name."""

_ENDINGS = {"csv": "csv", "tsv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl", "parquet": "parquet"}


def format_of_name(name: str) -> LogFormat | None:
    """Return the format that the ending of a file's name says, or None.

    Example:
        >>> format_of_name("a/b.csv.gz").name, format_of_name("access.log")
        ('csv', None)
    """
    for packed in (".gz", ".zst", ".bz2"):
        name = name.removesuffix(packed)
    found = _ENDINGS.get(name.rpartition(".")[2].lower())
    return None if found is None else FORMATS[found]
