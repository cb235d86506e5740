"""Predictors: any images in, a transform of the world out."""

import numpy as np
import pytest
import torch

from coincide.networks.flow import carried, correlations
from coincide.networks.halves import doubled, halved, packed
from coincide.networks.model_file import read_model
from coincide.predictors.ensemble import ensemble
from coincide.predictors.model import load_model, save_model
from coincide.predictors.placed import half
from coincide.predictors.predictor import Predictor, shown
from coincide.predictors.probabilistic import Probabilistic
from coincide.predictors.pyramid import Pyramid
from coincide.predictors.working import working_grid
from coincide.registry import build, parts
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.orientation import oriented
from coincide.space.sampling import resample
from coincide.synthetic.phantoms import textured
from coincide.transforms.velocity import Velocity

NAMES = sorted(parts(Predictor))
TOLD = {"pyramid": "conditional=True", "lapirn": "conditional=True"}


def made(text: str) -> Predictor:
    """With weights that move something, as after a training."""
    torch.manual_seed(0)
    predictor = build(text, Predictor)
    with torch.no_grad():
        for name, values in predictor.named_parameters():
            if "head" in name and "weight" in name:
                values.normal_(std=0.02)
            if "emitted" in name:
                values.normal_(std=0.005)
    return predictor


def turned(image: Image, order: tuple[int, ...], flipped: tuple[int, ...]) -> Image:
    """The same voxels at the same places, stored with other axes."""
    affine = image.grid.affine.copy()
    dim = image.dim
    affine[:dim, :dim] = affine[:dim, :dim][:, order]
    data = image.data.permute(0, 1, *(2 + axis for axis in order))
    shape = data.shape[2:]
    for axis in flipped:
        affine[:dim, -1] += affine[:dim, axis] * (shape[axis] - 1)
        affine[:dim, axis] *= -1
        data = data.flip(2 + axis)
    return Image(data.contiguous(), Grid(tuple(shape), affine))


def odd_pair() -> tuple[Image, Image]:
    """Two images of odd shapes, other voxels and other grids."""
    fixed = textured((51, 42, 31), seed=1, spacing=1.3).image
    stretched = fixed.grid.affine.copy()
    stretched[:, 2] *= 2.5
    stretched[:-1, -1] = fixed.grid.centre - stretched[:-1, :-1] @ [24.5, 20, 7]
    moving = textured((44, 40, 36), seed=2, spacing=1.4).image
    return resample(fixed, Grid((50, 41, 15), stretched)).with_mask(None), moving


def places(image: Image) -> torch.Tensor:
    random = np.random.default_rng(0)
    share = random.uniform(-0.4, 0.4, (200, image.dim))
    return torch.as_tensor(image.grid.centre + share * image.grid.extent)[None]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("order", "flipped"), [((2, 0, 1), (0,)), ((1, 0, 2), (1, 2)), ((0, 1, 2), (0, 1, 2))]
)
def test_a_pair_stored_otherwise_is_predicted_the_same(name, order, flipped):
    predictor = made(f"{name}(spacing=1.5)")
    fixed, moving = odd_pair()
    weight = 0.3 if predictor.conditional else None
    points = places(fixed)
    with torch.no_grad():
        expected = predictor(fixed, moving, weight)(points)
        found = predictor(
            turned(fixed, order, flipped), turned(moving, order[::-1], flipped), weight
        )
        assert float((expected - points).norm(dim=-1).mean()) > 0.1
        assert float((found(points) - expected).norm(dim=-1).max()) < 0.01


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dim", [2, 3])
def test_every_weight_is_trained_and_text_makes_it_again(name, dim):
    given = f"dim={dim}, {TOLD[name]}" if name in TOLD else f"dim={dim}"
    predictor = made(f"{name}({given})")
    again = build(str(predictor), Predictor)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in predictor.state_dict().items()
    }
    fixed, moving = (textured((18, 15, 13)[:dim], seed=n).image for n in (1, 2))
    found = predictor(fixed, moving, 0.4 if predictor.conditional else None)
    found.displacement(fixed.grid).square().sum().backward()
    for values in predictor.parameters():
        assert values.grad is not None


@pytest.mark.parametrize("name", [n for n in NAMES if n in TOLD or n == "hypermorph"])
def test_a_conditional_network_is_told_a_weight(name):
    predictor = made(f"{name}(dim=2, {TOLD[name]})" if name in TOLD else f"{name}(dim=2)")
    with torch.no_grad():
        for key, values in predictor.named_parameters():
            if "condition.last" in key:
                values.normal_(std=0.3)
    image, other = (textured((24, 20), seed=n).image for n in (1, 2))
    with torch.no_grad():
        one, two = (predictor(image, other, w).displacement(image.grid) for w in (0.1, 0.9))
    assert float((one - two).abs().max()) > 0.01
    for weight in (-0.1, 1.2):
        with pytest.raises(ValueError, match="from 0 to 1"):
            predictor(image, other, weight)
    with pytest.raises(ValueError, match="takes a weight"):
        predictor(image, other)


def test_what_a_predictor_cannot_see_is_refused():
    image = textured((24, 20), seed=1).image
    with pytest.raises(ValueError, match="made for images of 3 axes"):
        Pyramid()(image, image)
    with pytest.raises(ValueError, match="takes none"):
        Pyramid(dim=2)(image, image, 0.5)
    with pytest.raises(ValueError, match="dim 2 or 3"):
        Pyramid(dim=4)


def test_a_pair_of_a_batch_has_no_say_in_another():
    predictor = made("pyramid(dim=2)")
    images = [textured((26, 22), seed=n).image for n in range(4)]
    data = [torch.cat([images[a].data, images[b].data]) for a, b in ((0, 1), (2, 3))]
    with torch.no_grad():
        both = predictor(*(Image(part, images[0].grid) for part in data))
        one = predictor(images[0], images[2])
    grid = images[0].grid
    torch.testing.assert_close(
        both.displacement(grid)[:1], one.displacement(grid), atol=1e-4, rtol=1e-4
    )


def test_a_predicted_shift_is_in_millimetres_of_the_world():
    """A network that says one voxel along the first axis means that much of the world."""

    class Says(torch.nn.Module):
        def forward(self, fixed, moving, weight):  # noqa: ARG002
            field = torch.zeros(len(fixed), 2, *(n // 2 for n in fixed.shape[2:]))
            field[:, 0] = 0.5
            return field

    predictor = Pyramid(dim=2, spacing=3.0)
    predictor.network = Says()  # type: ignore[assignment]
    image = turned(textured((24, 21), seed=1, spacing=1.5).image, (1, 0), (0,))
    middle = torch.as_tensor(image.grid.centre)[None, None]
    moved = predictor(image, image)(middle) - middle
    torch.testing.assert_close(moved[0, 0], torch.tensor([3.0, 0.0], dtype=torch.float64))


def test_the_working_grid_keeps_voxels_that_are_cubes_already():
    image = turned(textured((17, 14, 11), seed=1, spacing=2.0).image, (2, 1, 0), (1,))
    grid = working_grid(image.grid, 2.0)
    assert grid.shape == (18, 14, 12)
    assert working_grid(grid, 2.0) == grid
    seen = shown(image, grid)
    straight = shown(image, oriented(image).grid)
    torch.testing.assert_close(seen[..., :17, :, :11], straight)
    torch.testing.assert_close(seen[..., 17, :, :], seen[..., 16, :, :])
    middle = half(grid).to_index(grid.to_world(np.array([0.5, 0.5, 0.5])))
    np.testing.assert_allclose(middle, 0, atol=1e-9)


@pytest.mark.parametrize("dim", [2, 3])
def test_halves_keep_a_slope_where_it_was(dim):
    """Coordinates, halved and doubled again, are the same coordinates inside."""
    sizes = (13, 10, 9)[:dim]
    axes = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in sizes], indexing="ij"))[
        None
    ]
    coarse = halved(axes)
    inner = (slice(None), slice(None), *[slice(1, -2)] * dim)
    torch.testing.assert_close(doubled(coarse, sizes)[inner], axes[inner])
    assert packed(axes).shape == (1, dim * 2**dim, *coarse.shape[2:])


def test_the_best_correlation_tells_the_shift():
    random = torch.Generator().manual_seed(0)
    one = torch.randn(1, 8, 12, 11, 10, generator=random)
    other = one.roll((1, -1), (2, 4))
    best = correlations(one, other)[..., 2:-2, 2:-2, 2:-2].argmax(1)
    assert bool((best == 2 * 9 + 1 * 3 + 0).all())
    shift = torch.zeros(1, 3, 12, 11, 10)
    shift[:, 0], shift[:, 2] = 1, -1
    inner = (..., slice(2, -2), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(carried(other, shift)[inner], one[inner])


def test_a_model_file_holds_all_that_a_prediction_needs(tmp_path):
    predictor = made("pyramid(spacing=2.0, widths=(4, 8), hidden=(8, 8), dim=2)")
    path = tmp_path / "m.safetensors"
    save_model(predictor, {"alignment": "centre"}, path)
    model = load_model(path)
    assert model.centred
    assert str(model.predictor) == "pyramid(spacing=2.0, widths=(4, 8), hidden=(8, 8), dim=2)"
    assert read_model(path)[1]["network"] == "predictor"
    image, other = (textured((24, 20), seed=n).image for n in (1, 2))
    with torch.no_grad():
        one, two = (p(image, other) for p in (predictor, model.predictor))
    assert isinstance(two, Velocity)
    torch.testing.assert_close(one.field, two.field, atol=0.02, rtol=0.02)
    with pytest.raises(ValueError, match="safetensors"):
        save_model(predictor, {}, tmp_path / "m.pt")


def test_samples_scatter_as_the_variance_says():
    predictor = made("probabilistic(dim=2, spacing=1.0, temperature=0.02)")
    assert isinstance(predictor, Probabilistic)
    image, other = (textured((24, 20), seed=n).image for n in (1, 2))
    with torch.no_grad():
        predictor.network.head.bias[2:] = -6.0  # type: ignore[index]
    samples = predictor.samples(image, other, 200, seed=1)
    assert isinstance(samples, Velocity)
    with torch.no_grad():
        mean = predictor(image, other)
        answer, _ = predictor.answered(image, other, None)
    assert isinstance(mean, Velocity)
    torch.testing.assert_close(samples.field.mean(0), mean.field[0], atol=0.05, rtol=0)
    spread = samples.field.std(0).mean()
    torch.testing.assert_close(spread, (0.5 * answer[:, 2:]).exp().mean(), atol=0, rtol=0.05)
    unsure = predictor.uncertainty(image, other, count=30)
    assert unsure.grid == image.grid
    again = predictor.uncertainty(image, other, count=30)
    assert torch.equal(unsure.data, again.data)
    with torch.no_grad():
        predictor.network.head.bias[2:] += 2  # type: ignore[index]
    assert bool(predictor.uncertainty(image, other, count=30).data.mean() > unsure.data.mean() * 2)


def test_entropy_is_rewarded_in_training():
    predictor = made("probabilistic(dim=2)")
    image, other = (textured((24, 20), seed=n).image for n in (1, 2))
    _, more = predictor.trained(image, other, None, torch.Generator().manual_seed(0))
    more.backward()
    slope = predictor.network.head.bias.grad  # type: ignore[union-attr]
    assert slope is not None
    torch.testing.assert_close(slope, torch.tensor([0.0, 0.0, -0.005, -0.005]))
    _, nothing = made("pyramid(dim=2)").trained(image, other, None, torch.Generator())
    assert float(nothing) == 0


def test_an_ensemble_is_the_mean_and_how_far_its_members_lie_from_it():
    fixed, moving = odd_pair()
    torch.manual_seed(0)
    members = [made("pyramid(widths=(4, 8), hidden=(8, 8))") for _ in range(3)]
    with torch.no_grad():
        for number, member in enumerate(members):
            for name, values in member.named_parameters():
                if "head" in name and "bias" in name:
                    values.add_(0.3 * number)
    mean, spread = ensemble(members, fixed, moving)
    with torch.no_grad():
        fields = torch.cat([member(fixed, moving).displacement(fixed.grid) for member in members])
    torch.testing.assert_close(mean.displacement(fixed.grid)[0], fields.mean(0))
    apart = ((fields - fields.mean(0)) ** 2).sum(1).sum(0) / 2
    torch.testing.assert_close(spread.data[0, 0], apart.sqrt(), atol=1e-4, rtol=1e-4)
    assert float(spread.data.mean()) > 0.1
    assert not any(values.requires_grad for values in mean.parameters())
    same, none = ensemble([members[0]] * 2, fixed, moving)
    torch.testing.assert_close(same.displacement(fixed.grid)[0], fields[0])
    assert float(none.data.max()) < 1e-4


def test_an_ensemble_of_conditional_networks_is_told_one_weight_and_needs_two():
    fixed, moving = odd_pair()
    one = made("pyramid(widths=(4, 8), hidden=(8, 8), conditional=True)")
    assert ensemble([one, one], fixed, moving, 0.3)[1].data.shape == (1, 1, *fixed.grid.shape)
    with pytest.raises(ValueError, match="takes a weight"):
        ensemble([one, one], fixed, moving)
    with pytest.raises(ValueError, match="2 predictors or more"):
        ensemble([one], fixed, moving, 0.3)
