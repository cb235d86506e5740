"""Transforms in ITK's files, with SimpleITK and ANTs as oracles."""

import inspect

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from coincide.files.itk import read_transform, write_transform
from coincide.registry import parts
from coincide.space.grid import Grid
from coincide.transforms.composite import Composite
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Affine, Linear, Rigid, SimilarityTransform, Translation
from coincide.transforms.transform import Transform


def oblique(dim, seed=0):
    """An oblique, flipped, anisotropic grid with an offset."""
    random = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(random.normal(size=(dim, dim)))
    rotation[:, 0] *= -np.sign(np.linalg.det(rotation))  # left-handed
    affine = np.eye(dim + 1)
    affine[:-1, :-1] = rotation * [1.3, 0.8, 2.5][:dim]
    affine[:-1, -1] = [12.0, -34.0, 56.0][:dim]
    return Grid((9, 14, 11)[:dim], affine)


def displacement(dim, seed=0, dtype=torch.float32):
    grid = oblique(dim, seed)
    generator = torch.Generator().manual_seed(seed)
    field = 5 * torch.randn(1, dim, *grid.shape, generator=generator, dtype=dtype)
    return Displacement(field=field, grid=grid)


def affine(dim, seed=1):
    random = np.random.default_rng(seed)
    matrix = np.eye(dim + 1)
    matrix[:-1] += 0.1 * random.normal(size=(dim, dim + 1))
    matrix[:-1, -1] *= 50
    return Affine(matrix, centre=10 * random.normal(size=dim))


def transforms(dim):
    return {
        "affine": affine(dim),
        "displacement": displacement(dim),
        "double": displacement(dim, dtype=torch.float64),
        "outer affine": Composite([affine(dim), displacement(dim)]),
        "inner affine": Composite([displacement(dim), affine(dim)]),
        "chain": Composite([displacement(dim), affine(dim), displacement(dim, 3), affine(dim, 4)]),
    }


def around(dim, count=1000, seed=5):
    """Points in and around the grid, RAS mm."""
    grid = oblique(dim)
    random = np.random.default_rng(seed)
    return grid.to_world(random.uniform(-0.2, 1.2, (count, dim)) * grid.shape)


def ours(transform, points):
    return transform(torch.from_numpy(points)[None])[0].detach().numpy()


def theirs(transform, points):
    signs = np.array([-1, -1, 1])[: points.shape[1]]
    return np.array([transform.TransformPoint((signs * p).tolist()) for p in points]) * signs


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", list(transforms(2)))
def test_simpleitk_maps_points_alike(tmp_path, dim, name):
    transform = transforms(dim)[name]
    write_transform(transform, tmp_path / "t.h5")
    points = around(dim)
    expected = theirs(sitk.ReadTransform(str(tmp_path / "t.h5")), points)
    np.testing.assert_allclose(ours(transform, points), expected, atol=1e-3)
    again = read_transform(tmp_path / "t.h5")
    np.testing.assert_allclose(ours(again, points), ours(transform, points), atol=1e-9)


def test_sheared_field(tmp_path):
    sheared = np.diag([1, 2, 3, 1.0])
    sheared[0, 2], sheared[:3, 3] = 0.7, [5, 6, 7]
    grid = Grid((8, 9, 10), sheared)
    transform = Displacement(field=torch.randn(1, 3, *grid.shape), grid=grid)
    write_transform(transform, tmp_path / "t.h5")
    points = grid.to_world(np.random.default_rng(0).uniform(0, 7, (50, 3)))
    expected = theirs(sitk.ReadTransform(str(tmp_path / "t.h5")), points)
    np.testing.assert_allclose(ours(transform, points), expected, atol=1e-3)


def test_displacement_vectors_of_nifti_are_ras(tmp_path):
    grid = Grid((8, 9, 10), np.diag([-1, 2, 3, 1.0]))
    vectors = np.random.default_rng(0).normal(size=(8, 9, 10, 1, 3)).astype(np.float32)
    image = nib.Nifti1Image(vectors, grid.affine)
    image.header.set_intent(1006)
    nib.save(image, tmp_path / "t.nii")
    field = sitk.ReadImage(str(tmp_path / "t.nii"), sitk.sitkVectorFloat64)
    points = grid.to_world(np.random.default_rng(0).uniform(0, 7, (50, 3)))
    expected = theirs(sitk.DisplacementFieldTransform(field), points)
    np.testing.assert_allclose(
        ours(read_transform(tmp_path / "t.nii"), points), expected, atol=1e-4
    )


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".mat"])
def test_linear_files(tmp_path, dim, suffix):
    transform = Composite([affine(dim), affine(dim, 2)])
    write_transform(transform, tmp_path / f"t{suffix}")
    points = around(dim)
    expected = theirs(sitk.ReadTransform(str(tmp_path / f"t{suffix}")), points)
    np.testing.assert_allclose(ours(transform, points), expected, atol=1e-6)
    again = read_transform(tmp_path / f"t{suffix}")
    np.testing.assert_allclose(ours(again, points), expected, atol=1e-6)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_field_image(tmp_path, dim, suffix):
    transform = displacement(dim)
    path = tmp_path / f"t{suffix}"
    write_transform(transform, path)
    image = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    assert image.GetDimension() == dim
    points = around(dim)
    expected = theirs(sitk.DisplacementFieldTransform(image), points)
    np.testing.assert_allclose(ours(transform, points), expected, atol=1e-3)
    again = read_transform(path)
    np.testing.assert_allclose(ours(again, points), ours(transform, points), atol=1e-4)


def itk_cases():
    euler = sitk.Euler3DTransform((1.0, 2, 3), 0.1, 0.2, 0.3, (4, 5, 6))
    versor = sitk.VersorRigid3DTransform((0, 0, 1.0), 0.4, (1, 2, 3), (9, 8, 7))
    scale = sitk.ScaleTransform(3, (1.1, 0.9, 1.3))
    plain = sitk.AffineTransform((1.1, 0.1, 0, 0, 0.9, 0.2, 0, 0, 1.0), (1, 2, 3), (30, 20, 10))
    chain = sitk.CompositeTransform([euler, plain])
    nested = sitk.CompositeTransform([scale, chain])
    shift = sitk.TranslationTransform(2, (3.0, 4.0))
    return {
        "euler": euler,
        "versor": versor,
        "scale": scale,
        "plain": plain,
        "chain": chain,
        "nested": nested,
        "shift": shift,
    }


@pytest.mark.parametrize("suffix", [".tfm", ".h5"])
@pytest.mark.parametrize("name", list(itk_cases()))
def test_reads_what_itk_writes(tmp_path, suffix, name):
    transform = itk_cases()[name]
    path = tmp_path / f"t{suffix}"
    transform.FlattenTransform() if name == "nested" else None
    sitk.WriteTransform(transform, str(path))
    points = around(transform.GetDimension(), 50)
    np.testing.assert_allclose(
        ours(read_transform(path), points), theirs(transform, points), atol=1e-8
    )


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".nii.gz", ".h5"])
def test_reads_itk_fields(tmp_path, suffix):
    write_transform(displacement(3), tmp_path / "t.h5")
    theirs_ = sitk.DisplacementFieldTransform(sitk.ReadTransform(str(tmp_path / "t.h5")))
    path = str(tmp_path / f"field{suffix}")
    points = around(3)
    expected = theirs(theirs_, points)
    if suffix == ".h5":
        sitk.WriteTransform(theirs_, path)
    else:
        sitk.WriteImage(theirs_.GetDisplacementField(), path)
    np.testing.assert_allclose(ours(read_transform(path), points), expected, atol=1e-3)


@pytest.mark.parametrize("kind", [Translation, Rigid, SimilarityTransform, Affine])
def test_linear_keeps_its_class_and_centre(tmp_path, kind):
    start = Rigid(np.eye(4))
    with torch.no_grad():
        start.parameters_mm += torch.tensor([[3.0, -4.0, 5.0]])
        start.shift += 2.0
    transform = kind(start.numpy(), centre=np.array([1.0, 2, 3]), radius=77.0)
    write_transform(transform, tmp_path / "t.h5")
    again = read_transform(tmp_path / "t.h5")
    assert type(again) is kind
    assert again.radius == 77.0
    np.testing.assert_array_equal(again.centre, transform.centre)
    np.testing.assert_allclose(again.numpy(), transform.numpy(), atol=1e-12)


class TestAnts:
    """antsApplyTransforms, through antspyx."""

    @pytest.mark.parametrize("name", ["inner affine", "outer affine", "chain", "displacement"])
    def test_h5(self, tmp_path, name):
        ants = pytest.importorskip("ants")
        transform = transforms(3)[name]
        write_transform(transform, tmp_path / "t.h5")
        self.compare(ants, transform, [str(tmp_path / "t.h5")])

    def test_mat(self, tmp_path):
        ants = pytest.importorskip("ants")
        write_transform(affine(3), tmp_path / "t.mat")
        self.compare(ants, affine(3), [str(tmp_path / "t.mat")])

    def test_field_and_mat(self, tmp_path):
        ants = pytest.importorskip("ants")
        write_transform(affine(3), tmp_path / "a.mat")
        write_transform(displacement(3), tmp_path / "1Warp.nii.gz")
        # of the list, the first acts first on points
        paths = [str(tmp_path / "1Warp.nii.gz"), str(tmp_path / "a.mat")]
        self.compare(ants, Composite([affine(3), displacement(3)]), paths)

    def compare(self, ants, transform, paths):
        pandas = pytest.importorskip("pandas")
        points = around(3, 300)
        table = pandas.DataFrame(points * [-1, -1, 1], columns=["x", "y", "z"])
        moved = ants.apply_transforms_to_points(3, table, paths)
        expected = moved[["x", "y", "z"]].to_numpy() * [-1, -1, 1]
        np.testing.assert_allclose(ours(transform, points), expected, atol=1e-3)


def test_every_registered_transform_comes_back_as_itself(tmp_path):
    grid = Grid((24, 20, 22), np.diag([2.0, 2.0, 2.5, 1.0]))
    for name, kind in parts(Transform).items():
        wide = "spacing" in inspect.signature(kind).parameters
        start = (kind(8.0) if wide else kind()).on(grid)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for values in start.parameters():
                drawn = torch.randn(values.shape, generator=generator).to(values.dtype)
                values += drawn if wide or issubclass(kind, Linear) else 0.004 * drawn
        path = tmp_path / f"{name}.h5"
        write_transform(start, path, grid=grid)
        again = read_transform(path)
        assert type(again) is kind, name
        torch.testing.assert_close(
            again.displacement(grid), start.displacement(grid), atol=1e-5, rtol=0, msg=name
        )
        points = grid.to_world(np.random.default_rng(0).uniform(4, 15, (50, 3)))
        points = grid.to_world(np.rint(grid.to_index(points)))
        expected = theirs(sitk.ReadTransform(str(path)), points)
        np.testing.assert_allclose(ours(again, points), expected, atol=0.02, err_msg=name)


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match=r"linear transforms only.*\.h5"):
        write_transform(displacement(3), tmp_path / "t.tfm")
    with pytest.raises(ValueError, match=r"known: \.h5"):
        write_transform(affine(3), tmp_path / "t.xyz")
    with pytest.raises(ValueError, match="grid="):
        write_transform(affine(3), tmp_path / "t.nii.gz")
    with pytest.raises(ValueError, match="grid="):
        write_transform(Displacement(spacing=4.0), tmp_path / "t.h5")
    grid = oblique(3)
    two = Displacement(field=torch.zeros(2, 3, *grid.shape), grid=grid)
    with pytest.raises(ValueError, match="batch of 2"):
        write_transform(two, tmp_path / "t.h5")
    assert list(tmp_path.iterdir()) == []
    spline = sitk.BSplineTransform(3, 2)
    sitk.WriteTransform(spline, str(tmp_path / "b.tfm"))
    with pytest.raises(ValueError, match="TransformToDisplacementField"):
        read_transform(tmp_path / "b.tfm")
    with pytest.raises(FileNotFoundError):
        read_transform(tmp_path / "none.h5")
    (tmp_path / "bad.h5").write_bytes(b"no")
    with pytest.raises(ValueError, match="damaged"):
        read_transform(tmp_path / "bad.h5")
