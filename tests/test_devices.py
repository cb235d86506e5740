"""Everything that an optimisation does gives the same on another device as on the CPU."""

import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.kernels.difference import mean_square_force
from coincide.kernels.update import exponential
from coincide.kernels.warp import force_along
from coincide.objective import Penalty, Similarity, Term
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.predictors.predictor import Predictor
from coincide.presets.preset import PRESETS
from coincide.register import register
from coincide.registry import build, parts
from coincide.scores.regularity import regularity
from coincide.space.sampling import resample
from coincide.transforms.transform import Transform
from elsewhere import DEVICE, There, elsewhere
from worlds import SHAPES, image, noise, oblique

flat, solid = (pytest.mark.parametrize("dim", [n], ids=[f"{n}-D"]) for n in (2, 3))
DEFORMATIONS = [
    "displacement",
    "displacement(spacing=3.0)",
    "velocity",
    "velocity(spacing=3.0)",
    "bspline(spacing=6.0)",
    "bspline_velocity(spacing=6.0)",
]


def pair(dim):
    """Two noisy images on different grids, one of them masked."""
    fixed = image(SHAPES[dim], seed=1)
    moving = image(tuple(n + 2 for n in SHAPES[dim]), seed=2)
    mask = torch.ones_like(fixed.data)
    mask[:, :, 3] = 0
    return fixed.with_mask(mask), moving


def placed(text, grid):
    """A transform on a grid with parameters that are not zero."""
    transform = build(text, Transform).on(grid)
    for n, parameter in enumerate(p for p in transform.parameters() if p.numel()):
        values = noise(parameter.shape, seed=n, sigma=0, dtype=torch.float64).view_as(parameter)
        parameter.data += values.to(parameter.dtype)
    return transform


def same(found, expected, tolerance=1e-4):
    assert isinstance(found, There)
    size = max(float(expected.detach().abs().max()), 1e-6)
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=tolerance * size)


def costs_and_slopes(term, transform, fixed, moving):
    value = term(Alignment(fixed, moving, transform)).sum()
    parameters = [p for p in transform.parameters() if p.numel()]
    return value, torch.autograd.grad(value, parameters)


@pytest.mark.parametrize("name", [*parts(Similarity), *parts(Penalty)])
@solid
def test_every_term_and_its_gradient(name, dim):
    fixed, moving = pair(dim)
    term, transform = build(name, Term), placed("displacement", fixed.grid)
    expected, slopes = costs_and_slopes(term, transform, fixed, moving)
    with elsewhere():
        there = fixed.to(DEVICE), moving.to(DEVICE)
        found, moved = costs_and_slopes(term, transform.to(DEVICE), *there)
        same(found, expected, 1e-3)
        for one, other in zip(moved, slopes, strict=True):
            same(one, other, 1e-3)


@pytest.mark.parametrize("text", [*DEFORMATIONS, "rigid", "affine", "similarity", "translation"])
@solid
def test_every_transform(text, dim):
    grid, other = oblique(SHAPES[dim]), oblique(SHAPES[dim], seed=1)
    transform = placed(text, grid)
    points = torch.as_tensor(other.points()).float()
    inner = noise(SHAPES[dim], seed=5, channels=dim)
    results = [
        transform(points),
        transform.displacement(grid),
        transform.displacement(other),
        transform.displacement(other, inner),
    ]
    back = transform.inverse()(points)
    with elsewhere():
        transform = transform.to(DEVICE)
        points, inner = points.to(DEVICE), inner.to(DEVICE)
        found = [
            transform(points),
            transform.displacement(grid),
            transform.displacement(other),
            transform.displacement(other, inner),
        ]
        for one, expected in zip(found, results, strict=True):
            same(one, expected.to(one.dtype))
        finer = transform.on(grid)
        same(finer.to(DEVICE).displacement(grid), results[1])
        inverse = transform.inverse().to(DEVICE)
        same(inverse(points), back.to(points.dtype), 1e-3)


@pytest.mark.parametrize("name", parts(Predictor))
@solid
def test_every_predictor(name, dim):
    predictor = build(f"{name}(dim={dim}, spacing=1.5)", Predictor).requires_grad_(False)
    for values in predictor.parameters():
        values += 0.02 * noise((1, values.numel()), seed=1, sigma=0).view_as(values)
    weight = 0.3 if predictor.conditional else None
    fixed, moving = pair(dim)
    expected = predictor(fixed, moving, weight).displacement(fixed.grid)
    assert float(expected.abs().max()) > 0.01
    with elsewhere():
        found = predictor.to(DEVICE)(fixed.to(DEVICE), moving.to(DEVICE), weight)
        same(found.displacement(fixed.grid), expected, 1e-3)


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "cubic", "label"])
@solid
def test_every_interpolation(interpolation, dim):
    fixed, moving = pair(dim)
    field = noise(SHAPES[dim], seed=5, channels=dim)
    expected = resample(moving, fixed.grid, field, interpolation=interpolation)
    with elsewhere():
        found = resample(
            moving.to(DEVICE), fixed.grid, field.to(DEVICE), interpolation=interpolation
        )
        same(found.data, expected.data)
        same(found.mask, expected.mask)


@pytest.mark.parametrize(
    ("transform", "optimiser"),
    [
        ("displacement", "compositive"),
        ("displacement(spacing=3.0)", "adam"),
        ("velocity", "descent(first=0.5)"),
        ("bspline(spacing=6.0)", "adam"),
        ("bspline_velocity(spacing=6.0)", "adam"),
        ("affine", "lbfgs"),
    ],
)
@flat
def test_every_optimiser(transform, optimiser, dim):
    fixed, moving = pair(dim)
    settings = {
        "objective": "ncc + 0.01*bending" if transform != "affine" else "ncc",
        "optimiser": optimiser,
        "levels": (Level(2, 3), Level(0, 2)),
    }
    expected = optimise(fixed, moving, transform, **settings)
    with elsewhere():
        found = optimise(fixed.to(DEVICE), moving.to(DEVICE), transform, **settings)
        costs = [[step.cost for step in run.history] for run in (found, expected)]
        assert costs[0] == pytest.approx(costs[1], rel=1e-3)
        for parameter in found.transform.parameters():
            assert isinstance(parameter.data, There)


@solid
def test_the_force_along_a_displacement(dim):
    fixed, _ = pair(dim)
    field = noise(SHAPES[dim], seed=5, sigma=2, channels=dim)
    slope, metric = noise(SHAPES[dim], seed=6), np.eye(dim)
    expected = force_along(slope, fixed.data, field, metric, out=torch.empty_like(field))
    with elsewhere():
        there = slope.to(DEVICE), fixed.data.to(DEVICE), field.to(DEVICE)
        same(force_along(*there, metric, out=torch.empty_like(there[2])), expected)


@solid
def test_the_pull_of_the_mean_square(dim):
    one, other = (noise(SHAPES[dim], seed=n, channels=3) for n in (1, 2))
    mask, metric = torch.ones_like(one[:, :1]), np.eye(dim)
    force = torch.empty(1, dim, *SHAPES[dim])
    value = mean_square_force(one, other, mask, metric, out=force)
    with elsewhere():
        there = [t.to(DEVICE) for t in (one, other, mask)]
        out = torch.empty_like(force).to(DEVICE)
        same(mean_square_force(*there, metric, out=out), value)
        same(out, force)


@flat
def test_what_is_measured_of_a_field(dim):
    fixed, _ = pair(dim)
    field = noise(SHAPES[dim], seed=5, channels=dim)
    expected = regularity(field, fixed.grid)
    with elsewhere():
        assert regularity(field.to(DEVICE), fixed.grid) == expected


@flat
def test_the_whole_of_a_registration(dim):
    fixed = image((24, 22, 20)[:dim], seed=1, sigma=2.5)
    moving = fixed.with_data(fixed.data.roll(1, 2))
    settings = {
        "objective": "lncc(radius=2) + 0.1*bending",
        # few steps: of fixed length, they let rounding grow where the images say little; and the
        # slope between voxels jumps at each, where all begin and rounding would take a side
        "preset": PRESETS["brain-multimodal"].with_steps(6, 4),
    }
    expected = register(fixed, moving, "displacement", **settings, device="cpu")
    with elsewhere():
        found = register(fixed, moving, "displacement", **settings, device=str(DEVICE))
    points = fixed.grid.points()
    there, here = (r.transform(points) for r in (found, expected))
    assert not isinstance(there, There)
    assert float((there - here).norm(dim=-1).mean()) < 0.1
    lowest = [min(step.cost for step in r.history if step.level == 1) for r in (found, expected)]
    assert lowest[0] == pytest.approx(lowest[1], abs=2e-3)
    assert float((here - points).norm(dim=-1).max()) > 0.5


@solid
def test_the_exponential_and_its_gradient(dim):
    velocity = noise(SHAPES[dim], seed=5, sigma=2, channels=dim).requires_grad_()
    geometry = np.eye(dim, dim + 1), np.eye(dim), 3
    expected = exponential(velocity, *geometry)
    (slope,) = torch.autograd.grad(expected.square().sum(), velocity)
    with elsewhere():
        velocity = velocity.detach().to(DEVICE).requires_grad_()
        found = exponential(velocity, *geometry)
        same(found, expected)
        same(torch.autograd.grad(found.square().sum(), velocity)[0], slope)


def test_devices_are_never_mixed_by_accident():
    with elsewhere():
        there = torch.arange(4.0, device=DEVICE)
        with pytest.raises(RuntimeError, match="two devices"):
            there + torch.ones(4)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        assert (there * 2).cpu().tolist() == [0, 2, 4, 6]
