import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from coincide.transforms.bspline_basis import basis, gram, refinement, spread

counts = pytest.mark.parametrize("count", [4, 5, 9])
orders = pytest.mark.parametrize("order", [0, 1, 2])


def spline(coefficients, *, order=0):
    """SciPy's cubic spline whose control point n lies at position n."""
    knots = np.arange(len(coefficients) + 4) - 2.0
    return (
        BSpline(knots, coefficients, 3).derivative(order)
        if order
        else BSpline(knots, coefficients, 3)
    )


@counts
@orders
def test_values_and_derivatives_are_those_of_scipy(count, order):
    positions = np.linspace(1, count - 2, 37)
    expected = spline(np.eye(count), order=order)(positions)
    assert np.abs(spread(positions, count, order) - expected).max() < 1e-12


@counts
def test_nothing_is_moved_outside_the_domain(count):
    outside = np.array([-3, 0.5, 0.999, count - 1.999, count + 2])
    assert not spread(outside, count).any()


def test_the_torch_weights_are_the_rows_of_the_matrix():
    t = np.linspace(0, 0.99, 12)
    assert np.allclose(basis(torch.tensor(t)).numpy(), spread(1 + t, 4), atol=1e-14)


@counts
@orders
def test_products_are_integrated_exactly(count, order):
    nodes, weights = np.polynomial.legendre.leggauss(8)
    cells = np.arange(1, count - 2)
    x = (cells[:, None] + (nodes + 1) / 2).ravel()
    values = spline(np.eye(count), order=order)(x)
    expected = np.einsum("xm,xn,x->mn", values, values, np.tile(weights / 2, len(cells)))
    assert np.abs(gram(count, order) - expected).max() < 1e-12


@counts
def test_refinement_is_the_same_spline(count):
    coefficients = np.random.default_rng(0).standard_normal(count)
    fine = refinement(count) @ coefficients
    assert len(fine) == 2 * count - 3
    x = np.linspace(1, count - 2, 61)
    assert np.abs(spline(fine)((x - 1) * 2 + 1) - spline(coefficients)(x)).max() < 1e-12
