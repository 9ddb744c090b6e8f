"""The options of `import` that say how a file is to be read, and what may be done to its networks."""

from pathlib import Path
from typing import Annotated

import typer

from cidrgate.cli.errors import CommandError
from cidrgate.cli.list_sources import FileFormat, FileSource, columns_of
from cidrgate.lists.published import Publisher

__all__ = [
    "Closed",
    "Collapse",
    "Columns",
    "CommentsAsLabels",
    "From",
    "ImportFormat",
    "Normalize",
    "OneAccount",
    "Regions",
    "Services",
    "SkipExisting",
    "check_together",
    "source_of",
]

ImportFormat = Annotated[
    FileFormat | None, typer.Option("--format", help="The format; by default, the ending of the file's name.")
]
From = Annotated[Publisher | None, typer.Option("--from", help="Who published the ranges in the file.")]
Services = Annotated[
    list[str] | None,
    typer.Option("--service", metavar="NAME", help="With --from: only the ranges of this service. Repeatable."),
]
Regions = Annotated[
    list[str] | None,
    typer.Option("--region", metavar="NAME", help="With --from: only the ranges of this region. Repeatable."),
]
OneAccount = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="The account of every row, if the file names none.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="FIELD=COLUMN,...",
        help="The names of columns, such as account=customer_id,cidr=ip; ignore=COLUMN for one that must not count.",
    ),
]
CommentsAsLabels = Annotated[
    bool, typer.Option("--comments-as-labels", help="Make labels of the comments behind networks.")
]
Normalize = Annotated[
    bool,
    typer.Option(
        "--normalize", help="Write addresses, host bits, netmasks, wildcards and ranges as the networks that they mean."
    ),
]
Collapse = Annotated[
    bool, typer.Option("--collapse", help="Leave out repeated and covered networks, and join neighbours.")
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Leave out entries whose addresses the lists allow already; of an export, the accounts that exist.",
    ),
]
Closed = Annotated[
    bool,
    typer.Option("--closed", help="Deny every address for an account whose list is refused and that has none."),
]


def source_of(
    file: Path,
    form: FileFormat | None,
    publisher: Publisher | None,
    services: list[str] | None,
    regions: list[str] | None,
    account: str | None,
    columns: list[str] | None,
    *,
    comments_as_labels: bool,
) -> FileSource:
    """Return how a file is to be read.

    Raises:
        CommandError: If options contradict each other.
    """
    if publisher is None and (services or regions):
        raise CommandError("--service and --region are about published ranges: say --from too")
    if publisher is not None and (form is not None or columns):
        raise CommandError("--from says what the file is like: leave out --format and --columns")
    return FileSource(
        name=file.stem if file.suffix.lower() == ".gz" else file.name,
        form=form,
        publisher=publisher,
        services=services or [],
        regions=regions or [],
        account=account,
        columns=columns_of(columns or []),
        comments_as_labels=comments_as_labels,
    )


def check_together(*, replace: bool, skip_existing: bool, closed: bool, strict: bool) -> None:
    """Refuse options that contradict each other.

    Raises:
        CommandError: If they do.
    """
    if replace and skip_existing:
        raise CommandError("--replace says what the whole list is, so leave out --skip-existing")
    if strict and closed:
        raise CommandError("--strict changes nothing if a row is bad, so leave out --closed")
