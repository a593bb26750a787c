"""Small charts as SVG, with no library: dots and lines on two axes, light and dark."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gradviz.errors import GradvizValueError
from gradviz.escape import for_xml
from gradviz.style.colours import BRIGHT, THEMES
from gradviz.style.wording import format_number

__all__ = ["Series", "chart", "ticks"]

WIDTH, HEIGHT = 560.0, 340.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 128.0, 34.0, 46.0  # room around the plot; labels stand on the right
LABEL_STEP = 15.0  # between two labels
INK = {
    "data": ("sky blue", "sky blue"),
    "before": ("orange", "orange"),
    "after": ("blue", "sky blue"),
    "other": ("purple", "purple"),
}
DASHES = {"before": "7 4", "other": "2 3"}
Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Series:
    """Points to show: as ``dots`` or joined by a line. ``role`` (data, before, after, other) gives the look."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    role: str = "after"
    dots: bool = False


def chart(series: Sequence[Series], *, title: str, x_label: str, y_label: str, log: bool = False) -> str:
    """Return a chart as SVG text; with ``log`` the y axis is logarithmic and leaves out what is not positive.

    Points that are not finite are left out. Raises `GradvizValueError` where nothing is left.

    >>> text = chart([Series("y", [0, 1, 2], [0, 1, 4])], title="Squares", x_label="x", y_label="x²")
    >>> text.startswith("<svg"), text.count("<polyline")
    (True, 2)
    """
    shown = [_finite(one, log=log) for one in series]
    xs, ys = [x for one in shown for x in one.x], [y for one in shown for y in one.y]
    if not xs:
        raise GradvizValueError(f"the chart {title!r} has no point that can be shown")
    x_span, y_span = _span(xs), _log_span(ys) if log else _span(ys)
    across = _scale(x_span, LEFT, WIDTH - RIGHT)
    up = _scale(y_span, HEIGHT - BOTTOM, TOP)
    place_y: Scale = (lambda y: up(math.log10(y))) if log else up
    parts = [
        *_grid(ticks(*x_span), _powers(*y_span) if log else ticks(*y_span), across, place_y),
        *_axis_labels(x_label, y_label),
        *(_drawn(one, across, place_y) for one in shown),
        *_end_labels(shown, across, place_y),
    ]
    return _page(title, _told(shown), parts)


def _finite(one: Series, *, log: bool) -> Series:
    pairs = [(float(x), float(y)) for x, y in zip(one.x, one.y, strict=True)]
    kept = [(x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log)]
    return Series(one.label, [x for x, _ in kept], [y for _, y in kept], one.role, one.dots)


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Return a range a little wider than the values."""
    low, high = min(values), max(values)
    margin = 0.04 * (high - low) or 0.5 * abs(low) or 0.5
    return low - margin, high + margin


def _log_span(values: Sequence[float]) -> tuple[float, float]:
    return _span([math.log10(value) for value in values])


def _scale(span: tuple[float, float], start: float, end: float) -> Scale:
    low, high = span
    return lambda value: start + (value - low) / (high - low) * (end - start)


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten apart) between ``low`` and ``high``.

    >>> ticks(0.3, 9.7)
    [2.0, 4.0, 6.0, 8.0]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * size for size in (1, 2, 5, 10) if power * size >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Return powers of ten in a range of exponents, or round numbers where there are fewer than two."""
    whole = range(math.ceil(low), math.floor(high) + 1)
    if len(whole) < 2:
        return [y for y in ticks(10.0**low, 10.0**high) if y > 0]
    return [10.0**exponent for exponent in whole[:: max(1, len(whole) // 6)]]


def _grid(xs: Iterable[float], ys: Iterable[float], across: Scale, up: Scale) -> Iterable[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for x in xs:
        at = across(x)
        yield _line("grid", at, TOP, at, bottom)
        yield _text("tick", at, bottom + 16, format_number(x), anchor="middle")
    for y in ys:
        at = up(y)
        yield _line("grid", LEFT, at, right, at)
        yield _text("tick", LEFT - 8, at + 4, format_number(y), anchor="end")


def _axis_labels(x_label: str, y_label: str) -> Iterable[str]:
    yield _text("axis", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_label, anchor="middle")
    yield _text("axis", LEFT - 48, TOP - 12, y_label, anchor="start")


def _drawn(one: Series, across: Scale, up: Scale) -> str:
    places = [(across(x), up(y)) for x, y in zip(one.x, one.y, strict=True)]
    if one.dots:
        return "\n".join(f'<circle class="{one.role}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline class="{one.role}" points="{points}"{_dash(one)}/>'


def _end_labels(shown: Sequence[Series], across: Scale, up: Scale) -> Iterable[str]:
    """Name each series beside its last point, apart from each other."""
    ends = sorted(((up(one.y[-1]), across(one.x[-1]), one) for one in shown if one.x), key=lambda end: end[0])
    for at, (_, x, one) in zip(_apart([y for y, _, _ in ends]), ends, strict=True):
        yield _swatch(one, x + 8, at)
        yield _text("label", x + 28, at + 4, one.label, anchor="start")


def _apart(heights: Sequence[float]) -> list[float]:
    """Move ascending heights so that labels there do not overlap and stay above the axis."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + LABEL_STEP) if placed else height)
    ceiling = HEIGHT - BOTTOM
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - LABEL_STEP
    return placed


def _swatch(one: Series, x: float, y: float) -> str:
    """Show how a series looks."""
    if one.dots:
        return f'<circle class="{one.role}" cx="{x + 8:.1f}" cy="{y:.1f}" r="3.5"/>'
    return f'<polyline class="{one.role}" points="{x:.1f},{y:.1f} {x + 16:.1f},{y:.1f}"{_dash(one)}/>'


def _dash(one: Series) -> str:
    return f' stroke-dasharray="{DASHES[one.role]}"' if one.role in DASHES else ""


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(kind: str, x: float, y: float, text: str, *, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{for_xml(text)}</text>'


def _told(shown: Sequence[Series]) -> str:
    """Say the chart in words."""
    parts = [
        f"{one.label}: {len(one.x)} points, from {format_number(one.y[0])} to {format_number(one.y[-1])}"
        for one in shown
        if one.x
    ]
    return "; ".join(parts)


def _page(title: str, told: str, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    name = "chart-" + hashlib.sha256((title + told + body).encode()).hexdigest()[:12]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" id="{name}" role="img" aria-labelledby="{name}-t {name}-d" '
        f'viewBox="0 0 {WIDTH:g} {HEIGHT:g}" width="{WIDTH:g}" height="{HEIGHT:g}" '
        f'font-family="Helvetica,Arial,sans-serif" font-size="12">\n'
        f'<title id="{name}-t">{for_xml(title)}</title>\n<desc id="{name}-d">{for_xml(told, None)}</desc>\n'
        f"<style>\n{_rules(name, 'light')}\n@media (prefers-color-scheme: dark) {{\n{_rules(name, 'dark')}\n}}\n"
        f"</style>\n{body}\n</svg>\n"
    )


def _rules(name: str, scheme: str) -> str:
    theme, position = THEMES[scheme], 0 if scheme == "light" else 1
    rules = [
        f"#{name} .grid {{ stroke: {theme.faint}; stroke-opacity: 0.4 }}",
        f"#{name} text {{ fill: {theme.muted} }}",
        f"#{name} .axis, #{name} .label {{ fill: {theme.ink} }}",
        f"#{name} polyline {{ fill: none; stroke-width: 2 }}",
    ]
    for role, colours in INK.items():
        colour = BRIGHT[colours[position]]
        rules.append(f"#{name} circle.{role} {{ fill: {colour}; stroke: {theme.ink}; stroke-width: 0.6 }}")
        rules.append(f"#{name} polyline.{role} {{ stroke: {colour} }}")
    return "\n".join(rules)
