"""The options that say which requests of the past a dry run evaluates: stored traffic of some days, or logs."""

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cidrgate._engine import Matcher
from cidrgate.cli.errors import CommandError
from cidrgate.cli.log_options import PAST, FromLog, LogOptions, log_options, log_parameters
from cidrgate.foresight.evaluation import MOST_DAYS
from cidrgate.manager.evaluations import changed_lists
from cidrgate.process.streams import is_stdin

if TYPE_CHECKING:
    from cidrgate.cli.options import Session
    from cidrgate.foresight.evaluation import ChangedList, UnaddressedRequests
    from cidrgate.manager import RuleManager
    from cidrgate.manager.evaluations import Foresight
    from cidrgate.manager.outcomes import ListOutcome
    from cidrgate.values import Observation

__all__ = ["Days", "PastRequests", "takes_past_requests"]

_USUAL_DAYS = 30

Days = Annotated[
    int | None,
    typer.Option(
        "--days",
        metavar="N",
        min=1,
        max=MOST_DAYS,
        help=f"For how many days, with today, to read stored traffic; {_USUAL_DAYS} if not given.",
        rich_help_panel=PAST,
    ),
]


@dataclass(frozen=True, slots=True)
class PastRequests:
    """The requests of the past that a command asks about.

    Attributes:
        typed_days: For how many days to read stored traffic, as typed; None for the usual number.
        logs: The logs to read instead; empty for stored traffic.
        options: How the logs are read.
    """

    typed_days: int | None = None
    logs: list[str] = field(default_factory=list)
    options: LogOptions = field(default_factory=LogOptions)

    @property
    def days(self) -> int:
        """For how many days to read stored traffic."""
        return _USUAL_DAYS if self.typed_days is None else self.typed_days

    def check(self, *, dry_run: bool = True, read: Iterable[Path | None] = ()) -> None:
        """Check that the options say something that the command does.

        Args:
            dry_run: Whether the command evaluates what it would do.
            read: The other files that the command reads.

        Raises:
            CommandError: If they do not.
        """
        if self.logs and self.typed_days is not None:
            raise CommandError("--days is about stored traffic: leave it out, as --from-log reads whole logs")
        if not self.logs and self.options.given:
            raise CommandError(f"{self.options.given[0]} says how a log is read: name the log with --from-log")
        if not dry_run and (self.logs or self.typed_days is not None):
            option = "--from-log" if self.logs else "--days"
            raise CommandError(f"{option} is about requests that a dry run evaluates: add --dry-run")
        if sum(one is not None and is_stdin(one) for one in (*self.logs, *read)) > 1:
            raise CommandError("stdin can be read once: name a file instead of -")
        if self.logs:
            # What is wrong with the options is said before anything is read.
            self.options.source(self.logs, every_account=not self.options.names_account)
            self.options.resolver()

    def foresight(self, session: "Session", manager: "RuleManager", outcomes: "Iterable[ListOutcome]") -> "Foresight":
        """Return what tried changes would do to these requests.

        Raises:
            CidrgateError: If the store or a log cannot be read.
        """
        return self.foresight_of_lists(session, manager, changed_lists(outcomes))

    def foresight_of_lists(
        self, session: "Session", manager: "RuleManager", changes: "Sequence[ChangedList]"
    ) -> "Foresight":
        """Return the same for lists, which take less memory than outcomes."""
        if not self.logs:
            return manager._foresight(changes, self.days)
        return manager._foresight(changes, observations=lambda accounts: self._logged(session, accounts))

    def _logged(self, session: "Session", accounts: Collection[str]) -> "Iterator[Observation | UnaddressedRequests]":
        # The evaluation decides by itself, so that no list is needed here.
        return self.options.past_requests(session, self.logs, Matcher(), accounts)


def takes_past_requests(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `PastRequests`; its function receives them as `past`.

    Place it below `command`.
    """

    @functools.wraps(function)
    def run(*args: Any, **arguments: Any) -> None:
        days, logs = arguments.pop("days"), arguments.pop("from_log")
        past = PastRequests(days, list(logs or []), log_options(arguments))
        past.check(dry_run=arguments.get("dry_run", True), read=map(arguments.get, ("file", "planned")))
        function(*args, past=past, **arguments)

    signature = inspect.signature(function, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        parameters += _parameters() if parameter.name == "past" else [parameter]
    run.__dict__["__signature__"] = signature.replace(parameters=parameters)
    return run


def _parameters() -> list[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY
    days = inspect.Parameter("days", kind, default=None, annotation=Days)
    logs = inspect.Parameter("from_log", kind, default=None, annotation=FromLog)
    return [days, logs, *log_parameters()]
