"""Anything a person may hold an image in becomes the same image."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from coincide.files.accept import as_image
from coincide.files.read import load
from coincide.space.image import Image

AFFINE = np.array([[0, 0, -2.0, 5], [1.5, 0, 0, 6], [0, -0.7, 0, 7], [0, 0, 0, 1]])
ARRAY = np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16)


def sources(folder):
    nifti = nib.Nifti1Image(ARRAY, AFFINE)
    nifti.header.set_xyzt_units("mm")
    nib.save(nifti, folder / "a.nii.gz")
    return {
        "text": str(folder / "a.nii.gz"),
        "path": folder / "a.nii.gz",
        "loaded": load(folder / "a.nii.gz"),
        "nibabel": nifti,
        "mgh": nib.MGHImage(ARRAY, AFFINE),
        "simpleitk": sitk.ReadImage(str(folder / "a.nii.gz")),
        "image": Image.from_array(ARRAY.astype(np.float32), AFFINE),
    }


@pytest.mark.parametrize("kind", ["text", "path", "loaded", "nibabel", "mgh", "simpleitk", "image"])
def test_all_alike(tmp_path, kind):
    found = as_image(sources(tmp_path)[kind])
    assert found.image.data.dtype == torch.float32
    np.testing.assert_array_equal(found.image.numpy(), ARRAY)
    np.testing.assert_allclose(found.image.grid.affine, AFFINE, atol=1e-5)
    assert found.warnings == ()


def test_arrays():
    for value in (ARRAY, torch.from_numpy(ARRAY)):
        found = as_image(value, affine=AFFINE)
        np.testing.assert_array_equal(found.image.numpy(), ARRAY)
        np.testing.assert_array_equal(found.image.grid.affine, AFFINE)
    with pytest.warns(UserWarning, match="voxels of 1 mm"):
        assert "1 mm" in as_image(ARRAY).warnings[0]
    with pytest.warns(UserWarning, match="voxels of 1 mm"):
        assert as_image(ARRAY[0]).image.dim == 2
    whole = as_image(ARRAY, affine=AFFINE, whole=True)
    assert whole.image.data.dtype == torch.int64
    assert whole.dtype == np.int16


def test_refusals(tmp_path):
    with pytest.raises(TypeError, match="cannot take a dict"):
        as_image({})
    with pytest.raises(ValueError, match="carries its own geometry"):
        as_image(str(tmp_path), affine=AFFINE)
    with pytest.raises(ValueError, match="choose one of 0 to 5"):
        as_image(np.zeros((4, 5, 5, 6)))
    with pytest.raises(ValueError, match="does not fit an affine"):
        as_image(ARRAY[0], affine=AFFINE)


def test_an_array_is_copied():
    array = ARRAY.astype(np.float32)
    found = as_image(array, affine=AFFINE)
    array[:] = 0
    assert found.image.data.sum() > 0
