"""Draws the last measurements as SVG: what a check costs, how many lookups a second, how much memory."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["draw"]

_RESULTS = Path(__file__).parent / "results"
_OWN = "cidrgate"


def _lines(figure: Figure, rows: list[dict[str, Any]], *, rate: bool) -> Any:
    """One line a library over the size of what is measured."""
    axes = figure.add_subplot()
    by_who = defaultdict(list)
    for row in rows:
        by_who[row["who"]].append((row["size"], 1e3 / row["median_ns"] if rate else row["median_ns"]))
    for who, points in by_who.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=who, linewidth=2.5 if who == _OWN else 1.2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend(loc="lower left" if rate else "upper left")
    return axes


def _save(figure: Figure, name: str) -> None:
    figure.tight_layout()
    figure.savefig(_RESULTS / f"{name}.svg", metadata={"Date": None})


def draw() -> None:
    """Draw `benchmarks/results/latest.json`."""
    mpl.rcParams["svg.hashsalt"] = "cidrgate"
    measured = json.loads((_RESULTS / "latest.json").read_text(encoding="utf-8"))
    groups = defaultdict(list)
    for row in measured["times"]:
        groups[row["group"]].append(row)

    figure = Figure(figsize=(7, 4))
    axes = _lines(figure, groups["scaling: number of accounts"], rate=False)
    axes.set(
        xlabel="accounts of ten entries, met at random", ylabel="ns a check", title="A check, by number of accounts"
    )
    _save(figure, "accounts")

    figure = Figure(figsize=(7, 4))
    axes = _lines(figure, groups["scaling: size of the table"], rate=True)
    axes.set(xlabel="prefixes in the IPv4 table", ylabel="million lookups a second", title="One str at a time")
    _save(figure, "tables")

    figure = Figure(figsize=(7, 4))
    for place, (kind, title) in enumerate((("table", "full routing table"), ("accounts", "1,000,000 accounts of ten"))):
        axes = figure.add_subplot(1, 2, place + 1)
        rows = [row for row in measured["memory"] if row["kind"] == kind]
        bars = axes.barh([row["who"] for row in rows], [row["bytes"] / 1e6 for row in rows])
        axes.bar_label(bars, fmt="%.0f MB", padding=2)
        axes.margins(x=0.5)
        axes.invert_yaxis()
        axes.set(title=title, xlabel="MB")
    _save(figure, "memory")


if __name__ == "__main__":
    draw()
