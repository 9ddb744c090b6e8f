"""Files as customers, spreadsheets, databases and clouds write them: small, and made after real ones.

Each row says what is imported, what is refused and with which words, and what people are told about the rest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FILES", "File"]


@dataclass(frozen=True)
class File:
    """A file, how it is imported, and what comes of it.

    Attributes:
        name: What it is made after; the ending is that of the file.
        content: Its text, or its bytes.
        options: The options of `import`.
        imported: The lists afterwards: networks by account, with a label after a space if there is one.
        refused: Words of the problems, one for each.
        says: Words of the answer besides.
        status: How the command exits.
    """

    name: str
    content: str | bytes
    options: str = ""
    imported: dict[str, list[str]] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    status: int = 0

    def bytes(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.encode()


def document(value: Any) -> str:
    return json.dumps(value, indent=2)


AWS = document(
    {
        "syncToken": "1764000000",
        "createDate": "2025-11-24-16-00-00",
        "prefixes": [
            {"ip_prefix": "3.5.140.0/22", "region": "ap-northeast-2", "service": "AMAZON", "network_border_group": "x"},
            {"ip_prefix": "3.120.0.0/14", "region": "eu-central-1", "service": "AMAZON", "network_border_group": "x"},
            {"ip_prefix": "3.120.0.0/14", "region": "eu-central-1", "service": "EC2", "network_border_group": "x"},
            {"ip_prefix": "18.153.0.0/16", "region": "eu-central-1", "service": "EC2", "network_border_group": "x"},
            {"ip_prefix": "52.94.76.0/22", "region": "us-west-2", "service": "S3", "network_border_group": "x"},
        ],
        "ipv6_prefixes": [
            {"ipv6_prefix": "2a05:d014::/36", "region": "eu-central-1", "service": "EC2", "network_border_group": "x"}
        ],
    }
)
AZURE = document(
    {
        "changeNumber": 397,
        "cloud": "Public",
        "values": [
            {
                "name": "AzureFrontDoor.Backend",
                "id": "AzureFrontDoor.Backend",
                "properties": {
                    "changeNumber": 46,
                    "region": "",
                    "platform": "Azure",
                    "systemService": "AzureFrontDoor",
                    "addressPrefixes": ["4.213.81.64/29", "2603:1030:100::/48"],
                },
            },
            {
                "name": "Storage.WestEurope",
                "id": "Storage.WestEurope",
                "properties": {"region": "westeurope", "addressPrefixes": ["13.69.40.0/24", "13.69.41.0/24"]},
            },
        ],
    }
)
GITHUB = document(
    {
        "verifiable_password_authentication": False,
        "ssh_key_fingerprints": {"SHA256_ED25519": "x"},
        "ssh_keys": ["ssh-ed25519 AAAA"],
        "hooks": ["192.30.252.0/22", "185.199.108.0/22", "2a0a:a440::/29"],
        "web": ["192.30.252.0/22", "20.201.28.151/32"],
        "actions": ["4.148.0.0/16"],
        "domains": {"website": ["*.github.com"]},
    }
)
CLOUDFLARE = document(
    {
        "result": {"ipv4_cidrs": ["173.245.48.0/20"], "ipv6_cidrs": ["2400:cb00::/32"], "etag": "38f79d05"},
        "success": True,
        "errors": [],
        "messages": [],
    }
)
ORACLE = document(
    {
        "last_updated_timestamp": "2025-11-20T16:14:11",
        "regions": [
            {
                "region": "us-phoenix-1",
                "cidrs": [
                    {"cidr": "129.146.0.0/21", "tags": ["OCI"]},
                    {"cidr": "134.70.8.0/21", "tags": ["OSN", "OBJECT_STORAGE"]},
                ],
            },
            {"region": "eu-frankfurt-1", "cidrs": [{"cidr": "130.61.0.0/17", "tags": ["OCI"]}]},
        ],
    }
)
GOOGLE = document(
    {
        "syncToken": "1764000000000",
        "creationTime": "2025-11-24T08:00:00",
        "prefixes": [
            {"ipv4Prefix": "34.1.208.0/20", "service": "Google Cloud", "scope": "africa-south1"},
            {"ipv6Prefix": "2600:1900:8000::/44", "service": "Google Cloud", "scope": "us-east1"},
        ],
    }
)

FILES = (
    # ------------------------------------------------------------------------------------------------------- tables
    File(
        "own.csv",
        'account,cidr,label\r\nacct-1,8.8.8.0/24,"Berlin, HQ"\r\nacct-2,2606:4700::/32,\r\n',
        imported={"acct-1": ["8.8.8.0/24 Berlin, HQ"], "acct-2": ["2606:4700::/32"]},
    ),
    File(
        "billing-system.csv",
        "customer_id,ip,comment,created_by,created\n1001,8.8.8.8,dns,ada,2024-01-02\n1002,9.9.9.9,,bob,2024-02-03\n",
        "--columns account=customer_id,cidr=ip,label=comment --normalize",
        imported={"1001": ["8.8.8.8/32 dns"], "1002": ["9.9.9.9/32"]},
        says=("ignored the columns 'created_by', 'created'", "wrote as CIDRs: 2 without a length"),
    ),
    File(
        "billing-system-without-columns.csv",
        "customer_id,ip,comment\n1001,8.8.8.8,dns\n",
        refused=("but it is 'customer_id,ip,comment': add --columns account=customer_id,cidr=ip",),
        status=2,
    ),
    File(
        "excel-german.csv",
        b"\xef\xbb\xbfaccount;cidr;label;\r\nacct-1;8.8.8.0/24;B\xc3\xbcro;\r\nacct-2;9.9.9.9/32;;\r\n",
        imported={"acct-1": ["8.8.8.0/24 Büro"], "acct-2": ["9.9.9.9/32"]},
    ),
    File(
        "excel-sep-line.csv",
        "sep=;\r\naccount;cidr;label\r\nacct-1;8.8.8.0/24;a, b\r\n",
        imported={"acct-1": ["8.8.8.0/24 a, b"]},
    ),
    File(
        "excel-windows-1252.csv",
        "account;cidr;label\r\nacct-1;8.8.8.0/24;Büro München\r\n".encode("cp1252"),
        imported={"acct-1": ["8.8.8.0/24 Büro München"]},
        says=("the file is not UTF-8 and was read as Windows-1252",),
    ),
    File(
        "half-utf-8.csv",
        "account,cidr,label\nacct-é,8.8.8.0/24,\n".encode() + b"acct-2,9.9.9.9/32,caf\xe9\n",
        imported={"acct-é": ["8.8.8.0/24"]},
        refused=("line 3: acct-2: it contains bytes that are not UTF-8 text",),
        says=("acct-2 has no list and stays open",),
        status=7,
    ),
    File(
        "excel-unicode-text.tsv",
        "account\tcidr\tlabel\r\nacct-1\t8.8.8.0/24\tKöln\r\n".encode("utf-16"),
        imported={"acct-1": ["8.8.8.0/24 Köln"]},
    ),
    File(
        "utf-16-without-mark.csv",
        "account,cidr\r\nacct-1,8.8.8.0/24\r\nacct-2,9.9.9.0/24\r\n".encode("utf-16-le"),
        imported={"acct-1": ["8.8.8.0/24"], "acct-2": ["9.9.9.0/24"]},
    ),
    File(
        "old-mac.csv",
        "account,cidr,label\racct-1,8.8.8.0/24,x\racct-2,9.9.9.0/24,y\r",
        imported={"acct-1": ["8.8.8.0/24 x"], "acct-2": ["9.9.9.0/24 y"]},
    ),
    File(
        "spreadsheet-with-empty-cells.csv",
        "account,cidr,label,,,\nacct-1,8.8.8.0/24,x,,,\n,,,,,\nacct-2,9.9.9.0/24,,,,,,\n",
        imported={"acct-1": ["8.8.8.0/24 x"], "acct-2": ["9.9.9.0/24"]},
    ),
    File(
        "typed-with-spaces.csv",
        'account, cidr, label\nacct-1, "8.8.8.0/24" , "Berlin, HQ"\nacct-2 ,9.9.9.9/32 ,"x" \n',
        imported={"acct-1": ["8.8.8.0/24 Berlin, HQ"], "acct-2": ["9.9.9.9/32 x"]},
    ),
    File(
        "with-comments.csv",
        "# our partners\n\naccount,cidr,label\n// first wave\nacct-1,8.8.8.0/24 # head office,\n;acct-9,1.1.1.0/24,\n"
        "#acct-8,1.0.0.0/24,left 2023\nacct-2,9.9.9.0/24,ours\n",
        "--comments-as-labels",
        imported={"acct-1": ["8.8.8.0/24 head office"], "acct-2": ["9.9.9.0/24 ours"]},
        says=("ignored 3 comment lines",),
    ),
    File(
        "hash-before-the-header.csv",
        "#account,cidr\nacct-1,8.8.8.0/24\n",
        imported={"acct-1": ["8.8.8.0/24"]},
    ),
    File(
        "pipes-from-a-database.csv",
        "tenant|network|note\nacct-1|8.8.8.0/24|a\nacct-1|8.8.9.0/24|b\n",
        "--columns account=tenant,cidr=network,label=note --collapse",
        imported={"acct-1": ["8.8.8.0/23 a, b"]},
        says=("collapsed: 2 joined with their neighbours", "8.8.8.0/24, 8.8.9.0/24 are 8.8.8.0/23 together"),
    ),
    File(
        "two-files-in-one.csv",
        "\ufeffaccount,cidr\nacct-1,8.8.8.0/24\n\ufeffaccount,cidr\nacct-2,9.9.9.0/24\n",
        imported={"acct-1": ["8.8.8.0/24"], "acct-2": ["9.9.9.0/24"]},
        says=("ignored the header once more",),
    ),
    File(
        "one-customer.csv",
        "IP Address,Description\n8.8.8.8,dns\n9.9.9.0 255.255.255.0,\n",
        "--account acct-1 --columns cidr=ip_address,label=description --normalize",
        refused=("no column is named 'ip_address', as --columns cidr=ip_address says",),
        status=2,
    ),
    File(
        "one-customer-by-name.csv",
        "IP Address,Description\n8.8.8.8,dns\n9.9.9.0 255.255.255.0,quad9\n",
        "--account acct-1 --columns 'cidr=IP Address,label=Description' --normalize",
        imported={"acct-1": ["8.8.8.8/32 dns", "9.9.9.0/24 quad9"]},
        says=("1 without a length, 1 with a netmask",),
    ),
    File(
        "access-until.csv",
        "account,cidr,Valid until\nacct-1,8.8.8.0/24,2020-01-01\n",
        refused=("the column 'Valid until' may restrict entries",),
        status=2,
    ),
    File(
        "blocked-addresses.csv",
        "account,cidr,action\nacct-1,8.8.8.0/24,allow\nacct-1,9.9.9.9/32,block\n",
        refused=("the column 'action' may restrict entries", "--columns ignore=action"),
        status=2,
    ),
    File(
        "disabled-entries.csv",
        "account,cidr,enabled\nacct-1,8.8.8.0/24,TRUE\nacct-1,9.9.9.9/32,FALSE\n",
        imported={"acct-1": ["8.8.8.0/24", "9.9.9.9/32 (disabled)"]},
    ),
    File(
        "without-a-header.csv",
        "acct-1,8.8.8.0/24\nacct-2,9.9.9.0/24\n",
        refused=("the first line must name the columns",),
        status=2,
    ),
    File(
        "repeated-column.csv",
        "account,cidr,cidr\nacct-1,8.8.8.0/24,9.9.9.0/24\n",
        refused=("the column 'cidr' is repeated",),
        status=2,
    ),
    File(
        "mixed-separators.csv",
        "account,cidr,label\nacct-1;8.8.8.0/24;x\nacct-2,9.9.9.0/24,y\n",
        imported={"acct-2": ["9.9.9.0/24 y"]},
        refused=("line 2: acct-1;8.8.8.0/24;x: the cidr is missing",),
        status=7,
    ),
    File(
        "several-in-a-cell.csv",
        'account,cidr\nacct-1,"8.8.8.0/24,9.9.9.0/24"\nacct-2,8.8.8.0/24;9.9.9.0/24\nacct-3,1.1.1.0/24\n',
        imported={"acct-3": ["1.1.1.0/24"]},
        refused=("line 2: acct-1: invalid_format", "this is more than one network", "line 3: acct-2: invalid_format"),
        status=7,
    ),
    File(
        "empty.csv",
        "",
        refused=("the file is empty: its first line must name the columns",),
        status=2,
    ),
    File(
        "null-characters.csv",
        "account,cidr,label\na,8.8.8.0/24\0,x\nb\0,9.9.9.9/32,\nc,1.1.1.1/32,l\0\n",
        refused=(
            *("contains the invisible character U+0000: write 8.8.8.0/24", "contains a control character"),
            "the label must not contain the invisible character U+0000",
        ),
        status=3,
    ),
    File(
        "invisible-characters.csv",
        "account,cidr,label\n\u202eacct,8.8.8.0/24,x\na\u200bb,8.8.8.0/24,\nb,\u202e8.8.8.0/24,\nc,8.8.8.0/24,\u202ex\n",
        "--normalize",
        imported={"b": ["8.8.8.0/24"]},
        refused=(
            *(
                "account name '\\u202eacct' contains the invisible character U+202E",
                "'a\\u200bb' contains the invisible",
            ),
            "the label must not contain the invisible character U+202E",
        ),
        says=("line 4: b: '\\u202e8.8.8.0/24' is 8.8.8.0/24", "c, \\u202eacct have no list and stay open"),
        status=7,
    ),
    File(
        "one-endless-line.csv",
        b"account,cidr\na," + b"8" * 9_000_000 + b"\nb,8.8.8.8/32\n",
        refused=("a line has 9,000,002 bytes",),
        status=2,
    ),
    File(
        "damaged-utf-16.csv",
        "account,cidr\na,8.8.8.0/24\n".encode("utf-16")[:-1],
        refused=("the file is damaged UTF-16 text",),
        status=2,
    ),
    File(
        "not-quite-windows-1252.csv",
        b"account,cidr,label\na,8.8.8.0/24,\x81\nb,8.8.8.0/24,x\n",
        imported={"b": ["8.8.8.0/24 x"]},
        refused=("line 2: a: it contains bytes that are not UTF-8 text",),
        says=("a has no list and stays open",),
        status=7,
    ),
    File(
        "wrong-separator-line.csv",
        "sep=,\r\naccount;cidr\na;8.8.8.0/24\n",
        refused=("but it is 'account;cidr'",),
        status=2,
    ),
    File(
        "open-quote.csv",
        'account,cidr,label\na,"8.8.8.0/24,x\nb,9.9.9.0/24,y\n',
        refused=("a quote opened in line 2 is not closed there",),
        status=2,
    ),
    File(
        "other-quotes.csv",
        "account,cidr\na,'8.8.8.0/24'\nb,\u201c9.9.9.9/32\u201d\n",
        refused=("leave out the quotes: write 8.8.8.0/24", "leave out the quotes: write 9.9.9.9/32"),
        status=3,
    ),
    File(
        "covered-by-what-ends-sooner.csv",
        "account,cidr,expires_at\na,8.8.8.0/24,2999-01-01T00:00:00+00:00\na,8.8.8.8/32,\n",
        "--collapse",
        refused=("line 3: a: subset_exists",),
        status=3,
    ),
    File("only-a-header.csv", "account,cidr\n", says=("note: the file has no rows",)),
    File("empty-lines.txt", "\n\n  \n", "--account a", says=("note: the file has no rows",)),
    File(
        "refused-and-closed.csv",
        "account,cidr\na,10.0.0.1\nb,8.8.8.8/32\n",
        "--closed --normalize",
        imported={"a": [], "b": ["8.8.8.8/32"]},
        refused=("line 2: a: special_range: '10.0.0.1/32'",),
        says=("a is closed: every address is denied until a list is added",),
        status=7,
    ),
    File(
        "all-refused-and-closed.csv",
        "account,cidr\na,10.0.0.0/8\n",
        "--closed",
        imported={"a": []},
        refused=("line 2: a: special_range",),
        says=("a is closed",),
        status=7,
    ),
    # ------------------------------------------------------------------------------------------------------- plain
    File(
        "urls.txt",
        "http://8.8.8.8/\nexample.com\n<b>8.8.8.8</b>\n",
        "--account a --normalize",
        refused=("'http://8.8.8.8/'", "'example.com'", "'<b>8.8.8.8</b>'"),
        status=3,
    ),
    File(
        "two-files-in-one.txt",
        "8.8.8.0/24\n\ufeff9.9.9.9/32\n",
        "--account a",
        imported={"a": ["8.8.8.0/24", "9.9.9.9/32"]},
    ),
    File(
        "office.txt",
        "# offices\n8.8.8.0/24 # Berlin\n\n9.9.9.0/24\t; Paris\n2606:4700::/32   // cloud\n",
        "--account acct-1 --comments-as-labels",
        imported={"acct-1": ["8.8.8.0/24 Berlin", "9.9.9.0/24 Paris", "2606:4700::/32 cloud"]},
    ),
    File(
        "office-without-account.txt",
        "8.8.8.0/24\n",
        refused=("a plain list names no account: say --account NAME",),
        status=2,
    ),
    File(
        "firewall.txt",
        "8.8.8.0 255.255.255.0\n9.9.9.0 0.0.0.255\n1.1.1.*\n1.0.0.1-1.0.0.3\n1.2.3.4/24\n4.4.4.0-255\n",
        "--account acct-1 --normalize",
        imported={
            "acct-1": [
                *("1.0.0.1/32", "1.0.0.2/31", "1.1.1.0/24", "1.2.3.0/24", "4.4.4.0/24", "8.8.8.0/24", "9.9.9.0/24")
            ]
        },
        says=("1 with bits beyond the length, 2 with a netmask, 1 with wildcards, 2 as ranges",),
    ),
    File(
        "firewall-that-nobody-can-read.txt",
        "8.8.8.0 255.0.255.0\n1.2.3\n010.1.1.1\n9.9.9.9-9.9.9.1\n*\n8.8.8.0/0.0.0.0\n",
        "--account acct-1 --normalize",
        refused=(
            *("255.0.255.0 is not a netmask", "'1.2.3': write a network as", "leading zeros are ambiguous"),
            *("ends before it begins", "this wildcard is not one network", "'8.8.8.0/0.0.0.0': write a network as"),
        ),
        says=("acct-1 has no list and stays open",),
        status=3,
    ),
    File(
        "one-line.txt",
        "8.8.8.0/24, 9.9.9.9/32 1.1.1.1/32;4.4.4.4/32\n",
        "--account acct-1",
        imported={"acct-1": ["1.1.1.1/32", "4.4.4.4/32", "8.8.8.0/24", "9.9.9.9/32"]},
    ),
    File(
        "copied-from-a-page.txt",
        "\u200b8.8.8.0/24\u200b\n\u00a09.9.9.9\u00a0\n\uff11.1.1.1\n8.8.4.0\u200b/24\n",
        "--account acct-1 --normalize",
        refused=(
            r"'\uff11.1.1.1' contains U+FF11 (FULLWIDTH DIGIT ONE), which only looks like '1': write 1.1.1.1/32",
            r"'8.8.4.0\u200b/24' contains the invisible character U+200B (ZERO WIDTH SPACE): write 8.8.4.0/24",
        ),
        status=3,
    ),
    File(
        "sloppy.list",
        "8.8.8.0/24\n8.8.8.0/24\n8.8.8.8\n8.8.9.0/24\n10.0.0.0/8\n",
        "--account acct-1 --normalize --collapse",
        refused=("line 5: acct-1: special_range: '10.0.0.0/8'",),
        says=("1 repeated, 1 covered by others, 2 joined with their neighbours",),
        status=3,
    ),
    File(
        "nginx.txt",
        "allow 8.8.8.0/24;\ndeny all;\n",
        "--account acct-1",
        refused=("'allow 8.8.8.0/24'", "'deny all'"),
        status=3,
    ),
    # -------------------------------------------------------------------------------------------------------- JSON
    File(
        "own.jsonl",
        '{"account": "acct-1", "cidr": "8.8.8.0/24", "label": "x"}\n\n{"account": "acct-2", "cidr": "9.9.9.9/32"}\n',
        imported={"acct-1": ["8.8.8.0/24 x"], "acct-2": ["9.9.9.9/32"]},
    ),
    File(
        "log-export.ndjson",
        '{"org": {"id": 7}, "net": "8.8.8.8", "row": 1}\n{"org": {"id": 8}, "net": "9.9.9.9", "row": 2}\n{"org"\n',
        "--columns account=org.id,cidr=net --normalize",
        imported={"7": ["8.8.8.8/32"], "8": ["9.9.9.9/32"]},
        refused=("line 3: it is not valid JSON",),
        says=("ignored the fields 'row'",),
        status=7,
    ),
    File(
        "by-account.json",
        document({"acct-1": ["8.8.8.0/24", "9.9.9.9"], "acct-2": [{"cidr": "1.1.1.1/32", "label": "dns"}]}),
        "--normalize",
        imported={"acct-1": ["8.8.8.0/24", "9.9.9.9/32"], "acct-2": ["1.1.1.1/32 dns"]},
    ),
    File(
        "array.json",
        document(["8.8.8.0/24", "9.9.9.0/24", 7]),
        "--account acct-1",
        refused=("row 3: acct-1: it is '7', neither a network nor an object",),
        status=3,
    ),
    File(
        "rest-api.json",
        document({"items": [{"tenant": "acct-1", "range": "8.8.8.0/24", "id": 1}], "next": None}),
        "--columns account=tenant,cidr=range",
        imported={"acct-1": ["8.8.8.0/24"]},
        says=("ignored the fields 'id'",),
    ),
    File(
        "github-allow-list-entries.json",
        document(
            [
                {"allowListValue": "8.8.8.0/24", "isActive": True, "name": "office"},
                {"allowListValue": "9.9.9.9/32", "isActive": False, "name": "old"},
            ]
        ),
        "--account acct-1 --columns cidr=allowListValue,enabled=isActive,label=name",
        imported={"acct-1": ["8.8.8.0/24 office", "9.9.9.9/32 old (disabled)"]},
    ),
    File(
        "github-allow-list-without-a-column.json",
        document([{"allowListValue": "9.9.9.9/32", "isActive": False}]),
        "--account acct-1 --columns cidr=allowListValue",
        refused=("row 1: acct-1: the field 'isActive' may restrict the entry",),
        status=3,
    ),
    File(
        "lone-surrogate.json",
        '{"acct-1": ["8.8.8.8/32"], "\\ud800": ["9.9.9.9/32"]}',
        imported={"acct-1": ["8.8.8.8/32"]},
        refused=("row 2: the account is '\\ud800', which is no text",),
        status=7,
    ),
    File(
        "numbers.json",
        '[{"account": 1001, "cidr": "8.8.8.8/32"}, {"account": true, "cidr": "4.4.4.4"}, {"account": "a", "cidr": 1}]',
        imported={"1001": ["8.8.8.8/32"]},
        refused=("row 2: the account is 'true', not text", "row 3: a: the cidr is '1', not text"),
        says=("a has no list and stays open",),
        status=7,
    ),
    File(
        "repeated-account.json",
        '{"a": ["8.8.8.8/32"], "a": ["9.9.9.9/32"]}',
        refused=("the field 'a' is repeated",),
        status=2,
    ),
    File("deep.json", "[" * 100_000, refused=("the file is not valid JSON",), status=2),
    File(
        "cut-off.json",
        '{"acct-1": ["8.8.8.0/24", "9.9',
        refused=("the file is not valid JSON",),
        status=2,
    ),
    # --------------------------------------------------------------------------------------------------- published
    File(
        "aws-ip-ranges.json",
        AWS,
        "--from aws --service EC2 --region eu-central-1 --account partner",
        imported={
            "partner": [
                *("3.120.0.0/14 aws EC2 eu-central-1", "18.153.0.0/16 aws EC2 eu-central-1"),
                "2a05:d014::/36 aws EC2 eu-central-1",
            ]
        },
    ),
    File(
        "aws-unknown-service.json",
        AWS,
        "--from aws --service EC3 --account partner",
        refused=("the file has no service 'EC3'; it has AMAZON, EC2, S3",),
        status=2,
    ),
    File(
        "google-cloud.json",
        GOOGLE,
        "--from google --region us-east1 --account partner",
        imported={"partner": ["2600:1900:8000::/44 google Google Cloud us-east1"]},
    ),
    File(
        "azure-service-tags.json",
        AZURE,
        "--from azure --service storage.westeurope --account partner --collapse",
        imported={"partner": ["13.69.40.0/23 azure Storage.WestEurope westeurope"]},
    ),
    File(
        "github-meta.json",
        GITHUB,
        "--from github --service hooks --account partner",
        imported={
            "partner": ["185.199.108.0/22 github hooks", "192.30.252.0/22 github hooks", "2a0a:a440::/29 github hooks"]
        },
    ),
    File(
        "cloudflare-api.json",
        CLOUDFLARE,
        "--from cloudflare --account partner",
        imported={"partner": ["173.245.48.0/20 cloudflare", "2400:cb00::/32 cloudflare"]},
    ),
    File(
        "cloudflare-ips-v4.txt",
        "173.245.48.0/20\n103.21.244.0/22\n",
        "--from cloudflare --account partner",
        imported={"partner": ["103.21.244.0/22 cloudflare", "173.245.48.0/20 cloudflare"]},
    ),
    File(
        "fastly.json",
        document({"addresses": ["23.235.32.0/20"], "ipv6_addresses": ["2a04:4e40::/32"]}),
        "--from fastly --account partner",
        imported={"partner": ["23.235.32.0/20 fastly", "2a04:4e40::/32 fastly"]},
    ),
    File(
        "oracle.json",
        ORACLE,
        "--from oracle --service OSN --account partner",
        imported={"partner": ["134.70.8.0/21 oracle OSN OBJECT_STORAGE us-phoenix-1"]},
    ),
    File(
        "not-aws.json",
        ORACLE,
        "--from aws --account partner",
        refused=("the file has not the structure of a file that aws publishes",),
        status=2,
    ),
)
