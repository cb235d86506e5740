"""Non-diffeomorphic volume, with the tetrahedra themselves as oracle."""

from itertools import product
from math import factorial

import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.registration import Registration
from coincide.report.summary import figures
from coincide.scores.digital import non_diffeomorphic_volume
from coincide.scores.evaluate import evaluate
from coincide.scores.regularity import regularity
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Affine

SHAPES = {2: (9, 7), 3: (7, 6, 8)}


def oblique(dim, seed=2):
    """An oblique, left-handed grid with anisotropic voxels."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    turn[:, 0] *= -np.sign(np.linalg.det(turn))
    affine = np.eye(dim + 1)
    affine[:-1, :-1] = turn * [1.5, 0.8, 2.5][:dim]
    return Grid(SHAPES[dim], affine)


def rough(grid, size=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(1, grid.dim, *grid.shape, generator=generator, dtype=torch.float64)


def simplices(dim):
    """Corners of the simplices of both ways to fill a cell, positively ordered."""
    for corner in product((0, 1), repeat=dim):
        steps = [tuple(c ^ (d == axis) for d, c in enumerate(corner)) for axis in range(dim)]
        yield [corner, *steps]
    if dim == 3:
        yield [(0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)]
        yield [(1, 1, 1), (0, 0, 1), (0, 1, 0), (1, 0, 0)]


def by_hand(field, grid):
    """Volume of the simplices that are turned over, averaged over both ways."""
    dim = grid.dim
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    before = grid.to_world(index.reshape(-1, dim)).reshape(index.shape)
    after = before + np.moveaxis(field[0].numpy(), 0, -1)
    total = whole = 0.0
    for corners in simplices(dim):
        cut = [
            tuple(slice(c, n - 1 + c) for c, n in zip(corner, grid.shape, strict=True))
            for corner in corners
        ]

        def volume(points, cut=cut):
            edges = np.stack([points[cut[d + 1]] - points[cut[0]] for d in range(dim)], -1)
            return np.linalg.det(edges) / factorial(dim)

        was, became = volume(before), volume(after)
        total += np.maximum(-became * np.sign(was), 0).sum() / 2
        whole += np.abs(was).sum() / 2
    return total, 100 * total / whole


@pytest.mark.parametrize("dim", [2, 3])
def test_the_folded_simplices_are_summed_up(dim):
    grid = oblique(dim)
    field = rough(grid)
    found = non_diffeomorphic_volume(field, grid)
    np.testing.assert_allclose(found, by_hand(field, grid), rtol=1e-10)
    assert found[1] > 5
    single = non_diffeomorphic_volume(field.float(), grid)
    np.testing.assert_allclose(single, found, rtol=1e-4)


@pytest.mark.parametrize("dim", [2, 3])
def test_nothing_is_folded_by_no_map_or_an_affine_one(dim):
    grid = oblique(dim)
    still = torch.zeros(1, dim, *grid.shape)
    assert non_diffeomorphic_volume(still, grid) == (0.0, 0.0)
    matrix = np.eye(dim + 1)
    matrix[:-1] += 0.3 * np.random.default_rng(1).normal(size=(dim, dim + 1))
    assert np.linalg.det(matrix) > 0
    assert non_diffeomorphic_volume(Affine(matrix).displacement(grid), grid) == (0.0, 0.0)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_mirror_folds_everything(dim):
    grid = oblique(dim)
    mirror = np.eye(dim + 1)
    mirror[0, 0] = -1.5
    volume, percent = non_diffeomorphic_volume(Affine(mirror).displacement(grid).double(), grid)
    assert percent == pytest.approx(150, rel=1e-5)  # half as large again as what it was
    cells = np.prod(np.array(grid.shape) - 1) * np.prod(grid.spacing)
    assert volume == pytest.approx(1.5 * cells, rel=1e-5)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_sheet_pulled_past_the_next_folds_as_much_as_it_went_back(dim):
    affine = np.diag([*(2.0, 1.5, 3.0)[:dim], 1.0])
    grid = Grid(SHAPES[dim], affine)
    field = torch.zeros(1, dim, *grid.shape)
    field[0, 0, 3] = 2.75  # 0.75 mm past the next sheet, which is 2 mm away
    volume, percent = non_diffeomorphic_volume(field, grid)
    across = np.prod([(n - 1) * s for n, s in zip(grid.shape[1:], grid.spacing[1:], strict=True)])
    assert volume == pytest.approx(0.75 * across)
    assert percent == pytest.approx(100 * 0.75 / (2 * (grid.shape[0] - 1)))


@pytest.mark.parametrize("dim", [2, 3])
def test_a_voxel_that_jumps_over_its_neighbour_is_seen(dim):
    # the checkerboard problem: the central difference at a voxel does not look at the voxel itself
    grid = Grid(SHAPES[dim], np.eye(dim + 1))
    field = torch.zeros(1, dim, *grid.shape)
    field[(0, 0, *(n // 2 for n in grid.shape))] = 1.5
    found = regularity(field, grid)
    assert found.folding_percent == 0
    assert found.min_jacobian > 0
    assert found.non_diffeomorphic_volume_mm3 > 0.1
    expected = by_hand(field.double(), grid)
    got = found.non_diffeomorphic_volume_mm3, found.non_diffeomorphic_volume_percent
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_tetrahedron_between_corners_can_fold_alone():
    # that of the corners 111, 001, 010 and 100 is turned over, those at the eight corners are not
    moved = [
        [[[0.0, 0.6, 0.5], [0.6, -0.6, 0.1]], [[0.6, 0.5, 0.1], [-0.2, -0.6, -0.3]]],
        [[[0.3, 0.3, -0.4], [0.1, 0.3, -0.6]], [[-0.3, -0.2, 0.6], [-0.6, -0.5, -0.2]]],
    ]
    grid = Grid((2, 2, 2), np.eye(4))
    field = torch.tensor(moved, dtype=torch.float64).movedim(-1, 0)[None]
    assert regularity(field, grid).folding_corner_percent == 0
    volume, percent = non_diffeomorphic_volume(field, grid)
    assert volume == pytest.approx(0.121 / 12, rel=5e-3)
    np.testing.assert_allclose((volume, percent), by_hand(field, grid), rtol=1e-10)


def test_turned_and_flipped_grids_give_the_same_volume():
    grid = Grid(SHAPES[3], np.diag([1.5, 0.8, 2.5, 1.0]))
    field = rough(grid)
    expected = non_diffeomorphic_volume(field, grid)
    # LIA: the same voxels of the same world, stored along other axes
    order, flipped = (0, 2, 1), (0, 1)
    affine = grid.affine[:, [*order, 3]].copy()
    for axis in flipped:
        affine[:3, 3] += affine[:3, axis] * (grid.shape[order[axis]] - 1)
        affine[:3, axis] *= -1
    other = Grid(tuple(grid.shape[n] for n in order), affine)
    stored = field.permute(0, 1, *(n + 2 for n in order)).flip([n + 2 for n in flipped])
    np.testing.assert_allclose(non_diffeomorphic_volume(stored, other), expected, rtol=1e-10)
    # the whole world turned
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    affine = grid.affine.copy()
    affine[:3] = turn @ affine[:3]
    turned = torch.einsum("ab,nbxyz->naxyz", torch.from_numpy(turn), field)
    np.testing.assert_allclose(
        non_diffeomorphic_volume(turned, Grid(grid.shape, affine)), expected, rtol=1e-10
    )


def test_one_slice_is_measured_as_a_plane_and_one_voxel_folds_nothing():
    flat, deep = Grid((9, 7), np.diag([1.5, 0.8, 1])), Grid((9, 1, 7), np.diag([1.5, 2, 0.8, 1]))
    field = rough(flat)
    solid = torch.zeros(1, 3, 9, 1, 7, dtype=torch.float64)
    solid[0, ::2, :, 0] = field[0]
    area, percent = non_diffeomorphic_volume(field, flat)
    volume, same = non_diffeomorphic_volume(solid, deep)
    assert volume == pytest.approx(2 * area)
    assert same == pytest.approx(percent)
    one = Grid((1, 1, 1), np.eye(4))
    assert non_diffeomorphic_volume(torch.ones(1, 3, 1, 1, 1), one) == (0.0, 0.0)


def test_the_mask_says_where():
    grid = Grid((20, 8, 8), np.eye(4))
    field = torch.zeros(1, 3, *grid.shape)
    field[0, 0, 4, 4, 4] = 2.5
    near, far = torch.zeros(1, 1, *grid.shape), torch.zeros(1, 1, *grid.shape)
    near[:, :, :9], far[:, :, 9:] = 1, 1
    whole = non_diffeomorphic_volume(field, grid)
    assert non_diffeomorphic_volume(field, grid, near)[0] == pytest.approx(whole[0])
    assert non_diffeomorphic_volume(field, grid, near)[1] > 1.9 * whole[1]
    assert non_diffeomorphic_volume(field, grid, far) == (0.0, 0.0)


def test_scores_and_the_page_tell_the_folded_volume():
    grid = Grid((8, 8, 8), np.diag([2.0, 2, 2, 1]))
    field = torch.zeros(1, 3, *grid.shape)
    field[0, 0, 4] = 3.0
    image = Image(torch.rand(1, 1, *grid.shape), grid)
    pair = Alignment(image, image, Displacement(field=field, grid=grid))
    score = evaluate(pair).to_dict()
    folded = score["regularity"]["non_diffeomorphic_volume_mm3"]
    assert folded == pytest.approx(1.0 * 14 * 14)
    assert score["regularity"]["non_diffeomorphic_volume_percent"] == pytest.approx(100 / 14)
    run = Registration(image, image, pair.transform, pair.transform)
    shown = {figure.name: figure.value for figure in figures(run, score)}
    assert shown["Folded volume"] == score["regularity"]["non_diffeomorphic_volume_percent"]
