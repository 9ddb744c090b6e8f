"""The curve of a recommendation, entries against extra addresses: as an SVG picture, and as bars in a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cidrgate.foresight import CurvePoint

__all__ = ["bar", "curve_svg"]

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 128, 24, 48, 56
_MOST_TICKS = 8
_AS_DIGITS = 1e9
"""Larger numbers have an exponent on the scale."""
_LONGEST_BAR = 24


def _level(point: CurvePoint) -> float:
    """Return the height of a point: a logarithm that is 0 for no extra address."""
    extra = point.extra
    # A logarithm of the numbers themselves: a ratio of large ones may not fit into a float.
    return math.log10(extra.numerator + extra.denominator) - math.log10(extra.denominator)


def bar(point: CurvePoint, curve: Sequence[CurvePoint]) -> str:
    """Return a bar that is as long as the logarithm of the extra addresses.

    Example:
        >>> from cidrgate.foresight import recommend
        >>> curve = recommend(["8.8.8.8", "8.8.8.15", "8.9.8.8"]).curve
        >>> [len(bar(point, curve)) for point in curve]
        [24, 4, 0]
    """
    highest = max(map(_level, curve)) or 1
    # Rounding must not make it longer than the longest.
    return "▇" * min(_LONGEST_BAR, math.ceil(_LONGEST_BAR * _level(point) / highest))


def curve_svg(curve: Sequence[CurvePoint], chosen: int, title: str) -> str:
    """Return a picture of the curve.

    Args:
        curve: The points; at least one.
        chosen: The number of entries of the list that is recommended, which is marked.
        title: What stands above.
    """
    levels, ticks = _scaled(curve)
    highest = max(level for level, _ in ticks)
    first, last = curve[0].entries, curve[-1].entries

    def across(entries: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (entries - first) / max(1, last - first)

    def up(level: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * level / highest

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" font-family="sans-serif" font-size="13" role="img" aria-label={quoteattr(title)}>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="28" font-size="16">{escape(title)}</text>',
    ]
    for level, label in ticks:
        parts.append(_line(_LEFT, up(level), _WIDTH - _RIGHT, up(level), "#ddd" if level else "#888"))
        parts.append(f'<text x="{_LEFT - 8}" y="{up(level) + 4:.1f}" text-anchor="end">{label}</text>')
    for entries in sorted({*range(first, last + 1, max(1, math.ceil((last - first) / _MOST_TICKS))), last}):
        parts.append(
            f'<text x="{across(entries):.1f}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">{entries:,}</text>'
        )
    points = [f"{across(point.entries):.1f},{up(level):.1f}" for point, level in zip(curve, levels, strict=True)]
    parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="#1f6feb" stroke-width="2"/>')
    marked = next(at for at, point in enumerate(curve) if point.entries == chosen)
    x, y = points[marked].split(",")
    parts += [
        f'<circle cx="{x}" cy="{y}" r="5" fill="#cf222e"><title>the recommended list</title></circle>',
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 14}" text-anchor="middle">entries of the list</text>',
        f'<text transform="translate(24 {(_TOP + _HEIGHT - _BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        "extra IPv4 addresses and IPv6 /64s</text>",
        "</svg>\n",
    ]
    return "\n".join(parts)


def _scaled(curve: Sequence[CurvePoint]) -> tuple[list[float], list[tuple[float, str]]]:
    """Return the height of each point, and the heights of the scale with their texts.

    The scale is a logarithm, unless all points are of one magnitude: a logarithm would show a line that is flat.
    """
    levels = [_level(point) for point in curve]
    highest = max(1, math.ceil(max(levels)))
    if min(levels) < max(levels) - 1:
        step = math.ceil(highest / _MOST_TICKS)
        powers = [(math.log10(10**power + 1), power) for power in range(step, highest + step, step)]
        return levels, [(0.0, "0"), *((level, f'10<tspan dy="-5" font-size="9">{n}</tspan>') for level, n in powers)]
    extras = [float(point.extra) for point in curve]
    unit = 10.0 ** math.floor(math.log10(max(*extras, 1.0)))
    size = next(unit * part for part in (0.2, 0.5, 1.0, 2.0) if max(extras) <= unit * part * _MOST_TICKS)
    count = math.ceil(max(*extras, 1.0) / size)
    return extras, [
        (size * n, f"{size * n:,.12g}" if size * n < _AS_DIGITS else f"{size * n:.2g}") for n in range(count + 1)
    ]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
