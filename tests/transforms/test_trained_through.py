"""A transform made of what a network computed: gradients reach the network."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from coincide.alignment import Alignment, pulled
from coincide.objective import objective
from coincide.space.image import Image
from coincide.transforms.bspline import BSpline
from coincide.transforms.bspline_velocity import BSplineVelocity
from coincide.transforms.displacement import Displacement, inverted
from coincide.transforms.linear import Affine, Rigid, SimilarityTransform, Translation
from coincide.transforms.symmetric import Symmetric
from coincide.transforms.thin_plate import ThinPlate
from coincide.transforms.velocity import Velocity
from random_transforms import interior, randomised
from worlds import noise, oblique

SHAPES = {2: (17, 19), 3: (11, 12, 13)}
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


class Tiny(nn.Module):
    """A convolution, and one number for each of `count` outputs of any size."""

    def __init__(self, dim, count, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        kind = nn.Conv2d if dim == 2 else nn.Conv3d
        self.layer = kind(2, count, 3, padding=1)

    def forward(self, pair, shape):
        """Values (1, count, *shape)."""
        return nn.functional.interpolate(torch.tanh(self.layer(pair)), size=shape)


def matrices(values, dim, kind):
    """Matrices (1, D+1, D+1) near the identity that are of the kind, from (1, C, ...) values."""
    mean = values.flatten(2).mean(2).double()
    top = torch.zeros(1, dim, dim + 1, dtype=torch.float64)
    top = torch.cat([top[:, :, :-1], 5 * mean[:, :dim, None]], 2)
    if kind is not Translation:
        turn = torch.zeros(1, dim + 1, dim + 1, dtype=torch.float64)
        turn[:, 0, 1], turn[:, 1, 0] = 1, -1
        top = top + 0.02 * mean[:, dim, None, None] * turn[:, :-1]
    bottom = torch.zeros(1, 1, dim + 1, dtype=torch.float64)
    return torch.eye(dim + 1).double() + torch.cat([top, bottom], 1)


def made(name, network, pair, grid):
    """A transform of that name of what the network says about two images."""
    dim = grid.dim
    kinds = {
        "affine": Affine,
        "rigid": Rigid,
        "similarity": SimilarityTransform,
        "translation": Translation,
    }
    if name in kinds:
        return kinds[name](matrices(network(pair, (4,) * dim), dim, kinds[name]))
    start = {"bspline": BSpline, "bspline_velocity": BSplineVelocity, "thin_plate": ThinPlate}
    if name not in start:
        field = 3 * network(pair, grid.shape)
        if name == "symmetric":
            first, second = field[:, :dim], field[:, dim:]
            return Symmetric(fixed_half=first, moving_half=second, grid=grid)
        kind = {"displacement": Displacement, "velocity": Velocity}[name]
        return kind(field=field[:, :dim], grid=grid)
    empty = start[name](8.0).on(grid)
    if name == "thin_plate":
        shifts = 3 * network(pair, (len(empty.landmarks),) + (1,) * (dim - 1)).flatten(2)[:, :dim]
        return ThinPlate(landmarks=empty.landmarks, shifts=shifts, grid=grid)
    values = 3 * network(pair, empty.grid.shape)[:, :dim]
    if name == "bspline":
        return BSpline(8.0, coefficients=values, grid=empty.grid)
    return BSplineVelocity(8.0, coefficients=values, grid=empty.grid, field_grid=grid)


NAMES = [
    "displacement",
    "velocity",
    "symmetric",
    "bspline",
    "bspline_velocity",
    "thin_plate",
    "affine",
    "rigid",
    "similarity",
    "translation",
]
every_transform = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def closely(monkeypatch):
    """A thin plate, whose inverse is a field of float32, inverted as exactly as that allows."""
    exact = partial(inverted, steps=100, tolerance=3e-6)
    monkeypatch.setattr("coincide.transforms.thin_plate.inverted", exact)


def problem(dim, dtype=torch.float32):
    """Two images on one grid, the second moved, and both as channels."""
    grid = oblique(SHAPES[dim], spacing=2.0)
    fixed = Image(noise(SHAPES[dim], sigma=2, dtype=dtype), grid)
    truth = randomised("affine", grid, seed=3)
    moving = pulled(fixed, truth, grid).with_mask(None)
    return fixed, moving, torch.cat([fixed.data, moving.data], 1)


@pytest.mark.parametrize(
    ("name", "dim"), [(name, 2) for name in NAMES] + [("displacement", 3), ("affine", 3)]
)
def test_ten_steps_of_a_network_that_outputs_it_lower_the_cost(name, dim):
    fixed, moving, pair = problem(dim)
    network = Tiny(dim, 2 * dim)
    rule = torch.optim.Adam(network.parameters(), lr=0.02)
    costs = []
    for _ in range(10):
        rule.zero_grad()
        transform = made(name, network, pair, fixed.grid)
        assert not [p for p in transform.parameters() if p.requires_grad]
        cost = objective("mse")(Alignment(fixed, moving, transform))[0]
        cost.backward()
        rule.step()
        costs.append(float(cost.detach()))
    assert costs[-1] < 0.97 * costs[0]


USES = [(use, dim) for dim in (2, 3) for use in ("itself", "inverse", "jacobian")]


@pytest.mark.usefixtures("closely")
@every_transform
@pytest.mark.parametrize(("use", "dim"), [*USES, ("on", 2), ("chain", 2)])
def test_the_gradient_of_a_network_is_that_of_finite_differences(name, use, dim):
    rough = name == "thin_plate" and use in ("inverse", "chain")
    fixed, _, pair = problem(dim, torch.float64)
    network = Tiny(dim, 2 * dim).double()
    grid = fixed.grid
    finer = grid.crop((1,) * dim, [n - 1 for n in grid.shape])
    points = interior(grid, 40)
    weight = torch.randn(1, 40, dim, generator=torch.Generator().manual_seed(0)).double()
    outer = randomised("affine", grid, seed=2)

    def total():
        transform = made(name, network, pair, grid)
        if use == "jacobian":
            return (weight[..., None] * transform.jacobian(points)).sum()
        used = {
            "itself": lambda: transform,
            "inverse": transform.inverse,
            "on": lambda: transform.on(finer),
            "chain": lambda: (outer @ transform).inverse(),
        }[use]()
        return (weight * used(points)).sum()

    parameters = list(network.parameters())
    slopes = torch.autograd.grad(total(), parameters)
    generator = torch.Generator().manual_seed(1)
    ways = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    values = []
    with torch.no_grad():
        step = 1e-2 if rough else 1e-6
        for move in (step, -2 * step):
            for parameter, way in zip(parameters, ways, strict=True):
                parameter += move * way
            values.append(float(total()))
    expected = (values[0] - values[1]) / (2 * step)
    found = sum(float((slope * way).sum()) for slope, way in zip(slopes, ways, strict=True))
    if name != "translation" or use != "jacobian":
        assert abs(expected) > 1e-2
    assert found == pytest.approx(expected, rel=2e-2 if rough else 2e-4, abs=1e-5)


@every_transform
def test_what_was_computed_is_copied_moved_and_stored_like_anything_else(name):
    fixed, _, pair = problem(2)
    network = Tiny(2, 4)
    transform = made(name, network, pair, fixed.grid)
    points = interior(fixed.grid, 20)
    other = copy.deepcopy(transform)
    for mine, theirs in zip(transform.buffers(), other.buffers(), strict=True):
        assert mine is not theirs
        assert mine.data_ptr() != theirs.data_ptr() or not mine.numel()
    assert torch.equal(other(points), transform(points))
    slopes = [
        torch.autograd.grad(one(points).square().sum(), network.layer.weight, retain_graph=True)[0]
        for one in (transform, other, transform.to("cpu"))
    ]
    assert float(slopes[0].abs().max()) > 0
    assert torch.equal(slopes[0], slopes[1])
    assert torch.equal(slopes[0], slopes[2])
    state = transform.state_dict()
    assert not [key for key, values in state.items() if values.requires_grad]
    # the same keys as of one that is optimised
    empty = made(name, Tiny(2, 4, seed=1), pair, fixed.grid).requires_grad_(False)
    empty.load_state_dict(state)
    assert torch.equal(empty(points), transform(points))
    assert transform.double()(points).requires_grad


@every_transform
def test_freezing_lets_go_of_the_network(name):
    fixed, _, pair = problem(2)
    transform = made(name, Tiny(2, 4), pair, fixed.grid)
    points = interior(fixed.grid, 20)
    expected = transform(points)
    assert expected.requires_grad
    frozen = transform.requires_grad_(False)
    assert not frozen(points).requires_grad
    assert not frozen.inverse()(points).requires_grad
    assert not [held for held in frozen.buffers() if held.requires_grad]
    assert torch.equal(frozen(points), expected)
    # what is freed again can be optimised by the parameters that such a transform always has
    with torch.no_grad():
        usual = [key for key, _ in made(name, Tiny(2, 4), pair, fixed.grid).named_parameters()]
    free = transform.requires_grad_(True)
    assert sorted(key for key, _ in free.named_parameters()) == sorted(usual)
    assert free(points).requires_grad


@every_transform
def test_without_a_gradient_it_has_parameters_of_its_own(name):
    fixed, _, pair = problem(2)
    points = interior(fixed.grid, 20)
    with torch.no_grad():
        computed = made(name, Tiny(2, 4), pair, fixed.grid)
    assert all(p.requires_grad and p.is_leaf for p in computed.parameters())
    assert len(list(computed.parameters())) > 0
    transform = made(name, Tiny(2, 4), pair, fixed.grid)
    with torch.no_grad():
        placed, back = transform.on(fixed.grid), transform.inverse()
    for one in (placed, back):
        assert all(p.requires_grad and p.is_leaf for p in one.parameters())
        assert len(list(one.parameters())) > 0
    torch.testing.assert_close(placed(points), transform(points))


@pytest.mark.usefixtures("closely")
@every_transform
@both_dimensions
def test_the_inverse_of_what_is_optimised_follows_it(name, dim):
    rough = name == "thin_plate"
    grid = oblique(SHAPES[dim], spacing=2.0)
    transform = randomised(name, grid, size=0.3).double().requires_grad_(True)
    points = interior(grid, 40)
    weight = torch.randn(1, 40, dim, generator=torch.Generator().manual_seed(0)).double()
    parameters = [p for p in transform.parameters() if p.numel()]
    slopes = torch.autograd.grad((weight * transform.inverse()(points)).sum(), parameters)
    for parameter, slope in zip(parameters, slopes, strict=True):
        way = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)).double()
        start, values, step = parameter.data, [], 1e-2 if rough else 1e-6
        for move in (step, -step):
            parameter.data = start + move * way
            values.append(float((weight * transform.inverse()(points)).sum().detach()))
        parameter.data = start
        expected = (values[0] - values[1]) / (2 * step)
        assert float((slope * way).sum()) == pytest.approx(
            expected, rel=2e-2 if rough else 2e-4, abs=1e-5
        )


def test_an_inverse_of_float64_is_as_exact_as_its_numbers():
    grid = oblique(SHAPES[3])
    field = noise(SHAPES[3], sigma=3, channels=3, dtype=torch.float64)
    back = Displacement(field=inverted(field, grid), grid=grid)
    there = Displacement(field=field, grid=grid)
    points = grid.points().reshape(*grid.shape, 3)[4:-4, 4:-4, 4:-4].reshape(1, -1, 3)
    # at voxels the inverse is not interpolated
    assert float((there(back(points)) - points).abs().max()) < 1e-8
