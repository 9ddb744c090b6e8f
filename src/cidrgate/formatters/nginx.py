r"""nginx: a file for the `http` block, which sets `$cidrgate_allowed` from `$account` and the client's address.

    geo $cidrgate_list_1 { default 0; 8.8.8.0/24 1; }
    map $account $cidrgate_found { default ""; "\acct-1" "acct-1 $cidrgate_list_1"; }
    map "$account $cidrgate_found" $cidrgate_allowed { default 0; "~^(.+) \1 1$" 1; }

with tabs where the second line and the third have spaces, because no account's name has one. nginx reads only the `geo`
of the account that it found, and `geo` is a search tree.

`map` ignores the case of what it looks up, and the names of accounts do not. So the value repeats the name, and the
last `map` compares it with that of the request.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from cidrgate.formatters.formatter import Formatter, halved, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cidrgate.formatters.formatter import AccountList

__all__ = ["NGINX"]

_LONGEST_KEY = 46
"""Bytes of a key that fit in `map_hash_bucket_size` as nginx sets it on 64-bit processors.

Longer names are compared one by one, as are names that differ by case alone.
"""

_DOLLAR = "${cidrgate_d}"
"""A variable whose value is a dollar sign, which nginx cannot write in another way."""

_BEGINNING = """\
# Written by cidrgate: `cidrgate export --format nginx`. It goes into the http block, after $account was defined:
#     include allowlist.conf;
# and where requests are answered:
#     if ($cidrgate_allowed != 1) { return 403; }
# These lines alone are not enough. A credential that is repeated or holds a comma must name no account or reach the API
# as one line, as the API may read another one than nginx: docs/howto/other-programs.md has the whole server.
"""

_END = """\
}
map "$account\\t$cidrgate_found" $cidrgate_allowed {
    default 0;
    "~^([^\\t]+)\\t\\1\\t1$" 1;
}
"""


def _write(lists: Iterable[AccountList]) -> Iterator[str]:
    yield _BEGINNING
    values: dict[str, str] = {}
    for number, one in enumerate(lists, start=1):
        value = "1"
        if one.cidrs is not None:
            value = f"$cidrgate_list_{number}"
            networks = "".join(f"    {cidr} 1;\n" for cidr in halved(one.cidrs))
            yield f"# {quoted(one.account)}\ngeo {value} {{\n    default 0;\n{networks}}}\n"
        for name in (one.account, *one.subaccounts):
            values[name] = value
    yield 'geo $cidrgate_d { default "$"; }\nmap $account $cidrgate_found {\n    default "";\n'
    spellings = Counter(name.encode().lower() for name in values)
    for name, value in values.items():
        found = name.encode()
        fits = len(found) <= _LONGEST_KEY and spellings[found.lower()] == 1
        # The backslash makes a key of any text: also of `default`, and of what begins with `~`.
        key = f"\\{name}" if fits else f"~^{_pattern(name)}$"
        yield f'    "{_text(key)}" "{_text(name).replace("$", _DOLLAR)}\\t{value}";\n'
    yield _END


_SIGN = re.compile(r"[!-/:-@[-`{-~ ]")


def _pattern(name: str) -> str:
    return _SIGN.sub(r"\\\g<0>", name)


def _text(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


NGINX = Formatter(
    name="nginx",
    extension="conf",
    subject="a configuration for nginx",
    write=_write,
    finds_account=True,
    unknown="is denied",
)
