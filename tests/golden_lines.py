"""What the engine cuts out of lines of logs, worked out as plainly as it is said: with `split`, `re` and `datetime`."""

from __future__ import annotations

import codecs
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cidrgate.replay.formats import FieldStep, LogField, LogFormat

BEFORE_A_QUOTE = re.compile(r'(?<!\\)(?:\\\\)*"')
OCTETS = {
    "\\": re.compile(r"(?:\\x[0-9A-Fa-f]{2})+|\\[\"\\bntvr]"),
    "#": re.compile(r"(?:#[0-9A-Fa-f]{2})+"),
    "%": re.compile(r"(?:%[0-9A-Fa-f]{2})+"),
}
CHARACTERS = {'"': '"', "\\": "\\", "b": "\b", "n": "\n", "t": "\t", "v": "\v", "r": "\r"}
codecs.register_error("octets", lambda error: ("\ufffd" * (error.end - error.start), error.end))  # type: ignore[attr-defined]
PORT = re.compile(r"[0-9]*\Z")
BEFORE_PORT = re.compile(r"(.*):([0-9]+)", re.DOTALL)
PEER = re.compile(r"([^\t\n\f\r ]+):[0-9]+ \[")
ORIGIN = re.compile(r"\A[Hh][Tt][Tt][Pp][Ss]?://[^/?#]*")
GROUPS = (re.compile(r"\{([^{}]*)\} \{[^{}]*\} \Z"), re.compile(r"\{([^{}]*)\} \Z"))
SPACES = re.compile(r"[\t-\r ]+")
CLOCK = r"([0-9]{1,2})/([A-Za-z]{3})/([0-9]{1,4}):([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})"
ZONE = r"([+-])([0-9]{2})(?::?([0-9]{2})(?::([0-5][0-9]))?)?"
MILLISECONDS = r"(?:\.([0-9]{1,3}))?"
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999 in microseconds since 1970."""


def stepped(text: str, step: FieldStep) -> str | None:
    """The part of a text to which a step leads; None if there is none, so that the line is bad."""
    if step.action == "part":
        parts = text.split(step.separator)
        end = None if step.number == 10_000 else step.place - 1 + step.number
        return step.separator.join(parts[step.place - 1 : end])
    if step.action == "drop":
        return text[step.place : max(step.place, len(text) - step.number)]
    if step.action == "without_port":
        return PORT.sub("", text, count=1)[:-1].strip("[]")
    if step.action == "port":
        found = BEFORE_PORT.fullmatch(text)
        return None if found is None else found[step.place]
    if step.action == "peer":
        found = PEER.search(text)
        return "" if found is None else found[1].strip("[]")
    if step.action == "captures":
        return next((found[1] for one in GROUPS if (found := one.search(text))), "")
    words = text.split(" ")
    return ORIGIN.sub("", words[1], count=1) if len(words) == 3 and words[2].startswith("HTTP/") else ""


def field_of(field: LogField, sections: Sequence[str]) -> str | None:
    """A field of a line that was cut; None if the line does not have its section."""
    if field.section >= len(sections):
        return None
    text: str | None = sections[field.section]
    for step in field.steps:
        text = None if text is None else stepped(text, step)
    return text


def sections_of(form: LogFormat, line: str, header: int = 0) -> list[str] | None:
    """The sections of a line; None if it is bad."""
    sections = [line]
    if form.cutter and form.escaped:
        sections, at = [""], 0
        for found in BEFORE_A_QUOTE.finditer(line):
            sections[-1] += line[at : found.end() - 1]
            sections.append("")
            at = found.end()
        sections[-1] += line[at:]
    elif form.cutter:
        sections = line.split(form.cutter)
    wanted = header or form.sections
    if len(sections) < wanted or (len(sections) > wanted and not form.more_sections):
        return None
    for check in form.checks:
        checked = field_of(check.field, sections)
        if checked is None or checked.count(check.separator) != check.number:
            return None
        for part, ends in zip(checked.split(check.separator), check.texts, strict=bool(check.texts)):
            if len(ends) == 1 and part != ends[0]:
                return None
            if not (len(part) >= len("".join(ends)) and part.startswith(ends[0]) and part.endswith(ends[-1])):
                return None
    return sections


def octets_as_text(octets: bytes) -> str:
    """Octets as text; each that is not part of a character of UTF-8 is U+FFFD."""
    return octets.decode(errors="octets")


def decoded(text: str, sign: str) -> str:
    """A text in which digits stand for octets behind a sign."""

    def character(found: re.Match[str]) -> str:
        if sign == "\\" and found[0][1] != "x":
            return CHARACTERS[found[0][1]]
        digits = found[0].replace("\\x", "").replace(sign, "")
        return octets_as_text(bytes.fromhex(digits))

    return OCTETS[sign].sub(character, text) if sign else text


def literal(text: str) -> str:
    """The pattern of what stands around a time: spaces stand for any number of spaces."""
    return r"[\t-\r ]+".join(re.escape(one) for one in SPACES.split(text))


def time_of(form: LogFormat, text: str) -> int | None:
    """A time in microseconds since 1970; None if the text is none."""
    before, after = map(literal, form.time_around)
    rest = rf"[\t-\r ]+{ZONE}" if form.time_form == "clf" else MILLISECONDS
    found = re.fullmatch(rf"[\t-\r ]*{before}{CLOCK}{rest}{after}[\t-\r ]*", text)
    if found is None or found[2].lower() not in MONTHS:
        return None
    day, year, hour, minute, second = (int(found[number]) for number in (1, 3, 4, 5, 6))
    try:
        # Python has no year 0, and no offset of a day.
        moment = datetime(year or 400, MONTHS.index(found[2].lower()) + 1, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    microseconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
    if year == 0:
        microseconds -= 146_097 * 86_400 * 1_000_000  # days of 400 years
    if form.time_form == "clf":
        hours, minutes, seconds = (int(found[number] or 0) for number in (8, 9, 10))
        offset = (3_600 * hours + 60 * minutes + seconds) * (-1 if found[7] == "-" else 1)
        microseconds -= 1_000_000 * offset
    else:
        microseconds += 1_000 * int((found[7] or "0").ljust(3, "0"))
    return microseconds if FIRST <= microseconds <= LAST else None


def row_of(
    form: LogFormat,
    line: str,
    columns: Sequence[tuple[Sequence[LogField], bool, str]],
    time: Sequence[LogField] = (),
    header: int = 0,
) -> list[str | int | None]:
    """The row of a line, with its time at the end; all of it is None if the line is bad."""
    bad: list[str | int | None] = [None] * (len(columns) + bool(time))
    sections = sections_of(form, line, header)
    if sections is None:
        return bad
    row: list[str | int | None] = []
    for fields, dashed, sign in columns:
        found = [field_of(one, sections) for one in fields]
        text = None if None in found else " ".join(one or "" for one in found)
        row.append(None if text is None or (dashed and text in ("", "-")) else decoded(text, sign))
    if time:
        found = [field_of(one, sections) for one in time]
        moment = None if None in found else time_of(form, " ".join(one or "" for one in found))
        if moment is None:
            return bad
        row.append(moment)
    return row
