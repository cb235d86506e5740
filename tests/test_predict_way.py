"""Predict, then refine: a trained network as one way of a chain."""

import pytest
import torch

from coincide.optimisers.level import Level
from coincide.predictors.model import save_model
from coincide.predictors.predict import Predict
from coincide.predictors.pyramid import Pyramid
from coincide.presets.preset import Preset
from coincide.register import register
from coincide.registry import build
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Linear
from coincide.transforms.velocity import Velocity

QUICK = Preset(levels=(Level(steps=4, objective="lncc(radius=2)"),))


@pytest.fixture(scope="module")
def pair():
    fixed = textured((44, 40), seed=1).image
    bent = smooth_displacement(fixed.grid, peak=3, sigma=8, seed=2).field.detach()
    return fixed, resample(fixed, fixed.grid, bent).with_mask(None)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network that says something, if nothing sensible."""
    torch.manual_seed(0)
    predictor = Pyramid(spacing=1.0, dim=2)
    with torch.no_grad():
        for layer in predictor.network.heads:
            layer.weight.normal_(std=0.003)  # type: ignore[union-attr, operator]
    path = tmp_path_factory.mktemp("models") / "m.safetensors"
    save_model(predictor, {"alignment": "centre"}, path)
    return path


def text(path) -> str:
    return f"predict(model={str(path)!r})"


@pytest.mark.parametrize(
    ("after", "kind"), [("displacement", Displacement), ("velocity", Velocity)]
)
def test_what_comes_next_goes_on_from_the_prediction(pair, model, after, kind):
    alone = register(*pair, text(model), preset=QUICK, initial="header")
    assert isinstance([*alone.transform][-1], Velocity)
    result = register(*pair, f"{text(model)} >> {after}", preset=QUICK, initial="header")
    assert [type(t) for t in result.transform][-1] is kind
    assert len([*result.transform]) == len([*alone.transform])
    anew = register(*pair, after, preset=QUICK, initial="header")
    # it begins where the prediction ended, not at the identity
    assert result.history[0].cost != pytest.approx(anew.history[0].cost, rel=1e-4)
    assert "predicted by a trained network" in result.status.lower()


def test_a_displacement_takes_over_a_flow_as_it_is(pair, model):
    alone = register(*pair, text(model), preset=QUICK, initial="header").transform
    still = Preset(levels=(Level(steps=1, objective="mse", optimiser="adam(rate=1e-9)"),))
    ways = f"{text(model)} >> displacement"
    taken = register(*pair, ways, preset=still, initial="header").transform
    points = pair[0].grid.points()[:, ::7]
    with torch.no_grad():
        assert float((alone(points) - points).norm(dim=-1).max()) > 0.1
        # the field is resampled from the voxels of the network to those of the level
        assert float((alone(points) - taken(points)).norm(dim=-1).max()) < 0.3


def test_steps_on_the_pair_lower_the_cost_and_leave_the_model_alone(pair, model):
    ways = f"predict(model={str(model)!r}, steps=15, rate=0.002, objective='mse + 0.1*diffusion')"
    adapted = register(*pair, ways, preset=QUICK, initial="header")
    assert adapted.history[-1].cost < 0.9 * adapted.history[0].cost
    assert len(adapted.history) == 15
    one, other = (
        register(*pair, text(model), preset=QUICK, initial="header").transform for _ in range(2)
    )
    points = pair[0].grid.points()[:, ::7]
    with torch.no_grad():
        assert torch.equal(one(points), other(points))
        assert not torch.equal(one(points), adapted.transform(points))


def test_the_model_is_written_as_what_ran(pair, model, monkeypatch):
    monkeypatch.chdir(model.parent)
    result = register(*pair, "predict(model='m.safetensors')", preset=QUICK)
    assert result.settings["ways"] == text(model)
    again = build(result.settings["ways"], Predict)
    assert again == Predict(model=str(model))


def test_without_an_alignment_the_images_lie_as_in_training(pair, model):
    fixed, moving = pair
    affine = moving.grid.affine.copy()
    affine[:2, -1] += (70, -40)
    away = Image(moving.data, Grid(moving.grid.shape, affine))
    found = register(fixed, away, text(model), preset=QUICK).transform
    near = register(fixed, moving, text(model), preset=QUICK).transform
    points = torch.as_tensor(fixed.grid.centre)[None, None]
    with torch.no_grad():
        torch.testing.assert_close(
            found(points) - near(points), torch.tensor([[[70.0, -40.0]]], dtype=torch.float64)
        )
    assert isinstance(next(iter(found)), Linear)


def test_what_cannot_be_predicted_is_refused(pair, model, tmp_path):
    with pytest.raises(ValueError, match="from 0 to 1"):
        build("predict(model='m.safetensors', weight=1.5)")
    with pytest.raises(ValueError, match="takes a model"):
        register(*pair, "predict", preset=QUICK, initial="header")
    with pytest.raises(FileNotFoundError, match="there is no model"):
        register(*pair, text(tmp_path / "none.safetensors"), preset=QUICK, initial="header")
    with pytest.raises(ValueError, match="takes none"):
        register(*pair, f"predict(model={str(model)!r}, weight=0.5)", preset=QUICK)
    from importlib.resources import files

    shipped = str(files("coincide.networks") / "structural.safetensors")
    with pytest.raises(ValueError, match="predicts no transform"):
        register(*pair, text(shipped), preset=QUICK, initial="header")
