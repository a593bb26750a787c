"""Ops as a person writes them: the line that computes one, and the lines of its derivatives.

In a phrase ``{a}`` and ``{b}`` are the operands, ``{y}`` is the result, ``{g}`` its gradient, and ``{m}`` the
module of the functions: math for single numbers, np for arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["PHRASES", "Phrase", "Words", "literal", "phrase_of"]


class Words(NamedTuple):
    """What is known of a node when it is to be written down."""

    op: str
    args: tuple[str, ...]  # operands: names and numbers
    y: str
    shapes: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]
    attrs: Mapping[str, Any]
    numbers: tuple[float | None, ...]  # the operands that are plain numbers
    module: str
    formulas: tuple[str, ...] = ()


class Phrase(NamedTuple):
    """How a node is computed, and the gradient it sends to each operand; None where it sends none.

    ``formulas`` replace the registry's for people. An ``elementwise`` phrase broadcasts its operands.
    """

    text: str
    slopes: tuple[str | None, ...]
    formulas: tuple[str, ...] = ()
    elementwise: bool = False


def _plain(text: str, *slopes: str | None) -> tuple[Phrase, Phrase]:
    phrase = Phrase(text, slopes, elementwise=True)
    return phrase, phrase


def _two(number: Phrase, array: Phrase) -> tuple[Phrase, Phrase]:
    return number._replace(elementwise=True), array._replace(elementwise=True)


def _numpy(text: str, *slopes: str | None) -> tuple[Phrase, Phrase]:
    """Return a phrase that needs NumPy for single numbers too."""
    return _plain(text, *slopes)


SIGMOID = "1 / (1 + {m}.exp(-{a}))"
TIES = "{g} * (({a} %s {b}) + 0.5 * ({a} == {b}))", "{g} * (({b} %s {a}) + 0.5 * ({a} == {b}))"

LARGER, SMALLER = (tuple(slope % sign for slope in TIES) for sign in "><")
ANGLE = "{g} * {b} / ({a} ** 2 + {b} ** 2)", "-{g} * {a} / ({a} ** 2 + {b} ** 2)"

# For single numbers, and for arrays.
PHRASES: dict[str, tuple[Phrase, Phrase]] = {
    "add": _plain("{a} + {b}", "{g}", "{g}"),
    "sub": _plain("{a} - {b}", "{g}", "-{g}"),
    "mul": _plain("{a} * {b}", "{g} * {b}", "{g} * {a}"),
    "div": _plain("{a} / {b}", "{g} / {b}", "-{g} * {y} / {b}"),
    "pow": _plain("{a} ** {b}", "{g} * {b} * {a} ** ({b} - 1)", "{g} * {y} * {m}.log({a})"),
    "mod": _plain("{a} % {b}", "{g}", "-{g} * ({a} // {b})"),
    "neg": _plain("-{a}", "-{g}"),
    "pos": _plain("+{a}", "{g}"),
    "abs": _plain("abs({a})", "{g} * (({a} > 0) * 1 - ({a} < 0))"),
    "reciprocal": _plain("1 / {a}", "-{g} * {y} / {a}"),
    "square": _plain("{a} ** 2", "{g} * 2 * {a}"),
    "sqrt": _plain("{m}.sqrt({a})", "{g} / (2 * {y})"),
    "cbrt": _plain("{m}.cbrt({a})", "{g} / (3 * {y} ** 2)"),
    "exp": _plain("{m}.exp({a})", "{g} * {y}"),
    "exp2": _plain("2 ** {a}", "{g} * {y} * {m}.log(2)"),
    "expm1": _plain("{m}.expm1({a})", "{g} * ({y} + 1)"),
    "log": _plain("{m}.log({a})", "{g} / {a}"),
    "log2": _plain("{m}.log2({a})", "{g} / ({a} * {m}.log(2))"),
    "log10": _plain("{m}.log10({a})", "{g} / ({a} * {m}.log(10))"),
    "log1p": _plain("{m}.log1p({a})", "{g} / (1 + {a})"),
    "logaddexp": _numpy("np.logaddexp({a}, {b})", "{g} * np.exp({a} - {y})", "{g} * np.exp({b} - {y})"),
    "logaddexp2": _numpy("np.logaddexp2({a}, {b})", "{g} * 2 ** ({a} - {y})", "{g} * 2 ** ({b} - {y})"),
    "sin": _plain("{m}.sin({a})", "{g} * {m}.cos({a})"),
    "cos": _plain("{m}.cos({a})", "-{g} * {m}.sin({a})"),
    "tan": _plain("{m}.tan({a})", "{g} * (1 + {y} ** 2)"),
    "arcsin": _two(Phrase("math.asin({a})", ("{g} / math.sqrt(1 - {a} ** 2)",)),
                   Phrase("np.arcsin({a})", ("{g} / np.sqrt(1 - {a} ** 2)",))),
    "arccos": _two(Phrase("math.acos({a})", ("-{g} / math.sqrt(1 - {a} ** 2)",)),
                   Phrase("np.arccos({a})", ("-{g} / np.sqrt(1 - {a} ** 2)",))),
    "arctan": _two(Phrase("math.atan({a})", ("{g} / (1 + {a} ** 2)",)),
                   Phrase("np.arctan({a})", ("{g} / (1 + {a} ** 2)",))),
    "arctan2": _two(Phrase("math.atan2({a}, {b})", ANGLE), Phrase("np.arctan2({a}, {b})", ANGLE)),
    "hypot": _plain("{m}.hypot({a}, {b})", "{g} * {a} / {y}", "{g} * {b} / {y}"),
    "sinh": _plain("{m}.sinh({a})", "{g} * {m}.cosh({a})"),
    "cosh": _plain("{m}.cosh({a})", "{g} * {m}.sinh({a})"),
    "tanh": _plain("{m}.tanh({a})", "{g} * (1 - {y} ** 2)"),
    "arcsinh": _two(Phrase("math.asinh({a})", ("{g} / math.sqrt({a} ** 2 + 1)",)),
                    Phrase("np.arcsinh({a})", ("{g} / np.sqrt({a} ** 2 + 1)",))),
    "arccosh": _two(Phrase("math.acosh({a})", ("{g} / math.sqrt({a} ** 2 - 1)",)),
                    Phrase("np.arccosh({a})", ("{g} / np.sqrt({a} ** 2 - 1)",))),
    "arctanh": _two(Phrase("math.atanh({a})", ("{g} / (1 - {a} ** 2)",)),
                    Phrase("np.arctanh({a})", ("{g} / (1 - {a} ** 2)",))),
    "deg2rad": _plain("{a} * {m}.pi / 180", "{g} * {m}.pi / 180"),
    "rad2deg": _plain("{a} * 180 / {m}.pi", "{g} * 180 / {m}.pi"),
    "relu": _two(Phrase("max({a}, 0.0)", ("{g} if {a} > 0 else 0.0",)),
                 Phrase("np.maximum({a}, 0)", ("{g} * ({a} > 0)",))),
    "sigmoid": _plain(SIGMOID, "{g} * {y} * (1 - {y})"),
    "softplus": _numpy("np.logaddexp(0, {a})", "{g} / (1 + np.exp(-{a}))"),
    "silu": _plain("{a} / (1 + {m}.exp(-{a}))", "{g} * ({y} + (1 - {y}) / (1 + {m}.exp(-{a})))"),
    "maximum": _two(Phrase("max({a}, {b})", LARGER), Phrase("np.maximum({a}, {b})", LARGER)),
    "minimum": _two(Phrase("min({a}, {b})", SMALLER), Phrase("np.minimum({a}, {b})", SMALLER)),
    "where": _numpy("np.where({a}, {b}, {c})", None, "np.where({a}, {g}, 0)", "np.where({a}, 0, {g})"),
    "sign": _numpy("np.sign({a})", None),
    "floor": _plain("{m}.floor({a})", None),
    "ceil": _plain("{m}.ceil({a})", None),
    "trunc": _plain("{m}.trunc({a})", None),
    "rint": _numpy("np.rint({a})", None),
    "floordiv": _plain("{a} // {b}", None, None),
    "copy": _plain("+{a}", "{g}"),
}  # fmt: skip
DEFAULTS: dict[str, dict[str, float]] = {
    "leaky_relu": {"negative_slope": 0.01},
    "round": {"decimals": 0},
    "elu": {"alpha": 1.0},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
}
POWERS = {2.0: "{g} * 2 * {a}", 1.0: "{g}", 0.0: "0 * {g}"}


def literal(value: float, module: str) -> str:
    """Return a number as a person writes it.

    >>> literal(2.0, "math"), literal(-0.25, "math"), literal(float("inf"), "np")
    ('2', '-0.25', 'np.inf')
    """
    if value != value or value in (float("inf"), -float("inf")):  # noqa: PLR0124 - NaN alone differs from itself
        return f"{'-' if value < 0 else ''}{module}.{'inf' if abs(value) > 0 else 'nan'}"
    if value.is_integer() and abs(value) < 1e6 and repr(value) != "-0.0":
        return str(int(value))
    return repr(value)


def phrase_of(words: Words) -> Phrase | None:
    """Return the phrase of an elementwise op, or None if there is none."""
    if words.op == "pow" and len(words.args) == 1:  # as PyTorch records it
        exponent = words.attrs.get("exponent")
        return _power(float(exponent)) if isinstance(exponent, int | float) and len(words.attrs) == 1 else None
    if words.op == "pow" and words.numbers[1] is not None:
        return _power(words.numbers[1])
    if words.attrs or words.op in DEFAULTS:
        return _with_attrs(words)
    found = PHRASES.get(words.op)
    if found is None:
        return None
    return found[words.module != "math"]


def _power(n: float) -> Phrase:
    """Return the phrase of a power with a number as exponent."""
    number, less = literal(n, "np"), bracketed(literal(n - 1, "np"))
    text = f"{{a}} ** {bracketed(number)}"
    if n in POWERS:
        formula = {2.0: "2*{0}", 1.0: "1", 0.0: "0"}[n]
        return Phrase(text, (POWERS[n], None), (formula, ""), elementwise=True)
    slope = f"{{g}} * {bracketed(number)} * {{a}} ** {less}"
    return Phrase(text, (slope, None), (f"{number}*{{0}}**{less}", ""), elementwise=True)


def _with_attrs(words: Words) -> Phrase | None:
    """Return the phrase of an elementwise op with metadata."""
    attrs = {**DEFAULTS.get(words.op, {}), **words.attrs}
    if words.op == "leaky_relu":
        slope = literal(attrs["negative_slope"], "np")
        text = f"np.where({{a}} > 0, {{a}}, {slope} * {{a}})"
        formula = f"1 if {{0}} > 0 else {slope}"
        return Phrase(text, (f"{{g}} * np.where({{a}} > 0, 1, {slope})",), (formula,), elementwise=True)
    if words.op == "round":
        return Phrase(f"np.round({{a}}, {attrs['decimals']})", (None,), elementwise=True)
    if words.op == "elu":
        alpha = literal(attrs["alpha"], "np")
        text = f"np.where({{a}} > 0, {{a}}, {alpha} * (np.exp(np.minimum({{a}}, 0)) - 1))"
        return Phrase(text, (f"{{g}} * np.where({{a}} > 0, 1, {{y}} + {alpha})",), elementwise=True)
    if words.op == "softplus":
        beta = literal(attrs["beta"], "np")
        return Phrase(
            f"np.logaddexp(0, {beta} * {{a}}) / {beta}", (f"{{g}} / (1 + np.exp(-{beta} * {{a}}))",), elementwise=True
        )
    limits = {"clip": ("a_min", "a_max"), "hardtanh": ("min_val", "max_val")}.get(words.op, ())
    if limits and all(isinstance(attrs.get(key), int | float) for key in limits):
        low, high = (literal(float(attrs[key]), "np") for key in limits)
        sign = "<=" if words.op == "clip" else "<"
        return Phrase(
            f"np.clip({{a}}, {low}, {high})",
            (f"{{g}} * (({low} {sign} {{a}}) & ({{a}} {sign} {high}))",),
            (f"[{low} {sign} {{0}} {sign} {high}]",),
            elementwise=True,
        )
    return None


def filled(text: str, words: Words, g: str = "") -> str:
    """Return a phrase with the names of a node in it."""
    letters: Sequence[str] = "abc"
    operands = {letter: bracketed(arg) for letter, arg in zip(letters, words.args, strict=False)}
    return text.format(**operands, y=words.y, g=g, m=words.module)


def bracketed(text: str) -> str:
    """Return a number in brackets if it has a sign."""
    return f"({text})" if text.startswith("-") else text
