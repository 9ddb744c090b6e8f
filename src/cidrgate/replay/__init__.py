"""Replay: what lists of rules would have decided about the requests in logs.

`formats` knows the formats of logs, `sources` turns a log into a query, `reading` runs it in DuckDB and hands out Arrow
batches, `decisions` decides about a batch, `replaying` adds everything up, and `report` draws it for a browser.
"""

from typing import TYPE_CHECKING

from cidrgate.process.late_names import loaded_late
from cidrgate.replay.formats import (
    FORMATS,
    FieldStep,
    LineCheck,
    LogField,
    LogFormat,
    TemplateError,
    TimeForm,
    format_of_name,
    format_of_template,
)
from cidrgate.replay.report import html_report
from cidrgate.replay.sources import LogError, LogSource

if TYPE_CHECKING:
    from cidrgate.replay.reading import BadLine as BadLine
    from cidrgate.replay.replaying import (
        Period as Period,
        ReplayReport as ReplayReport,
        VerdictChange as VerdictChange,
        observations as observations,
        replay as replay,
    )

__all__ = [
    "FORMATS",
    "BadLine",
    "FieldStep",
    "LineCheck",
    "LogError",
    "LogField",
    "LogFormat",
    "LogSource",
    "Period",
    "ReplayReport",
    "TemplateError",
    "TimeForm",
    "VerdictChange",
    "format_of_name",
    "format_of_template",
    "html_report",
    "observations",
    "replay",
]

_LATER = {
    "BadLine": "reading",
    "Period": "replaying",
    "ReplayReport": "replaying",
    "VerdictChange": "replaying",
    "observations": "replaying",
    "replay": "replaying",
}
"""What needs numpy, which only a replay loads, and the module that has it."""


if not TYPE_CHECKING:  # a type checker would take every name for one of this module
    __getattr__ = loaded_late(__name__, {name: f"{__name__}.{module}" for name, module in _LATER.items()})
