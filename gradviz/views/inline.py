"""Pictures and pages as pieces of HTML for notebooks, light or dark as the notebook is."""

from __future__ import annotations

import html
import re

from gradviz import escape
from gradviz.style import THEMES

__all__ = ["framed", "preformatted", "themed"]

DARK = (
    '[data-jp-theme-light="false"]',  # JupyterLab, Notebook
    '[data-vscode-theme-kind*="dark"]',
    'html[theme="dark"]',  # Colab
    '[data-theme="dark"]',
)
LIGHT = (
    '[data-jp-theme-light="true"]',
    '[data-vscode-theme-kind*="light"]',
    'html[theme="light"]',
    '[data-theme="light"]',
)
IS_DARK = f":is({','.join(DARK)})"
UNKNOWN = f":root:not({','.join(LIGHT)}):not(:has({','.join(LIGHT)}))"  # then the system decides
MEDIA = re.compile(r"@media \(prefers-color-scheme:dark\)\{((?:[^{}]*\{[^{}]*\})*)\}")
FOLLOWS = re.compile(r"@media \(prefers-color-scheme:dark\)")
IDENTITY = re.compile(r'<svg [^>]*?\bid="([\w-]+)"')
BOX = "width:fit-content;max-width:100%;box-sizing:border-box;overflow-x:auto;padding:8px;border-radius:6px"
TEXT = "font-family:ui-monospace,Menlo,Consolas,monospace;line-height:1.4;overflow-x:auto"
EDGE = "box-sizing:border-box;border:1px solid #8884;border-radius:6px"
FRAME = f"display:block;width:100%;{EDGE};resize:vertical;overflow:auto"


def themed(svg: str) -> str:
    """Return a picture for a page whose theme may be another than that of the system, with its own ground.

    >>> print(themed('<svg id="gv-1"><style>a{}</style></svg>'))
    <div class="gradviz-box"><svg id="gv-1"><style>a{}</style></svg></div>
    """
    found = IDENTITY.search(svg)
    if found is None or not FOLLOWS.search(svg):
        return f'<div class="gradviz-box">{svg.strip()}</div>'
    box = f"{found[1]}-box"
    grounds = f"#{box}{{background:{THEMES['dark'].paper}}}"
    style = f"#{box}{{{BOX};background:#fff}}{_either(grounds, f'#{box}')}"
    drawn = MEDIA.sub(lambda hit: _either(hit[1], f"#{found[1]}"), svg.strip())
    return f'<div class="gradviz-box" id="{box}"><style>{style}</style>{drawn}</div>'


def _either(rules: str, root: str) -> str:
    """Return rules for dark pages: those that say so, and those that leave it to the system."""
    told, system = (rules.replace(f"{root}", f"{where} {root}") for where in (IS_DARK, UNKNOWN))
    return f"{told}@media (prefers-color-scheme:dark){{{system}}}"


def framed(page: str, height: int, title: str) -> str:
    """Return a whole page of HTML in a frame of its own: its scripts run there and reach nothing else.

    It is light or dark as the system is: what theme the page around it has, it cannot know.

    >>> framed("<p>&</p>", 100, "<b>").partition(" title=")[2]
    '"&lt;b&gt;" srcdoc="&lt;p&gt;&amp;&lt;/p&gt;"></iframe>'
    """
    shown = f'class="gradviz-frame" sandbox="allow-scripts" style="{FRAME};height:{height}px"'
    return f'<iframe {shown} title="{escape.for_html(title)}" srcdoc="{html.escape(page)}"></iframe>'


def preformatted(text: str) -> str:
    """Return text as it is in a terminal.

    >>> preformatted("a < b").partition(">")[2]
    'a &lt; b</pre>'
    """
    lines = "\n".join(escape.for_html(line, limit=None) for line in text.splitlines())
    return f'<pre style="{TEXT}">{lines}</pre>'
