"""Round trips of images in every format, with nibabel and SimpleITK as oracles."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from coincide.files.nifti_write import write_nifti
from coincide.files.read import load, read_image, read_labels
from coincide.files.write import write_image
from coincide.space.grid import Grid
from coincide.space.image import Image

ORIENTED = (".nii", ".nii.gz", ".mgh", ".mgz", ".nrrd", ".mha", ".mhd")


def crooked():
    """Axes permuted, flipped, anisotropic, oblique and offset: a misread grid cannot pass."""
    permuted = np.array([[0, 0, -2.0], [1.5, 0, 0], [0, -0.7, 0]])
    turn, _ = np.linalg.qr(np.eye(3) + 0.1 * np.arange(9).reshape(3, 3) / 9)
    turn *= np.sign(np.diag(turn))
    affine = np.eye(4)
    affine[:3, :3] = turn @ permuted
    affine[:3, 3] = [10.5, -20.25, 30.125]
    return affine


def example(seed=0, shape=(7, 9, 12)):
    array = np.random.default_rng(seed).normal(100, 30, shape).astype(np.float32)
    return Image.from_array(array, crooked())


def fill(size, value, kind):
    array = np.zeros(size, kind)
    array.flat[1] = value
    return array


@pytest.mark.parametrize("suffix", ORIENTED)
def test_round_trip(tmp_path, suffix):
    image = example()
    path = tmp_path / f"subject.01{suffix}"
    assert write_image(image, path) == ()
    again = load(path)
    assert again.warnings == ()
    assert again.dtype == np.float32 or again.dtype == np.dtype(">f4")
    torch.testing.assert_close(again.image.data, image.data, rtol=0, atol=0)
    np.testing.assert_allclose(again.image.grid.affine, image.grid.affine, atol=1e-5)
    left = {p.name for p in tmp_path.iterdir()} - {path.name}
    assert left == ({"subject.01.zraw"} if suffix == ".mhd" else set())


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgh", ".mgz"])
def test_nibabel_agrees(tmp_path, suffix):
    image = example()
    write_image(image, tmp_path / f"a{suffix}")
    data = (tmp_path / f"a{suffix}").read_bytes()
    data = gzip.decompress(data) if suffix[-1] == "z" else data
    theirs = (nib.MGHImage if "mg" in suffix else nib.Nifti1Image).from_bytes(data)
    np.testing.assert_array_equal(np.asarray(theirs.dataobj), image.numpy())
    np.testing.assert_allclose(theirs.affine, image.grid.affine, atol=1e-5)
    data = theirs.to_bytes()
    (tmp_path / f"b{suffix}").write_bytes(gzip.compress(data) if suffix[-1] == "z" else data)
    again = read_image(tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(again.numpy(), image.numpy())
    np.testing.assert_allclose(again.grid.affine, image.grid.affine, atol=1e-5)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_simpleitk_agrees(tmp_path, suffix):
    image = example()
    write_image(image, tmp_path / f"a{suffix}")
    theirs = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(theirs).T, image.numpy())
    for index in [(0, 0, 0), (6, 8, 11), (3, 0, 5)]:
        expected = np.array(theirs.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
        np.testing.assert_allclose(image.grid.to_world(np.array(index)), expected, atol=1e-4)
    sitk.WriteImage(theirs, str(tmp_path / f"b{suffix}"))
    again = read_image(tmp_path / f"b{suffix}")
    np.testing.assert_allclose(again.grid.affine, image.grid.affine, atol=1e-4)
    np.testing.assert_array_equal(again.numpy(), image.numpy())


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".png", ".tif"])
def test_flat_images(tmp_path, suffix):
    affine = np.diag([-1.0, -1.0, 1.0])
    if suffix not in (".png", ".tif"):
        affine = np.array([[0, -0.5, 3], [0.8, 0, 4], [0, 0, 1.0]])
    array = np.random.default_rng(0).integers(0, 255, (6, 9)).astype(np.float32)
    image = Image.from_array(array, affine)
    path = tmp_path / f"a{suffix}"
    write_image(image, path)
    again = load(path)
    assert again.image.dim == 2
    np.testing.assert_array_equal(again.image.numpy(), array)
    np.testing.assert_allclose(again.image.grid.affine, affine, atol=1e-6)
    theirs = sitk.ReadImage(str(path))
    assert theirs.GetDimension() == 2
    expected = np.array(theirs.TransformIndexToPhysicalPoint((5, 8))) * -1
    np.testing.assert_allclose(image.grid.to_world(np.array([5, 8])), expected, atol=1e-5)


def test_colours_become_luminance(tmp_path):
    colour = np.random.default_rng(0).integers(0, 255, (5, 4, 3)).astype(np.uint8)
    expected = colour @ [0.2126, 0.7152, 0.0722]
    sitk.WriteImage(sitk.GetImageFromArray(colour, isVector=True), str(tmp_path / "a.png"))
    again = load(tmp_path / "a.png")
    np.testing.assert_allclose(again.image.numpy().T, expected, rtol=1e-5)
    assert any("luminance" in note for note in again.warnings)
    packed = np.zeros((5, 4, 1), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for channel, name in enumerate("RGB"):
        packed[name][..., 0] = colour[..., channel]
    nib.save(nib.Nifti1Image(packed, np.eye(4)), tmp_path / "a.nii.gz")
    again = load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(again.image.numpy()[..., 0], expected, rtol=1e-5)


def test_pairs_and_analyze(tmp_path):
    array = np.random.default_rng(0).integers(0, 999, (4, 5, 6)).astype(np.int16)
    nib.save(nib.Nifti1Pair(array, crooked()), tmp_path / "a.hdr")
    np.testing.assert_array_equal(read_image(tmp_path / "a.hdr").numpy(), array)
    np.testing.assert_allclose(read_image(tmp_path / "a.hdr").grid.affine, crooked(), atol=1e-5)
    np.testing.assert_array_equal(read_image(tmp_path / "a.img").numpy(), array)
    (tmp_path / "a.img").unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.img"):
        load(tmp_path / "a.hdr")
    nib.save(nib.AnalyzeImage(array, np.diag([2, 3, 4, 1])), tmp_path / "b.img")
    again = load(tmp_path / "b.hdr")
    np.testing.assert_array_equal(again.image.numpy(), array)
    np.testing.assert_allclose(again.image.grid.spacing, [2, 3, 4])
    assert any("left and right" in note for note in again.warnings)


def test_big_endian_and_scaling(tmp_path):
    array = np.arange(60, dtype=">i2").reshape(3, 4, 5)
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    image = nib.Nifti1Image(array, crooked(), header)
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "a.nii")
    theirs = nib.load(tmp_path / "a.nii").get_fdata()
    np.testing.assert_allclose(read_image(tmp_path / "a.nii").numpy(), theirs)


@pytest.mark.parametrize("slope", [np.nan, 0.0, np.inf])
def test_useless_scaling_is_ignored(tmp_path, slope):
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    image = nib.Nifti1Image(array, crooked())
    data = bytearray(image.to_bytes())
    data[112:116] = np.float32(slope).tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    again = load(tmp_path / "a.nii")
    np.testing.assert_array_equal(again.image.numpy(), array)
    assert bool(again.warnings) == np.isinf(slope)


def test_long_axis_is_nifti_2(tmp_path):
    image = Image.from_array(np.arange(40000, dtype=np.float32).reshape(40000, 1, 1), crooked())
    write_image(image, tmp_path / "a.nii.gz")
    assert isinstance(nib.load(tmp_path / "a.nii.gz"), nib.Nifti2Image)
    torch.testing.assert_close(read_image(tmp_path / "a.nii.gz").data, image.data)


def test_shear_is_kept_by_nifti_and_noted_by_itk(tmp_path):
    affine = crooked()
    affine[:3, 2] += 0.4 * affine[:3, 1]
    image = Image.from_array(np.ones((5, 6, 7), np.float32), affine)
    write_image(image, tmp_path / "a.nii.gz")
    theirs = nib.load(tmp_path / "a.nii.gz")
    assert (int(theirs.header["sform_code"]), int(theirs.header["qform_code"])) == (1, 0)
    np.testing.assert_allclose(read_image(tmp_path / "a.nii.gz").grid.affine, affine, atol=1e-5)
    (note,) = write_image(image, tmp_path / "a.nrrd")
    assert "mm" in note
    again = read_image(tmp_path / "a.nrrd")
    np.testing.assert_allclose(again.grid.centre, image.grid.centre, atol=1e-4)
    np.testing.assert_allclose(again.grid.direction.T @ again.grid.direction, np.eye(3), atol=1e-6)


class TestNumbers:
    """Nothing wraps and no label changes."""

    def test_intensities_are_rounded_and_clipped(self, tmp_path):
        array = np.array([[[-5.0, 0.4, 254.6, 300.0, 1e9]]], np.float32)
        notes = write_image(Image.from_array(array), tmp_path / "a.nii.gz", dtype=np.uint8)
        assert "clipped" in notes[0]
        again = load(tmp_path / "a.nii.gz")
        assert again.dtype == np.uint8
        assert again.image.numpy().ravel().tolist() == [0, 0, 255, 255, 255]
        for dtype in (np.int32, np.int64):
            write_image(Image.from_array(array * 1e12), tmp_path / "b.nii", dtype=dtype)
            values = read_labels(tmp_path / "b.nii").numpy().ravel()
            assert values[0] < 0 < values[-1]

    @pytest.mark.parametrize("top", [3, 2035, 40000, 2**24 + 1, 2**40 + 1])
    @pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
    def test_labels_stay_exact(self, tmp_path, suffix, top):
        array = np.zeros((4, 5, 6), np.int64)
        array[1, 2, 3], array[3, 2, 1] = top, 1
        write_image(Image.from_array(array), tmp_path / f"a{suffix}")
        again = read_labels(tmp_path / f"a{suffix}")
        assert again.data.dtype == torch.int64
        np.testing.assert_array_equal(again.numpy(), array)

    def test_a_label_that_does_not_fit_is_named(self, tmp_path):
        image = Image.from_array(fill((2, 2, 2), 300, np.int64))
        with pytest.raises(ValueError, match="label 300 does not fit uint8; int16"):
            write_image(image, tmp_path / "a.nii", dtype=np.uint8)
        assert list(tmp_path.iterdir()) == []
        big = Image.from_array(fill((2, 2, 2), 2**24 + 1, np.int64))
        with pytest.raises(ValueError, match="does not fit float32; int32"):
            write_image(big, tmp_path / "a.nii", dtype=np.float32)
        with pytest.raises(ValueError, match="MGH cannot hold int64"):
            write_image(Image.from_array(fill((2, 2, 2), 2**40, np.int64)), tmp_path / "a.mgz")

    def test_label_sources(self, tmp_path):
        whole = fill((3, 3, 3), 7.0, np.float32)
        nib.save(nib.Nifti1Image(whole, np.eye(4)), tmp_path / "a.nii")
        assert read_labels(tmp_path / "a.nii").data.max() == 7
        nib.save(nib.Nifti1Image(whole / 2, np.eye(4)), tmp_path / "b.nii")
        with pytest.raises(ValueError, match=r"1 voxels are not, such as 3\.5"):
            read_labels(tmp_path / "b.nii")
        huge = fill((3, 3, 3), 2**63 + 5, np.uint64)
        nib.save(nib.Nifti1Image(huge, np.eye(4), dtype=np.uint64), tmp_path / "c.nii")
        with pytest.raises(ValueError, match="does not fit int64"):
            read_labels(tmp_path / "c.nii")


def test_what_a_format_cannot_hold_is_refused(tmp_path):
    image = example()
    with pytest.raises(ValueError, match=r"known: \.nii"):
        write_image(image, tmp_path / "a.xyz")
    with pytest.raises(ValueError, match="2-D"):
        write_image(image, tmp_path / "a.png")
    with pytest.raises(ValueError, match="float16"):
        write_image(image, tmp_path / "a.nii", dtype=np.float16)
    with pytest.raises(ValueError, match="batch holds 2"):
        write_image(Image(image.data.repeat(2, 1, 1, 1, 1), image.grid), tmp_path / "a.nii")
    frames = Image(torch.cat([image.data, image.data + 1], 1), image.grid)
    write_image(frames, tmp_path / "a.nii.gz")
    second = read_image(tmp_path / "a.nii.gz", frame=1)
    torch.testing.assert_close(second.data, image.data + 1)
    flat = Image(torch.rand(1, 3, 4, 5), Grid((4, 5), np.eye(3)))
    write_image(flat, tmp_path / "b.nii.gz")
    assert nib.load(tmp_path / "b.nii.gz").shape == (4, 5, 1, 3)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("shape", [(9, 8, 7), (9, 8), (9, 8, 7, 3), (9, 8, 7, 1, 3)])
def test_a_large_nifti_is_written_in_parts_and_is_the_same(tmp_path, monkeypatch, name, shape):
    array = np.random.default_rng(0).integers(-99, 99, shape).astype(np.int16)
    grid = Grid(shape[:3], np.diag([-2.0, 2, 3, 1]) if len(shape) > 2 else np.eye(3))
    for part, once in (("whole", 1 << 26), ("parts", 0)):
        monkeypatch.setattr("coincide.files.nifti_write.ONCE", once)
        monkeypatch.setattr("coincide.files.nifti_write.CHUNK", 300)
        (tmp_path / part).mkdir()
        write_nifti(tmp_path / part / name, array, grid, packed=name.endswith("gz"), interval=2.5)
    one, other = (nib.load(tmp_path / part / name) for part in ("whole", "parts"))
    np.testing.assert_array_equal(np.asarray(other.dataobj).reshape(shape), array)
    assert one.header == other.header
    if name == "a.nii":
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
