"""Agreement: whether a registration has made two images more alike than chance would."""

import numpy as np
import pytest
import torch

import coincide as co
from coincide.agreement import agreement
from coincide.cli.main import main
from coincide.files.read import read_image
from coincide.foreground import Foreground, foreground
from coincide.kernels.smooth import gaussian
from coincide.space.image import Image
from coincide.synthetic.contrasts import remap
from coincide.synthetic.deformations import random_affine, smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.linear import Affine


def measured(fixed, moving, transform):
    pair = (foreground(i, margin=10, name="it") for i in (fixed, moving))
    return agreement(*pair, transform)


def noise(like, seed=0):
    random = np.random.default_rng(seed).standard_normal(like.grid.shape).astype(np.float32)
    data = gaussian(torch.from_numpy(random)[None, None], [1.5] * like.dim)
    return like.with_data(data - data.min())


@pytest.fixture(scope="module")
def case():
    """A phantom, what it is of another contrast and deformed, and the way back."""
    image = textured((48, 48, 48), seed=1).image
    truth = random_affine(image.grid, degrees=6, shift=5, scale=0.03, seed=1)
    truth = (truth @ smooth_displacement(image.grid, peak=4, sigma=10, seed=2)).requires_grad_(
        False
    )
    moving = co.Alignment(image, image, truth).warped.with_mask(None)
    return image, remap(moving, seed=3, noise=0.02), truth.inverse()


def test_the_right_answer_agrees_better_than_before_and_than_chance(case):
    found = measured(*case)
    assert found.after > 1.5 * found.before
    assert found.after > 1.3 * found.shifted
    assert found.after > 1.3 * found.mirrored
    assert found.gained


def test_it_does_not_matter_which_contrast_is_bright(case):
    fixed, moving, transform = (*(foreground(i, margin=10, name="it") for i in case[:2]), case[2])
    image = moving.image
    inverted = Foreground(image.with_data(1 - image.data), moving.mask)
    one, other = (agreement(fixed, m, transform) for m in (moving, inverted))
    assert other.after == pytest.approx(one.after, abs=0.03)


def test_a_wrong_answer_has_gained_nothing(case):
    fixed, moving, _ = case
    away = np.eye(4)
    away[0, 3] = 12
    assert not measured(fixed, moving, Affine(away)).gained
    far = np.eye(4)
    far[0, 3] = 500
    assert measured(fixed, moving, Affine(far)).after == 0


def test_images_that_were_right_before_need_no_gain(case):
    fixed = case[0]
    found = measured(fixed, fixed, Affine(np.eye(4)))
    assert found.gained
    assert found.after == pytest.approx(found.before)
    assert found.after > 0.9


def test_what_was_better_before_is_told(case):
    fixed = case[0]
    bent = smooth_displacement(fixed.grid, peak=9, sigma=10, seed=5).requires_grad_(False)
    found = measured(fixed, fixed, bent)
    assert found.after < 0.8 * found.before
    assert not found.gained


def test_an_image_onto_noise_is_told_loudly(case, tmp_path, capsys):
    image = case[0]
    co.write_image(image, tmp_path / "a.nii.gz")
    co.write_image(noise(image), tmp_path / "b.nii.gz")
    pair = str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz")
    result = co.register(*pair, "affine", initial="header")
    assert not result.agreement.gained
    assert "The images DO NOT AGREE better than by chance" in result.status
    assert any("do not use the result" in note for note in result.warnings)
    out = str(tmp_path / "out")
    options = "--ways", "affine", "--initial", "header", "--report", "False", "--out", out
    main(["register", *pair, *options])
    said = capsys.readouterr()
    assert "WARNING" in said.err
    assert "DO NOT AGREE" in said.out
    with pytest.raises(SystemExit) as stopped:
        main(["register", *pair, *options, "--strict"])
    assert stopped.value.code == 4
    assert (tmp_path / "out" / "result.json").exists()


def test_a_good_run_passes_strictly(case, tmp_path):
    shift = Affine(np.eye(4) + np.eye(4, k=3) * 4)
    moved = co.Alignment(case[0], case[0], shift).warped.with_mask(None)
    for name, image in (("a", case[0]), ("b", moved)):
        co.write_image(image, tmp_path / f"{name}.nii.gz")
    pair = str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz")
    out = "--report", "False", "--out", str(tmp_path / "out"), "--ways", "affine"
    main(["register", *pair, *out, "--initial", "header", "--strict"])
    assert co.load(tmp_path / "out").agreement.gained


def test_pictures_are_measured_too():
    image = textured((64, 60), seed=1).image
    assert measured(image, image, Affine(np.eye(3))).gained


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fixed", "moving", "good"),
    [
        ("brain_t1_labels/hcp100307_T1brain", "brain_t1_labels/hcp100408_T1brain", True),
        ("cardiac/cine0001_ED_MR", "cardiac/cine0001_ES_MR", True),
        ("hippocampus_t1/hippocampus_001_T1", "hippocampus_t1/hippocampus_003_T1", True),
        ("brain_multimodal_ms/ms07_T1", "brain_multimodal_ms/ms07_T2", True),
        ("lung_ct/elx_baseline_CT", "lung_ct/elx_followup_CT", True),
        ("abdomen_ct_mr/ts_CT", "abdomen_ct_mr/ts_MR", True),
        ("brain_t1_labels/hcp100307_T1brain", "cardiac/cine0001_ED_MR", False),
        ("cardiac/cine0001_ED_MR", "brain_t1_labels/hcp100307_T1brain", False),
        ("brain_t1_labels/hcp100307_T1brain", "noise", False),
        ("brain_t1_labels/hcp100307_T1brain", "turned", False),
    ],
)
def test_real_pairs_are_told_apart(real_data, fixed, moving, good):
    one = read_image(real_data / f"{fixed}.nii.gz")
    initial = "search"
    if moving == "noise":
        other = noise(one)
    elif moving == "turned":
        other = read_image(real_data / "brain_t1_labels" / "hcp100408_T1brain.nii.gz")
        data = other.data.flip(2, 3).contiguous()
        other, initial = Image(data, other.grid), "header"
    else:
        other = read_image(real_data / f"{moving}.nii.gz")
    result = co.register(one, other, initial=initial)
    assert result.agreement.gained is good
