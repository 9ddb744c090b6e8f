"""Replay: what lists of rules would have decided about the requests in logs.

`formats` knows the formats of logs, `sources` turns a log into a query, `reading` runs it in DuckDB and hands out Arrow
batches, `decisions` decides about a batch, `replaying` adds everything up, and `report` draws it for a browser.
"""

from cidrgate.replay.formats import FORMATS, LogFormat, format_of_name
from cidrgate.replay.replaying import ReplayReport, observations, replay, written_rows
from cidrgate.replay.report import html_report
from cidrgate.replay.sources import LogError, LogSource

__all__ = [
    "FORMATS",
    "LogError",
    "LogFormat",
    "LogSource",
    "ReplayReport",
    "format_of_name",
    "html_report",
    "observations",
    "replay",
    "written_rows",
]
