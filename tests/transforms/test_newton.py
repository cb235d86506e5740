from itertools import pairwise

import numpy as np
import pytest
import torch

from coincide.files.itk import read_transform, write_transform
from coincide.transforms.displacement import Displacement
from coincide.transforms.newton import Newton
from coincide.transforms.siren import Siren
from random_transforms import interior, randomised, woken
from worlds import oblique

GRID = oblique((20, 22, 18), spacing=3.0)


def bent(size=2.0):
    transform = woken(Siren(width=32, omega=6.0).on(GRID), size=size)
    return transform.double().requires_grad_(False)


def test_there_and_back_again_misses_by_less_than_a_nanometre():
    transform, points = bent(), interior(GRID)
    assert float((transform(points) - points).norm(dim=-1).mean()) > 1
    assert float(torch.linalg.det(transform.jacobian(points)).min()) > 0.2
    inverse = transform.inverse()
    assert float((transform(inverse(points)) - points).abs().max()) < 1e-6
    assert float(inverse.residual(points).max()) < 1e-6
    assert inverse.inverse() is transform


def test_errors_are_squared_from_step_to_step():
    transform, points = bent(), interior(GRID)
    truth = Newton(transform)(points)
    errors = []
    for steps in (0, 1, 2):
        with torch.no_grad():
            found = Newton(transform, steps).solved(points, truth + 2.0)
        errors.append(float((found - truth).norm(dim=-1).mean().log()))
    first, second = (b - a for a, b in pairwise(errors))
    assert errors[2] > np.log(1e-12)  # above what rounding leaves
    assert second / first > 1.8


def test_one_step_is_the_taylor_expansion_of_first_order():
    transform, points = bent(), interior(GRID)
    near = transform.inverse()(points) + 0.3
    with torch.no_grad():
        found = Newton(transform, 1).solved(points, near)
    slope = torch.linalg.inv(transform.jacobian(near))
    expected = near + (slope @ (points - transform(near))[..., None])[..., 0]
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", ["affine", "bspline", "thin_plate", "velocity", "displacement"])
def test_any_transform_with_a_jacobian_can_be_inverted(name):
    grid = oblique((17, 18, 16))
    transform = randomised(name, grid, size=0.4)
    points = interior(grid)
    assert float(Newton(transform).residual(points).max()) < 1e-6


def test_derivatives_of_the_inverse_are_those_of_finite_differences():
    inverse, points = bent().inverse(), interior(GRID, 30)
    first, second = inverse.jacobian(points), inverse.hessian(points)
    for axis in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[axis] = 1e-4
        slope = (inverse(points + step) - inverse(points - step)) / 2e-4
        curve = (inverse.jacobian(points + step) - inverse.jacobian(points - step)) / 2e-4
        torch.testing.assert_close(first[..., axis], slope, atol=1e-6, rtol=0)
        torch.testing.assert_close(second[..., axis], curve, atol=1e-6, rtol=0)


def test_a_gradient_reaches_the_weights_through_the_inverse():
    transform, points = bent().requires_grad_(True), interior(GRID, 30)
    held = transform.network.last.bias
    transform.inverse()(points).sum().backward()
    slope = float(held.grad[1])
    with torch.no_grad():
        sums = []
        for change in (1e-6, -1e-6):
            held[1] += change
            sums.append(float(transform.inverse()(points).sum()))
            held[1] -= change
    assert slope == pytest.approx((sums[0] - sums[1]) / 2e-6, rel=1e-5)


def test_where_space_folds_the_residual_says_so():
    transform, points = bent(size=40.0), interior(GRID)
    assert float(torch.linalg.det(transform.jacobian(points)).min()) < 0
    inverse = transform.inverse()
    assert torch.isfinite(inverse(points)).all()
    left = inverse.residual(points)
    torch.testing.assert_close(left, (transform(inverse(points)) - points).norm(dim=-1))


def test_the_displacement_of_the_inverse_is_how_far_points_come_back():
    inverse = bent().inverse()
    fine = oblique((50, 45, 30))
    expected = (inverse(fine.points()) - fine.points()).transpose(1, 2).reshape(1, 3, *fine.shape)
    assert float((inverse.displacement(fine) - expected).norm(dim=1).max()) < 0.01


def test_a_file_gives_back_the_inverse_itself(tmp_path):
    inverse, points = bent().float().inverse(), interior(GRID)
    write_transform(inverse, tmp_path / "t.h5", grid=GRID)
    again = read_transform(tmp_path / "t.h5")
    assert isinstance(again, Newton)
    assert torch.equal(again(points), inverse(points))
    chain = randomised("affine", GRID) @ inverse
    write_transform(chain, tmp_path / "chain.h5", grid=GRID)
    assert float((read_transform(tmp_path / "chain.h5")(points) - chain(points)).abs().max()) < 1e-9


def test_the_inverse_of_a_field_is_read_back_as_a_field(tmp_path):
    inverse, points = Newton(randomised("displacement", GRID, size=0.5)), interior(GRID)
    write_transform(inverse, tmp_path / "t.h5", grid=GRID)
    again = read_transform(tmp_path / "t.h5")
    assert isinstance(again, Displacement)
    assert float((again(points) - inverse(points)).abs().max()) < 0.3
