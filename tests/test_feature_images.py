"""Feature images: what they do to a cost, and the command that writes them."""

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image as Picture

from coincide.alignment import Alignment, pulled
from coincide.cli.main import main
from coincide.features.structural import structural_features
from coincide.files.write import write_image
from coincide.foreground import foreground
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.optimisers.optimise import Optimise
from coincide.registry import build
from coincide.report.components import components
from coincide.synthetic.contrasts import remap
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.training.structural import Recipe, StructuralTask
from coincide.transforms.linear import Affine
from coincide.way import Pair


def shifted_costs(name, fixed, moving, steps, margin=8):
    """Cost of a similarity after shifts along the first axis, inner voxels only."""
    term = build(name)
    one, other = term.prepared(fixed, moving)
    middle = (slice(None), slice(None), *[slice(margin, -margin)] * fixed.dim)
    box = [margin] * fixed.dim, [n - margin for n in fixed.grid.shape]
    here = one.with_data(one.data).crop(*box)
    return np.array(
        [
            float(term.compare(here, here.with_data(other.data.roll(step, 2)[middle])))
            for step in steps
        ]
    )


@pytest.mark.parametrize("name", ["structural", "dns", "mind_ssc"])
def test_the_cost_of_a_shift_is_least_at_none_and_rises_from_there(name):
    image = textured((44, 40, 36), seed=3, regions=30).image
    other = remap(image, seed=4, noise=0.02)
    steps = np.arange(-8, 9)
    costs = shifted_costs(name, image, other, steps)
    assert steps[costs.argmin()] == 0
    near = costs[(steps >= -3) & (steps <= 3)]
    assert (np.diff(near)[:3] < 0).all()
    assert (np.diff(near)[3:] > 0).all()
    inverted = image.with_data(image.data.max() - image.data)
    plain = shifted_costs("mse", image, inverted, steps)
    assert steps[plain.argmin()] != 0  # grey values that were exchanged tell nothing


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_most_of_a_known_deformation_is_found_in_another_contrast(seed):
    image = textured((40, 38, 36), seed=seed, regions=30).image
    truth = smooth_displacement(image.grid, peak=4, sigma=9, seed=seed).requires_grad_(False)
    bent = pulled(image, truth.inverse(), image.grid).with_mask(None)
    moving = bent.with_data((bent.data.max() - bent.data).sqrt())
    inner = image.grid.crop([6] * 3, [n - 6 for n in image.grid.shape])
    wanted = truth.displacement(inner)
    found = optimise(
        image,
        moving,
        "displacement",
        objective="structural",
        optimiser="compositive(update=2.0, field=1.0)",
        levels=(Level(4, 20), Level(2, 20), Level(1, 10)),
    )
    gap = found.transform.displacement(inner) - wanted
    assert float(gap.norm(dim=1).mean()) < 0.5 * float(wanted.norm(dim=1).mean())


def test_descriptors_are_made_anew_of_an_image_that_was_turned():
    """What was found before is seen through, so that a large rotation changes no descriptor."""
    image = textured((40, 40, 12), seed=5, regions=20).image
    turn = np.eye(4)
    turn[:2, :2] = [[0, -1], [1, 0]]
    outer = Affine(turn).requires_grad_(False)
    turned = pulled(remap(image, seed=6, noise=0.01), outer.inverse(), image.grid)
    both = image, turned.with_mask(None)
    pair = Pair(*(foreground(one, margin=2, name="pair") for one in both))
    way = Optimise("translation", (Level(1, 1, objective="structural", optimiser="lbfgs"),))
    anew = way(pair.under(outer)).cost
    one, other = (structural_features(seen) for seen in both)
    kept = float(build("mse")(Alignment(one, other, outer)))
    assert anew < 0.5 * kept


@pytest.mark.parametrize("name", ["structural", "dns", "mind_ssc"])
def test_a_single_slice_a_small_image_and_one_all_masked_out_are_finite(name):
    for shape in ((20, 18, 1), (3, 2, 2), (5, 4)):
        image = textured(shape, seed=1).image
        assert build(name).prepare(image).data.isfinite().all()
    image = textured((8, 8, 8), seed=1).image
    nothing = image.with_mask(torch.zeros_like(image.data))
    assert build(name).prepare(nothing).data.isfinite().all()


def test_components_keep_descriptors_apart_and_equal_ones_together():
    data = torch.randn(1, 6, 5, 4, 3, generator=torch.Generator().manual_seed(1))
    both = components(torch.cat([data, data.flip(2)]))
    assert both.shape == (2, 3, 5, 4, 3)
    assert 0 <= float(both.min()) < float(both.max()) <= 1
    torch.testing.assert_close(both[0], both[1].flip(1))
    grey = components(data[:, :1])
    assert torch.equal(grey[:, 0], grey[:, 1])
    assert bool(components(torch.ones(1, 4, 3, 3)).isfinite().all())


def test_the_command_writes_channels_last_and_a_picture(tmp_path, capsys):
    image = textured((20, 18, 16), seed=1, spacing=(1.0, 1.2, 1.5)).image
    write_image(image, tmp_path / "t1.nii.gz")
    out = tmp_path / "f.nii.gz"
    main(["features", str(tmp_path / "t1.nii.gz"), "--kind", "mind_ssc", "--out", str(out)])
    assert "12 features of 20 x 18 x 16 voxels" in capsys.readouterr().out
    stored = nib.load(out)
    assert stored.shape == (20, 18, 16, 12)
    np.testing.assert_allclose(stored.affine, image.grid.affine, atol=1e-6)
    expected = build("mind_ssc").prepare(image).data[0].movedim(0, -1).numpy()
    np.testing.assert_allclose(stored.get_fdata(), expected, atol=1e-6)
    with Picture.open(tmp_path / "f.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.ndim == 3
    assert np.ptp(pixels, axis=2).max() > 50  # in colour
    with pytest.raises(SystemExit):
        main(["features", str(tmp_path / "t1.nii.gz"), "--kind", "mse", "--out", str(out)])
    said = capsys.readouterr().err
    assert "mse compares the images themselves; features: " in said
    assert "mind_ssc" in said


@pytest.mark.slow
def test_the_shipped_weights_find_what_their_card_says():
    from importlib.resources import files

    from coincide.features.structural import loaded
    from coincide.networks.model_file import read_model

    _, card = read_model(str(files("coincide.networks") / "structural.safetensors"))
    data = {k: v for k, v in card["data"].items() if k not in ("generator", "images")}
    network = loaded("", 0, torch.device("cpu"), torch.float32)
    again = StructuralTask(Recipe(**data)).validate(network)
    assert again["found again"] == pytest.approx(card["numbers"]["found again"], abs=0.02)
    chance = 27 / 11**3
    assert again["found in another"] < 2 * chance


@pytest.mark.slow
def test_a_real_brain_is_brought_onto_its_second_contrast():
    pytest.importorskip("nilearn")
    from coincide.synthetic.icbm import icbm152, second_contrast

    brain = icbm152(3)
    fixed = brain.t1
    truth = smooth_displacement(fixed.grid, peak=9, sigma=22, seed=5).requires_grad_(False)
    other = second_contrast(brain.grey, brain.white, brain.t1)
    moving = pulled(other, truth.inverse(), fixed.grid).with_mask(None)
    inside = fixed.data[0, 0] > 0.1
    wanted = truth.displacement(fixed.grid)
    apart = {"nothing": float(wanted.norm(dim=1)[0][inside].mean())}
    for name in ("structural", "mse"):
        found = optimise(
            fixed,
            moving,
            "displacement",
            objective=name,
            optimiser="compositive(update=2.0, field=1.0)",
            levels=(Level(12, 30), Level(6, 30), Level(3, 20)),
        )
        gap = found.transform.displacement(fixed.grid) - wanted
        apart[name] = float(gap.norm(dim=1)[0][inside].mean())
    assert apart["structural"] < 0.6 * apart["nothing"], apart
    assert apart["structural"] < 0.6 * apart["mse"], apart
