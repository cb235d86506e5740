"""Images, labels and points through chains of transforms, in Python and in the terminal."""

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from PIL import Image as Picture

import coincide as co
from coincide.alignment import pulled
from coincide.cli.main import main
from coincide.destination import around, at_spacing, grid_of
from coincide.files.accept import as_image
from coincide.files.itk import write_transform
from coincide.files.read import load, read_image, read_labels
from coincide.files.stored import Stored
from coincide.files.write import write_image
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.deformations import random_affine, smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.tiles import Look, settled, tiled
from coincide.transforms.bspline import BSpline
from coincide.transforms.composite import Composite
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Affine, Translation
from coincide.transforms.symmetric import Symmetric
from coincide.transforms.velocity import Velocity
from coincide.warp import warp_points
from worlds import oblique


def coincide(*arguments):
    main([str(argument) for argument in arguments])


def refused(capsys, *arguments):
    """What a command says that must end with 1."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        coincide(*arguments)
    assert stopped.value.code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in said
    return said


def shift(*mm):
    matrix = np.eye(len(mm) + 1)
    matrix[:-1, -1] = mm
    return Translation(matrix)


@pytest.fixture(scope="module")
def scene():
    """A phantom, an oblique fixed grid, a deformation and an affine."""
    phantom = textured((26, 24, 22), spacing=(1.0, 1.1, 1.3), seed=3)
    fixed = oblique((23, 25, 20), spacing=(1.2, 1.0, 1.4), shift=1.0)
    bend = smooth_displacement(fixed, peak=3, sigma=6, seed=1).requires_grad_(False)
    affine = random_affine(phantom.image.grid, degrees=4, shift=2, scale=0.03, seed=2)
    return phantom, fixed, bend, affine.requires_grad_(False)


def close(one, other, share=0.01):
    """Equal but for rounding; voxels at the very border may be in or out."""
    apart = np.abs(np.asarray(one, float) - np.asarray(other, float)) > 1e-3 * np.ptp(other)
    assert apart.mean() < share


@pytest.mark.parametrize("way", ["linear", "nearest", "cubic"])
def test_a_chain_is_one_resampling_in_the_order_listed(scene, way):
    phantom, fixed, bend, affine = scene
    found = co.warp(phantom.image, [bend, affine], on=fixed, interpolation=way)
    whole = pulled(phantom.image, affine @ bend, fixed, interpolation=way)
    close(found.numpy(), whole.numpy())
    other = pulled(phantom.image, bend @ affine, fixed, interpolation=way).numpy()
    assert np.abs(found.numpy() - other).max() > 0.05 * np.ptp(other)


def test_simpleitk_warps_alike(scene, tmp_path):
    """ITK's composite applies its last member first: bend, then affine."""
    phantom, fixed, bend, affine = scene
    write_image(phantom.image, tmp_path / "m.nii.gz")
    write_image(Image(torch.zeros(1, 1, *fixed.shape), fixed), tmp_path / "f.nii.gz")
    write_transform(affine @ bend, tmp_path / "t.h5")
    write_transform(affine, tmp_path / "a.mat")
    write_transform(bend, tmp_path / "b.nii.gz")
    theirs = sitk.Resample(
        *(sitk.ReadImage(str(tmp_path / f"{n}.nii.gz")) for n in "mf"),
        sitk.ReadTransform(str(tmp_path / "t.h5")),
        sitk.sitkLinear,
    )
    files = (tmp_path / "m.nii.gz", tmp_path / "b.nii.gz", tmp_path / "a.mat")
    coincide("warp", *files, "--on", tmp_path / "f.nii.gz", "--out", tmp_path / "w.nii.gz")
    # ITK ends at the outermost centres, so that a rim of half a voxel differs
    close(nib.load(tmp_path / "w.nii.gz").get_fdata(), sitk.GetArrayFromImage(theirs).T, 0.06)


@pytest.mark.parametrize("how", ["numbers", "prefix"])
def test_any_transform_of_a_chain_can_be_turned_round(scene, tmp_path, how):
    phantom, fixed, bend, affine = scene
    write_image(phantom.image, tmp_path / "m.nii.gz")
    write_image(Image(torch.zeros(1, 1, *fixed.shape), fixed), tmp_path / "f.nii.gz")
    write_transform(affine.inverse(), tmp_path / "a.mat")
    write_transform(bend, tmp_path / "b.nii.gz")
    first, last = tmp_path / "b.nii.gz", tmp_path / "a.mat"
    chain = (first, last, "--inverse", 2) if how == "numbers" else (first, f"inverse:{last}")
    out = ("--on", tmp_path / "f.nii.gz", "--out", tmp_path / "w.nii.gz")
    coincide("warp", tmp_path / "m.nii.gz", *chain, *out)
    expected = co.warp(phantom.image, [bend, affine], on=fixed)
    close(read_image(tmp_path / "w.nii.gz").numpy(), expected.numpy())
    points = fixed.points()[0, ::97].numpy()
    back = warp_points(warp_points(points, [bend, affine]), [affine, bend], inverse=(1, 2))
    assert np.median(np.linalg.norm(back - points, axis=1)) < 0.01


def test_numbers_of_transforms_are_checked(scene, tmp_path, capsys):
    write_image(scene[0].image, tmp_path / "m.nii.gz")
    write_transform(shift(1, 2, 3), tmp_path / "t.h5")
    pair = ("warp", tmp_path / "m.nii.gz", tmp_path / "t.h5", "--out", tmp_path / "w.nii.gz")
    on = ("--on", tmp_path / "m.nii.gz")
    assert "they count from 1 to 1" in refused(capsys, *pair, *on, "--inverse", 2)
    twice = ("warp", tmp_path / "m.nii.gz", f"inverse:{tmp_path / 't.h5'}", *pair[3:], *on)
    assert "leave one of them out" in refused(capsys, *twice, "--inverse", 1)
    assert "give the one whose grid it should get" in refused(capsys, *pair)
    assert "no out given" in refused(capsys, *pair[:3])
    write_transform(shift(1, 2), tmp_path / "flat.tfm")
    assert "has 2 axes, the images or points have 3" in refused(
        capsys, "warp", tmp_path / "m.nii.gz", tmp_path / "flat.tfm", *pair[3:], *on
    )


TRANSFORMS = {
    "linear": lambda grid, _: [Affine(random_affine(grid, degrees=30, seed=1).numpy())],
    "displacement": lambda grid, u: [Displacement(field=u, grid=grid)],
    "velocity": lambda grid, u: [Velocity(field=u, grid=grid)],
    "symmetric": lambda grid, u: [Symmetric(fixed_half=u, moving_half=-u, grid=grid)],
    "chain": lambda grid, u: [Displacement(field=u, grid=grid), shift(1.3, -0.7, 0.2)],
}


@pytest.mark.parametrize("kind", TRANSFORMS)
@pytest.mark.parametrize("way", ["linear", "nearest", "label", "cubic"])
def test_tiles_give_the_same_bits_as_the_whole(scene, kind, way):
    phantom, fixed, bend, _ = scene
    chain = settled(TRANSFORMS[kind](fixed, bend.field.detach()))
    image = phantom.labels if way == "label" else phantom.image
    array = image.numpy().astype(np.int16 if way == "label" else np.float32)
    look = Look(Stored(array, image.grid.affine), chain, way, -7.0, array.dtype)
    with torch.no_grad():
        whole = tiled(look, fixed, tile=(99, 99, 99))
        for tile in ((64, 64, 1), (7, 5, 9), (1, 30, 4)):
            np.testing.assert_array_equal(tiled(look, fixed, tile=tile), whole)
    assert len(np.unique(whole)) > 3


def test_other_transforms_are_seen_through_tiles_too(scene):
    phantom, fixed, _, _ = scene
    spline = BSpline(spacing=8.0).on(fixed)
    with torch.no_grad():
        spline.coefficients.normal_(std=2, generator=torch.Generator().manual_seed(0))
    expected = pulled(phantom.image, spline, fixed)
    close(co.warp(phantom.image, spline, on=fixed).numpy(), expected.numpy())
    composite = Composite([shift(1, 0, 0), spline])
    expected = pulled(phantom.image, composite, fixed)
    close(co.warp(phantom.image, composite, on=fixed).numpy(), expected.numpy())


def test_memory_stays_bounded_where_a_coarse_grid_looks_at_a_large_image(scene, monkeypatch):
    """A tile that would look at more than fits is halved, and nothing else changes."""
    phantom, fixed, bend, _ = scene
    look = Look(
        Stored(phantom.image.numpy(), phantom.image.grid.affine),
        [bend],
        "linear",
        0.0,
        np.dtype(np.float32),
    )
    whole = tiled(look, fixed)
    monkeypatch.setattr("coincide.tiles.BOX", 500)
    np.testing.assert_array_equal(tiled(look, fixed), whole)


class TestLabels:
    def grid(self):
        return Grid((12, 10, 8), np.diag([1.0, 1, 1, 1]))

    def labels(self, folder, dtype=np.uint8, values=(0, 10, 20)):
        array = np.array(values)[np.arange(960).reshape(12, 10, 8) // 250 % len(values)]
        path = folder / "l.nii.gz"
        nib.save(nib.Nifti1Image(array.astype(dtype), np.eye(4), dtype=dtype), path)
        return path

    def warp(self, folder, path, *more):
        write_transform(shift(0.5, 0.3, 0.2), folder / "t.tfm")
        out = folder / "w.nii.gz"
        coincide("warp", path, folder / "t.tfm", "--on", path, "--out", out, *more)
        return np.asarray(nib.load(out).dataobj)

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
    def test_few_whole_numbers_are_labels_and_that_is_said(self, tmp_path, capsys, dtype):
        found = self.warp(tmp_path, self.labels(tmp_path, dtype))
        assert set(np.unique(found)) == {0, 10, 20}
        assert found.dtype == dtype
        said = " ".join(capsys.readouterr().err.split())
        assert "3 different whole numbers and is taken as a label map" in said
        assert "--interpolation linear" in said

    def test_linear_overrules(self, tmp_path, capsys):
        found = self.warp(tmp_path, self.labels(tmp_path), "--interpolation", "linear")
        assert len(np.unique(found)) > 3
        assert "label map" not in capsys.readouterr().err

    def test_python_recognises_them_too(self, tmp_path):
        found = co.warp(self.labels(tmp_path), shift(0.5, 0.3, 0.2), on=self.grid())
        assert found.data.dtype == torch.uint8
        assert found.data.unique().tolist() == [0, 10, 20]

    def test_an_atlas_of_many_regions_is_one_a_grey_image_is_none(self):
        atlas = (np.arange(40)[:, None, None] // 4 * 10 + np.arange(40)[:, None] // 4) + np.zeros(
            (40, 40, 8)
        )
        grey = np.random.default_rng(0).integers(0, 100, (40, 40, 8))
        found = co.warp((atlas.astype(np.int16), np.eye(4)), shift(0.5, 0, 0), on=1.0)
        assert set(np.unique(found)) <= set(range(100))
        again = co.warp((grey.astype(np.int16), np.eye(4)), shift(0.5, 0, 0), on=1.0)
        linear = co.warp(
            (grey.astype(np.int16), np.eye(4)), shift(0.5, 0, 0), on=1.0, interpolation="linear"
        )
        np.testing.assert_array_equal(again, linear)

    def test_real_maps_are_told_from_real_images(self, real_data):
        from coincide.files.label_map import label_values
        from coincide.files.read import stored

        maps = ("brain_t1_labels/hcp100307_aparc2009s_aseg", "abdomen_ct_mr/ts_CT_labels117")
        images = ("brain_t1_labels/hcp100307_T1brain", "brain_slab_tissue/slab37_T1")
        assert all(label_values(stored(real_data / f"{name}.nii.gz")) for name in maps)
        assert not any(label_values(stored(real_data / f"{name}.nii.gz")) for name in images)


class TestOutside:
    def ct(self, low):
        array = np.random.default_rng(0).integers(low, 900, (8, 9, 10)).astype(np.int16)
        array[0, 0, 0] = low
        return nib.Nifti1Image(array, np.eye(4))

    def far(self, image, **options):
        return np.asarray(co.warp(image, shift(50, 0, 0), on=image, **options).dataobj)

    def test_beyond_ct_there_is_air(self):
        assert (self.far(self.ct(-1024)) == -1024).all()

    def test_beyond_other_images_there_is_nothing(self):
        assert (self.far(self.ct(-200)) == 0).all()

    def test_a_given_value_counts(self, tmp_path):
        assert (self.far(self.ct(-1024), outside=-5) == -5).all()
        with pytest.raises(ValueError, match=r"70000 for outside does not fit the image's int16"):
            self.far(self.ct(0), outside=70000)
        nib.save(self.ct(-1024), tmp_path / "m.nii.gz")
        write_transform(shift(3, 0, 0), tmp_path / "t.tfm")
        files = (tmp_path / "m.nii.gz", tmp_path / "t.tfm", "--on", tmp_path / "m.nii.gz")
        coincide("warp", *files, "--outside", -77, "--out", tmp_path / "w.nii.gz")
        found = np.asarray(nib.load(tmp_path / "w.nii.gz").dataobj)
        assert (found[5:] == -77).all()
        np.testing.assert_array_equal(found[:5], np.asarray(self.ct(-1024).dataobj)[3:])

    def test_help_says_so(self, capsys):
        with pytest.raises(SystemExit):
            coincide("warp", "--help")
        said = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert "its lowest value if that is below -500, as in CT; otherwise 0" in said


def picture(path, mode="RGB", size=(40, 30)):
    random = np.random.default_rng(1)
    shape = (*size[::-1], len(mode))
    array = np.kron(
        random.integers(0, 255, (size[1] // 5, size[0] // 5, len(mode))), np.ones((5, 5, 1))
    )
    Picture.fromarray(array.astype(np.uint8).reshape(shape), mode).save(path)
    return array.astype(np.uint8)


class TestChannels:
    @pytest.mark.parametrize(
        ("suffix", "mode"), [(".png", "RGB"), (".png", "RGBA"), (".tif", "RGB")]
    )
    def test_colour_pictures_stay_in_colour(self, tmp_path, suffix, mode):
        array = picture(tmp_path / f"p{suffix}", mode)
        write_transform(shift(-3, -2), tmp_path / "t.tfm")  # RAS: x and y of a picture grow to LPS
        files = (tmp_path / f"p{suffix}", tmp_path / "t.tfm", "--on", tmp_path / f"p{suffix}")
        coincide("warp", *files, "--out", tmp_path / f"w{suffix}")
        found = np.asarray(Picture.open(tmp_path / f"w{suffix}"))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found[:28, :37], array[2:, 3:])
        assert (found[28:] == 0).all()

    def test_jpeg_is_written_in_colour(self, tmp_path, capsys):
        x, y = np.meshgrid(np.arange(40), np.arange(30))
        array = np.stack([6 * x, 8 * y, 200 - 3 * x], -1).astype(np.uint8)
        Picture.fromarray(array).save(tmp_path / "p.png")
        pair = ("warp", tmp_path / "p.png", "--on", tmp_path / "p.png")
        coincide(*pair, "--out", tmp_path / "w.jpg")
        found = np.asarray(Picture.open(tmp_path / "w.jpg"), float)
        assert found.shape == array.shape
        assert np.abs(found - array).mean() < 4
        assert "JPEG loses detail" in capsys.readouterr().err

    def test_colours_of_nifti_stay_colours(self, tmp_path):
        colour = np.random.default_rng(0).integers(0, 255, (6, 5, 4, 3)).astype(np.uint8)
        kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
        nib.save(nib.Nifti1Image(colour.view(kind)[..., 0], np.eye(4)), tmp_path / "c.nii.gz")
        files = (tmp_path / "c.nii.gz", "--on", tmp_path / "c.nii.gz")
        coincide("warp", *files, "--out", tmp_path / "w.nii.gz")
        found = np.asarray(nib.load(tmp_path / "w.nii.gz").dataobj)
        assert found.dtype == kind
        np.testing.assert_array_equal(np.stack([found[c] for c in "RGB"], -1), colour)

    def test_reading_in_colour_is_asked_for(self, tmp_path):
        array = picture(tmp_path / "p.png")
        found = load(tmp_path / "p.png", colour=True).image
        np.testing.assert_array_equal(found.data[0].numpy(), array.transpose(2, 1, 0))
        assert as_image(tmp_path / "p.png", colour=True).image.data.shape == (1, 3, 40, 30)
        assert load(tmp_path / "p.png").image.data.shape == (1, 1, 40, 30)
        picture(tmp_path / "a.png", "RGBA")
        found = load(tmp_path / "a.png", colour=True)
        assert found.image.data.shape == (1, 3, 40, 30)
        assert any("opacity" in note for note in found.warnings)

    def test_every_frame_is_warped(self, tmp_path):
        array = np.random.default_rng(0).random((8, 9, 10, 3)).astype(np.float32)
        image = nib.Nifti1Image(array, np.diag([2, 2, 2, 1]))
        image.header.set_xyzt_units("mm", "msec")
        image.header["pixdim"][4] = 750
        nib.save(image, tmp_path / "f.nii.gz")
        write_transform(shift(2, 0, 0), tmp_path / "t.tfm")
        files = (tmp_path / "f.nii.gz", tmp_path / "t.tfm", "--on", tmp_path / "f.nii.gz")
        coincide("warp", *files, "--out", tmp_path / "w.nii.gz")
        found = nib.load(tmp_path / "w.nii.gz")
        np.testing.assert_allclose(found.get_fdata()[:7], array[1:], atol=1e-6)
        assert found.header.get_zooms()[3] == pytest.approx(0.75)
        coincide("warp", *files, "--frame", 1, "--out", tmp_path / "one.nii.gz")
        found = nib.load(tmp_path / "one.nii.gz").get_fdata()
        np.testing.assert_allclose(found[:7], array[1:, ..., 1], atol=1e-6)

    @pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
    def test_vectors_are_moved_with_their_voxel(self, tmp_path, capsys, suffix):
        array = np.random.default_rng(0).random((8, 9, 10, 1, 3)).astype(np.float32)
        image = nib.Nifti1Image(array, np.eye(4))
        image.header.set_intent("vector")
        nib.save(image, tmp_path / "v.nii.gz")
        write_transform(shift(1, 0, 0), tmp_path / "t.tfm")
        files = (tmp_path / "v.nii.gz", tmp_path / "t.tfm", "--on", tmp_path / "v.nii.gz")
        coincide("warp", *files, "--out", tmp_path / f"w{suffix}")
        assert "not turned" in capsys.readouterr().err
        found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"w{suffix}")))
        assert found.shape == (10, 9, 8, 3)
        # ITK turns the vectors of NIfTI files with this intent into its own world
        known = np.abs(found.transpose(2, 1, 0, 3))
        np.testing.assert_allclose(known[:7], array[1:, ..., 0, :], atol=1e-6)

    def test_a_slice_of_two_axes_with_frames(self):
        data = torch.rand(1, 4, 7, 6)
        image = Image(data, Grid((7, 6), np.eye(3)))
        found = co.warp(image, shift(1, 0), on=image.grid)
        torch.testing.assert_close(found.data[:, :, :6], data[:, :, 1:])


class TestPlace:
    def test_a_grid_file_says_where(self, scene, tmp_path):
        phantom, fixed, bend, _ = scene
        content = {"shape": fixed.shape, "affine": fixed.affine.tolist()}
        (tmp_path / "g.json").write_text(json.dumps(content))
        assert co.warp(phantom.image, bend, on=tmp_path / "g.json").grid == fixed
        (tmp_path / "g.json").write_text("{}")
        with pytest.raises(ValueError, match="is not a grid file"):
            co.warp(phantom.image, bend, on=tmp_path / "g.json")

    @pytest.mark.parametrize("shape", [(5, 6), (5, 6, 7), (5, 6, 7, 3)])
    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_of_a_nifti_image_only_the_header_is_read(self, tmp_path, shape, suffix):
        affine = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
        array = np.random.default_rng(0).random(shape).astype(np.float32)
        nib.save(nib.Nifti1Image(array, affine), tmp_path / f"a{suffix}")
        grid = read_image(tmp_path / f"a{suffix}", frame=0).grid
        data = (tmp_path / f"a{suffix}").read_bytes()
        if suffix == ".nii":  # no voxel is missed
            (tmp_path / f"a{suffix}").write_bytes(data[:400])
        assert grid_of(tmp_path / f"a{suffix}") == grid

    def test_a_spacing_on_an_image_covers_the_same_place(self, scene):
        phantom, fixed, bend, _ = scene
        found = co.warp(phantom.image, bend, on=fixed, spacing=2.5).grid
        assert found.spacing.tolist() == pytest.approx([2.5] * 3)
        np.testing.assert_allclose(found.centre, fixed.centre)
        assert (found.extent >= fixed.extent - 1e-6).all()
        assert (found.extent < fixed.extent + 2.5).all()
        assert at_spacing(fixed, fixed.spacing) == fixed
        long = co.warp(phantom.image, bend, on=fixed, spacing=(1, 2, 3)).grid
        assert long.spacing.tolist() == pytest.approx([1, 2, 3])

    def test_a_spacing_alone_holds_the_whole_moving_image(self, scene):
        phantom, _, _, affine = scene
        own = phantom.image.grid
        assert around(own, [], own.spacing) == own
        grid = around(own, [affine], np.full(3, 1.5))
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in own.shape])).reshape(3, -1).T
        index = grid.to_index(warp_points(own.to_world(corners), affine, inverse=(1,)))
        assert (index > -0.5).all()
        assert (index < np.array(grid.shape) - 0.5).all()

    @pytest.mark.parametrize("options", [("--on", "2"), ("--spacing", "2")])
    def test_a_number_is_a_spacing(self, scene, tmp_path, options):
        write_image(scene[0].image, tmp_path / "m.nii.gz")
        coincide("warp", tmp_path / "m.nii.gz", *options, "--out", tmp_path / "w.nii.gz")
        found = read_image(tmp_path / "w.nii.gz").grid
        assert found.spacing.tolist() == pytest.approx([2, 2, 2])
        np.testing.assert_allclose(found.centre, scene[0].image.grid.centre, atol=1e-4)

    @pytest.mark.parametrize("wrong", [0, -2, (1, 2), np.nan])
    def test_a_spacing_that_is_none_is_refused(self, scene, wrong):
        with pytest.raises(ValueError, match="one length above 0 mm, or 3 of them"):
            co.warp(scene[0].image, on=scene[1], spacing=wrong)

    def test_axes_must_agree(self, scene):
        with pytest.raises(ValueError, match=r"the moving image has 3 axes and the grid .* 2"):
            co.warp(scene[0].image, on=Grid((4, 4), np.eye(3)))


class TestVoxels:
    def test_an_image_without_numbers_is_refused(self, tmp_path, capsys):
        nib.save(
            nib.Nifti1Image(np.full((5, 5, 5), np.nan, np.float32), np.eye(4)), tmp_path / "n.nii"
        )
        path = tmp_path / "n.nii"
        said = refused(capsys, "warp", path, "--on", path, "--out", tmp_path / "w.nii")
        assert "every voxel is NaN" in said
        assert not (tmp_path / "w.nii").exists()

    def test_holes_are_outside_and_darken_nothing(self):
        array = np.full((9, 9, 9), 5.0, np.float32)
        array[3:6, 3:6, 3:6] = np.nan
        found = co.warp(
            (array, np.eye(4)), shift(0.25, 0, 0), on=Grid((9, 9, 9), np.eye(4)), outside=-1
        )
        assert set(np.unique(found.round(4))) == {-1, 5}
        assert found[4, 4, 4] == -1
        assert found[1, 1, 1] == 5

    def test_scaled_whole_numbers_keep_their_fractions(self, tmp_path):
        """Stored as int16 with a slope of 0.001: values from 0 to 1."""
        image = nib.Nifti1Image(np.random.default_rng(0).random((8, 8, 8)), np.eye(4))
        image.header.set_data_dtype(np.int16)
        nib.save(image, tmp_path / "s.nii.gz")
        coincide(
            "warp",
            tmp_path / "s.nii.gz",
            "--on",
            tmp_path / "s.nii.gz",
            "--out",
            tmp_path / "w.nii.gz",
        )
        found = nib.load(tmp_path / "w.nii.gz").get_fdata()
        np.testing.assert_allclose(found, image.get_fdata(), atol=1e-4)
        coincide("convert", tmp_path / "s.nii.gz", tmp_path / "c.nii.gz")
        found = nib.load(tmp_path / "c.nii.gz").get_fdata()
        np.testing.assert_allclose(found, image.get_fdata(), atol=1e-4)

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
    def test_the_number_type_stays(self, tmp_path, dtype):
        array = np.random.default_rng(0).integers(0, 200, (40, 40, 6)).astype(dtype)
        nib.save(nib.Nifti1Image(array, np.eye(4), dtype=dtype), tmp_path / "a.nii")
        coincide(
            "warp", tmp_path / "a.nii", "--on", tmp_path / "a.nii", "--out", tmp_path / "w.nii"
        )
        found = np.asarray(nib.load(tmp_path / "w.nii").dataobj)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, array)

    def test_an_empty_label_map_can_be_warped_but_not_scored(self, tmp_path):
        path = tmp_path / "z.nii.gz"
        nib.save(nib.Nifti1Image(np.zeros((5, 5, 5), np.uint8), np.eye(4)), path)
        coincide(
            "warp", path, "--on", path, "--interpolation", "label", "--out", tmp_path / "w.nii"
        )
        assert not np.asarray(nib.load(tmp_path / "w.nii").dataobj).any()
        with pytest.raises(ValueError, match=r"z\.nii\.gz holds no labels: every voxel is 0"):
            read_labels(path)


class TestPoints:
    def test_each_format_is_written_as_it_was_read(self, tmp_path):
        write_transform(shift(10, 20, 30), tmp_path / "t.h5")
        markup = {
            "coordinateSystem": "LPS",
            "controlPoints": [{"label": "apex", "position": [1, 2, 3]}],
        }
        (tmp_path / "p.mrk.json").write_text(json.dumps({"markups": [markup]}))
        coincide(
            "warp", tmp_path / "p.mrk.json", tmp_path / "t.h5", "--out", tmp_path / "q.mrk.json"
        )
        found = json.loads((tmp_path / "q.mrk.json").read_text())["markups"][0]["controlPoints"][0]
        assert found == {"label": "apex", "position": [-9.0, -18.0, 33.0]}

    def test_pixels_of_pictures_go_to_pixels_of_pictures(self, tmp_path, capsys):
        picture(tmp_path / "f.png")
        picture(tmp_path / "m.png", size=(60, 50))
        write_transform(shift(-3, -2), tmp_path / "t.tfm")
        (tmp_path / "p.csv").write_text(",X,Y\n1,5,7\n")
        files = (tmp_path / "p.csv", tmp_path / "t.tfm", "--on", tmp_path / "m.png")
        coincide("warp", *files, "--out", tmp_path / "q.csv")
        assert (tmp_path / "q.csv").read_text() == ",X,Y\n1,8.0,9.0\n"
        assert "1 points (pixels)" in capsys.readouterr().out

    def test_voxels_need_both_images(self, tmp_path, capsys):
        for name, size in (("f", 2.0), ("m", 0.5)):
            affine = np.diag([size, size, size, 1])
            write_image(
                Image(torch.zeros(1, 1, 9, 9, 9), Grid((9, 9, 9), affine)), tmp_path / f"{name}.nii"
            )
        write_transform(shift(1, 0, 0), tmp_path / "t.tfm")
        (tmp_path / "p.csv").write_text("x,y,z\n1,2,0\n")
        files = ("warp", tmp_path / "p.csv", tmp_path / "t.tfm", "--out", tmp_path / "q.csv")
        options = ("--world", "pixel")
        assert "--of in coincide warp" in refused(capsys, *files, *options)
        options = (*options, "--of", tmp_path / "f.nii")
        assert "--on FIXED" in refused(capsys, *files, *options)
        coincide(*files, *options, "--on", tmp_path / "m.nii")
        assert (tmp_path / "q.csv").read_text() == "x,y,z\n6.0,8.0,0.0\n"

    def test_options_of_images_are_refused(self, tmp_path, capsys):
        (tmp_path / "p.csv").write_text("x,y,z\n1,2,0\n")
        said = refused(
            capsys, "warp", tmp_path / "p.csv", "--spacing", 2, "--out", tmp_path / "q.csv"
        )
        assert "holds points; --spacing is for images" in said
