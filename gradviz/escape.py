r"""The one text layer: every name, source line and title passes through here before it is shown.

`clean` makes any text fit to be shown on one line: what cannot be seen becomes a visible
``\uXXXX``. Each ``for_...`` function cleans and then quotes for one language, so that a
reader of that language gets the cleaned text back, character for character.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from gradviz.errors import GradvizTypeError, GradvizValueError

__all__ = [
    "LIMIT",
    "clean",
    "for_dot",
    "for_html",
    "for_json_script",
    "for_mermaid",
    "for_script",
    "for_terminal",
    "for_tex",
    "for_xml",
]

LIMIT = 200
ELLIPSIS = "…"
SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, direction marks, surrogates, line separators
BLANKS = frozenset("\u00ad\u115f\u1160\u2800\u3164\uffa0")  # letters by category, yet drawn as nothing

XML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})
DOT = str.maketrans({c: f"&#{ord(c)};" for c in "{}|"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\\": r"\\"})
MERMAID = str.maketrans({c: f"#{ord(c)};" for c in "\"#&'*:;<>[\\]_`{|}~"})
_encoded = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
JSON = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})
TEX = str.maketrans(
    {c: f"\\{c}" for c in "#$%&_{}"}
    | {
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
    }
)


def clean(text: object, limit: int | None = LIMIT) -> str:
    r"""Return ``text`` on one line of at most ``limit`` characters, with nothing invisible in it.

    Controls, direction marks, lone surrogates and characters XML forbids become ``\uXXXX``,
    newlines and tabs ``\n`` and ``\t``; a longer text ends in an ellipsis. Cleaning twice
    changes nothing more. Raises `GradvizTypeError` for what is not text.

    >>> clean("two\nlines\x00 and \u202eevil")
    'two\\nlines\\u0000 and \\u202Eevil'
    >>> clean("abcdef", limit=4)
    'abc…'
    """
    if not isinstance(text, str):
        raise GradvizTypeError(f"expected text, got {type(text).__name__}")
    if type(text) is str and text.isascii() and text.isprintable():
        return text if limit is None or len(text) <= limit else text[: limit - 1] + ELLIPSIS
    if limit is None:
        return "".join(map(_visible, text))
    shown = "".join(map(_visible, text[: limit + 1]))
    return shown if len(shown) <= limit else shown[: limit - 1] + ELLIPSIS


def _visible(char: str) -> str:
    if char.isascii() and char.isprintable():
        return char
    if char in SHORT:
        return SHORT[char]
    code = ord(char)
    if unicodedata.category(char) in UNSEEN or char in BLANKS or _is_noncharacter(code):
        return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
    return char


def _is_noncharacter(code: int) -> bool:
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF


def for_dot(text: str, limit: int | None = LIMIT) -> str:
    r"""Return ``text`` for a Graphviz label, record field or tooltip.

    The result still has to be quoted as a DOT string, which the graphviz package does.
    It never looks like an HTML label, and ``\N`` in it means a backslash and an N.

    >>> for_dot(r"<b> & \N {x|y}")
    '&lt;b&gt; &amp; \\\\N &#123;x&#124;y&#125;'
    """
    return _keep_spaces(clean(text, limit).translate(DOT))


def _keep_spaces(text: str) -> str:
    """Protect the spaces that a record label would drop: doubled ones and those at the ends."""
    spaced = text.replace("  ", " &#32;")
    if spaced.startswith(" "):
        spaced = "&#32;" + spaced[1:]
    return spaced[:-1] + "&#32;" if spaced.endswith(" ") else spaced


def for_xml(text: str, limit: int | None = LIMIT) -> str:
    """Return ``text`` for the content or a quoted attribute of an XML element.

    >>> for_xml('<b> & "x"')
    '&lt;b&gt; &amp; &quot;x&quot;'
    """
    return clean(text, limit).translate(XML)


def for_html(text: str, limit: int | None = LIMIT) -> str:
    """Return ``text`` for the content or a quoted attribute of an HTML element.

    >>> for_html("</script><b>")
    '&lt;/script&gt;&lt;b&gt;'
    """
    return for_xml(text, limit)


def for_json_script(data: Any) -> str:
    r"""Return ``data`` as JSON that may stand inside ``<script type="application/json">``.

    Strings come back exactly as they were: nothing is cleaned or cut. Raises
    `GradvizValueError` for NaN and infinities, which JSON cannot hold.

    >>> for_json_script({"name": "</script>"})
    '{"name":"\\u003c/script\\u003e"}'
    """
    try:
        text = _encoded(data)
    except ValueError as error:
        raise GradvizValueError(
            f"this cannot be written as JSON: {error}", hint="send NaN and infinities as text"
        ) from error
    return for_script(text)


def for_script(text: str) -> str:
    r"""Return JSON text so that it may stand inside a script element, or in XML; it holds the same as before.

    >>> for_script('["<b>"]')
    '["\\u003cb\\u003e"]'
    """
    return text.translate(JSON)


def for_terminal(text: str, limit: int | None = None) -> str:
    r"""Return ``text`` for a terminal: escape sequences are shown, never obeyed.

    >>> print(for_terminal("\x1b[31mred"))
    \u001B[31mred
    """
    return clean(text, limit)


def for_mermaid(text: str, limit: int | None = LIMIT) -> str:
    """Return ``text`` for a quoted Mermaid label.

    >>> for_mermaid('say "hi" <b>')
    'say #34;hi#34; #60;b#62;'
    """
    return clean(text, limit).translate(MERMAID)


def for_tex(text: str, limit: int | None = LIMIT) -> str:
    r"""Return ``text`` for the text mode of TeX.

    >>> for_tex("50% of x_1")
    '50\\% of x\\_1'
    """
    return clean(text, limit).translate(TEX)
