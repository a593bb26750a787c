"""The frame of every page of HTML: one file, nothing from outside, a strict content security policy."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any

from gradviz import escape

__all__ = ["STYLE", "document", "policy"]

STYLE = re.compile(r"<style>([^<]*)</style>")
PAGE = """\
<!doctype html>
<html lang="en" data-theme="{theme}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="{scheme}">
<meta name="generator" content="gradviz">
<meta name="description" content="{about}">
<title>{title}</title>
{styles}
</head>
<body>
{body}
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""
PLACES = re.compile(r"\{(theme|policy|scheme|about|title|styles|body|data|script)\}")
SCHEMES = {"auto": "light dark", "dark": "dark"}


def document(
    *,
    title: str,
    styles: Sequence[str],
    body: str,
    data: Any,
    script: str,
    about: str = "",
    theme: str = "auto",
    scheme: str = "",
) -> str:
    """Return a page that refers to nothing outside and runs no script but this one.

    ``styles`` are texts of CSS; those of pictures in ``body``, which is HTML, are allowed as well. ``title`` and
    ``about`` are text. ``data`` is put into an inert script with the id ``data``. ``theme`` stands in
    ``<html data-theme>``; ``scheme`` are the schemes the page knows, by default those of the theme.

    >>> text = document(title="<b>", styles=[], body="<p>Hi</p>", data={}, script="")
    >>> text.count("<b>"), text.count("'none'")
    (0, 3)
    """
    allowed = list(dict.fromkeys([*styles, *STYLE.findall(body)]))
    parts = {
        "theme": theme,
        "policy": policy(allowed, script),
        "scheme": scheme or SCHEMES.get(theme, "light"),
        "about": escape.for_html(about, limit=None),
        "title": escape.for_html(title),
        "styles": "\n".join(f"<style>{style}</style>" for style in styles),
        "body": body,
        "data": escape.for_json_script(data),
        "script": script,
    }
    return PLACES.sub(lambda hit: parts[hit[1]], PAGE)


def policy(styles: Sequence[str], script: str) -> str:
    """Return the content security policy that allows these styles and this script, and nothing else.

    >>> policy([""], "")[:60]
    "default-src 'none'; style-src 'sha256-47DEQpj8HBSa+/TImW+5JC"
    """
    allowed = " ".join(map(source_hash, styles))
    rules = ("default-src 'none'", f"style-src {allowed}", f"script-src {source_hash(script)}")
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def source_hash(text: str) -> str:
    """Return the name of an inline style or script in a policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
