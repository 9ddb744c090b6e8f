"""Lines of text logs as requests: DuckDB reads the lines, and the engine cuts them.

So every file that DuckDB reads is read in one way, and no line becomes an object of Python. The engine also reads the
times of Apache's and HAProxy's notation; DuckDB reads all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cidrgate._engine import _LogLines
from cidrgate.replay.formats import LogField
from cidrgate.replay.sources import HEADER, LogError, asked_roles, checked_query, header_fields, requests_of, time_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cidrgate.replay.formats import LogFormat
    from cidrgate.replay.sources import LogSource

__all__ = ["LINES", "LineCutter"]

LINES = 4_096
"""How many lines are cut at a time: few enough to be still in the cache, and to take little memory if they are long."""

_NATIVE_TIMES = ("clf", "haproxy")


class LineCutter:
    """Cuts the lines of a log into the columns of `request_query`.

    Args:
        source: The log.
        header: The names of the fields in the first header of its files, if the format has one. A header between lines
            counts for those behind it.
        wanted: The roles that are asked for.

    Raises:
        LogError: If the format does not have a field.
    """

    def __init__(self, source: LogSource, header: Sequence[str], wanted: frozenset[str]) -> None:
        self._source = source
        self._wanted = wanted
        self._form = source.form
        self._use(header)

    def _use(self, header: Sequence[str]) -> None:
        """Cut the next lines by this header."""
        source, form, wanted = self._source, self._form, self._wanted
        known = dict(form.fields) | {name: LogField(number) for number, name in enumerate(header)}
        asked = asked_roles(source, wanted)
        fields = {role: _fields_of(role, name, known, form) for role, name in asked.items()}
        repeated = [(role, name) for role, one in asked.items() for name in one.split("+") if header.count(name) > 1]
        if repeated:
            role, name = repeated[0]
            raise LogError(
                f"{', '.join(source.files)}: a line {HEADER} names {name} for the {role} twice, so nothing says which "
                "field counts: name another field (--columns)"
            )
        time: tuple[str, tuple[LogField, ...], str, str] = ("", (), "", "")
        if "time" in fields and form.time_form in _NATIVE_TIMES:
            time = (form.time_form, fields.pop("time"), *form.time_around)
        if "path" in fields:
            (path,) = fields["path"]
            fields["path"] = (path.part("?", 1),)
        fields.setdefault("address", ())  # is empty
        self._names = [*fields, *(["time"] if time[0] else [])]
        sections = len(header) or form.sections
        self._lines = _LogLines(
            form.cutter,
            form.escaped,
            sections,
            None if form.more_sections else sections,
            # A time that is read has what stands around it.
            [one for one in form.checks if (one.field,) != time[1]],
            time,
            [(parts, role == "account", _sign_of(role, form)) for role, parts in fields.items()],
        )
        # What the engine does not read.
        self._left = [role for role in ("time", "requests") if role in fields]

    def batches(self, connection: Any, lines: Iterable[Any], rows: int) -> Iterator[Any]:
        """Yield the requests as `pyarrow.RecordBatch`.

        Args:
            connection: A connection of DuckDB, which reads what the engine does not read.
            lines: Batches of lines, perhaps with their numbers.
            rows: How many rows a batch has at least, but the last.
        """
        cut, count = [], 0
        for batch in lines:
            made = [self._cut(batch)]
            # A comment is a bad line, so nearly all batches are known to have none.
            if self._form.header and made[0].column("address").null_count:
                made = [self._cut(part) for part in self._under_headers(batch)]
            cut += made
            count += sum(part.num_rows for part in made)
            if count >= rows:
                yield from self._joined(connection, cut)
                cut, count = [], 0
        yield from self._joined(connection, cut)

    def _under_headers(self, batch: Any) -> Iterator[Any]:
        """Yield parts of a batch without comments, each when its own header is in use."""
        import pyarrow.compute as pc

        lines = batch.column("line")
        batch = batch.filter(pc.or_(pc.starts_with(lines, HEADER), pc.invert(pc.starts_with(lines, "#"))))
        lines, start = batch.column("line"), 0
        for place in pc.indices_nonzero(pc.starts_with(lines, HEADER)).to_pylist():
            yield batch.slice(start, place - start)
            self._use(header_fields(lines[place].as_py()))
            start = place + 1
        yield batch.slice(start)

    def _cut(self, batch: Any) -> Any:
        """Return the requests of a batch of lines."""
        import pyarrow as pa

        lines = batch.column("line")
        count = len(lines)
        columns, names = [], list(self._names)
        for nulls, *buffers in self._lines.cut(lines):
            kind = pa.int64() if buffers[1] is None else pa.string()
            buffers = [pa.py_buffer(one) for one in buffers if one is not None]
            columns.append(pa.Array.from_buffers(kind, count, buffers, nulls))
        if "number" in batch.schema.names:
            columns += [batch.column("number"), lines]
            names += ["number", "text"]
        return pa.RecordBatch.from_arrays(columns, names)

    def _joined(self, connection: Any, cut: Sequence[Any]) -> Iterator[Any]:
        """Yield batches as one, in which every column is read."""
        import pyarrow as pa

        if not cut:
            return
        table = pa.Table.from_batches(cut).combine_chunks()
        if self._left:
            connection.register("cut", table)
            table = connection.sql(checked_query(self._columns(table.schema.names), "cut")).to_arrow_table()
            connection.unregister("cut")
        yield from table.combine_chunks().to_batches()

    def _columns(self, names: Sequence[str]) -> dict[str, str]:
        """Return the SQL of each column of lines that were cut."""
        columns = {name: name for name in names}
        if "time" in self._left:
            columns["time"] = time_of("time", self._form, "VARCHAR")
        if "requests" in self._left:
            columns["requests"] = requests_of("requests")
        return columns


def _sign_of(role: str, form: LogFormat) -> str:
    """Return with which sign the server writes octets of a role as digits."""
    # The percent signs of a path are the client's, and the gate decodes them.
    return "" if role == "path" and form.encoding == "%" else form.encoding


def _fields_of(role: str, name: str, known: Mapping[str, LogField], form: LogFormat) -> tuple[LogField, ...]:
    """Return the fields of a role, which are joined by spaces.

    Raises:
        LogError: If the format does not have them, or if the path is more than one.
    """
    parts = name.split("+")
    missing = [one for one in parts if one not in known]
    if missing:
        raise LogError(f"the format {form.name} has no field {missing[0]} for the {role}: it has {', '.join(known)}")
    if role == "path" and len(parts) > 1:
        raise LogError(f"a path is one field, and not {name}: name one of {', '.join(known)}")
    return tuple(known[one] for one in parts)
