"""Envoy: the RBAC filter for HTTP, in a file that Envoy watches (extension configuration discovery, ECDS).

There is a policy for each list. It allows a request whose header `x-account` names one of the accounts with that list,
and whose client has an address in one of its networks. A request that no policy allows is denied.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cidrgate.formatters.formatter import Formatter, without_mapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cidrgate.formatters.formatter import AccountList

__all__ = ["ENVOY"]

_EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
_FILTER = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
_NAME = "cidrgate"
"""The name of the filter in a configuration of Envoy."""

_HEADER = "x-account"
"""The header with the account; a filter before this one sets it, and removes what the client wrote."""


def _write(lists: Iterable[AccountList]) -> Iterator[str]:
    yield (
        f'{{"resources": [{{"@type": "{_EXTENSION}", "name": "{_NAME}", "typed_config": {{"@type": "{_FILTER}", '
        '"rules": {"action": "ALLOW", "policies": {'
    )
    separator = "\n"
    for one in lists:
        if one.cidrs == ():
            continue  # a policy needs a network, and without a policy the account's requests are denied
        yield f"{separator}{json.dumps(one.account)}: {json.dumps(_policy(one))}"
        separator = ",\n"
    yield "\n}}}}]}\n"


def _policy(one: AccountList) -> dict[str, Any]:
    return {
        "permissions": [
            {"header": {"name": _HEADER, "string_match": {"exact": name}}} for name in (one.account, *one.subaccounts)
        ],
        "principals": [{"any": True}]
        if one.cidrs is None
        else [{"remote_ip": _range(cidr)} for cidr in without_mapped(one.cidrs)],
    }


def _range(cidr: str) -> dict[str, Any]:
    address, _, length = cidr.partition("/")
    return {"address_prefix": address, "prefix_len": int(length)}


ENVOY = Formatter(
    name="envoy",
    extension="json",
    subject="a configuration for Envoy",
    write=_write,
    finds_account=True,
    unknown="is denied",
)
