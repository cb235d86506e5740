"""A batch of pairs is what each pair is alone, for every transform."""

import numpy as np
import pytest
import torch

from coincide.alignment import pulled
from coincide.space.image import Image
from coincide.transforms.linear import Affine, Rigid
from coincide.transforms.velocity import Velocity
from random_transforms import MARGIN, NAMES, NETWORKS, SHAPES, inner, interior, pair_of, randomised
from worlds import noise, oblique

every_transform = pytest.mark.parametrize("name", NAMES)
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def alike(found, expected, gap=1e-6):
    """Whether a batch is its pairs, one after the other."""
    expected = torch.cat(list(expected))
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < gap
    assert float((expected[0] - expected[1]).abs().max()) > 1e-2


@every_transform
@both_dimensions
def test_points_of_a_batch_go_where_they_go_alone(name, dim):
    grid = oblique(SHAPES[dim])
    both, each = pair_of(name, grid)
    points = torch.cat([interior(grid, 60), interior(grid, 60, seed=1)])
    alike(both(points), [one(points[b : b + 1]) for b, one in enumerate(each)])
    # one set of points for two pairs, and two sets for one
    if name not in NETWORKS:
        alike(both(points[:1]), [one(points[:1]) for one in each])
    alike(each[0](points), [each[0](points[:1]), each[0](points[1:])])


@every_transform
@both_dimensions
def test_the_displacement_of_a_batch_is_that_of_each_pair(name, dim):
    grid = oblique(SHAPES[dim])
    both, each = pair_of(name, grid)
    small = grid.crop((MARGIN,) * dim, [n - MARGIN for n in grid.shape])
    first = noise(small.shape, seed=5, sigma=2, channels=dim, batch=2)
    if name not in NETWORKS:
        alike(both.displacement(grid), [one.displacement(grid) for one in each])
        alike(both.displacement(small), [one.displacement(small) for one in each])
        alike(both.displacement(small, first[:1]), [o.displacement(small, first[:1]) for o in each])
    alike(
        both.displacement(small, first),
        [one.displacement(small, first[b : b + 1]) for b, one in enumerate(each)],
    )
    alike(
        each[0].displacement(small, first),
        [each[0].displacement(small, first[b : b + 1]) for b in range(2)],
    )


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NETWORKS])
@both_dimensions
def test_the_inverse_of_a_batch_is_that_of_each_pair(name, dim):
    grid = oblique(SHAPES[dim])
    both, each = pair_of(name, grid, size=0.6)
    points = interior(grid)
    # the grid of a thin plate's inverse, and with it where its iteration starts, is the batch's
    gap = 0.01 if name == "thin_plate" else 1e-6
    alike(both.inverse()(points), [one.inverse()(points) for one in each], gap)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NETWORKS])
@both_dimensions
def test_a_batch_on_another_grid_is_that_of_each_pair(name, dim):
    grid = oblique(SHAPES[dim])
    both, each = pair_of(name, grid.shrink((2,) * dim))
    points = interior(grid)
    alike(both.on(grid)(points), [one.on(grid)(points) for one in each])


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NETWORKS])
@both_dimensions
def test_the_derivatives_of_a_batch_are_those_of_each_pair(name, dim):
    grid = oblique(SHAPES[dim])
    both, each = pair_of(name, grid)
    points = torch.cat([interior(grid, 60), interior(grid, 60, seed=1)])
    found = both.jacobian(points)
    expected = [one.jacobian(points[b : b + 1]) for b, one in enumerate(each)]
    assert found.shape == (2, 60, dim, dim)
    assert float((found - torch.cat(expected)).abs().max()) < 1e-6


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NETWORKS])
@both_dimensions
def test_a_chain_of_a_batch_and_one_is_that_of_each_pair(name, dim):
    grid = oblique(SHAPES[dim])
    both, each = pair_of(name, grid)
    one = randomised("affine", grid, seed=3)
    points = interior(grid)
    small = grid.crop((6,) * dim, [n - 6 for n in grid.shape])
    for chain, alone in (
        (both @ one, [pair @ one for pair in each]),
        (one @ both, [one @ pair for pair in each]),
        (both @ both, [pair @ pair for pair in each]),
    ):
        alike(chain(points), [a(points) for a in alone])
        alike(chain.displacement(small), [a.displacement(small) for a in alone], 2e-6)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NETWORKS])
@both_dimensions
def test_the_gradient_of_a_batch_is_that_of_each_pair(name, dim):
    grid = oblique(SHAPES[dim])
    both, each = pair_of(name, grid)
    small = grid.crop((MARGIN,) * dim, [n - MARGIN for n in grid.shape])
    weight = noise(small.shape, seed=3, sigma=0, batch=2, channels=dim)

    def slopes(transform, part):
        transform.requires_grad_(True)
        parameters = [p for p in transform.parameters() if p.numel()]
        total = (part * transform.displacement(small)).sum()
        return torch.autograd.grad(total, parameters)

    found = slopes(both, weight)
    alone = [slopes(one, weight[b : b + 1]) for b, one in enumerate(each)]
    for mine, *theirs in zip(found, *alone, strict=True):
        expected = torch.cat(theirs)
        torch.testing.assert_close(
            mine, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())
        )


@both_dimensions
def test_a_warped_batch_is_each_image_warped_alone_also_by_linear_maps_of_chains(dim):
    grid = oblique(SHAPES[dim])
    image = Image(noise(SHAPES[dim], batch=2, sigma=1), grid)
    both, each = pair_of("affine", grid)
    field = randomised("displacement", grid)
    for chain, alone in ((both, each), (both @ field, [one @ field for one in each])):
        found = pulled(image, chain.requires_grad_(False), grid).data
        for b, one in enumerate(alone):
            part = Image(image.data[b : b + 1], grid)
            expected = pulled(part, one.requires_grad_(False), grid).data
            assert float((found[b] - expected[0])[inner(grid)[1:]].abs().max()) < 1e-4


@both_dimensions
@pytest.mark.parametrize("rescale", [0.1, 30.0])
def test_a_velocity_is_integrated_as_if_its_pair_were_alone_however_fast_the_other(dim, rescale):
    grid = oblique(SHAPES[dim])
    slow = 1.5 * noise(grid.shape, seed=1, sigma=3, channels=dim)
    fast = rescale * noise(grid.shape, seed=2, sigma=3, channels=dim)
    batch = Velocity(field=torch.cat([slow, fast]), grid=grid).requires_grad_(False)
    found = batch.displacement(grid)
    for b, field in enumerate((slow, fast)):
        alone = Velocity(field=field, grid=grid).requires_grad_(False).displacement(grid)
        assert float((found[b] - alone[0]).abs().max()) < 1e-6


def matrices(dim, count=2):
    random = np.random.default_rng(0)
    made = np.tile(np.eye(dim + 1), (count, 1, 1))
    made[:, :-1] += 0.2 * random.standard_normal((count, dim, dim + 1))
    made[:, :-1, -1] *= 50
    return made


@both_dimensions
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_a_batch_of_matrices_is_a_batch_of_maps(dim, kind):
    given = matrices(dim)
    grid = oblique(SHAPES[dim])
    both = Affine(given if kind == "array" else torch.tensor(given), centre=grid.centre)
    assert both.base.shape == (2, dim, dim)
    np.testing.assert_allclose(both.matrix().detach(), given, atol=1e-12)
    np.testing.assert_allclose(both.on(grid).matrix().detach(), given, atol=1e-12)
    np.testing.assert_allclose(both.inverse().matrix().detach(), np.linalg.inv(given), atol=1e-12)
    for b, one in enumerate(given):
        # one pair alone is the same to the bit
        alone = Affine(one, centre=grid.centre)
        assert torch.equal(both.matrix()[b], alone.matrix()[0])
        assert torch.equal(both.inverse().matrix()[b], alone.inverse().matrix()[0])
        assert torch.equal(both.on(grid).matrix()[b], alone.on(grid).matrix()[0])


def test_a_batch_of_maps_is_not_one_array():
    with pytest.raises(ValueError, match=r"batch of 2 linear maps, .*matrix\(\) gives all"):
        Affine(matrices(3)).numpy()


@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 3, 4), (1, 1, 3, 3)])
def test_a_matrix_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(D\+1, D\+1\), or \(B, D\+1, D\+1\) .*got"):
        Rigid(np.zeros(shape))
