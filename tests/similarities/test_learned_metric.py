"""The metric that comes along: best where contrasts are aligned, whatever they are."""

from importlib.resources import files

import numpy as np
import pytest

from coincide.alignment import Alignment
from coincide.networks.model_file import read_model
from coincide.networks.two_channel import SHIPPED
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.registry import build
from coincide.similarities.learned_metric import LearnedMetric
from coincide.space.image import Image
from coincide.synthetic.contrasts import pseudo_t2, remap
from coincide.synthetic.phantoms import textured
from coincide.transforms.linear import Translation

SHAPES = {2: (64, 60), 3: (40, 36, 34)}
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def contrasts(dim: int, seed: int) -> tuple[Image, Image]:
    """A phantom that no training saw, and the same in another contrast."""
    image = textured(SHAPES[dim], seed=seed, regions=40).image
    return image, (pseudo_t2 if seed % 2 else remap)(image, seed=seed, noise=0.02)


def cost(pair: tuple[Image, Image], shift: float, *, stride: int = 4) -> float:
    dim = pair[0].dim
    matrix = np.eye(dim + 1)
    matrix[0, -1] = shift * pair[0].grid.spacing[0]
    moved = Translation(matrix).requires_grad_(False)
    return float(LearnedMetric(stride=stride)(Alignment(*pair, moved)))


@both_dimensions
def test_no_shift_is_best_of_all_in_contrasts_that_no_training_saw(dim):
    shifts = (-8, -5, -3, -2, 0, 2, 3, 5, 8)
    mean = np.mean([[cost(contrasts(dim, n), s) for s in shifts] for n in (101, 103)], 0)
    assert shifts[int(mean.argmin())] == 0
    assert min(mean[0], mean[-1]) > mean[4] + 0.3


@both_dimensions
def test_moving_an_image_out_of_view_never_pays(dim):
    pair = contrasts(dim, 101)
    aligned = cost(pair, 0)
    for share in (0.3, 0.6, 0.9, 0.98, 1.5):
        for sign in (-1, 1):
            assert cost(pair, sign * share * SHAPES[dim][0]) > aligned + 0.1


def test_nothing_in_view_costs_as_much_as_patches_that_do_not_agree():
    assert cost(contrasts(2, 101), 1000) == pytest.approx(2)


def test_a_denser_lattice_says_much_the_same():
    pair = contrasts(2, 101)
    dense, coarse = cost(pair, 0, stride=1), cost(pair, 0)
    assert dense == pytest.approx(coarse, abs=0.1)
    assert dense != coarse


@pytest.mark.parametrize("optimiser", ["adam(rate=0.3)", "lbfgs"])
def test_every_engine_of_gradients_follows_it(optimiser):
    fixed, moving = contrasts(2, 101)
    matrix = np.eye(3)
    matrix[:-1, -1] = 1.5 * fixed.grid.spacing
    away = Alignment(fixed, moving, Translation(matrix).requires_grad_(False)).warped
    found = optimise(
        fixed,
        Image(away.data, away.grid),
        "translation",
        objective="learned_metric",
        optimiser=optimiser,
        levels=(Level(0.0, 10),),
    )
    left = (found.transform.matrix()[0, :-1, -1].detach().numpy() + matrix[:-1, -1]) / (
        fixed.grid.spacing
    )
    assert np.linalg.norm(left) < 1.5 * np.sqrt(2)


def test_what_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(ValueError, match="stride of 1, 2 or 4, not 3"):
        build("learned_metric(stride=3)")
    pair = contrasts(2, 101)
    absent = LearnedMetric(weights=str(tmp_path / "none.safetensors"))
    with pytest.raises(FileNotFoundError, match="there is no model"):
        absent.compare(*(absent.prepare(image) for image in pair))


def test_the_weights_that_come_along_are_small_and_of_nobody():
    path = files("coincide.networks") / SHIPPED
    state, card = read_model(str(path))
    assert len(path.read_bytes()) < 200_000
    assert card["network"] == "two_channel"
    assert card["data"]["images"] == []
    assert card["steps"] >= 1000
    assert sum(values.numel() for values in state.values()) < 100_000
