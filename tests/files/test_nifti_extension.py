"""NIfTI header extensions, which AFNI and others write into every file, do not stop the voxels."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
import torch

import coincide as co
from coincide.files.doctor import inspect
from coincide.files.itk import read_transform, write_transform
from coincide.files.nifti import stored_header
from coincide.files.read import load
from coincide.space.grid import Grid
from coincide.transforms.displacement import Displacement

AFFINE = np.array([[0, 0, -2.0, 5], [1.5, 0, 0, -3], [0, -0.7, 0, 8], [0, 0, 0, 1]])
KINDS = {1: (nib.Nifti1Image, nib.Nifti1Pair), 2: (nib.Nifti2Image, nib.Nifti2Pair)}
SIZES = (0, 20, 2_000, 100_000)


def example(size, version=1, pair=False):
    """An image of nibabel with an extension of `size` bytes, and its voxels."""
    array = np.arange(6 * 7 * 8, dtype=np.int16).reshape(6, 7, 8)
    image = KINDS[version][pair](array, AFFINE)
    image.header.set_xyzt_units("mm")
    if size:
        image.header.extensions.append(nib.nifti1.Nifti1Extension(4, b"<AFNI " + b"x" * size))
    return image, array


def saved(path, image):
    data = image.to_bytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("size", SIZES)
def test_an_extension_of_any_length_is_passed_over(tmp_path, size, suffix, version):
    image, array = example(size, version)
    path = saved(tmp_path / f"a{suffix}", image)
    found = load(path)
    assert found.warnings == ()
    np.testing.assert_array_equal(found.image.numpy(), array)
    np.testing.assert_allclose(found.image.grid.affine, AFFINE, atol=1e-6)
    shape, affine = stored_header(path)
    assert shape == array.shape
    np.testing.assert_allclose(affine, AFFINE, atol=1e-6)
    assert "6 x 7 x 8 voxels" in " ".join(map(str, inspect(path)))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_an_extension_of_a_pair_stands_in_its_header(tmp_path, size, packed, version):
    image, array = example(size, version, pair=True)
    nib.save(image, tmp_path / f"a.img{'.gz' if packed else ''}")
    for name in ("a.hdr.gz", "a.img.gz") if packed else ("a.hdr", "a.img"):
        found = load(tmp_path / name)
        assert found.warnings == ()
        np.testing.assert_array_equal(found.image.numpy(), array)


@pytest.mark.parametrize(
    ("size", "said"),
    [(21, "not a multiple of 16"), (10**6, "reaches past"), (-16, "less than 16"), (0, None)],
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_malformed_extension_is_noted_and_the_voxels_are_read(
    tmp_path, version, order, size, said
):
    image, array = example(2_000, version)
    image = type(image)(array, AFFINE, image.header.as_byteswapped(order))
    image.header.extensions.append(nib.nifti1.Nifti1Extension(4, b"x" * 2_000))
    data = bytearray(image.to_bytes())
    start = 352 if version == 1 else 544
    data[start : start + 8] = struct.pack(f"{order}ii", size, 4 if said else 0)
    (tmp_path / "a.nii").write_bytes(data)
    found = load(tmp_path / "a.nii")
    np.testing.assert_array_equal(found.image.numpy(), array)
    assert [said in note for note in found.warnings] == ([True] if said else [])


def test_voxels_said_to_begin_inside_the_header_begin_after_it(tmp_path):
    image, array = example(0)
    data = bytearray(image.to_bytes())
    data[108:112] = struct.pack("<f", 0)  # vox_offset
    (tmp_path / "a.nii").write_bytes(data)
    found = load(tmp_path / "a.nii")
    np.testing.assert_array_equal(found.image.numpy(), array)
    assert "byte 0" in found.warnings[0]


def test_a_header_that_is_cut_off_says_so(tmp_path):
    image, _ = example(0, version=2)
    (tmp_path / "a.nii").write_bytes(image.to_bytes()[:400])
    with pytest.raises(ValueError, match="cut off"):
        load(tmp_path / "a.nii")


def test_a_displacement_with_an_extension_is_read(tmp_path):
    grid = Grid((6, 7, 8), AFFINE)
    field = torch.randn(1, 3, *grid.shape, generator=torch.Generator().manual_seed(0))
    write_transform(Displacement(field=field, grid=grid), tmp_path / "a.nii")
    image = nib.Nifti1Image.from_bytes((tmp_path / "a.nii").read_bytes())
    image.header.extensions.append(nib.nifti1.Nifti1Extension(4, b"x" * 3_000))
    image.header["vox_offset"] = 0  # for nibabel to place the voxels anew
    saved(tmp_path / "b.nii.gz", image)
    again = read_transform(tmp_path / "b.nii.gz")
    torch.testing.assert_close(again.field.detach(), field, rtol=0, atol=0)


def test_register_takes_images_with_long_extensions(tmp_path):
    x = np.stack(np.meshgrid(*[np.arange(16.0)] * 3, indexing="ij"))
    paths = []
    for name, middle in (("fixed", 7.0), ("moving", 8.0)):
        array = np.exp(-((x - middle) ** 2).sum(0) / 18).astype(np.float32)
        image = nib.Nifti1Image(array, np.diag([2.0, 2, 2, 1]))
        image.header.set_xyzt_units("mm")
        image.header.extensions.append(nib.nifti1.Nifti1Extension(4, b"x" * 5_000))
        paths.append(saved(tmp_path / f"{name}.nii.gz", image))
    result = co.register(*paths, preset="affine")
    shift = result.transform(torch.full((1, 1, 3), 14.0, dtype=torch.float64))[0, 0] - 14
    np.testing.assert_allclose(shift.detach().numpy(), 2, atol=0.3)
