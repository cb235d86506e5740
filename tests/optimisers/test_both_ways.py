"""Registration without a favourite: SyN, demons and log-demons against truth and SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from coincide.alignment import Alignment
from coincide.objective import objective
from coincide.optimisers.level import Level
from coincide.optimisers.log_demons import averaged
from coincide.optimisers.loop import optimise
from coincide.optimisers.settle import unfolded
from coincide.presets.preset import Preset
from coincide.register import register
from coincide.registry import build
from coincide.scores.evaluate import evaluate
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import centred, textured
from coincide.transforms.displacement import Displacement
from coincide.transforms.jacobian import determinant
from coincide.transforms.symmetric import Symmetric
from coincide.transforms.transform import Transform
from worlds import noise

SHAPES = {2: (48, 44), 3: (30, 28, 26)}
SPACING = 2.0
LEVELS = (Level(4, 40), Level(2, 40))
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


class Pair:
    """A phantom, the same deformed by a known smooth displacement, and where it shows something."""

    def __init__(self, dim: int, seed: int = 1):
        shape = SHAPES[dim]
        self.grid = centred(shape, SPACING)
        self.truth = smooth_displacement(self.grid, peak=7, sigma=14, seed=seed)
        self.truth.requires_grad_(False)
        self.fixed = textured(shape, seed, SPACING).image
        back = self.truth.inverse().requires_grad_(False)
        self.moving = Alignment(self.fixed, self.fixed, back).warped.with_mask(None)
        self.inside = self.fixed.data[0, 0] > 0.1

    def apart(self, one: Transform, other: Transform) -> np.ndarray:
        """Distance between where two transforms send the body, mm."""
        with torch.no_grad():
            gap = one.displacement(self.grid) - other.displacement(self.grid)
        return gap.norm(dim=1)[0][self.inside].numpy()

    def error(self, transform: Transform) -> float:
        return float(np.median(self.apart(transform, self.truth)))


def nothing(grid: Grid) -> Displacement:
    return Displacement().on(grid).requires_grad_(False)


def found(fixed: Image, moving: Image, transform: str, cost: str, optimiser: str, levels=LEVELS):
    result = optimise(fixed, moving, transform, objective=cost, optimiser=optimiser, levels=levels)
    return result.transform.requires_grad_(False)


METHODS = [
    ("symmetric", "mse", "syn"),
    ("symmetric", "lncc(radius=2)", "syn"),
    ("symmetric", "nmi", "syn(update=3.0, field=1.0)"),
    ("symmetric", "ngf + lncc(radius=2)", "syn"),
    ("displacement", "mse", "demons"),
    ("displacement", "mse", "demons(forces='fixed', composition='additive')"),
    ("displacement", "mse", "demons(forces='moving', update=1.0, field=0.5)"),
    ("velocity", "mse", "log_demons"),
]


@both_dimensions
@pytest.mark.parametrize(
    ("transform", "cost", "optimiser"), METHODS, ids=[f"{m[2]} {m[1]}" for m in METHODS]
)
def test_a_smooth_displacement_is_recovered_without_folds(dim, transform, cost, optimiser):
    pair = Pair(dim)
    result = found(pair.fixed, pair.moving, transform, cost, optimiser)
    before = pair.error(nothing(pair.grid))
    assert before > 1
    assert pair.error(result) < min(0.5 * SPACING, 0.5 * before)
    assert float(determinant(result.displacement(pair.grid), pair.grid).min()) > 0


@both_dimensions
@pytest.mark.parametrize(
    ("transform", "cost", "optimiser"),
    [m for m in METHODS if m[0] != "displacement"],
    ids=[f"{m[2]} {m[1]}" for m in METHODS if m[0] != "displacement"],
)
def test_exchanging_the_images_gives_the_inverse(dim, transform, cost, optimiser):
    pair = Pair(dim, seed=2)
    there = found(pair.fixed, pair.moving, transform, cost, optimiser)
    back = found(pair.moving, pair.fixed, transform, cost, optimiser)
    expected = there.inverse().requires_grad_(False)
    assert pair.apart(expected, nothing(pair.grid)).max() > 2 * SPACING
    assert pair.apart(back, expected).max() < 0.1 * SPACING
    # and the inverse is one
    with torch.no_grad():
        residual = (expected @ there).displacement(pair.grid).norm(dim=1)[0][pair.inside]
    assert float(residual.median()) < 0.05 * SPACING


def test_masks_of_both_images_limit_what_is_compared_in_the_middle():
    pair = Pair(2)
    half = torch.zeros_like(pair.fixed.data)
    half[:, :, :24] = 1
    spoilt = pair.moving.with_data(torch.where(half > 0, pair.moving.data, 5.0)).with_mask(half)
    masked = found(pair.fixed, spoilt, "symmetric", "mse", "syn")
    clean = found(pair.fixed, pair.moving, "symmetric", "mse", "syn")
    upper = pair.inside.clone()
    upper[16:] = False
    pair.inside = upper
    assert pair.error(masked) < pair.error(clean) + 0.25 * SPACING
    assert pair.error(masked) < 0.5 * pair.error(nothing(pair.grid))


def test_a_penalty_smooths_both_halves():
    pair = Pair(2)

    def roughness(weight: float) -> float:
        result = found(
            pair.fixed, pair.moving, "symmetric", f"mse + {weight}*bending", "syn(field=0.3)"
        )
        return float(objective("bending")(Alignment(pair.fixed, pair.moving, result))[0])

    assert roughness(10.0) < 0.8 * roughness(0.0)


def test_syn_says_what_it_cannot_compare():
    pair = Pair(2)
    for cost, why in (
        (objective("bending"), "at least one similarity"),
        (objective("mse") + build("mse").of(pair.fixed, pair.moving), "mse of pair; leave it out"),
    ):
        with pytest.raises(ValueError, match=why):
            optimise(pair.fixed, pair.moving, "symmetric", objective=cost, optimiser="syn")


@pytest.mark.parametrize(
    ("optimiser", "transform"), [("demons", "displacement"), ("log_demons", "velocity")]
)
@pytest.mark.parametrize("cost", ["ncc", "mse + 0.1*bending"])
def test_demons_follow_the_squared_difference_only(optimiser, transform, cost):
    pair = Pair(2)
    with pytest.raises(ValueError, match=r"demons lower .*; give the objective 'mse'"):
        optimise(pair.fixed, pair.moving, transform, objective=cost, optimiser=optimiser)


def test_demons_know_their_words():
    with pytest.raises(ValueError, match="known: fixed, moving, symmetric"):
        build("demons(forces='both')")
    with pytest.raises(ValueError, match="known: fixed, moving, symmetric"):
        build("log_demons(forces='both')")
    with pytest.raises(ValueError, match="known: diffeomorphic, additive"):
        build("demons(composition='sum')")


@both_dimensions
def test_velocities_are_joined_as_baker_campbell_and_hausdorff_say(dim):
    # for linear velocities the bracket is the commutator of their matrices
    shape, random = (15,) * dim, np.random.default_rng(0)
    a, b, c = 0.1 * random.standard_normal((3, dim, dim))
    voxel = np.indices(shape) - 7.0

    def linear(matrix):
        return torch.tensor(np.einsum("de,e...->d...", matrix, voxel))[None]

    def joined(v, w):
        return v + w + (v @ w - w @ v) / 2

    expected = linear((joined(a, b) - joined(-a, c)) / 2)
    inner = (slice(None), slice(None), *(slice(1, -1),) * dim)
    gap = averaged(linear(a), linear(b), linear(c)) - expected
    assert float(gap[inner].abs().max()) < 1e-12
    assert float((linear(a + (b - c) / 2) - expected)[inner].abs().max()) > 0.01


@both_dimensions
@pytest.mark.parametrize(
    ("transform", "optimiser", "oracle"),
    [
        (
            "displacement",
            "demons(forces='fixed', composition='additive')",
            "DemonsRegistrationFilter",
        ),
        ("displacement", "demons", "DiffeomorphicDemonsRegistrationFilter"),
        (
            "displacement",
            "demons(composition='additive')",
            "SymmetricForcesDemonsRegistrationFilter",
        ),
        ("velocity", "log_demons", "DiffeomorphicDemonsRegistrationFilter"),
    ],
)
def test_the_error_is_that_of_simpleitk_or_less(dim, transform, optimiser, oracle):
    pair = Pair(dim, seed=3)
    ours = found(pair.fixed, pair.moving, transform, "mse", optimiser, (Level(0, 60, 0),))
    theirs = getattr(sitk, oracle)()
    theirs.SetNumberOfIterations(60)
    theirs.SetSmoothDisplacementField(True)
    theirs.SetStandardDeviations(1.0)
    field = theirs.Execute(*(_sitk(image) for image in (pair.fixed, pair.moving)))
    vectors = torch.as_tensor(sitk.GetArrayFromImage(field), dtype=torch.float32)
    vectors = vectors.movedim(-1, 0).permute(0, *range(dim, 0, -1))[None].contiguous()
    other = Displacement(field=vectors, grid=pair.grid).requires_grad_(False)
    before = pair.error(nothing(pair.grid))
    assert pair.error(other) < 0.8 * before
    assert pair.error(ours) < 1.15 * pair.error(other)


def _sitk(image: Image) -> sitk.Image:
    """The image for a filter that takes our world for its own: axis i first."""
    copy = sitk.GetImageFromArray(image.numpy().transpose())
    copy.SetSpacing(image.grid.spacing.tolist())
    copy.SetOrigin(image.grid.origin.tolist())
    return copy


def test_settled_halves_do_not_fold_and_end_at_zero():
    grid = centred((28, 26, 24), 1.5)
    first, second = (noise(grid.shape, seed=s, sigma=2, channels=3) for s in (1, 2))
    assert float(determinant(first, grid).min()) < 0
    rough = Symmetric(fixed_half=first, moving_half=second, grid=grid)
    result = unfolded(rough)
    assert isinstance(result, Symmetric)
    for half in (result.fixed_half.detach(), result.moving_half.detach()):
        assert float(determinant(half, result.grid).min()) > 0
        for axis in range(2, 5):
            assert float(half.select(axis, 0).abs().max()) == 0
            assert float(half.select(axis, -1).abs().max()) == 0


@both_dimensions
def test_register_gives_the_inverse_when_the_images_are_exchanged(dim):
    pair = Pair(dim, seed=4)
    plan = Preset(levels=(Level(steps=50), Level(steps=30)))
    there, back = (
        register(f, m, "symmetric", objective="lncc(radius=3)", preset=plan)
        for f, m in ((pair.fixed, pair.moving), (pair.moving, pair.fixed))
    )
    assert pair.apart(there.transform, nothing(pair.grid)).max() > 2 * SPACING
    assert pair.error(there.transform) < 0.5 * pair.error(nothing(pair.grid))
    # the working grid is cut from the fixed image, so it is not quite the same both ways
    assert np.median(pair.apart(back.transform, there.inverse)) < 0.1 * SPACING
    with torch.no_grad():
        residual = (there.inverse @ there.transform).displacement(pair.grid).norm(dim=1)
    assert float(residual[0][pair.inside].median()) < 0.02 * SPACING
    assert evaluate(there).regularity.folding_percent == 0
