"""What penalties do to a registration, on phantoms with a known truth."""

import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.objective import objective
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.penalties.inverse_consistency import InverseConsistency
from coincide.penalties.rigidity import Rigidity
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import centred, ellipsoid, textured
from coincide.transforms.displacement import Displacement
from coincide.transforms.jacobian import determinant
from coincide.transforms.linear import Affine
from worlds import noise, oblique

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
SHAPES = {2: (15, 13), 3: (11, 12, 10)}
SLIDE = 2.0  # mm that each block moves, one up, one down


def texture(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """A sum of plane waves of about 9 mm, known everywhere."""
    random = np.random.default_rng(seed)
    total = np.zeros_like(x)
    for _ in range(24):
        a, b = random.normal(0, 2 * np.pi / 9, 2)
        total += np.cos(a * x + b * y + random.uniform(0, 2 * np.pi))
    return total / np.sqrt(12)


def sliding() -> tuple[Image, Image, np.ndarray]:
    """Two blocks before and after they slid along their common face, and the displacement."""
    grid = centred((48, 48))
    x, y = grid.points()[0].numpy().T.reshape(2, 48, 48)
    truth = np.where(x > 0, SLIDE, -SLIDE)

    def scene(shift: np.ndarray) -> Image:
        blocks = np.where(x > 0, texture(x, y - shift, 1), texture(x, y - shift, 2))
        return Image(torch.tensor(blocks, dtype=torch.float32)[None, None], grid)

    return scene(0 * truth), scene(truth), np.stack([0 * truth, truth])


def test_total_variation_lets_organs_slide_where_diffusion_smears():
    fixed, moving, truth = sliding()
    x, y = fixed.grid.points()[0].numpy().T.reshape(2, 48, 48)
    near = (abs(x) < 5) & (abs(y) < 18)

    def error(penalty: str, weight: float) -> float:
        """Mean error within 5 mm of the interface, mm."""
        result = optimise(
            fixed,
            moving,
            "displacement",
            objective=f"mse + {weight}*{penalty}",
            optimiser="adam",
            levels=(Level(2, 60, 0), Level(1, 80, 0)),
        )
        gap = result.transform.field.detach()[0].numpy() - truth
        return float(np.linalg.norm(gap, axis=0)[near].mean())

    jumping = min(error("total_variation", w) for w in (0.2, 0.4, 0.8))
    smearing = min(error("diffusion", w) for w in (0.1, 0.2, 0.5, 1.0))
    assert smearing > 0.7
    assert jumping < 0.5 * smearing


def folded(dim: int) -> tuple[torch.Tensor, Grid]:
    grid = centred((24, 22, 20)[:dim], (1.0, 1.5, 1.2)[:dim])
    x = grid.points().float()[0]
    bump = torch.exp(-((x / 5) ** 2).sum(-1))
    field = torch.stack([-2.5 * x[:, 0] * bump, *(0 * x[:, 1:]).T])
    return field.reshape(1, dim, *grid.shape), grid


@pytest.mark.parametrize(
    "text", ["symmetric_jacobian", "log_jacobian", "0.1*hyperelastic(length=0.0, area=0.0)"]
)
@both_dimensions
def test_a_barrier_opens_folds(text, dim):
    field, grid = folded(dim)
    assert float(determinant(field, grid).min()) < -0.5
    blank = Image(torch.zeros(1, 1, *grid.shape), grid)
    transform = Displacement(field=field, grid=grid)
    rule, cost = torch.optim.Adam(transform.parameters(), lr=0.05), objective(text)
    for _ in range(150):
        rule.zero_grad()
        cost(Alignment(blank, blank, transform))[0].backward()
        rule.step()
    assert float(determinant(transform.field.detach(), grid).min()) > 0.1


def linear(matrix: np.ndarray, grid: Grid) -> Alignment:
    """Blank images of a grid under a linear map about the world's origin."""
    homogeneous = np.eye(grid.dim + 1)
    homogeneous[:-1, :-1] = matrix
    blank = Image(torch.zeros(1, 1, *grid.shape), grid)
    return Alignment(blank, blank, Affine(homogeneous).requires_grad_(False))


def rotation(dim: int, degrees: float) -> np.ndarray:
    turn = np.eye(dim)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn[:2, :2] = [[c, -s], [s, c]]
    return turn


@both_dimensions
def test_a_large_rotation_of_a_rigid_part_is_free_and_a_stretch_is_known(dim):
    grid = oblique(SHAPES[dim])
    where = Image((noise(SHAPES[dim]) > 0.5).float(), grid)
    assert float(Rigidity(where)(linear(rotation(dim, 40), grid))) < 1e-8
    stretch = np.eye(dim)
    stretch[0, 0] = 1.1
    # JᵀJ - I has one entry of 0.21; the volume grows by a tenth
    stretched = linear(stretch @ rotation(dim, 25), grid)
    assert float(Rigidity(where)(stretched)) == pytest.approx(0.21**2 + 0.1**2, rel=1e-3)
    only = Rigidity(where, affinity=0.0, orthonormality=0.0, properness=3.0)
    assert float(only(stretched)) == pytest.approx(3 * 0.1**2, rel=1e-3)


@both_dimensions
def test_rigidity_counts_nothing_outside_its_mask(dim):
    grid = oblique((18, 16, 14)[:dim])
    weight = torch.zeros(1, 1, *grid.shape)
    weight[:, :, :6] = 1
    field = 2 * noise(grid.shape, sigma=0, channels=dim, dtype=torch.float64)
    field[:, :, :9] = 1.5
    part = Rigidity(Image(weight, grid))
    blank = Image(torch.zeros(1, 1, *grid.shape), grid)
    transform = Displacement(field=field, grid=grid)
    cost = part(Alignment(blank, blank, transform)).sum()
    assert float(cost.detach()) < 1e-20
    field[:, :, 2] += noise((1, *grid.shape[1:]), seed=1, channels=dim)[:, :, 0]
    assert float(part(Alignment(blank, blank, Displacement(field=field, grid=grid)))) > 0.1


@both_dimensions
def test_the_gradient_of_rigidity_is_finite_differences(dim):
    grid = oblique(SHAPES[dim])
    part = Rigidity(Image((noise(SHAPES[dim]) > 0.8).float(), grid))
    blank = Image(torch.zeros(1, 1, *grid.shape), grid)
    field = noise(SHAPES[dim], sigma=1, channels=dim, dtype=torch.float64)
    way = noise(SHAPES[dim], seed=1, sigma=1, channels=dim, dtype=torch.float64)
    transform = Displacement(field=field, grid=grid)
    part(Alignment(blank, blank, transform)).sum().backward()
    slope = float((transform.field.grad * way).sum())
    values = [
        float(part(Alignment(blank, blank, Displacement(field=field + s * way, grid=grid))))
        for s in (1e-6, -1e-6)
    ]
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


@pytest.mark.filterwarnings("ignore:Converting a tensor:UserWarning")
def test_bone_in_soft_tissue_moves_without_bending():
    shape = (48, 48)
    bone = ellipsoid(shape, radii=(9, 6))
    fixed = textured(shape, seed=3).image
    truth = smooth_displacement(fixed.grid, peak=4, sigma=9, seed=2).requires_grad_(False)
    moving = Alignment(fixed, fixed, truth.inverse().requires_grad_(False)).warped.with_mask(None)
    stiff = Rigidity(bone.with_data((bone.data > 0.5).float()))
    found = {}
    for weight in (0.0, 2.0):
        cost = objective("mse + 0.002*diffusion") + weight * stiff
        result = optimise(
            fixed,
            moving,
            "displacement",
            objective=cost,
            optimiser="adam",
            levels=(Level(2, 60, 0), Level(1, 60, 0)),
        )
        alignment = Alignment(fixed, moving, result.transform)
        gap = result.transform.field.detach() - truth.field
        outside = (bone.data < 0.5) & (fixed.data > 0.1)
        found[weight] = (
            float(stiff(alignment).detach()),
            float(gap.norm(dim=1, keepdim=True)[outside].mean()),
        )
    assert found[2.0][0] < 0.05 * found[0.0][0]
    # what is not bone is registered as well as before, to a fifth of a voxel
    assert found[2.0][1] < found[0.0][1] + 0.2


def test_rigidity_says_what_weights_it_takes():
    blank = Image(torch.zeros(1, 1, 8, 8), centred((8, 8)))
    with pytest.raises(ValueError, match=r"lie in \[0, 1\], 1 in bone; got 0 to 0"):
        Rigidity(blank)


@both_dimensions
def test_inverse_consistency_is_zero_for_an_inverse_and_a_known_square_otherwise(dim):
    grid = centred((26, 24, 22)[:dim])
    blank = Image(torch.zeros(1, 1, *grid.shape), grid)
    there = smooth_displacement(grid, peak=2, sigma=7, seed=1)
    alignment = Alignment(blank, blank, there)
    with torch.no_grad():
        assert float(InverseConsistency(there.inverse())(alignment)) < 1e-3
        still = InverseConsistency(Displacement().on(grid))(alignment)
        assert float(still) == pytest.approx(float(there.field.square().sum(1).mean()))
        back = np.eye(dim + 1)
        back[:-1, -1] = 0.5
        shifted = Alignment(blank, blank, Displacement().on(grid))
        found = InverseConsistency(Affine(back).requires_grad_(False))(shifted)
        assert float(found) == pytest.approx(0.25 * dim, rel=1e-5)


def test_what_leaves_the_moving_image_is_not_held_against_the_partner():
    grid = centred((20, 20))
    blank = Image(torch.zeros(1, 1, 20, 20), grid)
    away = torch.zeros(1, 2, 20, 20)
    away[:, 0] = 8
    there = Displacement(field=away, grid=grid).requires_grad_(False)
    back = Displacement(field=-away, grid=grid).requires_grad_(False)
    assert float(InverseConsistency(back)(Alignment(blank, blank, there))) < 1e-10


def test_two_transforms_optimised_together_become_inverse_to_each_other():
    shape = (32, 32)
    fixed = textured(shape, seed=1).image
    truth = smooth_displacement(fixed.grid, peak=3, sigma=8, seed=4).requires_grad_(False)
    moving = Alignment(fixed, fixed, truth.inverse().requires_grad_(False)).warped.with_mask(None)

    def missed(weight: float) -> float:
        """Root mean square distance from the start after going there and back, mm."""
        there, back = Displacement().on(fixed.grid), Displacement().on(fixed.grid)
        similar = objective("mse + 0.002*diffusion")
        one, other = (similar + weight * InverseConsistency(t) for t in (back, there))
        rule = torch.optim.Adam([*there.parameters(), *back.parameters()], lr=0.1)
        for _ in range(100):
            rule.zero_grad()
            cost = (
                one(Alignment(fixed, moving, there))[0] + other(Alignment(moving, fixed, back))[0]
            )
            cost.backward()
            rule.step()
        with torch.no_grad():
            square = InverseConsistency(back)(Alignment(fixed, moving, there))
            assert float((there.field - truth.field).norm(dim=1).mean()) < 0.6
        return float(square) ** 0.5

    assert missed(0.01) < 0.5 * missed(0.0)
