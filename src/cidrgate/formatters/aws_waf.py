"""AWS WAF: two IP sets for each account, one for each family of addresses.

Each line is the input of `aws wafv2 create-ip-set --cli-input-json`. Limits: https://docs.aws.amazon.com/waf/latest/
developerguide/limits.html and the API reference of `CreateIPSet`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cidrgate.formatters.formatter import EVERY_ADDRESS, Formatter, UnwritableListError, escaped, halved

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cidrgate.formatters.formatter import AccountList

__all__ = ["AWS_WAF"]

_MOST_ADDRESSES = 10_000
"""The networks of one IP set at most."""

_LONGEST_NAME = 128
"""Characters of the name of an IP set at most: letters, digits, `_` and `-`."""


def _write(lists: Iterable[AccountList]) -> Iterator[str]:
    for one in lists:
        cidrs = EVERY_ADDRESS if one.cidrs is None else tuple(halved(one.cidrs))
        for version in ("IPV4", "IPV6"):
            name = f"cidrgate-{escaped(one.account, '_')}-{version.lower()}"
            held = [cidr for cidr in cidrs if (":" in cidr) == (version == "IPV6")]
            if len(name) > _LONGEST_NAME:
                raise UnwritableListError(
                    f"the name of account {one.account!r} is too long for AWS WAF: its IP sets would have names of "
                    f"{len(name)} characters, and at most {_LONGEST_NAME} are possible"
                )
            if len(held) > _MOST_ADDRESSES:
                raise UnwritableListError(
                    f"the list of account {one.account!r} is too long for AWS WAF: an IP set has at most "
                    f"{_MOST_ADDRESSES:,} networks, and this list has {len(held):,} of one family"
                )
            record = {"Name": name, "Scope": "REGIONAL", "IPAddressVersion": version, "Addresses": held}
            yield json.dumps(record) + "\n"


AWS_WAF = Formatter(
    name="aws-waf",
    extension="jsonl",
    subject="a file with IP sets for AWS WAF",
    write=_write,
    finds_account=False,
    unknown="has no IP set, so the web ACL decides",
)
