"""A graph written down as a person would: the values forward, then the derivatives backward, line by line.

The text is Python that needs NumPy or `math` alone. It is made of phrases and of names that have been made
identifiers, never of anything a user wrote.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import GradvizValueError
from .arrays import array_phrase
from .identifiers import Identifiers
from .numbers import array_text
from .phrases import Phrase, Words, bracketed, filled, literal, phrase_of

__all__ = ["NoWordsError", "Piece", "is_small", "listing"]

INLINE = 100  # elements of an array that is written out
WIDEST = 52  # columns of code beside which a comment stands
SCATTER = '''\
def scatter(part, shape, index):
    """Return zeros of a shape with part added at an index."""
    whole = np.zeros(shape)
    np.add.at(whole, index, part)
    return whole


'''


class NoWordsError(GradvizValueError):
    """There is no phrase for an op."""


@dataclass(slots=True)
class Piece:
    """One value to write down: a leaf, or what an op made of earlier pieces (by position)."""

    name: str
    kind: str  # "param", "input", "const" or "op"
    value: Any = None
    op: str = ""
    args: tuple[int, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    formulas: tuple[str, ...] = ()
    wants: bool = False


def listing(
    pieces: Sequence[Piece], root: int, *, grads: bool, values: bool, function: str, module: str = "math"
) -> str:
    """Return the source text of a function that computes ``root``, and with ``grads`` its gradient by the parameters.

    With ``module="np"`` NumPy computes single numbers too, which goes on where `math` raises.

    Raises `GradvizValueError` for an op that has no phrase.
    """
    page = _Page(pieces, root, grads, values, function)
    if module == "np":
        page.module = "np"
        page.goes_on = True
    return page.text()


class _Page:
    def __init__(self, pieces: Sequence[Piece], root: int, grads: bool, values: bool, function: str) -> None:
        self.pieces = pieces
        self.root = root
        self.grads = grads
        self.values = values
        self.function = function
        self.module = "math" if all(_is_tame(p) for p in pieces) else "np"
        self.goes_on = not all(map(_is_finite, pieces))
        self.names = Identifiers(frozenset({function, "scatter"}))
        self.words = [self._word(p) for p in pieces]
        self.slopes: dict[int, str] = {}  # the variables that hold gradients
        self.lines: list[tuple[str, str]] = []

    def _word(self, piece: Piece) -> str:
        """Return what stands for a piece in the text: an identifier, or a number."""
        if piece.kind == "const" and not piece.shape and isinstance(piece.value, float):
            return literal(piece.value, self.module)
        return self.names.new(piece.name)

    def text(self) -> str:
        """Return the whole text."""
        leaves = [i for i, p in enumerate(self.pieces) if p.kind != "op" and self._is_named(i)]
        self._forward()
        if self.grads:
            self._backward()
        body = _aligned(self.lines)
        data = self._data(leaves)
        helper = SCATTER if any("scatter(" in line for line in body) else ""
        head = f"def {self.function}({self._arguments(leaves)}):\n    {self._title()}\n"
        whole = "\n".join(body) + f"\n    return {self._returned()}\n"
        used = data + helper + head + whole
        imports = [f"import {name}" + (" as np" if name == "numpy" else "") for name in ("math", "numpy")
                   if f"{'np' if name == 'numpy' else name}." in used]  # fmt: skip
        top = "\n\n".join(imports) + "\n\n" if imports else ""
        return top + (data + "\n\n" if data else "\n" if imports else "") + helper + head + whole

    # -- the parts ------------------------------------------------------------------------------

    def _is_named(self, i: int) -> bool:
        return self.words[i].isidentifier()

    def _data(self, leaves: Sequence[int]) -> str:
        """Return the lines that write out arrays: few numbers, as they were recorded."""
        lines = [
            f"{self.words[i]} = {array_text(self.pieces[i].value)}"
            for i in leaves
            if not isinstance(self.pieces[i].value, float) and is_small(self.pieces[i])
        ]
        return "".join(f"{line}\n" for line in lines)

    def _arguments(self, leaves: Sequence[int]) -> str:
        """Return the arguments: parameters first; those that are not written out have no default."""
        ordered = sorted(leaves, key=lambda i: self.pieces[i].kind != "param")
        needed = [self.words[i] for i in ordered if not is_small(self.pieces[i])]
        given = []
        for i in ordered:
            piece, word = self.pieces[i], self.words[i]
            if is_small(piece):
                value = literal(piece.value, self.module) if isinstance(piece.value, float) else word
                value = repr(piece.value) if isinstance(piece.value, float) and math.isfinite(piece.value) else value
                given.append(f"{word}={value}")
        return ", ".join([*needed, *given])

    def _title(self) -> str:
        params = ", ".join(self.words[i] for i in self._params())
        what = self.words[self.root] if self._is_named(self.root) else "the result"
        return f'"""Return {what}' + (f" and its gradient by {params}" if self.grads and params else "") + '."""'

    def _params(self) -> list[int]:
        return [i for i, p in enumerate(self.pieces) if p.kind == "param"]

    def _returned(self) -> str:
        if not self.grads:
            return self.words[self.root]
        entries = ", ".join(f"{_quoted(self.pieces[i].name)}: {self.slopes[i]}" for i in self._params())
        return f"{self.words[self.root]}, {{{entries}}}"

    # -- forward --------------------------------------------------------------------------------

    def _forward(self) -> None:
        if self.module == "np":
            self._let_numpy_go_on()
        if self.grads:
            self.lines.append(("# forward", ""))
        for i, piece in enumerate(self.pieces):
            if piece.kind == "op":
                words = self._words(i)
                text = filled(self._phrase(i, words).text, words)
                self.lines.append((f"{self.words[i]} = {text}", self._shown(piece)))

    def _let_numpy_go_on(self) -> None:
        """Make single numbers NumPy's, where Python's would raise: something here is not finite."""
        if self.goes_on:
            leaves = [i for i, p in enumerate(self.pieces) if p.kind != "op" and not p.shape and self._is_named(i)]
            self.lines += [(f"{self.words[i]} = np.float64({self.words[i]})", "goes on after 1 / 0") for i in leaves]

    def _words(self, i: int) -> Words:
        piece = self.pieces[i]
        args = [self.pieces[a] for a in piece.args]
        numbers = tuple(p.value if p.kind == "const" and isinstance(p.value, float) else None for p in args)
        arrays = piece.shape != () or any(p.shape for p in args)
        module = "np" if arrays else self.module
        return Words(piece.op, tuple(self.words[a] for a in piece.args), self.words[i], tuple(p.shape for p in args),
                     piece.shape, piece.attrs, numbers, module, piece.formulas)  # fmt: skip

    def _phrase(self, i: int, words: Words) -> Phrase:
        phrase = phrase_of(words) or array_phrase(words)
        if phrase is None:
            raise NoWordsError(
                f"to_python has no words for the op {words.op!r}, which computes {self.pieces[i].name[:60]!r}",
                hint="give the loss of the function itself, before it was compiled"
                if words.op == "compiled"
                else "gradviz.compile runs it; to_python writes arithmetic, elementary functions, sums and products",
            )
        return phrase

    def _shown(self, piece: Piece) -> str:
        if piece.value is None:
            return ""
        if not piece.shape:
            return f"= {float(piece.value):.6g}" if self.values else ""
        if not self.values or not np.size(piece.value):
            return f"shape {piece.shape}"
        return f"shape {piece.shape}, from {np.min(piece.value):.4g} to {np.max(piece.value):.4g}"

    # -- backward -------------------------------------------------------------------------------

    def _backward(self) -> None:
        pieces, root = self.pieces, self.root
        top = self.words[root] if self._is_named(root) else "result"
        self.lines += [("", ""), (f"# backward: d_x is the derivative of {top} by x", "")]
        if pieces[root].wants:
            self.slopes[root] = self.names.new(f"d_{top}")
            start = f"np.ones({pieces[root].shape})" if pieces[root].shape else "1.0"
            self.lines.append((f"{self.slopes[root]} = {start}", ""))
        for i in range(root, -1, -1):
            if pieces[i].kind == "op" and i in self.slopes:
                self._pull(i)
        for i in self._params():
            if i not in self.slopes:
                self.slopes[i] = self.names.new(f"d_{self.words[i]}")
                zero = f"np.zeros({pieces[i].shape})" if pieces[i].shape else "0.0"
                self.lines.append((f"{self.slopes[i]} = {zero}", "nothing arrives here"))

    def _pull(self, i: int) -> None:
        piece, words = self.pieces[i], self._words(i)
        phrase = self._phrase(i, words)
        for arg, (x, slope) in enumerate(zip(piece.args, phrase.slopes, strict=False)):
            if slope is None or not self.pieces[x].wants:
                continue
            text = filled(slope, words, self.slopes[i])
            if phrase.elementwise:
                text = _summed(text, piece.shape, self.pieces[x].shape)
            self._give(x, text, self._because(i, arg, words, phrase))

    def _give(self, x: int, text: str, because: str) -> None:
        had = self.slopes.get(x)
        if had is None:
            had = self.slopes[x] = self.names.new(f"d_{self.words[x]}")
            self.lines.append((f"{had} = {text}", because))
        elif self.pieces[x].shape:
            self.lines.append((f"{had} = {had} + {text}", because))
        elif text.startswith("-") and not {" + ", " - "} & {text[i : i + 3] for i in range(len(text))}:
            self.lines.append((f"{had} -= {text[1:]}", because))
        else:
            self.lines.append((f"{had} += {text}", because))

    def _because(self, i: int, arg: int, words: Words, phrase: Phrase) -> str:
        """Return the derivative of one line by one operand, in its own names."""
        formulas = phrase.formulas or words.formulas
        if not formulas:
            return ""
        formula = formulas[arg if arg < len(formulas) else 0]
        places = {str(n): bracketed(word) for n, word in enumerate(words.args)}
        for key, word in (*((f"{{{n}}}", w) for n, w in places.items()), ("{y}", words.y)):
            formula = formula.replace(key, word)
        made = filled(phrase.text, words).replace("math.", "").replace("np.", "").replace(" ** ", "**")
        made = f"({made})" if len(made) <= 30 else words.y
        return f"d{made}/d{words.args[arg]} = {formula}"


def _quoted(name: str) -> str:
    """Return a text as Python writes it, in double quotes where it is plain."""
    plain = name.isascii() and name.isprintable() and not set(name) & set('"\\')
    return f'"{name}"' if plain else ascii(name)


def is_small(piece: Piece) -> bool:
    """Tell whether a leaf is written out with its numbers."""
    return isinstance(piece.value, float) or (piece.value is not None and np.size(piece.value) <= INLINE)


def _is_tame(piece: Piece) -> bool:
    """Tell whether `math` computes with a value as NumPy would: a finite number."""
    return not piece.shape and piece.value.__class__ is float and math.isfinite(piece.value)


def _is_finite(piece: Piece) -> bool:
    return piece.value is None or bool(np.all(np.isfinite(piece.value)))


def _summed(text: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Return a gradient summed over the axes along which its operand was broadcast."""
    if shape == wanted:
        return text
    if not wanted:
        return f"np.sum({text})"
    extra = len(shape) - len(wanted)
    axes = (*range(extra), *(i + extra for i, n in enumerate(wanted) if n == 1 and shape[i + extra] != 1))
    if axes == tuple(range(extra)):
        return f"np.sum({text}, axis={axes[0] if len(axes) == 1 else axes})"
    axis = axes[0] if len(axes) == 1 else axes
    summed = f"np.sum({text}, axis={axis}, keepdims=True)"
    return f"np.reshape({summed}, {wanted})" if extra else summed


def _aligned(lines: Sequence[tuple[str, str]]) -> list[str]:
    """Return lines of code, indented, with their comments below one another."""
    width = max((len(code) for code, comment in lines if comment and len(code) <= WIDEST), default=0)
    found = []
    for code, comment in lines:
        text = f"    {code.ljust(width)}  # {comment}" if comment else f"    {code}"
        found.append(text.rstrip())
    return found
