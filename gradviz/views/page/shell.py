"""A page of HTML around any content: one file, a strict content security policy, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradviz.style import THEMES, Theme
from gradviz.views.document import document

__all__ = ["palette", "shell"]

LIGHT_SERIES = ("#0072b2", "#c04f00", "#00795a", "#a3327b", "#8f6200", "#5b6bb5")
DARK_SERIES = ("#56b4e9", "#f0803c", "#2fbf95", "#dd92bb", "#e69f00", "#a9b4f0")


def shell(*, title: str, about: str, theme: str, styles: Sequence[str], body: str, data: Any, script: str) -> str:
    """Return a page that refers to nothing outside and runs no script but this one.

    ``styles`` are texts of CSS, put after the palette; those of pictures in ``body`` that
    stand there already have to be among them all the same, for the policy. ``body`` is HTML; ``title`` and
    ``about`` are text. ``data`` is put into an inert script with the id ``data``. ``theme`` is
    auto, light, dark or print; ``<html data-theme>`` may be changed by the script.

    >>> text = shell(title="<b>", about="", theme="auto", styles=[], body="<p>Hi</p>", data={}, script="")
    >>> text.count("<b>"), text.count("'none'"), "prefers-color-scheme:dark" in text
    (0, 3, True)
    """
    own = [style for style in styles if style not in body]
    known = theme if theme in THEMES else "auto"
    head = [palette(), *own]
    return document(
        title=title, about=about, theme=known, scheme="light dark", styles=head, body=body, data=data, script=script
    )


def palette() -> str:
    """Return the colours of all themes as CSS variables: ``<html data-theme>`` chooses, auto follows the system.

    >>> palette().count("--paper:")
    4
    """
    light, dark, printed = (_variables(THEMES[name]) for name in ("light", "dark", "print"))
    return (
        f":root{{color-scheme:light dark;{light}}}"
        f"@media (prefers-color-scheme:dark){{:root[data-theme=auto]{{{dark}}}}}"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}"
        f":root[data-theme=light],:root[data-theme=print]{{color-scheme:light}}"
        f":root[data-theme=print]{{{printed}}}"
    )


def _variables(theme: Theme) -> str:
    names = ("paper", "ink", "muted", "faint", "line", "card", "input", "param", "const", "alarm", "highlight", "scope")
    found = {name: getattr(theme, name) for name in names}
    found |= {f"{name}-line": getattr(theme, f"{name}_line") for name in ("input", "param", "const", "scope")}
    found |= {"alarm-fill": theme.alarm_fill}
    for step in range(-4, 5):
        sign = "n" if step < 0 else "p" if step > 0 else ""
        found |= {f"fill-{sign}{abs(step)}": theme.fill(step), f"stroke-{sign}{abs(step)}": theme.stroke(step)}
    series = DARK_SERIES if theme is THEMES["dark"] else LIGHT_SERIES
    found |= {f"series-{number}": colour for number, colour in enumerate(series)}
    return ";".join(f"--{name}:{colour}" for name, colour in found.items())
