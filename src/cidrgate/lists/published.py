"""The ranges that clouds and networks publish, each in a form of its own.

Each reader yields the networks of a document with what they are for: a service and a region, as the publisher names
them. Names are compared without case.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from cidrgate.lists.json_files import document_of
from cidrgate.lists.rows import ListFileError, Row, quoted
from cidrgate.values import NewEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

__all__ = ["Publisher", "read_published"]

_MOST_NAMED = 40


class Publisher(StrEnum):
    """Who publishes the ranges of a file."""

    AWS = "aws"
    GOOGLE = "google"
    AZURE = "azure"
    GITHUB = "github"
    CLOUDFLARE = "cloudflare"
    FASTLY = "fastly"
    ORACLE = "oracle"


class _Range(NamedTuple):
    """A published range.

    Attributes:
        cidr: The network.
        service: What it is for; empty if the publisher does not say it.
        region: Where it is; empty if the publisher does not say it.
    """

    cidr: str
    service: str = ""
    region: str = ""


def _aws(document: Any) -> Iterator[_Range]:
    for lists, field in (("prefixes", "ip_prefix"), ("ipv6_prefixes", "ipv6_prefix")):
        for one in document[lists]:
            yield _Range(one[field], one["service"], one["region"])


def _google(document: Any) -> Iterator[_Range]:
    for one in document["prefixes"]:
        cidr = one["ipv4Prefix"] if "ipv4Prefix" in one else one["ipv6Prefix"]
        yield _Range(cidr, one.get("service", ""), one.get("scope", ""))


def _azure(document: Any) -> Iterator[_Range]:
    for one in document["values"]:
        for cidr in one["properties"]["addressPrefixes"]:
            yield _Range(cidr, one["name"], one["properties"].get("region", ""))


_GITHUB_LISTS = frozenset({"domains", "ssh_keys", "ssh_key_fingerprints"})
"""Fields of GitHub's document that have no networks."""


def _github(document: Any) -> Iterator[_Range]:
    for service, networks in document.items():
        if service not in _GITHUB_LISTS and isinstance(networks, list):
            for cidr in networks:
                yield _Range(cidr, service)


def _cloudflare(document: Any) -> Iterator[_Range]:
    found = document["result"]
    for service in ("ipv4_cidrs", "ipv6_cidrs", "jdcloud_cidrs"):
        for cidr in found.get(service, ()) if service == "jdcloud_cidrs" else found[service]:
            yield _Range(cidr, "jdcloud" if service == "jdcloud_cidrs" else "")


def _fastly(document: Any) -> Iterator[_Range]:
    for field in ("addresses", "ipv6_addresses"):
        for cidr in document[field]:
            yield _Range(cidr)


def _oracle(document: Any) -> Iterator[_Range]:
    for region in document["regions"]:
        for one in region["cidrs"]:
            yield _Range(one["cidr"], " ".join(one.get("tags", ())), region["region"])


_READERS: dict[Publisher, Callable[[Any], Iterator[_Range]]] = {
    Publisher.AWS: _aws,
    Publisher.GOOGLE: _google,
    Publisher.AZURE: _azure,
    Publisher.GITHUB: _github,
    Publisher.CLOUDFLARE: _cloudflare,
    Publisher.FASTLY: _fastly,
    Publisher.ORACLE: _oracle,
}


def read_published(
    text: str,
    publisher: Publisher,
    account: str,
    *,
    services: Collection[str] = (),
    regions: Collection[str] = (),
) -> Iterator[Row]:
    """Yield the ranges of a published file as rows of one account, each once, labelled with what they are for.

    Args:
        text: The file.
        publisher: Who published it.
        account: The account of every row.
        services: The services to read; all if empty.
        regions: The regions to read; all if empty.

    Raises:
        ListFileError: If the file is not one of this publisher, or has no range of a service or a region.

    Example:
        >>> text = '{"addresses": ["23.235.32.0/20"], "ipv6_addresses": ["2a04:4e40::/32"]}'
        >>> [(row.entry.cidr, row.entry.label) for row in read_published(text, Publisher.FASTLY, "cdn")]
        [('23.235.32.0/20', 'fastly'), ('2a04:4e40::/32', 'fastly')]
    """
    ranges = list(_ranges(text, publisher))
    chosen = _chosen(ranges, services, "service", lambda one: one.service)
    chosen = _chosen(chosen, regions, "region", lambda one: one.region)
    seen: set[str] = set()
    for number, one in enumerate(chosen, start=1):
        if one.cidr not in seen:
            seen.add(one.cidr)
            label = " ".join(part for part in (publisher.value, one.service, one.region) if part)
            yield Row(number, account, NewEntry(one.cidr, label=label))


def _ranges(text: str, publisher: Publisher) -> Iterator[_Range]:
    if publisher is Publisher.CLOUDFLARE and not text.lstrip("\ufeff \t\r\n").startswith("{"):
        # Cloudflare publishes the same as text: https://www.cloudflare.com/ips-v4
        lines = [line.strip() for line in text.splitlines()]
        yield from (_Range(line) for line in lines if line and not line.startswith("#"))
        return
    document = document_of(text)
    try:
        for one in _READERS[publisher](document):
            if not isinstance(one.cidr, str):
                raise TypeError
            yield one
    except (LookupError, TypeError, AttributeError):
        raise ListFileError(
            f"the file has not the structure of a file that {publisher.value} publishes: is it the right one?"
        ) from None


def _chosen(ranges: list[_Range], names: Collection[str], what: str, name_of: Callable[[_Range], str]) -> list[_Range]:
    """Return the ranges with one of these names. Oracle's ranges have several services."""
    if not names:
        return ranges
    known: dict[str, list[_Range]] = {}
    for one in ranges:
        for name in dict.fromkeys([name_of(one), *name_of(one).split()]):
            known.setdefault(name.lower(), []).append(one)
    for name in names:
        if name.lower() not in known:
            raise ListFileError(
                f"the file has no {what} {quoted(name)}; it has {_listed(name_of(one) for one in ranges)}"
            )
    wanted = {id(one) for name in names for one in known[name.lower()]}
    return [one for one in ranges if id(one) in wanted]


def _listed(names: Iterable[str]) -> str:
    found = sorted({part for name in names for part in name.split()})
    more = f" and {len(found) - _MOST_NAMED:,} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(found[:_MOST_NAMED]) + more if found else "none"
