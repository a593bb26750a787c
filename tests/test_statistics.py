"""The statistics of arrays, beside ones that are counted element by element."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradviz.tracing.statistics import exponents, norm, statistics

FLOATS = ["<f2", "<f4", "<f8", ">f4", ">f8"]
EXTREMES = [np.longdouble(x) for x in ("1e-4000", "1e4900", "-1e400", "3e-320", "0", "inf", "nan", "-7")]
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)
bits = st.integers() | st.sampled_from([0, 1, -1, 1 << 15, 1 << 23, 1 << 31, 1 << 52, 1 << 63, 0x7FF << 52, 0xFF << 23])
arrays = st.builds(
    lambda dtype, shape, patterns: np.resize(
        np.array([p % (1 << 8 * np.dtype(dtype).itemsize) for p in patterns], f"u{dtype[-1]}").view(dtype), shape
    ),
    st.sampled_from(FLOATS),
    shapes,
    st.lists(bits, min_size=1, max_size=60),
) | hnp.arrays(np.longdouble, shapes, elements=st.sampled_from(EXTREMES), fill=st.nothing())


def naive(array):
    """Count one element after the other, with exact fractions."""
    counts = [0] * 256
    finite = []
    zeros = nans = infs = 0
    for x in array.reshape(-1):
        if np.isnan(x):
            nans += 1
        elif np.isinf(x):
            infs += 1
        else:
            finite.append(x)
            zeros += bool(x == 0)
            if x != 0:
                size = abs(Fraction(*x.as_integer_ratio()))
                counts[next((i for i in range(255) if size < Fraction(2) ** (i - 127)), 255)] += 1
    return counts, (zeros, nans, infs), finite


@given(arrays)
@settings(max_examples=150, deadline=None)
def test_every_count_is_exact(array):
    numbers, counts = statistics(array)
    expected, special, finite = naive(array)
    assert counts.tolist() == expected
    assert counts.dtype == np.uint32
    assert numbers.dtype == np.float64
    assert tuple(numbers[4:]) == special
    assert np.array_equal(exponents(array), counts)
    assert counts.sum() + sum(special) == array.size
    if finite:
        assert (numbers[0], numbers[1]) == (float(min(finite)), float(max(finite)))
        if max(map(abs, map(float, finite))) < 1e300:
            exact = sum(Fraction(*x.as_integer_ratio()) for x in finite) / len(finite)
            largest = max(abs(float(x)) for x in finite)
            assert numbers[2] == pytest.approx(float(exact), rel=1e-6, abs=1e-6 * largest)
    else:
        assert np.isnan(numbers[:3]).all()


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "u8", "i1", "?", "c8", "c16"])
def test_large_arrays_of_every_dtype(dtype):
    rng = np.random.default_rng(1)
    scale = 2.0 ** rng.integers(-14, 14, 70_001)
    numbers = rng.standard_normal(70_001) * scale
    array = (np.abs(numbers) if dtype == "u8" else numbers).astype(dtype)
    numbers, counts = statistics(array)
    sizes = np.abs(array.astype(np.longdouble if array.dtype.kind in "iu" else array.dtype)).astype(np.longdouble)
    expected = np.zeros(256, int)
    nonzero = sizes[sizes > 0]
    np.add.at(expected, np.floor(np.log2(nonzero)).astype(int) + 128, 1)
    assert counts.tolist() == expected.tolist()
    assert numbers[4] == (array == 0).sum()
    assert numbers[3] == pytest.approx(math.sqrt(float((sizes.astype(float) ** 2).sum())), rel=1e-6)
    seen = sizes if array.dtype.kind == "c" else array.astype(float)
    assert numbers[:3] == pytest.approx([seen.min(), seen.max(), seen.mean()], rel=1e-6)


def test_integers_are_not_rounded_into_the_next_bin():
    assert exponents(np.array([2**60 - 1, -(2**63), 2**62], np.int64)).nonzero()[0].tolist() == [128 + 59, 190, 191]


def test_views_that_are_not_contiguous():
    array = np.arange(24.0).reshape(4, 6)[::2, ::-3].T
    assert np.array_equal(exponents(array), exponents(array.copy()))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_norms_neither_overflow_nor_vanish(dtype):
    info = np.finfo(dtype)
    for x in (info.max / 4, info.smallest_subnormal, info.smallest_normal, dtype(1.0)):
        if 0 < float(x) < math.inf:
            assert norm(np.array([x, -x, x, x])) == pytest.approx(2 * float(x), rel=1e-6)
    assert norm(np.full(10_000, 3, dtype)) == pytest.approx(300.0)
    assert norm(np.zeros((0, 3), dtype)) == 0.0
    assert norm(np.array([1, np.inf], dtype)) == math.inf
    assert math.isnan(norm(np.array([1, np.nan], dtype)))


def test_means_do_not_overflow():
    assert statistics(np.full(4, 1.5e308))[0][2] == pytest.approx(1.5e308)
