"""Colours: roles after Okabe and Ito, gradients from blue (negative) by white to orange (positive)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BRIGHT", "THEMES", "Theme", "mix"]

BRIGHT = {  # Okabe and Ito, "Color Universal Design", 2008
    "sky blue": "#56b4e9",
    "orange": "#e69f00",
    "green": "#009e73",
    "blue": "#0072b2",
    "vermillion": "#d55e00",
    "purple": "#cc79a7",
}
FILL_STEPS = (0.10, 0.20, 0.34, 0.52)
LINE_STEPS = (0.45, 0.62, 0.80, 1.0)


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of one theme; ``fills`` and ``lines`` belong to gradient levels -4 to 4."""

    paper: str
    ink: str
    muted: str
    faint: str
    line: str
    card: str
    input: str
    input_line: str
    param: str
    param_line: str
    const: str
    const_line: str
    alarm: str
    alarm_fill: str
    highlight: str
    scope: str
    scope_line: str
    value: str  # text of forward values and of gradients, where they stand by themselves
    grad: str
    warning: str  # text of NaN and Inf
    note: str  # small text on cards
    fills: tuple[str, ...]
    lines: tuple[str, ...]
    dashed_negative: bool = False

    def fill(self, level: int) -> str:
        """Return the background for a gradient level."""
        return self.fills[level + 4]

    def stroke(self, level: int) -> str:
        """Return the line colour for a gradient level."""
        return self.lines[level + 4]

    def role_fill(self, role: str) -> str:
        """Return the background for a role: input, param, const, result or output."""
        return {"input": self.input, "param": self.param, "const": self.const}.get(role, self.card)

    def role_line(self, role: str) -> str:
        """Return the outline for a role."""
        lines = {"input": self.input_line, "param": self.param_line, "const": self.const_line}
        return self.alarm if role == "output" else lines.get(role, self.line)

    def colours(self) -> tuple[str, ...]:
        """Return every colour in a fixed order, so that two themes can be matched up.

        >>> len(THEMES["light"].colours()) == len(THEMES["dark"].colours())
        True
        """
        plain = [getattr(self, name) for name in self.__slots__ if isinstance(getattr(self, name), str)]
        return (*plain, *self.fills, *self.lines)


def mix(colour: str, other: str, share: float) -> str:
    """Return ``share`` of ``other`` in ``colour``.

    >>> mix("#000000", "#ffffff", 0.5)
    '#808080'
    """
    pairs = zip(bytes.fromhex(colour[1:]), bytes.fromhex(other[1:]), strict=True)
    return "#" + "".join(f"{int(a + (b - a) * share + 0.5):02x}" for a, b in pairs)


def _scale(centre: str, negative: str, positive: str, steps: tuple[float, ...]) -> tuple[str, ...]:
    below = [mix(centre, negative, share) for share in reversed(steps)]
    return (*below, centre, *(mix(centre, positive, share) for share in steps))


def _lines(neutral: str, paper: str, negative: str, positive: str) -> tuple[str, ...]:
    scale = _scale(paper, negative, positive, LINE_STEPS)
    return (*scale[:4], neutral, *scale[5:])


LIGHT = Theme(
    paper="#fffffe",
    ink="#1b2430",
    muted="#66717d",
    faint="#a3acb6",
    line="#55606c",
    card="#ffffff",
    input="#e0f1fb",
    input_line="#3d9fd6",
    param="#fdf0d5",
    param_line="#d08f00",
    const="#eff1f3",
    const_line="#98a2ad",
    alarm=BRIGHT["vermillion"],
    alarm_fill="#fbdfcd",
    highlight="#a3327b",
    scope="#f5f7f9",
    scope_line="#cdd4db",
    value="#005f9e",
    grad="#9a4a00",
    warning="#a63a00",
    note="#535d68",
    fills=_scale("#ffffff", BRIGHT["blue"], "#f08c00", FILL_STEPS),
    lines=_lines("#8a949e", "#ffffff", BRIGHT["blue"], "#e07b00"),
)
DARK = Theme(
    paper="#12161b",
    ink="#e7eaee",
    muted="#9ba6b2",
    faint="#66717c",
    line="#8e99a5",
    card="#1d232a",
    input="#15364a",
    input_line="#56b4e8",
    param="#463208",
    param_line="#e69f01",
    const="#2b3138",
    const_line="#7c8792",
    alarm="#ff8136",
    alarm_fill="#5a2708",
    highlight="#f08cc8",
    scope="#181d23",
    scope_line="#39424c",
    value="#6cc0f2",
    grad="#ffb056",
    warning="#ff9a5e",
    note="#9fa9b5",
    fills=_scale("#1d232a", "#3d9be0", "#f0920c", FILL_STEPS),
    lines=_lines("#727d88", "#12161b", "#5bb4f5", "#ffa01f"),
)
PRINT = Theme(
    paper="#fefefe",
    ink="#111111",
    muted="#4a4a4a",
    faint="#8c8c8c",
    line="#222222",
    card="#ffffff",
    input="#f6f6f6",
    input_line="#212121",
    param="#e4e4e4",
    param_line="#202020",
    const="#fdfdfd",
    const_line="#8b8b8b",
    alarm="#101010",
    alarm_fill="#d2d2d2",
    highlight="#0f0f0f",
    scope="#fbfbfb",
    scope_line="#b4b4b4",
    value="#121212",
    grad="#131313",
    warning="#141414",
    note="#4b4b4b",
    fills=_scale("#ffffff", "#111111", "#111111", (0.04, 0.08, 0.14, 0.22)),
    lines=_lines("#7d7d7d", "#ffffff", "#111111", "#111111"),
    dashed_negative=True,
)
THEMES = {"auto": LIGHT, "light": LIGHT, "dark": DARK, "print": PRINT}
