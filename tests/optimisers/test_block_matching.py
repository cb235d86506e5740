"""What block matching promises beside what every optimiser does."""

import numpy as np
import pytest
import torch
from test_optimisers import error, pair

from coincide.objective import objective
from coincide.optimisers.block_matching import BlockMatching, highest_variance, peaks
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.optimisers.optimiser import Problem
from coincide.registry import build
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.deformations import random_affine
from coincide.synthetic.phantoms import centred, textured
from coincide.transforms.linear import Affine
from coincide.transforms.transform import Transform

SHAPE = (40, 38, 36)
LEVELS = (Level(4, 10, 0), Level(2, 10, 0))


def ball(grid: Grid, centre: np.ndarray, radius: float) -> torch.Tensor:
    """A bright ball with a soft rim, (1, 1, *S)."""
    distance = torch.linalg.norm(grid.points()[0] - torch.as_tensor(centre), dim=-1)
    return (0.5 + (radius - distance) / 2).clamp(0, 1).float().reshape(1, 1, *grid.shape)


def truth_of(kind: str, grid: Grid) -> Affine:
    return random_affine(grid, degrees=5, shift=3, scale=0.03 if kind == "affine" else 0.0, seed=3)


def with_outlier(kind: str) -> tuple[Image, Image, Transform]:
    """A body under a linear map, and in it a ball that went 14 mm its own way."""
    grid = centred(SHAPE, 2.0)
    truth = truth_of(kind, grid)
    fixed, moving, _ = pair(SHAPE, spacing=2.0, truth=truth, seed=3)
    here = np.array([8.0, -6.0, 4.0])
    with torch.no_grad():
        there = truth(torch.as_tensor(here)[None, None])[0, 0].numpy()
    there[1] += 14
    fixed = fixed.with_data(fixed.data + 4 * ball(grid, here, 11.0))
    return fixed, moving.with_data(moving.data + 4 * ball(grid, there, 11.0)), truth


@pytest.mark.parametrize(
    ("kind", "cost"), [("rigid", "mse"), ("affine", "mse"), ("affine", "lncc(radius=2)")]
)
def test_what_moves_on_its_own_does_not_pull_the_map(kind, cost):
    fixed, moving, truth = with_outlier(kind)
    errors = {}
    for name in ("block_matching", "lbfgs"):
        found = optimise(fixed, moving, kind, objective=cost, optimiser=name, levels=LEVELS)
        errors[name] = error(found.transform, truth, fixed.grid, 5).mean()
    assert errors["block_matching"] < 0.1 * 2.0
    assert errors["lbfgs"] > 1.5 * errors["block_matching"]


@pytest.mark.parametrize("kind", ["translation", "rigid", "similarity", "affine"])
def test_without_outliers_it_finds_what_lbfgs_finds(kind):
    grid = centred(SHAPE, 2.0)
    truth = truth_of(kind, grid)
    if kind == "translation":
        matrix = np.eye(4)
        matrix[:-1, -1] = [3.0, -5.0, 2.5]
        truth = Affine(matrix)
    fixed, moving, _ = pair(SHAPE, spacing=2.0, truth=truth, seed=3)
    found = {
        name: optimise(
            fixed, moving, kind, objective="mse", optimiser=name, levels=LEVELS
        ).transform
        # without a limit, lbfgs leaves the image where nothing is left to differ
        for name in ("block_matching", "lbfgs(longest=3.0)")
    }
    start = error(build(kind).on(grid), truth, grid, 5).mean()
    errors = {name: error(transform, truth, grid, 5).mean() for name, transform in found.items()}
    assert start > 3
    assert errors["block_matching"] < 0.15 * 2.0
    assert error(found["block_matching"], found["lbfgs(longest=3.0)"], grid, 5).mean() < 0.2 * 2.0


def test_contrast_may_be_turned_round():
    fixed, moving, truth = pair(SHAPE, spacing=2.0, truth=truth_of("rigid", centred(SHAPE, 2.0)))
    other = moving.with_data(1 - 0.5 * moving.data)
    found = optimise(
        fixed, other, "rigid", objective="nmi", optimiser="block_matching", levels=LEVELS
    )
    assert error(found.transform, truth, fixed.grid, 5).mean() < 0.25 * 2.0


@pytest.mark.parametrize("shape", [(17, 14), (13, 12, 9)])
def test_blocks_of_largest_variance_are_chosen_inside_the_mask(shape):
    image = textured(shape, seed=2).image
    mask = torch.ones_like(image.data)
    mask[:, :, :3] = 0
    starts = highest_variance(image.with_mask(mask), 0.5)
    data, dim = image.numpy(), len(shape)
    boxes = [np.array(b) * 4 for b in np.ndindex(*(n // 4 for n in shape))]
    spread = [data[tuple(slice(a, a + 4) for a in b)].var() * (b[0] > 0) for b in boxes]
    best = sorted(spread)[::-1][: -(-len(boxes) // 2)]
    found = [data[tuple(slice(a, a + 4) for a in b)].var() for b in starts]
    assert starts.shape == (sum(v > 0 for v in best), dim)
    assert starts[:, 0].min() >= 4
    assert np.allclose(sorted(found), sorted(v for v in best if v > 0))


@pytest.mark.parametrize("dim", [2, 3])
def test_the_peak_of_a_parabola_is_found_between_voxels(dim):
    peak = np.array([1.3, -2.4, 0.2])[:dim]
    at = np.stack(np.meshgrid(*(np.arange(-4, 5),) * dim, indexing="ij"), -1)
    scores = (0.9 - 0.005 * ((at - peak) ** 2).sum(-1))[None].astype(np.float32)
    unknown = np.full_like(scores, -1)
    offsets, found = peaks(np.concatenate([scores, unknown]))
    assert np.allclose(offsets[0], peak, atol=1e-3)
    assert found.tolist() == [True, False]


def test_it_ends_when_nothing_moves():
    fixed = textured((24, 22, 20)).image
    result = optimise(
        fixed,
        fixed,
        "affine",
        objective="mse",
        optimiser="block_matching",
        levels=(Level(0, 9, 0),),
    )
    assert len(result.history) == 1
    with torch.no_grad():
        assert float(result.transform.displacement(fixed.grid).abs().max()) < 0.02


@pytest.mark.parametrize("transform", ["displacement", "bspline"])
def test_it_says_which_transforms_it_moves(transform):
    fixed, moving, _ = pair((12, 12))
    with pytest.raises(ValueError, match=r"block_matching moves linear transforms .* use lbfgs"):
        optimise(fixed, moving, transform, objective="mse", optimiser="block_matching")


def test_it_says_that_it_takes_one_pair_of_one_channel():
    fixed, _, _ = pair((12, 12))
    twice = fixed.with_data(fixed.data.repeat(1, 2, 1, 1))
    moved = build("rigid").on(fixed.grid)
    with pytest.raises(ValueError, match=r"one pair of one channel, not .*\(1, 2\) and \(1, 1\)"):
        BlockMatching().start(Problem(twice, fixed, moved, objective("mse")))
