"""Every op of the registry over all its samples: first and second derivatives."""

import pytest

import gradviz  # noqa: F401 - registers the ops
from tests.sweeps import check_op, own_ops


@pytest.mark.parametrize("name", sorted(own_ops()))
def test_derivatives_agree_with_finite_differences(name):
    checks = check_op(own_ops()[name])
    assert checks.samples > 0
    print(f"{name}: {checks.first} first, {checks.second} second derivatives")


@pytest.mark.parametrize("name", sorted(own_ops()))
def test_every_op_is_complete(name):
    op = own_ops()[name]
    assert op.summary
    assert op.symbol
    assert len(op.formulas) >= (1 if op.variadic else len(op.vjps))
