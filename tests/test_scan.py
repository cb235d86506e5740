"""Scan: what belongs to one image of a pair, in whatever form it comes."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

import coincide as co
from coincide.files.points import read_points, write_points
from coincide.objective import objective
from coincide.presets.preset import Preset
from coincide.scan import content_hash
from coincide.space.image import Image
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured

FEW = Preset("few steps", "displacement", tuple(co.Level(steps=4, objective="mse") for _ in "ab"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Folder with both images of a pair, their labels, landmarks and masks."""
    place = tmp_path_factory.mktemp("pair")
    phantom = textured((48, 44), seed=2)
    grid = phantom.image.grid
    truth = smooth_displacement(grid, peak=3, sigma=8, seed=2).requires_grad_(False)
    points = grid.to_world(torch.nonzero(phantom.labels.data[0, 0] > 1).numpy()[::61])
    moved = truth.inverse()(points)
    half = torch.ones_like(phantom.image.data[:, :1])
    half[:, :, :20] = 0
    for name, image in (("fixed", phantom.image), ("labels", phantom.labels)):
        co.write_image(image, place / f"{name}.nii.gz")
    still = co.Alignment(phantom.image, phantom.image, truth)
    co.write_image(still.warped.with_mask(None), place / "moving.nii.gz")
    warped = still.pull(phantom.labels, interpolation="label").with_mask(None)
    co.write_image(warped, place / "moving_labels.nii.gz")
    co.write_image(Image(half, grid), place / "half.nii.gz")
    write_points(points, place / "points.csv")
    write_points(moved, place / "moving_points.csv")
    return place


def both(pair, **given):
    """The two scans with labels and landmarks of the folder, and what is given for the fixed."""
    fixed = co.Scan(
        pair / "fixed.nii.gz",
        labels=pair / "labels.nii.gz",
        points=pair / "points.csv",
        **given,
    )
    moving = co.Scan(
        pair / "moving.nii.gz",
        labels=pair / "moving_labels.nii.gz",
        points=pair / "moving_points.csv",
    )
    return fixed, moving


def apart(one, other, pair):
    points = co.read_image(pair / "fixed.nii.gz").grid.points()
    with torch.no_grad():
        return float((one.transform(points) - other.transform(points)).abs().max())


def test_labels_and_landmarks_given_with_the_images_are_scored(pair):
    result = co.register(*both(pair), preset=FEW, initial="header")
    scores = result.evaluate()
    assert scores.overlap.mean_dice > 0.6
    assert scores.landmarks.count > 3
    assert co.evaluate(result) == scores
    assert result.settings["fixed_labels"] == str((pair / "labels.nii.gz").resolve())


@pytest.mark.parametrize("term", ["labels", "landmarks"])
def test_labels_and_landmarks_given_with_the_images_take_part(pair, term):
    kind = {"labels": "labels", "landmarks": "points"}[term]
    result = co.register(*both(pair), objective=f"mse + {term}", preset=FEW, initial="header")
    fixed, moving = (getattr(s.read("fixed"), kind) for s in both(pair))
    target = objective(f"mse + {term}").with_data(term, fixed, moving)
    expected = co.register(
        *(s.image for s in both(pair)), objective=target, preset=FEW, initial="header"
    )
    plain = co.register(*both(pair), preset=FEW, initial="header")
    assert apart(result, expected, pair) == 0
    assert apart(result, plain, pair) > 0.01
    assert f"the {term} take part, so their scores flatter" in result.warnings
    levels = Preset("", "displacement", (co.Level(steps=4, objective=f"mse + {term}"),) * 2)
    assert apart(result, co.register(*both(pair), preset=levels, initial="header"), pair) == 0


def test_a_mask_is_the_same_as_a_path_an_image_or_an_array(pair):
    plain = co.register(*both(pair), preset=FEW, initial="header")
    half = pair / "half.nii.gz"
    image = co.read_image(half)
    held = sitk.ReadImage(str(half))
    forms = half, held, image, (image.numpy(), image.grid.affine)
    results = [co.register(*both(pair, mask=form), preset=FEW, initial="header") for form in forms]
    assert apart(results[0], plain, pair) > 0.01
    assert all(apart(results[0], other, pair) == 0 for other in results[1:])
    out = co.register(*both(pair, exclude=half), preset=FEW, initial="header")
    assert float((out.fixed.mask * results[0].fixed.mask).max()) == 0


def test_scores_take_paths_and_any_image(pair):
    plain = co.register(pair / "fixed.nii.gz", pair / "moving.nii.gz", preset=FEW, initial="header")
    assert plain.evaluate().overlap is None
    found = co.evaluate(
        plain,
        fixed_labels=str(pair / "labels.nii.gz"),
        moving_labels=sitk.ReadImage(str(pair / "moving_labels.nii.gz")),
        fixed_points=pair / "points.csv",
        moving_points=read_points(pair / "moving_points.csv"),
    )
    result = co.register(*both(pair), preset=FEW, initial="header")
    assert found == result.evaluate()
    half = co.evaluate(plain, fixed_mask=pair / "half.nii.gz").regularity
    assert half != plain.evaluate().regularity


def test_a_transform_moves_arrays_and_gives_arrays_back(pair):
    result = co.register(*both(pair), preset=FEW, initial="header")
    points = np.array([[1.0, 2.0], [3.0, -4.0]])
    moved = result.transform(points)
    assert isinstance(moved, np.ndarray)
    with torch.no_grad():
        expected = result.transform(torch.as_tensor(points)[None])[0].numpy()
    np.testing.assert_array_equal(moved, expected)
    np.testing.assert_array_equal(result.transform(points[0]), moved[0])
    assert np.abs(result.warp(moved) - points).max() < 0.1
    with pytest.raises(ValueError, match=r"points are an array \(P, D\) or \(D,\)"):
        result.transform(points[None])


def test_a_nibabel_image_is_written(tmp_path):
    affine = np.diag([2.0, 2, 3, 1])
    whole = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    co.write_image(nib.Nifti1Image(whole, affine), tmp_path / "a.nii.gz")
    back = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(back.dataobj), whole)
    assert back.get_data_dtype().kind in "iu"
    np.testing.assert_array_equal(back.affine, affine)
    co.write_image((whole + 0.5, affine), tmp_path / "b.nrrd")
    assert float(co.read_image(tmp_path / "b.nrrd").data.max()) == 23.5


def test_a_frame_belongs_to_one_image(tmp_path):
    volume = textured((24, 22, 20), seed=1).image
    series = np.stack([volume.numpy(), volume.numpy() + 5], -1)
    nib.Nifti1Image(series, volume.grid.affine).to_filename(tmp_path / "4d.nii.gz")
    scan = co.Scan(tmp_path / "4d.nii.gz", frame=1)
    result = co.register(scan, volume, preset=FEW.with_steps(1), initial="header")
    assert result.settings["fixed_frame"] == 1
    assert float((result.fixed.data - volume.data).min()) == pytest.approx(5, abs=1e-4)
    wrong = {"fixed": (scan.image, volume), "moving": (volume, scan.image)}
    for which, given in wrong.items():
        with pytest.raises(ValueError, match=f"frame=N .--{which}-frame N"):
            co.register(*given, preset=FEW)


@pytest.mark.parametrize("kind", ["labels", "points"])
def test_labels_and_landmarks_of_one_image_alone_are_refused(pair, kind):
    fixed, moving = both(pair)
    alone = co.Scan(pair / "fixed.nii.gz", **{kind: getattr(fixed, kind)})
    with pytest.raises(ValueError, match=f"{kind} were given of one image only"):
        co.register(alone, moving.image)


def test_a_series_is_for_folders(pair):
    with pytest.raises(ValueError, match="series= chooses from a folder of DICOM files"):
        co.register(co.Scan(co.read_image(pair / "fixed.nii.gz"), series="1.2"), "b.nii.gz")


def test_a_hash_changes_with_the_content_and_not_with_the_place(pair, tmp_path):
    path = pair / "fixed.nii.gz"
    (tmp_path / "copy.nii.gz").write_bytes(path.read_bytes())
    assert content_hash(path) == content_hash(tmp_path / "copy.nii.gz")
    assert content_hash(path) != content_hash(pair / "moving.nii.gz")
    image = co.read_image(path)
    assert content_hash(image) == content_hash(co.read_image(path))
    assert content_hash(image) != content_hash(image.with_data(image.data + 1))
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.dcm").write_bytes(b"1")
    assert content_hash(tmp_path / "a") != content_hash(tmp_path / "b")
    (tmp_path / "h.hdr").write_bytes(b"header")
    before = content_hash(tmp_path / "h.hdr")
    (tmp_path / "h.img").write_bytes(b"voxels")
    assert content_hash(tmp_path / "h.hdr") != before


def renumbered(pair, tmp_path):
    """The moving labels under other numbers, and tables that lead back, as files."""
    labels = co.read_labels(pair / "moving_labels.nii.gz")
    other = labels.with_data(torch.where(labels.data > 0, labels.data + 40, 0))
    co.write_image(other, tmp_path / "other.nii.gz")
    numbers = [int(n) for n in labels.data.unique() if n > 0]
    tables = {
        "map.csv": ["moving,fixed", *(f"{n + 40},{n}" for n in numbers)],
        "names.csv": ["number,name", *(f"{n},organ {n}" for n in numbers)],
        "other_names.csv": ["number,name", *(f"{n + 40},Organ_{n}" for n in numbers)],
    }
    for name, lines in tables.items():
        (tmp_path / name).write_text("\n".join(lines))
    return tmp_path


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ({}, {"label_map": "map.csv"}),
        ({"label_names": "names.csv"}, {"label_names": "other_names.csv"}),
    ],
    ids=["numbers", "names"],
)
def test_maps_that_number_organs_differently_are_brought_together(pair, tmp_path, own, other):
    place = renumbered(pair, tmp_path)
    fixed, moving = both(pair)
    expected = co.register(fixed, moving, preset=FEW, initial="header").evaluate().overlap
    fixed = dataclasses.replace(fixed, **{k: place / v for k, v in own.items()})
    moving = dataclasses.replace(
        moving, labels=place / "other.nii.gz", **{k: place / v for k, v in other.items()}
    )
    result = co.register(fixed, moving, preset=FEW, initial="header")
    assert result.evaluate().overlap == expected
    back = co.load(result.save(tmp_path / "run", report=False))
    assert back.evaluate().overlap == expected
    assert back.label_names == result.label_names
    assert set(back.hashes) == set(result.hashes) >= {"fixed_labels", "moving_labels"}


def test_landmarks_that_do_not_pair_up_are_refused_before_anything_is_run(pair):
    fixed, moving = both(pair)
    points = dataclasses.replace(fixed, points=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"landmarks of shape \(2, 2\) and .* do not pair up"):
        co.register(points, moving, preset=FEW)
    with pytest.raises(ValueError, match="labels were given of one image only"):
        co.register(fixed, moving.image, preset=FEW)
