"""Bad images: each is refused or mended, and says so."""

import gzip
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from coincide.files.read import load, read_image
from coincide.files.write import write_image
from coincide.space.image import Image


def saved(path, affine=None, shape=(6, 7, 8), dtype=np.int16, **fields):
    """A NIfTI file whose header fields are overwritten byte by byte."""
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    image = nib.Nifti1Image(array, np.diag([2, 2, 3, 1.0]) if affine is None else affine)
    image.header.set_xyzt_units("mm")
    data = bytearray(image.to_bytes())
    header = nib.Nifti1Header(bytes(data[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    data[:348] = header.binaryblock
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return array


@pytest.mark.parametrize("keep", [0.3, 0.999])
def test_truncated_gzip(tmp_path, keep):
    path = tmp_path / "a.nii.gz"
    saved(path, shape=(40, 40, 40))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ValueError, match="cut off or damaged"):
        load(path)


def test_corrupt_gzip(tmp_path):
    path = tmp_path / "a.nii.gz"
    saved(path, shape=(40, 40, 40))
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF  # checksum
    path.write_bytes(data)
    with pytest.raises(ValueError, match="checksum"):
        load(path)


def test_several_gzip_streams_are_one_file(tmp_path):
    array = saved(tmp_path / "a.nii")
    data = (tmp_path / "a.nii").read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(data[:300]) + gzip.compress(data[300:]))
    np.testing.assert_array_equal(read_image(path).numpy(), array)


def test_truncated_voxels(tmp_path):
    path = tmp_path / "a.nii"
    saved(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"a\.nii is cut off.*copy or download"):
        load(path)


@pytest.mark.parametrize(("real", "false"), [("a.nii", "b.nii.gz"), ("a.nii.gz", "b.nii")])
def test_wrong_suffix_is_seen_through(tmp_path, real, false):
    array = saved(tmp_path / real)
    shutil.copy(tmp_path / real, tmp_path / false)
    found = load(tmp_path / false)
    np.testing.assert_array_equal(found.image.numpy(), array)
    assert any("name says otherwise" in note for note in found.warnings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"hello, this is not an image at all", "known: NIfTI"),
    ],
)
def test_not_an_image(tmp_path, content, message):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load(path)


def test_missing_file_names_its_neighbour(tmp_path):
    saved(tmp_path / "brain.nii.gz")
    with pytest.raises(FileNotFoundError, match=r"beside it are brain\.nii\.gz"):
        load(tmp_path / "brain.nii")


def test_no_affine(tmp_path):
    saved(tmp_path / "a.nii", sform_code=0, qform_code=0)
    found = load(tmp_path / "a.nii")
    assert any("left and right" in note for note in found.warnings)
    np.testing.assert_allclose(found.image.grid.spacing, [2, 2, 3])
    np.testing.assert_allclose(found.image.grid.centre, 0, atol=1e-9)


def test_zero_sform_is_missing(tmp_path):
    rows = {f"srow_{axis}": 0 for axis in "xyz"}
    saved(tmp_path / "a.nii", sform_code=1, qform_code=1, **rows)
    found = load(tmp_path / "a.nii")
    assert any("sform has code 1 but cannot be inverted" in note for note in found.warnings)
    np.testing.assert_allclose(found.image.grid.affine, np.diag([2, 2, 3, 1]), atol=1e-6)


@pytest.mark.parametrize(
    ("codes", "rule"), [((1, 1), "sform"), ((2, 1), "qform"), ((0, 1), "qform"), ((2, 0), "sform")]
)
def test_sform_against_qform(tmp_path, codes, rule):
    fields = {"sform_code": codes[0], "qform_code": codes[1], "qoffset_x": 10.0}
    saved(tmp_path / "a.nii", **fields)
    found = load(tmp_path / "a.nii")
    assert found.image.grid.origin[0] == {"sform": 0, "qform": 10}[rule]
    said = [note for note in found.warnings if "disagree by 10 mm" in note]
    assert len(said) == (0 not in codes)
    if 0 not in codes:
        assert read_image(tmp_path / "a.nii", use="sform").grid.origin[0] == 0
        assert read_image(tmp_path / "a.nii", use="qform").grid.origin[0] == 10
    else:
        missing = "sform" if codes[0] == 0 else "qform"
        with pytest.raises(ValueError, match=f"no usable {missing}"):
            load(tmp_path / "a.nii", use=missing)


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (2, 2), (1, 0), (0, 1)])
def test_rule_is_that_of_itk(tmp_path, codes):
    sitk = pytest.importorskip("SimpleITK")
    fields = {"sform_code": codes[0], "qform_code": codes[1], "qoffset_x": 10.0}
    saved(tmp_path / "a.nii", **fields)
    theirs = sitk.ReadImage(str(tmp_path / "a.nii"))
    ours = read_image(tmp_path / "a.nii").grid
    np.testing.assert_allclose(ours.origin, np.array(theirs.GetOrigin()) * [-1, -1, 1], atol=1e-5)


def test_shear_is_kept(tmp_path):
    affine = np.diag([2, 2, 3, 1.0])
    affine[1, 2] = 0.8
    saved(tmp_path / "a.nii", affine, qform_code=0)
    found = load(tmp_path / "a.nii")
    np.testing.assert_allclose(found.image.grid.affine, affine, atol=1e-6)


@pytest.mark.parametrize("bad", [0.0, np.nan])
def test_no_spacing_is_an_error(tmp_path, bad):
    pixdim = np.array([1, 2, bad, 3, 1, 1, 1, 1])
    saved(tmp_path / "a.nii", sform_code=0, qform_code=0, pixdim=pixdim)
    with pytest.raises(ValueError, match="set pixdim"):
        load(tmp_path / "a.nii")
    saved(tmp_path / "b.nii", sform_code=0, qform_code=1, pixdim=pixdim)
    with pytest.raises(ValueError, match="set pixdim"):
        load(tmp_path / "b.nii")


def test_negative_pixdim_flips_its_axis(tmp_path):
    pixdim = np.array([1, -2, 2, 3, 1, 1, 1, 1])
    saved(tmp_path / "a.nii", sform_code=0, qform_code=1, pixdim=pixdim)
    np.testing.assert_allclose(np.diag(read_image(tmp_path / "a.nii").grid.affine)[0], -2)


@pytest.mark.parametrize(("code", "scale", "name"), [(1, 1e3, "metres"), (3, 1e-3, "micrometres")])
def test_units_become_mm(tmp_path, code, scale, name):
    saved(tmp_path / "a.nii", np.diag([2 / scale, 2 / scale, 3 / scale, 1]), xyzt_units=code)
    found = load(tmp_path / "a.nii")
    np.testing.assert_allclose(found.image.grid.spacing, [2, 2, 3], rtol=1e-5)
    assert any(name in note for note in found.warnings)


@pytest.mark.parametrize("size", [5e-4, 80.0])
def test_implausible_spacing_warns(tmp_path, size):
    saved(tmp_path / "a.nii", np.diag([size, size, size, 1]))
    assert any("implausible" in note for note in load(tmp_path / "a.nii").warnings)


def test_voxels_that_are_not_numbers_are_masked(tmp_path):
    array = np.ones((4, 5, 6), np.float32)
    array[0, 0, 0], array[1, 2, 3], array[2, 2, 2] = np.nan, np.inf, -np.inf
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    found = load(tmp_path / "a.nii.gz")
    assert any("3 of 120 voxels" in note for note in found.warnings)
    assert found.image.mask is not None
    np.testing.assert_array_equal(found.image.mask[0, 0].numpy(), np.isfinite(array))
    assert float(found.image.data.sum()) == 117


def test_frames_are_chosen(tmp_path):
    array = saved(tmp_path / "a.nii.gz", shape=(4, 5, 6, 3))
    with pytest.raises(ValueError, match=r"choose one of 0 to 2 .*--frame N"):
        load(tmp_path / "a.nii.gz")
    second = read_image(tmp_path / "a.nii.gz", frame=1)
    np.testing.assert_array_equal(second.numpy(), array[..., 1])
    with pytest.raises(ValueError, match="frame 3 is not there"):
        load(tmp_path / "a.nii.gz", frame=3)
    saved(tmp_path / "b.nii", shape=(4, 5, 6, 1))
    assert read_image(tmp_path / "b.nii").dim == 3
    saved(tmp_path / "c.nii", shape=(4, 5, 1))
    assert read_image(tmp_path / "c.nii").grid.shape == (4, 5, 1)
    saved(tmp_path / "d.nii", shape=(4, 5, 6, 1, 3))
    with pytest.raises(ValueError, match="displacement field"):
        load(tmp_path / "d.nii")


def test_complex_and_hdf5_are_explained(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.complex64), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ValueError, match="magnitude"):
        load(tmp_path / "a.nii")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(400))
    with pytest.raises(ValueError, match="read_transform"):
        load(tmp_path / "a.h5")


def test_a_later_read_does_not_see_a_change_of_the_file(tmp_path):
    image = Image.from_array(np.ones((3, 4, 5), np.float32))
    write_image(image, tmp_path / "a.nii")
    first = read_image(tmp_path / "a.nii")
    write_image(image.with_data(image.data * 2), tmp_path / "a.nii")
    torch.testing.assert_close(first.data, image.data)
