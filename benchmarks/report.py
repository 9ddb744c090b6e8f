"""Measure everything in one run: `python -m benchmarks.report [--smoke] [--page NAME]`.

Writes `benchmarks/results/latest.md` and its pictures, or another page for another kind of processor; and
`processors.md`, with a column for each of them. `python -m benchmarks.report --processors` writes only that page, from
the results that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.plots import draw

__all__ = ["machine", "main", "processors_page"]

_HERE = Path(__file__).parent
_RESULTS = _HERE / "results"
_LIBRARIES = ["cidrgate", "pytricia", "py-radix", "pysubnettree", "netaddr", "maxminddb", "numpy", "pyarrow"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A ratio that is asked for: how many times `slow` takes what `fast` takes."""

    text: str
    group: str
    fast: str
    slow: str
    wanted: float
    at_most: bool = False


_BARS = [
    Bar("`allows`, 1,000 accounts: faster than `dict[str, PyTricia]`", "1,000 accounts of 50", "cidrgate",
        "dict[str, PyTricia]", 2.0),
    Bar("`allows`, 1,000 accounts: times a no-op method", "1,000 accounts of 50", "no-op method", "cidrgate", 3.5,
        at_most=True),
    Bar("1,000,000 accounts at random: faster than `dict[str, PyTricia]`", "1,000,000 accounts of 10", "cidrgate",
        "dict[str, PyTricia]", 2.5),
    Bar("IPv6 `allows`: faster than `dict[str, PyTricia]`", "1,000 accounts of 50, IPv6", "cidrgate",
        "dict[str, PyTricia]", 2.5),
    Bar("full table, IPv4, one `str` at a time: faster than pytricia", "full routing table, IPv4", "cidrgate",
        "pytricia", 6.0),
    Bar("`contains_many`, 50-entry list: faster than branch-free search in C", "50-entry IPv4 list, uint32", "cidrgate",
        "branch-free search in C", 1.5),
    Bar("`contains_many`, full IPv4 table: rate to DPDK `rte_fib`, scalar", "full routing table, IPv4, uint32",
        "cidrgate", "DPDK rte_fib, scalar", 0.6),
    Bar("`lookup_many`, full IPv4 table: rate to DPDK `rte_fib`, scalar", "full routing table, IPv4, lookup_many",
        "cidrgate", "DPDK rte_fib, scalar", 0.6),
    Bar("`contains_many`, full IPv6 table: rate to DPDK `rte_fib6`, scalar", "full routing table, IPv6, uint8[n, 16]",
        "cidrgate", "DPDK rte_fib6, scalar", 0.6),
    Bar("`lookup_many`, full IPv6 table: rate to DPDK `rte_fib6`, scalar", "full routing table, IPv6, lookup_many",
        "cidrgate", "DPDK rte_fib6, scalar", 0.6),
    Bar("`allows_many`, random pairs: faster than `allows`", "pairs of 1,000,000 accounts", "cidrgate, allows_many",
        "cidrgate, allows", 10.0),
    Bar("two threads on an array: rate to one", "contains_many in threads", "2 threads", "1 threads", 1.8),
    Bar("beside it, two threads that compute and share nothing", "SHA-256, which only computes, in threads",
        "2 threads", "1 threads", 1.8),
    Bar("Arrow strings: faster than one `str` at a time", "text, 50-entry IPv4 list", "cidrgate, Arrow strings",
        "cidrgate, one str at a time", 3.0),
    Bar("build the full table from text: faster than pytricia", "build the full table from text", "cidrgate",
        "pytricia", 1.5),
    Bar("publish beside 1,000,000 others: times beside none", "publish a 50-entry account", "beside 0 others",
        "beside 1,000,000 others", 1.2, at_most=True),
    Bar("`Matcher.open`: faster than publishing one by one", "make 1,000,000 accounts ready",
        "cidrgate, Matcher.open", "cidrgate, publish one by one", 200.0),
    Bar("`Matcher.open(trusted=True)`: faster than publishing one by one", "make 1,000,000 accounts ready",
        "cidrgate, Matcher.open of a trusted file", "cidrgate, publish one by one", 200.0),
]  # fmt: skip


def _run_benchmarks(environment: dict[str, str]) -> list[dict[str, Any]]:
    """Every benchmark in one process; returns name, group, who, and nanoseconds an operation."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "benchmarks.json"
        command = [
            *[sys.executable, "-m", "pytest", "-q", str(_HERE), "-o", "addopts=", "-p", "no:cacheprovider"],
            *["-o", "python_files=bench_*.py", "-o", "python_functions=bench_*", "--benchmark-json", str(output)],
            *["--benchmark-columns=median,iqr,rounds", "-W", "ignore"],
        ]
        subprocess.run(command, check=True, cwd=_HERE.parent, env=environment, stdout=sys.stderr)
        measured = json.loads(output.read_text())["benchmarks"]
    return [
        {
            "group": one["group"],
            "who": one["extra_info"]["who"],
            "median_ns": one["stats"]["median"] / one["extra_info"]["operations"] * 1e9,
            "iqr_ns": one["stats"]["iqr"] / one["extra_info"]["operations"] * 1e9,
            "rounds": one["stats"]["rounds"],
            **({"size": one["extra_info"]["size"]} if "size" in one["extra_info"] else {}),
        }
        for one in measured
    ]


def _dpdk_rows(rates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """DPDK's lookups as rows of the groups they stand beside."""
    groups = {
        4: ("rte_fib", ["full routing table, IPv4, uint32", "full routing table, IPv4, lookup_many"]),
        6: ("rte_fib6", ["full routing table, IPv6, uint8[n, 16]", "full routing table, IPv6, lookup_many"]),
    }
    rows = []
    for rate in rates:
        name, beside = groups[rate["family"]]
        if rate["median_ns"] is not None:
            figures = {"median_ns": rate["median_ns"], "iqr_ns": rate["iqr_ns"], "rounds": 15}
            rows += [{"group": group, "who": f"DPDK {name}, {rate['path']}", **figures} for group in beside]
    return rows


def machine(libraries: list[str]) -> dict[str, str]:
    """What was measured on, and with which versions."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return {
        "processor": f"{model}, {os.cpu_count()} CPUs",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in libraries),
    }


def _duration(nanoseconds: float) -> str:
    """A duration with three figures and a fitting unit."""
    for unit, size in (("ns", 1), ("µs", 1e3), ("ms", 1e6)):
        if nanoseconds < 1_000 * size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds / 1e9:.3g} s"


def _tables(measured: list[dict[str, Any]]) -> list[str]:
    """A table a group, the ratio to the first row in the last column."""
    groups = defaultdict(list)
    for one in measured:
        groups[one["group"]].append(one)
    lines = []
    for group, rows in groups.items():
        first = rows[0]["median_ns"]
        lines += ["", f"### {group}", "", "| who | median | spread (IQR) | ratio |", "|---|---|---|---|"]
        for one in rows:
            spread = _duration(one["iqr_ns"]) if one["rounds"] > 2 else "-"
            lines.append(
                f"| {one['who']} | {_duration(one['median_ns'])} | {spread} | {one['median_ns'] / first:.2f} |"
            )
    return lines


def _bars(measured: list[dict[str, Any]]) -> list[str]:
    """What was asked for beside what was measured."""
    medians = {(one["group"], one["who"]): one["median_ns"] for one in measured}
    lines = ["", "## Bars", "", "| work | ratio asked | measured | |", "|---|---|---|---|"]
    for bar in _BARS:
        fast, slow = medians.get((bar.group, bar.fast)), medians.get((bar.group, bar.slow))
        if fast is None or slow is None:
            continue
        ratio = slow / fast
        met = ratio <= bar.wanted if bar.at_most else ratio >= bar.wanted
        sign = "≤" if bar.at_most else "≥"
        lines.append(f"| {bar.text} | {sign} {bar.wanted:g} | {ratio:.2f} | {'met' if met else 'falls short'} |")
    return lines


def processors_page() -> str:
    """What was asked for, and the medians of cidrgate, with a column for each kind of processor that was measured."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(_RESULTS.glob("*.json"))]
    results = [one for one in results if {"machine", "times"} <= one.keys()]
    names = [one["machine"]["processor"] for one in results]
    medians = [{(row["group"], row["who"]): row["median_ns"] for row in one["times"]} for one in results]
    lines = ["# Processors", "", "Written by `python -m benchmarks.report`: the pages of each processor side by side."]
    lines += [
        "",
        "## Bars",
        "",
        f"| work | ratio asked | {' | '.join(names)} |",
        "|---|---" + "|---" * len(names) + "|",
    ]
    for bar in _BARS:
        pairs = [(found.get((bar.group, bar.slow)), found.get((bar.group, bar.fast))) for found in medians]
        cells = [f"{slow / fast:.2f}" if slow and fast else "" for slow, fast in pairs]
        if any(cells):
            lines.append(f"| {bar.text} | {'≤' if bar.at_most else '≥'} {bar.wanted:g} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Times of cidrgate",
        "",
        f"| work | who | {' | '.join(names)} |",
        "|---|---" + "|---" * len(names) + "|",
    ]
    # Groups with a size have many rows for each name.
    scaled = {row["group"] for one in results for row in one["times"] if "size" in row}
    for group, who in dict.fromkeys(key for found in medians for key in found):
        if who.startswith("cidrgate") and group not in scaled:
            cells = [_duration(found[group, who]) if (group, who) in found else "" for found in medians]
            lines.append(f"| {group} | {who} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _memory_table(rows: list[dict[str, Any]]) -> list[str]:
    """Memory of tables and accounts."""
    lines = ["", "## Memory", "", "Growth of a process that builds it and nothing else."]
    kinds = [("table", "The full routing table", "a prefix"), ("accounts", "Accounts of ten entries", "an account")]
    for kind, title, unit in kinds:
        lines += ["", f"### {title}", "", f"| who | MB | bytes {unit} |", "|---|---|---|"]
        for row in (row for row in rows if row["kind"] == kind):
            lines.append(f"| {row['who']} | {row['bytes'] / 1e6:.1f} | {row['bytes'] / row['things']:.0f} |")
    for row in (row for row in rows if row["kind"] == "second process"):
        lines += [
            "",
            f"A second process that opens a snapshot of {row['things']:,} accounts and asks of every one adds "
            f"{row['bytes'] / 1e6:.1f} MB of private memory, {row['bytes'] / row['of']:.1%} of the file's "
            f"{row['of'] / 1e6:.1f} MB.",
        ]
    return lines


def main() -> None:
    """Measure, print, and write the results unless this is only a smoke run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="small workloads, and no page")
    parser.add_argument("--page", default="latest", help="name of the page; only the default has pictures")
    parser.add_argument("--processors", action="store_true", help="measure nothing, and write only that page")
    chosen = parser.parse_args()
    if chosen.processors:
        (_RESULTS / "processors.md").write_text(processors_page(), encoding="utf-8")
        return
    smoke, page_name = chosen.smoke, chosen.page
    environment = os.environ | ({"CIDRGATE_BENCH_SMOKE": "1"} if smoke else {})
    os.environ.update(environment)
    # These modules read the size of the workloads from the environment.
    from benchmarks.limits import dpdk_rates
    from benchmarks.memory import measure_all

    measured = _run_benchmarks(environment) + _dpdk_rows(dpdk_rates())
    memory = measure_all()
    measured_on = machine(_LIBRARIES)
    lines = [
        "# Measurements",
        "",
        "Written by `make bench`: one run, one process for everything but memory and DPDK.",
        "",
    ]
    lines += [f"- {name}: {value}" for name, value in measured_on.items()]
    pictures = [("accounts", "A check, by number of accounts"), ("tables", "Lookups a second, by size of the table")]
    if page_name == "latest":
        lines += ["", *(f"![{text}]({name}.svg)" for name, text in [*pictures, ("memory", "Memory")])]
    lines += [*_bars(measured), "", "## Times", "", "An operation is one question, or one build."]
    lines += [*_tables(measured), *_memory_table(memory), ""]
    page = "\n".join(lines)
    print(page)
    if not smoke:
        _RESULTS.mkdir(exist_ok=True)
        content = {"machine": measured_on, "times": measured, "memory": memory}
        (_RESULTS / f"{page_name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        (_RESULTS / f"{page_name}.md").write_text(page, encoding="utf-8")
        (_RESULTS / "processors.md").write_text(processors_page(), encoding="utf-8")
        if page_name == "latest":
            draw()


if __name__ == "__main__":
    main()
