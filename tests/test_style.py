"""Options, numbers in words, colours."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradviz.errors import GradvizValueError
from gradviz.graphs import EdgeTable, Frame, Graph, Node
from gradviz.style import Options, colours, wording
from tests.pictures import article


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("style", "round"),
        ("theme", "pink"),
        ("direction", "RL"),
        ("fold", "yes"),
        ("fold", 1),
        ("engine", "dot"),
        ("show", ["grads"]),
        ("show", 3),
        ("precision", 0),
        ("precision", 2.5),
        ("precision", True),
        ("collapse", -1),
        ("hops", "two"),
        ("highlight", [1.5]),
        ("highlight", [True]),
        ("highlight", None),
        ("pending", b"a"),
        ("title", 5),
        ("alt", 5),
        ("timeout", 0),
        ("timeout", math.inf),
        ("timeout", "1"),
        ("theme", ["auto"]),
        ("theme", np.array([1, 2])),
    ],
)
def test_a_bad_option_is_named_with_its_value(option, value):
    with pytest.raises(GradvizValueError, match=option) as caught:
        Options(**{option: value})
    shown = repr(value[0] if isinstance(value, list) and option in ("show", "highlight") else value)
    assert shown[:20] in caught.value.message


def test_a_bad_choice_lists_the_allowed_ones():
    with pytest.raises(GradvizValueError, match="'cards', 'circuit', 'paper', 'boxes', 'compact'"):
        Options(style="box")
    with pytest.raises(GradvizValueError, match="did you mean grad"):
        Options(show=["grads"])


def test_show_is_kept_in_one_order_without_repeats():
    assert Options(show=["grad", "name", "grad"]).show == ("name", "grad")
    assert Options(show=()).show == ()


def test_highlight_takes_one_or_many_names_ids_and_nodes():
    assert Options(highlight="w").highlight == ("w",)
    assert Options(highlight=np.int64(3)).highlight == (3,)
    assert Options(highlight=[Node(4, "x", "input", "input"), "w"]).highlight == (4, "w")


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (3, "3"),
        (True, "True"),
        (np.float32(0.1), "0.1"),
        (1e-9, "1e-9"),
        (-1.25e-12, "-1.25e-12"),
        (999_999.0, "999999"),
        (1_000_000.0, "1e6"),
        (1.5e300, "1.5e300"),
        (math.pi, "3.142"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (1 - 2j, "1-2j"),
        (complex(0.5, math.nan), "0.5+NaNj"),
    ],
)
def test_numbers_are_short_and_unambiguous(x, text):
    assert wording.format_number(x) == text


@given(st.floats(allow_nan=False), st.integers(1, 17))
def test_a_formatted_number_reads_back_within_its_precision(x, precision):
    back = float(wording.format_number(x, precision))
    assert back == x or abs(back - x) <= abs(x) * 10.0 ** (1 - precision)
    assert math.copysign(1, back) == math.copysign(1, x)


@given(st.lists(st.floats(width=32), max_size=40))
def test_summaries_and_strips_take_any_array(numbers):
    array = np.array(numbers, dtype=float)
    found = wording.summary(array)
    assert found.nans == sum(map(math.isnan, numbers))
    assert found.infs == sum(map(math.isinf, numbers))
    assert found.nans + found.infs == len(numbers) or found.low <= found.high
    cells = wording.strip(array)
    assert len(cells) == min(16, len(numbers))
    assert all(cell is None or -4 <= cell <= 4 for cell in cells)


@pytest.mark.parametrize(
    "array", [np.array(2.5), np.array([True, False]), np.arange(7), np.array([1 + 1j]), np.zeros((0, 2))]
)
def test_summaries_take_every_kind_of_number(array):
    assert wording.summary(array).size == array.size
    assert isinstance(wording.format_array(array), str)


@given(st.floats(), st.floats(0, allow_infinity=False))
def test_levels_keep_the_sign_and_the_bounds(size, largest):
    found = wording.level(size, largest)
    assert -4 <= found <= 4
    assert found * size >= 0 or math.isnan(size) or math.isinf(size)


def test_gradients_none_zero_and_small_differ():
    assert wording.level(0.0, 1.0) == 0
    assert wording.level(1e-300, 1.0) == 1
    assert wording.level(-1e-300, 1.0) == -1


def test_every_light_colour_has_one_dark_colour():
    light, dark = colours.THEMES["light"].colours(), colours.THEMES["dark"].colours()
    pairs = dict(zip(light, dark, strict=True))
    assert all(pairs[one] == other for one, other in zip(light, dark, strict=True))


@pytest.mark.parametrize("theme", colours.THEMES.values(), ids=list(colours.THEMES))
def test_text_can_be_read_on_every_card(theme):
    cards = (theme.paper, theme.card, theme.input, theme.param, theme.const, theme.scope, theme.alarm_fill)
    pairs = [(theme.ink, place) for place in (*cards, *theme.fills)]
    pairs += [(theme.note, place) for place in cards]
    pairs += [(theme.muted, place) for place in (theme.paper, theme.scope)]
    pairs += [(text, place) for text in (theme.value, theme.grad) for place in (theme.paper, theme.const, "#ffffff")]
    pairs += [(theme.warning, place) for place in (theme.alarm_fill, theme.paper, theme.const)]
    if theme.paper == colours.DARK.paper:
        pairs = [pair for pair in pairs if pair[1] != "#ffffff"]
    assert {pair: ratio for pair in pairs if (ratio := contrast(*pair)) < 4.5} == {}


BLINDNESS = {  # Machado, Oliveira, Fernandes 2009, whole loss of one kind of cone; rows give red, green, blue
    "protanopia": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deuteranopia": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritanopia": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("kind", BLINDNESS)
def test_values_and_gradients_differ_for_every_eye(name, kind):
    theme = colours.THEMES[name]
    seen = [np.clip(np.array(BLINDNESS[kind]) @ linear(colour), 0, 1) for colour in (theme.value, theme.grad)]
    assert np.linalg.norm(lab(seen[0]) - lab(seen[1])) > 25  # 2.3 can just be told apart


def linear(colour: str) -> np.ndarray:
    """A colour as light: red, green, blue."""
    parts = np.array(list(bytes.fromhex(colour[1:]))) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """Light in CIELAB, where distances are those that people see."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.maximum(to_xyz @ light / [0.9505, 1.0, 1.089], 0.0089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [part / 255 for part in bytes.fromhex(colour[1:])]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_derivatives_are_formula_and_number():
    frame = article()
    shown = {(src, dst): wording.derivative(frame, src, dst, arg) for src, dst, arg in frame.graph.edges}
    assert shown[0, 5] == "∂d/∂a = b = 3"
    assert shown[4, 6] == "∂e/∂c = cos(c) = -0.8391"
    assert shown[2, 4] == "∂c/∂add = 2"
    assert shown[6, 7] == "∂f/∂e = -1"


def test_a_derivative_of_an_array_is_summed_up_and_an_unknown_one_is_empty():
    nodes = (Node(0, "x", "input", "input", shape=(9,)), Node(1, "y", "sin", "op", (0,), (9,)))
    frame = Frame(Graph(nodes, (1,)), [None, None], [None, None], EdgeTable({}, {(0, 1, 0): np.arange(9.0)}))
    assert wording.derivative(frame, 0, 1, 0) == "∂y/∂x = 0 … 8"
    assert wording.derivative(Frame(Graph(nodes, (1,)), [None] * 2, [None] * 2), 0, 1, 0) == ""
