"""First and second derivatives of every transform, beside finite differences."""

import numpy as np
import pytest
import torch
from torch import nn

from coincide.registry import parts
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Affine, Linear
from coincide.transforms.thin_plate import ThinPlate
from coincide.transforms.transform import Transform
from random_transforms import NAMES, NETWORKS, SHAPES, interior, pair_of, randomised
from worlds import oblique

every_transform = pytest.mark.parametrize("name", NAMES)
both_dimensions = pytest.mark.parametrize("dim", [2, 3])
IMPLICIT = NETWORKS
SMOOTH = ("bspline", "thin_plate", *IMPLICIT, *parts(Linear))
ROUGH = [name for name in NAMES if name not in SMOOTH]


def differences(function, points, step):
    """Central differences of a function of points, the direction in the last axis."""
    columns = []
    for axis in range(points.shape[2]):
        way = torch.zeros(points.shape[2], dtype=points.dtype)
        way[axis] = step
        columns.append((function(points + way) - function(points - way)) / (2 * step))
    return torch.stack(columns, -1)


@every_transform
@both_dimensions
def test_the_jacobian_is_that_of_finite_differences(name, dim):
    grid = oblique(SHAPES[dim])
    both, _ = pair_of(name, grid)
    both = both.double()
    points = torch.cat([interior(grid, 50), interior(grid, 50, seed=1)])
    for transform, where in (
        (both, points),
        (both, points[:1]),
        (randomised("affine", grid, seed=4) @ both, points),
        (both @ randomised("affine", grid, seed=4, size=0.3), points),
    ):
        found = transform.jacobian(where)
        assert found.shape == (len(transform(where)), 50, dim, dim)
        assert found.dtype == torch.float64
        expected = differences(transform, where, 1e-6)
        assert float((found - expected).abs().max()) < 1e-6
    if name != "translation":
        assert float((found - torch.eye(dim)).abs().max()) > 0.02


@pytest.mark.parametrize("name", SMOOTH)
@both_dimensions
def test_the_hessian_is_that_of_finite_differences(name, dim):
    grid = oblique(SHAPES[dim])
    both, _ = pair_of(name, grid)
    both = both.double()
    points = torch.cat([interior(grid, 50), interior(grid, 50, seed=1)])
    bent = randomised("bspline", grid, seed=4, size=0.3).double()
    for transform, where in ((both, points), (both, points[:1]), (both @ bent, points)):
        found = transform.hessian(where)
        assert found.shape == (len(transform(where)), 50, dim, dim, dim)
        expected = differences(transform.jacobian, where, 1e-5)
        size = float(expected.abs().max())
        assert float((found - expected).abs().max()) < 1e-5 * max(size, 1)
        assert torch.allclose(found, found.transpose(-1, -2))
    if name not in parts(Linear):
        assert float(both.hessian(points).abs().max()) > 1e-3
    else:
        assert float(both.hessian(points).abs().max()) == 0


@pytest.mark.parametrize("name", ROUGH)
def test_what_is_linear_between_voxels_refuses_a_second_derivative(name):
    grid = oblique(SHAPES[2])
    transform = randomised(name, grid)
    for one in (transform, transform @ randomised("affine", grid)):
        with pytest.raises(ValueError, match=r"no second derivative; use a bspline, or diff"):
            one.hessian(interior(grid))


@every_transform
@both_dimensions
def test_the_gradient_of_a_jacobian_reaches_every_parameter(name, dim):
    grid = oblique((9, 8, 10)[:dim])
    transform = randomised(name, grid).double().requires_grad_(True)
    points = interior(grid, 20, margin=2)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(1, 20, dim, dim, generator=generator, dtype=torch.float64)
    parameters = [p for p in transform.parameters() if p.numel()]

    def total():
        return (weight * transform.jacobian(points)).sum()

    slopes = torch.autograd.grad(total(), parameters, allow_unused=True)
    for parameter, slope in zip(parameters, slopes, strict=True):
        way = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        start, values = parameter.data, []
        for step in (1e-6, -1e-6):
            parameter.data = start + step * way
            values.append(float(total().detach()))
        parameter.data = start
        found = 0.0 if slope is None else float((slope * way).sum())
        assert found == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-5)


@both_dimensions
@pytest.mark.parametrize("name", ["displacement", "bspline", "thin_plate", "coordinate_network"])
def test_the_jacobian_of_a_chain_can_be_trained_through_its_inner_part(name, dim):
    grid = oblique(SHAPES[dim])
    outer = randomised(name, grid).double()
    inner = randomised("translation", grid, seed=2).double().requires_grad_(True)
    points = interior(grid, 20)
    (found,) = torch.autograd.grad((outer @ inner).jacobian(points).sum(), inner.shift)

    def moved(by):
        return outer.jacobian(inner(points).detach() + by).sum()

    way = torch.full((dim,), 1e-6, dtype=torch.float64)
    expected = (moved(way) - moved(-way)) / 2e-6
    assert float(found.sum()) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("name", ["displacement", "velocity", "bspline_velocity", "symmetric"])
def test_beyond_a_field_nothing_is_stretched_and_on_its_border_it_is_level(name):
    grid = oblique(SHAPES[2])
    transform = randomised(name, grid).double()
    field = transform.displacement(grid)[0]
    last = np.array(grid.shape) - 1
    places = np.array([[-0.7, 3.3], [last[0] + 0.7, 3.3], [-0.3, 3.3], [-0.3, last[1] + 0.3]])
    found = transform.jacobian(torch.tensor(grid.to_world(places))[None])[0]
    to_index, eye = torch.tensor(grid.inverse[:-1, :-1]), torch.eye(2).double()
    torch.testing.assert_close(found[:2], torch.stack([eye, eye]))
    if name != "symmetric":
        # for half a voxel the border continues: only along the border does the field change
        along = (field[:, 0, 4] - field[:, 0, 3])[:, None] * to_index[1]
        torch.testing.assert_close(found[2], eye + along)
        torch.testing.assert_close(found[3], eye)


def test_on_a_voxel_the_field_changes_as_in_the_cell_after_it():
    grid = oblique((6, 5))
    field = torch.randn(1, 2, 6, 5, generator=torch.Generator().manual_seed(0)).double()
    transform = Displacement(field=field, grid=grid)
    for place, (a, b) in {(2, 3): (2, 3), (5, 3): (4, 3), (2, 4): (2, 3)}.items():
        i, j = place
        at = torch.tensor(grid.to_world(np.array([place], float)))[None]
        by_index = torch.stack(
            [field[0, :, a + 1, j] - field[0, :, a, j], field[0, :, i, b + 1] - field[0, :, i, b]],
            -1,
        )
        expected = torch.eye(2).double() + by_index @ torch.tensor(grid.inverse[:-1, :-1])
        torch.testing.assert_close(transform.jacobian(at)[0, 0].detach(), expected)


def test_an_axis_of_one_voxel_stretches_nothing():
    grid = oblique((6, 1, 5))
    transform = Displacement(field=torch.randn(1, 3, 6, 1, 5).double(), grid=grid)
    points = torch.tensor(grid.to_world(np.array([[2.2, 0.2, 1.7]])))[None]
    expected = differences(transform, points, 1e-6)
    torch.testing.assert_close(transform.jacobian(points), expected, rtol=0, atol=1e-6)


def test_what_lies_on_no_grid_yet_is_the_identity():
    points = interior(oblique(SHAPES[3]), 5)
    assert torch.equal(Displacement().jacobian(points), torch.eye(3).double().expand(1, 5, 3, 3))


def test_a_thin_plate_refuses_a_second_derivative_at_its_landmarks():
    landmarks = np.random.default_rng(0).uniform(0, 20, (9, 3))
    spline = ThinPlate.of(landmarks, landmarks + 1)
    assert spline.jacobian(torch.tensor(landmarks)[None]).isfinite().all()
    with pytest.raises(ValueError, match=r"infinite at its landmarks, and 2 of the points"):
        spline.hessian(torch.tensor(landmarks[:2])[None])


class Cubed(Transform):
    """x + x³, of which nothing is registered."""

    def __init__(self, detached=False):
        super().__init__()
        self.factor, self.detached = nn.Parameter(torch.ones(())), detached

    def forward(self, points):
        return points.detach() ** 1 if self.detached else points + self.factor * points**3

    def displacement(self, grid, inner=None):
        raise NotImplementedError

    def inverse(self):
        raise NotImplementedError

    def on(self, grid):
        raise NotImplementedError


def test_a_transform_without_a_form_of_its_own_is_differentiated_by_autograd():
    points = torch.randn(1, 7, 2, generator=torch.Generator().manual_seed(0)).double()
    transform = Cubed()
    expected = torch.diag_embed(1 + 3 * points**2)
    torch.testing.assert_close(transform.jacobian(points), expected)
    second = torch.einsum(
        "bpi,ij,ik->bpijk", 6 * points, torch.eye(2).double(), torch.eye(2).double()
    )
    torch.testing.assert_close(transform.hessian(points), second)
    assert transform.jacobian(points).requires_grad
    with torch.no_grad():
        assert not transform.jacobian(points).requires_grad
        torch.testing.assert_close(transform.hessian(points), second)
    assert not Cubed().requires_grad_(False).hessian(points).requires_grad


def test_what_gives_its_points_no_gradient_is_refused():
    with pytest.raises(ValueError, match=r"no gradient to its points; .*jacobian_at.register"):
        Cubed(detached=True).jacobian(torch.zeros(1, 3, 2))


class Wrapped(Cubed):
    """A field inside a transform that nothing is known of."""

    def __init__(self, field):
        super().__init__()
        self.field = field

    def forward(self, points):
        return self.field(points)


def test_a_second_derivative_that_autograd_does_not_have_is_refused():
    grid = oblique(SHAPES[2])
    field = Wrapped(randomised("displacement", grid).double())
    points = interior(grid, 20)
    with torch.no_grad():
        torch.testing.assert_close(field.jacobian(points), field.field.jacobian(points))
    for ask in (field.jacobian, field.hessian):
        with pytest.raises(ValueError, match=r"Wrapped is computed by _Warp, .*only once"):
            ask(points)
    field.requires_grad_(False)
    torch.testing.assert_close(field.jacobian(points), field.field.jacobian(points))
    with pytest.raises(ValueError, match=r"Wrapped is computed by _Warp"):
        field.hessian(points)


def test_a_chain_of_linear_maps_has_the_jacobian_of_their_product():
    grid = oblique(SHAPES[3])
    first, second = (randomised("affine", grid, seed=seed, size=4) for seed in (1, 2))
    product = Affine(first.numpy() @ second.numpy())
    points = interior(grid, 3)
    torch.testing.assert_close((first @ second).jacobian(points), product.jacobian(points).detach())
