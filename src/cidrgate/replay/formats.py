"""The formats of logs: how a line is cut into fields, and which fields say who acted, from where and when.

A format of text is described by the template with which its program writes it, or by what cuts its lines. No library is
needed here; the engine cuts lines of text (`lines`), and `sources` turns descriptions of columns into queries.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from cidrgate.values import check_type

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FORMATS",
    "ROLES",
    "FieldStep",
    "LineCheck",
    "LogField",
    "LogFormat",
    "TemplateError",
    "TimeForm",
    "format_of_name",
    "format_of_template",
]

TimeForm: TypeAlias = Literal["clf", "haproxy", "iso", "epoch", "any"]
"""How a time is written: `10/Oct/2026:13:55:36 +0000`, the same with milliseconds and without a zone, ISO 8601, seconds
since 1970, or any of them but HAProxy's."""

ROLES = ("account", "address", "forwarded", "path", "time", "requests")
"""What a request needs of a log: its account or its path, the peer, the header that names the client, the time, and how
many requests a row stands for."""


class FieldStep(NamedTuple):
    """A step from a text to a part of it.

    Attributes:
        action: What it does.

            - `part`: takes `number` parts between separators, from part `place` on; all of them if it is 10,000. It is
              empty if there are fewer than `place`.
            - `drop`: leaves out the first `place` and the last `number` characters. It is empty if there are fewer.
            - `without_port`: leaves out the last colon of an address with the port behind it, and the brackets of IPv6.
            - `port`: takes what stands before the last colon and the digits behind it, or these digits if `place` is 2.
              If there are none, the line is bad.
            - `peer`: takes the first address that stands with a port before a bracket, without the port.
            - `captures`: takes what the first of the one or two groups such as `{a|b}` contains that end a text, each
              with a space behind it. It is empty if there is none.
            - `target`: takes the target of a request line, which may be a whole URL, from its path on. It is empty if
              the line is cut off, or if the target contains a space.
        separator: What separates the parts.
        place: Which part is the first, from 1; or how many characters.
        number: How many parts or characters.
    """

    action: Literal["part", "drop", "without_port", "port", "peer", "captures", "target"]
    separator: str = ""
    place: int = 0
    number: int = 0


class LogField(NamedTuple):
    """Where a field is in a line.

    Attributes:
        section: The number of the section that has it, from 0.
        steps: The steps from the section to the field.
    """

    section: int
    steps: tuple[FieldStep, ...] = ()

    def then(self, action: Literal["without_port", "captures", "target"]) -> LogField:
        """Return the field after one more step."""
        return self._replace(steps=(*self.steps, FieldStep(action)))

    def part(self, separator: str, place: int, number: int = 1) -> LogField:
        """Return some parts of the field between separators."""
        return self._replace(steps=(*self.steps, FieldStep("part", separator, place, number)))

    def beside_port(self, place: int) -> LogField:
        """Return what stands before the port at the end of the field, or the port if `place` is 2."""
        return self._replace(steps=(*self.steps, FieldStep("port", "", place)))

    def without_ends(self, first: int, last: int) -> LogField:
        """Return the field without its first and its last characters."""
        return self._replace(steps=(*self.steps, FieldStep("drop", "", first, last)))


class LineCheck(NamedTuple):
    """What a line must have, or its fields are not where they are expected.

    Attributes:
        field: A part of the line, which is cut at `separator`.
        separator: What separates its parts.
        number: How many separators it has.
        texts: What each part has: one text that is the whole part, or two with which it begins and ends. Empty if the
            parts may be anything.
    """

    field: LogField
    separator: str
    number: int
    texts: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFormat:
    """A format of logs.

    Attributes:
        name: Its name on the command line.
        title: What it is, for people.
        reader: What reads it: `csv`, `json` (one object a line) and `parquet` have named columns; `text` has lines.
        cutter: For `text`: the character at which a line is cut into sections; empty if a line is one section.
        escaped: For `text`: whether the server writes a backslash before the quotes and backslashes of values.
        encoding: For `text`: the sign before the digits with which the server writes an octet of a value: `#` or `%`,
            as in `#C3`; a backslash, behind which an `x` stands. Empty if it writes values as they are.
        sections: For `text`: how many sections a line has.
        more_sections: For `text`: whether it may have more.
        checks: For `text`: what else is true for a line with all its fields.
        fields: For `text`: where each field is.
        roles: Which field has which role.
        time_form: How its times are written.
        time_around: What stands before and behind a time in Apache's notation.
        urls: For `json`: whether it may have whole URLs instead of paths.
        ports: Whether a port may stand behind an address.
        comments: Whether lines that begin with `#` are no requests.
        header: Whether the line `#Fields:` names the fields, as in the W3C extended log format.
        request_header: The field of a header of requests: `{}` stands for the name as Go writes it (`X-Real-Ip`), `{_}`
            for the name as nginx does (`x_real_ip`). Empty if only `roles` and columns say where headers are.
    """

    name: str
    title: str
    reader: Literal["csv", "json", "parquet", "text"]
    cutter: Literal["", '"', "\t"] = ""
    escaped: bool = False
    encoding: Literal["", "\\", "#", "%"] = ""
    sections: int = 1
    more_sections: bool = False
    checks: tuple[LineCheck, ...] = ()
    fields: Mapping[str, LogField] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    roles: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    time_form: TimeForm = "any"
    time_around: tuple[str, str] = ("", "")
    urls: bool = False
    ports: bool = False
    comments: bool = False
    header: bool = False
    request_header: str = ""

    def field_of_header(self, name: str) -> str | None:
        """Return the field that has a header of requests; None if the format does not say it.

        Example:
            >>> FORMATS["caddy"].field_of_header("cf-connecting-ip"), FORMATS["cloudfront"].field_of_header("x-real-ip")
            ('request.headers.Cf-Connecting-Ip', None)
        """
        if name.lower() == _USUAL_HEADER and "forwarded" in self.roles:
            return self.roles["forwarded"]
        if not self.request_header or _SIGNS_OF_PATHS.search(name):
            return None
        in_go = "-".join(part.capitalize() for part in name.split("-"))
        found = self.request_header.format(in_go, _=name.lower().replace("-", "_"))
        return found if self.reader != "text" or found in self.fields else None


class TemplateError(ValueError):
    """A template of a log cannot be read back, because nothing separates its fields."""


_Server: TypeAlias = Literal["nginx", "apache", "envoy"]
_NGINX = re.compile(r"\$\{?(?P<name>[a-zA-Z_0-9]+)\}?")
_APACHE = re.compile(r"%%|%[<>!,0-9]*(?:\{(?P<argument>[^}]*)\})?(?P<letter>\^[a-zA-Z]{2}|[a-zA-Z])")
_ENVOY = re.compile(r"%%|%(?P<command>[A-Z][A-Z_0-9]{2,})(?:\((?P<argument>[^)]*)\))?(?::[0-9]+)?%")
"""A command is a word. Between two percent signs of Apache, a single letter may stand: `%U%q`."""

_ONLY_APACHE = re.compile(r"%[<>!,0-9]*[{^a-z]")
_DIRECTIVE = re.compile(r"\s*(?:log_format|access_log|LogFormat|CustomLog|TransferLog|text_format|inline_string)\b")
"""What stands before a template in a configuration."""

_USUAL_HEADER = "x-forwarded-for"
_SIGNS_OF_PATHS = re.compile(r"[.|]")
"""What a name of a header may have, and what means something else in the name of a member of JSON."""

_ESCAPED = re.compile(r"\\(.)")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_APACHE_NAMES = {
    "h": "remote_host", "a": "remote_addr", "l": "ident", "u": "remote_user", "t": "time_local", "r": "request",
    "s": "status", "b": "bytes", "B": "bytes", "U": "uri", "m": "request_method", "H": "server_protocol", "q": "args",
}  # fmt: skip
_ENVOY_NAMES = {
    "START_TIME": "time_iso8601", "PROTOCOL": "server_protocol", "RESPONSE_CODE": "status",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": "remote_addr", "DOWNSTREAM_REMOTE_ADDRESS": "remote_addr_port",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": "realip_remote_addr",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": "realip_remote_addr_port",
}  # fmt: skip
_ENVOY_SYNONYMS = {
    "REQUEST_HEADER": "REQ", "STREAM_INFO_REQ": "REQ", "RESPONSE_HEADER": "RESP", "RESPONSE_TRAILER": "TRAILER",
}  # fmt: skip
"""Commands that newer versions of Envoy document, by their older names."""

_TO_THE_END = 10_000
"""The number of parts that stands for all."""

_TIME_WITH_ZONE = "time_local"
"""The time in Apache's notation, in which one space stands before the zone."""

_TIME_OF_ITS_OWN = ("t_", "start_time_")
"""Names of times whose own notation is part of the name."""

_TIMES_IN_ISO = re.compile(
    r"(?:t_(?:begin:|end:)?|(?P<utc>start_time_))(?:%y-%m-%d|%f)[t ](?:%h:%m:%s|%t)(?:\.%[1-9]?f)?(?:%z|z|(?(utc)))"
)
_TIMES_IN_NUMBERS = re.compile(r"t_(?:begin:|end:)?[mu]?sec|start_time_%s(?:\.%[1-9]?f)?")
"""Names of such times that are read as any other of their form."""


def _names(template: str) -> tuple[_Server, list[str], list[str]]:
    """Return whose template it is, the texts around its fields, one more than there are fields, and their names.

    Example:
        >>> _names('$remote_addr [$time_local] "%"')
        ('nginx', ['', ' [', '] "%"'], ['remote_addr', 'time_local'])
        >>> _names('%h %t "%{X-Account}i"')
        ('apache', ['', ' [', '] "', '"'], ['remote_host', 'time_local', 'http_x_account'])
        >>> _names('[%START_TIME%] "%REQ(X-ACCOUNT)%"')
        ('envoy', ['[', '] "', '"'], ['time_iso8601', 'http_x_account'])
    """
    if _DIRECTIVE.match(template) or template.rstrip().endswith("';"):
        raise TemplateError("it is a directive of a configuration: give only the text between its quotes")
    # Configurations write a backslash before quotes, and some end the template with a line break.
    template = _ESCAPED.sub(lambda found: _CONTROLS.get(found[1], found[1]), template).strip("\r\n")
    if "\n" in template or "\r" in template:
        raise TemplateError(
            "it has a line break: write what one line of the log has, without the quotes between pieces"
        )
    server: _Server
    if _NGINX.search(template):
        server, pattern, name_of = "nginx", _NGINX, _nginx_name
    elif _is_envoy(template):
        server, pattern, name_of = "envoy", _ENVOY, _envoy_name
    else:
        # Apache writes the brackets around %t by itself.
        template = _APACHE.sub(lambda found: "[%t]" if found.group() == "%t" else found.group(), template)
        template = template.replace("[[%t]]", "[%t]")
        server, pattern, name_of = "apache", _APACHE, _apache_name
    texts, at = [""], 0
    names: list[str] = []
    for found in pattern.finditer(template):
        texts[-1] += _fixed(template[at : found.start()], pattern)
        at = found.end()
        if found.group() == "%%":
            texts[-1] += "%"
        else:
            name = name_of(found)
            if server == "apache" and name == "args" and names[-1:] == ["uri"] and not texts[-1]:
                names[-1] = "request_uri"  # a query begins with a question mark
            else:
                names.append(name)
                texts.append("")
    texts[-1] += _fixed(template[at:], pattern)
    if not names:
        raise TemplateError("it names no field: write it as the server's configuration has it")
    return server, texts, names


def _is_envoy(template: str) -> bool:
    bare = template.replace("%%", "")
    return _ENVOY.search(bare) is not None and _ONLY_APACHE.search(_ENVOY.sub("", bare)) is None


def _fixed(text: str, pattern: re.Pattern[str]) -> str:
    """Return a text between fields.

    Raises:
        TemplateError: If it has the beginning of a field.
    """
    if pattern is not _NGINX and "%" in text:
        raise TemplateError(f"{text[text.index('%') :].split()[0]} is no field: write %% for a percent sign")
    return text


def _nginx_name(found: re.Match[str]) -> str:
    return found["name"].lower()


def _header(name: str) -> str:
    return "http_" + name.lower().replace("-", "_")


def _apache_name(found: re.Match[str]) -> str:
    argument, letter = found["argument"], found["letter"]
    if argument and letter == "i":
        return _header(argument)
    if argument == "c" and letter in ("a", "h"):
        return f"realip_{_APACHE_NAMES[letter]}"
    return _APACHE_NAMES.get(letter, f"field_{letter}") if not argument else f"{letter}_{argument}".lower()


def _envoy_name(found: re.Match[str]) -> str:
    command, argument = _ENVOY_SYNONYMS.get(found["command"], found["command"]), found["argument"]
    if command == "REQ" and argument:
        first = argument.partition("?")[0].upper()
        return {":METHOD": "request_method", ":PATH": "uri", "X-ENVOY-ORIGINAL-PATH": "uri"}.get(first, _header(first))
    if command == "PATH":  # its argument says which path, and whether it has a query
        return "uri"
    return f"{command}_{argument}".lower() if argument else _ENVOY_NAMES.get(command, command.lower())


def format_of_template(template: str, *, name: str = "custom", title: str = "a log_format of your own") -> LogFormat:
    """Return the format of a log that a template writes, in the notation of nginx, Apache or Envoy.

    A line that the template cannot have written is a bad line. Headers are named as nginx names them: `http_x_account`.
    Envoy writes quotes of values as they are, so a line with one is a bad line.

    Raises:
        TypeError: If it is no text.
        TemplateError: If the fields cannot be told apart, or if it is no template.
    """
    check_type(template, str, "template")
    server, texts, names = _names(template)
    # The text is cut at its quotes first. Apache writes a backslash before the quotes of values, and nginx writes them
    # as digits. Envoy does neither: there, a quote of a client makes one section too many, and so a bad line.
    sections: list[tuple[list[str], list[str]]] = [([""], [])]
    quoted = '"' in "".join(texts)
    for number, text in enumerate(texts):
        pieces = text.split('"')
        sections[-1][0][-1] += pieces[0]
        sections += [([piece], []) for piece in pieces[1:]]
        if number < len(names):
            sections[-1][1].append(names[number])
            sections[-1][0].append("")
    cut = _Cut({}, [], {})
    for number, (around, inside) in enumerate(sections):
        cut.add(LogField(number), around, inside)
    fields = cut.fields
    for one in ("remote_addr", "realip_remote_addr"):
        if f"{one}_port" in fields and one not in fields:
            fields[one] = fields[f"{one}_port"].then("without_port")
        # Apache's %h is the address, unless it looks up names.
        host = one.replace("_addr", "_host")
        if host in fields and one not in fields:
            fields[one] = fields[host]
    for form, usual in ((_TIMES_IN_ISO, "time_iso8601"), (_TIMES_IN_NUMBERS, "msec")):
        for one in [one for one in fields if form.fullmatch(one)]:
            fields.setdefault(usual, fields[one])
    if "request" in fields and "uri" not in fields:
        fields["uri"] = fields["request"].then("target")
    roles = {
        role: next((one for one in choices if one in fields), "")
        for role, choices in {
            "address": ("remote_addr", "realip_remote_addr"),
            "forwarded": ("http_x_forwarded_for",),
            "path": ("request_uri", "uri"),
            "time": (_TIME_WITH_ZONE, "time_iso8601", "msec"),
        }.items()
    }
    return LogFormat(
        name=name,
        title=title,
        reader="text",
        cutter='"' if quoted else "",
        escaped=quoted and server == "apache",
        encoding="" if server == "envoy" else "\\",
        sections=len(sections),
        checks=tuple(cut.checks),
        fields=fields,
        roles={role: one for role, one in roles.items() if one},
        time_form=_time_form(roles["time"]),
        time_around=cut.around.get(roles["time"], ("", "")),
        request_header="http_{_}",
    )


def _time_form(name: str) -> TimeForm:
    forms: dict[str, TimeForm] = {_TIME_WITH_ZONE: "clf", "time_iso8601": "iso", "msec": "epoch"}
    return forms.get(name, "any")


def _words(name: str) -> int:
    """Return how many words a field always has, with one space between them.

    Example:
        >>> _words("time_local"), _words("t_%d/%b/%y %t"), _words("status")
        (2, 2, 1)
    """
    return 1 + (name.count(" ") if name.startswith(_TIME_OF_ITS_OWN) else name == _TIME_WITH_ZONE)


_PORTS = frozenset(
    {
        *("remote_port", "server_port", "realip_remote_port"),
        *("field_p", "p_canonical", "p_local", "p_remote"),
        *("downstream_remote_port", "downstream_direct_remote_port", "downstream_local_port"),
    }
)
"""Fields in which servers always write the number of a port."""


def _separator(around: list[str], names: list[str]) -> str:
    """Return what separates fields, or groups of them, which other signs separate then.

    That is the text between all of them, or a space, or the sign that stands between most.

    Args:
        around: The texts around the fields.
        names: The names of the fields.

    Raises:
        TemplateError: If nothing separates two fields.
    """
    inner = around[1:-1]
    if not inner:
        return " "
    signs = Counter(sign for text in inner for sign in dict.fromkeys(text) if not sign.isalnum())
    unseparated = [name for name, text in zip(names, inner, strict=False) if not text]
    if not unseparated and len(set(inner)) == 1:
        return inner[0]
    if unseparated or not signs:
        raise TemplateError(
            f"nothing separates {[*unseparated, names[0]][0]} from what follows it: put a space between the fields"
        )
    return " " if " " in signs else max(signs, key=signs.__getitem__)


class _Cut(NamedTuple):
    """How the lines of a template are cut.

    Attributes:
        fields: Where each field is.
        checks: What is true for a line that the template wrote.
        around: What stands before and behind a time with a zone in the text of its field.
    """

    fields: dict[str, LogField]
    checks: list[LineCheck]
    around: dict[str, tuple[str, str]]

    def add(self, section: LogField, around: list[str], names: list[str]) -> None:
        """Add a section, which lies between two quotes.

        Args:
            section: The section.
            around: The texts around its fields.
            names: The names of its fields.

        Raises:
            TemplateError: If nothing separates two fields.
        """
        if len(names) == 1 and not any(around):
            self.fields[names[0]] = section
            return
        if not names:
            self.checks.append(LineCheck(section, '"', 0, ((around[0],),)))
            return
        bracketed = names[-1] == _TIME_WITH_ZONE and around[-2].endswith("[") and "".join(around).count("[") == 1
        if bracketed and around[-1]:
            # What stands before the time has no bracket, so one cut finds it, which is much faster than to count words.
            self.add(section.part("[", 1), [*around[:-2], around[-2][:-1]], names[:-1])
            time = section.part("[", 2, _TO_THE_END)
            self.checks.append(LineCheck(time, "[", 0, (("", around[-1]),)))
            self.fields[names[-1]] = time
            self.around[names[-1]] = ("", around[-1])
            return
        if around[1:] == [":", ""] and not around[0] and names[-1] in _PORTS:
            # The server writes the port, so nothing in what stands before it can move the colon.
            self.fields.update({name: section.beside_port(place) for place, name in enumerate(names, 1)})
            self.checks.append(LineCheck(section.beside_port(2), ":", 0))
            return
        separator = _separator(around, names)
        texts: list[tuple[str, ...]] = []
        held: list[str] = []
        ends = [""]
        for name, text in zip([*names, ""], around, strict=True):
            first, *others = text.split(separator)
            ends[-1] += first
            for other in others:
                self._part(section, separator, texts, held, ends)
                held, ends = [], [other]
            if name:
                held, ends = [*held, name], [*ends, ""]
        self._part(section, separator, texts, held, ends)
        self.checks.append(LineCheck(section, separator, len(texts) - 1, tuple(texts)))

    def _part(
        self, section: LogField, separator: str, texts: list[tuple[str, ...]], names: list[str], ends: list[str]
    ) -> None:
        """Add the next part of a section between separators.

        Args:
            section: The section.
            separator: What separates its parts.
            texts: The texts of the parts before, and then of this one.
            names: The fields in it.
            ends: The text that is the whole part, or those around its fields.
        """
        if not names:
            texts.append(tuple(ends))
            return
        before, after, name = ends[0], ends[-1], names[0]
        words = 1 + sum(_words(one) - 1 for one in names) if separator == " " else 1
        found = section.part(separator, len(texts) + 1, words)
        texts += [(before, after)] if words == 1 else [(before, ""), *[("", "")] * (words - 2), ("", after)]
        if len(names) > 1:
            inside = found.without_ends(len(before), len(after)) if before or after else found
            self.add(inside, ["", *ends[1:-1], ""], names)
            return
        if name == _TIME_WITH_ZONE:  # is read with what stands around it
            self.around[name] = (before, after)
        elif before or after:
            found = found.without_ends(len(before), len(after))
        self.fields[name] = found


_COMBINED = '$remote_addr - $remote_user [$time_local] "$request" $status $bytes "$http_referer" "$http_user_agent"'
_TRAEFIK = f'{_COMBINED} $number "$router" "$server" $duration'
_QUOTED_BY_TRAEFIK = 3
"""The section of the referrer."""

_ENVOY_DEFAULT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"'
)


def _combined() -> LogFormat:
    """Return the format `combined` of nginx and Apache, of which the first fields are those of `common`."""
    made = format_of_template(_COMBINED)
    # Only the name of a user can have " - " in it, so it goes on to the time.
    user = LogField(0).part("[", 1).part(" - ", 2, _TO_THE_END).without_ends(0, 1)
    return LogFormat(
        name="combined",
        title="nginx and Apache, `combined` or `common`",
        reader="text",
        cutter='"',
        escaped=True,
        encoding="\\",
        sections=3,
        more_sections=True,
        fields={**made.fields, "remote_addr": LogField(0).part(" - ", 1), "remote_user": user},
        roles={**made.roles},
        time_form="clf",
        time_around=made.time_around,
        request_header=made.request_header,
    )


def _haproxy() -> LogFormat:
    """Return the format of `option httplog`, with or without what syslog writes before it."""
    return LogFormat(
        name="haproxy",
        title="HAProxy, `option httplog`",
        reader="text",
        cutter='"',
        encoding="#",
        sections=3,
        fields={
            # Behind whatever syslog writes: the first address with a port before the time in brackets.
            "client": LogField(0, (FieldStep("peer"),)),
            "time": LogField(0).part(" [", 2, _TO_THE_END).part("]", 1),
            "uri": LogField(1).then("target"),
            # From the end, because a cookie before it is written as it is, with all its spaces and braces.
            **{f"capture_{number}": LogField(0).then("captures").part("|", number) for number in range(1, 10)},
        },
        roles={"address": "client", "time": "time", "path": "uri"},
        time_form="haproxy",
    )


def _traefik() -> LogFormat:
    """Return Traefik's own format, of which only what stands before the first value of a client in quotes counts.

    Versions differ in how they write the quotes of values. The name of a user is written as it is, also if its password
    was wrong. A line has one time and one request, so a line in which two could be them is bad.
    """
    made = format_of_template(_TRAEFIK)
    checks = [
        one._replace(field=_in_quotes(one.field)) for one in made.checks if one.field.section < _QUOTED_BY_TRAEFIK
    ]
    return LogFormat(
        name="traefik",
        title="Traefik, the default format (CLF)",
        reader="text",
        sections=1,
        checks=(LineCheck(LogField(0), '] "', 1), *checks),
        fields={name: _in_quotes(one) for name, one in made.fields.items() if one.section < _QUOTED_BY_TRAEFIK},
        roles=made.roles,
        time_form="clf",
        time_around=made.time_around,
    )


def _in_quotes(field: LogField) -> LogField:
    """Return a field of a section between quotes, as a field of a line that was not cut."""
    return LogField(0, (FieldStep("part", '"', field.section + 1, 1), *field.steps))


def _alb() -> LogFormat:
    return LogFormat(
        name="aws-alb",
        title="AWS Application Load Balancer",
        reader="text",
        cutter='"',
        sections=5,
        more_sections=True,
        fields={
            "time": LogField(0).part(" ", 2),
            "client": LogField(0).part(" ", 4).then("without_port"),
            "uri": LogField(1).then("target"),
        },
        roles={"address": "client", "time": "time", "path": "uri"},
        time_form="iso",
    )


def _json(
    name: str, title: str, time_form: TimeForm, *, ports: bool = False, request_header: str = "", **roles: str
) -> LogFormat:
    if request_header:
        roles["forwarded"] = request_header.format("X-Forwarded-For")
    return LogFormat(
        name=name,
        title=title,
        reader="json",
        roles=roles,
        time_form=time_form,
        urls=True,
        ports=ports,
        request_header=request_header,
    )


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
                request_header="request.headers.{}",
            ),
            _haproxy(),
            format_of_template(_ENVOY_DEFAULT, name="envoy", title="Envoy, the default format"),
            _traefik(),
            _json(
                "traefik-json", "Traefik, JSON", "iso", address="ClientHost", time="StartUTC", path="RequestPath",
                request_header="request_{}",
            ),
            _alb(),
            LogFormat(
                name="cloudfront",
                title="AWS CloudFront, standard logs",
                reader="text",
                cutter="\t",
                encoding="%",
                checks=(LineCheck(LogField(0), "#", 0),),
                roles={"address": "c-ip", "path": "cs-uri-stem", "forwarded": "x-forwarded-for", "time": "date+time"},
                time_form="iso",
                comments=True,
                header=True,
            ),
            _json(
                "gcp", "Google Cloud load balancers, JSON", "iso", address="httpRequest.remoteIp", time="timestamp",
                path="httpRequest.requestUrl", ports=True,
            ),
            _json(
                "azure", "Azure Application Gateway and Front Door, JSON", "iso",
                address="properties.clientIP|properties.clientIp", time="timeStamp|time",
                path="properties.requestUri", ports=True,
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
