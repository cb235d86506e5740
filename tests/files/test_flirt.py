"""Matrices of FSL's FLIRT, against positions worked out by hand."""

import nibabel as nib
import numpy as np
import pytest
import torch

import coincide as co
from coincide.cli.main import main
from coincide.files.flirt import is_flirt, read_flirt
from coincide.files.itk import read_transform
from coincide.space.grid import Grid
from coincide.warp import warp_points

# the moving image is stored radiologically (x to the left): FSL counts from its first voxel;
# the fixed one neurologically: FSL counts x from its last voxel
MOVING = Grid((10, 12, 14), np.array([[-2.0, 0, 0, 9], [0, 2, 0, -5], [0, 0, 2, 1], [0, 0, 0, 1]]))
FIXED = Grid((20, 8, 6), np.array([[1.5, 0, 0, -7], [0, 3, 0, 2], [0, 0, 4, -3], [0, 0, 0, 1]]))
SHIFT = "1 0 0 4  \n0 1 0 -2  \n0 0 1 6  \n0 0 0 1  \n"


@pytest.fixture
def shift(tmp_path):
    (tmp_path / "shift.mat").write_text(SHIFT)
    return tmp_path / "shift.mat"


def test_a_point_followed_by_hand(shift):
    """Voxel (3, 2, 1) of the moving image lies at (6, 4, 2) of FSL.

    The matrix takes it to (10, 2, 8); of the fixed image that is j = 2/3, k = 2, and along x, where
    FSL counts from the other end, i = 19 - 10/1.5.
    """
    transform = read_flirt(shift, FIXED, MOVING)
    fixed = FIXED.to_world(np.array([19 - 10 / 1.5, 2 / 3, 2]))
    moving = MOVING.to_world(np.array([3, 2, 1]))
    found = transform(torch.as_tensor(fixed)[None, None])[0, 0].detach().numpy()
    np.testing.assert_allclose(found, moving, atol=1e-9)


def test_the_identity_joins_first_corners_of_radiological_images(tmp_path):
    (tmp_path / "i.mat").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    other = Grid((5, 5, 5), np.diag([-1.0, 1, 1, 1]))
    transform = read_flirt(tmp_path / "i.mat", other, MOVING)
    found = transform(torch.zeros(1, 1, 3, dtype=torch.float64))[0, 0].detach().numpy()
    np.testing.assert_allclose(found, MOVING.origin, atol=1e-9)


@pytest.mark.parametrize("handed", [-1, 1])
def test_fslpy_agrees(tmp_path, handed):
    pytest.importorskip("fsl.transform.flirt")
    from fsl.data.image import Image
    from fsl.transform.flirt import fromFlirt

    random = np.random.default_rng(0)
    matrix = np.eye(4)
    matrix[:3] += 0.1 * random.standard_normal((3, 4))
    np.savetxt(tmp_path / "m.mat", matrix)
    moving = Grid(MOVING.shape, MOVING.affine @ np.diag([handed, 1, 1, 1]))
    images = [
        Image(nib.Nifti1Image(np.zeros(g.shape, np.uint8), g.affine)) for g in (moving, FIXED)
    ]
    theirs = fromFlirt(matrix, *images, "world", "world")
    ours = read_flirt(tmp_path / "m.mat", FIXED, moving).numpy()
    np.testing.assert_allclose(ours, np.linalg.inv(theirs), atol=1e-6)


def image(path, grid, seed=0):
    array = np.random.default_rng(seed).random(grid.shape).astype(np.float32)
    nib.save(nib.Nifti1Image(array, grid.affine), path)
    return path


def test_warp_takes_it_with_its_two_images(tmp_path, shift):
    fixed, moving = image(tmp_path / "f.nii", FIXED), image(tmp_path / "m.nii", MOVING)
    out = tmp_path / "w.nii"
    main(["warp", str(moving), str(shift), "--on", str(fixed), "--out", str(out)])
    main(
        [
            "convert",
            str(shift),
            str(tmp_path / "s.tfm"),
            "--on",
            str(fixed),
            "--moving",
            str(moving),
        ]
    )
    expected = co.warp(moving, tmp_path / "s.tfm", on=fixed).numpy()
    np.testing.assert_allclose(nib.load(out).get_fdata(), expected, atol=1e-5)
    assert expected.any()
    # the other way round FIXED is what was moved
    back = co.warp(fixed, f"inverse:{shift}", on=moving)
    assert back.grid.shape == MOVING.shape
    np.testing.assert_allclose(
        co.warp(fixed, f"inverse:{tmp_path / 's.tfm'}", on=moving).numpy(), back.numpy(), atol=1e-5
    )


def test_alone_it_is_refused_with_what_would_work(tmp_path, shift, capsys):
    assert is_flirt(shift)
    for ask in (lambda: read_transform(shift), lambda: warp_points(np.zeros((1, 3)), [shift])):
        with pytest.raises(ValueError, match=r"only beside the two images.*coincide convert shift"):
            ask()
    moving = image(tmp_path / "m.nii", MOVING)
    with pytest.raises(SystemExit) as stopped:
        main(["warp", str(moving), str(shift), "--spacing", "2", "--out", str(tmp_path / "w.nii")])
    assert stopped.value.code == 1
    assert "FLIRT" in capsys.readouterr().err
    with pytest.raises(ValueError, match="is not a matrix of FLIRT"):
        read_flirt(moving, FIXED, MOVING)
    with pytest.raises(ValueError, match="is for 3-D images"):
        read_flirt(shift, Grid((4, 4), np.eye(3)), MOVING)
